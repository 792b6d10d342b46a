/*
 * What "authsvc serve --audit-log" writes about logins.
 */

#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <jansson.h>
#include <sqlite3.h>

#include "authsvc/t/folder.h"
#include "authsvc/t/process.h"
#include "authsvc/t/suite.h"
#include "jwt/token.h"
#include "my_service.pb-c.h"
#include "rpc/client.h"


#define LOGIN     "/my_service.MyServiceAPI/Login"
#define TIMEOUT   60000
#define PASSWORD  "Secret-Password-1"


static process_t      server, command;
static rpc_client_t  *client;


static void
add_user(void)
{
    const char *const  add[] = {
        "user", "add", "TestUser", "--role", "admin", "--create", "--store",
        folder_path("s.db"), NULL
    };

    ck_assert_int_eq(process_run(&command, add, PASSWORD "\n"), 0);
}


static void
setup(void)
{
    folder_create();
    add_user();
}


static void
teardown(void)
{
    folder_remove();
}


static void
start_with(const char *path, const char *proxies, const char *a, const char *b)
{
    char               target[64];
    const char        *port;
    const char *const  serve[] = {
        "serve", "--listen", "127.0.0.1:0", "--store", folder_path("s.db"),
        "--keys", folder_path("keys"), "--create-key", "--audit-log", path,
        "--trusted-proxy", proxies, a, b, NULL
    };

    process_start(&server, serve, "");
    port = process_expect(&server, "listening on 127.0.0.1:");
    ck_assert_ptr_nonnull(port);
    snprintf(target, sizeof(target), "127.0.0.1:%s", port);
    client = rpc_client_create(target, NULL);
}


static void
start(const char *path, const char *proxies)
{
    start_with(path, proxies, NULL, NULL);
}


static void
stop(void)
{
    rpc_client_free(client);
    ck_assert_int_eq(process_finish(&server, SIGTERM), 0);
}


static char *
login_within(int64_t timeout, const char *username, const char *password,
    const char *session, const rpc_metadata_t *metadata, size_t n)
{
    char                      *token;
    rpc_result_t               result;
    MyService__LoginRequest    request;
    MyService__LoginResponse  *response;

    my_service__login_request__init(&request);
    request.username = (char *) username;
    request.password = (char *) password;
    request.session_id = (char *) session;

    response = (MyService__LoginResponse *) rpc_client_unary(
        client, LOGIN, metadata, n, timeout, &request.base,
        &my_service__login_response__descriptor, &result);
    token = response != NULL ? strdup(response->token) : NULL;

    if (response != NULL) {
        my_service__login_response__free_unpacked(response, NULL);
    }
    rpc_result_free(&result);

    return token;
}


/* The token, or NULL. */
static char *
login(const char *username, const char *password, const char *session,
    const rpc_metadata_t *metadata, size_t n)
{
    return login_within(TIMEOUT, username, password, session, metadata, n);
}


/* The n-th line as JSON; NULL if there is none. */
static json_t *
line_if(const char *path, int n)
{
    int      i;
    char     text[8192];
    FILE    *file;
    json_t  *json;

    file = fopen(path, "r");
    json = NULL;

    for (i = 0; file != NULL && fgets(text, sizeof(text), file) != NULL; i++) {
        if (i == n && strchr(text, '\n') != NULL) {
            json = json_loads(text, 0, NULL);
            ck_assert_msg(json != NULL, "%s", text);
            break;
        }
    }

    if (file != NULL) {
        fclose(file);
    }

    return json;
}


/* The answer may be there before the line. */
static json_t *
line(const char *name, int n)
{
    int      i;
    json_t  *json;

    for (i = 0; i < 6000; i++) {
        json = line_if(folder_path(name), n);
        if (json != NULL) {
            return json;
        }
        usleep(10000);
    }

    ck_abort_msg("no line %d in %s", n, name);
}


static void
assert_member(const json_t *json, const char *name, const char *value)
{
    const char  *text;

    text = json_string_value(json_object_get(json, name));

    ck_assert_msg(value == NULL ? text == NULL
                  : text != NULL && strcmp(text, value) == 0,
                  "%s is %s, not %s", name, text, value);
}


static const struct {
    const char  *user;
    const char  *password;
    const char  *session;
    const char  *outcome;
    const char  *reason;
} logins[] = {
    { "", PASSWORD, "s", "refused", "no_username" },
    { "TestUser", PASSWORD, "", "refused", "no_session" },
    { "TestUser", PASSWORD, "a b\n", "refused", "bad_session" },
    { "TestUser", "wrong", "s", "refused", "denied" },
    { "J\xc3\xb6rg\"\n", PASSWORD, "s", "refused", "denied" },
    { "TestUser", PASSWORD, "s", "ok", "ok" }
};


