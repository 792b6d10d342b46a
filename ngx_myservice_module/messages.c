
#include "messages.h"


size_t
ms_messages_feed(ms_messages_t *messages, const uint8_t *p, size_t len)
{
    size_t          complete;
    uint64_t        n;
    const uint8_t  *last, *start, *prefix;

    start = p;
    last = p + len;
    complete = 0;

    while (p < last) {

        if (messages->rest == 0) {
            messages->prefix[messages->prefix_len++] = *p++;

            if (messages->prefix_len < MS_MESSAGE_PREFIX) {
                continue;
            }

            prefix = messages->prefix;

            messages->prefix_len = 0;
            messages->rest = (uint64_t) prefix[1] << 24
                             | (uint64_t) prefix[2] << 16
                             | (uint64_t) prefix[3] << 8 | prefix[4];

        } else {
            n = (uint64_t) (last - p);

            if (n > messages->rest) {
                n = messages->rest;
            }

            p += n;
            messages->rest -= n;
        }

        if (messages->rest == 0) {
            complete = (size_t) (p - start);
        }
    }

    return complete;
}
