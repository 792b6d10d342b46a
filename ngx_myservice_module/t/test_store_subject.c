/*
 * Whose session it is: gateways with one store know the user, too.  Two
 * upstreams of one nginx are two gateways.
 */

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "store_server.h"
#include "token.h"


#define STORE  8090

#define GATEWAY(port, name)                                                   \
    "    upstream " name " {\n"                                               \
    "        myservice_sessions $myservice_session zone=" name ":1m;\n"       \
    "        myservice_store redis://127.0.0.1:8090 prefix=u timeout=5s;\n"   \
    "        server 127.0.0.1:8082;\n"                                        \
    "        server 127.0.0.1:8083;\n"                                        \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:" port " http2;\n"                              \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / {\n"                                                  \
    "            myservice_jwt on;\n"                                         \
    "            grpc_pass grpc://" name ";\n"                                \
    "        }\n"                                                             \
    "        location = /status { myservice_status; }\n"                      \
    "    }\n"

#define CONF                                                                  \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 1;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    myservice_jwt_secret_file %%DIR%%/secret;\n"                         \
    GATEWAY("8080", "u")                                                      \
    GATEWAY("8081", "v")                                                      \
    "}\n"

#define ALICE   "alice"
#define BOB     "bob"
#define DENIED  "session belongs to another user"

/* first 16 bytes of SHA-256 over "i", NUL, "alice" */
#define ALICE_HEX  "543e1765a821596f0c6a04a7359bf640"


static pid_t          server;
static redisContext  *store;
static client_t      *clients[2];


static client_t *
client_of(int number)
{
    client_t  **client;

    client = &clients[number - 8080];

    if (*client == NULL || client_gone(*client)) {
        *client = client_open(harness_port(number));
    }

    return *client;
}


static client_call_t *
start(int number, const char *session, const char *who)
{
    char  claims[256];

    snprintf(claims, sizeof(claims),
             "{\"session_id\":\"%s\",\"exp\":32503680000,\"iss\":\"i\","
             "\"sub\":\"%s\"}", session, who);

    return client_grpc(client_of(number), ECHO,
                       token_sign(claims, "HS256", TOKEN_SECRET), session, "",
                       0);
}


/* repeated while a store that began just now takes no new session */

static client_call_t *
call(int number, const char *session, const char *who)
{
    long long       since;
    client_call_t  *c;

    since = harness_now();

    for ( ;; ) {
        c = start(number, session, who);
        client_wait(c);

        if (c->grpc != 14) {
            return c;
        }

        harness_pause(since, "the store gives no lease");
    }
}


static void
begin(void)
{
    server = store_server_start(harness_port(STORE), NULL);
    store = store_server_connect();
    (void) fake_start(8082, "one", fake_ok);
    (void) fake_start(8083, "two", fake_ok);
    gateway_start(CONF);
}


/* the gateway at "number" has a lease of the session */

static void
await_lease(int number, const char *session)
{
    char            text[64];
    long long       since;
    client_call_t  *c;

    static const client_header_t  get[] = { { ":method", "GET" },
                                            { NULL, NULL } };

    snprintf(text, sizeof(text), "\"session\":\"%s\"", session);
    since = harness_now();

    for ( ;; ) {
        c = client_request(client_of(number), "/status", get, NULL, 0, false);
        client_wait(c);
        ck_assert_int_eq(c->http, 200);

        if (memmem(c->body, c->len, text, strlen(text)) != NULL) {
            return;
        }

        harness_pause(since, "the gateway does not hear of the lease");
    }
}


/* by the stream, and by the list that comes before it */

START_TEST(subject_of_another_gateway)
{
    begin();

    client_assert(call(8080, "s1", ALICE), 0, "");
    await_lease(8081, "s1");
    client_assert_refused(call(8081, "s1", BOB), 7, DENIED);
    client_assert(call(8081, "s1", ALICE), 0, "");

    gateway_stop();
    memset(clients, 0, sizeof(clients));
    gateway_start(CONF);
    await_lease(8081, "s1");
    client_assert_refused(call(8081, "s1", BOB), 7, DENIED);
    client_assert(call(8081, "s1", ALICE), 0, "");
}
END_TEST


/* a store that was emptied is told whose sessions they are */

START_TEST(subject_entered_again)
{
    bool         found;
    size_t       i;
    long long    since;
    redisReply  *r;

    begin();
    client_assert(call(8080, "s1", ALICE), 0, "");

    freeReplyObject(store_server_ask(store, (const char *[]) { "FLUSHALL",
                                                               NULL }));
    since = harness_now();

    for (found = false; !found; /* void */) {
        harness_pause(since, "the store is not told of the user");

        /* a change that the other gateway hears of, in a new generation */

        (void) call(8081, "s2", BOB);

        r = store_server_ask(store, (const char *[]) { "HVALS", "{u}:i",
                                                       NULL });
        for (i = 0; i < r->elements; i++) {
            found |= strstr(r->element[i]->str, "c " ALICE_HEX " s1") != NULL;
        }

        freeReplyObject(r);
    }
}
END_TEST


static void
serve(long long ms)
{
    long long  since;

    since = harness_now();

    while (harness_now() - since < ms) {
        client_poll(5);
    }
}


/*
 * Two users ask for one session while the store is silent.  The first goes away
 * before the answer, which is hers all the same.
 */

START_TEST(subject_waits_apart)
{
    client_call_t  *alice, *bob;

    begin();
    client_assert(call(8080, "s0", ALICE), 0, "");

    kill(server, SIGSTOP);
    alice = start(8080, "s1", ALICE);
    serve(100);
    bob = start(8080, "s1", BOB);
    serve(50);
    client_cancel(alice);
    serve(50);
    kill(server, SIGCONT);
    client_wait(bob);

    if (bob->grpc == 14) {

        /* a busy machine: the gateway has given the store up */

        return;
    }

    client_assert_refused(bob, 7, DENIED);
    client_assert(call(8080, "s1", ALICE), 0, "");
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_subject");
    harness_add(suite, subject_of_another_gateway);
    harness_add(suite, subject_entered_again);
    harness_add(suite, subject_waits_apart);

    return harness_run(suite, "test_store_subject");
}