START_TEST(test_lines)
{
    char        *token, text[65536];
    FILE        *file;
    size_t       i, n;
    json_t      *json;

    start(folder_path("log"), "127.0.0.1");

    for (i = 0; i < sizeof(logins) / sizeof(logins[0]); i++) {
        token = login(logins[i].user, logins[i].password, logins[i].session,
                      NULL, 0);
        json = line("log", (int) i);
        assert_member(json, "event", "login");
        assert_member(json, "user", logins[i].user);
        assert_member(json, "session", logins[i].session);
        assert_member(json, "address", "127.0.0.1");
        assert_member(json, "outcome", logins[i].outcome);
        assert_member(json, "reason", logins[i].reason);

        if (token == NULL) {
            assert_member(json, "role", NULL);
            assert_member(json, "kid", NULL);
            assert_member(json, "jti", NULL);

        } else {
            ck_assert_uint_eq(i, sizeof(logins) / sizeof(logins[0]) - 1);
        }

        free(token);
        json_decref(json);
    }

    stop();

    file = fopen(folder_path("log"), "r");
    n = fread(text, 1, sizeof(text) - 1, file);
    text[n] = '\0';
    fclose(file);
    ck_assert_ptr_null(strstr(text, PASSWORD));
    ck_assert_ptr_null(strstr(text, "wrong"));
    ck_assert_ptr_null(strstr(text, "eyJ"));
}
END_TEST


/* The line says which token it was. */
START_TEST(test_token)
{
    char                    *token, kid[256], error[256];
    json_t                  *json;
    ms_keys_t               *keys;
    ms_token_t               claims;
    const ms_token_rules_t   rules = { .session_claim = "session_id" };
    const char *const        export[] = {
        "key", "export", "--keys", folder_path("keys"), "--out",
        folder_path("jwks"), NULL
    };

    start(folder_path("log"), "");
    token = login("TestUser", PASSWORD, "s", NULL, 0);
    ck_assert_ptr_nonnull(token);
    ck_assert_int_eq(ms_token_unverified_kid(token, strlen(token), kid,
                                             sizeof(kid)), 0);
    ck_assert_int_eq(process_run(&command, export, ""), 0);
    keys = ms_keys_from_file(folder_path("jwks"), NULL, error, sizeof(error));
    ck_assert_msg(keys != NULL, "%s", error);
    ck_assert_int_eq(ms_token_verify(keys, token, strlen(token), &rules,
                                     time(NULL), &claims), MS_TOKEN_OK);

    json = line("log", 0);
    assert_member(json, "kid", kid);
    assert_member(json, "role", "admin");
    assert_member(json, "jti",
                  json_string_value(json_object_get(claims.claims, "jti")));

    json_decref(json);
    ms_token_free(&claims);
    ms_keys_free(keys);
    free(token);
    stop();
}
END_TEST


static const struct {
    const char      *proxies;
    size_t           n;
    rpc_metadata_t   metadata[2];
    const char      *address;
} peers[] = {
    { "127.0.0.1", 1, { { "x-real-ip", "192.0.2.7" } }, "192.0.2.7" },
    { "127.0.0.1", 0, { { NULL, NULL } }, "127.0.0.1" },
    { "127.0.0.1", 1, { { "x-real-ip", "nonsense" } }, "127.0.0.1" },
    { "127.0.0.1", 2, { { "x-real-ip", "192.0.2.7" },
                        { "x-real-ip", "192.0.2.8" } }, "127.0.0.1" },
    { "127.0.0.2", 1, { { "x-real-ip", "192.0.2.7" } }, "127.0.0.1" },
    { "", 1, { { "x-real-ip", "192.0.2.7" } }, "127.0.0.1" }
};


START_TEST(test_address)
{
    json_t  *json;

    start(folder_path("log"), peers[_i].proxies);
    free(login("TestUser", "wrong", "s", peers[_i].metadata, peers[_i].n));
    json = line("log", 0);
    assert_member(json, "address", peers[_i].address);
    json_decref(json);
    stop();
}
END_TEST


START_TEST(test_store_failure)
{
    json_t   *json;
    sqlite3  *db;

    start(folder_path("log"), "");
    ck_assert_int_eq(sqlite3_open(folder_path("s.db"), &db), SQLITE_OK);
    sqlite3_busy_timeout(db, TIMEOUT);
    ck_assert_int_eq(sqlite3_exec(db, "ALTER TABLE users RENAME TO gone", NULL,
                                  NULL, NULL), SQLITE_OK);
    sqlite3_close(db);

    ck_assert_ptr_null(login("TestUser", PASSWORD, "s", NULL, 0));
    json = line("log", 0);
    assert_member(json, "outcome", "failed");
    assert_member(json, "reason", "store");
    json_decref(json);
    stop();
}
END_TEST


