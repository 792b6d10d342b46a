/*
 * gRPC calls of a client, and waiting for what they bring.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/messages.h"
#include "client.h"
#include "gateway.h"
#include "harness.h"
#include "token.h"


#define STILL_MS  300                   /* without a write of the gateway */


client_call_t *
client_grpc(client_t *client, const char *path, const char *token,
    const char *session, const void *message, size_t len)
{
    size_t           n;
    uint8_t         *body;
    client_call_t   *call;
    client_header_t  headers[8];

    n = 0;
    headers[n++] = (client_header_t) { "te", "trailers" };
    headers[n++] = (client_header_t) { "content-type", "application/grpc" };

    if (session != NULL) {
        headers[n++] = (client_header_t) { "session-id", session };
    }

    if (token != NULL) {
        headers[n++] = (client_header_t) { "authorization", token };
    }

    headers[n].name = NULL;

    body = malloc(len + 5);
    ck_assert_ptr_nonnull(body);
    ms_message_prefix(body, (uint32_t) len);
    memcpy(body + 5, message, len);

    call = client_request(client, path, headers, body, len + 5, false);
    free(body);

    return call;
}


client_call_t *
echo_start(client_t *client, const char *session)
{
    /* EchoRequest { value = "hello" } */
    return client_grpc(client, ECHO, token_make(session, 3600), session,
                       "\x0a\x05hello", 7);
}


client_call_t *
echo_start_as(client_t *client, const char *user, const char *session)
{
    char  claims[512];

    snprintf(claims, sizeof(claims), "{\"session_id\":\"%s\","
             "\"exp\":32503680000,\"iss\":\"i\",\"sub\":\"%s\"}", session,
             user);

    return client_grpc(client, ECHO, token_sign(claims, "HS256", TOKEN_SECRET),
                       session, "", 0);
}


client_call_t *
echo_get(client_t *client, const char *session)
{
    client_call_t  *call;

    call = echo_start(client, session);
    client_wait(call);

    return call;
}


client_call_t *
echo_once(const char *session)
{
    return echo_get(client_open(harness_port(8080)), session);
}


client_call_t *
shutdown_get(client_t *client, const char *session)
{
    client_call_t  *call;

    call = client_grpc(client, SHUTDOWN, token_make(session, 3600), session,
                       "", 0);
    client_wait(call);

    return call;
}


void
client_wait(client_call_t *call)
{
    long long  since;

    since = harness_now();

    while (!call->done) {
        ck_assert_msg(harness_now() - since < HARNESS_DEADLINE,
                      "deadline: a call is not over: %u HEADERS, %zu bytes",
                      call->headers, call->len);
        client_poll(100);
    }
}


void
client_wait_messages(client_call_t *call, unsigned n)
{
    long long  since;

    since = harness_now();

    while (!call->done && client_messages(call) < n) {
        ck_assert_msg(harness_now() - since < HARNESS_DEADLINE,
                      "deadline: %u messages, %u expected",
                      client_messages(call), n);
        client_poll(100);
    }
}


void
client_await_still(void)
{
    long long      since, start;
    unsigned long  writes, before;

    start = harness_now();
    since = start;
    before = gateway_writes();

    while (harness_now() - since < STILL_MS) {
        client_poll(10);
        writes = gateway_writes();

        if (writes != before) {
            before = writes;
            since = harness_now();
            ck_assert_msg(since - start < HARNESS_DEADLINE,
                          "deadline: the gateway still writes");
        }
    }
}
