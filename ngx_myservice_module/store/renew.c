
/*
 * Renewals, and what the store is told.  One worker renews for all, one batch
 * at a time: claims beside it do not wait.
 */

#include "store/renew.h"

#include "core/log.h"
#include "store/conn.h"
#include "store/leases.h"
#include "store/moves.h"
#include "store/released.h"
#include "store/revoked.h"
#include "store/stream.h"
#include "store/who.h"
#include "store/words.h"


#define MS_STORE_BATCH      64          /* leases */
#define MS_STORE_EVERY      2000        /* ms from one look at the leases to the
                                           next */


struct ms_store_batch_s {
    ngx_msec_t      asked;
    ngx_uint_t      n;
    ms_store_due_t  due[MS_STORE_BATCH];
};


static void ms_store_renew_work(void *data, ngx_uint_t taken);
static void ms_store_renew_stop(void *data);
static void ms_store_renew_next(ms_store_t *store);
static void ms_store_renewed(void *owner, redisReply *reply, void *data);
static ngx_int_t ms_store_renew_answers(ms_store_t *store, redisReply *reply);
static void ms_store_renew_differs(ms_store_t *store, ms_store_due_t *due,
    const char *what, ngx_str_t *instance, uint64_t epoch);
static void ms_store_told(void *owner, redisReply *reply, void *data);


void
ms_store_renew_init(ms_store_t *store)
{
    store->duty.zone = store->zone;
    store->duty.owner = &store->sh->duty;
    store->duty.data = store;
    store->duty.work = ms_store_renew_work;
    store->duty.stop = ms_store_renew_stop;
}


static void
ms_store_renew_work(void *data, ngx_uint_t taken)
{
    ms_store_t *store = data;

    if (taken) {
        store->renew_from = 0;
        store->renewed = ngx_current_msec - MS_STORE_EVERY;
        ms_store_stream_start(store);
    }

    ms_store_words_tell(store);
    ms_store_revoked_tell(store);

    if (store->conn.ready && !store->renewing
        && ngx_current_msec - store->renewed >= MS_STORE_EVERY)
    {
        store->renewed = ngx_current_msec;
        ms_store_renew_next(store);
        ms_store_moves_tell(store);
    }
}


static void
ms_store_renew_stop(void *data)
{
    ms_store_t *store = data;

    ms_store_stream_stop(store);
}


static void
ms_store_renew_next(ms_store_t *store)
{
    u_char             ttl[NGX_INT64_LEN + 1];
    ngx_uint_t         i;
    ngx_msec_t         msec;
    ms_resp_t         *resp;
    ms_store_due_t    *due;
    ms_store_batch_t  *batch;

    if (store->batch == NULL) {
        store->batch = ngx_alloc(sizeof(ms_store_batch_t), ngx_cycle->log);
        if (store->batch == NULL) {
            return;
        }
    }

    batch = store->batch;
    batch->n = ms_store_due(store, &store->renew_from, batch->due,
                            MS_STORE_BATCH);

    if (batch->n == 0) {
        return;
    }

    resp = &store->conn.resp;

    ms_store_conn_begin(&store->conn, "renew", 5 * batch->n);

    for (i = 0; i < batch->n; i++) {
        due = &batch->due[i];

        ms_resp_text(resp, due->session, due->session_len);
        ms_resp_text(resp, due->name, due->name_len);
        ms_resp_number(resp, due->epoch);

        msec = due->known == MS_STORE_CLAIMED
               ? ngx_min(MS_STORE_TENTATIVE, store->ttl) : store->ttl;

        ms_resp_text(resp, ttl,
                     ngx_sprintf(ttl, "%M%s", msec,
                                 due->known == MS_STORE_CONFIRMED ? ""
                                 : due->known == MS_STORE_HEARD ? "h" : "t")
                     - ttl);

        ms_resp_text(resp, due->who, due->who_len);
    }

    batch->asked = ngx_current_msec;

    if (ms_store_conn_ask(&store->conn, ms_store_renewed, store) == NGX_OK) {
        store->renewing = 1;
    }
}


static void
ms_store_renewed(void *owner, redisReply *reply, void *data)
{
    ms_store_conn_t *sc = owner;
    ms_store_t *store = data;

    store->renewing = 0;

    if (reply == NULL || ms_store_conn_error(sc, reply)) {

        /* a batch that always fails does not hold up those behind it */

        if (!sc->ready) {
            store->renew_from = 0;
        }

        return;
    }

    if (ms_store_renew_answers(store, reply) != NGX_OK) {
        ms_store_conn_close(sc, "an answer was not understood");
        return;
    }

    sc->useful = 1;

    if (store->renew_from && store->duty.held && sc->ready) {
        ms_store_renew_next(store);
    }
}


