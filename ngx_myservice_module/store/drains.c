
/*
 * The words are in the shared memory of the store, beside the marks of leases;
 * the zone knows what an instance does now.  Both change under the zone's lock.
 */

#include "store/drains.h"

#include "store/conn.h"
#include "zone/events.h"
#include "zone/lock.h"


#define MS_STORE_WORDS  64              /* of a question */
#define MS_STORE_LOOK   512             /* instances, under the lock at once */

/* the stamp of a drain that is older than the store: any other is later */
#define MS_STORE_OLDEST  1


typedef struct {
    uint32_t           instance;
    uint64_t           stamp;
    ngx_uint_t         drain;
    size_t             len;
    u_char             name[MS_POOL_NAME_MAX];
} ms_store_word_t;

typedef struct {
    ngx_uint_t         round;           /* in which it is told */
    ngx_uint_t         n;
    ms_store_word_t    words[MS_STORE_WORDS];
} ms_store_words_t;


static ms_store_mark_t *ms_store_word_mark(ms_store_t *store,
    uint32_t instance, ms_instance_info_t *info);
static void ms_store_word_apply(ms_pool_t *pool, uint32_t instance,
    ngx_uint_t drain);
static uint64_t ms_store_stamp(uint64_t last);
static void ms_store_words(ms_store_t *store, ms_store_words_t *batch);
static void ms_store_words_told(void *owner, redisReply *reply, void *data);
static ngx_int_t ms_store_words_answer(ms_store_t *store,
    ms_store_words_t *batch, redisReply *reply);


static const ngx_str_t  ms_store_operator = ngx_string("operator");


void
ms_store_drain(ms_zone_t *zone, ngx_str_t *instance, ngx_uint_t drain)
{
    uint32_t             id;
    ms_pool_t           *pool;
    ms_store_t          *store;
    ngx_uint_t           rebuilt;
    ms_store_mark_t     *mark;
    ms_instance_info_t   info;

    store = ms_store_of(zone->upstream);

    if (store == NULL) {
        return;
    }

    pool = ms_zone_lock(zone, &rebuilt);

    id = ms_pool_find(pool, (char *) instance->data, instance->len);

    if (id != MS_POOL_NONE) {
        ms_pool_info(pool, id, &info);
        mark = ms_store_word_mark(store, id, &info);
        mark->stamp = ms_store_stamp(mark->stamp);
        mark->drain = drain;
        mark->told = 0;

        /* another gateway's word may have come since the operator's */

        ms_store_word_apply(pool, id, drain);
    }

    ms_zone_unlock(zone, rebuilt, ngx_cycle->log);

    (void) ngx_atomic_fetch_add(&store->sh->words, 1);
    ms_store_drains_tell(store);
}


/* under the lock; the numbers of members are used again */

static ms_store_mark_t *
ms_store_word_mark(ms_store_t *store, uint32_t instance,
    ms_instance_info_t *info)
{
    uint32_t          name;
    ms_store_mark_t  *mark;

    /* as many marks as the zone has room for members */

    mark = &store->sh->marks[instance];
    name = ngx_crc32_short((u_char *) info->name, info->name_len);

    if (mark->name != name) {
        mark->name = name;
        mark->stamp = 0;
        mark->told = 0;
    }

    if (mark->stamp == 0 && info->held) {
        mark->stamp = MS_STORE_OLDEST;
        mark->drain = 1;
    }

    return mark;
}


static void
ms_store_word_apply(ms_pool_t *pool, uint32_t instance, ngx_uint_t drain)
{
    if (drain) {
        ms_pool_drain(pool, instance, ngx_current_msec);

    } else {
        ms_pool_undrain(pool, instance, ngx_current_msec);
    }

    ms_pool_hold(pool, instance, drain);
}


/* microseconds since 1970, and above the last one that is known */

static uint64_t
ms_store_stamp(uint64_t last)
{
    uint64_t         now;
    struct timeval   tv;

    ngx_gettimeofday(&tv);
    now = (uint64_t) tv.tv_sec * 1000000 + tv.tv_usec;

    return ngx_max(now, last + 1);
}


void
ms_store_drained(ms_store_t *store, ngx_str_t *instance, ngx_uint_t drain,
    uint64_t stamp)
{
    uint32_t             id;
    ms_pool_t           *pool;
    ngx_uint_t           changed, rebuilt;
    ms_store_mark_t     *mark;
    ms_instance_info_t   info;

    changed = 0;
    pool = ms_zone_lock(store->zone, &rebuilt);

    id = ms_pool_find(pool, (char *) instance->data, instance->len);

    if (id != MS_POOL_NONE) {
        ms_pool_info(pool, id, &info);
        mark = ms_store_word_mark(store, id, &info);

        if (stamp >= mark->stamp) {
            mark->stamp = stamp;
            mark->drain = drain;
            mark->told = store->sh->round;

            if (info.held != drain) {
                ms_store_word_apply(pool, id, drain);
                changed = 1;
            }
        }
    }

    ms_zone_unlock(store->zone, rebuilt, ngx_cycle->log);

    if (!changed) {
        return;
    }

    if (drain) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "operator of another gateway drains an instance, "
                      "instance=\"%V\" upstream=\"%V\"", instance,
                      &store->upstream->host);

    } else {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "operator of another gateway ends a drain, "
                      "instance=\"%V\" upstream=\"%V\"", instance,
                      &store->upstream->host);
    }

    ms_events_add(store->zone,
                  drain ? MS_EVENT_DRAINS : MS_EVENT_DRAINS_NO_MORE,
                  instance, NULL, &ms_store_operator);
}


