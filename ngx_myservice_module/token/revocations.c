
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

/* bits of a place within a chain, which is in the order of the keys */
#define MS_REVOCATIONS_WITHIN  32

/* seconds for which an end by an operator is remembered */
#define MS_REVOCATIONS_REMEMBER  86400

#define MS_REVOCATIONS_LAYOUT  0x4d530003


typedef struct ms_revoked_s  ms_revoked_t;

struct ms_revoked_s {
    ms_revoked_t      *next;
    ms_revocation_t    entry;                   /* as long as its texts */
};

typedef struct {
    ngx_uint_t         layout;
    ngx_atomic_t       generation;
    ngx_atomic_t       saved;
    ngx_atomic_t       entries;                 /* that have not ended */
    ngx_atomic_t       cleaned;                 /* a full list, last: seconds */
    int64_t            missed_before;           /* entries that did not fit: the
                                                   last that they refuse was
                                                   issued then, */
    ngx_atomic_t       missed_until;            /* and the last of them ends;
                                                   0: none */
    ngx_uint_t         mask;                    /* chains - 1 */
    ms_revoked_t     **chains;
} ms_revocations_t;


static ngx_int_t ms_revocations_init(ngx_shm_zone_t *shm_zone, void *data);
static ngx_int_t ms_revocations_moved(ngx_shm_zone_t *shm_zone);
static ms_revoked_t **ms_revocations_link(const u_char *key,
    ms_revoked_t **node);
static ngx_int_t ms_revocations_put(ms_revocation_t *entry,
    ngx_uint_t heard);
static ngx_int_t ms_revocations_insert(ms_revoked_t **link,
    const ms_revocation_t *entry);
static void ms_revocations_missed(const ms_revocation_t *entry);
static ngx_int_t ms_revocations_change(ms_revocation_t *old,
    ms_revocation_t *entry, ngx_uint_t heard);
static void ms_revocations_changes(ms_revocation_t *entry);
static uint32_t ms_revocations_place(const ms_revoked_t *node);
static ngx_uint_t ms_revocations_read(uint64_t *from, ngx_uint_t all,
    ngx_uint_t since, ms_revocation_t *entries, ngx_uint_t n);
static void ms_revocations_clean(ngx_uint_t full);
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
        list = shpool->data;

        if (list->layout != MS_REVOCATIONS_LAYOUT) {
            ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                          "zone was made by another version of the module, "
                          "zone=\"%V\" (restart nginx instead of reloading "
                          "it)", &shm_zone->shm.name);
            return NGX_ERROR;
        }

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

    list->layout = MS_REVOCATIONS_LAYOUT;
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

    if (ms_revocations == NULL
        || (ms_revocations->entries == 0 && !ms_revocations_full()))
    {
        return 0;
    }

    ngx_shmtx_lock(&ms_revocations_pool->mutex);

    /* what the list cannot know is refused */

    found = ms_revocations_full()
            && ids->issued <= ms_revocations->missed_before;

    for (i = 0; i < MS_REVOKE_KINDS && !found; i++) {

        if (ngx_memcmp(ids->key[i], none, MS_REVOCATION_KEY) == 0) {
            continue;
        }

        (void) ms_revocations_link(ids->key[i], &node);

        found = node && !node->entry.ended
                && node->entry.until + ms_revocations_late > ngx_time()
                && (node->entry.kind == MS_REVOKE_JTI
                    || ids->issued <= node->entry.before);
    }

    ngx_shmtx_unlock(&ms_revocations_pool->mutex);

    return found;
}


/*
 * The link that points, or would point, at the entry, which is in "node", or
 * NULL; under the lock.  The first bytes of a key choose the chain, the others
 * are the order in it.
 */

static ms_revoked_t **
ms_revocations_link(const u_char *key, ms_revoked_t **node)
{
    int             order;
    uint32_t        hash;
    ms_revoked_t  **link;

    ngx_memcpy(&hash, key, sizeof(uint32_t));

    for (link = &ms_revocations->chains[hash & ms_revocations->mask];
         *link;
         link = &(*link)->next)
    {
        order = ngx_memcmp((*link)->entry.key + sizeof(uint32_t),
                           key + sizeof(uint32_t),
                           MS_REVOCATION_KEY - sizeof(uint32_t));

        if (order == 0
            && ngx_memcmp((*link)->entry.key, key, MS_REVOCATION_KEY) == 0)
        {
            *node = *link;
            return link;
        }

        if (order > 0) {
            break;
        }
    }

    *node = NULL;

    return link;
}


