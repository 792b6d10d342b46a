
/*
 * The zone as the store's part of the gateway needs it.
 */

#include "store/leases.h"

#include "store/conn.h"
#include "store/released.h"
#include "store/who.h"
#include "store/words.h"
#include "zone/epoch.h"
#include "zone/lock.h"


/* records that one look under the lock reads */
#define MS_STORE_SLICE  512


static ngx_uint_t ms_store_is_due(ms_store_t *store, uint32_t instance,
    ms_instance_info_t *info);
static ms_store_known_e ms_store_tells(ms_instance_info_t *info);
static void ms_store_learn(ms_store_t *store, ngx_str_t *session,
    ngx_str_t *instance, uint64_t epoch, const ngx_str_t *who,
    ngx_msec_t asked, ms_store_known_e known, ngx_uint_t kept);
static ngx_uint_t ms_store_is_news(ms_pool_t *pool, uint32_t instance,
    uint64_t epoch, ngx_uint_t kept);
static ngx_uint_t ms_store_lasts(ms_instance_info_t *info, uint64_t epoch);
static ngx_uint_t ms_store_same(const ngx_str_t *text, const void *data,
    size_t len);
static ms_store_mark_t *ms_store_hashed(ms_store_t *store,
    ms_pool_key_t *key);


ngx_uint_t
ms_store_held(ms_store_t *store, ms_pool_key_t *key, uint32_t *instance)
{
    uint32_t           own;
    uint64_t           lease;
    ms_pool_t         *pool;
    ngx_uint_t         rebuilt;
    ms_store_place_t  *place;

    place = &ms_store_hashed(store, key)->place;

    /* A lease has its number only once: if the instance still has it, the
     * session is still there.  The claim that follows takes the lock. */

    own = place->instance;
    lease = ms_pool_lease_up(store->zone->sh->pool, own, ngx_current_msec);

    if (lease && place->seal == (key->hash ^ lease)
        && ms_store_marked(store, own, lease))
    {
        *instance = own;
        return 1;
    }

    pool = ms_zone_lock(store->zone, &rebuilt);

    own = ms_pool_session(pool, key, ngx_current_msec);
    lease = own != MS_POOL_NONE ? ms_pool_lease_up(pool, own, ngx_current_msec)
                                : 0;

    ms_zone_unlock(store->zone, rebuilt, ngx_cycle->log);

    *instance = own;

    if (lease == 0 || !ms_store_marked(store, own, lease)) {
        return 0;
    }

    place->instance = own;
    place->seal = key->hash ^ lease;

    return 1;
}


ngx_int_t
ms_store_lease(ms_store_t *store, ms_pool_key_t *key, ms_store_lease_t *lease)
{
    uint32_t             own;
    ngx_uint_t           rebuilt;
    ms_pool_t           *pool;
    ms_instance_info_t   info;

    pool = ms_zone_lock(store->zone, &rebuilt);

    own = ms_pool_session(pool, key, ngx_current_msec);

    if (own != MS_POOL_NONE) {
        ms_pool_info(pool, own, &info);

        lease->instance = own;
        lease->lease = info.lease;
        lease->epoch = info.epoch;
        lease->away = info.state == MS_INSTANCE_DOWN
                      || info.state == MS_INSTANCE_LEFT;
        lease->moves = info.moves;
        lease->word = info.word;
        lease->heard = info.heard;
        lease->name.data = lease->buf;
        lease->name.len = info.name_len;
        ngx_memcpy(lease->buf, info.name, info.name_len);
    }

    ms_zone_unlock(store->zone, rebuilt, ngx_cycle->log);

    return own != MS_POOL_NONE ? NGX_OK : NGX_DECLINED;
}


ngx_uint_t
ms_store_candidates(ms_store_t *store, ms_pool_key_t *key, uint32_t *named,
    ngx_uint_t *n, ngx_str_t *names, u_char *buf, uint64_t *epoch)
{
    uint32_t            *list;
    ngx_uint_t           i, found, rebuilt;
    ms_pool_t           *pool;
    ms_instance_info_t   info;

    list = named + *n;

    pool = ms_zone_lock(store->zone, &rebuilt);

    found = ms_pool_candidates(pool, key, named, *n, list,
                               MS_STORE_CANDIDATES, ngx_current_msec);
    *epoch = ms_pool_epoch(pool);

    for (i = 0; i < found; i++) {
        ms_pool_info(pool, list[i], &info);

        names[i].data = buf + i * MS_POOL_NAME_MAX;
        names[i].len = info.name_len;
        ngx_memcpy(names[i].data, info.name, info.name_len);
    }

    ms_zone_unlock(store->zone, rebuilt, ngx_cycle->log);

    *n += found;

    return found;
}


