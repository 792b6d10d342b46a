/*
 * The program "authsvc serve" from outside: Login over gRPC, what keeps it
 * from starting, how it stops.
 */

#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <sqlite3.h>

#include "authsvc/t/folder.h"
#include "authsvc/t/process.h"
#include "health.pb-c.h"
#include "jwt/token.h"
#include "my_service.pb-c.h"
#include "rpc/client.h"


#define LOGIN    "/my_service.MyServiceAPI/Login"
#define TIMEOUT  20000
#define KEY      "0123456789abcdef0123456789abcdef"


static process_t  server, other;
static char       target[64];


static void
setup(void)
{
    folder_create();
}


static void
teardown(void)
{
    folder_remove();
}


/* With a user, a key, and up to four more arguments. */
static void
start(const char *a, const char *b, const char *c, const char *d)
{
    const char        *port;
    const char *const  add[] = {
        "user", "add", "TestUser", "--role", "admin", "--store",
        folder_path("s.db"), NULL
    };
    const char *const  serve[] = {
        "serve", "--listen", "127.0.0.1:0", "--store", folder_path("s.db"),
        "--key-file", folder_path("key"), a, b, c, d, NULL
    };

    ck_assert_int_eq(process_run(&other, add, "TestPassword\n"), 0);
    folder_write("key", KEY "\n", strlen(KEY) + 1, 0600);

    process_start(&server, serve, "");
    port = process_expect(&server, "listening on 127.0.0.1:");
    ck_assert_ptr_nonnull(port);
    snprintf(target, sizeof(target), "127.0.0.1:%s", port);
}


static void
stop(void)
{
    ck_assert_int_eq(process_finish(&server, SIGTERM), 0);
    ck_assert_ptr_nonnull(strstr(server.error, "stopped"));
}


static MyService__LoginResponse *
login(rpc_client_t *client, int64_t timeout, const char *username,
    const char *password, const char *session, rpc_result_t *result)
{
    ProtobufCMessage         *response;
    MyService__LoginRequest   request;

    my_service__login_request__init(&request);
    request.username = (char *) username;
    request.password = (char *) password;
    request.session_id = (char *) session;

    response = rpc_client_unary(client, LOGIN, NULL, 0, timeout,
                                &request.base,
                                &my_service__login_response__descriptor,
                                result);

    return (MyService__LoginResponse *) response;
}


static void
assert_login(rpc_client_t *client, const char *username,
    const char *password, const char *session, grpc_status_code code,
    const char *message)
{
    rpc_result_t               result;
    MyService__LoginResponse  *response;

    response = login(client, TIMEOUT, username, password, session, &result);
    ck_assert_str_eq(result.message, message);
    ck_assert_int_eq(result.code, code);
    ck_assert_int_eq(response != NULL, code == GRPC_STATUS_OK);

    if (response != NULL) {
        my_service__login_response__free_unpacked(response, NULL);
    }
    rpc_result_free(&result);
}


START_TEST(test_login_good)
{
    char                       error[128];
    int64_t                    now;
    ms_keys_t                 *keys;
    ms_token_t                 token;
    rpc_client_t              *client;
    rpc_result_t               result;
    const ms_token_rules_t     rules = { 0, "session_id", "issuer-x" };
    MyService__LoginResponse  *response;

    start("--issuer", "issuer-x", "--token-ttl", "90s");
    client = rpc_client_create(target, NULL);

    response = login(client, TIMEOUT, "TestUser", "TestPassword", "s-1",
                     &result);
    ck_assert_int_eq(result.code, GRPC_STATUS_OK);
    ck_assert_ptr_nonnull(response);
    ck_assert_str_eq(response->role, "admin");

    now = time(NULL);
    keys = ms_keys_from_secret(KEY, strlen(KEY), error, sizeof(error));
    ck_assert_int_eq(ms_token_verify(keys, response->token,
                                     strlen(response->token), &rules, now,
                                     &token), MS_TOKEN_OK);
    ck_assert_str_eq(token.session, "s-1");
    ck_assert_int_eq(response->expires_at->seconds, token.expires);
    ck_assert_int_ge(token.expires, now + 30);
    ck_assert_int_le(token.expires, now + 90);

    ms_token_free(&token);
    ms_keys_free(keys);
    my_service__login_response__free_unpacked(response, NULL);
    rpc_result_free(&result);
    rpc_client_free(client);
    stop();
    ck_assert_ptr_null(strstr(server.error, "warn"));
}
END_TEST


