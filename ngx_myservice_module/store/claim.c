
/*
 * Questions which instance a session has.  A group outlives the calls that wait
 * for it: a new lease that comes late is given back, but for one of a session
 * that moves, which the next call finds in the store.
 */

#include "store/claim.h"

#include "store/conn.h"
#include "store/give_back.h"
#include "store/leases.h"
#include "store/released.h"
#include "store/report.h"
#include "store/who.h"
#include "zone/firsts.h"


/* who and session: users who name the same session wait apart */
#define MS_STORE_ASKED  (MS_STORE_WHO + MS_POOL_SESSION_MAX)

/* leases of a session that are over, and that the store may name in turn */
#define MS_STORE_OVER   3


struct ms_store_group_s {
    ngx_str_node_t   sn;             /* by who and session; the first member */
    ngx_queue_t      queue;          /* of the store's groups, by deadline */
    ngx_queue_t      waiters;
    ms_store_t      *store;
    ms_pool_key_t    key;
    ngx_msec_t       deadline;
    ngx_msec_t       asked;
    uint64_t         began;          /* microseconds */
    uint64_t         epoch;          /* of "from" */
    ngx_uint_t       n_named;
    uint32_t         named[MS_STORE_CANDIDATES * MS_STORE_ROUNDS];
                                     /* instances, in this question and those
                                        before */
    size_t           from_len;
    unsigned         listed:1;       /* calls may join, and the deadline
                                        counts */
    unsigned         sent:1;
    unsigned         looks:1;        /* no call asks for a new instance, or */
    unsigned         crowded:1;      /* may have one */
    unsigned         answers:1;      /* "busy", before this question */
    unsigned         limited:1;
    ngx_uint_t       over;
    uint64_t         first;          /* see pool/firsts.h, 0: none */
    ngx_uint_t       takers;         /* woken calls that have not taken the
                                        lease yet */
    uint32_t         sessions;       /* that the user may have, if "limited" */
    u_char           from[MS_POOL_NAME_MAX];
    size_t           who_len;
    u_char           text[MS_STORE_ASKED];
};


static ms_store_group_t *ms_store_group(ms_store_t *store,
    ms_pool_key_t *key, ngx_str_t *asked, const ms_store_question_t *question,
    ngx_uint_t looks);
static void ms_store_looks(ms_store_group_t *g,
    const ms_store_question_t *question, ngx_uint_t looks);
static ngx_int_t ms_store_send(ms_store_group_t *g);
static void ms_store_unlist(ms_store_group_t *g);
static void ms_store_first_ends(ms_store_group_t *g, ms_given_t given,
    const ngx_str_t *instance, uint64_t epoch);
static void ms_store_free(ms_store_group_t *g);
static void ms_store_answered(void *owner, redisReply *reply, void *data);
static ngx_uint_t ms_store_understood(ms_store_group_t *g, redisReply *reply);
static ngx_uint_t ms_store_over(ms_store_group_t *g,
    const redisReply *instance, uint64_t epoch);
static void ms_store_shared(ms_store_group_t *g, ms_given_t given,
    const redisReply *instance, uint64_t epoch);
static void ms_store_granted(ms_store_group_t *g, ms_given_t given,
    const redisReply *instance, uint64_t epoch);
static void ms_store_wake(ms_store_group_t *g, ngx_int_t rc);
static void ms_store_count(ms_store_t *store, ngx_int_t rc);
static void ms_store_reap(ngx_event_t *ev);
static uint64_t ms_store_now(void);


void
ms_store_claim_init(ms_store_t *store)
{
    ngx_queue_init(&store->pending);
    ngx_rbtree_init(&store->groups, &store->sentinel,
                    ngx_str_rbtree_insert_value);

    /* not cancelable: a worker that exits would drop the calls that wait */

    store->reaper.handler = ms_store_reap;
    store->reaper.data = &store->reaper;
    store->reaper.log = ngx_cycle->log;
}


