
/*
 * A hash table of chains in a slab pool.  nginx releases the pool's mutex when
 * a worker dies with it: an entry is complete before one pointer puts it into
 * its chain, and one pointer takes it out.
 */

#include "token/revocations.h"


/* bytes of the zone for each chain; an entry takes 128 of them as a rule */
#define MS_REVOCATIONS_CHAIN   256

/* chains that are looked through while the lock is held once */
#define MS_REVOCATIONS_BATCH   64

/* chains and entries within one, in a place */
#define MS_REVOCATIONS_WITHIN  16


typedef struct ms_revoked_s  ms_revoked_t;

struct ms_revoked_s {
    ms_revoked_t      *next;
    ms_revocation_t    entry;                   /* as long as its texts */
};

typedef struct {
    ngx_atomic_t       generation;
    ngx_atomic_t       saved;
    ngx_atomic_t       entries;
    ngx_uint_t         mask;                    /* chains - 1 */
    ms_revoked_t     **chains;
} ms_revocations_t;


static ngx_int_t ms_revocations_init(ngx_shm_zone_t *shm_zone, void *data);
static ngx_int_t ms_revocations_moved(ngx_shm_zone_t *shm_zone);
static ms_revoked_t **ms_revocations_link(const u_char *key);
static ngx_int_t ms_revocations_put(ms_revocation_t *entry);
static ngx_uint_t ms_revocations_extend(ms_revocation_t *old,
    ms_revocation_t *entry);
static void ms_revocations_drop(ms_revoked_t **link);


#define ms_revocations_size(entry)                                            \
    (offsetof(ms_revocation_t, text) + (entry)->len[0] + (entry)->len[1])


/* the tag of the zone is its address */
static ngx_uint_t         ms_revocations_tag;

static ms_revocations_load_pt  ms_revocations_load;

/* of this worker */
static ngx_slab_pool_t   *ms_revocations_pool;
static ms_revocations_t  *ms_revocations;
static time_t             ms_revocations_late;


ngx_shm_zone_t *
ms_revocations_zone(ngx_conf_t *cf, ngx_str_t *name, size_t size,
    ngx_str_t *file, ms_revocations_load_pt load)
{
    ngx_shm_zone_t  *zone;

    zone = ngx_shared_memory_add(cf, name, size, &ms_revocations_tag);

    if (zone) {
        zone->init = ms_revocations_init;
        zone->data = file;
        ms_revocations_load = load;
    }

    return zone;
}


static ngx_int_t
ms_revocations_init(ngx_shm_zone_t *shm_zone, void *data)
{
    size_t             chains;
    ngx_str_t         *file;
    ngx_slab_pool_t   *shpool;
    ms_revocations_t  *list;

    file = shm_zone->data;
    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;
    shm_zone->data = shpool;

    if (data || shm_zone->shm.exists) {
        return NGX_OK;
    }

    if (ms_revocations_moved(shm_zone) != NGX_OK) {
        return NGX_ERROR;
    }

    for (chains = 1;
         chains * 2 <= shm_zone->shm.size / MS_REVOCATIONS_CHAIN;
         chains *= 2)
    { /* void */ }

    list = ngx_slab_calloc(shpool, sizeof(ms_revocations_t));

    if (list) {
        list->chains = ngx_slab_calloc(shpool,
                                       chains * sizeof(ms_revoked_t *));
    }

    if (list == NULL || list->chains == NULL) {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "zone of revoked tokens is too small, zone=\"%V\"",
                      &shm_zone->shm.name);
        return NGX_ERROR;
    }

    list->generation = 1;
    list->mask = chains - 1;
    shpool->data = list;

    /* "the list is full" is an answer of the API, and no fault */

    shpool->log_nomem = 0;

    /* nothing that a worker may still need is dropped while it is read */

    ms_revocations_open(shm_zone, MS_REVOCATION_MAX);

    return file->len ? ms_revocations_load(file, shm_zone->shm.size,
                                           shm_zone->shm.log)
                     : NGX_OK;
}


