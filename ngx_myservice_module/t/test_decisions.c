/*
 * Which decisions are counted: each granted claim, and each refused call once,
 * with a store as without one.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "store_server.h"


#define STORE   8095
#define STORED  "myservice_store redis://127.0.0.1:8095 prefix=u timeout=5s;\n"

#define CONF(more)                                                            \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 1;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        myservice_release " SHUTDOWN ";\n"                               \
    more                                                                      \
    "        server 127.0.0.1:8082 fail_timeout=1h;\n"                        \
    "        server 127.0.0.1:8083 fail_timeout=1h;\n"                        \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / {\n"                                                  \
    "            myservice_retry MyServiceEcho;\n"                            \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "        location = /metrics { myservice_metrics; }\n"                    \
    "    }\n"                                                                 \
    "}\n"

/* without a store, and with one */
#define BOTH(more)  { CONF(more), CONF(STORED more) }

#define CHECKS  "myservice_health interval=100ms;\n"


static pid_t        server;
static fake_t      *fakes[2];
static const char  *names[] = { "one", "two" };


static void
serve(fake_call_t *call)
{
    if (strcmp(call->path, "/grpc.health.v1.Health/Check") == 0) {
        fake_health(call, 1);
        return;
    }

    fake_ok(call);
}


static void
await_log(const char *text)
{
    long long  since;

    since = harness_now();

    while (!gateway_logged(text)) {
        harness_pause(since, text);
    }
}


static void
begin(const char *const *conf, int stored)
{
    redisContext  *store;

    server = store_server_start(harness_port(STORE), NULL);

    /* it did not begin just now */

    store = store_server_connect();
    freeReplyObject(store_server_ask(store, (const char *[]) {
                                         "HSET", "{u}:c", "g", "1", NULL }));
    redisFree(store);

    fakes[0] = fake_start(8082, names[0], serve);
    fakes[1] = fake_start(8083, names[1], serve);
    gateway_start(conf[stored]);

    if (stored) {
        await_log("store is connected");
    }
}


/* "NEW 2 HIT 1": what is not 0, in the order of the page */

static const char *
decisions(void)
{
    static char       text[256];
    char             *page, *p, *end;
    size_t            len;
    client_t         *client;
    client_call_t    *c;
    client_header_t   headers[] = { { ":method", "GET" }, { NULL, NULL } };

    static const char  series[] = "\nmyservice_decisions_total{upstream=\"u\","
                                  "decision=\"";

    client = client_open(harness_port(8080));
    c = client_request(client, "/metrics", headers, NULL, 0, false);
    client_wait(c);
    ck_assert_int_eq(c->http, 200);
    page = strndup((char *) c->body, c->len);
    client_close(client);

    for (p = page, len = 0, text[0] = '\0';
         (p = strstr(p, series)) != NULL;
         p = end)
    {
        p += sizeof(series) - 1;
        end = strchr(p, '"');

        if (atoi(end + 2) != 0) {
            len += (size_t) snprintf(text + len, sizeof(text) - len,
                                     "%s%.*s %d", len ? " " : "",
                                     (int) (end - p), p, atoi(end + 2));
        }
    }

    free(page);

    return text;
}


static void
served(const char *session)
{
    client_assert(echo_once(session), 0, "");
}


static void
refused(const char *session, const char *message)
{
    client_assert_refused(echo_once(session), 8, message);
}


/* the instance that served the session's call */

static int
place(const char *session)
{
    client_call_t  *c;

    c = echo_once(session);
    client_assert(c, 0, "");

    return strcmp(client_pod(c, 0), names[0]) != 0;
}


START_TEST(busy)
{
    static const char *const  conf[] = BOTH("");

    begin(conf, _i);
    served("s1");
    served("s1");
    served("s2");
    refused("s3", "all instances are busy");
    refused("s4", "all instances are busy");
    served("s2");
    ck_assert_str_eq(decisions(), "HIT 2 NEW 2 BUSY 2");
}
END_TEST


/* in vain, or with a full line */

