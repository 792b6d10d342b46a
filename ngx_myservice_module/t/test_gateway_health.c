/* The gateway's own answers to grpc.health.v1.Health. */

#include <stdio.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "verdict.h"


#define CHECK  "/grpc.health.v1.Health/Check"
#define WATCH  "/grpc.health.v1.Health/Watch"

#define SERVING          1
#define NOT_SERVING      2
#define SERVICE_UNKNOWN  3

#define CONF_WITH(location, servers)  CONF_OF("2", location, servers)

#define CONF_OF(workers, location, servers)                                   \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes " workers ";\n"                                         \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format s '$uri grpc=$myservice_grpc_status';\n"                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        myservice_release MyServiceShutdown;\n"                          \
    servers                                                                   \
    "    }\n"                                                                 \
    "    upstream plain { server 127.0.0.1:8099; }\n"                         \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        access_log %%DIR%%/access.log s;\n"                              \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "        location /grpc.health.v1.Health/ {\n"                            \
    location                                                                  \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define CONF(servers)                                                         \
    CONF_WITH("myservice_gateway_health u my.Service;\n", servers)

/* back after a second; not within a test */
#define SERVER(n)   "server 127.0.0.1:808" #n " fail_timeout=1s;\n"
#define SERVER1(n)  "server 127.0.0.1:808" #n " fail_timeout=1h;\n"


static client_call_t *
ask(client_t *client, const char *path, const char *service)
{
    size_t  len;
    char    message[64];

    len = strlen(service);
    message[0] = 0x0a;
    message[1] = (char) len;
    memcpy(&message[2], service, len);

    return client_grpc(client, path, NULL, NULL, message, len ? len + 2 : 0);
}


static client_call_t *
check(const char *service)
{
    client_call_t  *c;

    c = ask(client_open(harness_port(8080)), CHECK, service);
    client_wait(c);

    return c;
}


/* message number "n" (from 0) */
static void
has_status(const client_call_t *c, unsigned n, int status)
{
    const uint8_t  *p;

    ck_assert_uint_gt(client_messages(c), n);
    p = c->body + 7 * n;
    ck_assert_int_eq(memcmp(p, "\0\0\0\0\2\x08", 6), 0);
    ck_assert_msg(p[6] == status, "message %u: status %d, expected %d", n,
                  p[6], status);
}


static void
checked(const char *service, int status)
{
    client_call_t  *c;

    c = check(service);
    client_assert(c, 0, "");
    ck_assert_int_eq(c->http, 200);
    ck_assert_str_eq(c->type, "application/grpc");
    ck_assert_uint_eq(c->headers, 2);
    ck_assert_uint_eq(c->data, 1);
    ck_assert_uint_eq(c->len, 7);
    has_status(c, 0, status);
}


static client_call_t *
call(const char *path, const char *session)
{
    client_call_t  *c;

    c = client_grpc(client_open(harness_port(8080)), path, NULL, session, "",
                    0);
    client_wait(c);

    return c;
}


/* until Check says so */
static void
await(int status)
{
    long long       since;
    client_t       *client;
    client_call_t  *c;

    client = client_open(harness_port(8080));
    since = harness_now();

    do {
        harness_pause(since, "the status of Check");
        c = ask(client, CHECK, "");
        client_wait(c);
        client_assert(c, 0, "");
    } while (c->body[6] != status);
}


START_TEST(check_names)
{
    gateway_start(CONF(SERVER(1)));

    checked("", SERVING);
    checked("my.Service", SERVING);
    gateway_await_access("Check grpc=0");

    client_assert_refused(check("my.Servic"), 5, "unknown service");
    client_assert_refused(check("my.Service."), 5, "unknown service");
    client_assert_refused(check("u"), 5, "unknown service");
    gateway_await_access("Check grpc=5");
}
END_TEST


/* free, leased, draining: up; left: not */
START_TEST(check_states)
{
    (void) fake_start(8081, "one", fake_ok);
    (void) fake_start(8082, "two", fake_ok);
    gateway_start(CONF(SERVER1(1) SERVER1(2)));

    checked("", SERVING);
    client_assert(call(ECHO, "a"), 0, "");
    client_assert(call(ECHO, "b"), 0, "");
    checked("", SERVING);

    client_assert(call(SHUTDOWN, "a"), 0, "");
    checked("", SERVING);

    gateway_reload(CONF("server 127.0.0.1:8081 down fail_timeout=1h;\n"
                        "server 127.0.0.1:8082 down fail_timeout=1h;\n"));
    checked("", SERVING);

    client_assert(call(SHUTDOWN, "b"), 0, "");
    checked("", NOT_SERVING);
    checked("my.Service", NOT_SERVING);
    client_assert_refused(check("other"), 5, "unknown service");
}
END_TEST


/* down, and tried again after fail_timeout */
START_TEST(check_down)
{
    gateway_start(CONF("server 127.0.0.1:8081 fail_timeout=5s;\n"));

    checked("", SERVING);
    client_assert_refused(call(ECHO, "a"), 14, "backend service unavailable");
    await(NOT_SERVING);
    await(SERVING);
}
END_TEST


static client_call_t *
raw(const char *path, const void *body, size_t len)
{
    client_call_t    *c;
    client_header_t   headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { NULL, NULL }
    };

    c = client_request(client_open(harness_port(8080)), path, headers, body,
                       len, false);
    client_wait(c);

    return c;
}


