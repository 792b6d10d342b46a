/*
 * What all claims end with.
 */

#ifndef MS_POOL_CLAIM_H
#define MS_POOL_CLAIM_H


#include "pool/record.h"


/* The session has the instance already, and uses it: fills "lease". */
void ms_claim_keep(ms_pool_t *pool, uint32_t id, const ms_pool_terms_t *terms,
    uint64_t now, ms_lease_t *lease);

/* Fills "lease" with the lease that the instance has. */
void ms_claim_grant(const ms_pool_t *pool, uint32_t id, uint64_t now,
    ms_lease_t *lease);

/*
 * Whom the lease counts for becomes known, if it was not.  A newer token may put
 * the end of the lease off, an older one does not bring
 * it forward.  A learned lease has no end of a token yet: it gets this one.
 */
void ms_claim_terms(ms_pool_t *pool, uint32_t id,
    const ms_pool_terms_t *terms);

/* How many tentative leases the subject has; NULL: none are known. */
uint32_t ms_claim_firsts(const ms_pool_t *pool, const uint8_t *subject);


#endif /* MS_POOL_CLAIM_H */
