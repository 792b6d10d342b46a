/*
 * Revoked tokens: every worker refuses them, also from its cache, calls in
 * flight end, and the list outlives reloads, workers and, with a file, nginx.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <jansson.h>

#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "inflight.h"
#undef CONF                             /* of inflight.h; api.h has its own */
#include "revoked.h"
#include "token.h"


static const int              past = -100;
static const client_header_t  get[] = { { ":method", "GET" }, NONE };


static void
start(const char *conf)
{
    (void) fake_start(8081, "one", inflight_play);
    harness_file("secret", HARNESS_SECRET, strlen(HARNESS_SECRET));
    gateway_start(conf);
}


/* a token that both workers have in their caches, and another one of the same
 * user, are told apart */
START_TEST(revocation_workers)
{
    char           *body;
    client_t       *clients[2];
    const char     *token, *other;
    client_call_t  *page;

    start(REVOKED_CONF(REVOKED_ZONE("1m")));
    token = revoked_token("t-1", &past);
    other = revoked_token("t-2", &past);
    revoked_workers(clients, token);
    client_assert(revoked_call(clients[0], token), 0, "");
    client_assert(revoked_call(clients[1], token), 0, "");

    json_decref(revoked_post(200, "{\"jti\":\"t-1\"}"));
    client_assert_refused(revoked_call(clients[0], token), 16, REVOKED);
    client_assert_refused(revoked_call(clients[1], token), 16, REVOKED);
    client_assert_refused(revoked_once(token), 16, REVOKED);
    client_assert(revoked_call(clients[0], other), 0, "");
    client_assert(revoked_call(clients[1], other), 0, "");
    ck_assert(gateway_logged("operator revokes tokens, jti=\"t-1\" until="));
    page = client_request(client_open(harness_port(8080)), "/metrics", get,
                          NULL, 0, false);
    client_wait(page);
    body = strndup((char *) page->body, page->len);
    ck_assert_ptr_nonnull(strstr(body, "\nmyservice_revocations 1\n"));
    ck_assert_ptr_nonnull(strstr(body, "status=\"REVOKED\"} 3\n"));
    free(body);
}
END_TEST


START_TEST(revocation_issued_before)
{
    size_t       i;
    time_t       now;
    const char  *tokens[3], *later;

    static const int  less = -51, equal = -50, more = -49;

    start(REVOKED_CONF(REVOKED_ZONE("1m")));
    now = time(NULL);
    tokens[0] = revoked_token(NULL, NULL);
    tokens[1] = revoked_token(NULL, &less);
    tokens[2] = revoked_token(NULL, &equal);
    later = revoked_token(NULL, &more);

    for (i = 0; i < 3; i++) {
        client_assert(revoked_once(tokens[i]), 0, "");
    }

    /* of others */

    json_decref(revoked_post(200, "{\"iss\":\"me\",\"sub\":\"bob\"}"));
    json_decref(revoked_post(200, "{\"iss\":\"mea\",\"sub\":\"nn\"}"));
    json_decref(revoked_post(200, "{\"iss\":\"\",\"sub\":\"ann\"}"));
    client_assert(revoked_once(tokens[0]), 0, "");
    client_assert(revoked_once(tokens[1]), 0, "");

    /* the tokens may have been made in the next second */

    json_decref(revoked_post(200, "{\"iss\":\"me\",\"sub\":\"ann\","
                             "\"before\":%lld}", (long long) now - 50));
    client_assert_refused(revoked_once(tokens[0]), 16, REVOKED);
    client_assert_refused(revoked_once(tokens[1]), 16, REVOKED);
    client_assert_refused(revoked_once(token_sign(
        "{\"iss\":\"me\",\"sub\":\"ann\",\"session_id\":\"s1\","
        "\"iat\":1,\"exp\":32503680000}", "HS256", TOKEN_SECRET)), 16,
        REVOKED);
    client_assert(revoked_once(later), 0, "");

    json_decref(revoked_post(200, "{\"iss\":\"me\",\"sub\":\"ann\"}"));
    client_assert_refused(revoked_once(later), 16, REVOKED);
    ck_assert_int_eq(revoked_total(), 4);
}
END_TEST


