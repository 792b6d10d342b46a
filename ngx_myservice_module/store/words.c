
/*
 * One worker tells what the store has not confirmed, one batch at a time.
 */

#include "store/words.h"

#include "store/conn.h"
#include "store/drains.h"
#include "store/members.h"
#include "zone/lock.h"
#include "zone/operator.h"


#define MS_STORE_WORDS  64              /* of a question */
#define MS_STORE_LOOK   512             /* instances, under the lock at once */


typedef struct {
    ms_store_said_t   *said;            /* in shared memory */
    uint64_t           stamp;
    size_t             word_len;
    u_char             word[MS_STORE_NUMBER];
    size_t             len;
    u_char             name[MS_POOL_NAME_MAX];
} ms_store_word_t;

typedef struct {
    ngx_uint_t         round;           /* in which it is told */
    ngx_uint_t         n;
    ms_store_word_t    words[MS_STORE_WORDS];
} ms_store_words_t;


static void ms_store_words_new(ms_store_t *store);
static void ms_store_words_untold(ms_store_t *store, ms_store_words_t *batch);
static void ms_store_words_instance(ms_store_t *store, ms_pool_t *pool,
    uint32_t instance, ms_store_words_t *batch);
static void ms_store_words_add(ms_store_words_t *batch, ms_store_said_t *said,
    const void *name, size_t len);
static void ms_store_words_told(void *owner, redisReply *reply, void *data);
static ngx_int_t ms_store_words_answer(ms_store_t *store,
    ms_store_words_t *batch, redisReply *reply);


void
ms_store_drain(ms_zone_t *zone, ngx_str_t *instance, ngx_uint_t drain,
    ngx_msec_t limit)
{
    ms_store_t  *store;

    store = ms_store_of(zone->upstream);

    if (store) {
        ms_store_drain_said(store, instance, drain, limit);
        ms_store_words_new(store);
    }
}


ngx_int_t
ms_store_add(ms_zone_t *zone, ngx_addr_t *addr, ngx_log_t *log)
{
    ngx_int_t    rc;
    ms_pool_t   *pool;
    ms_store_t  *store;
    ngx_uint_t   rebuilt;

    store = ms_store_of(zone->upstream);

    if (store) {
        rc = ms_store_member_add(store, addr);
        ms_store_words_new(store);
        return rc;
    }

    pool = ms_zone_lock(zone, &rebuilt);
    rc = ms_zone_join_locked(zone, pool, addr);
    ms_zone_unlock(zone, rebuilt, log);

    return rc;
}


ngx_int_t
ms_store_remove(ms_zone_t *zone, ngx_str_t *instance, ngx_uint_t force,
    ngx_log_t *log)
{
    ngx_int_t    rc;
    ms_pool_t   *pool;
    ms_store_t  *store;
    ngx_uint_t   rebuilt;

    store = ms_store_of(zone->upstream);

    if (store) {
        rc = ms_store_member_remove(store, instance, force);
        ms_store_words_new(store);
        return rc;
    }

    pool = ms_zone_lock(zone, &rebuilt);
    rc = ms_zone_remove_locked(zone, pool, instance, force);
    ms_zone_unlock(zone, rebuilt, log);

    return rc;
}


static void
ms_store_words_new(ms_store_t *store)
{
    (void) ngx_atomic_fetch_add(&store->sh->words, 1);
    ms_store_words_tell(store);
}


void
ms_store_words_hear(ms_store_t *store, ngx_str_t *instance, char word,
    uint64_t stamp, ngx_msec_t left)
{
    if (word == 'a' || word == 'r') {
        ms_store_member_heard(store, instance, word == 'a', stamp);

    } else {
        ms_store_drained(store, instance, word == 'd', stamp, left);
    }
}


void
ms_store_words_again(ms_store_t *store)
{
    (void) ngx_atomic_fetch_add(&store->sh->round, 1);
    (void) ngx_atomic_fetch_add(&store->sh->words, 1);
}


