/*
 * Leases that have ended, on instances that keep their session: two gateways
 * with checks and one store, real instances of level 2.  Two upstreams of one
 * nginx are two gateways.
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
#include "instance.h"
#include "store_pair.h"
#include "store_server.h"


#define NUMBER     4                    /* 8082 to 8085 */
#define LOST       "session lost its instance"

#define SERVERS                                                               \
    "server 127.0.0.1:8082; server 127.0.0.1:8083;"                           \
    "server 127.0.0.1:8084; server 127.0.0.1:8085;"                           \
    "myservice_health interval=100ms timeout=5s fails=50;"

#define GATEWAYS                                                              \
    PAIR_CONF(PAIR_UPSTREAM("8080", "u", "1m", SERVERS)                       \
              PAIR_UPSTREAM("8081", "v", "1m", SERVERS))


static void
begin(void)
{
    int   i;
    char  name[16];

    pair_server = store_server_start(harness_port(PAIR_STORE), NULL);
    pair_store = store_server_connect();

    for (i = 0; i < NUMBER; i++) {
        snprintf(name, sizeof(name), "i%d", i);
        (void) instance_start(8082 + i, name, NULL);
    }

    gateway_start(GATEWAYS);
}


/* the instance whose record ends with the text, which comes */

static int
await_at(const char *text)
{
    int        i;
    long long  since;

    since = harness_now();

    for (i = 0; strstr(pair_record(8082 + i), text) == NULL; i++) {
        if (i == NUMBER - 1) {
            harness_pause(since, text);
            i = -1;
        }
    }

    return 8082 + i;
}


/* the gateway has the instance as that of the session, whether calls of the
 * session go there or not */

static bool
has(const char *upstream, int number, const char *session)
{
    bool     so;
    json_t  *instance, *member;

    instance = api_ask("GET", pair_path(upstream, number), INSTANCE, NULL, NULL,
                       200);
    member = json_object_get(instance, "session");
    so = json_is_string(member)
         && strcmp(json_string_value(member), session) == 0;
    json_decref(instance);

    return so;
}


static void
await_has(const char *upstream, int number, const char *session)
{
    long long  since;

    since = harness_now();

    while (!has(upstream, number, session)) {
        harness_pause(since, "the instance says whom it serves");
    }
}


/* a lease that begins now is confirmed only after all that were there before */

static void
renewed_at(int port, const char *session)
{
    char  text[32];

    snprintf(text, sizeof(text), "c - %s", session);
    pair_call(port, session);
    (void) await_at(text);
}


static unsigned
logged(const char *text)
{
    char      *log, *p;
    unsigned   n;

    log = harness_read("error.log");

    for (n = 0, p = log; (p = strstr(p, text)) != NULL; p++) {
        n++;
    }

    free(log);

    return n;
}


static int
ended(const char *upstream)
{
    int      n;
    char     path[64];
    json_t  *answer;

    snprintf(path, sizeof(path), "/api/1/upstreams/%s", upstream);
    answer = api_ask("GET", path, "/upstreams/{upstream}", NULL, NULL, 200);
    n = (int) json_integer_value(json_object_get(
                          json_object_get(answer, "ended"), "operator"));
    json_decref(answer);

    return n;
}


/* no lease that has ended comes back, at either gateway, by what its instance
 * says */

static void
stays_ended(int number, const char *session)
{
    await_has("u", number, session);
    await_has("v", number, session);

    renewed_at(8080, "x1");
    renewed_at(8081, "x2");
    renewed_at(8080, "x3");

    ck_assert_uint_eq(logged(LOST), 2);
    ck_assert_int_eq(ended("u"), 1);
    ck_assert_int_eq(ended("v"), 1);

    await_has("u", number, session);
    await_has("v", number, session);
}