/* "iat" equal to "before", by numbers that no clock has a part in */
START_TEST(revocation_equal)
{
    const char  *equal, *later;

    start(REVOKED_CONF(REVOKED_ZONE("1m")));
    equal = token_sign("{\"iss\":\"me\",\"sub\":\"ann\",\"session_id\":\"s1\","
                       "\"iat\":1000,\"exp\":32503680000}", "HS256",
                       TOKEN_SECRET);
    later = token_sign("{\"iss\":\"me\",\"sub\":\"ann\",\"session_id\":\"s1\","
                       "\"iat\":1001,\"exp\":32503680000}", "HS256",
                       TOKEN_SECRET);

    json_decref(revoked_post(200, "{\"iss\":\"me\",\"sub\":\"ann\","
                             "\"before\":1000}"));
    client_assert_refused(revoked_once(equal), 16, REVOKED);
    client_assert(revoked_once(later), 0, "");

    /* an older "before" does not take a newer one back */

    json_decref(revoked_post(200, "{\"iss\":\"me\",\"sub\":\"ann\","
                             "\"before\":10}"));
    client_assert_refused(revoked_once(equal), 16, REVOKED);
}
END_TEST


static client_call_t *
subscribe(const char *token)
{
    client_call_t  *c;

    c = client_grpc(client_open(harness_port(8080)), SUBSCRIBE, token, "s1",
                    "", 0);
    client_wait_messages(c, 1);

    return c;
}


START_TEST(revocation_stream)
{
    client_call_t  *stream, *other;

    start(REVOKED_CONF(REVOKED_ZONE("1m")));
    stream = subscribe(revoked_token("t-1", &past));
    other = subscribe(revoked_token("t-2", &past));

    json_decref(revoked_post(200, "{\"jti\":\"t-1\"}"));
    client_wait(stream);
    client_assert(stream, 16, REVOKED);
    ck_assert(!other->done);

    /* the lease is still that of the user */

    json_decref(api_ask("GET", "/api/1/upstreams/u/sessions/s1", SESSION, NULL,
                        NULL, 200));
    client_assert(revoked_once(revoked_token("t-2", &past)), 0, "");
    client_cancel(other);
}
END_TEST


START_TEST(revocation_session)
{
    const char     *token;
    client_call_t  *stream;

    start(REVOKED_CONF(REVOKED_ZONE("1m")));
    token = revoked_token("t-1", &past);
    stream = subscribe(token);

    ck_assert_ptr_null(api_ask("DELETE",
                               "/api/1/upstreams/u/sessions/s1?revoke=1",
                               SESSION, api_change, NULL, 204));
    client_wait(stream);
    client_assert(stream, 16, REVOKED);
    client_assert_refused(revoked_once(token), 16, REVOKED);
    json_decref(api_ask("GET", "/api/1/upstreams/u/sessions/s1", SESSION, NULL,
                        NULL, 404));
    ck_assert(gateway_logged("operator revokes tokens, session=\"s1\" "
                             "before="));
    ck_assert(gateway_logged("operator ends a lease, session=\"s1\""));

    /* again, without a lease; other sessions are free to begin */

    ck_assert_ptr_null(api_ask("DELETE",
                               "/api/1/upstreams/u/sessions/s1?revoke=1",
                               SESSION, api_change, NULL, 204));
    ck_assert_int_eq(revoked_total(), 1);
    ck_assert_ptr_null(api_ask("DELETE", "/api/1/upstreams/u/sessions"
                               "?session=a%2F..%2Fb&revoke=1",
                               "/upstreams/{upstream}/sessions", api_change,
                               NULL, 204));
    ck_assert_int_eq(revoked_total(), 2);
    client_assert(echo_once("s2"), 0, "");
}
END_TEST


