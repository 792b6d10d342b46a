/*
 * Hashes: of a session for the index, of names and sessions for the ring.
 */

#ifndef MS_POOL_KEY_H
#define MS_POOL_KEY_H


#include "pool/record.h"


/* SipHash-2-4. */
uint64_t ms_key_hash(const void *data, size_t len, const uint8_t key[16]);

/*
 * The position of a name or of a session on the ring: the same in every
 * gateway and after every restart.
 */
uint64_t ms_key_position(const void *data, size_t len);

/* Whom a lease of these terms counts for, 0: nobody is known.  Odd: only the
 * subject is known. */
uint64_t ms_key_user(const ms_pool_t *pool, const ms_pool_terms_t *terms);


#endif /* MS_POOL_KEY_H */