ngx_int_t
ms_revocations_add(ms_revocation_t *entry)
{
    ngx_int_t  rc;

    rc = ms_revocations_put(entry, 0);

    if (rc == NGX_ERROR) {
        ms_revocations_clean(1);
        rc = ms_revocations_put(entry, 0);
    }

    return rc;
}


ngx_int_t
ms_revocations_hear(ms_revocation_t *entry)
{
    ngx_int_t  rc;

    if (entry->until + ms_revocations_late <= ngx_time()) {
        return NGX_DECLINED;
    }

    rc = ms_revocations_put(entry, 1);

    /* one look at the whole list a second, however many do not fit */

    if (rc == NGX_ERROR
        && ms_revocations->cleaned != (ngx_atomic_uint_t) ngx_time())
    {
        ms_revocations->cleaned = ngx_time();
        ms_revocations_clean(1);
        rc = ms_revocations_put(entry, 1);
    }

    if (rc != NGX_ERROR) {
        return rc;
    }

    if (entry->ended) {

        /* without an entry its tokens are good */

        return NGX_DECLINED;
    }

    ms_revocations_missed(entry);

    return NGX_ERROR;
}


/*
 * The entry is of tokens that were issued until an operator revoked them: from
 * now on all of that time are refused, until the entry ends.
 */

static void
ms_revocations_missed(const ms_revocation_t *entry)
{
    int64_t  before;

    before = entry->kind != MS_REVOKE_JTI ? entry->before
             : entry->stamp > MS_REVOCATION_OLDEST
               ? (int64_t) (entry->stamp / 1000000) + ms_revocations_late
             : ngx_time();
    before = ngx_min(before, ngx_time() + ms_revocations_late);

    ngx_shmtx_lock(&ms_revocations_pool->mutex);

    if (!ms_revocations_full() || before > ms_revocations->missed_before) {
        ms_revocations->missed_before = before;
        (void) ngx_atomic_fetch_add(&ms_revocations->generation, 1);
    }

    if (entry->until > (int64_t) ms_revocations->missed_until) {
        ms_revocations->missed_until = entry->until;
        (void) ngx_atomic_fetch_add(&ms_revocations->generation, 1);
    }

    ngx_shmtx_unlock(&ms_revocations_pool->mutex);
}


ngx_uint_t
ms_revocations_full(void)
{
    return ms_revocations && ms_revocations->missed_until
           && (int64_t) ms_revocations->missed_until + ms_revocations_late
              > ngx_time();
}


static ngx_int_t
ms_revocations_put(ms_revocation_t *entry, ngx_uint_t heard)
{
    ngx_int_t       rc;
    ms_revoked_t   *node, **link;

    ngx_shmtx_lock(&ms_revocations_pool->mutex);

    link = ms_revocations_link(entry->key, &node);

    if (!heard) {
        entry->stamp = ms_revocation_stamp(node ? node->entry.stamp : 0);
    }

    rc = node ? ms_revocations_change(&node->entry, entry, heard)
              : ms_revocations_insert(link, entry);

    ngx_shmtx_unlock(&ms_revocations_pool->mutex);

    return rc;
}


/* under the lock; "entries" may be too high for a moment, never too low */

static ngx_int_t
ms_revocations_change(ms_revocation_t *old, ms_revocation_t *entry,
    ngx_uint_t heard)
{
    ngx_uint_t  changed;

    if (old->ended) {
        (void) ngx_atomic_fetch_add(&ms_revocations->entries, 1);
    }

    changed = heard ? ms_revocation_merge(old, entry)
                    : ms_revocation_extend(old, entry);

    if (old->ended) {
        (void) ngx_atomic_fetch_add(&ms_revocations->entries, -1);
    }

    /* an operator's word is the last one, also if it changes nothing here */

    if (changed || !heard) {
        ms_revocations_changes(old);
    }

    return changed ? NGX_OK : NGX_DECLINED;
}


/* under the lock */