ngx_int_t
ms_store_claim(ms_store_t *store, ms_pool_key_t *key,
    const ms_store_question_t *question, ms_store_waiter_t *waiter)
{
    u_char             buf[MS_STORE_ASKED];
    ngx_str_t          asked;
    ms_store_group_t  *g;

    asked.data = buf;
    asked.len = ms_store_who(store, buf, question->subject, question->user);
    ngx_memcpy(buf + asked.len, key->session, key->len);
    asked.len += key->len;

    g = (ms_store_group_t *) ngx_str_rbtree_lookup(&store->groups, &asked,
                                                   (uint32_t) key->hash);

    if (g == NULL) {
        g = ms_store_group(store, key, &asked, question, waiter->looks);
    }

    if (g == NULL) {
        ms_store_count(store, NGX_ERROR);
        waiter->rc = NGX_ERROR;
        return NGX_ERROR;
    }

    if (g->looks && !waiter->looks) {
        ms_store_looks(g, question, 0);
    }

    waiter->group = g;
    waiter->rc = NGX_AGAIN;
    ngx_queue_insert_tail(&g->waiters, &waiter->queue);

    return NGX_AGAIN;
}


static ms_store_group_t *
ms_store_group(ms_store_t *store, ms_pool_key_t *key, ngx_str_t *asked,
    const ms_store_question_t *question, ngx_uint_t looks)
{
    ms_store_group_t  *g;

    if (store->npending >= MS_STORE_GROUPS
        || !ms_store_conn_usable(&store->conn))
    {
        return NULL;
    }

    g = ngx_calloc(sizeof(ms_store_group_t), ngx_cycle->log);
    if (g == NULL) {
        return NULL;
    }

    g->store = store;
    g->key = *key;
    ngx_memcpy(g->text, asked->data, asked->len);
    g->who_len = asked->len - key->len;
    g->key.session = g->text + g->who_len;
    g->sn.str.data = g->text;
    g->sn.str.len = asked->len;
    g->sn.node.key = (uint32_t) key->hash;
    g->deadline = ngx_current_msec + store->timeout;
    g->epoch = question->epoch;
    g->limited = question->user != 0;
    g->sessions = question->sessions;
    ngx_queue_init(&g->waiters);
    ms_store_looks(g, question, looks);

    if (question->from) {
        g->from_len = ngx_min(question->from->len, MS_POOL_NAME_MAX);
        ngx_memcpy(g->from, question->from->data, g->from_len);
    }

    if (store->conn.ready && ms_store_send(g) != NGX_OK) {
        ms_store_free(g);
        return NULL;
    }

    g->listed = 1;
    store->npending++;
    ngx_rbtree_insert(&store->groups, &g->sn.node);
    ngx_queue_insert_tail(&store->pending, &g->queue);

    if (!store->reaper.timer_set) {
        ngx_add_timer(&store->reaper, store->timeout);
    }

    return g;
}


/* A session that is one too many gets no new instance, but its own. */

static void
ms_store_looks(ms_store_group_t *g, const ms_store_question_t *question,
    ngx_uint_t looks)
{
    g->looks = looks != 0;

    if (question->firsts) {
        g->looks = !ms_zone_firsts_ask(g->store->zone, &g->key,
                                       question->firsts, !looks, &g->first);
    }

    g->crowded = g->looks && !looks;
}


static ngx_int_t
ms_store_send(ms_store_group_t *g)
{
    ngx_uint_t   i, n;
    ms_store_t  *store;
    ms_resp_t   *resp;
    ngx_str_t    names[MS_STORE_CANDIDATES];
    u_char       buf[MS_STORE_CANDIDATES * MS_POOL_NAME_MAX];
    uint64_t     seen;

    store = g->store;
    resp = &store->conn.resp;

    if (g->n_named + MS_STORE_CANDIDATES
        > MS_STORE_CANDIDATES * MS_STORE_ROUNDS)
    {
        return NGX_DECLINED;
    }

    n = 0;
    seen = 0;

    if (!g->looks) {
        n = ms_store_candidates(store, &g->key, g->named, &g->n_named, names,
                                buf, &seen);
    }

    if (n == 0 && g->answers) {

        /* all were named, or there is nothing to name */

        return NGX_DECLINED;
    }

    ms_store_conn_begin(&store->conn, "claim", 8 + n);
    ms_resp_text(resp, g->key.session, g->key.len);
    ms_resp_number(resp, ngx_min(MS_STORE_TENTATIVE, store->ttl));
    ms_resp_number(resp, seen);
    ms_resp_text(resp, g->from, g->from_len);
    ms_resp_number(resp, g->epoch);
    ms_resp_text(resp, g->text, g->who_len);
    ms_resp_number(resp, MS_STORE_HOLD);

    if (g->limited) {
        ms_resp_number(resp, g->sessions);

    } else {
        ms_resp_word(resp, "-");
    }

    for (i = 0; i < n; i++) {
        ms_resp_text(resp, names[i].data, names[i].len);
    }

    if (ms_store_conn_ask(&store->conn, ms_store_answered, g) != NGX_OK) {
        return NGX_ERROR;
    }

    g->sent = 1;
    g->asked = ngx_current_msec;
    g->began = ms_store_now();

    (void) ngx_atomic_fetch_add(&store->sh->counts.questions, 1);

    return NGX_OK;
}


