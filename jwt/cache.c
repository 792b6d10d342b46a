#include "jwt/cache.h"

#include <stdlib.h>
#include <string.h>
#include <openssl/evp.h>
#include <openssl/rand.h>


#define MS_CACHE_MAX   (1U << 24)
#define MS_CACHE_NONE  UINT32_MAX


/* Entries are linked by index: in one chain of a bucket or of the free list,
 * and in the list of use. */
typedef struct {
    ms_cache_key_t  key;
    int64_t         expires;
    uint32_t        next;
    uint32_t        newer;
    uint32_t        older;
    uint16_t        session_len;
    uint16_t        role_len;
    char            session[MS_CACHE_SESSION];
    char            role[MS_CACHE_ROLE];
} ms_cache_entry_t;

struct ms_cache_s {
    unsigned char      secret[32];
    EVP_MD            *sha256;
    EVP_MD_CTX        *ctx;
    ms_cache_stats_t   stats;
    uint32_t           n;
    uint32_t           mask;            /* buckets - 1 */
    uint32_t           free;
    uint32_t           newest;
    uint32_t           oldest;
    uint32_t          *buckets;
    ms_cache_entry_t  *entries;
};


ms_cache_t *
ms_cache_create(size_t entries)
{
    ms_cache_t  *cache;

    if (entries == 0 || entries > MS_CACHE_MAX) {
        return NULL;
    }

    cache = calloc(1, sizeof(ms_cache_t));
    if (cache == NULL) {
        return NULL;
    }

    cache->n = (uint32_t) entries;
    cache->mask = 1;
    while (cache->mask < cache->n) {
        cache->mask <<= 1;
    }
    cache->mask--;

    cache->buckets = malloc((cache->mask + 1) * sizeof(uint32_t));
    cache->entries = malloc(entries * sizeof(ms_cache_entry_t));
    cache->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    cache->ctx = EVP_MD_CTX_new();

    if (cache->buckets == NULL || cache->entries == NULL
        || cache->sha256 == NULL || cache->ctx == NULL
        || RAND_bytes(cache->secret, sizeof(cache->secret)) != 1)
    {
        ms_cache_free(cache);
        return NULL;
    }

    ms_cache_flush(cache);

    return cache;
}


void
ms_cache_free(ms_cache_t *cache)
{
    if (cache == NULL) {
        return;
    }

    EVP_MD_CTX_free(cache->ctx);
    EVP_MD_free(cache->sha256);
    free(cache->buckets);
    free(cache->entries);
    free(cache);
}


int
ms_cache_key(ms_cache_t *cache, const char *token, size_t len,
    ms_cache_key_t *key)
{
    if (EVP_DigestInit_ex2(cache->ctx, cache->sha256, NULL) != 1
        || EVP_DigestUpdate(cache->ctx, cache->secret, sizeof(cache->secret))
           != 1
        || EVP_DigestUpdate(cache->ctx, token, len) != 1
        || EVP_DigestFinal_ex(cache->ctx, key->digest, NULL) != 1)
    {
        return -1;
    }

    return 0;
}


/* The link that points, or would point, at the key's entry. */
static uint32_t *
ms_cache_link(ms_cache_t *cache, const ms_cache_key_t *key)
{
    uint32_t  hash, *link;

    memcpy(&hash, key->digest, sizeof(hash));
    link = &cache->buckets[hash & cache->mask];

    while (*link != MS_CACHE_NONE
           && memcmp(&cache->entries[*link].key, key, sizeof(ms_cache_key_t))
              != 0)
    {
        link = &cache->entries[*link].next;
    }

    return link;
}


static void
ms_cache_use_remove(ms_cache_t *cache, uint32_t i)
{
    ms_cache_entry_t  *entry;

    entry = &cache->entries[i];

    if (entry->newer != MS_CACHE_NONE) {
        cache->entries[entry->newer].older = entry->older;
    } else {
        cache->newest = entry->older;
    }

    if (entry->older != MS_CACHE_NONE) {
        cache->entries[entry->older].newer = entry->newer;
    } else {
        cache->oldest = entry->newer;
    }
}


