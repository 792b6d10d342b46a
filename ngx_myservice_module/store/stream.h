/*
 * What other gateways change: one worker reads the leases of the store, then
 * the stream of changes, and applies them to the zone.
 */

#ifndef MS_STORE_STREAM_H
#define MS_STORE_STREAM_H


#include "store/store.h"


void ms_store_stream_start(ms_store_t *store);
void ms_store_stream_stop(ms_store_t *store);


#endif /* MS_STORE_STREAM_H */