void
ms_store_drains_again(ms_store_t *store)
{
    (void) ngx_atomic_fetch_add(&store->sh->round, 1);
    (void) ngx_atomic_fetch_add(&store->sh->words, 1);
}


void
ms_store_drains_tell(ms_store_t *store)
{
    ngx_uint_t         i;
    ms_resp_t         *resp;
    ms_store_word_t   *word;
    ms_store_words_t  *batch;

    if (store->sh->told == store->sh->words || store->telling
        || !store->conn.ready)
    {
        return;
    }

    batch = ngx_alloc(sizeof(ms_store_words_t), ngx_cycle->log);
    if (batch == NULL) {
        return;
    }

    if (store->tell_from == 0) {

        /* a word that comes while these are told is told after them */

        store->tell_until = store->sh->words;
    }

    ms_store_words(store, batch);

    if (batch->n == 0) {
        store->sh->told = store->tell_until;
        ngx_free(batch);
        return;
    }

    resp = &store->conn.resp;

    ms_store_conn_begin(&store->conn, "drain", 3 * batch->n);

    for (i = 0; i < batch->n; i++) {
        word = &batch->words[i];

        ms_resp_text(resp, word->name, word->len);
        ms_resp_word(resp, word->drain ? "d" : "-");
        ms_resp_number(resp, word->stamp);
    }

    if (ms_store_conn_ask(&store->conn, ms_store_words_told, batch)
        != NGX_OK)
    {
        store->tell_from = 0;
        ngx_free(batch);
        return;
    }

    store->telling = 1;
}


/* the next words that the store has not confirmed, from "tell_from" on, which
 * is 0 again at the end */

static void
ms_store_words(ms_store_t *store, ms_store_words_t *batch)
{
    uint32_t             i, limit, last;
    ms_pool_t           *pool;
    ngx_uint_t           rebuilt;
    ms_store_mark_t     *mark;
    ms_store_word_t     *word;
    ms_instance_info_t   info;

    batch->round = store->sh->round;
    batch->n = 0;

    do {
        pool = ms_zone_lock(store->zone, &rebuilt);

        limit = ms_pool_limit(pool);
        last = ngx_min(limit, store->tell_from + MS_STORE_LOOK);

        for (i = store->tell_from; i < last && batch->n < MS_STORE_WORDS; i++)
        {
            ms_pool_info(pool, i, &info);

            if (info.name_len == 0) {
                continue;
            }

            mark = ms_store_word_mark(store, i, &info);

            if (mark->stamp == 0 || mark->told == (uint32_t) batch->round) {
                continue;
            }

            word = &batch->words[batch->n++];

            word->instance = i;
            word->stamp = mark->stamp;
            word->drain = mark->drain;
            word->len = info.name_len;
            ngx_memcpy(word->name, info.name, info.name_len);
        }

        ms_zone_unlock(store->zone, rebuilt, ngx_cycle->log);

        store->tell_from = i < limit ? i : 0;

    } while (batch->n == 0 && store->tell_from);
}


static void
ms_store_words_told(void *owner, redisReply *reply, void *data)
{
    ms_store_conn_t *sc = owner;
    ms_store_words_t *batch = data;

    ms_store_t  *store;

    store = sc->store;
    store->telling = 0;

    if (reply == NULL || ms_store_conn_error(sc, reply)) {

        /* the worker that has the duty tells all again */

        store->tell_from = 0;
        goto done;
    }

    if (ms_store_words_answer(store, batch, reply) != NGX_OK) {
        store->tell_from = 0;
        ms_store_conn_close(sc, "an answer was not understood");
        goto done;
    }

    if (store->tell_from) {
        ms_store_drains_tell(store);

    } else {
        store->sh->told = store->tell_until;
    }

done:

    ngx_free(batch);
}


static ngx_int_t
ms_store_words_answer(ms_store_t *store, ms_store_words_t *batch,
    redisReply *reply)
{
    size_t             i;
    uint64_t           stamp;
    ngx_str_t          instance;
    redisReply        *out;
    ms_store_mark_t   *mark;
    const redisReply  *name, *drain;

    /* renewals look at the generation */

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2
        || reply->element[1]->type != REDIS_REPLY_ARRAY)
    {
        return NGX_ERROR;
    }

    /* without the lock: a word that was not seen is told once more */

    for (i = 0; i < batch->n; i++) {
        mark = &store->sh->marks[batch->words[i].instance];

        if (mark->stamp == batch->words[i].stamp) {
            mark->told = (uint32_t) batch->round;
        }
    }

    out = reply->element[1];

    for (i = 0; i + 2 < out->elements; i += 3) {
        name = ms_resp_element(out, i);
        drain = ms_resp_element(out, i + 1);

        if (name == NULL || drain == NULL
            || ms_resp_value(ms_resp_element(out, i + 2), &stamp) != 0)
        {
            return NGX_ERROR;
        }

        instance.data = (u_char *) name->str;
        instance.len = name->len;

        ms_store_drained(store, &instance, drain->str[0] == 'd', stamp);
    }

    return NGX_OK;
}