static ngx_int_t
ms_revocations_insert(ms_revoked_t **link, const ms_revocation_t *entry)
{
    ms_revoked_t  *node;

    node = ngx_slab_alloc_locked(ms_revocations_pool,
                                 offsetof(ms_revoked_t, entry)
                                 + ms_revocations_size(entry));
    if (node == NULL) {
        return NGX_ERROR;
    }

    node->next = *link;
    ngx_memcpy(&node->entry, entry, ms_revocations_size(entry));

    /* readers without the lock must not miss it */

    if (!entry->ended) {
        (void) ngx_atomic_fetch_add(&ms_revocations->entries, 1);
    }

    *link = node;
    ms_revocations_changes(&node->entry);

    return NGX_OK;
}


/* under the lock: what gateways do not know yet */

static void
ms_revocations_changes(ms_revocation_t *entry)
{
    entry->changed = (uint32_t) ngx_atomic_fetch_add(
                                         &ms_revocations->generation, 1) + 1;
}


ngx_int_t
ms_revocations_end(const u_char *key)
{
    ngx_int_t         rc;
    ms_revoked_t     *node;
    ms_revocation_t  *entry;

    rc = NGX_DECLINED;

    ngx_shmtx_lock(&ms_revocations_pool->mutex);

    (void) ms_revocations_link(key, &node);

    if (node && !node->entry.ended) {
        entry = &node->entry;

        entry->stamp = ms_revocation_stamp(entry->stamp);
        entry->ended = 1;
        entry->until = ngx_min(entry->until,
                               ngx_time() + MS_REVOCATIONS_REMEMBER);
        entry->before = ngx_min(entry->before, entry->until);

        (void) ngx_atomic_fetch_add(&ms_revocations->entries, -1);
        ms_revocations_changes(entry);
        rc = NGX_OK;
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

    if (!node->entry.ended) {
        (void) ngx_atomic_fetch_add(&ms_revocations->entries, -1);
    }

    (void) ngx_atomic_fetch_add(&ms_revocations->generation, 1);

    ngx_slab_free_locked(ms_revocations_pool, node);
}


ngx_uint_t
ms_revocations_copy(uint64_t *from, ms_revocation_t *entries, ngx_uint_t n)
{
    return ms_revocations_read(from, 0, 0, entries, n);
}


ngx_uint_t
ms_revocations_changed(uint64_t *from, ngx_uint_t since,
    ms_revocation_t *entries, ngx_uint_t n)
{
    return ms_revocations_read(from, 1, since, entries, n);
}


/* The place is a key's: others that come or go do not move it.  Two keys that
 * share it, of 2^32, stand beside each other. */

static uint32_t
ms_revocations_place(const ms_revoked_t *node)
{
    const u_char  *key;

    key = node->entry.key + sizeof(uint32_t);

    return (uint32_t) key[0] << 24 | (uint32_t) key[1] << 16
           | (uint32_t) key[2] << 8 | key[3];
}


/* "all": those that an operator has ended, too */

static ngx_uint_t
ms_revocations_read(uint64_t *from, ngx_uint_t all, ngx_uint_t since,
    ms_revocation_t *entries, ngx_uint_t n)
{
    uint32_t        within;
    uint64_t        chain;
    ngx_uint_t      copied, i;
    ms_revoked_t   *node;

    copied = 0;
    chain = *from >> MS_REVOCATIONS_WITHIN;
    within = (uint32_t) *from;

    while (copied < n && chain <= ms_revocations->mask) {

        ngx_shmtx_lock(&ms_revocations_pool->mutex);

        for (i = 0;
             i < MS_REVOCATIONS_BATCH && copied < n
             && chain <= ms_revocations->mask;
             i++)
        {
            node = ms_revocations->chains[chain];

            while (node && ms_revocations_place(node) < within) {
                node = node->next;
            }

            for ( /* void */ ; node && copied < n; node = node->next) {

                if ((all || !node->entry.ended)
                    && (since == 0
                        || (int32_t) (node->entry.changed - (uint32_t) since)
                           > 0))
                {
                    ngx_memcpy(&entries[copied++], &node->entry,
                               ms_revocations_size(&node->entry));
                }
            }

            within = node ? ms_revocations_place(node) : 0;

            if (node == NULL) {
                chain++;
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
    ms_revocations_clean(0);
}


/* "full": those that an operator has ended make room, too */

static void
ms_revocations_clean(ngx_uint_t full)
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
                if ((*link)->entry.until + ms_revocations_late <= ngx_time()
                    || (full && (*link)->entry.ended))
                {
                    ms_revocations_drop(link);

                } else {
                    link = &(*link)->next;
                }
            }
        }

        ngx_shmtx_unlock(&ms_revocations_pool->mutex);
    }
}
