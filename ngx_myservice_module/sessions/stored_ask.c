
/*
 * A call's question to the store: is there one, what does it say of the session
 * and its user, and may the session leave its instance?
 */

#include "sessions/stored_ask.h"

#include "core/context.h"
#include "core/log.h"
#include "core/metadata.h"
#include "store/conn.h"
#include "store/leases.h"
#include "zone/firsts.h"
#include "sessions/calls.h"
#include "sessions/limit.h"


static void ms_stored_cleanup(void *data);
static ngx_int_t ms_stored_terms(ms_store_t *store, ms_stored_t *st,
    ms_pool_key_t *key, ngx_uint_t comes, ms_store_question_t *question);
static void ms_stored_firsts(ms_store_t *store, ms_stored_t *st,
    ms_pool_key_t *key, ms_firsts_terms_t *firsts);
static ngx_uint_t ms_stored_torn(ms_store_t *store, ms_stored_t *st,
    ms_pool_key_t *key, ms_store_lease_t *own);


ms_stored_t *
ms_stored_make(ngx_http_request_t *r)
{
    ms_stored_t  *st;

    st = ms_context_make(r, &ngx_http_myservice_store_module,
                         sizeof(ms_stored_t), ms_stored_cleanup);

    if (st && st->request == NULL) {
        st->request = r;
        st->waiter.wake.data = st;
        st->waiter.wake.log = r->connection->log;
    }

    return st;
}


static void
ms_stored_cleanup(void *data)
{
    ms_stored_t *st = data;

    ms_store_forget(&st->waiter);
}


ngx_int_t
ms_stored_ask(ms_store_t *store, ms_stored_t *st, ms_pool_key_t *key,
    ms_call_t *call)
{
    uint32_t              instance;
    ngx_int_t             rc;
    ngx_uint_t            first;
    ms_store_lease_t      own;
    ms_firsts_terms_t     firsts;
    ms_store_question_t   question;

    if (ms_store_held(store, key, &instance)
        && !ms_stored_failed(call, instance))
    {
        st->state = MS_STORED_LOCAL;
        return NGX_OK;
    }

    ngx_memzero(&question, sizeof(ms_store_question_t));
    st->against = 0;
    first = 0;

    if (ms_store_lease(store, key, &own) == NGX_OK) {

        if (!own.away && !ms_stored_failed(call, own.instance)) {

            if (ms_store_marked(store, own.instance, own.lease)
                || !ms_store_conn_usable(&store->conn))
            {
                st->state = MS_STORED_LOCAL;
                return NGX_OK;
            }

            first = own.heard;

        } else {
            if (ms_stored_torn(store, st, key, &own)) {
                return NGX_OK;
            }

            question.from = &own.name;
            question.epoch = own.epoch;
        }

    } else if (call && call->attempts && call->grant.name.len
               && !call->outdated)
    {
        /* the attempt of before has lost it */

        question.from = &call->grant.name;
        question.epoch = call->grant.lease.epoch;

    } else {
        first = store->zone->firsts != NULL;
    }

    if (first) {
        ms_stored_firsts(store, st, key, &firsts);
        question.firsts = &firsts;
    }

    st->asks++;

    rc = ms_stored_terms(store, st, key, call == NULL, &question);

    if (rc == NGX_OK) {
        rc = ms_store_claim(store, key, &question, &st->waiter);
    }

    st->state = rc == NGX_AGAIN ? MS_STORED_WAITS : MS_STORED_ANSWERED;

    return rc;
}


/* The user's sessions that wait in this gateway's line count, too, for one that
 * comes. */

static ngx_int_t
ms_stored_terms(ms_store_t *store, ms_stored_t *st, ms_pool_key_t *key,
    ngx_uint_t comes, ms_store_question_t *question)
{
    uint32_t          waiting;
    ms_pool_terms_t   terms;

    question->subject = ms_metadata_subject(st->request);

    ngx_memzero(&terms, sizeof(ms_pool_terms_t));

    if (ms_limit_terms(st->request, store->upstream, &terms) != NGX_OK) {
        st->waiter.rc = NGX_ERROR;
        return NGX_ERROR;
    }

    if (terms.user && comes && !st->placed) {
        waiting = ms_zone_line_user(store->zone, key, &terms,
                                    st->request->connection->log);
        terms.sessions -= ngx_min(waiting, terms.sessions);
    }

    question->user = terms.user;
    question->sessions = terms.sessions;

    return NGX_OK;
}


/* of a session that this gateway does not know, or has only heard of */

static void
ms_stored_firsts(ms_store_t *store, ms_stored_t *st, ms_pool_key_t *key,
    ms_firsts_terms_t *firsts)
{
    ms_calls_firsts(st->request, store->zone, key, firsts);

    firsts->subject = ms_metadata_subject(st->request);
    firsts->lasts = ngx_min(MS_STORE_TENTATIVE, store->ttl);
}


ngx_uint_t
ms_stored_crowded(ms_store_t *store, ms_stored_t *st, ms_pool_key_t *key)
{
    ms_firsts_terms_t  firsts;

    ms_stored_firsts(store, st, key, &firsts);

    return !ms_zone_firsts_ask(store->zone, key, &firsts, 1, NULL);
}


/*
 * Another gateway has given the session an instance that is down here.  To move
 * it is right, but two gateways that disagree would do so without end.
 */

static ngx_uint_t
ms_stored_torn(ms_store_t *store, ms_stored_t *st, ms_pool_key_t *key,
    ms_store_lease_t *own)
{
    ngx_uint_t  n;

    st->against = own->word;

    n = own->word ? ms_store_torn(store, key) : 0;

    if (n == 0) {
        return 0;
    }

    if (n == 1) {
        ms_log_error(NGX_LOG_WARN, st->request->connection->log, 0,
                     "gateways disagree about an instance: it is down here, "
                     "and others give it to a session, which has moved too "
                     "often, instance=\"%V\" upstream=\"%V\"",
                     &own->name, &store->upstream->host);
    }

    st->state = MS_STORED_TORN;

    return 1;
}


ngx_uint_t
ms_stored_failed(ms_call_t *call, uint32_t instance)
{
    ngx_uint_t  i;

    for (i = 0; call && i < call->nfailed; i++) {
        if (call->failed[i] == instance) {
            return 1;
        }
    }

    return 0;
}
