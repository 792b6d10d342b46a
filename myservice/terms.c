/*
 * What the gateway says of its lease: numbers in decimal digits, each once.
 */

#include "myservice/session.h"
#include "myservice/terms.h"


static uint64_t terms_number(const rpc_call_t *call, const char *name,
    uint64_t max);


int64_t
terms_ms(const rpc_call_t *call, const char *name)
{
    return (int64_t) terms_number(call, name, SESSION_TTL_MAX);
}


uint64_t
terms_epoch(const rpc_call_t *call)
{
    return terms_number(call, "session-epoch", SESSION_EPOCH_MAX);
}


/* 0: none, more than one, or no number up to "max". */

static uint64_t
terms_number(const rpc_call_t *call, const char *name, uint64_t max)
{
    size_t       i, len;
    uint64_t     number;
    const char  *value;

    value = rpc_call_metadata(call, name, &len);

    if (value == NULL || rpc_call_metadata_count(call, name) > 1) {
        return 0;
    }

    number = 0;

    for (i = 0; i < len; i++) {
        if (value[i] < '0' || value[i] > '9') {
            return 0;
        }

        number = number * 10 + (uint64_t) (value[i] - '0');

        if (number > max) {
            return 0;
        }
    }

    return number;
}
