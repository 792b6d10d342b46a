/*
 * Revoked tokens of several gateways: what one revokes, or accepts again, all
 * of the store do, also if the store was away, or has lost all.  The test plays
 * the other gateways.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "revoked.h"
#include "store_server.h"


#define STORE  8090

#define GATEWAY(zone)                                                         \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    " zone "\n"                                                          \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=z:1m;\n"              \
    "        myservice_store redis://127.0.0.1:8090 prefix=u timeout=5s\n"    \
    "                        failure=local;\n"                                \
    "        server 127.0.0.1:8081;\n"                                        \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / {\n"                                                  \
    "            myservice_jwt on;\n"                                         \
    "            myservice_jwt_secret_file %%DIR%%/secret;\n"                 \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "        location /api/ { myservice_api write=on; }\n"                    \
    "        location = /metrics { myservice_metrics; }\n"                   \
    "    }\n"                                                                 \
    "}\n"

#define LIST  GATEWAY("myservice_jwt_revocations zone=r:1m;")
#define SMALL  GATEWAY("myservice_jwt_revocations zone=r:32k;")
#define KEPT  GATEWAY("myservice_jwt_revocations zone=r:1m "                  \
                      "file=%%DIR%%/revoked.json;")

/* the stamp of a word in a year to come, and before all others */
#define LATE   "1990000000000000"
#define EARLY  "1000000000000000"


static pid_t          server;
static char           sha[41];
static redisContext  *store;


static void
store_start(void)
{
    char  *script;

    if (store != NULL) {
        redisFree(store);
    }

    server = store_server_start(harness_port(STORE), NULL);
    store = store_server_connect();
    script = store_server_script(NULL, NULL);
    store_server_load(store, script, sha);
    free(script);
}


static void
begin(const char *conf)
{
    store_start();
    (void) fake_start(8081, "one", fake_ok);
    harness_file("secret", HARNESS_SECRET, strlen(HARNESS_SECRET));
    gateway_start(conf);
}


/* the store's entry with that id, static; "" if there is none */

static const char *
stored(const char *id)
{
    redisReply  *r;

    static char  copy[4096];

    r = store_server_ask(store, (const char *[]) { "HGET", "{u}:r", id,
                                                   NULL });
    snprintf(copy, sizeof(copy), "%s",
             r->type == REDIS_REPLY_STRING ? r->str : "");
    freeReplyObject(r);

    return copy;
}


static void
await_stored(const char *id, const char *text)
{
    long long  since;

    since = harness_now();

    while (strstr(stored(id), text) == NULL) {
        harness_pause(since, text);
    }
}


/* an operator of this gateway; the id is static */

static const char *
revoke(const char *jti)
{
    json_t  *answer;

    static char  id[40];

    answer = revoked_post(200, "{\"jti\":\"%s\"}", jti);
    snprintf(id, sizeof(id), "%s",
             json_string_value(json_object_get(answer, "id")));
    json_decref(answer);

    return id;
}


static void
accept_again(const char *id)
{
    char  path[128];

    snprintf(path, sizeof(path), "/api/1/revocations/%s", id);
    json_decref(api_ask("DELETE", path, "/revocations/{id}", api_change, NULL,
                        204));
}


/* the text of an entry for a jti; static */

static const char *
entry(const char *jti, const char *stamp, bool ended)
{
    static char  text[256];

    snprintf(text, sizeof(text),
             "{\"jti\":\"%s\",\"until\":%lld,\"stamp\":%s%s}", jti,
             (long long) time(NULL) + 3600, stamp,
             ended ? ",\"ended\":true" : "");

    return text;
}


/* another gateway's word */

static void
other(const char *id, const char *jti, const char *stamp, bool ended)
{
    freeReplyObject(store_server_eval(store, sha, (const char *[]) {
                        "revoke", "x", id, stamp, "1990000000",
                        entry(jti, stamp, ended), NULL }));
}


static void
await_call(const char *token, int status)
{
    long long       since;
    client_t       *client;
    client_call_t  *c;

    client = client_open(harness_port(8080));
    since = harness_now();

    while ((c = revoked_call(client, token))->grpc != status) {
        harness_pause(since, "the call's answer");
    }

    if (status == 16) {
        client_assert_refused(c, 16, REVOKED);
    }
}


/* what this gateway revokes, and what it accepts again, the store has */

START_TEST(told)
{
    const char  *id;

    begin(LIST);

    id = revoke("t-1");
    await_stored(id, "\"jti\":\"t-1\"");
    ck_assert_ptr_null(strstr(stored(id), "ended"));

    accept_again(id);
    await_stored(id, "\"ended\":true");
    ck_assert_int_eq(revoked_total(), 0);

    (void) revoke("t-1");
    await_stored(id, "\"jti\":\"t-1\"");
    ck_assert_int_eq(revoked_total(), 1);
    client_assert_refused(revoked_once(revoked_token("t-1", NULL)), 16,
                          REVOKED);
}
END_TEST