START_TEST(busy_after_waiting)
{
    client_call_t  *c;

    static const char *const  conf[] =
        BOTH("myservice_queue length=1 timeout=500ms;\n");

    begin(conf, _i);
    served("s1");
    served("s2");
    refused("s3", "all instances are busy");
    ck_assert_str_eq(decisions(), "NEW 2 BUSY 1");

    c = echo_start(client_open(harness_port(8080)), "s4");
    client_poll(0);
    refused("s5", "all instances are busy");
    client_wait(c);
    client_assert_refused(c, 8, "all instances are busy");
    ck_assert_str_eq(decisions(), "NEW 2 BUSY 3");
}
END_TEST


START_TEST(queued)
{
    client_call_t  *c;

    static const char *const  conf[] =
        BOTH(CHECKS "myservice_queue length=1 timeout=120s;\n");

    begin(conf, _i);
    served("s1");
    served("s2");
    c = echo_start(client_open(harness_port(8080)), "s3");
    client_poll(0);
    client_assert(shutdown_get(client_open(harness_port(8080)), "s1"), 0, "");
    client_wait(c);
    client_assert(c, 0, "");
    ck_assert_str_eq(decisions(), "HIT 1 NEW 2 QUEUED 1");
}
END_TEST


START_TEST(too_many)
{
    static const char *const  conf[] =
        BOTH("myservice_limit $server_port max=1;\n");

    begin(conf, _i);
    served("s1");
    refused("s2", "too many sessions");
    refused("s3", "too many sessions");
    served("s1");
    ck_assert_str_eq(decisions(), "HIT 1 NEW 1 TOO_MANY 2");
}
END_TEST


START_TEST(empty)
{
    static const char *const  conf[] = BOTH("");

    begin(conf, _i);
    served("s1");
    served("s2");
    client_assert(shutdown_get(client_open(harness_port(8080)), "s1"), 0, "");
    client_assert(shutdown_get(client_open(harness_port(8080)), "s2"), 0, "");
    refused("s3", "no available instances");
    ck_assert_str_eq(decisions(), "HIT 2 NEW 2 EMPTY 1");
}
END_TEST


START_TEST(moved)
{
    static const char *const  conf[] = BOTH("");

    begin(conf, _i);
    fake_stop(fakes[place("s1")]);
    served("s1");
    served("s1");
    ck_assert_str_eq(decisions(), "HIT 2 NEW 1 MOVED 1");
}
END_TEST


START_TEST(lost)
{
    static const char *const  conf[] = BOTH("myservice_moved fail;\n");

    begin(conf, _i);
    fake_stop(fakes[place("s1")]);
    client_assert_refused(echo_once("s1"), 10, "session lost its instance");
    served("s1");
    ck_assert_str_eq(decisions(), "HIT 1 NEW 1 MOVED 1 LOST 1");
}
END_TEST


/* each instance was tried */

START_TEST(unavailable)
{
    static const char *const  conf[] = BOTH("");

    begin(conf, _i);
    fake_stop(fakes[0]);
    fake_stop(fakes[1]);
    client_assert_refused(echo_once("s1"), 14, "backend service unavailable");
    client_assert_refused(echo_once("s2"), 14, "backend service unavailable");
    ck_assert_ptr_nonnull(strstr(decisions(), "UNAVAILABLE 2"));
}
END_TEST


START_TEST(store_gone)
{
    static const char *const  conf[] = BOTH("");

    begin(conf, 1);
    served("s1");
    store_server_kill(server);
    await_log("store is gone");
    served("s1");
    client_assert_refused(echo_once("s2"), 14, "session store unavailable");
    client_assert_refused(echo_once("s2"), 14, "session store unavailable");
    ck_assert_str_eq(decisions(), "HIT 1 NEW 1 UNAVAILABLE 2");
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("decisions");
    harness_add_loop(suite, busy, 2);
    harness_add_loop(suite, busy_after_waiting, 2);
    harness_add_loop(suite, queued, 2);
    harness_add_loop(suite, too_many, 2);
    harness_add_loop(suite, empty, 2);
    harness_add_loop(suite, moved, 2);
    harness_add_loop(suite, lost, 2);
    harness_add_loop(suite, unavailable, 2);
    harness_add(suite, store_gone);

    return harness_run(suite, argv[0]);
}
