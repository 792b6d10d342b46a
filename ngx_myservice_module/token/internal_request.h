/*
 * A request that nginx makes of itself, to fetch a JWK Set.
 */

#ifndef MS_TOKEN_INTERNAL_REQUEST_H
#define MS_TOKEN_INTERNAL_REQUEST_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <sys/un.h>

#include "token/keyring.h"


struct ms_fetch_s {

    /* first: events are expected to belong to a connection */
    ngx_connection_t       connection;

    ms_keyring_t          *keyring;
    ms_key_store_t        *store;
    ngx_log_t             *log;                 /* of the cycle */

    ngx_event_t            next;                /* when to fetch again */
    ngx_event_t            limit;               /* when to give up */
    ngx_event_t            done;

    ngx_uint_t             count;               /* fetches that ended */
    ngx_uint_t             failures;            /* since the last success */
    ngx_msec_t             started;

    /* of the fetch under way */

    ngx_http_request_t    *request;
    ngx_http_request_t    *subrequest;
    u_char                *text;                /* from malloc() */
    size_t                 len;
    size_t                 size;
    ngx_int_t              rc;
    ngx_uint_t             status;              /* of HTTP */
    const char            *failed;              /* why, or NULL */
    unsigned               ended:1;
    unsigned               taken:1;             /* the outcome */

    ngx_event_t            read;
    ngx_event_t            write;
    ngx_log_t              request_log;
    ngx_http_log_ctx_t     log_ctx;
    ngx_http_connection_t  http;
    struct sockaddr_un     address;

    ms_fetch_t             *link;                /* of all in this worker */
};


/* Makes the request, which runs from ngx_http_run_posted_requests() and posts
 * fetch->done when it has ended or failed.  NGX_ERROR: there is no memory. */
ngx_int_t ms_fetch_open(ms_fetch_t *fetch);

/* Whether a thread works for the request, which must not be closed then. */
ngx_uint_t ms_fetch_blocked(ms_fetch_t *fetch);

/* Whether nginx works in the background of the request, for example updates
 * a cache after it gave a stale answer. */
ngx_uint_t ms_fetch_busy(ms_fetch_t *fetch);

/* Frees the request, ended or not. */
void ms_fetch_close(ms_fetch_t *fetch);


/* all of this worker */
extern ms_fetch_t  *ms_fetches;

/* From the configuration: the filters that take what fetches answer. */
void ms_fetch_filters(void);


#endif /* MS_TOKEN_INTERNAL_REQUEST_H */