ngx_uint_t
ms_store_due(ms_store_t *store, uint32_t *from, ms_store_due_t *due,
    ngx_uint_t max)
{
    uint32_t             i, limit, last;
    ngx_uint_t           n, rebuilt;
    ms_pool_t           *pool;
    ms_instance_info_t   info;

    n = 0;

    do {
        pool = ms_zone_lock(store->zone, &rebuilt);

        limit = ngx_min(ms_pool_limit(pool), store->sh->capacity);
        last = ngx_min(limit, *from + MS_STORE_SLICE);

        for (i = *from; i < last && n < max; i++) {
            ms_pool_info(pool, i, &info);

            if (!ms_store_is_due(store, i, &info)) {
                continue;
            }

            due[n].instance = i;
            due[n].lease = info.lease;
            due[n].epoch = info.epoch;
            due[n].known = ms_store_tells(&info);
            due[n].session_len = info.session_len;
            ngx_memcpy(due[n].session, info.session, info.session_len);
            due[n].who_len = ms_store_who(store, due[n].who, info.subject,
                                          info.user);
            due[n].name_len = info.name_len;
            ngx_memcpy(due[n].name, info.name, info.name_len);
            n++;
        }

        ms_zone_unlock(store->zone, rebuilt, ngx_cycle->log);

        *from = i < limit ? i : 0;

    } while (n == 0 && *from);

    return n;
}


/* a lease that the store does not know, or not as confirmed, or that was used
 * since the store has heard of it last, some time ago; a first call that lasts
 * uses its tentative lease */

static ngx_uint_t
ms_store_is_due(ms_store_t *store, uint32_t instance,
    ms_instance_info_t *info)
{
    ngx_msec_t        ttl;
    ms_store_mark_t  *mark;

    if ((info->state != MS_INSTANCE_TENTATIVE
         && info->state != MS_INSTANCE_LEASED
         && info->state != MS_INSTANCE_DRAINING)
        || info->session_len == 0 || info->foreign)
    {
        return 0;
    }

    mark = &store->sh->marks[instance];

    if (info->heard) {
        return mark->lease != info->lease || mark->known == MS_STORE_MISSED;
    }

    ttl = store->ttl;

    if (info->state == MS_INSTANCE_TENTATIVE) {
        ttl = ngx_min(ttl, MS_STORE_TENTATIVE);

    } else if (mark->known == MS_STORE_CLAIMED) {
        return 1;
    }

    return mark->lease != info->lease || mark->known == MS_STORE_MISSED
           || ((ngx_msec_int_t) (info->used - mark->asked) > 0
               && ngx_current_msec - mark->asked >= ttl / 8);
}


/* only a gateway at which a call has succeeded confirms a lease */

static ms_store_known_e
ms_store_tells(ms_instance_info_t *info)
{
    return info->heard ? MS_STORE_HEARD
           : info->state == MS_INSTANCE_TENTATIVE ? MS_STORE_CLAIMED
           : MS_STORE_CONFIRMED;
}


void
ms_store_given(ms_store_t *store, ngx_str_t *session, ngx_str_t *instance,
    uint64_t epoch, const ngx_str_t *who, ngx_msec_t asked,
    ms_store_known_e known)
{
    ms_store_learn(store, session, instance, epoch, who, asked, known, 0);
}


void
ms_store_kept(ms_store_t *store, ngx_str_t *session, ngx_str_t *instance,
    uint64_t epoch, const ngx_str_t *who, ms_store_known_e known)
{
    ms_store_learn(store, session, instance, epoch, who, ngx_current_msec,
                   known, 1);
}


/* "kept": also a lease of the epoch that was the instance's last one here */

