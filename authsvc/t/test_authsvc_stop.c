/* How "authsvc serve" stops while a login is hashed and nobody waits for it. */

#include <check.h>
#include <crypt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "authsvc/t/folder.h"
#include "authsvc/t/server.h"
#include "authsvc/t/suite.h"
#include "my_service.pb-c.h"
#include "rpc/client.h"


#define COST  13                        /* of bcrypt: about half a second */


static void
import_user(void)
{
    char               line[CRYPT_OUTPUT_SIZE + 16];
    const char        *setting, *hash;
    static process_t   command;
    const char *const  import[] = {
        "user", "import", folder_path("users"), "--store",
        folder_path("s.db"), NULL
    };

    setting = crypt_gensalt("$2y$", 4, NULL, 0);
    ck_assert_ptr_nonnull(setting);
    hash = crypt("password", setting);
    ck_assert_ptr_nonnull(hash);

    /* that of another cost, which the password need not match */
    snprintf(line, sizeof(line), "slow:%.4s%02d%s\n", hash, COST, hash + 6);
    folder_write("users", line, strlen(line), 0600);

    ck_assert_int_eq(process_run(&command, import, ""), 0);
}


START_TEST(test_stop_while_hashing)
{
    rpc_client_t             *client;
    rpc_result_t              result;
    ProtobufCMessage         *response;
    MyService__LoginRequest   request;

    server_start("--hash-threads", "1", "--log-level", "debug");
    import_user();

    client = rpc_client_create(server_target, NULL);
    my_service__login_request__init(&request);
    request.password = (char *) "password";
    request.session_id = (char *) "s";

    /* the next one finds a connection */
    request.username = (char *) "";
    response = rpc_client_unary(client, "/my_service.MyServiceAPI/Login",
                                NULL, 0, 20000, &request.base,
                                &my_service__login_response__descriptor,
                                &result);
    ck_assert_ptr_null(response);
    ck_assert_int_eq(result.code, GRPC_STATUS_INVALID_ARGUMENT);
    rpc_result_free(&result);

    request.username = (char *) "slow";
    response = rpc_client_unary(client, "/my_service.MyServiceAPI/Login",
                                NULL, 0, 100, &request.base,
                                &my_service__login_response__descriptor,
                                &result);
    ck_assert_ptr_null(response);
    ck_assert_int_eq(result.code, GRPC_STATUS_DEADLINE_EXCEEDED);
    rpc_result_free(&result);
    rpc_client_free(client);

    server_stop();
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("authsvc stop");
    tcase = tcase_create("stop");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, server_setup, server_teardown);
    tcase_add_test(tcase, test_stop_while_hashing);
    suite_add_tcase(suite, tcase);

    return suite_run(suite);
}
