/*
 * A store that answers each time with an error, or with what no gateway
 * understands: gateways do not connect again and again, their logs say it once,
 * and all goes on when that is over.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "store_pair.h"
#include "store_proxy.h"
#include "store_server.h"


#define CONNECTS  10                    /* that are waited for, */
#define PAUSES    1270                  /* ms, of seven pauses: 10, 20, ... 640
                                           at least */

#define SERVERS  "server 127.0.0.1:8082; server 127.0.0.1:8083;"
#define PAIR                                                                  \
    PAIR_CONF(PAIR_UPSTREAM("8080", "u", "1m", SERVERS)                       \
              PAIR_UPSTREAM("8081", "v", "1m", SERVERS))

/* one gateway, and a proxy */
#define PROXY  8091
#define ALONE                                                                 \
    PAIR_CONF(                                                                \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        myservice_store redis://127.0.0.1:8091 prefix=u timeout=5s;\n"   \
    "        server 127.0.0.1:8082;\n"                                        \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "        location /api/ { myservice_api write=on; }\n"                    \
    "    }\n")


/* a count of the store of upstream "u" */

static long long
count(const char *name)
{
    json_t     *page;
    long long   n;

    page = api_ask("GET", "/api/1/upstreams/u", "/upstreams/{upstream}", NULL,
                   NULL, 200);
    n = json_integer_value(json_object_get(json_object_get(page, "store"),
                                           name));
    json_decref(page);

    return n;
}


static void
await_more(const char *name, long long n)
{
    long long  since, until;

    since = harness_now();
    until = count(name) + n;

    while (count(name) < until) {
        harness_pause(since, name);
    }
}


/* how many lines of the log have the text */

static int
lines(const char *text)
{
    int          n;
    char        *log;
    const char  *p;

    log = harness_read("error.log");
    n = 0;

    for (p = log; (p = strstr(p, text)) != NULL; p++) {
        n++;
    }

    free(log);

    return n;
}


static void
drain(int number, bool on)
{
    json_decref(api_ask("PATCH", pair_path("u", number), INSTANCE, api_change,
                        on ? "{\"drain\":true}" : "{\"drain\":false}", 200));
}


static void
await_drain(const char *upstream, int number, bool on)
{
    bool       is;
    json_t    *page;
    long long  since;

    since = harness_now();

    for ( ;; ) {
        page = api_ask("GET", pair_path(upstream, number), INSTANCE, NULL,
                       NULL, 200);
        is = json_is_true(json_object_get(page, "drain"));
        json_decref(page);

        if (is == on) {
            return;
        }

        harness_pause(since, "the other gateway does not hear of the drain");
    }
}


static void
tell(const char *a, const char *b, const char *d, const char *e)
{
    freeReplyObject(store_server_ask(pair_store, (const char *[]) { a, b, d, e,
                                                                    NULL }));
}


/* what makes the reading of changes fail, and what ends that */

static const struct {
    const char  *fault[4];
    const char  *end[4];
    const char  *error;
} readings[] = {
    { { "ACL", "SETUSER", "default", "-xread" },
      { "ACL", "SETUSER", "default", "+xread" }, "NOPERM" },
    { { "ACL", "SETUSER", "default", "-hscan" },
      { "ACL", "SETUSER", "default", "+hscan" }, "" },
    { { "ACL", "SETUSER", "default", "-xrevrange" },
      { "ACL", "SETUSER", "default", "+xrevrange" }, "" },
    { { "SET", "{u}:log", "text", NULL },
      { "DEL", "{u}:log", NULL, NULL }, "" }
};


START_TEST(reading)
{
    int        gone, connected;
    char       line[64];
    long long  since;

    pair_begin(PAIR);
    pair_call(8080, "s1");
    drain(8083, true);
    await_drain("v", 8083, true);

    tell(readings[_i].fault[0], readings[_i].fault[1], readings[_i].fault[2],
         readings[_i].fault[3]);
    tell("CLIENT", "KILL", "SKIPME", "yes");

    await_more("connects", 4);
    gone = lines("store is gone");
    connected = lines("store is connected");
    since = harness_now();
    await_more("connects", CONNECTS);
    harness_lasted(since, PAUSES);

    /* one line of each gateway, and none for each try; two workers, and those
     * that read, have lost their connections */

    ck_assert_int_gt(count("errors"), CONNECTS);

    snprintf(line, sizeof(line), "store answers with an error: %s",
             readings[_i].error);
    ck_assert_int_ge(lines(line), 1);
    ck_assert_int_le(lines(line), 2);
    ck_assert_int_le(lines("store is gone") - gone, 4);
    ck_assert_int_le(lines("store is connected") - connected, 4);
    ck_assert(!gateway_logged("store is gone: NOPERM"));

    /* who asks for leases goes on, if the script can */

    client_assert(echo_get(client_open(harness_port(8080)), "s1"), 0, "");

    tell(readings[_i].end[0], readings[_i].end[1], readings[_i].end[2],
         readings[_i].end[3]);

    drain(8083, false);
    await_drain("v", 8083, false);
    drain(8082, true);
    await_drain("v", 8082, true);
}
END_TEST


/* what comes in place of each answer of the script */

