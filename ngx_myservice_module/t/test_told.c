/*
 * What the gateway says of a session that begins or moves: to the client in
 * "session-decision", to the instance in "session-start".
 */

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "tls_front.h"
#include "token.h"


#define CONF_PASS(upstream, location, pass)                                   \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        myservice_release MyServiceShutdown;\n"                          \
    "        server 127.0.0.1:8081;\n"                                        \
    "        server 127.0.0.1:8082;\n"                                        \
    upstream                                                                  \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        large_client_header_buffers 8 64k;\n"                            \
    "        myservice_grpc_errors on;\n"                                     \
    "        myservice_retry MyServiceEcho MyServiceSubscribe;\n"             \
    "        myservice_resume MyServiceSubscribe;\n"                          \
    location                                                                  \
    "        location / { grpc_pass " pass "; }\n"                            \
    "        location = /off { myservice_tell off; grpc_pass " pass "; }\n"   \
    "    }\n"                                                                 \
    "}\n"

#define CONF(upstream, location)  CONF_PASS(upstream, location, "grpc://u")
#define TELL                      CONF("", "myservice_tell on;\n")
#define HEALTH                                                                \
    CONF("myservice_health interval=100ms;\n", "myservice_tell on;\n")

#define GOOD    0
#define DEAF    1                       /* dies, and nobody listens */
#define CLOSES  2                       /* the connection alone */
#define ERROR   3                       /* an error of the application */
#define BREAKS  4                       /* dies behind a message */
#define GOES    5                       /* GOAWAY: not processed */


static fake_t      *fakes[2];
static char         seen[16][16];       /* "session-start" of each request */
static char         by[16];             /* the instance that got it */
static atomic_uint  served;
static atomic_int   next = GOOD;        /* how the next request is answered */


static void
note(fake_call_t *call)
{
    unsigned     n;
    const char  *p, *end;

    static const char  name[] = "\nsession-start: ";

    n = atomic_load(&served) % 16;
    p = strstr(fake_metadata(call->fake), name);
    seen[n][0] = '\0';

    if (p != NULL) {
        p += sizeof(name) - 1;
        end = strchr(p, '\n');
        snprintf(seen[n], sizeof(seen[n]), "%.*s", (int) (end - p), p);
        ck_assert_ptr_null(strstr(end, name));
    }

    by[n] = call->fake == fakes[0] ? '0' : '1';
    atomic_fetch_add(&served, 1);
}


static void
serve(fake_call_t *call)
{
    if (strcmp(call->path, "/grpc.health.v1.Health/Check") == 0) {
        fake_health(call, 1);
        return;
    }

    note(call);

    switch (atomic_exchange(&next, GOOD)) {

    case DEAF:
        fake_deaf(call->fake);
        fake_close(call);
        break;

    case CLOSES:
        fake_close(call);
        break;

    case ERROR:
        fake_refuse(call, 5, "not here");
        break;

    case BREAKS:
        fake_headers(call);
        fake_message(call, 0);
        fake_deaf(call->fake);
        fake_close(call);
        break;

    case GOES:
        fake_goaway(call);
        fake_close(call);
        break;

    default:
        fake_ok(call);
    }
}


static void
start(const char *conf)
{
    fakes[0] = fake_start(8081, "one", serve);
    fakes[1] = fake_start(8082, "two", serve);
    gateway_start(conf);
}


static client_call_t *
call_path(const char *path, const char *session)
{
    client_call_t  *call;

    call = client_grpc(client_open(harness_port(8080)), path, NULL, session,
                       "", 0);
    client_wait(call);

    return call;
}


/* The call succeeds; the client is told "decision", the instance "start". */
#define told(call, decision, start)                                           \
    told_at(call, decision, start, __LINE__)

static void
told_at(client_call_t *call, const char *decision, const char *start, int line)
{
    char         text[64];
    const char  *got;

    snprintf(text, sizeof(text), "session-decision: %s", decision);
    ck_assert_msg(call->grpc == 0, "line %d: status %d \"%s\"", line,
                  call->grpc, call->message);
    ck_assert_msg(client_has(call, text), "line %d: no %s in %s", line, text,
                  call->fields);
    got = seen[(atomic_load(&served) - 1) % 16];
    ck_assert_msg(strcmp(got, start) == 0, "line %d: \"%s\" is not \"%s\"",
                  line, got, start);
}