START_TEST(bad_requests)
{
    char             large[1025];
    client_call_t   *c;
    client_header_t  html[] = { { "content-type", "text/html" },
                                { NULL, NULL } };
    client_header_t  get[] = { { ":method", "GET" }, { NULL, NULL } };
    client_header_t  gzip[] = { { "content-type", "application/grpc" },
                                { "te", "trailers" },
                                { "grpc-encoding", "gzip" },
                                { NULL, NULL } };

    gateway_start(CONF(SERVER(1)));

    /* the positive control */
    client_assert(raw(CHECK, "\0\0\0\0\0", 5), 0, "");

    client_assert_refused(raw(CHECK, NULL, 0), 13, "missing request message");
    client_assert_refused(raw(WATCH, NULL, 0), 13, "missing request message");
    c = raw(CHECK, "\1\0\0\0\0", 5);
    client_assert_refused(c, 12, "compressed requests are not supported");
    ck_assert_ptr_nonnull(strstr(c->fields,
                                 "grpc-accept-encoding: identity\n"));

    /* declared, and not used for this message */
    c = client_request(client_open(harness_port(8080)), CHECK, gzip,
                       "\0\0\0\0\0", 5, false);
    client_wait(c);
    client_assert(c, 0, "");
    c = client_request(client_open(harness_port(8080)), WATCH, gzip,
                       "\1\0\0\0\0", 5, false);
    client_wait(c);
    client_assert_refused(c, 12, "compressed requests are not supported");
    ck_assert_ptr_nonnull(strstr(c->fields,
                                 "grpc-accept-encoding: identity\n"));

    client_assert_refused(raw(CHECK, "\0\0\0\0\1\x0a", 6), 13,
                          "failed to parse request message");
    client_assert_refused(raw(CHECK, "\0\0\0\0\0\0\0\0\0\0", 10), 13,
                          "failed to parse request message");

    memset(large, 'x', sizeof(large));
    memcpy(large, "\0\0\0\3\xfc", 5);
    memcpy(large + 5, "\x0a\xf9\x07", 3);
    client_assert_refused(raw(CHECK, large, 1024), 13,
                          "failed to parse request message");
    client_assert_refused(raw(CHECK, large, 1025), 8,
                          "request message is too large");
    client_assert_refused(raw(WATCH, large, 1025), 8,
                          "request message is too large");

    client_assert_refused(raw("/grpc.health.v1.Health/List", "\0\0\0\0\0", 5),
                          12, "method not routed");

    c = client_request(client_open(harness_port(8080)), CHECK, html,
                       "\0\0\0\0\0", 5, false);
    client_wait(c);
    ck_assert_int_eq(c->http, 415);
    c = client_request(client_open(harness_port(8080)), CHECK, get, NULL, 0,
                       false);
    client_wait(c);
    ck_assert_int_eq(c->http, 405);
}
END_TEST


/* the request comes byte by byte */
START_TEST(slow_request)
{
    size_t            i;
    client_t         *client;
    client_call_t    *c;
    client_header_t   headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { NULL, NULL }
    };

    static const char  body[] = "\0\0\0\0\x0c\x0a\x0amy.Service";

    gateway_start(CONF(SERVER(1)));
    client = client_open(harness_port(8080));
    c = client_request(client, CHECK, headers, body, 1, true);

    for (i = 1; i < sizeof(body) - 1; i++) {
        client_poll(5);
        ck_assert(!c->done);
        client_send(c, &body[i], 1, i == sizeof(body) - 2);
    }

    client_wait(c);
    client_assert(c, 0, "");
    has_status(c, 0, SERVING);
}
END_TEST


