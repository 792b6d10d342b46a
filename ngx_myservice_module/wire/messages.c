/*
 * Where gRPC messages end in a body: Length-Prefixed-Message of
 * https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, one byte of
 * flags, four bytes of length in network order, the message.
 */

#include "wire/messages.h"


size_t
ms_messages_feed(ms_messages_t *messages, const uint8_t *p, size_t len)
{
    size_t          n, complete;
    const uint8_t  *last, *start;

    start = p;
    last = p + len;
    complete = 0;

    while (p < last) {

        if (messages->rest == 0) {
            messages->prefix[messages->prefix_len++] = *p++;

            if (messages->prefix_len < MS_MESSAGE_PREFIX) {
                continue;
            }

            messages->prefix_len = 0;
            messages->rest = ms_message_length(messages->prefix);

        } else {
            n = (size_t) (last - p);

            if (n > messages->rest) {
                n = messages->rest;
            }

            p += n;
            messages->rest -= (uint32_t) n;
        }

        if (messages->rest == 0) {
            complete = (size_t) (p - start);
        }
    }

    return complete;
}
