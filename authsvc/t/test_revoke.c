/*
 * Users who are disabled and tokens that are revoked: what logins, gateways and
 * the audit log learn of it, and that nothing is lost while a gateway is away.
 */

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "authsvc/store/store.h"
#include "authsvc/t/folder.h"
#include "authsvc/t/gateway_api.h"
#include "authsvc/t/login.h"
#include "authsvc/t/process.h"
#include "authsvc/t/server.h"
#include "authsvc/t/suite.h"


#define DEADLINE  60                    /* seconds */


static process_t  process;
static char       api[64];


/* "authsvc user a NAME --store STORE --audit-log FILE" and two more words */
static int
user(const char *a, const char *name, const char *b, const char *c)
{
    const char  *argv[] = {
        "user", "--store", folder_path("s.db"), "--audit-log",
        folder_path("audit"), a, name, b, c, NULL
    };

    return process_run(&process, argv, "BobsPassword\n");
}


static void
count(const char *gateway, const char *request, void *data)
{
    (void) gateway;
    (void) request;
    (*(int *) data)++;
}


/* Requests that no gateway has acknowledged. */
static int
owed(void)
{
    int       n;
    char      error[256];
    store_t  *store;

    n = 0;
    store = store_open(folder_path("s.db"), false, error, sizeof(error));
    ck_assert_msg(store != NULL, "%s", error);
    ck_assert_int_eq(store_list_owed(store, count, &n), STORE_OK);
    store_close(store);

    return n;
}


static char *
audit_log(void)
{
    FILE        *file;
    static char  text[65536];

    file = fopen(folder_path("audit"), "r");
    ck_assert_ptr_nonnull(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);

    return text;
}


static void
setup(void)
{
    server_setup();
    snprintf(api, sizeof(api), "http://127.0.0.1:%d/api/",
             gateway_api_port());
}


static int
port(void)
{
    return atoi(strrchr(api, ':') + 1);
}


START_TEST(test_disable)
{
    char           message[256];
    rpc_client_t  *client;

    server_start(NULL, NULL, NULL, NULL);
    client = rpc_client_create(server_target, NULL);
    gateway_api_start(port(), 200);
    ck_assert_int_eq(login_code(client, NULL, "TestUser", "TestPassword",
                                NULL), 0);

    /* the server, which looks every few seconds, may send it as well */

    ck_assert_int_eq(user("disable", "TestUser", "--gateway-api", api), 0);
    ck_assert_int_ge(gateway_api_requests(), 1);
    ck_assert_ptr_nonnull(strstr(gateway_api_last(),
                                 "POST /api/1/revocations HTTP/1.1"));
    ck_assert_ptr_nonnull(strstr(gateway_api_last(),
                                 "{\"iss\":\"myservice\",\"sub\":\"TestUser\","
                                 "\"before\":"));
    ck_assert_ptr_nonnull(strcasestr(gateway_api_last(),
                                     "content-type: application/json"));
    ck_assert_int_eq(owed(), 0);
    ck_assert_int_eq(login_code(client, NULL, "TestUser", "TestPassword",
                                message), 7);
    ck_assert_str_eq(message, "invalid username or password");

    ck_assert_int_eq(user("list", NULL, NULL, NULL), 0);
    ck_assert_str_eq(process.output, "TestUser\tadmin\tdisabled\n");

    ck_assert_int_eq(user("enable", "TestUser", NULL, NULL), 0);
    ck_assert_int_eq(login_code(client, NULL, "TestUser", "TestPassword",
                                NULL), 0);
    ck_assert_int_eq(owed(), 0);
    rpc_client_free(client);
    server_stop();
}
END_TEST


START_TEST(test_disable_without_gateways)
{
    server_start(NULL, NULL, NULL, NULL);
    ck_assert_int_eq(user("disable", "TestUser", NULL, NULL), 0);
    ck_assert_int_eq(owed(), 0);
    ck_assert_int_eq(user("disable", "nobody", NULL, NULL), 1);
    ck_assert_str_eq(process.error, "authsvc: no user \"nobody\"\n");
    ck_assert_int_eq(user("revoke", "TestUser", NULL, NULL), 2);
    ck_assert_ptr_nonnull(strstr(process.error, "--gateway-api"));
    server_stop();
}
END_TEST


static void
await_owed(int n)
{
    time_t                 end;
    const struct timespec  pause = { 0, 20000000 };

    end = time(NULL) + DEADLINE;

    while (owed() != n) {
        ck_assert_msg(time(NULL) < end, "%d are owed", owed());
        nanosleep(&pause, NULL);
    }
}


