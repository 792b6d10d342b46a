/*
 * The life of a lease: idle time at the gateway and at the instance, calls in
 * flight, lifetime, the end with the token.
 */

#include <stdio.h>
#include <string.h>

#include "client.h"
#include "gateway.h"
#include "harness.h"
#include "instance.h"
#include "token.h"


#define CONF(terms, directives)                                               \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m " terms ";\n"    \
    "        server 127.0.0.1:8081;\n"                                        \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        keepalive_requests 100000;\n"                                    \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / {\n"                                                  \
    directives                                                                \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define TOKEN     "myservice_jwt on;\n"                                       \
                  "myservice_jwt_secret_file %%DIR%%/secret;\n"
#define EXPIRES   "ttl=1h expires=$myservice_jwt_expires"
#define CONFLICT  "serves another session"
#define BUSY      "all instances are busy"


/* Echo of a client that wants its session to be kept for an hour. */
static client_call_t *
echo_greedy(const char *session)
{
    client_call_t    *call;
    client_header_t   headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { "session-id", session },
        { "session-ttl", "3600000" },
        { NULL, NULL }
    };

    call = client_request(client_open(harness_port(8080)), ECHO, headers,
                          "\0\0\0\0", 5, false);
    client_wait(call);

    return call;
}


/* Calls until the session has an instance; how long that took. */
static long long
await_instance(const char *session)
{
    long long       start;
    client_t       *client;
    client_call_t  *call;

    start = harness_now();
    client = client_open(harness_port(8080));

    for ( ;; ) {
        call = echo_get(client, session);

        if (call->grpc == 0) {
            return harness_now() - start;
        }

        client_assert_refused(call, 8, BUSY);
        harness_pause(start, "the lease does not end");
    }
}


/* the session ends on both sides, whatever the client wanted */
START_TEST(ttl_told)
{
    (void) instance_start(8081, "one", "--session-ttl 1h");
    gateway_start(CONF("ttl=1s", ""));

    client_assert(echo_greedy("s1"), 0, "");
    ck_assert_int_lt(await_instance("s2"), HARNESS_PATIENCE * 1000);
    ck_assert(!gateway_logged(CONFLICT));
}
END_TEST


/* the time that the lease has on top of it */
START_TEST(ttl_grace)
{
    long long  start;

    (void) instance_start(8081, "one", "--session-ttl 1h");
    gateway_start(CONF("ttl=1s grace=2s", ""));

    start = harness_now();
    client_assert(echo_greedy("s1"), 0, "");
    (void) await_instance("s2");
    harness_lasted(start, 3000);
    harness_within(start, 3000);
}
END_TEST


/* the same where the configuration still asks for it */
START_TEST(ttl_told_by_conf)
{
    (void) instance_start(8081, "one", "--session-ttl 1h");
    gateway_start(CONF("ttl=1s", "grpc_set_header session-ttl "
                       "$myservice_session_ttl;\n"));

    client_assert(echo_greedy("s1"), 0, "");
    ck_assert_int_lt(await_instance("s2"), HARNESS_PATIENCE * 1000);
    ck_assert(!gateway_logged(CONFLICT));
}
END_TEST


/* a stream renews the lease for as long as it runs */
START_TEST(ttl_stream)
{
    long long       start;
    client_t       *client, *other;
    client_call_t  *stream;

    (void) instance_start(8081, "one", "--subscribe-interval 1h");
    gateway_start(CONF("ttl=1s", ""));

    client = client_open(harness_port(8080));
    stream = client_grpc(client, SUBSCRIBE, NULL, "s1", "", 0);
    client_wait_messages(stream, 1);

    other = client_open(harness_port(8080));

    for (start = harness_now(); harness_now() - start < 3000; ) {
        client_assert_refused(echo_get(other, "s2"), 8, BUSY);
        harness_pause(start, "never");
    }

    client_cancel(stream);
    ck_assert_int_lt(await_instance("s2"), HARNESS_PATIENCE * 1000);
    ck_assert(!gateway_logged(CONFLICT));
}
END_TEST


/* used or not, the lease ends; an instance that keeps its session says so */
START_TEST(ttl_lifetime)
{
    long long  start;
    client_t  *client;

    (void) instance_start(8081, "one", "--session-ttl 1h");
    gateway_start(CONF("ttl=1h lifetime=1s", ""));

    start = harness_now();
    client = client_open(harness_port(8080));
    client_assert(echo_get(client, "s1"), 0, "");

    /* the instance still serves s1, and names it: the lease is over */
    while (!gateway_logged(CONFLICT)) {
        (void) echo_get(client, "s2");
        harness_pause(start, "the lease does not end");
    }

    harness_lasted(start, 1000);
}
END_TEST


