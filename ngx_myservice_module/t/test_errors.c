/*
 * Errors of nginx itself and of an upstream without sessions, as gRPC statuses;
 * requests that are not gRPC keep their HTTP statuses.
 */

#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"


/* "%s" of the locations; a printf format would hide the nginx variables */
#define CONF(locations)                                                       \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    limit_req_zone $http_x_key zone=one:1m rate=1r/m;\n"                 \
    "    log_format grpc 'status=$status grpc=$myservice_grpc_status '\n"     \
    "                    'message=\"$myservice_grpc_message\"';\n"            \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log grpc;\n"                           \
    locations                                                                 \
    "    }\n"                                                                 \
    "}\n"


static client_call_t *
call(const char *path)
{
    client_call_t  *c;

    c = client_grpc(client_open(harness_port(8080)), path, NULL, NULL,
                    "\x0a\x05hello", 7);
    client_wait(c);

    return c;
}


static client_call_t *
call_of_size(const char *path, size_t size)
{
    void           *message;
    client_call_t  *c;

    message = calloc(1, size);
    ck_assert_ptr_nonnull(message);
    c = client_grpc(client_open(harness_port(8080)), path, NULL, NULL,
                    message, size);
    free(message);
    client_wait(c);

    return c;
}


START_TEST(errors_not_routed)
{
    gateway_start(CONF("location / { return 404; }\n"));
    client_assert_refused(call("/other.Service/Method"), 12,
                          "method not routed");
    client_assert_refused(call("/"), 12, "method not routed");
}
END_TEST


START_TEST(errors_no_such_file)
{
    gateway_start(CONF("root %%DIR%%;\n"));
    client_assert_refused(call("/missing"), 12, "method not routed");
}
END_TEST


START_TEST(errors_forbidden)
{
    gateway_start(CONF("location / { deny all; }\n"));
    client_assert_refused(call(ECHO), 7, "forbidden");
}
END_TEST


/* an error page of the operator does not reach a gRPC client */
START_TEST(errors_error_page)
{
    gateway_start(CONF(
        "location / { deny all; }\n"
        "error_page 403 /denied;\n"
        "location = /denied { allow all; return 200 'an error page'; }\n"
        "location /named { deny all; error_page 403 @named; }\n"
        "location @named { allow all; return 503; }\n"));
    client_assert_refused(call(ECHO), 7, "forbidden");
    ck_assert_int_ne(call("/named")->grpc, 0);
}
END_TEST


START_TEST(errors_too_large)
{
    fake_t  *fake;

    fake = fake_start(8081, "one", fake_ok);
    gateway_start(CONF(
        "client_max_body_size 1k;\n"
        "location / { grpc_pass grpc://127.0.0.1:8081; }\n"));

    client_assert(call_of_size(ECHO, 1000), 0, "");
    ck_assert_uint_eq(fake_requests(fake), 1);
    client_assert_refused(call_of_size(ECHO, 1100), 8,
                          "request message is too large");
    client_assert_refused(call_of_size(ECHO, 100000), 8,
                          "request message is too large");
    ck_assert_uint_eq(fake_requests(fake), 1);
}
END_TEST


/* the limit is passed in the middle of a stream of the client */
START_TEST(errors_too_large_stream)
{
    char             chunk[700];
    client_call_t   *c;
    client_header_t  headers[] = {
        { "content-type", "application/grpc" }, { "te", "trailers" },
        { NULL, NULL }
    };

    memset(chunk, 0, sizeof(chunk));
    (void) fake_start(8081, "one", fake_ok);
    gateway_start(CONF(
        "client_max_body_size 1k;\n"
        "location / { grpc_pass grpc://127.0.0.1:8081; }\n"));

    c = client_request(client_open(harness_port(8080)), ECHO, headers, chunk,
                       sizeof(chunk), true);

    while (!c->done && c->sent < sizeof(chunk)) {
        client_poll(100);
    }

    client_send(c, chunk, sizeof(chunk), false);
    client_wait(c);
    client_assert_refused(c, 8, "request message is too large");
}
END_TEST


START_TEST(errors_unreachable)
{
    (void) harness_port(8081);
    gateway_start(CONF("location / { grpc_pass grpc://127.0.0.1:8081; }\n"));
    client_assert_refused(call(LOGIN), 14, "service unavailable");
}
END_TEST


static void
say_nothing(fake_call_t *c)
{
    (void) c;
}


START_TEST(errors_upstream_timeout)
{
    (void) fake_start(8081, "one", say_nothing);
    gateway_start(CONF("location / { grpc_pass grpc://127.0.0.1:8081;\n"
                       "    grpc_read_timeout 100ms; }\n"));
    ck_assert_msg(call(LOGIN)->grpc == 14 || call(LOGIN)->grpc == 4,
                  "neither UNAVAILABLE nor DEADLINE_EXCEEDED");
}
END_TEST


START_TEST(errors_limit_req)
{
    client_call_t   *c;
    client_header_t  headers[] = {
        { "content-type", "application/grpc" }, { "x-key", "k" },
        { NULL, NULL }
    };

    (void) fake_start(8081, "one", fake_ok);
    gateway_start(CONF(
        "location /a { limit_req zone=one; limit_req_status 429;\n"
        "    grpc_pass grpc://127.0.0.1:8081; }\n"
        "location /b { limit_req zone=one; return 404; }\n"));

    c = client_request(client_open(harness_port(8080)), "/a", headers, "", 0,
                       false);
    client_wait(c);
    client_assert(c, 0, "");

    c = client_request(client_open(harness_port(8080)), "/a", headers, "", 0,
                       false);
    client_wait(c);
    client_assert_refused(c, 14, "too many requests");
}
END_TEST