void
ms_store_claim_up(ms_store_t *store)
{
    ngx_queue_t       *q, *next;
    ms_store_group_t  *g;

    for (q = ngx_queue_head(&store->pending);
         q != ngx_queue_sentinel(&store->pending);
         q = next)
    {
        next = ngx_queue_next(q);
        g = ngx_queue_data(q, ms_store_group_t, queue);

        /* the same question has the same answer, and may be asked twice */

        if (!g->sent) {
            g->n_named = 0;
            g->answers = 0;
            (void) ms_store_send(g);
        }
    }
}


static void
ms_store_answered(void *owner, redisReply *reply, void *data)
{
    ms_store_conn_t *sc = owner;
    ms_store_group_t *g = data;

    ngx_uint_t  took;

    g->sent = 0;

    if (reply == NULL || ms_store_conn_error(sc, reply)) {

        if (reply && g->listed && sc->ready) {
            ms_store_wake(g, NGX_ERROR);
        }

        /* what is listed is asked again, until its deadline */

        ms_store_free(g);
        return;
    }

    sc->useful = 1;
    took = ms_store_now() - g->began;

    (void) ngx_atomic_fetch_add(&sc->store->sh->counts.answers, 1);
    (void) ngx_atomic_fetch_add(&sc->store->sh->counts.latency, took);
    ms_counts_time(&sc->store->zone->counts->stored, &ms_times_short, took);

    if (!ms_store_understood(g, reply)) {
        ms_store_wake(g, NGX_ERROR);
        ms_store_conn_close(sc, "an answer was not understood");
    }

    ms_store_free(g);
}


static ngx_uint_t
ms_store_understood(ms_store_group_t *g, redisReply *reply)
{
    uint64_t           epoch;
    ngx_int_t          rc;
    const redisReply  *what, *instance, *generation, *flag;

    what = ms_resp_element(reply, 0);
    instance = ms_resp_element(reply, 1);
    generation = ms_resp_element(reply, 3);

    if (what == NULL || instance == NULL || generation == NULL
        || ms_resp_value(ms_resp_element(reply, 2), &epoch) != 0)
    {
        return 0;
    }

    ms_store_generation(g->store, generation->str, generation->len);

    if (ngx_strcmp(what->str, "own") == 0) {

        if (ms_store_over(g, instance, epoch)) {
            return 1;
        }

        (void) ngx_atomic_fetch_add(&g->store->sh->counts.own, 1);

        flag = ms_resp_element(reply, 4);

        if (flag && flag->str[0] == 't') {
            ms_store_shared(g, flag->str[1] == 'm' ? MS_GIVEN_FOLLOWS
                                                   : MS_GIVEN_SHARED,
                            instance, epoch);

        } else {

            /* a call has succeeded: this is no first one */

            ms_store_first_ends(g, MS_GIVEN_BEFORE, NULL, 0);
            ms_store_granted(g, MS_GIVEN_BEFORE, instance, epoch);
        }

        return 1;
    }

    if (ngx_strcmp(what->str, "new") == 0) {
        (void) ngx_atomic_fetch_add(&g->store->sh->counts.given, 1);
        ms_store_granted(g, g->from_len ? MS_GIVEN_MOVED : MS_GIVEN_NEW,
                         instance, epoch);
        return 1;
    }

    if (ngx_strcmp(what->str, "moved") == 0) {
        (void) ngx_atomic_fetch_add(&g->store->sh->counts.given, 1);
        ms_store_granted(g, MS_GIVEN_MOVED, instance, epoch);
        return 1;
    }

    if (ngx_strcmp(what->str, "stays") == 0 && g->from_len == 0) {
        (void) ngx_atomic_fetch_add(&g->store->sh->counts.own, 1);
        ms_store_granted(g, MS_GIVEN_BEFORE, instance, epoch);
        return 1;
    }

    if (ngx_strcmp(what->str, "denied") == 0) {
        ms_store_wake(g, NGX_DECLINED);
        return 1;
    }

    if (ngx_strcmp(what->str, "limit") == 0) {
        ms_store_wake(g, NGX_ABORT);
        return 1;
    }

    if (ngx_strcmp(what->str, "young") == 0) {

        /* gateways tell an empty store of the leases that there are */

        ms_store_wake(g, NGX_ERROR);
        return 1;
    }

    if (ngx_strcmp(what->str, "busy") != 0
        && ngx_strcmp(what->str, "stays") != 0)
    {
        return 0;
    }

    if (what->str[0] == 'b' && instance->len) {
        ms_store_report_record(g->store, instance);
    }

    /* busy is true only when all were named */

    if (g->listed) {
        g->answers = 1;
        rc = ms_store_send(g);

        if (rc == NGX_OK) {
            return 1;
        }

        if (rc == NGX_ERROR) {
            ms_store_wake(g, NGX_ERROR);
            return 1;
        }
    }

    ms_store_wake(g, g->crowded ? NGX_DONE : NGX_BUSY);

    return 1;
}