/* The instance that served last dies with the next request, or before it. */
static fake_t *
last(void)
{
    return fakes[by[(atomic_load(&served) - 1) % 16] - '0'];
}


START_TEST(told_decision)
{
    client_call_t  *call;

    start(TELL);

    told(call_path(ECHO, "s1"), "NEW", "new");
    told(call_path(ECHO, "s1"), "HIT", "");
    told(call_path(SUBSCRIBE, "s1"), "HIT", "");
    fake_stop(last());
    told(call_path(ECHO, "s1"), "MOVED", "moved");
    told(call_path(ECHO, "s1"), "HIT", "");

    call = call_path("/off", "s1");
    client_assert(call, 0, "");
    ck_assert_ptr_null(strstr(call->fields, "session-decision"));

    /* an answer of the gateway itself */
    call = call_path(ECHO, "s2");
    client_assert_refused(call, 8, "all instances are busy");
    ck_assert_ptr_null(strstr(call->fields, "session-decision"));
}
END_TEST


/* also in an answer of one frame */
START_TEST(told_error)
{
    client_call_t  *call;

    start(TELL);

    atomic_store(&next, ERROR);
    call = call_path(ECHO, "s1");
    client_assert_refused(call, 5, "not here");
    ck_assert(client_has(call, "session-decision: NEW"));

    /* the session has not begun */
    told(call_path(ECHO, "s1"), "NEW", "new");
}
END_TEST


START_TEST(told_released)
{
    start(HEALTH);

    told(call_path(ECHO, "s1"), "NEW", "new");
    told(call_path(SHUTDOWN, "s1"), "HIT", "");
    told(call_path(ECHO, "s1"), "NEW", "new");
}
END_TEST


/* the attempt at the second instance has another "session-start" than the
 * first */
START_TEST(told_died)
{
    start(TELL);

    told(call_path(ECHO, "s1"), "NEW", "new");
    atomic_store(&next, DEAF);
    told(call_path(ECHO, "s1"), "MOVED", "moved");
    ck_assert_uint_eq(atomic_load(&served), 3);
    ck_assert_str_eq(seen[1], "");
    ck_assert_int_ne(by[1], by[2]);
}
END_TEST


/* no call had succeeded, but this one may have run */
START_TEST(told_died_first)
{
    start(TELL);

    atomic_store(&next, DEAF);
    told(call_path(ECHO, "s1"), "NEW", "moved");
    ck_assert_uint_eq(atomic_load(&served), 2);
    ck_assert_str_eq(seen[0], "new");
    ck_assert_int_ne(by[0], by[1]);
}
END_TEST


/* provably not: the second instance is the first one */
START_TEST(told_not_processed)
{
    start(TELL);
    fake_stop(fakes[0]);

    atomic_store(&next, GOES);
    told(call_path(ECHO, "s1"), "NEW", "new");
    ck_assert_uint_eq(atomic_load(&served), 2);
    ck_assert_str_eq(seen[0], "new");
}
END_TEST


/* the same instance again */
START_TEST(told_again)
{
    start(TELL);

    atomic_store(&next, CLOSES);
    told(call_path(ECHO, "s1"), "NEW", "new");
    ck_assert_uint_eq(atomic_load(&served), 2);
    ck_assert_str_eq(seen[0], "new");
    ck_assert_int_eq(by[0], by[1]);
    atomic_store(&next, CLOSES);
    told(call_path(ECHO, "s1"), "HIT", "");
    ck_assert_str_eq(seen[2], "");
}
END_TEST


START_TEST(told_resumed)
{
    client_call_t  *call;

    start(TELL);

    told(call_path(ECHO, "s1"), "NEW", "new");
    atomic_store(&next, BREAKS);
    call = call_path(SUBSCRIBE, "s1");
    told(call, "HIT", "moved");
    ck_assert_uint_eq(client_messages(call), 2);
    ck_assert_str_eq(seen[1], "");
    ck_assert_int_ne(by[1], by[2]);
    told(call_path(ECHO, "s1"), "HIT", "");
}
END_TEST