/* a session's tokens, by the API that ends its lease */

START_TEST(session)
{
    redisReply  *r;
    long long    since;

    begin(LIST);

    client_assert(revoked_once(revoked_token(NULL, NULL)), 0, "");
    json_decref(api_ask("DELETE", "/api/1/upstreams/u/sessions/s1?revoke=1",
                        SESSION, api_change, NULL, 204));
    since = harness_now();

    for ( ;; ) {
        r = store_server_ask(store, (const char *[]) { "HVALS", "{u}:r",
                                                       NULL });
        if (r->elements == 1) {
            break;
        }

        freeReplyObject(r);
        harness_pause(since, "the store has no revocation");
    }

    ck_assert_ptr_nonnull(strstr(r->element[0]->str, "\"session\":\"s1\""));
    freeReplyObject(r);
    client_assert_refused(revoked_once(revoked_token(NULL, NULL)), 16,
                          REVOKED);
}
END_TEST


/* what others revoke is refused here, from both workers' caches */

START_TEST(heard)
{
    const char  *token;

    begin(LIST);

    token = revoked_token("t-1", NULL);
    client_assert(revoked_once(token), 0, "");

    other("a", "t-1", EARLY, false);
    await_call(token, 16);
    client_assert_refused(revoked_once(token), 16, REVOKED);
    ck_assert(gateway_logged("operator of another gateway revokes tokens, "
                             "jti=\"t-1\""));

    other("a", "t-1", LATE, true);
    await_call(token, 0);
    ck_assert(gateway_logged("operator of another gateway ends a revocation, "
                             "jti=\"t-1\""));

    /* that is the last word, though it came first here */

    other("b", "t-1", EARLY, false);
    other("c", "t-2", EARLY, false);
    await_call(revoked_token("t-2", NULL), 16);
    client_assert(revoked_once(token), 0, "");

    /* what makes no sense is no revocation, and no harm */

    freeReplyObject(store_server_eval(store, sha, (const char *[]) {
                        "revoke", "x", "d", LATE, "1990000000", "{\"jti\":1}",
                        NULL }));
    other("e", "t-3", EARLY, false);
    await_call(revoked_token("t-3", NULL), 16);
    ck_assert(gateway_logged("revocation of another gateway was not "
                             "understood"));
}
END_TEST


/* a gateway that starts, or has missed something, learns all that is there */

START_TEST(learnt)
{
    char  value[512];

    begin(LIST);
    other("a", "t-1", EARLY, false);
    await_call(revoked_token("t-1", NULL), 16);

    gateway_stop();
    gateway_start(LIST);
    await_call(revoked_token("t-1", NULL), 16);

    gateway_reload(NULL);
    client_assert_refused(revoked_once(revoked_token("t-1", NULL)), 16,
                          REVOKED);

    /* without a word in the stream; the next one shows the gap */

    snprintf(value, sizeof(value), EARLY " 1990000000 %s",
             entry("t-2", EARLY, false));
    freeReplyObject(store_server_ask(store, (const char *[]) {
                        "EVAL", "redis.call('HSET', KEYS[1], 'b', ARGV[1]) "
                        "redis.call('HINCRBY', KEYS[2], 'n', 3)", "2",
                        "{u}:r", "{u}:c", value, NULL }));
    other("c", "t-3", EARLY, false);
    await_call(revoked_token("t-2", NULL), 16);
}
END_TEST


/* local at once, and the store is told when it is there again; one that has
 * lost all is told all */

START_TEST(away)
{
    char         first[40];
    const char  *id;

    begin(KEPT);

    snprintf(first, sizeof(first), "%s", revoke("t-1"));
    await_stored(first, "t-1");
    other("a", "t-2", EARLY, false);
    await_call(revoked_token("t-2", NULL), 16);

    store_server_kill(server);
    id = revoke("t-3");
    client_assert_refused(revoked_once(revoked_token("t-3", NULL)), 16,
                          REVOKED);
    accept_again(first);
    client_assert(revoked_once(revoked_token("t-1", NULL)), 0, "");

    store_start();
    await_stored(id, "\"jti\":\"t-3\"");
    await_stored(first, "\"ended\":true");
    ck_assert_int_eq(revoked_total(), 2);

    /* by its file, while the store is away, and then all gateways */

    store_server_kill(server);
    gateway_stop();
    gateway_start(KEPT);
    client_assert_refused(revoked_once(revoked_token("t-3", NULL)), 16,
                          REVOKED);
    store_start();
    await_stored(id, "\"jti\":\"t-3\"");
}
END_TEST


