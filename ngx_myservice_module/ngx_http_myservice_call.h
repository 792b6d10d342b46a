/*
 * One call through the session balancer: claims an instance, follows the
 * upstream request, decides what may be sent again, settles the lease.
 */

#ifndef NGX_HTTP_MYSERVICE_CALL_H
#define NGX_HTTP_MYSERVICE_CALL_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "frames.h"

#include "ngx_http_myservice_replay.h"
#include "ngx_http_myservice_sessions.h"


/* how many of the instances that failed a call are not asked again */
#define NGX_HTTP_MYSERVICE_CALL_FAILED  16


typedef struct {
    ngx_http_request_t                      *request;
    ngx_http_myservice_sessions_srv_conf_t  *conf;
    ngx_http_myservice_sessions_loc_conf_t  *loc_conf;

    ms_pool_key_t                    key;
    ms_pool_terms_t                  terms;
    ms_pool_seek_t                   seek;
    ms_claim_t                       decision;
    ngx_http_myservice_grant_t       grant;     /* lease 0: nothing is held */
    ngx_msec_t                       touched;
    ngx_queue_t                      queue;     /* of the calls in flight */

    ngx_uint_t                       attempts;
    ngx_uint_t                       nfailed;
    uint32_t                         failed[NGX_HTTP_MYSERVICE_CALL_FAILED];
                                                /* instances, by this call */
    off_t                            dropped;   /* bytes of old frames */
    ms_frames_t                      frames;    /* of the attempt */
    ngx_http_myservice_replay_t      replay;
    ngx_buf_t                       *header;

    ngx_event_t                     *timer;     /* NULL: no limit so far */
    ngx_msec_t                       deadline;  /* of the client, if limited */
    ngx_msec_t                       begin;     /* of the attempt's answer */
    ngx_msec_t                       begin_limit;

    /* of the grpc module */
    ngx_int_t                      (*reinit_request)(ngx_http_request_t *r);
    ngx_int_t                      (*process_header)(ngx_http_request_t *r);
    void                           (*finalize_request)(ngx_http_request_t *r,
                                         ngx_int_t rc);
    ngx_int_t                      (*input_filter_init)(void *data);
    ngx_int_t                      (*input_filter)(void *data, ssize_t bytes);
    void                            *input_filter_ctx;

    /* of the request */
    unsigned                         fresh_again:1; /* same instance, tried */
    unsigned                         broken:1;      /* in mid-answer */
    unsigned                         resumable:1;   /* then it goes on */
    unsigned                         limited:1;     /* by "deadline" */
    unsigned                         aborted:1;     /* by us, not to go on */

    /* of the attempt */
    unsigned                         same:1;        /* keep the instance */
    unsigned                         conflict:1;
    unsigned                         leaving:1;     /* takes no calls */
    unsigned                         refused:1;     /* not processed */
    unsigned                         reset:1;       /* by RST_STREAM */
    unsigned                         forwarded:1;   /* bytes of its answer */
    unsigned                         begin_limited:1;  /* by "begin" */
    unsigned                         silent:1;      /* was so for too long */
} ngx_http_myservice_call_t;


/* peer.init of the balancer */
ngx_int_t ngx_http_myservice_call_init(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);

/* NULL if the request did not come to a balancer yet */
ngx_http_myservice_call_t *ngx_http_myservice_call_get(
    ngx_http_request_t *r);

/*
 * Whether the whole request can be sent a second time from its content
 * handler; if so, its body is put in place.
 */
ngx_int_t ngx_http_myservice_call_replay(ngx_http_myservice_call_t *call);

/* copies the request body on its way */
ngx_int_t ngx_http_myservice_call_body(ngx_http_request_t *r,
    ngx_chain_t *in);


#endif /* NGX_HTTP_MYSERVICE_CALL_H */