START_TEST(revocation_reload)
{
    const char  *token;

    start(REVOKED_CONF(REVOKED_ZONE("64k")));
    token = revoked_token("t-1", &past);
    json_decref(revoked_post(200, "{\"jti\":\"t-1\"}"));
    client_assert_refused(revoked_once(token), 16, REVOKED);

    gateway_reload(NULL);
    client_assert_refused(revoked_once(token), 16, REVOKED);

    gateway_kill_workers(2);
    client_assert_refused(revoked_once(token), 16, REVOKED);

    gateway_allow("cannot change its name or size");
    gateway_reload_refused(REVOKED_CONF(REVOKED_ZONE("128k")),
                           "zone of revoked tokens cannot change its name or "
                           "size while nginx runs: it is \"r\" of 65536 "
                           "bytes");
    client_assert_refused(revoked_once(token), 16, REVOKED);
}
END_TEST


START_TEST(revocation_restart)
{
    int          i;
    char         id[64];
    json_t      *answer;
    const char  *one, *two;

    start(REVOKED_CONF(REVOKED_FILE));
    one = revoked_token("t/\\\"\\\\1", &past);
    two = revoked_token(NULL, &past);
    json_decref(revoked_post(200, "{\"jti\":\"t/\\\"\\\\1\"}"));
    json_decref(revoked_post(200, "{\"iss\":\"me\",\"sub\":\"ann\"}"));

    for (i = 0; i < 10; i++) {
        answer = revoked_post(200, "{\"jti\":\"more-%d\"}", i);
        snprintf(id, sizeof(id), "%s",
                 json_string_value(json_object_get(answer, "id")));
        json_decref(answer);
    }

    /* what was answered is in the file, whatever comes now */

    ck_assert(harness_contains("revoked.json", id));
    ck_assert(harness_contains("revoked.json", "more-0"));

    for (i = 0; i < 2; i++) {
        gateway_stop();
        gateway_start(REVOKED_CONF(REVOKED_FILE));
        client_assert_refused(revoked_once(one), 16, REVOKED);
        client_assert_refused(revoked_once(two), 16, REVOKED);
        ck_assert_int_eq(revoked_total(), 12);
    }
}
END_TEST


/* a file that a reload names gets the whole list */
START_TEST(revocation_other_file)
{
    long long  since;

    start(REVOKED_CONF(REVOKED_ZONE("64k")));
    json_decref(revoked_post(200, "{\"jti\":\"t-1\"}"));
    gateway_reload(REVOKED_CONF(REVOKED_FILE));
    since = harness_now();

    while (!harness_contains("revoked.json", "t-1")) {
        harness_pause(since, "the file has the list");
    }

    gateway_reload(REVOKED_CONF("myservice_jwt_revocations zone=r:64k "
                                "file=%%DIR%%/other.json;\n"));

    while (!harness_contains("other.json", "t-1")) {
        harness_pause(since, "the other file has the list");
    }
}
END_TEST


START_TEST(revocation_broken_file)
{
    size_t       i;
    const char  *output;

    static const char *const  broken[][2] = {
        { "", "file of revoked tokens cannot be used: " },
        { "x", "file of revoked tokens cannot be used: " },
        { "{\"version\":1,\"entries\":[\n{\"jti\":\"a\",\"until\":9", "used" },
        { "{\"version\":2,\"entries\":[]}", "no \"version\" 1" },
        { "{\"version\":1}", "no \"entries\"" },
        { "{\"version\":1,\"entries\":[1]}", "must be texts" },
        { "{\"version\":1,\"entries\":[{\"jti\":\"a\"}]}", "\"until\"" },
        { "{\"version\":1,\"entries\":[{\"jti\":\"\",\"until\":9}]}",
          "must be texts" },
        { "{\"version\":1,\"entries\":[{\"jti\":\"a\",\"until\":9,"
          "\"x\":1}]}", "an entry has" },
        { "{\"version\":1,\"entries\":[{\"iss\":\"a\",\"sub\":\"b\","
          "\"until\":9}]}", "\"before\"" }
    };

    harness_file("secret", HARNESS_SECRET, strlen(HARNESS_SECRET));
    ck_assert_int_eq(gateway_test(REVOKED_CONF(REVOKED_FILE), &output), 0);

    for (i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        harness_file("revoked.json", broken[i][0], strlen(broken[i][0]));
        ck_assert_int_ne(gateway_test(REVOKED_CONF(REVOKED_FILE), &output), 0);
        ck_assert_msg(strstr(output, broken[i][1]) != NULL
                      && strstr(output, "/revoked.json") != NULL,
                      "%s: %s", broken[i][0], output);
    }

    harness_file("revoked.json", "{\"version\":1,\"entries\":[{\"jti\":\"a\","
                 "\"until\":9}]}", 47);
    ck_assert_int_eq(gateway_test(REVOKED_CONF(REVOKED_FILE), &output), 0);
}
END_TEST


