/*
 * Verified tokens: a hash table with chains and a list in the order of use,
 * both linked by index in one array.
 */

#include "jwt/cache.h"

#include <stdlib.h>
#include <string.h>
#include <openssl/evp.h>
#include <openssl/rand.h>


#define MS_CACHE_MAX   (1U << 24)
#define MS_CACHE_NONE  UINT32_MAX
#define MS_CACHE_TAIL  32               /* bytes of a token that are hashed */


/* Entries are linked by index: in one chain of a bucket or of the free list,
 * and in the list of use.  Each takes cache->stride bytes. */
typedef struct {
    uint64_t        hash;
    uint64_t        mark;
    int64_t         expires;
    uint32_t        next;
    uint32_t        newer;
    uint32_t        older;
    uint32_t        token_len;
    uint16_t        session_len;
    uint16_t        data_len;
    char            token[MS_CACHE_TOKEN];      /* or its digest */
    char            session[MS_CACHE_SESSION];
    char            data[];
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
    size_t             data;            /* bytes of each entry's data */
    size_t             stride;
    char              *entries;
};


static ms_cache_entry_t *
ms_cache_entry(const ms_cache_t *cache, uint32_t i)
{
    return (ms_cache_entry_t *) (cache->entries + i * cache->stride);
}


ms_cache_t *
ms_cache_create(size_t entries, size_t data)
{
    size_t       align;
    ms_cache_t  *cache;

    if (entries == 0 || entries > MS_CACHE_MAX || data > MS_CACHE_DATA) {
        return NULL;
    }

    cache = calloc(1, sizeof(ms_cache_t));
    if (cache == NULL) {
        return NULL;
    }

    align = _Alignof(ms_cache_entry_t);

    cache->data = data;
    cache->stride = (sizeof(ms_cache_entry_t) + data + align - 1) / align
                    * align;
    cache->n = (uint32_t) entries;
    cache->mask = 1;
    while (cache->mask < cache->n) {
        cache->mask <<= 1;
    }
    cache->mask--;

    cache->buckets = malloc((cache->mask + 1) * sizeof(uint32_t));
    cache->entries = malloc(entries * cache->stride);
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


/* Only good tokens get into the cache, and their signatures differ: an attacker
 * cannot fill one bucket. */
static uint64_t
ms_cache_hash(const unsigned char *secret, const char *token, size_t len)
{
    size_t    i;
    uint64_t  hash, words[MS_CACHE_TAIL / 8], secrets[MS_CACHE_TAIL / 8];

    memcpy(secrets, secret, sizeof(secrets));

    if (len >= MS_CACHE_TAIL) {
        memcpy(words, token + len - MS_CACHE_TAIL, MS_CACHE_TAIL);

    } else {
        memset(words, 0, sizeof(words));
        memcpy(words, token, len);
    }

    hash = len;

    for (i = 0; i < MS_CACHE_TAIL / 8; i++) {
        hash = (hash ^ words[i] ^ secrets[i]) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }

    return hash;
}


int
ms_cache_key(ms_cache_t *cache, const char *token, size_t len,
    ms_cache_key_t *key)
{
    key->len = len;

    if (len <= MS_CACHE_TOKEN) {
        key->hash = ms_cache_hash(cache->secret, token, len);
        key->token = token;

        return 0;
    }

    if (EVP_DigestInit_ex2(cache->ctx, cache->sha256, NULL) != 1
        || EVP_DigestUpdate(cache->ctx, cache->secret, sizeof(cache->secret))
           != 1
        || EVP_DigestUpdate(cache->ctx, token, len) != 1
        || EVP_DigestFinal_ex(cache->ctx, key->digest, NULL) != 1)
    {
        return -1;
    }

    memcpy(&key->hash, key->digest, sizeof(key->hash));
    key->token = NULL;

    return 0;
}


/* What an entry keeps of the token. */
static const void *
ms_cache_text(const ms_cache_key_t *key, size_t *len)
{
    if (key->token == NULL) {
        *len = sizeof(key->digest);
        return key->digest;
    }

    *len = key->len;

    return key->token;
}


/* The link that points, or would point, at the key's entry. */
static uint32_t *
ms_cache_link(ms_cache_t *cache, const ms_cache_key_t *key)
{
    size_t             len;
    uint32_t          *link;
    const void        *text;
    ms_cache_entry_t  *entry;

    text = ms_cache_text(key, &len);
    link = &cache->buckets[key->hash & cache->mask];

    while (*link != MS_CACHE_NONE) {
        entry = ms_cache_entry(cache, *link);

        if (entry->hash == key->hash && entry->token_len == key->len
            && memcmp(entry->token, text, len) == 0)
        {
            break;
        }

        link = &entry->next;
    }

    return link;
}


/* The link that points at entry "i". */
static uint32_t *
ms_cache_link_of(ms_cache_t *cache, uint32_t i)
{
    uint32_t  *link;

    link = &cache->buckets[ms_cache_entry(cache, i)->hash & cache->mask];

    while (*link != i) {
        link = &ms_cache_entry(cache, *link)->next;
    }

    return link;
}


static void
ms_cache_use_remove(ms_cache_t *cache, uint32_t i)
{
    ms_cache_entry_t  *entry;

    entry = ms_cache_entry(cache, i);

    if (entry->newer != MS_CACHE_NONE) {
        ms_cache_entry(cache, entry->newer)->older = entry->older;
    } else {
        cache->newest = entry->older;
    }

    if (entry->older != MS_CACHE_NONE) {
        ms_cache_entry(cache, entry->older)->newer = entry->newer;
    } else {
        cache->oldest = entry->newer;
    }
}


static void
ms_cache_use_insert(ms_cache_t *cache, uint32_t i)
{
    ms_cache_entry(cache, i)->newer = MS_CACHE_NONE;
    ms_cache_entry(cache, i)->older = cache->newest;

    if (cache->newest != MS_CACHE_NONE) {
        ms_cache_entry(cache, cache->newest)->newer = i;
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
    *link = ms_cache_entry(cache, i)->next;
    ms_cache_use_remove(cache, i);

    ms_cache_entry(cache, i)->next = cache->free;
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

    if (i != MS_CACHE_NONE && now >= ms_cache_entry(cache, i)->expires) {
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

    entry = ms_cache_entry(cache, i);
    value->session = entry->session;
    value->session_len = entry->session_len;
    value->data = entry->data;
    value->data_len = entry->data_len;
    value->expires = entry->expires;
    value->mark = &entry->mark;

    return 1;
}


static void
ms_cache_evict_oldest(ms_cache_t *cache, int64_t now)
{
    ms_cache_entry_t  *oldest;

    oldest = ms_cache_entry(cache, cache->oldest);
    cache->stats.evictions += now < oldest->expires;
    ms_cache_remove(cache, ms_cache_link_of(cache, cache->oldest));
}


void
ms_cache_put(ms_cache_t *cache, const ms_cache_key_t *key, int64_t now,
    const ms_cache_value_t *value)
{
    size_t             len;
    uint32_t           i, *link;
    const void        *text;
    ms_cache_entry_t  *entry;

    if (now >= value->expires || value->session_len > MS_CACHE_SESSION
        || value->data_len > cache->data)
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
    entry = ms_cache_entry(cache, i);
    cache->free = entry->next;

    entry->hash = key->hash;
    entry->mark = 0;
    entry->token_len = (uint32_t) key->len;
    text = ms_cache_text(key, &len);
    memcpy(entry->token, text, len);
    entry->expires = value->expires;
    entry->session_len = (uint16_t) value->session_len;
    entry->data_len = (uint16_t) value->data_len;
    memcpy(entry->session, value->session, value->session_len);
    if (value->data_len > 0) {
        memcpy(entry->data, value->data, value->data_len);
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
        ms_cache_entry(cache, i)->next = i + 1;
    }

    ms_cache_entry(cache, cache->n - 1)->next = MS_CACHE_NONE;
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
