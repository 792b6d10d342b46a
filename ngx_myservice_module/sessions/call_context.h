/*
 * The struct of a call, for all files of this room: how to find it, and
 * questions about it that change nothing.
 */

#ifndef MS_SESSIONS_CALL_CONTEXT_H
#define MS_SESSIONS_CALL_CONTEXT_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "wire/frames.h"
#include "wire/header_block.h"
#include "wire/messages.h"

#include "sessions/replay.h"
#include "sessions/sessions.h"


/* how many failed instances a call remembers in order not to try them again */
#define MS_CALL_FAILED  16


/* the calls of one session in flight in this worker, see calls.h */
typedef struct ms_flight_s  ms_flight_t;

typedef struct {
    ngx_http_request_t         *request;
    ms_sessions_srv_conf_t     *conf;
    ms_sessions_loc_conf_t     *loc_conf;

    ms_pool_key_t               key;
    ms_pool_terms_t             terms;
    ms_pool_seek_t              seek;
    ms_claim_t                  decision;
    ms_grant_t                  grant;          /* lease 0: nothing is held */
    uint64_t                    epoch;          /* that the attempt carries */
    uint64_t                    named;          /* what an instance names and is
                                                   not believed, 0: none, */
    uint32_t                    named_at;       /* and which one */
    ngx_msec_t                  assigned;       /* from the call's begin to
                                                   the claim of a new lease,
                                                   plus 1; 0: none */
    ngx_msec_t                  touched;
    ngx_queue_t                 queue;          /* in the list of calls in
                                                   flight */
    ngx_queue_t                 first;          /* of those with a tentative
                                                   lease; next NULL: not in it
                                                   */
    ms_flight_t                *flight;         /* NULL: the call is not
                                                   counted */

    ngx_uint_t                  asked;          /* attempts so far, those of
                                                   resumed streams included */
    ngx_msec_t                  waited;         /* from the request's begin to
                                                   its first instance */
    ngx_uint_t                  attempts;
    ngx_uint_t                  repeats;        /* attempts at the same
                                                   instance on new
                                                   connections */
    ngx_uint_t                  nfailed;
    uint32_t                    denied;         /* instance + 1 that denies
                                                   its session although it
                                                   names it in a conflict */
    uint32_t                    failed[MS_CALL_FAILED];
                                                /* instances */
    uint32_t                    suspects;       /* bits: those only
                                                   suspected */
    ms_frames_t                 frames;         /* what this attempt has
                                                   received */
    size_t                      taken;          /* bytes after the header
                                                   that were read together
                                                   with it */
    ms_messages_t               messages;       /* the client's, up to the
                                                   end of its first message */
    ngx_uint_t                  pauses;         /* before connecting again */
    ngx_msec_t                  pause;          /* the next or current one,
                                                   in milliseconds; 0: none */
    ngx_msec_t                  paused;         /* since the first refused
                                                   connect */
    ngx_str_t                  *gone;           /* why the gateway ended the
                                                   attempt, else NULL */
    ms_replay_t                 replay;
    ngx_buf_t                  *header;
    ms_block_t                  block;          /* inside "header" */
    ms_fields_t                 lasting;        /* the same for all calls of
                                                   the session; empty when
                                                   they are in the block */
    ms_fields_t                 fields;         /* appended to the block */
    ngx_str_t                  *fault;          /* in the answer, NULL: none */

    ngx_event_t                *timer;          /* NULL: no limit yet */
    ngx_msec_t                  deadline;       /* the client's, if limited */
    ngx_msec_t                  slack;          /* see ms_deadline_passed() */
    ngx_msec_t                  begin_deadline; /* of the attempt's answer */
    ngx_msec_t                  begin_limit;

    /* of the grpc module */
    ngx_int_t                 (*reinit_request)(ngx_http_request_t *r);
    ngx_int_t                 (*process_header)(ngx_http_request_t *r);
    void                      (*finalize_request)(ngx_http_request_t *r,
                                                       ngx_int_t rc);
    ngx_int_t                 (*input_filter_init)(void *data);
    ngx_int_t                 (*input_filter)(void *data, ssize_t bytes);
    void                       *input_filter_ctx;
    ngx_output_chain_filter_pt  output_filter;
    void                       *output_filter_ctx;

    /* of the request */
    unsigned                    broken:1;           /* in mid-answer */
    unsigned                    resumable:1;        /* the stream can be
                                                       resumed */
    unsigned                    limited:1;          /* by "deadline" */
    unsigned                    aborted:1;          /* by the gateway, for
                                                       good */
    unsigned                    message:1;          /* the first message or
                                                       the end of the body
                                                       arrived */
    unsigned                    ran:1;              /* an attempt that failed
                                                       may have run */
    unsigned                    outdated:1;         /* an instance has refused
                                                       it for its epoch */
    unsigned                    asks:1;             /* only whether the
                                                       instance still listens:
                                                       nothing is sent */

    /* of the attempt */
    unsigned                    moved:1;            /* at an instance that the
                                                       session may have moved
                                                       to */
    unsigned                    reuse_instance:1;   /* keep the instance */
    unsigned                    fresh:1;            /* needs a new
                                                       connection */
    unsigned                    looked:1;           /* the kept connection
                                                       was looked at before
                                                       writing */
    unsigned                    stale:1;            /* the connection had
                                                       ended */
    unsigned                    conflict:1;
    unsigned                    leaving:1;          /* the instance drains */
    unsigned                    refused:1;          /* not processed */
    unsigned                    reset:1;            /* by RST_STREAM */
    unsigned                    grpc:1;             /* the answer is gRPC */
    unsigned                    forwarded:1;        /* the client has bytes
                                                       of it */
    unsigned                    begin_limited:1;       /* "begin_limit"
                                                          counts */
    unsigned                    overdue:1;          /* no answer within the
                                                       limit */
} ms_call_t;


/* NULL if the request has not reached a balancer */
ms_call_t *ms_call_get(ngx_http_request_t *r);

/* whether "myservice_retry" lists the method: it may run twice */
ngx_uint_t ms_call_listed(ms_call_t *call);

/*
 * Whether the whole request can be sent a second time from its content
 * handler; if so, its body is put in place.
 */
ngx_int_t ms_call_replay(ms_call_t *call);

/*
 * The key of the lease: the verified session, or the value of the balancer's
 * expression.  NGX_OK, else as ms_metadata_session().
 */
ngx_int_t ms_call_key(ngx_http_request_t *r, ms_sessions_srv_conf_t *conf,
    ngx_str_t *session);

/* whether the session of the request has an instance */
ngx_uint_t ms_call_leased(ngx_http_request_t *r);

/* the epoch that the attempt carries, from now on call->epoch */
uint64_t ms_call_epoch(ms_call_t *call);


#endif /* MS_SESSIONS_CALL_CONTEXT_H */