START_TEST(released)
{
    int  number;

    begin();

    pair_call(8080, "b");
    number = await_at("c - b");
    await_has("v", number, "b");

    ck_assert_ptr_null(api_ask("DELETE", "/api/1/upstreams/u/sessions/b",
                               SESSION, api_change, NULL, 204));
    stays_ended(number, "b");

    /* it is nobody's in the store, and b has no instance */

    ck_assert_ptr_nonnull(strstr(pair_record(number), "c - "));
    ck_assert_ptr_null(strstr(pair_record(number), "- b"));
    json_decref(api_ask("GET", "/api/1/upstreams/u/sessions/b", SESSION, NULL,
                        NULL, 404));
}
END_TEST


/* the store has given the instance to another session meanwhile, whose time is
 * over */

START_TEST(taken)
{
    int                 number;
    char                name[32], value[64];
    unsigned long long  epoch;

    begin();

    pair_call(8080, "b");
    number = await_at("c - b");
    await_has("v", number, "b");

    epoch = strtoull(pair_record(number), NULL, 10);
    snprintf(name, sizeof(name), "127.0.0.1:%d", harness_port(number));
    snprintf(value, sizeof(value), "%llu %llu -c - z", epoch + 1, epoch / 1000);
    freeReplyObject(store_server_ask(pair_store, (const char *[]) { "HSET",
                                     "{u}:i", name, value, NULL }));
    freeReplyObject(store_server_ask(pair_store, (const char *[]) { "DEL",
                                     "{u}:s", NULL }));
    freeReplyObject(store_server_ask(pair_store, (const char *[]) { "HINCRBY",
                                     "{u}:c", "n", "3", NULL }));
    pair_call(8081, "x1");

    stays_ended(number, "b");
}
END_TEST


static long long
renewed(const char *upstream)
{
    char        path[64];
    json_t     *page;
    long long   n;

    snprintf(path, sizeof(path), "/api/1/upstreams/%s", upstream);
    page = api_ask("GET", path, "/upstreams/{upstream}", NULL, NULL, 200);
    n = json_integer_value(json_object_get(json_object_get(page, "store"),
                                           "renewed"));
    json_decref(page);

    return n;
}


static void
hold(fake_call_t *call)
{
    if (strcmp(call->session, "held") == 0) {
        fake_hold(call);

    } else {
        fake_ok(call);
    }
}


/* The store is emptied during a session's first call.  A gateway that has only
 * heard of the lease enters it, too, and does not confirm it: the lease ends
 * with the call. */

#define PLAIN                                                                 \
    PAIR_CONF(PAIR_UPSTREAM("8080", "u", "1m", TWO)                           \
              PAIR_UPSTREAM("8081", "v", "1m", TWO))
#define TWO  "server 127.0.0.1:8082; server 127.0.0.1:8083;"

START_TEST(first_call)
{
    int             number;
    client_t       *client;
    long long       since, n;
    client_call_t  *call;

    pair_server = store_server_start(harness_port(PAIR_STORE), NULL);
    pair_store = store_server_connect();
    (void) fake_start(8082, "one", hold);
    (void) fake_start(8083, "two", hold);
    gateway_start(PLAIN);

    pair_call(8080, "b");
    client = client_open(harness_port(8080));
    call = echo_start(client, "held");
    client_poll(0);
    number = await_at(" - held");
    await_has("v", number, "held");

    n = renewed("v");
    freeReplyObject(store_server_ask(pair_store, (const char *[]) {
                                     "FLUSHALL", NULL }));
    since = harness_now();

    while (renewed("v") == n) {
        client_poll(0);
        harness_pause(since, "the gateway enters what it has heard of");
    }

    ck_assert_ptr_nonnull(strstr(pair_record(number), " -t"));

    client_cancel(call);
    client_poll(0);
    since = harness_now();

    while (strstr(pair_record(number), "held") != NULL) {
        client_poll(0);
        harness_pause(since, "the lease is given back");
    }
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_ended");
    harness_add(suite, released);
    harness_add(suite, taken);
    harness_add(suite, first_call);

    return harness_run(suite, "test_store_ended");
}