/* After five failures or so the back-off holds; each one makes it longer. */
START_TEST(test_held)
{
    int      i;
    bool     held;
    json_t  *json;

    start(folder_path("log"), "");
    held = false;

    for (i = 0; i < 12 && !held; i++) {
        ck_assert_ptr_null(login("TestUser", "wrong", "s", NULL, 0));
        json = line("log", i);
        assert_member(json, "outcome", "refused");
        held = strcmp(json_string_value(json_object_get(json, "reason")),
                      "held") == 0;
        json_decref(json);
    }

    ck_assert(held);
    ck_assert_int_gt(i, 5);
    stop();
}
END_TEST


#define THREADS  40

static const struct {
    int64_t      timeout;
    const char  *queue;
    const char  *reason;
} crowds[] = {
    { TIMEOUT, "--login-queue=2", "queue_full" },
    { 100, "--login-queue=1000", "cancelled" }
};


static void *
crowd_run(void *data)
{
    free(login_within(*(const int64_t *) data, "TestUser", PASSWORD, "s", NULL,
                      0));

    return NULL;
}


static void
crowd(int64_t timeout)
{
    int        i;
    pthread_t  threads[THREADS];

    for (i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, crowd_run,
                                        &timeout), 0);
    }
    for (i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
}


/* How many lines have the reason; the others are good logins. */
static int
crowd_count(const char *want, int *lines)
{
    int          i, found;
    json_t      *json;
    const char  *reason;

    found = 0;

    for (i = 0; (json = line_if(folder_path("log"), i)) != NULL; i++) {
        reason = json_string_value(json_object_get(json, "reason"));

        if (strcmp(reason, want) == 0) {
            assert_member(json, "outcome", "failed");
            assert_member(json, "jti", NULL);
            found++;

        } else {
            ck_assert_str_eq(reason, "ok");
        }

        json_decref(json);
    }

    *lines = i;

    return found;
}


/* More at once than one thread can take.  A call that ended before it came to
 * authsvc has no line, all others have one. */
START_TEST(test_crowd)
{
    int  i, lines, found;

    start_with(folder_path("log"), "", "--hash-threads=1", crowds[_i].queue);

    for (i = 1; i <= 20; i++) {
        crowd(crowds[_i].timeout);
        found = crowd_count(crowds[_i].reason, &lines);
        if (found > 0) {
            break;
        }
    }

    stop();
    found = crowd_count(crowds[_i].reason, &lines);
    ck_assert_int_gt(found, 0);
    ck_assert(crowds[_i].timeout != TIMEOUT || lines == i * THREADS);
}
END_TEST


START_TEST(test_rotate)
{
    json_t            *json;
    static const int   signals[] = { SIGHUP, SIGUSR1 };

    start(folder_path("log"), "");
    free(login("TestUser", PASSWORD, "s-1", NULL, 0));
    json_decref(line("log", 0));

    ck_assert_int_eq(rename(folder_path("log"), folder_path("log.1")), 0);
    ck_assert_int_eq(kill(server.pid, signals[_i]), 0);
    ck_assert_ptr_nonnull(process_expect(&server, "opened the audit log"));

    free(login("TestUser", PASSWORD, "s-2", NULL, 0));
    json = line("log", 0);
    assert_member(json, "session", "s-2");
    json_decref(json);
    stop();
}
END_TEST


START_TEST(test_standard_output)
{
    start("-", "");
    free(login("TestUser", PASSWORD, "s-1", NULL, 0));
    stop();
    ck_assert_ptr_nonnull(strstr(server.output, "\"session\":\"s-1\""));
    ck_assert_ptr_nonnull(strstr(server.output, "\"outcome\":\"ok\""));
}
END_TEST


START_TEST(test_bad)
{
    const char *const  argv[] = {
        "serve", "--listen", "127.0.0.1:0", "--store", folder_path("s.db"),
        "--key-file", folder_path("key"), "--create-key", "--audit-log",
        folder_path("none/log"), NULL
    };

    ck_assert_int_eq(process_run(&server, argv, ""), 1);
    ck_assert_ptr_nonnull(strstr(server.error, "none/log\": No such file"));
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("login_audit");
    tcase = tcase_create("login_audit");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_lines);
    tcase_add_test(tcase, test_token);
    tcase_add_loop_test(tcase, test_address, 0,
                        sizeof(peers) / sizeof(peers[0]));
    tcase_add_test(tcase, test_store_failure);
    tcase_add_test(tcase, test_held);
    tcase_add_loop_test(tcase, test_crowd, 0, 2);
    tcase_add_loop_test(tcase, test_rotate, 0, 2);
    tcase_add_test(tcase, test_standard_output);
    tcase_add_test(tcase, test_bad);
    suite_add_tcase(suite, tcase);

    return suite_run(suite);
}