static const struct {
    const char        *username;
    const char        *password;
    const char        *session;
    grpc_status_code   code;
    const char        *message;
} errors[] = {
    { "", "TestPassword", "s", 3, "username is required" },
    { "", "", "", 3, "username is required" },
    { "TestUser", "TestPassword", "", 3, "session_id is required" },
    { "nobody", "", "", 3, "session_id is required" },
    { "TestUser", "TestPassword", "a b", 3, "session_id is invalid" },
    { "TestUser", "wrong", "a\tb", 3, "session_id is invalid" },
    { "TestUser", "wrong", "s", 7, "invalid username or password" },
    { "TestUser", "", "s", 7, "invalid username or password" },
    { "nobody", "TestPassword", "s", 7, "invalid username or password" },
    { "testuser", "TestPassword", "s", 7, "invalid username or password" },
    { "a\x01", "TestPassword", "s", 7, "invalid username or password" },
    { "TestUser", "TestPassword", "s", 0, "" }
};


START_TEST(test_login_errors)
{
    char           session[258], password[1026];
    size_t         i;
    rpc_client_t  *client;

    start(NULL, NULL, NULL, NULL);
    client = rpc_client_create(target, NULL);

    for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        assert_login(client, errors[i].username, errors[i].password,
                     errors[i].session, errors[i].code, errors[i].message);
    }

    memset(session, 's', sizeof(session));
    session[257] = '\0';
    assert_login(client, "TestUser", "TestPassword", session, 3,
                 "session_id is invalid");
    assert_login(client, "TestUser", "TestPassword", session + 1, 0, "");

    memset(password, 'p', sizeof(password));
    password[1025] = '\0';
    assert_login(client, "TestUser", password, "s", 7,
                 "invalid username or password");

    rpc_client_free(client);
    stop();
}
END_TEST


START_TEST(test_store_failure)
{
    sqlite3       *db;
    rpc_client_t  *client;

    start(NULL, NULL, NULL, NULL);
    client = rpc_client_create(target, NULL);
    assert_login(client, "TestUser", "TestPassword", "s", 0, "");

    ck_assert_int_eq(sqlite3_open(folder_path("s.db"), &db), SQLITE_OK);
    sqlite3_busy_timeout(db, TIMEOUT);
    ck_assert_int_eq(sqlite3_exec(db, "ALTER TABLE users RENAME TO gone", NULL,
                                  NULL, NULL), SQLITE_OK);
    assert_login(client, "TestUser", "TestPassword", "s", 13,
                 "failed to get user");
    assert_login(client, "nobody", "TestPassword", "s", 13,
                 "failed to get user");
    ck_assert_ptr_nonnull(process_expect(&server, "cannot look up a user: no "
                                         "such table: users"));

    /* and it recovers */
    ck_assert_int_eq(sqlite3_exec(db, "ALTER TABLE gone RENAME TO users", NULL,
                                  NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_login(client, "TestUser", "TestPassword", "s", 0, "");

    rpc_client_free(client);
    stop();
}
END_TEST


typedef struct {
    rpc_client_t      *client;
    int64_t            timeout;
    grpc_status_code   code;
    bool               full;
} login_thread_t;


static void *
login_thread(void *data)
{
    rpc_result_t               result;
    login_thread_t            *t = data;
    MyService__LoginResponse  *response;

    response = login(t->client, t->timeout, "TestUser", "TestPassword", "s",
                     &result);
    t->code = result.code;
    t->full = strcmp(result.message, "login queue is full") == 0;

    if (response != NULL) {
        my_service__login_response__free_unpacked(response, NULL);
    }
    rpc_result_free(&result);

    return NULL;
}


#define THREADS  40


static void
login_many(int64_t timeout, login_thread_t *logins)
{
    int            i;
    pthread_t      threads[THREADS];
    rpc_client_t  *client;

    client = rpc_client_create(target, NULL);

    for (i = 0; i < THREADS; i++) {
        logins[i].client = client;
        logins[i].timeout = timeout;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, login_thread,
                                        &logins[i]), 0);
    }
    for (i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }

    rpc_client_free(client);
}


START_TEST(test_queue_full)
{
    int              i, good, full;
    login_thread_t   logins[THREADS];

    start("--hash-threads", "1", "--login-queue", "2");
    login_many(TIMEOUT, logins);

    good = 0;
    full = 0;

    for (i = 0; i < THREADS; i++) {
        if (logins[i].code == GRPC_STATUS_OK) {
            good++;

        } else {
            ck_assert_int_eq(logins[i].code, GRPC_STATUS_RESOURCE_EXHAUSTED);
            ck_assert(logins[i].full);
            full++;
        }
    }

    ck_assert_int_ge(good, 2);
    ck_assert_int_ge(full, 1);
    stop();
}
END_TEST


