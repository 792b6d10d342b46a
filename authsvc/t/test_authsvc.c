/*
 * The program "authsvc serve" from outside: Login over gRPC, and how it stops.
 */

#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sqlite3.h>

#include "authsvc/t/folder.h"
#include "authsvc/t/process.h"
#include "authsvc/t/server.h"
#include "authsvc/t/suite.h"
#include "health.pb-c.h"
#include "jwt/token.h"
#include "my_service.pb-c.h"
#include "rpc/client.h"
#include "rpc/server.h"
#include "rpc/t/scrape.h"


#define LOGIN    "/my_service.MyServiceAPI/Login"
#define TIMEOUT  60000


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


START_TEST(test_metrics)
{
    int            port;
    const char    *text, *start;
    rpc_client_t  *client;

    server_start("--metrics", "127.0.0.1:0", NULL, NULL);
    start = strstr(server_process.error, "serving metrics on 127.0.0.1:");
    ck_assert_ptr_nonnull(start);
    port = atoi(strchr(start, ':') + 1);

    client = rpc_client_create(server_target, NULL);
    assert_login(client, "TestUser", "TestPassword", "s-1", GRPC_STATUS_OK,
                 "");
    assert_login(client, "TestUser", "wrong", "s-1",
                 GRPC_STATUS_PERMISSION_DENIED,
                 "invalid username or password");
    rpc_client_free(client);

    text = scrape(port, NULL);
    scrape_has(text, "grpc_method=\"Login\",grpc_code=\"OK\"} 1\n");
    scrape_has(text, "grpc_method=\"Login\",grpc_code=\"PermissionDenied\"} "
               "1\n");
    scrape_has(text, "\nauthsvc_logins_total{outcome=\"ok\"} 1\n");
    scrape_has(text, "\nauthsvc_logins_total{outcome=\"denied\"} 1\n");
    scrape_has(text, "\nauthsvc_logins_total{outcome=\"queue_full\"} 0\n");
    scrape_has(text, "\nauthsvc_hash_seconds_count 2\n");
    scrape_has(text, "\nauthsvc_login_queue 0\n");
    scrape_has(text, "\nauthsvc_keys{state=\"active\"} 1\n");
    scrape_has(text, "\nauthsvc_key_info{kid=\"\",alg=\"HS256\"} 1\n");
    scrape_has(text, "\nauthsvc_key_age_seconds ");
    ck_assert_ptr_null(strstr(text, "TestUser"));

    server_stop();
}
END_TEST


START_TEST(test_login_good)
{
    char                       error[128];
    int64_t                    now;
    ms_keys_t                 *keys;
    ms_token_t                 token;
    rpc_client_t              *client;
    rpc_result_t               result;
    const ms_token_rules_t     rules = {
        .session_claim = "session_id", .issuer = "issuer-x"
    };
    MyService__LoginResponse  *response;

    server_start("--issuer", "issuer-x", "--token-ttl", "90s");
    client = rpc_client_create(server_target, NULL);

    response = login(client, TIMEOUT, "TestUser", "TestPassword", "s-1",
                     &result);
    ck_assert_int_eq(result.code, GRPC_STATUS_OK);
    ck_assert_ptr_nonnull(response);
    ck_assert_str_eq(response->role, "admin");

    now = time(NULL);
    keys = ms_keys_from_secret(SERVER_KEY, strlen(SERVER_KEY), NULL, error,
                               sizeof(error));
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
    server_stop();
    ck_assert_ptr_null(strstr(server_process.error, "warn"));
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

    server_start(NULL, NULL, NULL, NULL);
    client = rpc_client_create(server_target, NULL);

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
    server_stop();
}
END_TEST