static const char  *answers[] = {
    "-READONLY no writes here\r\n",
    "-NOSCRIPT again\r\n",
    ":1\r\n",                           /* not understood */
    ":1\r\n:1\r\n",                     /* not asked for */
    "what\r\n",                         /* another protocol */
    ""                                  /* the connection ends */
};


START_TEST(script)
{
    long long  since;

    store_proxy_start(PROXY, PAIR_STORE);
    pair_begin(ALONE);
    pair_call(8080, "s1");

    store_proxy_instead(answers[_i]);
    tell("CLIENT", "KILL", "SKIPME", "yes");

    await_more("connects", 4);
    since = harness_now();
    await_more("connects", CONNECTS);
    harness_lasted(since, PAUSES);

    ck_assert_int_le(lines("store is gone"), 4);
    ck_assert_int_le(lines("store is connected"), 4);

    if (answers[_i][0] == '-') {
        ck_assert_int_gt(count("errors"), CONNECTS);
    }

    client_assert(echo_get(client_open(harness_port(8080)), "s1"), 0, "");

    store_proxy_instead(NULL);

    drain(8082, true);
    pair_await_record(8082, " d1");
    since = harness_now();

    while (lines("store is connected") <= 1) {
        harness_pause(since, "the store is gone for the log");
    }
}
END_TEST


/* The first of two servers lets the gateway in, and answers with errors: the
 * next one is the store until that is over. */

#define OTHER  8092
#define TWO                                                                   \
    PAIR_CONF(                                                                \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        myservice_store redis://127.0.0.1:8091 redis://127.0.0.1:8092\n" \
    "                        prefix=u timeout=5s;\n"                          \
    "        server 127.0.0.1:8082; server 127.0.0.1:8083;\n"                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "        location /api/ { myservice_api write=on; }\n"                    \
    "    }\n")

START_TEST(next_address)
{
    char  text[64];

    (void) store_server_start(harness_port(OTHER), NULL);
    store_proxy_start(PROXY, PAIR_STORE);
    store_proxy_instead(answers[_i]);
    pair_begin(TWO);
    pair_call(8080, "s1");
    ck_assert_str_eq(pair_record(8082), "");
    ck_assert_str_eq(pair_record(8083), "");

    /* a worker that has no call has not asked it, and says it is connected */

    snprintf(text, sizeof(text), ", address 127.0.0.1:%d",
             harness_port(PROXY));
    ck_assert(gateway_logged(text));
}
END_TEST


/* no server will do: the line is of the one that knows more than that it is a
 * replica */

START_TEST(reason)
{
    char        line[128], port[8];
    long long   since;

    snprintf(port, sizeof(port), "%d", harness_port(8089));
    (void) store_server_start(harness_port(OTHER), (const char *[]) {
                                  "--replicaof", "127.0.0.1", port, NULL });
    store_server_any_answer();
    (void) store_server_start(harness_port(PROXY), (const char *[]) {
                                  "--requirepass", "secret", NULL });
    (void) fake_start(8082, "one", fake_ok);
    gateway_start(TWO);
    since = harness_now();

    while (lines("store is gone: NOAUTH") == 0) {
        harness_pause(since, "the store is gone");
    }

    ck_assert_int_eq(lines("it is not the master"), 0);
    snprintf(line, sizeof(line), ", address 127.0.0.1:%d",
             harness_port(PROXY));
    ck_assert(gateway_logged(line));
}
END_TEST


/* another program has written to a key: the line says where, and when that is
 * mended as it says, all goes on */

static const char *const  keys[] = { "{u}:s", "{u}:i", "{u}:c", "{u}:log" };

START_TEST(type)
{
    int        i;
    long long  since;

    pair_begin(PAIR);
    pair_call(8080, "s1");

    tell("DEL", keys[_i], NULL, NULL);
    tell("SET", keys[_i], "text", NULL);
    since = harness_now();

    while (lines("prefix=\"{u}:\"") == 0) {
        (void) echo_get(client_open(harness_port(8081)), "s2");
        harness_pause(since, "the log says what to do");
    }

    client_assert(echo_get(client_open(harness_port(8080)), "s1"), 0, "");

    for (i = 0; i < 4; i++) {
        tell("DEL", keys[i], NULL, NULL);
    }

    pair_call(8081, "s1");
    pair_call(8081, "s2");
    pair_await_record(8082, "c - ");
    pair_await_record(8083, "c - ");
}
END_TEST


/* errors of two kinds by turns: a line of each */

START_TEST(kinds)
{
    pair_begin(PAIR);
    pair_call(8080, "s1");

    tell("ACL", "SETUSER", "default", "-ping");
    tell("SET", "{u}:r", "text", NULL);
    tell("ACL", "SETUSER", "default", "-hset");

    drain(8083, true);
    await_more("errors", 40);
    ck_assert_int_le(lines("store answers with an error"), 6);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_errors");
    harness_add_loop(suite, reading,
                     (int) (sizeof(readings) / sizeof(readings[0])));
    harness_add_loop(suite, script,
                     (int) (sizeof(answers) / sizeof(answers[0])));
    harness_add_loop(suite, next_address,
                     (int) (sizeof(answers) / sizeof(answers[0])));
    harness_add(suite, reason);
    harness_add_loop(suite, type, (int) (sizeof(keys) / sizeof(keys[0])));
    harness_add(suite, kinds);

    return harness_run(suite, "test_store_errors");
}