/* The gateway is down; then it refuses; then it acknowledges. */
START_TEST(test_repeated)
{
    char  other[256];

    server_start(NULL, NULL, NULL, NULL);
    snprintf(other, sizeof(other), "http://localhost:%d/x,%s",
             gateway_api_port(), api);

    ck_assert_int_eq(user("revoke", "TestUser", "--gateway-api", other), 1);
    ck_assert_ptr_nonnull(strstr(process.error, "authsvc serve repeats it"));
    ck_assert_int_eq(owed(), 2);
    ck_assert_ptr_nonnull(process_expect(&server_process,
                                         "tokens are not revoked everywhere"));

    gateway_api_start(port(), 503);

    while (gateway_api_requests() < 2) {
        const struct timespec  pause = { 0, 20000000 };

        nanosleep(&pause, NULL);
    }

    ck_assert_int_eq(owed(), 2);
    gateway_api_status(200);
    await_owed(1);
    ck_assert_ptr_nonnull(strstr(gateway_api_last(), "\"sub\":\"TestUser\""));
    server_stop();
}
END_TEST


/* What the gateway says against it is in the message. */
START_TEST(test_refused)
{
    server_start(NULL, NULL, NULL, NULL);
    gateway_api_start(port(), 409);
    ck_assert_int_eq(user("revoke", "TestUser", "--gateway-api", api), 1);
    ck_assert_ptr_nonnull(strstr(process.error, "status 409: the detail"));
    ck_assert_int_eq(owed(), 1);
    server_stop();
}
END_TEST


START_TEST(test_urls)
{
    size_t  i;

    static const char *const  bad[] = {
        "x", "http://10.0.0.1/api", "http://127.0.0.1.evil/api", "ftp://x",
        "https://", "http://127.0.0.1:1/api,http://b/api", "http://",
        "http://localhost:1@10.0.0.1/api"
    };

    server_start(NULL, NULL, NULL, NULL);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_eq(user("disable", "TestUser", "--gateway-api", bad[i]),
                         2);
        ck_assert_ptr_nonnull(strstr(process.error, "is neither https://"));
    }

    ck_assert_int_eq(owed(), 0);
    server_stop();
}
END_TEST


START_TEST(test_audit)
{
    const char  *key[] = {
        "key", "--keys", folder_path("keys"), "--audit-log",
        folder_path("audit"), "generate", "--activate", NULL
    };
    const char  *bad[] = {
        "key", "--keys", folder_path("keys"), "--audit-log",
        folder_path("audit"), "retire", "none", NULL
    };
    const char  *unwritable[] = {
        "user", "--store", folder_path("s.db"), "--audit-log", "/none/audit",
        "del", "TestUser", NULL
    };

    server_start(NULL, NULL, NULL, NULL);
    ck_assert_int_eq(user("add", "bob", NULL, NULL), 0);
    ck_assert_int_eq(user("disable", "bob", NULL, NULL), 0);
    ck_assert_int_eq(user("role", "nobody", "admin", NULL), 1);
    ck_assert_int_eq(process_run(&process, key, ""), 0);
    ck_assert_int_eq(process_run(&process, bad, ""), 1);

    ck_assert_ptr_nonnull(strstr(audit_log(), "\"event\":\"command\","
                                 "\"command\":\"user add\",\"by\":\""));
    ck_assert_ptr_nonnull(strstr(audit_log(), "\"command\":\"user disable\""));
    ck_assert_ptr_nonnull(strstr(audit_log(), "\"outcome\":\"ok\",\"user\":"
                                 "\"bob\""));
    ck_assert_ptr_nonnull(strstr(audit_log(), "\"outcome\":\"failed\","
                                 "\"user\":\"nobody\",\"role\":\"admin\","
                                 "\"detail\":\"no user"));
    ck_assert_ptr_nonnull(strstr(audit_log(), "\"command\":\"key generate\""));
    ck_assert_ptr_nonnull(strstr(audit_log(), "\"command\":\"key retire\""));
    ck_assert_ptr_nonnull(strstr(audit_log(), "\"kid\":\"none\""));
    ck_assert_ptr_null(strstr(audit_log(), "BobsPassword"));

    /* what cannot be noted is not done */

    ck_assert_int_eq(process_run(&process, unwritable, ""), 1);
    ck_assert_int_eq(user("enable", "TestUser", NULL, NULL), 0);
    server_stop();
}
END_TEST


int
main(void)
{
    size_t   i;
    Suite   *suite;
    TCase   *tcase;

    const TTest *const  tests[] = {
        test_disable, test_disable_without_gateways, test_repeated,
        test_refused, test_urls, test_audit
    };

    suite = suite_create("revoke");
    tcase = tcase_create("revoke");
    tcase_add_checked_fixture(tcase, setup, server_teardown);
    tcase_set_timeout(tcase, 120);

    for (i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        tcase_add_test(tcase, tests[i]);
    }

    suite_add_tcase(suite, tcase);

    return suite_run(suite);
}