START_TEST(watch_changes)
{
    long long       since;
    client_t       *client;
    client_call_t  *one, *two, *none;

    (void) fake_start(8081, "one", fake_ok);
    gateway_start(CONF("server 127.0.0.1:8081 fail_timeout=6s;\n"));
    client = client_open(harness_port(8080));

    one = ask(client, WATCH, "");
    two = ask(client, WATCH, "my.Service");
    none = ask(client, WATCH, "other");
    client_wait_messages(one, 1);
    client_wait_messages(two, 1);
    client_wait_messages(none, 1);
    has_status(one, 0, SERVING);
    has_status(two, 0, SERVING);
    has_status(none, 0, SERVICE_UNKNOWN);

    client_assert(call(ECHO, "a"), 0, "");
    client_assert(call(SHUTDOWN, "a"), 0, "");
    since = harness_now();

    /* the instance is back after fail_timeout */

    client_wait_messages(one, 3);
    client_wait_messages(two, 3);
    harness_within(since, 5000);
    has_status(one, 1, NOT_SERVING);
    has_status(one, 2, SERVING);
    has_status(two, 1, NOT_SERVING);
    has_status(two, 2, SERVING);

    ck_assert_uint_eq(client_messages(none), 1);
    ck_assert(!one->done && !two->done && !none->done);
    ck_assert_uint_eq(one->headers, 1);
}
END_TEST


/* a client that does not read gets what it missed, and loses nothing */
START_TEST(watch_slow_client)
{
    unsigned        i;
    long long       since;
    client_t       *client;
    client_call_t  *calls[3];

    (void) fake_start(8081, "one", fake_ok);
    gateway_start(CONF(SERVER1(1)));
    client = client_open(harness_port(8080));
    client_window(client, 0);
    since = harness_now();

    for (i = 0; i < 3; i++) {
        calls[i] = ask(client, WATCH, "");

        while (calls[i]->headers == 0) {
            harness_pause(since, "the header of a Watch");
            client_poll(10);
        }
    }

    client_cancel(calls[2]);
    client_assert(call(ECHO, "a"), 0, "");
    client_assert(call(SHUTDOWN, "a"), 0, "");

    /* a part of the first message */

    client_window(client, 3);

    for (i = 0; i < 2; i++) {
        while (calls[i]->len < 3) {
            harness_pause(since, "the begin of a message");
            client_poll(10);
        }

        ck_assert_uint_eq(client_messages(calls[i]), 0);
    }

    client_window(client, 65535);

    for (i = 0; i < 2; i++) {
        client_wait_messages(calls[i], 2);
        has_status(calls[i], 0, SERVING);
        has_status(calls[i], 1, NOT_SERVING);
        ck_assert(!calls[i]->done);
    }
}
END_TEST


/* nginx gives up after send_timeout */
START_TEST(watch_stuck_client)
{
    client_t       *client;
    client_call_t  *c;

    gateway_start(CONF_WITH("myservice_gateway_health u;\n"
                            "send_timeout 1s;\n", SERVER(1)));
    client = client_open(harness_port(8080));
    client_window(client, 0);

    c = ask(client, WATCH, "");
    client_wait(c);
    ck_assert(c->reset);
    ck_assert_uint_eq(client_messages(c), 0);
}
END_TEST


/* of many, some are cancelled, some lose their connection */
START_TEST(watch_ends)
{
    int             i;
    client_t       *clients[4], *gone[2];
    client_call_t  *calls[60];

    (void) fake_start(8081, "one", fake_ok);
    gateway_start(CONF(SERVER1(1)));

    for (i = 0; i < 4; i++) {
        clients[i] = client_open(harness_port(8080));
    }

    for (i = 0; i < 2; i++) {
        gone[i] = client_open(harness_port(8080));
    }

    for (i = 0; i < 60; i++) {
        calls[i] = ask(i % 3 ? clients[i % 4] : gone[i % 2], WATCH, "");
    }

    for (i = 0; i < 60; i++) {
        client_wait_messages(calls[i], 1);
    }

    for (i = 1; i < 60; i += 3) {
        client_cancel(calls[i]);
    }

    client_close(gone[0]);
    client_close(gone[1]);

    client_assert(call(ECHO, "a"), 0, "");
    client_assert(call(SHUTDOWN, "a"), 0, "");

    for (i = 2; i < 60; i += 3) {
        client_wait_messages(calls[i], 2);
        has_status(calls[i], 1, NOT_SERVING);
        ck_assert(!calls[i]->done);
    }
}
END_TEST


#define EACH  16
#define ALL   1024
#define MANY  "too many watches"


/* "n" that go on */
static void
watch(client_t *client, client_call_t **calls, unsigned n)
{
    unsigned  i;

    for (i = 0; i < n; i++) {
        calls[i] = ask(client, WATCH, "");
    }

    for (i = 0; i < n; i++) {
        client_wait_messages(calls[i], 1);
        ck_assert(!calls[i]->done);
    }
}


static void
too_many(client_t *client)
{
    client_call_t  *c;

    c = ask(client, WATCH, "");
    client_wait(c);
    client_assert_refused(c, 12, MANY);
}


/* a slot is free again, soon */
static client_call_t *
await_watch(client_t *client)
{
    long long       since;
    client_call_t  *c;

    since = harness_now();

    for ( ;; ) {
        c = ask(client, WATCH, "");

        while (!c->done && client_messages(c) == 0) {
            client_poll(10);
            harness_pause(since, "a Watch");
        }

        if (!c->done) {
            return c;
        }

        client_assert_refused(c, 12, MANY);
        harness_pause(since, "room for a Watch");
    }
}