/* The session was released here, and the store has not got that: it is told, and
 * asked again. */

static ngx_uint_t
ms_store_over(ms_store_group_t *g, const redisReply *instance, uint64_t epoch)
{
    uint64_t   over;
    ngx_str_t  session, name;

    over = ms_store_released(g->store, &g->key, epoch);

    if (over == 0) {
        return 0;
    }

    session.data = (u_char *) g->key.session;
    session.len = g->key.len;
    name = ms_store_str(instance);

    ms_store_release(g->store, &session, &name, over, 0);

    g->n_named = 0;
    g->answers = 0;

    if (g->listed
        && (g->over++ == MS_STORE_OVER || ms_store_send(g) != NGX_OK))
    {
        ms_store_wake(g, NGX_ERROR);
    }

    return 1;
}


/* Calls wait for the session's first success at another gateway, or at another
 * worker.  Here it counts, too: one that is too many goes no further. */

static void
ms_store_shared(ms_store_group_t *g, ms_given_t given,
    const redisReply *instance, uint64_t epoch)
{
    ngx_str_t  name;

    if (g->first && ms_zone_firsts_own(g->store->zone, &g->key, g->first)) {
        g->crowded = 0;
    }

    if (!g->crowded) {
        ms_store_granted(g, given, instance, epoch);
        return;
    }

    name = ms_store_str(instance);
    ms_store_first_ends(g, given, &name, epoch);
    ms_store_wake(g, NGX_DONE);
}


static void
ms_store_granted(ms_store_group_t *g, ms_given_t given,
    const redisReply *instance, uint64_t epoch)
{
    ngx_str_t           name;
    ngx_queue_t        *q;
    ms_store_waiter_t  *waiter;

    if (ngx_queue_empty(&g->waiters)) {
        name = ms_store_str(instance);
        ms_store_first_ends(g, given, &name, epoch);
    }

    for (q = ngx_queue_head(&g->waiters);
         q != ngx_queue_sentinel(&g->waiters);
         q = ngx_queue_next(q))
    {
        waiter = ngx_queue_data(q, ms_store_waiter_t, queue);

        if (g->first) {
            waiter->taken = g;
            g->takers++;
        }

        waiter->given = given;
        waiter->epoch = epoch;
        waiter->asked = g->asked;
        waiter->instance.data = waiter->name;
        waiter->instance.len = ngx_min((size_t) instance->len,
                                       MS_POOL_NAME_MAX);
        ngx_memcpy(waiter->name, instance->str, waiter->instance.len);
    }

    ms_store_wake(g, NGX_OK);
}


/* the calls go on from posted events, not from within an answer */

