/*
 * The call of one probe, grpc.health.v1.Health/Check, as bytes of HTTP/2;
 * libnghttp2 is the codec.  health/probe.c sends and receives the bytes.
 */

#ifndef MS_HEALTH_EXCHANGE_H
#define MS_HEALTH_EXCHANGE_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <nghttp2/nghttp2.h>

#include "pool/pool.h"


#define MS_EXCHANGE_SERVICE_MAX  255
#define MS_EXCHANGE_PROCESS_MAX  64   /* bytes of "instance-id" */

/* a HealthCheckResponse is 7 bytes with its prefix; it may have more fields */
#define MS_EXCHANGE_MESSAGE      4096


typedef struct {
    /*
     * NGX_OK: serving; NGX_DECLINED: not; NGX_ERROR: this worker could not
     * probe; NGX_ABORT: this worker is exiting
     */
    ngx_int_t                   rc;
    ngx_str_t                   name;         /* of the instance */
    ngx_str_t                   reason;       /* if it is not serving */

    unsigned                    unanswered:1; /* refused, broken, timed out */
    unsigned                    timed_out:1;
    unsigned                    unreported:1; /* the answer does not say if
                                                 there is a session */
    unsigned                    reports_session:1;
                                              /* it has that metadata */
    unsigned                    drain:1;      /* it wants no new session */
    unsigned                    has_subject:1;
    ngx_str_t                   process;      /* empty: not reported */
    ngx_str_t                   session;      /* empty: none */
    ngx_msec_t                  left;         /* of it, 0: not reported */
    uint64_t                    epoch;        /* the highest that it knows, 0:
                                                 not reported */
    ngx_msec_t                  sent;

    ngx_str_t                   elsewhere;    /* a session that the instance
                                                 shall forget */

    u_char                      subject[MS_POOL_SUBJECT];
    u_char                      name_buf[MS_POOL_NAME_MAX];
    u_char                      reason_buf[64];
    u_char                      process_buf[MS_EXCHANGE_PROCESS_MAX];
    u_char                      session_buf[MS_POOL_SESSION_MAX];
    u_char                      elsewhere_buf[MS_POOL_SESSION_MAX];
} ms_exchange_result_t;


typedef struct {
    ms_exchange_result_t  *result;
    nghttp2_session       *session;

    /* the frame that nghttp2 gave and that did not fit yet */
    const uint8_t         *frame;
    size_t                 frame_len;

    size_t                 body_len;
    size_t                 body_sent;
    size_t                 message_len;

    ngx_int_t              http_status;
    ngx_int_t              grpc_status;
    uint32_t               error;             /* of the stream */

    unsigned               closed:1;          /* the stream */
    unsigned               head:1;            /* in the answer's header */
    unsigned               too_long:1;

    u_char                 body[5 + 1 + 2 + MS_EXCHANGE_SERVICE_MAX];
    u_char                 message[MS_EXCHANGE_MESSAGE];
} ms_exchange_t;


/* "exchange" is zeroed but for its result; to be freed in any case */
ngx_int_t ms_exchange_start(ms_exchange_t *exchange, ngx_str_t *authority,
    ngx_str_t *service, ngx_msec_t timeout, ngx_uint_t tls);
void ms_exchange_free(ms_exchange_t *exchange);

/* fills the buffer with what is to be sent */
ngx_int_t ms_exchange_output(ms_exchange_t *exchange, ngx_buf_t *b);

/* NGX_DONE when the call has ended: the result says how */
ngx_int_t ms_exchange_input(ms_exchange_t *exchange, u_char *p, size_t len);

/* NGX_DECLINED, with the reason */
void ms_exchange_failed(ms_exchange_result_t *result, const char *fmt,
    ngx_int_t n);


#endif /* MS_HEALTH_EXCHANGE_H */