START_TEST(test_store_failure)
{
    sqlite3       *db;
    rpc_client_t  *client;

    server_start(NULL, NULL, NULL, NULL);
    client = rpc_client_create(server_target, NULL);
    assert_login(client, "TestUser", "TestPassword", "s", 0, "");

    ck_assert_int_eq(sqlite3_open(folder_path("s.db"), &db), SQLITE_OK);
    sqlite3_busy_timeout(db, TIMEOUT);
    ck_assert_int_eq(sqlite3_exec(db, "ALTER TABLE users RENAME TO gone", NULL,
                                  NULL, NULL), SQLITE_OK);
    assert_login(client, "TestUser", "TestPassword", "s", 13,
                 "failed to get user");
    assert_login(client, "nobody", "TestPassword", "s", 13,
                 "failed to get user");
    ck_assert_ptr_nonnull(process_expect(&server_process, "cannot look up a "
                                         "user: no such table: users"));

    /* and it recovers */
    ck_assert_int_eq(sqlite3_exec(db, "ALTER TABLE gone RENAME TO users", NULL,
                                  NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_login(client, "TestUser", "TestPassword", "s", 0, "");

    rpc_client_free(client);
    server_stop();
}
END_TEST


static void
denied(rpc_client_t *client, const char *username, const char *password)
{
    assert_login(client, username, password, "s", 7,
                 "invalid username or password");
}


static rpc_client_t *
held(const char *backoff)
{
    int            i;
    rpc_client_t  *client;

    server_start("--login-failures=3", backoff, "--log-level=debug", NULL);
    client = rpc_client_create(server_target, NULL);
    assert_login(client, "TestUser", "TestPassword", "s", 0, "");

    for (i = 0; i < 3; i++) {
        denied(client, "TestUser", "wrong");
    }

    return client;
}


/* After some failures the right password is refused, too, for a while. That it
 * takes the time of a wrong one is test_burst's. */
START_TEST(test_held)
{
    int            i;
    rpc_client_t  *client;

    client = held("--login-backoff=1h");

    for (i = 0; i < 4; i++) {
        denied(client, "TestUser", i % 2 ? "TestPassword" : "wrong");
    }

    /* another user is not, nor another address */
    denied(client, "nobody", "wrong");

    rpc_client_free(client);
    server_stop();
}
END_TEST


/* It ends as promised, and begins anew. */
START_TEST(test_held_ends)
{
    int64_t                    begin;
    rpc_client_t              *client;
    rpc_result_t               result;
    MyService__LoginResponse  *response;

    client = held("--login-backoff=1s");
    begin = rpc_now();

    do {
        ck_assert_int_lt(rpc_now() - begin, TIMEOUT);
        response = login(client, TIMEOUT, "TestUser", "TestPassword", "s",
                         &result);
        rpc_result_free(&result);
    } while (response == NULL);

    my_service__login_response__free_unpacked(response, NULL);
    denied(client, "TestUser", "wrong");
    assert_login(client, "TestUser", "TestPassword", "s", 0, "");

    rpc_client_free(client);
    server_stop();
}
END_TEST


START_TEST(test_not_held)
{
    int            i;
    rpc_client_t  *client;

    server_start("--login-failures=0", NULL, NULL, NULL);
    client = rpc_client_create(server_target, NULL);
    for (i = 0; i < 10; i++) {
        denied(client, "TestUser", "wrong");
    }
    assert_login(client, "TestUser", "TestPassword", "s", 0, "");
    rpc_client_free(client);
    server_stop();
}
END_TEST


typedef struct {
    rpc_client_t      *client;
    grpc_status_code   code;
} login_thread_t;


static void *
login_thread(void *data)
{
    rpc_result_t               result;
    login_thread_t            *t = data;
    MyService__LoginResponse  *response;

    response = login(t->client, TIMEOUT, "TestUser", "TestPassword", "s",
                     &result);
    t->code = result.code;

    if (response != NULL) {
        my_service__login_response__free_unpacked(response, NULL);
    }
    rpc_result_free(&result);

    return NULL;
}


#define THREADS  40
#define QUEUE    "\nauthsvc_login_queue "

/* no password has it; it takes as long as twenty of "user add" */
#define SLOW_HASH                                                             \
    "$argon2id$v=19$m=19456,t=40,p=1$AAAAAAAAAAAAAAAAAAAAAA"                  \
    "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

typedef struct {
    int             port;               /* of the metrics */
    rpc_client_t   *client;
    rpc_stream_t   *slow[2];
    rpc_stream_t   *logins[THREADS];
} busy_t;


static int
metric(const busy_t *busy, const char *name)
{
    const char  *value;

    value = strstr(scrape(busy->port, NULL), name);

    return value != NULL ? atoi(value + strlen(name)) : 0;
}


static void
metric_await(const busy_t *busy, const char *name, int value)
{
    int64_t  since;

    since = rpc_now();

    while (metric(busy, name) != value) {
        ck_assert_msg(rpc_now() - since < TIMEOUT, "%s is not %d", name,
                      value);
    }
}


static rpc_stream_t *
login_start(rpc_client_t *client, const char *username)
{
    rpc_stream_t              *stream;
    MyService__LoginRequest    request;

    my_service__login_request__init(&request);
    request.username = (char *) username;
    request.password = "TestPassword";
    request.session_id = "s";

    stream = rpc_client_stream(client, LOGIN, NULL, 0, TIMEOUT,
                               &request.base,
                               &my_service__login_response__descriptor);
    ck_assert_ptr_nonnull(stream);

    return stream;
}


static rpc_result_t
login_finish(rpc_stream_t *stream)
{
    rpc_result_t       result;
    ProtobufCMessage  *response;

    response = rpc_stream_next(stream);

    if (response != NULL) {
        protobuf_c_message_free_unpacked(response, NULL);
    }

    rpc_stream_finish(stream, &result);

    return result;
}


/* One thread hashes a slow password, another slow one waits, then come the
 * others. */
static void
busy_start(busy_t *busy, const char *queue)
{
    int          i;
    sqlite3     *db;
    const char  *start;

    server_start("--hash-threads=1", "--metrics", "127.0.0.1:0", queue);
    start = strstr(server_process.error, "serving metrics on 127.0.0.1:");
    ck_assert_ptr_nonnull(start);
    busy->port = atoi(strchr(start, ':') + 1);

    ck_assert_int_eq(sqlite3_open(folder_path("s.db"), &db), SQLITE_OK);
    sqlite3_busy_timeout(db, TIMEOUT);
    ck_assert_int_eq(sqlite3_exec(db, "INSERT INTO users (name, hash, role) "
                                  "VALUES ('Slow', '" SLOW_HASH "', 'user')",
                                  NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);

    /* what follows is sent at once on a connection that is there */
    busy->client = rpc_client_create(server_target, NULL);
    assert_login(busy->client, "TestUser", "TestPassword", "first", 0, "");

    busy->slow[0] = login_start(busy->client, "Slow");
    busy->slow[1] = login_start(busy->client, "Slow");
    metric_await(busy, QUEUE, 1);

    for (i = 0; i < THREADS; i++) {
        busy->logins[i] = login_start(busy->client, "TestUser");
    }
}


static void
busy_end(busy_t *busy)
{
    int           i;
    rpc_result_t  result;

    for (i = 0; i < 2; i++) {
        result = login_finish(busy->slow[i]);
        ck_assert_int_eq(result.code, GRPC_STATUS_PERMISSION_DENIED);
        rpc_result_free(&result);
    }
}


START_TEST(test_queue_full)
{
    int           i, good;
    busy_t        busy;
    rpc_result_t  result;

    busy_start(&busy, "--login-queue=2");
    good = 0;

    for (i = 0; i < THREADS; i++) {
        result = login_finish(busy.logins[i]);

        if (result.code == GRPC_STATUS_OK) {
            good++;

        } else {
            ck_assert_int_eq(result.code, GRPC_STATUS_RESOURCE_EXHAUSTED);
            ck_assert_str_eq(result.message, "login queue is full");
        }

        rpc_result_free(&result);
    }

    ck_assert_int_eq(good, 1);
    busy_end(&busy);
    rpc_client_free(busy.client);
    server_stop();
}
END_TEST


/* Nobody waits for a cancelled login: its password is not hashed. */
START_TEST(test_cancelled)
{
    int           i;
    busy_t        busy;
    rpc_result_t  result;

    busy_start(&busy, NULL);
    metric_await(&busy, QUEUE, THREADS + 1);

    for (i = 0; i < THREADS; i++) {
        rpc_stream_finish(busy.logins[i], &result);
        ck_assert_int_eq(result.code, GRPC_STATUS_CANCELLED);
        rpc_result_free(&result);
    }

    metric_await(&busy, "grpc_method=\"Login\",grpc_code=\"Canceled\"} ",
                 THREADS);
    busy_end(&busy);
    assert_login(busy.client, "TestUser", "TestPassword", "last", 0, "");
    ck_assert_int_eq(metric(&busy, "\nauthsvc_hash_seconds_count "), 4);
    ck_assert_int_eq(metric(&busy,
                            "\nauthsvc_logins_total{outcome=\"cancelled\"} "),
                     THREADS);
    rpc_client_free(busy.client);
    server_stop();
}
END_TEST


START_TEST(test_drain)
{
    int              i, good;
    login_thread_t   logins[THREADS];
    pthread_t        threads[THREADS];
    rpc_client_t    *client;

    server_start("--hash-threads", "1", "--log-level", "debug");
    client = rpc_client_create(server_target, NULL);

    for (i = 0; i < 10; i++) {
        logins[i].client = client;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, login_thread,
                                        &logins[i]), 0);
    }

    ck_assert_ptr_nonnull(process_expect(&server_process, "login of "));
    kill(server_process.pid, SIGINT);

    good = 0;
    for (i = 0; i < 10; i++) {
        pthread_join(threads[i], NULL);
        good += (logins[i].code == GRPC_STATUS_OK);
    }

    /* what had begun was finished */
    ck_assert_int_ge(good, 1);
    rpc_client_free(client);
    ck_assert_int_eq(process_finish(&server_process, 0), 0);
}
END_TEST


/* Stopping waits for the answers of those that are held. */
START_TEST(test_held_drain)
{
    int              i, refused;
    pthread_t        threads[THREADS];
    rpc_client_t    *client;
    login_thread_t   logins[THREADS];

    server_start("--login-failures=1", "--login-backoff=1h",
                 "--login-backoff-max=1h", "--log-level=debug");
    client = rpc_client_create(server_target, NULL);
    denied(client, "TestUser", "wrong");

    for (i = 0; i < THREADS; i++) {
        logins[i].client = client;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, login_thread,
                                        &logins[i]), 0);
    }

    ck_assert_ptr_nonnull(process_expect(&server_process, "held"));
    kill(server_process.pid, SIGTERM);

    refused = 0;
    for (i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_ne(logins[i].code, GRPC_STATUS_OK);
        refused += (logins[i].code == GRPC_STATUS_PERMISSION_DENIED);
    }

    ck_assert_int_ge(refused, 1);
    rpc_client_free(client);
    ck_assert_int_eq(process_finish(&server_process, 0), 0);
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

    server_start(NULL, NULL, NULL, NULL);
    client = rpc_client_create(server_target, NULL);

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
    server_stop();
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("authsvc");
    tcase = tcase_create("authsvc");
    tcase_set_timeout(tcase, 180);
    tcase_add_checked_fixture(tcase, server_setup, server_teardown);
    tcase_add_test(tcase, test_login_good);
    tcase_add_test(tcase, test_metrics);
    tcase_add_test(tcase, test_login_errors);
    tcase_add_test(tcase, test_store_failure);
    tcase_add_test(tcase, test_held);
    tcase_add_test(tcase, test_held_ends);
    tcase_add_test(tcase, test_not_held);
    tcase_add_test(tcase, test_held_drain);
    tcase_add_test(tcase, test_queue_full);
    tcase_add_test(tcase, test_cancelled);
    tcase_add_test(tcase, test_drain);
    tcase_add_test(tcase, test_health);
    suite_add_tcase(suite, tcase);

    return suite_run(suite);
}