static void
ms_cache_use_insert(ms_cache_t *cache, uint32_t i)
{
    cache->entries[i].newer = MS_CACHE_NONE;
    cache->entries[i].older = cache->newest;

    if (cache->newest != MS_CACHE_NONE) {
        cache->entries[cache->newest].newer = i;
    } else {
        cache->oldest = i;
    }

    cache->newest = i;
}


static void
ms_cache_remove(ms_cache_t *cache, uint32_t *link)
{
    uint32_t  i;

    i = *link;
    *link = cache->entries[i].next;
    ms_cache_use_remove(cache, i);

    cache->entries[i].next = cache->free;
    cache->free = i;
    cache->stats.used--;
}


int
ms_cache_find(ms_cache_t *cache, const ms_cache_key_t *key, int64_t now,
    ms_cache_value_t *value)
{
    uint32_t           i, *link;
    ms_cache_entry_t  *entry;

    link = ms_cache_link(cache, key);
    i = *link;

    if (i != MS_CACHE_NONE && now >= cache->entries[i].expires) {
        ms_cache_remove(cache, link);
        i = MS_CACHE_NONE;
    }

    if (i == MS_CACHE_NONE) {
        cache->stats.misses++;
        return 0;
    }

    cache->stats.hits++;
    ms_cache_use_remove(cache, i);
    ms_cache_use_insert(cache, i);

    entry = &cache->entries[i];
    value->session = entry->session;
    value->session_len = entry->session_len;
    value->role = entry->role;
    value->role_len = entry->role_len;
    value->expires = entry->expires;

    return 1;
}


static void
ms_cache_evict_oldest(ms_cache_t *cache, int64_t now)
{
    ms_cache_entry_t  *oldest;

    oldest = &cache->entries[cache->oldest];
    cache->stats.evictions += now < oldest->expires;
    ms_cache_remove(cache, ms_cache_link(cache, &oldest->key));
}


void
ms_cache_put(ms_cache_t *cache, const ms_cache_key_t *key, int64_t now,
    const ms_cache_value_t *value)
{
    uint32_t           i, *link;
    ms_cache_entry_t  *entry;

    if (now >= value->expires || value->session_len > MS_CACHE_SESSION
        || value->role_len > MS_CACHE_ROLE)
    {
        return;
    }

    link = ms_cache_link(cache, key);
    if (*link != MS_CACHE_NONE) {
        ms_cache_remove(cache, link);

    } else if (cache->free == MS_CACHE_NONE) {
        ms_cache_evict_oldest(cache, now);
    }

    /* what was removed may have held the link */
    link = ms_cache_link(cache, key);

    i = cache->free;
    entry = &cache->entries[i];
    cache->free = entry->next;

    entry->key = *key;
    entry->expires = value->expires;
    entry->session_len = (uint16_t) value->session_len;
    entry->role_len = (uint16_t) value->role_len;
    memcpy(entry->session, value->session, value->session_len);
    if (value->role_len > 0) {
        memcpy(entry->role, value->role, value->role_len);
    }

    entry->next = MS_CACHE_NONE;
    *link = i;
    ms_cache_use_insert(cache, i);
    cache->stats.used++;
}


void
ms_cache_flush(ms_cache_t *cache)
{
    uint32_t  i;

    memset(cache->buckets, 0xff, (cache->mask + 1) * sizeof(uint32_t));

    for (i = 0; i < cache->n; i++) {
        cache->entries[i].next = i + 1;
    }

    cache->entries[cache->n - 1].next = MS_CACHE_NONE;
    cache->free = 0;
    cache->newest = MS_CACHE_NONE;
    cache->oldest = MS_CACHE_NONE;
    cache->stats.used = 0;
}


ms_cache_stats_t
ms_cache_stats(const ms_cache_t *cache)
{
    return cache->stats;
}
