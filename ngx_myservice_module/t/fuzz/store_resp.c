/*
 * libFuzzer: what a store may answer.  However the bytes are cut, the same
 * comes of them.  The first byte of an input says how, and how many questions
 * were asked.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/resp.h"


#define must(condition)                                                       \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "not true: %s\n", #condition);                    \
            abort();                                                          \
        }                                                                     \
    } while (0)

#define MAX  65536


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* A sum over what the handlers saw, in its order. */
static uint64_t
add(uint64_t sum, uint64_t n)
{
    return (sum ^ n) * 1099511628211u;
}


static uint64_t
add_reply(uint64_t sum, const redisReply *r)
{
    size_t    i;
    uint64_t  n;

    sum = add(sum, (uint64_t) r->type);

    if (ms_resp_value(r, &n) == 0) {
        sum = add(sum, n);
    }

    for (i = 0; r->type == REDIS_REPLY_ARRAY && i < r->elements; i++) {
        sum = add_reply(sum, r->element[i]);

        if (ms_resp_element(r, i) != NULL) {
            sum = add(sum, (uint64_t) ms_resp_element(r, i)->len);
        }
    }

    return sum;
}


static void
answered(void *owner, redisReply *reply, void *data)
{
    uint64_t  *sum = owner;

    (void) data;
    *sum = reply != NULL ? add_reply(*sum, reply) : add(*sum, 3);
}


static uint64_t
run(const uint8_t *data, size_t size, size_t step, unsigned asked)
{
    size_t     pos, n;
    uint64_t   sum;
    ms_resp_e  rc;
    ms_resp_t  resp;

    memset(&resp, 0, sizeof(resp));
    sum = 0;
    must(ms_resp_open(&resp, &sum) == 0);

    while (asked-- > 0) {
        ms_resp_begin(&resp, 1);
        ms_resp_word(&resp, "PING");
        must(ms_resp_ask(&resp, answered, NULL) == 0);
    }

    rc = MS_RESP_OK;

    for (pos = 0; pos < size && rc == MS_RESP_OK; pos += n) {
        n = size - pos < step ? size - pos : step;
        rc = ms_resp_feed(&resp, data + pos, n);
    }

    sum = add(sum, (uint64_t) rc);
    ms_resp_close(&resp);
    must(resp.asked == 0);

    return sum;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t    step;
    unsigned  asked;

    if (size == 0 || size > MAX) {
        return 0;
    }

    step = 1u + data[0] % 16;
    asked = data[0] / 16u;
    data++;
    size--;

    must(run(data, size, step, asked) == run(data, size, MAX, asked));

    return 0;
}