static ngx_int_t
ms_store_renew_answers(ms_store_t *store, redisReply *reply)
{
    size_t             i;
    uint64_t           place, epoch;
    ngx_str_t          instance, session;
    ngx_uint_t         differs[MS_STORE_BATCH];
    redisReply        *out;
    const redisReply  *generation, *what, *name;
    ms_store_batch_t  *batch;

    generation = ms_resp_element(reply, 0);

    if (generation == NULL || reply->elements < 2
        || reply->element[1]->type != REDIS_REPLY_ARRAY)
    {
        return NGX_ERROR;
    }

    batch = store->batch;
    out = reply->element[1];
    ngx_memzero(differs, sizeof(differs));

    for (i = 0; i + 3 < out->elements; i += 4) {
        what = ms_resp_element(out, i + 1);
        name = ms_resp_element(out, i + 2);

        if (ms_resp_value(ms_resp_element(out, i), &place) != 0
            || ms_resp_value(ms_resp_element(out, i + 3), &epoch) != 0
            || what == NULL || name == NULL || place >= batch->n)
        {
            return NGX_ERROR;
        }

        if (ngx_strcmp(what->str, "asserted") == 0) {
            (void) ngx_atomic_fetch_add(&store->sh->counts.asserted, 1);
            continue;
        }

        instance.data = (u_char *) name->str;
        instance.len = name->len;

        if (ngx_strcmp(what->str, "moves") == 0) {
            session.data = batch->due[place].session;
            session.len = batch->due[place].session_len;
            ms_store_leaves(store, &session, &instance, epoch);
            continue;
        }

        differs[place] = 1;
        ms_store_renew_differs(store, &batch->due[place], what->str,
                               &instance, epoch);
    }

    for (i = 0; i < batch->n; i++) {
        if (!differs[i]) {
            ms_store_mark(store, batch->due[i].instance, batch->due[i].lease,
                          batch->asked, batch->due[i].known);
            (void) ngx_atomic_fetch_add(&store->sh->counts.renewed, 1);
        }
    }

    ms_store_generation(store, (u_char *) generation->str, generation->len);

    return NGX_OK;
}


static void
ms_store_renew_differs(ms_store_t *store, ms_store_due_t *due,
    const char *what, ngx_str_t *instance, uint64_t epoch)
{
    ngx_str_t  session, own, who;

    session.data = due->session;
    session.len = due->session_len;
    own.data = due->name;
    own.len = due->name_len;

    ms_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                 "store knows better: %s, session=\"%V\" instance=\"%V\" "
                 "store=\"%V\"", what, &session, &own, &store->url);

    if (ngx_strcmp(what, "moved") == 0 || ngx_strcmp(what, "epoch") == 0) {
        who.data = due->who;
        who.len = due->who_len;

        ms_store_given(store, &session, instance, epoch, &who,
                       store->batch->asked, due->known);

        if (ngx_strcmp(what, "moved") == 0) {
            ms_store_ended(store, &session, &own, due->epoch, 0);
        }

        return;
    }

    /* it has ended, or another session has the instance */

    ms_store_ended(store, &session, &own, ngx_max(epoch, due->epoch), 0);
}


void
ms_store_release_session(ms_zone_t *zone, ngx_str_t *session)
{
    ms_store_t        *store;
    ms_pool_key_t      key;
    ms_store_lease_t   lease;

    store = ms_store_of(zone->upstream);

    if (store == NULL) {
        return;
    }

    ms_zone_key(zone, session, &key);

    if (ms_store_lease(store, &key, &lease) == NGX_OK) {
        ms_store_release(store, session, &lease.name, lease.epoch, 0);
    }
}


void
ms_store_word(ms_zone_t *zone, ngx_str_t *instance, ngx_str_t *session,
    uint64_t epoch, uint64_t asof, const uint8_t *subject)
{
    u_char       who[MS_STORE_WHO];
    ms_resp_t   *resp;
    ms_store_t  *store;

    store = ms_store_of(zone->upstream);

    if (store == NULL || !store->conn.ready) {
        return;
    }

    resp = &store->conn.resp;

    ms_store_conn_begin(&store->conn, "word", 7);
    ms_resp_text(resp, instance->data, instance->len);
    ms_resp_text(resp, session->data, session->len);
    ms_resp_number(resp, epoch);
    ms_resp_number(resp, asof);
    ms_resp_number(resp, store->ttl);
    ms_resp_number(resp, ms_zone_epoch(zone, ngx_cycle->log));
    ms_resp_text(resp, who, ms_store_who(store, who, subject, 0));

    if (ms_store_conn_ask(&store->conn, ms_store_told, NULL) == NGX_OK) {
        (void) ngx_atomic_fetch_add(&store->sh->counts.words, 1);
    }
}


static void
ms_store_told(void *owner, redisReply *reply, void *data)
{
    if (reply) {
        (void) ms_store_conn_error(owner, reply);
    }
}