void
ms_store_words_tell(ms_store_t *store)
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

    ms_store_words_untold(store, batch);

    if (batch->n == 0) {
        store->sh->told = store->tell_until;
        ngx_free(batch);
        return;
    }

    resp = &store->conn.resp;

    ms_store_conn_begin(&store->conn, "operator", 3 * batch->n);

    for (i = 0; i < batch->n; i++) {
        word = &batch->words[i];

        ms_resp_text(resp, word->name, word->len);
        ms_resp_text(resp, word->word, word->word_len);
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
ms_store_words_untold(ms_store_t *store, ms_store_words_t *batch)
{
    uint32_t             i, limit, last;
    ms_pool_t           *pool;
    ngx_uint_t           rebuilt;
    ms_store_removed_t  *removed;

    batch->round = store->sh->round;
    batch->n = 0;

    do {
        pool = ms_zone_lock(store->zone, &rebuilt);

        limit = MS_STORE_REMOVED + ms_pool_limit(pool);
        last = ngx_min(limit, store->tell_from + MS_STORE_LOOK);

        for (i = store->tell_from; i < last && batch->n + 2 <= MS_STORE_WORDS;
             i++)
        {
            if (i >= MS_STORE_REMOVED) {
                ms_store_words_instance(store, pool, i - MS_STORE_REMOVED,
                                        batch);
                continue;
            }

            removed = &store->sh->removed[i];

            if (removed->len) {
                ms_store_words_add(batch, &removed->said, removed->name,
                                   removed->len);
            }
        }

        ms_zone_unlock(store->zone, rebuilt, ngx_cycle->log);

        store->tell_from = i < limit ? i : 0;

    } while (batch->n == 0 && store->tell_from);
}


/* others drain an instance only once it is a member */

static void
ms_store_words_instance(ms_store_t *store, ms_pool_t *pool, uint32_t instance,
    ms_store_words_t *batch)
{
    ms_store_mark_t     *mark;
    ms_instance_info_t   info;

    ms_pool_info(pool, instance, &info);

    if (info.name_len == 0) {
        return;
    }

    mark = ms_store_word_mark(store, instance, &info);

    ms_store_words_add(batch, &mark->member, info.name, info.name_len);
    ms_store_words_add(batch, &mark->drain, info.name, info.name_len);
}


static void
ms_store_words_add(ms_store_words_t *batch, ms_store_said_t *said,
    const void *name, size_t len)
{
    u_char           *p;
    ms_store_word_t  *w;

    if (said->stamp == 0 || said->told == (uint32_t) batch->round) {
        return;
    }

    w = &batch->words[batch->n++];

    w->said = said;
    w->stamp = said->stamp;

    p = w->word;
    *p++ = said->word;

    if (said->word == 'd' && said->until) {
        p = ngx_sprintf(p, "/%M", said->until > ngx_current_msec
                                  ? said->until - ngx_current_msec : 1);
    }

    w->word_len = p - w->word;
    w->len = len;
    ngx_memcpy(w->name, name, len);
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
        ms_store_words_tell(store);

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
    uint64_t           stamp, left;
    ngx_str_t          instance;
    ngx_uint_t         rebuilt;
    redisReply        *out;
    ms_store_said_t   *said;
    const redisReply  *name, *word;

    /* renewals look at the generation */

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2
        || reply->element[1]->type != REDIS_REPLY_ARRAY)
    {
        return NGX_ERROR;
    }

    /* a later word may have come meanwhile */

    (void) ms_zone_lock(store->zone, &rebuilt);

    for (i = 0; i < batch->n; i++) {
        said = batch->words[i].said;

        if (said->stamp == batch->words[i].stamp) {
            said->told = (uint32_t) batch->round;
        }
    }

    ms_zone_unlock(store->zone, rebuilt, ngx_cycle->log);

    out = reply->element[1];

    for (i = 0; i + 2 < out->elements; i += 3) {
        name = ms_resp_element(out, i);
        word = ms_resp_element(out, i + 1);

        if (name == NULL || word == NULL
            || ms_resp_value(ms_resp_element(out, i + 2), &stamp) != 0)
        {
            return NGX_ERROR;
        }

        left = word->len > 2 ? strtoull(word->str + 2, NULL, 10) : 0;

        instance.data = (u_char *) name->str;
        instance.len = name->len;

        ms_store_words_hear(store, &instance, word->str[0], stamp, left);
    }

    return NGX_OK;
}
