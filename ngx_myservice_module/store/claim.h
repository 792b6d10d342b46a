/*
 * Questions of this worker to the store: which instance has the session?  All
 * calls of a session that ask at the same time wait for one answer.
 */

#ifndef MS_STORE_CLAIM_H
#define MS_STORE_CLAIM_H


#include "store/store.h"


typedef struct ms_store_group_s  ms_store_group_t;

/* one call that asks; it must not move while it waits */

typedef struct {
    ngx_queue_t                    queue;       /* of the group */
    ms_store_group_t              *group;       /* NULL: it does not wait */

    ngx_uint_t                     looks;       /* the caller sets it: only the
                                                   instance that the session
                                                   has, and no new one */

    /* posted when the answer has come; the caller sets handler, data, log */
    ngx_event_t                    wake;

    /*
     * NGX_OK: the session has the instance; NGX_BUSY: all have owners;
     * NGX_DECLINED: the session belongs to another subject; NGX_ERROR: the
     * store is unavailable
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

/*
 * Asks; "from" (NULL: none) is the instance that the session leaves, with the
 * epoch of its lease there.  NGX_AGAIN: the waiter waits.  NGX_ERROR: the
 * store is unavailable, there is no use in waiting.
 */
ngx_int_t ms_store_claim(ms_store_t *store, ms_pool_key_t *key,
    const uint8_t *subject, ngx_str_t *from, uint64_t epoch,
    ms_store_waiter_t *waiter);

/* the call ends, whether it waits or not */
void ms_store_forget(ms_store_waiter_t *waiter);


#endif /* MS_STORE_CLAIM_H */