/* told to a server that is not the master any more, by a connection that ends
 * alone: the one that reads changes stays */

START_TEST(lost)
{
    char        *line, *save, id[24];
    long         own;
    redisReply  *r, *list;
    const char  *key;

    begin(LIST);

    key = revoke("t-1");
    await_stored(key, "t-1");
    other("a", "t-2", EARLY, false);
    await_call(revoked_token("t-2", NULL), 16);

    freeReplyObject(store_server_ask(store, (const char *[]) {
                        "HDEL", "{u}:r", key, NULL }));
    r = store_server_ask(store, (const char *[]) { "CLIENT", "ID", NULL });
    own = (long) r->integer;
    freeReplyObject(r);

    list = store_server_ask(store, (const char *[]) { "CLIENT", "LIST",
                                                      NULL });

    for (line = strtok_r(list->str, "\n", &save);
         line != NULL;
         line = strtok_r(NULL, "\n", &save))
    {
        snprintf(id, sizeof(id), "%ld", strtol(line + strlen("id="), NULL,
                                               10));

        if (strtol(id, NULL, 10) != own && strstr(line, " flags=b") == NULL) {
            freeReplyObject(store_server_ask(store, (const char *[]) {
                                "CLIENT", "KILL", "ID", id, NULL }));
        }
    }

    freeReplyObject(list);
    await_stored(key, "t-1");
}
END_TEST


/* the last word of operators who did not hear of each other counts */

START_TEST(last_word)
{
    const char  *id;

    begin(LIST);

    id = revoke("t-1");
    await_stored(id, "t-1");
    store_server_kill(server);
    store_start();
    await_stored(id, "t-1");

    /* an older word that comes late */

    other(id, "t-1", EARLY, true);
    ck_assert_ptr_null(strstr(stored(id), "ended"));
    client_assert_refused(revoked_once(revoked_token("t-1", NULL)), 16,
                          REVOKED);

    /* a later one that this gateway has missed, and is told of */

    store_server_kill(server);
    (void) revoke("t-1");
    store_start();
    other(id, "t-1", LATE, true);
    await_call(revoked_token("t-1", NULL), 0);
    ck_assert_ptr_nonnull(strstr(stored(id), "ended"));
}
END_TEST


static void
await_metric(int value)
{
    char            line[64];
    client_t       *client;
    long long       since;
    client_call_t  *c;

    static char                   text[65536];
    static const client_header_t  headers[] = { { ":method", "GET" },
                                                { NULL, NULL } };

    snprintf(line, sizeof(line), "\nmyservice_revocations_full %d\n", value);
    client = client_open(harness_port(8080));
    since = harness_now();

    for ( ;; ) {
        c = client_request(client, "/metrics", headers, NULL, 0, false);
        client_wait(c);

        snprintf(text, sizeof(text), "%.*s", (int) c->len, (char *) c->body);

        if (strstr(text, line) != NULL) {
            return;
        }

        harness_pause(since, line);
    }
}


/* what does not fit into the list cannot be checked: all tokens of before are
 * refused, and later ones are good */

START_TEST(full)
{
    int          i;
    char         id[16], jti[16], stamp[24];
    time_t       now;
    const int    old = -10, fresh = 0, soon = 2;
    long long    since;
    const char  *token;

    begin(SMALL);

    now = time(NULL);
    token = revoked_token("good", &old);
    client_assert(revoked_once(token), 0, "");
    await_metric(0);

    for (i = 0; i < 1000; i++) {
        snprintf(id, sizeof(id), "e%d", i);
        snprintf(jti, sizeof(jti), "t-%d", i);
        snprintf(stamp, sizeof(stamp), "%lld000000", (long long) now);
        other(id, jti, stamp, false);
    }

    await_call(revoked_token("t-999", &old), 16);
    await_call(token, 16);
    await_metric(1);
    ck_assert(gateway_logged("list of revoked tokens is full"));

    /* a client that logs in again */

    since = harness_now();

    while (time(NULL) < now + soon) {
        harness_pause(since, "time does not pass");
    }

    client_assert(revoked_once(revoked_token("new", &fresh)), 0, "");

    /* with room for all */

    gateway_stop();
    gateway_start(LIST);
    await_call(revoked_token("t-999", &old), 16);
    await_call(revoked_token("t-0", &old), 16);
    client_assert(revoked_once(token), 0, "");
    await_metric(0);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_revoked");
    harness_add(suite, told);
    harness_add(suite, session);
    harness_add(suite, heard);
    harness_add(suite, learnt);
    harness_add(suite, away);
    harness_add(suite, lost);
    harness_add(suite, last_word);
    harness_add(suite, full);

    return harness_run(suite, "test_store_revoked");
}