/* a connection has only so many, which end with it */
START_TEST(watch_bound)
{
    client_t       *client, *other;
    client_call_t  *calls[EACH], *more[EACH], *c;

    (void) fake_start(8081, "one", fake_ok);
    gateway_start(CONF(SERVER1(1)));
    client = client_open(harness_port(8080));
    other = client_open(harness_port(8080));

    watch(client, calls, EACH);
    too_many(client);
    too_many(client);
    c = ask(client, WATCH, "unknown");
    client_wait(c);
    client_assert_refused(c, 12, MANY);

    /* the controls: Check, and another connection */
    c = ask(client, CHECK, "");
    client_wait(c);
    client_assert(c, 0, "");
    watch(other, more, EACH);
    too_many(other);

    client_cancel(calls[3]);
    (void) await_watch(client);
    too_many(client);
    ck_assert(!calls[0]->done);
}
END_TEST


START_TEST(watch_bound_all)
{
    int             i;
    client_t       *clients[ALL / EACH], *client;
    client_call_t  *calls[EACH], *c;

    (void) fake_start(8081, "one", fake_ok);
    gateway_start(CONF_OF("1", "myservice_gateway_health u;\n", SERVER1(1)));
    client = client_open(harness_port(8080));

    for (i = 0; i < ALL / EACH; i++) {
        clients[i] = client_open(harness_port(8080));
        watch(clients[i], calls, EACH);
    }

    too_many(client);
    c = ask(client, CHECK, "");
    client_wait(c);
    client_assert(c, 0, "");

    client_close(clients[5]);
    (void) await_watch(client);
}
END_TEST


/* one log line says how many calls were refused */
START_TEST(watch_flood)
{
    int             i;
    client_t       *client;
    long long       since;
    client_call_t  *calls[EACH];

    (void) fake_start(8081, "one", fake_ok);
    gateway_start(CONF_OF("1", "myservice_gateway_health u;\n", SERVER1(1)));
    client = client_open(harness_port(8080));
    watch(client, calls, EACH);

    for (i = 0; i < 30; i++) {
        too_many(client);
    }

    since = harness_now();

    while (!gateway_logged("more lines like \"too many health watches\" are "
                           "left out"))
    {
        client_poll(10);
        harness_pause(since, "the count of lines that were left out");
    }
}
END_TEST


START_TEST(watch_reload)
{
    client_t       *client;
    client_call_t  *c;

    gateway_start(CONF(SERVER(1)));
    client = client_open(harness_port(8080));
    c = ask(client, WATCH, "");
    client_wait_messages(c, 1);

    gateway_reload(NULL);
    client_wait(c);
    client_assert(c, 14, "gateway is shutting down");
    gateway_await_workers(2);

    checked("", SERVING);
}
END_TEST


START_TEST(conf)
{
    int          code;
    const char  *output;

    code = gateway_test(CONF_WITH("myservice_gateway_health u;\n", SERVER(1)),
                        &output);
    ck_assert_msg(code == 0, "refused: %s", output);

    refused(CONF_WITH("myservice_gateway_health;\n", SERVER(1)),
            "invalid number of arguments");
    refused(CONF_WITH("myservice_gateway_health \"\";\n", SERVER(1)),
            "empty upstream");
    refused(CONF_WITH("myservice_gateway_health none;\n", SERVER(1)),
            "names \"none\", which is no upstream");
    refused(CONF_WITH("myservice_gateway_health plain;\n", SERVER(1)),
            "names \"plain\", which is no upstream");
    refused(CONF_WITH("myservice_gateway_health u;\n"
                      "myservice_gateway_health u;\n", SERVER(1)),
            "is duplicate");
    refused(CONF_WITH("grpc_pass grpc://u;\nmyservice_gateway_health u;\n",
                      SERVER(1)), "another content handler");
    refused(CONF_WITH("myservice_gateway_health u;\ngrpc_pass grpc://u;\n",
                      SERVER(1)), "another content handler");
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("gateway health");
    harness_add(suite, check_names);
    harness_add(suite, check_states);
    harness_add(suite, check_down);
    harness_add(suite, bad_requests);
    harness_add(suite, slow_request);
    harness_add(suite, watch_changes);
    harness_add(suite, watch_slow_client);
    harness_add(suite, watch_stuck_client);
    harness_add(suite, watch_ends);
    harness_add(suite, watch_bound);
    harness_add(suite, watch_bound_all);
    harness_add(suite, watch_flood);
    harness_add(suite, watch_reload);
    harness_add(suite, conf);

    return harness_run(suite, "test_gateway_health");
}