static void
ms_store_learn(ms_store_t *store, ngx_str_t *session, ngx_str_t *instance,
    uint64_t epoch, const ngx_str_t *who, ngx_msec_t asked,
    ms_store_known_e known, ngx_uint_t kept)
{
    uint8_t              subject[MS_POOL_SUBJECT];
    uint32_t             id, own;
    uint64_t             over;
    ms_lease_t           lease;
    ms_pool_t           *pool;
    ms_claim_t           claim;
    ngx_uint_t           rebuilt;
    ms_pool_key_t        key;
    ms_pool_terms_t      terms;

    if (session->len == 0 || session->len > MS_POOL_SESSION_MAX) {
        return;
    }

    ngx_memzero(&terms, sizeof(ms_pool_terms_t));
    terms.ttl = store->ttl;
    ms_store_who_of(who, subject, &terms);

    ms_pool_key(store->zone->sh->pool, session->data, session->len, &key);

    ngx_memzero(&lease, sizeof(ms_lease_t));
    claim = MS_CLAIM_HIT;

    pool = ms_zone_lock(store->zone, &rebuilt);

    ms_pool_epoch_seen(pool, epoch);

    over = ms_store_released_locked(store, pool, &key, epoch);
    id = ms_pool_find(pool, (char *) instance->data, instance->len);
    own = ms_pool_session(pool, &key, ngx_current_msec);

    /* what is older than this gateway's knowledge is no news */

    if (!over && ms_store_is_news(pool, id, epoch, kept)
        && ms_store_is_news(pool, own, epoch, 0))
    {
        if (id != MS_POOL_NONE) {
            claim = ms_pool_claim_at(pool, &key, &terms, id,
                                     known == MS_STORE_HEARD
                                     ? MS_GIVEN_HEARD : MS_GIVEN_BEFORE,
                                     epoch, ngx_current_msec, &lease);

        } else if (own != MS_POOL_NONE) {
            ms_pool_end(pool, own, ngx_current_msec);
        }
    }

    ms_zone_unlock(store->zone, rebuilt, ngx_cycle->log);

    if (over) {
        ms_store_release(store, session, instance, over, 0);
    }

    if (lease.lease && claim < MS_CLAIM_BUSY) {
        ms_store_mark(store, lease.instance, lease.lease, asked, known);
    }
}


/* the instance, if it is one, has had no lease of that epoch or of a later one
 * here; or has none now, if the one of that epoch was "kept" */

static ngx_uint_t
ms_store_is_news(ms_pool_t *pool, uint32_t instance, uint64_t epoch,
    ngx_uint_t kept)
{
    ms_instance_info_t  info;

    ms_pool_info(pool, instance, &info);

    return ms_epoch_later(epoch, info.epoch)
           || (kept && epoch == info.epoch && info.lease == 0 && !info.over);
}


/* the lease is later than the end of those up to "epoch", 0: of one whose epoch
 * the store does not believe */

static ngx_uint_t
ms_store_lasts(ms_instance_info_t *info, uint64_t epoch)
{
    return info->epoch != epoch
           && !ms_epoch_later(epoch ? epoch : 1, info->epoch);
}


void
ms_store_ended(ms_store_t *store, ngx_str_t *session, ngx_str_t *instance,
    uint64_t epoch, ngx_uint_t released)
{
    uint32_t             id;
    ms_lease_t           lease;
    ms_pool_t           *pool;
    ngx_uint_t           rebuilt;
    ms_instance_info_t   info;

    pool = ms_zone_lock(store->zone, &rebuilt);

    ms_pool_epoch_seen(pool, epoch);

    id = ms_pool_find(pool, (char *) instance->data, instance->len);

    if (id != MS_POOL_NONE) {
        ms_pool_info(pool, id, &info);

        if (info.lease && !ms_store_lasts(&info, epoch)
            && ms_store_same(session, info.session, info.session_len))
        {
            if (released) {
                ngx_memzero(&lease, sizeof(ms_lease_t));
                lease.lease = info.lease;
                lease.instance = id;
                ms_pool_release(pool, &lease, ngx_current_msec);

            } else {
                ms_pool_end(pool, id, ngx_current_msec);
            }

            (void) ngx_atomic_fetch_add(&store->sh->counts.lost, 1);
        }

        ms_pool_over(pool, id, epoch);
    }

    ms_zone_unlock(store->zone, rebuilt, ngx_cycle->log);
}