/*
 * With another zone the running nginx would lose what it has in the old one
 * while workers of both are there.
 */

static ngx_int_t
ms_revocations_moved(ngx_shm_zone_t *shm_zone)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_shm_zone_t   *old;

    for (part = (ngx_list_part_t *) &ngx_cycle->shared_memory.part;
         part;
         part = part->next)
    {
        old = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (old[i].tag != &ms_revocations_tag || &old[i] == shm_zone
                || old[i].shm.addr == NULL)
            {
                continue;
            }

            ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                          "zone of revoked tokens cannot change its name or "
                          "size while nginx runs: it is \"%V\" of %uz bytes",
                          &old[i].shm.name, old[i].shm.size);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


void
ms_revocations_open(ngx_shm_zone_t *zone, time_t leeway)
{
    ms_revocations_pool = zone ? zone->data : NULL;
    ms_revocations = zone ? ms_revocations_pool->data : NULL;
    ms_revocations_late = leeway;
}


ngx_uint_t
ms_revocations_on(void)
{
    return ms_revocations != NULL;
}


time_t
ms_revocations_leeway(void)
{
    return ms_revocations_late;
}


ngx_uint_t
ms_revocations_generation(void)
{
    return ms_revocations ? ms_revocations->generation : 0;
}


ngx_uint_t
ms_revocations_saved(void)
{
    return ms_revocations->saved;
}


void
ms_revocations_set_saved(ngx_uint_t generation)
{
    ms_revocations->saved = generation;
}


ngx_uint_t
ms_revocations_count(void)
{
    return ms_revocations ? ms_revocations->entries : 0;
}


ngx_uint_t
ms_revocations_have(const ms_token_ids_t *ids)
{
    ngx_uint_t          i, found;
    ms_revoked_t       *node;

    static const u_char  none[MS_REVOCATION_KEY];

    if (ms_revocations == NULL || ms_revocations->entries == 0) {
        return 0;
    }

    found = 0;

    ngx_shmtx_lock(&ms_revocations_pool->mutex);

    for (i = 0; i < MS_REVOKE_KINDS && !found; i++) {

        if (ngx_memcmp(ids->key[i], none, MS_REVOCATION_KEY) == 0) {
            continue;
        }

        node = *ms_revocations_link(ids->key[i]);

        found = node
                && node->entry.until + ms_revocations_late > ngx_time()
                && (node->entry.kind == MS_REVOKE_JTI
                    || ids->issued <= node->entry.before);
    }

    ngx_shmtx_unlock(&ms_revocations_pool->mutex);

    return found;
}


/* the link that points, or would point, at the entry; under the lock */

static ms_revoked_t **
ms_revocations_link(const u_char *key)
{
    uint32_t        hash;
    ms_revoked_t  **link;

    ngx_memcpy(&hash, key, sizeof(uint32_t));

    for (link = &ms_revocations->chains[hash & ms_revocations->mask];
         *link;
         link = &(*link)->next)
    {
        if (ngx_memcmp((*link)->entry.key, key, MS_REVOCATION_KEY) == 0) {
            break;
        }
    }

    return link;
}


ngx_int_t
ms_revocations_add(ms_revocation_t *entry)
{
    ngx_int_t  rc;

    rc = ms_revocations_put(entry);

    if (rc == NGX_ERROR) {
        ms_revocations_sweep();
        rc = ms_revocations_put(entry);
    }

    return rc;
}


