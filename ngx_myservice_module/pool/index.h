/*
 * The indexes: which record a session has, which ones a user has, which one a
 * name has, which records are free, suspect, down or tentative.
 */

#ifndef MS_POOL_INDEX_H
#define MS_POOL_INDEX_H


#include <string.h>

#include "pool/record.h"


/* Heads of the session chains, pool->capacity of them. */
static inline uint32_t *
ms_index_heads(const ms_pool_t *pool)
{
    return (uint32_t *) ((uintptr_t) pool + pool->sessions_offset);
}


/* Heads of the user chains, pool->capacity of them. */
static inline uint32_t *
ms_index_users(const ms_pool_t *pool)
{
    return (uint32_t *) ((uintptr_t) pool + pool->users_offset);
}


/* The head of the chain that the user is in: keyed, so that users cannot choose
 * names that make chains long. */
static inline uint32_t *
ms_index_user_head(const ms_pool_t *pool, uint64_t user)
{
    uint64_t  key;

    memcpy(&key, pool->key, sizeof(key));

    return ms_index_users(pool)
           + ((user * (key | 1) >> 32) * pool->capacity >> 32);
}


/* Which chain has a hash. */
static inline uint32_t
ms_index_bucket(const ms_pool_t *pool, uint32_t hash)
{
    return (uint32_t) ((uint64_t) hash * pool->capacity >> 32);
}


/* Puts a record into the indexes that its fields say, and takes it out of
 * them: to be called before these fields change, and after it. */
void ms_index_link(ms_pool_t *pool, uint32_t id);
void ms_index_unlink(ms_pool_t *pool, uint32_t id);

/* The record that the session has, MS_POOL_NONE: none. */
uint32_t ms_index_session(const ms_pool_t *pool, const ms_pool_key_t *key);

/* The latest of the spare leases of the session, MS_POOL_NONE: none. */
uint32_t ms_index_spare(const ms_pool_t *pool, const ms_pool_key_t *key,
    uint64_t now);

/* The lease counts for "user" from now on, see ms_record_user(). */
void ms_index_user(ms_pool_t *pool, uint32_t id, uint64_t user);

/* How many leases count for "user" at "now", at most "max". */
uint32_t ms_index_user_count(const ms_pool_t *pool, uint64_t user,
    uint32_t max, uint64_t now);

/* By name; "position" is ms_key_position() of it. */
void ms_index_name_link(ms_pool_t *pool, uint32_t id);
void ms_index_name_unlink(ms_pool_t *pool, uint32_t id);
uint32_t ms_index_name(const ms_pool_t *pool, const void *name, size_t len,
    uint64_t position);


#endif /* MS_POOL_INDEX_H */
