/*
 * What a call asks the store, and what it knows of the answer; for
 * sessions/stored.c alone.
 */

#ifndef MS_SESSIONS_STORED_ASK_H
#define MS_SESSIONS_STORED_ASK_H


#include "sessions/call_context.h"
#include "store/claim.h"


typedef enum {
    MS_STORED_UNKNOWN = 0,
    MS_STORED_LOCAL,                    /* the zone knows enough */
    MS_STORED_WAITS,
    MS_STORED_ANSWERED,
    MS_STORED_TORN                      /* the session may move no more */
} ms_stored_e;

typedef struct {
    ms_store_waiter_t    waiter;
    ngx_http_request_t  *request;
    ms_stored_e          state;
    ms_pool_key_t        key;           /* once it is known */
    ngx_uint_t           asks;
    ngx_uint_t           local;         /* failure=local: the zone decides */
    unsigned             against:1;     /* the question is a move against the
                                           word of another gateway */
    unsigned             placed:1;      /* it had a place in the line */
    unsigned             stayed:1;      /* the session had nowhere to go */
} ms_stored_t;


/* of the request, made with the first call; NULL: there is no memory */
ms_stored_t *ms_stored_make(ngx_http_request_t *r);

/*
 * NGX_AGAIN: the question was sent.  Else the state says what is known.  "call"
 * is NULL before the balancer has it.
 */
ngx_int_t ms_stored_ask(ms_store_t *store, ms_stored_t *st,
    ms_pool_key_t *key, ms_call_t *call);

/* the session would be one too many that waits for its first success */
ngx_uint_t ms_stored_crowded(ms_store_t *store, ms_stored_t *st,
    ms_pool_key_t *key);

/* an attempt of the call at the instance has failed; "call" may be NULL */
ngx_uint_t ms_stored_failed(ms_call_t *call, uint32_t instance);


#endif /* MS_SESSIONS_STORED_ASK_H */