static void
ms_store_wake(ms_store_group_t *g, ngx_int_t rc)
{
    ngx_queue_t        *q;
    ms_store_waiter_t  *waiter;

    ms_store_unlist(g);
    ms_store_count(g->store, rc);

    for (q = ngx_queue_head(&g->waiters);
         q != ngx_queue_sentinel(&g->waiters);
         q = ngx_queue_next(q))
    {
        waiter = ngx_queue_data(q, ms_store_waiter_t, queue);
        waiter->group = NULL;
        waiter->rc = rc == NGX_DONE && waiter->looks ? NGX_BUSY : rc;

        ngx_post_event(&waiter->wake, &ngx_posted_events);
    }

    ngx_queue_init(&g->waiters);
}


static void
ms_store_count(ms_store_t *store, ngx_int_t rc)
{
    ms_store_counts_t  *counts;

    counts = &store->sh->counts;

    if (rc != NGX_OK) {
        (void) ngx_atomic_fetch_add(rc == NGX_ERROR ? &counts->unavailable
                                    : rc == NGX_BUSY ? &counts->busy
                                    : rc == NGX_DECLINED ? &counts->denied
                                    : &counts->limited, 1);
    }
}


static void
ms_store_unlist(ms_store_group_t *g)
{
    ms_store_t  *store;

    if (!g->listed) {
        return;
    }

    store = g->store;

    g->listed = 0;
    ngx_rbtree_delete(&store->groups, &g->sn.node);
    ngx_queue_remove(&g->queue);

    /* a timer without a reason would hold up a worker that exits */

    if (--store->npending == 0 && store->reaper.timer_set) {
        ngx_del_timer(&store->reaper);
    }
}


static void
ms_store_reap(ngx_event_t *ev)
{
    ngx_queue_t       *q, *next;
    ms_store_t        *store;
    ngx_msec_int_t     left;
    ms_store_group_t  *g;

    store = (ms_store_t *) ((u_char *) ev - offsetof(ms_store_t, reaper));

    for (q = ngx_queue_head(&store->pending);
         q != ngx_queue_sentinel(&store->pending);
         q = next)
    {
        next = ngx_queue_next(q);
        g = ngx_queue_data(q, ms_store_group_t, queue);
        left = (ngx_msec_int_t) (g->deadline - ngx_current_msec);

        if (left > 0) {
            ngx_add_timer(ev, left);
            return;
        }

        if (g->sent) {

            /* until it answers again nobody waits for it */

            store->conn.suspect = 1;
        }

        ms_store_wake(g, NGX_ERROR);
        ms_store_free(g);
    }
}


/* no call takes the lease any more, which is given back if it is for nobody */

static void
ms_store_first_ends(ms_store_group_t *g, ms_given_t given,
    const ngx_str_t *instance, uint64_t epoch)
{
    u_char     buf[MS_POOL_NAME_MAX];
    ngx_str_t  session, name;

    if (g->first == 0) {
        return;
    }

    name = given == MS_GIVEN_BEFORE || given == MS_GIVEN_MOVED
           ? (ngx_str_t) ngx_null_string : *instance;

    ms_zone_firsts_end(g->store->zone, &g->key, g->first, &name, &epoch, buf);
    g->first = 0;

    if (name.len) {
        session.data = (u_char *) g->key.session;
        session.len = g->key.len;

        ms_store_give_back(g->store, &session, &name, epoch,
                           given == MS_GIVEN_NEW);
    }
}


static void
ms_store_free(ms_store_group_t *g)
{
    if (g->listed || g->sent || g->takers) {
        return;
    }

    ms_store_first_ends(g, MS_GIVEN_BEFORE, NULL, 0);
    ngx_free(g);
}


void
ms_store_take(ms_store_waiter_t *waiter)
{
    ms_store_group_t  *g;

    g = waiter->taken;

    if (g && g->first && waiter->given == MS_GIVEN_SHARED
        && ms_zone_firsts_own(g->store->zone, &g->key, g->first))
    {
        waiter->given = MS_GIVEN_NEW;
    }
}


void
ms_store_forget(ms_store_waiter_t *waiter)
{
    ms_store_group_t  *g;

    g = waiter->taken;
    waiter->taken = NULL;

    if (g && --g->takers == 0) {
        ms_store_first_ends(g, waiter->given, &waiter->instance,
                            waiter->epoch);
        ms_store_free(g);
    }

    if (waiter->group) {
        ngx_queue_remove(&waiter->queue);
        waiter->group = NULL;
    }

    if (waiter->wake.posted) {
        ngx_delete_posted_event(&waiter->wake);
    }
}


static uint64_t
ms_store_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}
