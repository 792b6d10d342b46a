/* How people see session ids: quotes in log lines, and hashes everywhere. */

#include <stdio.h>
#include <string.h>

#include "api.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"

#undef CONF

#define CONF(ids)                                                             \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    ids                                                                       \
    "    log_format ids 'id=$myservice_session_id.';\n"                       \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=z1:1m;\n"             \
    "        server 127.0.0.1:8081;\n"                                        \
    "        server 127.0.0.1:8082;\n"                                        \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log ids;\n"                            \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "        location /api/ { myservice_api write=on; }\n"                    \
    "    }\n"                                                                 \
    "}\n"

/* SHA-256 of a"b begins with that */
#define HASH     "sha256:39a012772dd5c3ac"
#define HASHED   "/api/1/upstreams/u/sessions?session=" HASH


/* without a token: its helper makes no JSON of a quote */
static void
start(const char *conf)
{
    client_call_t    *call;
    client_header_t   headers[] = {
        { "content-type", "application/grpc" }, { "te", "trailers" },
        { "session-id", "a\"b" }, { NULL, NULL }
    };

    (void) fake_start(8081, "one", fake_ok);
    (void) fake_start(8082, "two", fake_ok);
    gateway_start(conf);

    call = client_request(client_open(harness_port(8080)),
                          "/my_service.MyServiceAPI/MyServiceEcho", headers,
                          "\0\0\0\0", 5, false);
    client_wait(call);
    client_assert(call, 0, "");
}


static void
is(json_t *object, const char *session)
{
    ck_assert_str_eq(json_string_value(json_object_get(object, "session")),
                     session);
}


START_TEST(ids_plain)
{
    json_t  *answer;

    start(CONF(""));
    answer = api_ask("GET", "/api/1/", "/", NULL, NULL, 200);
    ck_assert_str_eq(json_string_value(json_object_get(answer,
                                           "session_ids")), "plain");
    json_decref(answer);
    json_decref(api_ask("GET", HASHED, SESSIONS, NULL, NULL, 404));

    ck_assert_ptr_null(api_ask("DELETE", "/api/1/upstreams/u/sessions/a%22b",
                               SESSION, api_change, NULL, 204));
    ck_assert(gateway_logged("operator ends a lease, session=\"a%22b\""));
    ck_assert(gateway_logged("session lost its instance: by the operator, "
                             "session=\"a%22b\" instance="));
    gateway_await_access("id=a\\x22b.");
}
END_TEST


START_TEST(ids_hash)
{
    json_t  *answer, *event;
    size_t   i;

    start(CONF("myservice_session_ids hash;\n"));
    gateway_await_access("id=" HASH ".");

    answer = api_ask("GET", "/api/1/", "/", NULL, NULL, 200);
    ck_assert_str_eq(json_string_value(json_object_get(answer,
                                           "session_ids")), "hash");
    json_decref(answer);

    /* by its id, and by what the API shows */

    answer = api_ask("GET", "/api/1/upstreams/u/sessions/a%22b", SESSION,
                     NULL, NULL, 200);
    is(answer, HASH);
    json_decref(answer);
    answer = api_ask("GET", HASHED, SESSIONS, NULL, NULL, 200);
    is(answer, HASH);
    json_decref(answer);
    json_decref(api_ask("GET", "/api/1/upstreams/u/sessions/"
                        "sha256:0123456789abcdef", SESSION, NULL, NULL, 404));

    ck_assert_ptr_null(api_ask("DELETE", HASHED, SESSIONS, api_change, NULL,
                               204));
    json_decref(api_ask("DELETE", HASHED, SESSIONS, api_change, NULL, 404));
    ck_assert(gateway_logged("operator ends a lease, session=\"" HASH "\""));
    ck_assert(gateway_logged("by the operator, session=\"" HASH "\" "));

    answer = api_ask("GET", "/api/1/events", "/events", NULL, NULL, 200);
    ck_assert_uint_eq(json_array_size(json_object_get(answer, "events")), 2);
    json_array_foreach(json_object_get(answer, "events"), i, event) {
        is(event, HASH);
    }
    json_decref(answer);

    /* another configuration, other texts */

    gateway_reload(CONF(""));
    answer = api_ask("GET", "/api/1/events", "/events", NULL, NULL, 200);
    is(json_array_get(json_object_get(answer, "events"), 0), "a\"b");
    json_decref(answer);
}
END_TEST


START_TEST(ids_conf)
{
    const char  *output;

    ck_assert_int_ne(gateway_test(CONF("myservice_session_ids md5;\n"),
                                  &output), 0);
    ck_assert_ptr_nonnull(strstr(output, "\"md5\""));
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("session ids");
    harness_add(suite, ids_plain);
    harness_add(suite, ids_hash);
    harness_add(suite, ids_conf);

    return harness_run(suite, "test_session_ids");
}
