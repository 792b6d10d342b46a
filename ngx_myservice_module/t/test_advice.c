/*
 * What a refused call is told beside its status: why, and when it may come
 * again ("myservice_pushback").
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"


#define CONF(upstream, location)                                              \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream games {\n"                                                  \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    upstream                                                                  \
    "        server 127.0.0.1:8081;\n"                                        \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / {\n"                                                  \
    location                                                                  \
    "            grpc_pass grpc://games;\n"                                   \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define PUSHBACK  "grpc-retry-pushback-ms: "


static void
serve(fake_call_t *call)
{
    if (strstr(fake_metadata(call->fake), "\nsession-id: other\n") != NULL) {
        fake_refuse(call, 13, "Session conflict: was=s1, now=other");
        return;
    }

    fake_headers(call);
    fake_message(call, 0);
    fake_trailers(call, 0, "");
}


static void
start(const char *conf)
{
    (void) fake_start(8081, "one", serve);
    gateway_start(conf);
}


/* Whether google.rpc.Status of the answer has this text somewhere. */
static bool
says(client_call_t *call, const char *text)
{
    int      len;
    char     encoded[1024];
    size_t   n;
    uint8_t  status[1024];
    char    *p;

    p = strstr(call->fields, "grpc-status-details-bin: ");

    if (p == NULL) {
        return false;
    }

    p += strlen("grpc-status-details-bin: ");
    n = strcspn(p, "\r\n");
    ck_assert_uint_lt(n, sizeof(encoded) - 4);
    memcpy(encoded, p, n);

    while (n % 4 != 0) {
        encoded[n++] = '=';
    }

    len = EVP_DecodeBlock(status, (uint8_t *) encoded, (int) n);
    ck_assert_int_gt(len, 0);

    return memmem(status, (size_t) len, text, strlen(text)) != NULL;
}


static long
pushback(client_call_t *call)
{
    char  *p;

    p = strstr(call->fields, PUSHBACK);
    ck_assert_msg(p != NULL, "%s", call->fields);

    return strtol(p + strlen(PUSHBACK), NULL, 10);
}


static void
is_busy(client_call_t *call)
{
    client_assert(call, 8, "all instances are busy");
    ck_assert(says(call, "google.rpc.ErrorInfo"));
    ck_assert(says(call, "ALL_INSTANCES_BUSY"));
    ck_assert(says(call, "ngx_http_myservice_module"));
    ck_assert(says(call, "upstream"));
    ck_assert(says(call, "games"));
}


/* about a second, and not the same for all */
START_TEST(advice_busy)
{
    int             i;
    long            ms, first;
    bool            other;
    client_call_t  *c;

    start(CONF("", ""));
    client_assert(echo_once("s1"), 0, "");

    first = 0;
    other = false;

    for (i = 0; i < 20; i++) {
        c = echo_once("s2");
        is_busy(c);
        ck_assert(says(c, "google.rpc.RetryInfo"));
        ms = pushback(c);
        ck_assert_int_ge(ms, 750);
        ck_assert_int_le(ms, 1250);
        other |= first != 0 && ms != first;
        first = ms;
    }

    ck_assert(other);
}
END_TEST


START_TEST(advice_time)
{
    client_call_t  *c;

    start(CONF("myservice_pushback 2m;\n", ""));
    client_assert(echo_once("s1"), 0, "");
    c = echo_once("s2");
    is_busy(c);
    ck_assert_int_ge(pushback(c), 90000);
    ck_assert_int_le(pushback(c), 150000);
}
END_TEST


START_TEST(advice_off)
{
    client_call_t  *c;

    start(CONF("myservice_pushback 0;\n", ""));
    client_assert(echo_once("s1"), 0, "");
    c = echo_once("s2");
    is_busy(c);
    ck_assert(!says(c, "google.rpc.RetryInfo"));
    ck_assert_ptr_null(strstr(c->fields, PUSHBACK));
}
END_TEST


/* the gateway had an instance for the session, and that serves another one */
START_TEST(advice_conflict)
{
    client_call_t  *c;

    start(CONF("", ""));
    c = echo_once("other");
    is_busy(c);
    ck_assert_int_ge(pushback(c), 750);
}
END_TEST


/* The same message will never fit. */
START_TEST(advice_too_large)
{
    char           *message;
    client_call_t  *c;

    start(CONF("", "client_max_body_size 1k;\n"));
    message = calloc(1, 2000);
    ck_assert_ptr_nonnull(message);
    c = client_grpc(client_open(harness_port(8080)), ECHO, NULL, "s1", message,
                    2000);
    client_wait(c);
    client_assert(c, 8, "request message is too large");
    ck_assert(says(c, "MESSAGE_TOO_LARGE"));
    ck_assert(says(c, "client_max_body_size"));
    ck_assert(says(c, "1024"));
    ck_assert(!says(c, "google.rpc.RetryInfo"));
    ck_assert_int_eq(pushback(c), -1);
    free(message);
}
END_TEST


/* the only instance has left */
START_TEST(advice_no_instances)
{
    client_call_t  *c;

    start(CONF("myservice_release MyServiceShutdown;\n", ""));
    client_assert(echo_once("s1"), 0, "");
    client_assert(shutdown_get(client_open(harness_port(8080)), "s1"), 0, "");
    c = echo_once("s2");
    client_assert(c, 8, "no available instances");
    ck_assert(says(c, "NO_INSTANCES"));
    ck_assert(says(c, "games"));
    ck_assert_ptr_null(strstr(c->fields, PUSHBACK));
}
END_TEST


/* Other refusals say nothing about a second try. */
START_TEST(advice_none)
{
    client_call_t  *c;

    start(CONF("", ""));
    c = client_grpc(client_open(harness_port(8080)), ECHO, NULL, NULL, "", 0);
    client_wait(c);
    client_assert(c, 16, "missing session-id");
    ck_assert_ptr_null(strstr(c->fields, PUSHBACK));
    ck_assert_ptr_null(strstr(c->fields, "grpc-status-details-bin"));
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("advice");
    harness_add(suite, advice_busy);
    harness_add(suite, advice_time);
    harness_add(suite, advice_off);
    harness_add(suite, advice_conflict);
    harness_add(suite, advice_too_large);
    harness_add(suite, advice_no_instances);
    harness_add(suite, advice_none);

    return harness_run(suite, "test_advice");
}