/* the tokens are refused nevertheless, and the caller knows to repeat it */
START_TEST(revocation_unsaved)
{
    json_t      *answer;
    const char  *token;

    start(REVOKED_CONF("myservice_jwt_revocations zone=r:64k "
                       "file=%%DIR%%/none/revoked.json;\n"));
    token = revoked_token("t-1", &past);

    answer = revoked_post(503, "{\"jti\":\"t-1\"}");
    ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(answer,
                                                   "detail")), "repeat"));
    json_decref(answer);
    client_assert_refused(revoked_once(token), 16, REVOKED);
    ck_assert(gateway_logged("revoked tokens could not be saved: "));
}
END_TEST


/* the answer's status, on one connection; "answer" may be NULL */

static int
ask(const char *method, const char *path, const char *body, json_t **answer)
{
    client_call_t    *c;
    client_header_t   headers[] = { { ":method", method }, JSON, NONE };
    static client_t  *client;

    if (client == NULL) {
        client = client_open(harness_port(8080));
    }

    c = client_request(client, path, headers, body,
                       body != NULL ? strlen(body) : 0, false);
    client_wait(c);

    if (answer != NULL) {
        *answer = json_loadb((char *) c->body, c->len, 0, NULL);
        ck_assert_ptr_nonnull(*answer);
    }

    return c->http;
}


/* false: the list is full */

static bool
long_entry(int number)
{
    int   status;
    char  text[257], body[1024];

    memset(text, 'x', 256);
    text[256] = '\0';
    snprintf(body, sizeof(body), "{\"iss\":\"%s\",\"sub\":\"%.200s%d\"}",
             text, text, number);
    status = ask("POST", "/api/1/revocations", body, NULL);
    ck_assert(status == 200 || status == 507);

    return status == 200;
}


START_TEST(revocation_full)
{
    int          n;
    char         path[64], text[257];
    long         total;
    json_t      *answer, *next;
    const char  *first;

    start(REVOKED_CONF(REVOKED_ZONE("32k")));
    first = revoked_token("t-0", &past);

    memset(text, 'x', 256);
    text[256] = '\0';

    json_decref(revoked_post(200, "{\"jti\":\"t-0\"}"));

    for (n = 1; long_entry(n); n++) { /* void */ }

    ck_assert_int_gt(n, 5);
    json_decref(revoked_post(507, "{\"iss\":\"%s\",\"sub\":"
                             "\"%.200sab\"}", text, text));
    ck_assert_int_eq(revoked_total(), n);
    client_assert_refused(revoked_once(first), 16, REVOKED);
    json_decref(revoked_post(200, "{\"jti\":\"t-0\"}"));

    /* all of them, in pages */

    total = 0;
    snprintf(path, sizeof(path), "/api/1/revocations?limit=7");

    for ( ;; ) {
        answer = api_ask("GET", path, REVOCATIONS, NULL, NULL, 200);
        ck_assert_uint_le(json_array_size(json_object_get(answer,
                                              "revocations")), 7);
        total += (long) json_array_size(json_object_get(answer,
                                                        "revocations"));
        next = json_object_get(answer, "next");

        if (json_is_null(next)) {
            break;
        }

        snprintf(path, sizeof(path), "/api/1/revocations?limit=7&after=%lld",
                 (long long) json_integer_value(next));
        json_decref(answer);
    }

    json_decref(answer);
    ck_assert_int_eq(total, n);
    ck_assert(!gateway_logged("no memory"));
}
END_TEST


/* an entry that stays is on one of the pages, and on one only, though others go
 * from the places before it */

