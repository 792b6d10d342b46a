/*
 * Metadata of a call: the request's, which the core owns, and what a handler
 * adds, which lives as long as the call.
 */

#include "rpc/call.h"

#include <string.h>


static int metadata_add(rpc_call_metadata_t *metadata, const char *key,
    const char *value);


const char *
rpc_call_metadata(const rpc_call_t *call, const char *key, size_t *len)
{
    size_t                i;
    const grpc_metadata  *md;

    for (i = 0; i < call->metadata.count; i++) {
        md = &call->metadata.metadata[i];

        if (grpc_slice_str_cmp(md->key, key) == 0) {
            *len = GRPC_SLICE_LENGTH(md->value);
            return (const char *) GRPC_SLICE_START_PTR(md->value);
        }
    }

    *len = 0;

    return NULL;
}


size_t
rpc_call_metadata_count(const rpc_call_t *call, const char *key)
{
    size_t  i, n;

    n = 0;

    for (i = 0; i < call->metadata.count; i++) {
        if (grpc_slice_str_cmp(call->metadata.metadata[i].key, key) == 0) {
            n++;
        }
    }

    return n;
}


int
rpc_call_add_initial(rpc_call_t *call, const char *key, const char *value)
{
    if (call->initial_sent) {
        return -1;
    }

    return metadata_add(&call->initial, key, value);
}


int
rpc_call_add_trailing(rpc_call_t *call, const char *key, const char *value)
{
    /* the state of a deferred call is not for other threads to read */

    if (!call->deferred && call->state != RPC_CALL_RUNNING) {
        return -1;
    }

    return metadata_add(&call->trailing, key, value);
}


static int
metadata_add(rpc_call_metadata_t *metadata, const char *key,
    const char *value)
{
    grpc_slice      k, v;
    grpc_metadata  *md;

    if (metadata->n == RPC_METADATA_MAX) {
        return -1;
    }

    k = grpc_slice_from_copied_string(key);
    v = grpc_slice_from_copied_string(value);

    if (!grpc_header_key_is_legal(k)
        || (!grpc_is_binary_header(k)
            && !grpc_header_nonbin_value_is_legal(v)))
    {
        grpc_slice_unref(k);
        grpc_slice_unref(v);
        return -1;
    }

    md = &metadata->elts[metadata->n++];
    memset(md, 0, sizeof(*md));
    md->key = k;
    md->value = v;

    return 0;
}


void
rpc_call_metadata_clear(rpc_call_metadata_t *metadata)
{
    while (metadata->n > 0) {
        metadata->n--;
        grpc_slice_unref(metadata->elts[metadata->n].key);
        grpc_slice_unref(metadata->elts[metadata->n].value);
    }
}
