/*
 * "authsvc serve" with PostgreSQL, which goes away and comes back.
 */

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "authsvc/store/store.h"
#include "authsvc/t/folder.h"
#include "authsvc/t/login.h"
#include "authsvc/t/postgres.h"
#include "authsvc/t/process.h"
#include "authsvc/t/suite.h"
#include "rpc/client.h"
#include "rpc/server.h"


#define DEADLINE  60000
#define KEY       "0123456789abcdef0123456789abcdef\n"


static char           location[256];
static process_t      server;
static rpc_client_t  *client;


static void
setup(void)
{
    folder_create();
    folder_write("key", KEY, strlen(KEY), 0600);
    postgres_start();
    snprintf(location, sizeof(location), "%s", postgres_database("users"));
}


static void
teardown(void)
{
    postgres_stop();
    folder_remove();
}


/* Without back-off: what is wrong here is not the password. */
static void
start(void)
{
    char               target[64];
    const char        *port;
    const char *const  argv[] = {
        "serve", "--listen", "127.0.0.1:0", "--store", location,
        "--key-file", folder_path("key"), "--login-failures=0",
        "--hash-threads=1", NULL
    };

    process_start(&server, argv, "");
    port = process_expect(&server, "listening on 127.0.0.1:");
    ck_assert_ptr_nonnull(port);
    snprintf(target, sizeof(target), "127.0.0.1:%s", port);
    client = rpc_client_create(target, NULL);
}


static void
add_user(void)
{
    process_t          process;
    const char *const  argv[] = {
        "user", "add", "TestUser", "--create", "--store", location, NULL
    };

    ck_assert_int_eq(process_run(&process, argv, "TestPassword\n"), 0);
}


static void
stop(void)
{
    rpc_client_free(client);
    ck_assert_int_eq(process_finish(&server, SIGTERM), 0);
    ck_assert_msg(strstr(server.error, POSTGRES_PASSWORD) == NULL, "%s",
                  server.error);
}


static int
login(const char *password)
{
    int   code;
    char  message[256];

    code = login_code(client, NULL, "TestUser", password, message);
    ck_assert_str_eq(message, code == 0 ? ""
                     : code == 7 ? "invalid username or password"
                     : "failed to get user");

    return code;
}


/* Until it recovers, which it has to by itself. */
static void
recover(void)
{
    int      code;
    int64_t  end;

    end = rpc_now() + DEADLINE;

    do {
        code = login("TestPassword");
        ck_assert(code == 0 || code == 13);
        process_poll(&server);
    } while (code != 0 && rpc_now() < end);

    ck_assert_int_eq(code, 0);
    ck_assert_int_eq(login("wrong"), 7);
}


START_TEST(test_restart)
{
    int    i;
    char  *p;

    add_user();
    start();
    ck_assert_int_eq(login("TestPassword"), 0);
    ck_assert_int_eq(login("wrong"), 7);

    postgres_kill();
    for (i = 0; i < 100; i++) {
        ck_assert_int_eq(login("TestPassword"), 13);
    }

    /* said once by the one thread, not for every login */
    process_poll(&server);
    p = strstr(server.error, "store is down");
    ck_assert_ptr_nonnull(p);
    ck_assert_ptr_null(strstr(p + 1, "store is down"));

    postgres_restart();
    recover();
    ck_assert_ptr_nonnull(process_expect(&server, "store is back"));

    /* an idle connection that was lost is not even noticed */
    postgres_kill();
    postgres_restart();
    for (i = 0; i < 5; i++) {
        ck_assert_int_eq(login("TestPassword"), 0);
    }

    stop();
}
END_TEST


/* Nothing of authsvc's waits for a server that is not there. */
START_TEST(test_start_down)
{
    add_user();
    postgres_kill();
    start();
    ck_assert_ptr_nonnull(strstr(server.error, "store is down"));
    ck_assert_int_eq(login("TestPassword"), 13);

    postgres_restart();
    recover();
    stop();
}
END_TEST


/* One that says nothing costs some seconds, not for ever. */
START_TEST(test_frozen)
{
    int   code;
    char  message[256];

    add_user();
    start();
    ck_assert_int_eq(login("TestPassword"), 0);

    postgres_freeze();
    code = login_code(client, NULL, "TestUser", "TestPassword", message);
    postgres_thaw();

    ck_assert_int_eq(code, 13);
    ck_assert_str_eq(message, "failed to get user");
    recover();
    stop();
}
END_TEST


/* What comes after the loss is not done outside of the transaction. */
START_TEST(test_transaction_lost)
{
    char           error[256];
    store_t       *store;
    store_user_t   user;

    store = store_open(location, true, error, sizeof(error));
    ck_assert_msg(store != NULL, "%s", error);

    ck_assert_int_eq(store_begin(store), STORE_OK);
    ck_assert_int_eq(store_add(store, "a", "h", "r"), STORE_OK);
    postgres_kill();
    postgres_restart();
    ck_assert_int_eq(store_add(store, "b", "h", "r"), STORE_DOWN);
    ck_assert_int_eq(store_find(store, "a", &user), STORE_DOWN);
    ck_assert_int_eq(store_add(store, "c", "h", "r"), STORE_DOWN);
    ck_assert_int_eq(store_commit(store), STORE_DOWN);

    ck_assert_int_eq(store_find(store, "a", &user), STORE_MISSING);
    ck_assert_int_eq(store_find(store, "b", &user), STORE_MISSING);
    ck_assert_int_eq(store_find(store, "c", &user), STORE_MISSING);
    store_close(store);
}
END_TEST


/* What the serving one needs: no right to make tables, none to add users. */
START_TEST(test_rights)
{
    char         owner[256], *at;
    process_t    process;
    const char  *argv[] = {
        "user", "add", "eve", "--store", location, NULL
    };

    add_user();
    snprintf(owner, sizeof(owner), "%s", location);
    postgres_sql(owner, "CREATE ROLE reader LOGIN PASSWORD '"
                 POSTGRES_PASSWORD "';"
                 "GRANT SELECT ON users, authsvc_schema TO reader;"
                 "GRANT UPDATE (hash) ON users TO reader");

    at = strchr(owner, '@');
    snprintf(location, sizeof(location), "postgresql://reader:"
             POSTGRES_PASSWORD "%s", at);

    start();
    ck_assert_int_eq(login("TestPassword"), 0);
    stop();
    ck_assert_ptr_null(strstr(server.error, "error"));

    ck_assert_int_eq(process_run(&process, argv, "x\n"), 1);
    ck_assert_ptr_nonnull(strstr(process.error,
                                 "permission denied for table users"));
    ck_assert_ptr_null(strstr(process.error, POSTGRES_PASSWORD));

    /* nor a wrong password for the server */
    memcpy(strstr(location, POSTGRES_PASSWORD), "wrong-pw!", 9);
    ck_assert_int_eq(process_run(&process, argv, "x\n"), 1);
    ck_assert_ptr_nonnull(strstr(process.error,
                                 "password authentication failed"));
    ck_assert_ptr_null(strstr(process.error, "wrong-pw!"));
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("store_down");
    tcase = tcase_create("store_down");
    tcase_set_timeout(tcase, 180);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_restart);
    tcase_add_test(tcase, test_start_down);
    tcase_add_test(tcase, test_frozen);
    tcase_add_test(tcase, test_transaction_lost);
    tcase_add_test(tcase, test_rights);
    suite_add_tcase(suite, tcase);

    return suite_run(suite);
}