void
ms_store_named(ms_store_t *store, ngx_str_t *session, ngx_str_t *instance,
    uint64_t epoch)
{
    uint32_t             id;
    ms_pool_t           *pool;
    ngx_uint_t           rebuilt;
    ms_instance_info_t   info;

    pool = ms_zone_lock(store->zone, &rebuilt);

    ms_pool_epoch_seen(pool, epoch);

    id = ms_pool_find(pool, (char *) instance->data, instance->len);

    if (id != MS_POOL_NONE) {
        ms_pool_info(pool, id, &info);

        if (info.lease && !info.foreign && epoch
            && !ms_store_lasts(&info, epoch)
            && !ms_store_same(session, info.session, info.session_len))
        {
            ms_pool_end(pool, id, ngx_current_msec);
            (void) ngx_atomic_fetch_add(&store->sh->counts.lost, 1);
        }

        if (epoch) {
            ms_pool_over(pool, id, epoch);
        }
    }

    ms_zone_unlock(store->zone, rebuilt, ngx_cycle->log);
}


static ngx_uint_t
ms_store_same(const ngx_str_t *text, const void *data, size_t len)
{
    return text->len == len && ngx_memcmp(text->data, data, len) == 0;
}


void
ms_store_mark(ms_store_t *store, uint32_t instance, uint64_t lease,
    ngx_msec_t asked, ms_store_known_e known)
{
    ms_store_mark_t  *mark;

    if (instance >= store->sh->capacity) {
        return;
    }

    /* without the lock: a wrong mark costs a question, no more */

    mark = &store->sh->marks[instance];

    mark->lease = 0;
    mark->asked = asked;
    mark->known = known;
    mark->lease = lease;
}


ngx_uint_t
ms_store_marked(ms_store_t *store, uint32_t instance, uint64_t lease)
{
    ms_store_mark_t  *mark;

    if (instance >= store->sh->capacity) {
        return 0;
    }

    mark = &store->sh->marks[instance];

    if (mark->lease != lease || mark->known == MS_STORE_MISSED) {
        return 0;
    }

    /* the gateway that has claimed it may give it back: this one asks, so that
     * the store knows of both */

    return mark->known != MS_STORE_HEARD
           || !ms_pool_heard(store->zone->sh->pool, instance)
           || !ms_store_conn_usable(&store->conn);
}


/* neither takes the lock: a move counted twice or not at all does no harm */

void
ms_store_moved(ms_store_t *store, ms_pool_key_t *key)
{
    ms_store_moves_t  *moves;

    moves = &ms_store_hashed(store, key)->moves;

    if (moves->session != key->hash
        || ngx_current_msec - moves->since >= MS_STORE_MOVES_TIME)
    {
        moves->session = key->hash;
        moves->since = ngx_current_msec;
        moves->n = 0;
    }

    moves->n++;
}


ngx_uint_t
ms_store_torn(ms_store_t *store, ms_pool_key_t *key)
{
    ms_store_moves_t  *moves;

    moves = &ms_store_hashed(store, key)->moves;

    if (moves->session != key->hash || moves->n < MS_STORE_MOVES
        || ngx_current_msec - moves->since >= MS_STORE_MOVES_TIME)
    {
        return 0;
    }

    moves->n++;

    return moves->n - MS_STORE_MOVES;
}


static ms_store_mark_t *
ms_store_hashed(ms_store_t *store, ms_pool_key_t *key)
{
    return &store->sh->marks[key->hash % store->sh->capacity];
}


void
ms_store_generation(ms_store_t *store, const void *data, size_t len)
{
    uint32_t            i;
    ms_store_mark_t    *mark;
    ms_store_shared_t  *sh;

    if (ms_store_generation_known(store, data, len)) {
        return;
    }

    sh = store->sh;
    len = ngx_min(len, MS_STORE_NUMBER - 1);

    if (sh->generation[0]) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "store has lost its leases: it began anew, all leases "
                      "of this gateway are entered again, store=\"%V\" "
                      "upstream=\"%V\"", &store->url, &store->upstream->host);
    }

    ngx_memzero(sh->generation, MS_STORE_NUMBER);
    ngx_memcpy(sh->generation, data, len);

    for (i = 0; i < sh->capacity; i++) {
        mark = &sh->marks[i];

        if (mark->known == MS_STORE_HEARD || mark->known == MS_STORE_MISSED) {
            mark->known = MS_STORE_MISSED;

        } else {
            mark->lease = 0;
        }
    }

    ms_store_words_again(store);

    /* before a new store gives instances */

    store->renewed = ngx_current_msec - MS_STORE_HOLD;
}


ngx_uint_t
ms_store_generation_known(ms_store_t *store, const void *data, size_t len)
{
    len = ngx_min(len, MS_STORE_NUMBER - 1);

    return ngx_memcmp(store->sh->generation, data, len) == 0
           && store->sh->generation[len] == '\0';
}
