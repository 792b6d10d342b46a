/*
 * Questions of this worker to the store: which instance has the session?  All
 * calls of a session that ask at the same time wait for one answer.
 */

#ifndef MS_STORE_CLAIM_H
#define MS_STORE_CLAIM_H


#include "store/store.h"


typedef struct ms_store_group_s  ms_store_group_t;

/* what is asked, all borrowed until ms_store_claim() returns */

typedef struct {
    const uint8_t                 *subject;     /* NULL: not known */
    uint64_t                       user;        /* ms_pool_user(), 0: the
                                                   session has no limit */
    uint32_t                       sessions;    /* that the user may have, this
                                                   one among them */
    ngx_str_t                     *from;        /* the instance that the session
                                                   leaves, NULL: none */
    uint64_t                       epoch;       /* of the lease there */
    const ms_firsts_terms_t       *firsts;      /* the limits for a session that
                                                   no call here has an instance
                                                   for; NULL: none */
} ms_store_question_t;

/* one call that asks; it must not move while it waits */

typedef struct {
    ngx_queue_t                    queue;       /* of the group */
    ms_store_group_t              *group;       /* NULL: it does not wait */
    ms_store_group_t              *taken;       /* what it waited for, until the
                                                   zone has the lease; NULL:
                                                   nothing */

    ngx_uint_t                     looks;       /* the caller sets it: only the
                                                   instance that the session
                                                   has, and no new one */

    /* posted when the answer has come; the caller sets handler, data, log */
    ngx_event_t                    wake;

    /*
     * NGX_OK: the session has the instance; NGX_BUSY: all have owners;
     * NGX_DECLINED: the session belongs to another subject; NGX_ABORT: its
     * user may have no more sessions; NGX_DONE: no more first calls, the store
     * has only looked; NGX_ERROR: the store is unavailable
     */
    ngx_int_t                      rc;
    ms_given_t                     given;
    uint64_t                       epoch;
    ngx_msec_t                     asked;       /* when the question was
                                                   sent */
    ngx_str_t                      instance;
    u_char                         name[MS_POOL_NAME_MAX];
} ms_store_waiter_t;


/* in a worker, once */
void ms_store_claim_init(ms_store_t *store);

/* the connection is ready: what waits is asked again */
void ms_store_claim_up(ms_store_t *store);

/* NGX_AGAIN: the waiter waits.  NGX_ERROR: the store is unavailable, there is
 * no use in waiting. */
ngx_int_t ms_store_claim(ms_store_t *store, ms_pool_key_t *key,
    const ms_store_question_t *question, ms_store_waiter_t *waiter);

/* The zone is about to have what the call got: "given" may change, as another
 * question of this gateway may have brought it. */
void ms_store_take(ms_store_waiter_t *waiter);

/* The call ends, whether it waits or not; or the zone has what it got.  A lease
 * without a success that no call has, or waits for, is given back. */
void ms_store_forget(ms_store_waiter_t *waiter);


#endif /* MS_STORE_CLAIM_H */
