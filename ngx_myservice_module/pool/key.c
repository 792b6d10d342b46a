/*
 * Hashes: where a name falls on the ring, and the key of a session, which is
 * keyed by the pool, so that clients cannot make chains long.
 */

#include <sodium.h>

#include "pool/key.h"


/*
 * The ring must look the same to every gateway and after every restart, so its
 * key is published.  That is safe: a client or instance that chooses ids or
 * names for their neighbours on the ring gains nothing, as one lookup is
 * O(log n) anyway.
 */
static const uint8_t  ms_key_ring[16];


static uint64_t ms_key_number(const uint8_t bytes[8]);


uint64_t
ms_key_hash(const void *data, size_t len, const uint8_t key[16])
{
    uint8_t  out[crypto_shorthash_BYTES];

    crypto_shorthash(out, data, len, key);

    return ms_key_number(out);
}


static uint64_t
ms_key_number(const uint8_t bytes[8])
{
    return (uint64_t) bytes[0] | (uint64_t) bytes[1] << 8
           | (uint64_t) bytes[2] << 16 | (uint64_t) bytes[3] << 24
           | (uint64_t) bytes[4] << 32 | (uint64_t) bytes[5] << 40
           | (uint64_t) bytes[6] << 48 | (uint64_t) bytes[7] << 56;
}


uint64_t
ms_key_position(const void *data, size_t len)
{
    return ms_key_hash(data, len, ms_key_ring);
}


uint64_t
ms_key_user(const ms_pool_t *pool, const ms_pool_terms_t *terms)
{
    if (terms->user != 0 || terms->subject == NULL) {
        return terms->user;
    }

    return ms_key_hash(terms->subject, MS_POOL_SUBJECT, pool->key) | 1;
}


/* not keyed, as gateways tell each other: nobody finds a name with the hash of
 * another user */
uint64_t
ms_pool_user(const void *user, size_t len)
{
    uint8_t   out[crypto_generichash_BYTES_MIN];
    uint64_t  hash;

    crypto_generichash(out, sizeof(out), user, len, NULL, 0);

    hash = ms_key_number(out) & ~UINT64_C(1);

    return hash != 0 ? hash : 2;
}


void
ms_pool_key(const ms_pool_t *pool, const void *session, size_t len,
    ms_pool_key_t *key)
{
    key->session = session;
    key->len = len;
    key->hash = ms_key_hash(session, len, pool->key);
}