static ngx_int_t
ms_revocations_put(ms_revocation_t *entry)
{
    ngx_int_t       rc;
    ms_revoked_t   *node, **link;

    ngx_shmtx_lock(&ms_revocations_pool->mutex);

    link = ms_revocations_link(entry->key);
    node = *link;

    if (node) {
        rc = ms_revocations_extend(&node->entry, entry) ? NGX_OK
                                                        : NGX_DECLINED;
        goto done;
    }

    node = ngx_slab_alloc_locked(ms_revocations_pool,
                                 offsetof(ms_revoked_t, entry)
                                 + ms_revocations_size(entry));
    if (node == NULL) {
        rc = NGX_ERROR;
        goto done;
    }

    node->next = NULL;
    ngx_memcpy(&node->entry, entry, ms_revocations_size(entry));

    /* readers without the lock must not miss it */

    (void) ngx_atomic_fetch_add(&ms_revocations->entries, 1);

    *link = node;
    rc = NGX_OK;

done:

    if (rc == NGX_OK) {
        (void) ngx_atomic_fetch_add(&ms_revocations->generation, 1);
    }

    ngx_shmtx_unlock(&ms_revocations_pool->mutex);

    return rc;
}


/* whether "old" changed; each of the two writes alone is an extension, too */

static ngx_uint_t
ms_revocations_extend(ms_revocation_t *old, ms_revocation_t *entry)
{
    ngx_uint_t  changed;

    changed = entry->until > old->until || entry->before > old->before;

    entry->until = ngx_max(entry->until, old->until);
    entry->before = ngx_max(entry->before, old->before);

    old->until = entry->until;
    old->before = entry->before;

    return changed;
}


ngx_int_t
ms_revocations_remove(const u_char *key)
{
    ngx_int_t       rc;
    ms_revoked_t  **link;

    ngx_shmtx_lock(&ms_revocations_pool->mutex);

    link = ms_revocations_link(key);
    rc = *link ? NGX_OK : NGX_DECLINED;

    if (*link) {
        ms_revocations_drop(link);
    }

    ngx_shmtx_unlock(&ms_revocations_pool->mutex);

    return rc;
}


/* under the lock */

static void
ms_revocations_drop(ms_revoked_t **link)
{
    ms_revoked_t  *node;

    node = *link;
    *link = node->next;

    (void) ngx_atomic_fetch_add(&ms_revocations->entries, -1);
    (void) ngx_atomic_fetch_add(&ms_revocations->generation, 1);

    ngx_slab_free_locked(ms_revocations_pool, node);
}


ngx_uint_t
ms_revocations_copy(uint64_t *from, ms_revocation_t *entries, ngx_uint_t n)
{
    uint64_t        chain, within, skip;
    ngx_uint_t      copied, i;
    ms_revoked_t   *node;

    copied = 0;
    chain = *from >> MS_REVOCATIONS_WITHIN;
    within = *from & ((1 << MS_REVOCATIONS_WITHIN) - 1);

    while (copied < n && chain <= ms_revocations->mask) {

        ngx_shmtx_lock(&ms_revocations_pool->mutex);

        for (i = 0;
             i < MS_REVOCATIONS_BATCH && copied < n
             && chain <= ms_revocations->mask;
             i++)
        {
            node = ms_revocations->chains[chain];

            for (skip = within; node && skip; skip--) {
                node = node->next;
            }

            while (node && copied < n) {
                ngx_memcpy(&entries[copied++], &node->entry,
                           ms_revocations_size(&node->entry));
                node = node->next;
                within++;
            }

            if (node == NULL) {
                chain++;
                within = 0;
            }
        }

        ngx_shmtx_unlock(&ms_revocations_pool->mutex);
    }

    *from = chain << MS_REVOCATIONS_WITHIN | within;

    return copied;
}


void
ms_revocations_sweep(void)
{
    ngx_uint_t      chain, i;
    ms_revoked_t  **link;

    for (chain = 0; chain <= ms_revocations->mask; /* void */) {

        ngx_shmtx_lock(&ms_revocations_pool->mutex);

        for (i = 0;
             i < MS_REVOCATIONS_BATCH && chain <= ms_revocations->mask;
             i++)
        {
            link = &ms_revocations->chains[chain++];

            while (*link) {
                if ((*link)->entry.until + ms_revocations_late > ngx_time()) {
                    link = &(*link)->next;
                } else {
                    ms_revocations_drop(link);
                }
            }
        }

        ngx_shmtx_unlock(&ms_revocations_pool->mutex);
    }
}