START_TEST(revocation_pages)
{
    int       i;
    char      text[128];
    json_t   *answer, *entry, *found;
    int64_t   next;

    start(REVOKED_CONF(REVOKED_ZONE("64k")));
    found = json_object();

    for (i = 0; i < 80; i++) {
        snprintf(text, sizeof(text), "{\"jti\":\"t-%d\"}", i);
        ck_assert_int_eq(ask("POST", "/api/1/revocations", text, NULL), 200);
    }

    while (long_entry(i)) {
        i++;
    }

    for (next = 0; ; /* void */ ) {
        snprintf(text, sizeof(text), "/api/1/revocations?limit=1&after=%lld",
                 (long long) next);
        ck_assert_int_eq(ask("GET", text, NULL, &answer), 200);
        entry = json_array_get(json_object_get(answer, "revocations"), 0);

        if (entry == NULL) {
            json_decref(answer);
            break;
        }

        next = json_integer_value(json_object_get(answer, "next"));

        if (json_object_get(entry, "jti") != NULL) {
            ck_assert_int_eq(json_object_set(found,
                json_string_value(json_object_get(entry, "jti")), entry), 0);
        }

        /* it leaves the list when the next one finds no room */

        snprintf(text, sizeof(text), "/api/1/revocations/%s",
                 json_string_value(json_object_get(entry, "id")));
        ck_assert_int_eq(ask("DELETE", text, NULL, NULL), 204);
        json_decref(answer);
        (void) long_entry(++i);
    }

    ck_assert_uint_eq(json_object_size(found), 80);
    json_decref(found);
}
END_TEST


START_TEST(revocation_ends)
{
    char           path[128];
    json_t        *answer;
    client_t      *client;
    long long      since;
    const char    *token;
    client_call_t *call;


    start(REVOKED_CONF(REVOKED_ZONE("64k")));
    token = revoked_token("t-1", &past);

    answer = revoked_post(200, "{\"jti\":\"t-1\",\"until\":%lld}",
                          (long long) time(NULL) + 2);
    json_decref(answer);

    since = harness_now();
    client = client_open(harness_port(8080));

    for ( ;; ) {
        call = client_request(client, "/api/1/revocations", get, NULL, 0,
                              false);
        client_wait(call);
        ck_assert_int_eq(call->http, 200);

        if (strncmp((char *) call->body, "{\"total\":0,", 11) == 0) {
            break;
        }

        harness_pause(since, "the entry leaves");
    }

    client_assert(revoked_once(token), 0, "");

    /* by the operator */

    answer = revoked_post(200, "{\"jti\":\"t-1\"}");
    snprintf(path, sizeof(path), "/api/1/revocations/%s",
             json_string_value(json_object_get(answer, "id")));
    json_decref(answer);
    client_assert_refused(revoked_once(token), 16, REVOKED);
    ck_assert_ptr_null(api_ask("DELETE", path, REVOCATIONS "/{id}", api_change,
                               NULL, 204));
    json_decref(api_ask("DELETE", path, REVOCATIONS "/{id}", api_change, NULL,
                        404));
    json_decref(api_ask("DELETE", "/api/1/revocations/x",
                        REVOCATIONS "/{id}", api_change, NULL, 404));
    client_assert(revoked_once(token), 0, "");
    ck_assert(gateway_logged("operator ends a revocation, id=\""));
}
END_TEST


