/* What a client got, and asserts about it. */

#include <stdio.h>
#include <string.h>
#include <check.h>

#include "my_service.pb-c.h"

#include "wire/messages.h"
#include "client.h"
#include "harness.h"


/* The next message from "p" on; NULL if it is not complete. */
static const uint8_t *
client_message(const client_call_t *call, const uint8_t *p, size_t *len)
{
    size_t  left;

    left = call->len - (size_t) (p - call->body);

    if (left < 5) {
        return NULL;
    }

    *len = ms_message_length(p);

    return left - 5 < *len ? NULL : p + 5;
}


unsigned
client_messages(const client_call_t *call)
{
    size_t          len;
    unsigned        n;
    const uint8_t  *p, *m;

    n = 0;
    p = call->body;

    while (p != NULL && (m = client_message(call, p, &len)) != NULL) {
        p = m + len;
        n++;
    }

    return n;
}


const char *
client_pod(const client_call_t *call, unsigned n)
{
    size_t                   len;
    static char              pod[128];
    const uint8_t           *p, *m;
    MyService__EchoResponse  *response;

    p = call->body;
    pod[0] = '\0';

    while (p != NULL && (m = client_message(call, p, &len)) != NULL) {
        p = m + len;

        if (n-- == 0) {
            response = my_service__echo_response__unpack(NULL, len, m);
            ck_assert_ptr_nonnull(response);
            snprintf(pod, sizeof(pod), "%s", response->pod_name);
            my_service__echo_response__free_unpacked(response, NULL);
            break;
        }
    }

    return pod;
}


void
client_keep(client_call_t *call, const char *name, const char *value)
{
    size_t  len;

    len = strlen(call->fields);
    snprintf(call->fields + len, sizeof(call->fields) - len, "%s: %s\n", name,
             value);
}


bool
client_has(const client_call_t *call, const char *line)
{
    char  text[512];

    snprintf(text, sizeof(text), "\n%s\n", line);

    return strstr(call->fields, text) != NULL;
}


void
client_assert_at(const client_call_t *call, int code, const char *text,
    bool trailers_only, const char *file, int line)
{
    ck_assert_msg(call->done, "%s:%d: the call is not over", file, line);
    ck_assert_msg(!call->reset && call->http == 200 && call->grpc == code
                  && strcmp(call->message, text) == 0,
                  "%s:%d: HTTP %d, grpc-status %d \"%s\"%s, expected %d \"%s\"",
                  file, line, call->http, call->grpc, call->message,
                  call->reset ? ", reset" : "", code, text);
    ck_assert_msg(strncmp(call->type, "application/grpc", 16) == 0,
                  "%s:%d: content-type \"%s\"", file, line, call->type);

    if (trailers_only) {
        ck_assert_msg(call->headers == 1 && call->data == 0
                      && call->len == 0 && call->flags == 0x05,
                      "%s:%d: not Trailers-Only: %u HEADERS (flags 0x%02x), "
                      "%u DATA", file, line, call->headers, call->flags,
                      call->data);
    }
}


void
client_assert_waits(const client_call_t *call, long long ms)
{
    long long  since;

    since = harness_now();

    while (harness_now() - since < ms) {
        client_poll(10);
        ck_assert(!call->done);
    }
}
