/*
 * Verified tokens of one worker, so that a session's next call costs a hash
 * and a comparison.  Bounded: all memory is taken at creation, the least
 * recently used entry makes room.  Entries are found by a keyed hash over the
 * end of the token, which is its signature, and the whole token is compared;
 * of a token over MS_CACHE_TOKEN bytes its SHA-256.  Not thread-safe.
 *
 * An entry is valid for one key set and one set of rules: flush when either
 * changes.
 */

#ifndef JWT_CACHE_H
#define JWT_CACHE_H


#include <stddef.h>
#include <stdint.h>


#define MS_CACHE_SESSION  256           /* longer values are not cached */
#define MS_CACHE_DATA     16384
#define MS_CACHE_TOKEN    1024          /* of longer ones a digest is kept */


typedef struct ms_cache_s  ms_cache_t;

typedef struct {
    uint64_t       hash;
    const char    *token;               /* borrowed; NULL: the digest counts */
    size_t         len;
    unsigned char  digest[32];
} ms_cache_key_t;

typedef struct {
    const char  *session;               /* not NUL-terminated */
    size_t       session_len;
    const void  *data;                  /* what the caller keeps with it */
    size_t       data_len;
    int64_t      expires;
    uint64_t    *mark;                  /* for the caller, 0 at first; set by
                                           ms_cache_find() alone */
} ms_cache_value_t;

typedef struct {
    uint64_t  hits;
    uint64_t  misses;
    uint64_t  evictions;                /* valid entries that made room */
    size_t    used;
} ms_cache_stats_t;


/* 1..2^24 entries, each with room for up to "data" bytes (at most
 * MS_CACHE_DATA); NULL when memory is out or there is no randomness. */
ms_cache_t *ms_cache_create(size_t entries, size_t data);
void ms_cache_free(ms_cache_t *cache);

/* The key of a token, for both functions below, for as long as the token is
 * there; -1 if the library failed. */
int ms_cache_key(ms_cache_t *cache, const char *token, size_t len,
    ms_cache_key_t *key) __attribute__((warn_unused_result));

/* 1 and the value, which points into the cache until the next change, or 0.
 * Never finds an entry at or past its "expires". */
int ms_cache_find(ms_cache_t *cache, const ms_cache_key_t *key, int64_t now,
    ms_cache_value_t *value) __attribute__((warn_unused_result));

/* Copies "value"; does nothing when it is too long or has expired. */
void ms_cache_put(ms_cache_t *cache, const ms_cache_key_t *key, int64_t now,
    const ms_cache_value_t *value);

void ms_cache_flush(ms_cache_t *cache);

ms_cache_stats_t ms_cache_stats(const ms_cache_t *cache);


#endif /* JWT_CACHE_H */
