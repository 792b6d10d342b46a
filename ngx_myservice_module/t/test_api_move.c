/* The API moves a session: its calls there end or go on, the next call goes to
 * another instance. */

#include <stdio.h>
#include <string.h>

#include "gateway.h"
#include "inflight.h"

#undef CONF

#include "api.h"

#undef CONF

#define CONF(upstream, directives)                                            \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format move 'decision=$myservice_decision '\n"                   \
    "        'grpc=$myservice_grpc_status';\n"                                \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=z1:1m;\n"             \
    upstream                                                                  \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log move;\n"                           \
    "        location / { " directives " grpc_pass grpc://u; }\n"             \
    "        location /api/ { myservice_api write=on; }\n"                    \
    "    }\n"                                                                 \
    "}\n"

#define TO_MOVE  "/api/1/upstreams/u/sessions/a/move"


static json_t *
move(const char *body, int status)
{
    return api_ask("POST", TO_MOVE, MOVE, api_change, body, status);
}


static void
start(const char *conf)
{
    (void) fake_start(8081, "one", inflight_play);
    (void) fake_start(8082, "two", inflight_play);
    gateway_start(conf);
}


/* a call of the session, which must be served by "pod" */
static void
at(const char *session, const char *pod)
{
    client_call_t  *call;

    call = echo_once(session);
    client_assert(call, 0, "");
    ck_assert_str_eq(client_pod(call, 0), pod);
}


/* the pod that has the session, and the other one */
static void
pods(const char *session, char one[8], char two[8])
{
    snprintf(one, 8, "%s", client_pod(echo_once(session), 0));
    snprintf(two, 8, "%s", strcmp(one, "one") == 0 ? "two" : "one");
}


START_TEST(move_session)
{
    char             one[8], two[8], body[64];
    json_t          *answer;
    client_call_t   *stream;

    start(CONF(TWO, ""));
    json_decref(move("{}", 404));

    pods("a", one, two);
    stream = inflight_subscribe("a");
    ck_assert_str_eq(client_pod(stream, 0), one);

    answer = move("{}", 200);
    ck_assert_str_eq(json_string_value(json_object_get(answer, "state")),
                     "left");
    ck_assert(json_is_true(json_object_get(answer, "moves")));
    snprintf(body, sizeof(body), "{\"from\":\"%s\"}",
             json_string_value(json_object_get(answer, "address")));
    json_decref(answer);
    inflight_ends_soon(stream, MOVED);
    ck_assert(gateway_logged("operator moves a session, session=\"a\" from=\""
                             "127.0.0.1:"));

    /* once more is to no effect, also over a reload */

    json_decref(move("{}", 200));
    gateway_reload(NULL);
    json_decref(move(body, 200));
    at("a", two);
    gateway_await_access("decision=MOVED grpc=0");
    at("a", two);

    /* "from" is the one that it has left */

    answer = move(body, 200);
    ck_assert_ptr_null(json_object_get(answer, "moves"));
    json_decref(answer);
    at("a", two);

    /* the old one is free, and it may go back there */

    json_decref(move("{}", 200));
    at("a", one);

    json_decref(move("{\"to\":\"x\"}", 400));
    json_decref(move("{\"from\":1}", 400));
    json_decref(move(NULL, 400));
}
END_TEST


START_TEST(move_nowhere)
{
    char  one[8], two[8];

    start(CONF(TWO, ""));

    pods("a", one, two);
    at("b", two);
    json_decref(move("{}", 409));
    at("a", one);

    /* somebody else takes the last one */

    ck_assert_ptr_null(api_ask("DELETE", "/api/1/upstreams/u/sessions/b",
                               SESSION, api_change, NULL, 204));
    json_decref(move("{}", 200));
    at("c", two);
    at("a", one);
}
END_TEST


START_TEST(move_resumes)
{
    char            one[8], two[8];
    client_call_t  *stream, *call;

    start(CONF(TWO, RESUME "myservice_retry Slow;\n"));

    pods("a", one, two);
    stream = inflight_subscribe("a");
    call = inflight_slow("a");

    json_decref(move("{}", 200));
    client_wait_messages(stream, 2);
    ck_assert_str_eq(client_pod(stream, 1), two);
    inflight_goes_on(call, 500);
    client_cancel(stream);
    client_cancel(call);
    at("a", two);
}
END_TEST


/* the session is told before it begins anew */
START_TEST(move_tells)
{
    char  one[8], two[8];

    start(CONF(TWO "myservice_moved fail;\n", ""));

    pods("a", one, two);
    json_decref(move("{}", 200));
    client_assert(echo_once("a"), 10, "session lost its instance");
    at("a", two);
}
END_TEST


/* before its first success */
START_TEST(move_tentative)
{
    client_call_t  *call;

    start(CONF(TWO, ""));

    call = inflight_slow("a");
    json_decref(move("{}", 409));
    client_cancel(call);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("api_move");
    harness_add(suite, move_session);
    harness_add(suite, move_nowhere);
    harness_add(suite, move_resumes);
    harness_add(suite, move_tells);
    harness_add(suite, move_tentative);

    return harness_run(suite, "test_api_move");
}