/* calls that come before the first success say it, too */
START_TEST(told_at_once)
{
    client_t       *client;
    client_call_t  *one, *two;

    start(TELL);
    client = client_open(harness_port(8080));

    gateway_freeze(true);
    one = echo_start(client, "s1");
    two = echo_start(client, "s1");

    while (two->sent == 0) {
        client_poll(100);
    }

    gateway_freeze(false);
    client_wait(one);
    client_wait(two);
    told(one, "NEW", "new");
    told(two, "HIT", "new");
    ck_assert_str_eq(seen[0], "new");
    told(echo_get(client, "s1"), "HIT", "");
}
END_TEST


/* the gateway drops what the client sends in it */
START_TEST(told_smuggled)
{
    client_call_t    *call;
    client_header_t   headers[] = {
        { "content-type", "application/grpc" }, { "session-id", "s1" },
        { "session-start", "moved" }, { "Session_Start", "moved" },
        { NULL, NULL }
    };

    headers[3].name = "session_start";
    start(CONF("", "myservice_tell on;\nunderscores_in_headers on;\n"));

    call = client_request(client_open(harness_port(8080)), ECHO, headers,
                          "\0\0\0\0", 5, false);
    client_wait(call);
    told(call, "NEW", "new");
    call = client_request(client_open(harness_port(8080)), ECHO, headers,
                          "\0\0\0\0", 5, false);
    client_wait(call);
    told(call, "HIT", "");
    ck_assert_ptr_null(strstr(fake_metadata(last()), "start"));
}
END_TEST


/* Metadata of "size" bytes. */
static client_call_t *
call_big(size_t size)
{
    char             *value;
    client_call_t    *call;
    client_header_t   headers[] = {
        { "content-type", "application/grpc" }, { "session-id", "s1" },
        { "big", NULL }, { NULL, NULL }
    };

    value = malloc(size + 1);
    ck_assert_ptr_nonnull(value);
    memset(value, '~', size);
    value[size] = '\0';
    headers[2].value = value;
    call = client_request(client_open(harness_port(8080)), ECHO, headers,
                          "\0\0\0\0", 5, false);
    client_wait(call);
    free(value);

    return call;
}


/* about the 16384 bytes of a frame: the field fits, or is in the next one, or
 * in both */
START_TEST(told_continued)
{
    size_t  size;

    start(TELL);
    size = 16180 + 4 * (size_t) _i;

    told(call_big(size), "NEW", "new");
    told(call_big(size), "HIT", "");
    atomic_store(&next, DEAF);
    told(call_big(size), "MOVED", "moved");
    ck_assert_str_eq(seen[2], "");
}
END_TEST


START_TEST(told_continued_long)
{
    start(TELL);

    told(call_big(40000), "NEW", "new");
    atomic_store(&next, DEAF);
    told(call_big(40000), "MOVED", "moved");
    told(call_big(40000), "HIT", "");
}
END_TEST


START_TEST(told_tls)
{
    tls_front_certs("a");
    fakes[0] = fake_start(8091, "one", serve);
    fakes[1] = fake_start(8092, "two", serve);
    (void) tls_front_start(8081, 8091, "a", 0);
    (void) tls_front_start(8082, 8092, "a", 0);
    gateway_start(CONF_PASS("", "myservice_tell on;\n"
                            "grpc_ssl_protocols TLSv1.2 TLSv1.3;\n"
                            "grpc_ssl_certificate %%DIR%%/a/client.crt;\n"
                            "grpc_ssl_certificate_key %%DIR%%/a/client.key;\n",
                            "grpcs://u"));

    told(call_path(ECHO, "s1"), "NEW", "new");
    told(call_big(20000), "HIT", "");
    atomic_store(&next, CLOSES);
    told(call_path(ECHO, "s1"), "HIT", "");
    told(call_path(SHUTDOWN, "s1"), "HIT", "");
    atomic_store(&next, CLOSES);
    told(call_big(20000), "NEW", "new");
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("told");
    harness_add(suite, told_decision);
    harness_add(suite, told_error);
    harness_add(suite, told_released);
    harness_add(suite, told_died);
    harness_add(suite, told_died_first);
    harness_add(suite, told_not_processed);
    harness_add(suite, told_again);
    harness_add(suite, told_resumed);
    harness_add(suite, told_at_once);
    harness_add(suite, told_smuggled);
    harness_add_loop(suite, told_continued, 40);
    harness_add(suite, told_continued_long);
    harness_add(suite, told_tls);

    return harness_run(suite, "test_told");
}