/* Nobody waits for a cancelled login: its password is not hashed. */
START_TEST(test_cancelled)
{
    int              hashed;
    char            *p;
    rpc_client_t    *client;
    login_thread_t   logins[THREADS];

    start("--hash-threads", "1", "--log-level", "debug");
    login_many(60, logins);

    client = rpc_client_create(target, NULL);
    assert_login(client, "TestUser", "TestPassword", "last", 0, "");
    rpc_client_free(client);
    ck_assert_ptr_nonnull(process_expect(&server, "\"last\": ok"));

    hashed = 0;
    for (p = server.error; (p = strstr(p, "login of ")) != NULL; p++) {
        hashed++;
    }
    ck_assert_int_lt(hashed, THREADS / 2);
    stop();
}
END_TEST


START_TEST(test_drain)
{
    int              i, good;
    login_thread_t   logins[THREADS];
    pthread_t        threads[THREADS];
    rpc_client_t    *client;

    start("--hash-threads", "1", "--log-level", "debug");
    client = rpc_client_create(target, NULL);

    for (i = 0; i < 10; i++) {
        logins[i].client = client;
        logins[i].timeout = TIMEOUT;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, login_thread,
                                        &logins[i]), 0);
    }

    ck_assert_ptr_nonnull(process_expect(&server, "login of "));
    kill(server.pid, SIGINT);

    good = 0;
    for (i = 0; i < 10; i++) {
        pthread_join(threads[i], NULL);
        good += (logins[i].code == GRPC_STATUS_OK);
    }

    /* what had begun was finished */
    ck_assert_int_ge(good, 1);
    rpc_client_free(client);
    ck_assert_int_eq(process_finish(&server, 0), 0);
}
END_TEST


START_TEST(test_health)
{
    size_t                             i;
    ProtobufCMessage                  *response;
    rpc_client_t                      *client;
    rpc_result_t                       result;
    Grpc__Health__V1__HealthCheckRequest    request;
    Grpc__Health__V1__HealthCheckResponse  *health;

    static const char *const  names[] = { "", "my_service.MyServiceAPI" };

    start(NULL, NULL, NULL, NULL);
    client = rpc_client_create(target, NULL);

    for (i = 0; i < 2; i++) {
        grpc__health__v1__health_check_request__init(&request);
        request.service = (char *) names[i];
        response = rpc_client_unary(client, "/grpc.health.v1.Health/Check",
            NULL, 0, TIMEOUT, &request.base,
            &grpc__health__v1__health_check_response__descriptor, &result);
        ck_assert_int_eq(result.code, GRPC_STATUS_OK);
        health = (Grpc__Health__V1__HealthCheckResponse *) response;
        ck_assert_int_eq(health->status, 1);
        protobuf_c_message_free_unpacked(response, NULL);
        rpc_result_free(&result);
    }

    rpc_client_free(client);
    stop();
}
END_TEST


/* One line, and the exit code. */
static void
assert_fails(const char *const *argv, int code, const char *text)
{
    ck_assert_int_eq(process_run(&other, argv, ""), code);
    ck_assert_msg(strstr(other.error, text) != NULL, "no \"%s\" in: %s", text,
                  other.error);
    ck_assert_ptr_eq(strchr(other.error, '\n'),
                     other.error + strlen(other.error) - 1);
    ck_assert_str_eq(other.output, "");
}


START_TEST(test_usage)
{
    size_t  i;

    static const struct {
        const char  *argv[8];
        const char  *text;
    } cases[] = {
        { { NULL }, "authsvc: a command is missing" },
        { { "nope", NULL }, "authsvc: unknown command \"nope\"" },
        { { "serve", "--nope", NULL }, "authsvc: unknown option --nope" },
        { { "serve", "x", NULL }, "authsvc: unexpected argument \"x\"" },
        { { "serve", NULL }, "authsvc: --store (AUTHSVC_STORE) is required" },
        { { "serve", "--store", "s", NULL },
          "authsvc: --key-file (AUTHSVC_KEY_FILE) is required" },
        { { "serve", "--token-ttl", "0s", NULL },
          "authsvc: --token-ttl: bad value \"0s\": must be a time from 1s to "
          "366d" },
        { { "serve", "--hash-threads", "0", NULL },
          "authsvc: --hash-threads: bad value \"0\": must be a number from 1 "
          "to " },
        { { "serve", "--log-level", "loud", NULL },
          "authsvc: --log-level: bad value \"loud\": must be error, warn, "
          "info or debug" },
        { { "serve", "--issuer", "", NULL },
          "authsvc: --issuer: bad value \"\": must be 1 to 255 bytes" },
        { { "serve", "--store", "s", "--key-file", "k", "--tls-key", "t",
            NULL },
          "authsvc: --tls-key needs --tls-cert" }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_fails(cases[i].argv, 2, cases[i].text);
    }
}
END_TEST


