/*
 * Fetches: the request that nginx is given, and when it is made.  Private to
 * jwt_fetch and jwt_request.
 */

#ifndef NGX_HTTP_MYSERVICE_JWT_FETCH_H
#define NGX_HTTP_MYSERVICE_JWT_FETCH_H


#include "ngx_http_myservice_jwt.h"

#include <sys/un.h>


struct ngx_http_myservice_jwt_fetch_s {

    /* first: events are expected to belong to a connection */
    ngx_connection_t            connection;

    ngx_http_myservice_jwt_keyring_t  *keyring;
    ngx_http_myservice_jwt_store_t    *store;
    ngx_log_t                  *log;            /* of the cycle */

    ngx_event_t                 next;           /* when to fetch again */
    ngx_event_t                 limit;          /* when to give up */
    ngx_event_t                 done;

    ngx_uint_t                  count;          /* fetches that ended */
    ngx_uint_t                  failures;       /* since the last success */
    ngx_msec_t                  started;

    /* of the fetch under way */

    ngx_http_request_t         *request;
    ngx_http_request_t         *subrequest;
    u_char                     *text;           /* from malloc() */
    size_t                      len;
    size_t                      size;
    ngx_int_t                   rc;
    ngx_uint_t                  status;         /* of HTTP */
    const char                 *failed;         /* why, or NULL */
    unsigned                    ended:1;
    unsigned                    taken:1;        /* the outcome */

    ngx_event_t                 read;
    ngx_event_t                 write;
    ngx_log_t                   request_log;
    ngx_http_log_ctx_t          log_ctx;
    ngx_http_connection_t       http;
    struct sockaddr_un          address;

    ngx_http_myservice_jwt_fetch_t  *link;      /* of all in this worker */
};


/* jwt_request */

/* Makes the request, which runs from ngx_http_run_posted_requests() and posts
 * fetch->done when it has ended or failed.  NGX_ERROR: there is no memory. */
ngx_int_t ngx_http_myservice_jwt_fetch_open(
    ngx_http_myservice_jwt_fetch_t *fetch);

/* Whether a thread has to do with it, which must not be closed then. */
ngx_uint_t ngx_http_myservice_jwt_fetch_blocked(
    ngx_http_myservice_jwt_fetch_t *fetch);

/* Whether nginx does something in the background of it, as to update a cache
 * whose stale answer it gave. */
ngx_uint_t ngx_http_myservice_jwt_fetch_busy(
    ngx_http_myservice_jwt_fetch_t *fetch);

/* Frees what there is of it, ended or not. */
void ngx_http_myservice_jwt_fetch_close(
    ngx_http_myservice_jwt_fetch_t *fetch);


/* jwt_fetch: all of this worker */
extern ngx_http_myservice_jwt_fetch_t  *ngx_http_myservice_jwt_fetches;


#endif /* NGX_HTTP_MYSERVICE_JWT_FETCH_H */
