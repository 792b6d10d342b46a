/*
 * What the gateway says of its lease in the metadata of a call.
 */

#ifndef MYSERVICE_TERMS_H
#define MYSERVICE_TERMS_H


#include <stdint.h>

#include "rpc/call.h"


/* A time in milliseconds, 0 if the gateway sends none.  The session ends when
 * its lease does: "session-ttl" after the last call, and "session-ends" from
 * now at the latest. */
int64_t terms_ms(const rpc_call_t *call, const char *name);

/* The epoch of the lease, 0 if the gateway sends none. */
uint64_t terms_epoch(const rpc_call_t *call);


#endif /* MYSERVICE_TERMS_H */