static client_call_t *
call_start(const char *path, const char *session, long seconds)
{
    return client_grpc(client_open(harness_port(8080)), path,
                       token_make(session, seconds), session, "", 0);
}


static client_call_t *
call_get(const char *path, const char *session, long seconds)
{
    client_call_t  *call;

    call = call_start(path, session, seconds);
    client_wait(call);

    return call;
}


/* both sides forget the session when its token ends, used or not */
START_TEST(expires_ends)
{
    long long  start;

    (void) instance_start(8081, "one", "--session-ttl 1h");
    gateway_start(CONF(EXPIRES, TOKEN));

    start = harness_now();
    client_assert(call_get(ECHO, "s1", 3), 0, "");
    client_assert_refused(call_get(ECHO, "s2", 60), 8, BUSY);
    (void) await_instance("s2");
    harness_lasted(start, 2000);
    harness_within(start, 3000);
    ck_assert(!gateway_logged(CONFLICT));
}
END_TEST


/* a newer token extends the lease, an older one changes nothing */
START_TEST(expires_later)
{
    long long  start;

    (void) instance_start(8081, "one", "--session-ttl 1h");
    gateway_start(CONF(EXPIRES, TOKEN));

    start = harness_now();
    client_assert(call_get(ECHO, "s1", 3), 0, "");
    client_assert(call_get(ECHO, "s1", 7), 0, "");
    client_assert(call_get(ECHO, "s1", 3), 0, "");
    (void) await_instance("s2");
    harness_lasted(start, 6000);
    ck_assert(!gateway_logged(CONFLICT));
}
END_TEST


/* a stream ends with the lease, and its instance is free */
START_TEST(expires_stream)
{
    client_call_t  *stream;

    (void) instance_start(8081, "one", "--session-ttl 1h");
    gateway_start(CONF(EXPIRES, TOKEN
                       "myservice_resume MyServiceSubscribe;\n"));

    stream = call_get(SUBSCRIBE, "s1", 4);
    client_assert(stream, 16, "token expired");
    ck_assert_uint_ge(client_messages(stream), 1);
    (void) await_instance("s2");
    ck_assert(!gateway_logged(CONFLICT));
    ck_assert(!gateway_logged("[error]"));
}
END_TEST


/* the call goes on when another call brings a newer token */
START_TEST(expires_stream_goes_on)
{
    long long       start;
    client_call_t  *stream;

    (void) instance_start(8081, "one", "--session-ttl 1h");
    gateway_start(CONF(EXPIRES, TOKEN));

    start = harness_now();
    stream = call_start(SUBSCRIBE, "s1", 5);
    client_wait_messages(stream, 1);
    client_assert(call_get(ECHO, "s1", 60), 0, "");

    while (harness_now() - start < 7000) {
        client_poll(50);
        ck_assert(!stream->done);
    }

    client_assert_refused(call_get(ECHO, "s2", 60), 8, BUSY);
}
END_TEST


/* no value, no end; what is no time is no permission */
START_TEST(expires_values)
{
    size_t          i;
    client_call_t  *call;

    client_header_t  headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { "session-id", "s1" },
        { "until", NULL },
        { NULL, NULL }
    };
    static const struct {
        const char  *value;
        int          code;
    } values[] = {
        { "", 0 }, { "1", 0 }, { "32503680000", 0 }, { "soon", 13 },
        { "-1", 13 }, { "1.5", 13 }, { "99999999999999999999999", 13 }
    };

    (void) instance_start(8081, "one", NULL);
    gateway_start(CONF("expires=$http_until", ""));

    for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        headers[3].value = values[i].value;
        call = client_request(client_open(harness_port(8080)), ECHO, headers,
                              "\0\0\0\0", 5, false);
        client_wait(call);
        client_assert(call, values[i].code,
                      values[i].code == 0 ? "" : "internal error");
    }
}
END_TEST


/* a stream ends, too, at the end of the absolute lifetime */
START_TEST(lifetime_stream)
{
    (void) instance_start(8081, "one", NULL);
    gateway_start(CONF("ttl=1h lifetime=1s", ""));

    client_assert(call_get(SUBSCRIBE, "s1", 60), 14, "session expired");
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("ttl");
    harness_add(suite, ttl_told);
    harness_add(suite, ttl_grace);
    harness_add(suite, ttl_told_by_conf);
    harness_add(suite, ttl_stream);
    harness_add(suite, ttl_lifetime);
    harness_add(suite, expires_ends);
    harness_add(suite, expires_later);
    harness_add(suite, expires_stream);
    harness_add(suite, expires_stream_goes_on);
    harness_add(suite, expires_values);
    harness_add(suite, lifetime_stream);

    return harness_run(suite, "test_ttl");
}