START_TEST(test_help)
{
    size_t             i;
    const char *const  help[] = { "--help", NULL };
    const char *const  serve[] = { "serve", "--help", NULL };
    const char *const  version[] = { "--version", NULL };

    static const char *const  texts[] = {
        "--listen", "AUTHSVC_LISTEN", "127.0.0.1:5001", "--store",
        "--key-file", "--create-key", "--token-ttl", "1h", "--issuer",
        "--hash-threads", "--login-queue", "--log-level", "--drain-timeout"
    };

    ck_assert_int_eq(process_run(&other, help, ""), 0);
    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ck_assert_ptr_nonnull(strstr(other.output, texts[i]));
    }
    ck_assert_ptr_nonnull(strstr(other.output, "user role NAME ROLE"));

    ck_assert_int_eq(process_run(&other, serve, ""), 0);
    ck_assert_ptr_nonnull(strstr(other.output, "--login-queue"));
    ck_assert_int_eq(process_run(&other, version, ""), 0);
    ck_assert_int_eq(strncmp(other.output, "authsvc ", 8), 0);
}
END_TEST


START_TEST(test_bad_files)
{
    char               garbage[9000];
    const char *const  argv[] = {
        "serve", "--listen", "127.0.0.1:0", "--store", folder_path("s.db"),
        "--key-file", folder_path("key"), NULL
    };

    assert_fails(argv, 1, "/key\": No such file or directory");

    folder_write("key", "short\n", 6, 0600);
    assert_fails(argv, 1, "/key\": the secret must have 32 to 4096 bytes, "
                 "has 5");

    folder_write("key", KEY, strlen(KEY), 0600);
    memset(garbage, '#', sizeof(garbage));
    folder_write("s.db", garbage, sizeof(garbage), 0600);
    assert_fails(argv, 1, "/s.db\": file is not a database");
}
END_TEST


START_TEST(test_port_in_use)
{
    const char *const  argv[] = {
        "serve", "--listen", target, "--store", folder_path("s.db"),
        "--key-file", folder_path("key"), NULL
    };

    start(NULL, NULL, NULL, NULL);
    assert_fails(argv, 1, "cannot listen on 127.0.0.1:");
    stop();
}
END_TEST


START_TEST(test_create_key)
{
    int                i;
    struct stat        st;
    const char *const  argv[] = {
        "serve", "--listen", "127.0.0.1:0", "--store", folder_path("s.db"),
        "--key-file", folder_path("key"), "--create-key", NULL
    };

    for (i = 0; i < 2; i++) {
        process_start(&server, argv, "");
        ck_assert_ptr_nonnull(process_expect(&server, "listening on "));
        stop();
        ck_assert_int_eq(strstr(server.error, "created the key") != NULL,
                         i == 0);
        ck_assert_ptr_null(strstr(server.error, "warn"));
    }

    ck_assert_int_eq(stat(folder_path("key"), &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
    ck_assert_int_eq(st.st_size, 65);
    ck_assert_int_eq(stat(folder_path("s.db"), &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);

    ck_assert_int_eq(chmod(folder_path("key"), 0640), 0);
    process_start(&server, argv, "");
    ck_assert_ptr_nonnull(process_expect(&server, "has mode 0640"));
    ck_assert_ptr_nonnull(process_expect(&server, "listening on "));
    stop();
}
END_TEST


START_TEST(test_environment)
{
    const char *const  argv[] = { "serve", NULL };

    folder_write("key", KEY, strlen(KEY), 0600);
    setenv("AUTHSVC_LISTEN", "127.0.0.1:0", 1);
    setenv("AUTHSVC_STORE", folder_path("s.db"), 1);
    setenv("AUTHSVC_KEY_FILE", folder_path("key"), 1);

    process_start(&server, argv, "");
    ck_assert_ptr_nonnull(process_expect(&server, "listening on 127.0.0.1:"));
    stop();

    setenv("AUTHSVC_TOKEN_TTL", "never", 1);
    assert_fails(argv, 2, "authsvc: environment variable AUTHSVC_TOKEN_TTL: "
                 "bad value \"never\": must be a time from 1s to 366d");
}
END_TEST


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("authsvc");
    tcase = tcase_create("authsvc");
    tcase_set_timeout(tcase, 180);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_login_good);
    tcase_add_test(tcase, test_login_errors);
    tcase_add_test(tcase, test_store_failure);
    tcase_add_test(tcase, test_queue_full);
    tcase_add_test(tcase, test_cancelled);
    tcase_add_test(tcase, test_drain);
    tcase_add_test(tcase, test_health);
    tcase_add_test(tcase, test_usage);
    tcase_add_test(tcase, test_help);
    tcase_add_test(tcase, test_bad_files);
    tcase_add_test(tcase, test_port_in_use);
    tcase_add_test(tcase, test_create_key);
    tcase_add_test(tcase, test_environment);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? 0 : 1;
}