START_TEST(errors_service_unavailable)
{
    gateway_start(CONF("location / { return 503; }\n"));
    client_assert_refused(call(ECHO), 14, "service unavailable");
}
END_TEST


/* what no table names is UNKNOWN, never success */
START_TEST(errors_other_status)
{
    gateway_start(CONF("location / { return 418; }\n"));
    ck_assert_int_eq(call(ECHO)->grpc, 2);
}
END_TEST


START_TEST(errors_not_grpc)
{
    size_t                        i;
    client_call_t                *c;
    client_header_t               headers[4];
    static const client_header_t  types[] = {
        { "content-type", "text/plain" },
        { "content-type", "application/grpc-web" },
        { "content-type", "application/grpcx" },
        { "x-type", "application/grpc" }
    };

    gateway_start(CONF("location / { return 404; }\n"));

    for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        headers[0] = (client_header_t) { ":method", "GET" };
        headers[1] = types[i];
        headers[2].name = NULL;

        c = client_request(client_open(harness_port(8080)), "/", headers,
                           NULL, 0, false);
        client_wait(c);
        ck_assert_int_eq(c->http, 404);
        ck_assert_int_eq(c->grpc, -1);
        ck_assert_uint_gt(c->len, 0);
    }
}
END_TEST


START_TEST(errors_grpc_with_suffix)
{
    client_call_t   *c;
    client_header_t  headers[] = {
        { "content-type", "application/grpc+proto" }, { NULL, NULL }
    };

    gateway_start(CONF("location / { return 404; }\n"));

    c = client_request(client_open(harness_port(8080)), "/", headers, "", 0,
                       false);
    client_wait(c);
    client_assert_refused(c, 12, "method not routed");
}
END_TEST


START_TEST(errors_off)
{
    client_call_t  *c;

    gateway_start(CONF("location / { myservice_grpc_errors off;\n"
                       "    return 404; }\n"));
    c = call(ECHO);
    ck_assert_int_eq(c->http, 404);
    ck_assert_int_eq(c->grpc, -1);
}
END_TEST


static void
say_status(fake_call_t *c)
{
    fake_refuse(c, 9, "of the backend");
}


/* a status of the backend passes as it is */
START_TEST(errors_backend_status)
{
    (void) fake_start(8081, "one", say_status);
    gateway_start(CONF("location / { grpc_pass grpc://127.0.0.1:8081; }\n"));
    client_assert_refused(call(LOGIN), 9, "of the backend");
    gateway_await_access("status=200 grpc=9 message=\"of the backend\"");
}
END_TEST


static void
die_in_stream(fake_call_t *c)
{
    fake_headers(c);
    fake_message(c, 0);

    if (c->number == 1) {
        fake_close(c);

    } else if (c->number == 2) {
        fake_reset(c, 2);

    } else {
        fake_half_message(c);
        fake_close(c);
    }
}


/* closed, reset, closed within a message: trailers end the stream */
START_TEST(errors_broken_stream)
{
    int             i;
    client_call_t  *c;

    (void) fake_start(8081, "one", die_in_stream);
    gateway_start(CONF("location / { grpc_pass grpc://127.0.0.1:8081; }\n"));

    for (i = 0; i < 3; i++) {
        c = call(SUBSCRIBE);
        client_assert(c, 14, "service unavailable");
        ck_assert_uint_eq(client_messages(c), 1);
        ck_assert_uint_eq(c->headers, 2);
    }
}
END_TEST


/* an answer of another protocol, which nginx buffers */
START_TEST(errors_buffered)
{
    int             i;
    pid_t           before, after;
    client_call_t  *c;

    static const char *const  paths[] = { "/buffered", "/not" };

    gateway_start(CONF(
        "location /buffered { proxy_pass http://127.0.0.1:8082; }\n"
        "location /not { proxy_pass http://127.0.0.1:8082;\n"
        "    proxy_buffering off; }\n"
        "}\n"
        "server {\n"
        "    listen 127.0.0.1:8082;\n"
        "    location / { return 200 'of a web server'; }\n"));
    ck_assert_uint_eq(gateway_workers(&before, 1), 1);

    for (i = 0; i < 2; i++) {
        c = call(paths[i]);
        ck_assert_int_eq(c->http, 200);
        ck_assert_uint_eq(c->len, 15);
        ck_assert_int_eq(memcmp(c->body, "of a web server", 15), 0);
    }

    ck_assert_uint_eq(gateway_workers(&after, 1), 1);
    ck_assert_int_eq(before, after);
}
END_TEST


START_TEST(errors_variables)
{
    gateway_start(CONF("location / { return 404; }\n"));
    (void) call("/");
    gateway_await_access("status=200 grpc=12 message=\"method not routed\"");
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("errors");

    harness_add(suite, errors_not_routed);
    harness_add(suite, errors_no_such_file);
    harness_add(suite, errors_forbidden);
    harness_add(suite, errors_error_page);
    harness_add(suite, errors_too_large);
    harness_add(suite, errors_too_large_stream);
    harness_add(suite, errors_unreachable);
    harness_add(suite, errors_upstream_timeout);
    harness_add(suite, errors_limit_req);
    harness_add(suite, errors_service_unavailable);
    harness_add(suite, errors_other_status);
    harness_add(suite, errors_not_grpc);
    harness_add(suite, errors_grpc_with_suffix);
    harness_add(suite, errors_off);
    harness_add(suite, errors_backend_status);
    harness_add(suite, errors_broken_stream);
    harness_add(suite, errors_buffered);
    harness_add(suite, errors_variables);

    return harness_run(suite, argv[0]);
}
