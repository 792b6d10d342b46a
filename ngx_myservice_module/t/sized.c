/*
 * Echoes of any size with a content that shows what is lost or out of order.
 */

#include <stdlib.h>
#include <string.h>
#include <check.h>

#include "my_service.pb-c.h"

#include "wire/messages.h"
#include "harness.h"
#include "sized.h"
#include "token.h"


static char *
sized_value(size_t size)
{
    char    *value;
    size_t   i;

    value = malloc(size + 1);
    ck_assert_ptr_nonnull(value);

    for (i = 0; i < size; i++) {
        value[i] = (char) ('a' + (i + i / 97 + i / 10007) % 26);
    }

    value[size] = '\0';

    return value;
}


client_call_t *
sized_start(client_t *client, const char *path, const char *session,
    size_t size)
{
    size_t                   len;
    uint8_t                 *message;
    client_call_t           *call;
    MyService__EchoRequest   request = MY_SERVICE__ECHO_REQUEST__INIT;

    request.value = sized_value(size);
    message = malloc(my_service__echo_request__get_packed_size(&request) + 1);
    ck_assert_ptr_nonnull(message);
    len = my_service__echo_request__pack(&request, message);

    call = client_grpc(client, path, token_make(session, 3600), session,
                       message, len);
    free(message);
    free(request.value);

    return call;
}


client_call_t *
sized_late(const char *session, size_t size)
{
    uint8_t          *data;
    client_t         *client;
    client_call_t    *call;
    client_header_t   headers[] = {
        { "te", "trailers" },
        { "content-type", "application/grpc" },
        { "session-id", session },
        { "authorization", token_make(session, 60) },
        { NULL, NULL }
    };

    data = calloc(1, size);
    ck_assert_ptr_nonnull(data);
    client = client_open(harness_port(8080));
    call = client_request(client, ECHO, headers, data, size - 1, true);
    free(data);

    while (!call->done && call->sent < size - 1) {
        client_poll(100);
    }

    /* the gateway has read this, and has done more than that */

    client_ping(client);
    client_wait_pongs(client, 1);
    client_ping(client);
    client_wait_pongs(client, 2);

    if (!call->done) {
        client_send(call, "", 1, true);
    }

    client_wait(call);

    return call;
}


unsigned
sized_check(const client_call_t *call, size_t size)
{
    char                     *value;
    size_t                    len, left;
    unsigned                  n;
    const uint8_t            *p;
    MyService__EchoResponse  *response;

    n = 0;
    value = sized_value(size);

    for (p = call->body, left = call->len; left >= 5; p += len, left -= len) {
        len = MS_MESSAGE_PREFIX + (size_t) ms_message_length(p);

        if (left < len) {
            break;
        }

        response = my_service__echo_response__unpack(NULL, len - 5, p + 5);
        ck_assert_ptr_nonnull(response);
        ck_assert_msg(strcmp(response->client_value, value) == 0,
                      "message %u of %zu bytes is not what was sent", n, size);
        my_service__echo_response__free_unpacked(response, NULL);
        n++;
    }

    free(value);

    return n;
}


void
sized_ok(const client_call_t *call, size_t size)
{
    client_assert(call, 0, "");
    ck_assert_uint_eq(sized_check(call, size), 1);
}
