/*
 * All indexes anew, from the records.
 */

#ifndef MS_POOL_REBUILD_H
#define MS_POOL_REBUILD_H


#include "pool/record.h"


void ms_rebuild(ms_pool_t *pool);


#endif /* MS_POOL_REBUILD_H */