START_TEST(revocation_bad_requests)
{
    size_t  i;
    char    text[600];

    static const char *const  bad[] = {
        "{}", "[]", "{\"jti\":1}", "{\"jti\":\"\"}", "{\"iss\":\"a\"}",
        "{\"sub\":\"a\"}", "{\"iss\":\"a\",\"sub\":\"\"}",
        "{\"jti\":\"a\",\"sub\":\"b\",\"iss\":\"c\"}",
        "{\"jti\":\"a\",\"before\":1}", "{\"jti\":\"a\",\"until\":1}",
        "{\"jti\":\"a\",\"until\":\"9\"}", "{\"jti\":\"a\",\"until\":1e9}",
        "{\"jti\":\"a\",\"until\":-1}", "{\"jti\":\"a\",\"until\":99999999999}",
        "{\"iss\":\"a\",\"sub\":\"b\",\"before\":99999999999}",
        "{\"iss\":\"a\",\"sub\":\"b\",\"before\":\"x\"}"
    };

    start(REVOKED_CONF(REVOKED_ZONE("64k")));

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json_decref(revoked_post(400, "%s", bad[i]));
    }

    memset(text, 'x', sizeof(text));
    text[256] = '\0';
    json_decref(revoked_post(200, "{\"jti\":\"%s\"}", text));
    text[256] = 'x';
    text[257] = '\0';
    json_decref(revoked_post(400, "{\"jti\":\"%s\"}", text));
    json_decref(revoked_post(200, "{\"iss\":\"\xc3\xa4\",\"sub\":"
                             "\"\\u000a\xf0\x9f\x99\x82\"}"));
    ck_assert(gateway_logged("iss=\"%C3%A4\" sub=\"%0A%F0%9F%99%82\""));
    ck_assert_int_eq(revoked_total(), 2);

    json_decref(api_ask("GET", "/api/1/revocations?limit=0", REVOCATIONS, NULL,
                        NULL, 400));
    json_decref(api_ask("GET", "/api/1/revocations?after=x", REVOCATIONS, NULL,
                        NULL, 400));
    json_decref(api_ask("POST", "/api/1/revocations", REVOCATIONS, NULL, "{}",
                        415));
}
END_TEST


START_TEST(revocation_off)
{
    start(REVOKED_CONF(""));

    json_decref(revoked_post(409, "{\"jti\":\"a\"}"));
    json_decref(api_ask("GET", "/api/1/revocations", REVOCATIONS, NULL, NULL,
                        409));
    json_decref(api_ask("DELETE", "/api/1/revocations/x",
                        REVOCATIONS "/{id}", api_change, NULL, 404));
    json_decref(api_ask("DELETE", "/api/1/upstreams/u/sessions/s1?revoke=1",
                        SESSION, api_change, NULL, 409));
}
END_TEST


START_TEST(revocation_conf)
{
    size_t       i;
    const char  *output;

    static const char *const  bad[][2] = {
        { REVOKED_CONF("myservice_jwt_revocations file=x;\n"), "zone=" },
        { REVOKED_CONF(REVOKED_ZONE("1m") REVOKED_ZONE("1m")), "duplicate" },
        { REVOKED_CONF("myservice_jwt_revocations zone=r;\n"), "name:1m" },
        { REVOKED_CONF("myservice_jwt_revocations zone=:1m;\n"), "name:1m" },
        { REVOKED_CONF("myservice_jwt_revocations zone=r:1k;\n"), "name:1m" },
        { REVOKED_CONF("myservice_jwt_revocations zone=r:1m file=;\n"),
          "a path" },
        { REVOKED_CONF("myservice_jwt_revocations zone=r:1m keep=0;\n"),
          "keep=" },
        { REVOKED_CONF("myservice_jwt_revocations zone=r:1m x=1;\n"), "x=1" }
    };

    harness_file("secret", HARNESS_SECRET, strlen(HARNESS_SECRET));

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_ne(gateway_test(bad[i][0], &output), 0);
        ck_assert_msg(strstr(output, bad[i][1]) != NULL, "%s", output);
    }

    ck_assert_int_eq(gateway_test(REVOKED_CONF("myservice_jwt_revocations "
                                  "zone=r:32k keep=366d;\n"), &output), 0);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("revocation");
    harness_add(suite, revocation_workers);
    harness_add(suite, revocation_issued_before);
    harness_add(suite, revocation_equal);
    harness_add(suite, revocation_stream);
    harness_add(suite, revocation_session);
    harness_add(suite, revocation_reload);
    harness_add(suite, revocation_restart);
    harness_add(suite, revocation_other_file);
    harness_add(suite, revocation_broken_file);
    harness_add(suite, revocation_unsaved);
    harness_add(suite, revocation_full);
    harness_add(suite, revocation_pages);
    harness_add(suite, revocation_ends);
    harness_add(suite, revocation_bad_requests);
    harness_add(suite, revocation_off);
    harness_add(suite, revocation_conf);

    return harness_run(suite, "test_revocation");
}
