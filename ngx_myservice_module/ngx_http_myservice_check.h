/*
 * The call of one health check, grpc.health.v1.Health/Check, as bytes of
 * HTTP/2; libnghttp2 is the codec.
 */

#ifndef NGX_HTTP_MYSERVICE_CHECK_H
#define NGX_HTTP_MYSERVICE_CHECK_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <nghttp2/nghttp2.h>

#include "pool.h"


#define NGX_HTTP_MYSERVICE_CHECK_SERVICE_MAX  255

/* a HealthCheckResponse is 7 bytes with its prefix */
#define NGX_HTTP_MYSERVICE_CHECK_MESSAGE      64


typedef struct {
    /*
     * NGX_OK: serving; NGX_DECLINED: not; NGX_ERROR: this worker could not
     * ask; NGX_ABORT: this worker is exiting
     */
    ngx_int_t                   rc;
    ngx_str_t                   name;         /* of the instance */
    ngx_str_t                   reason;       /* if it is not serving */

    unsigned                    silent:1;     /* nothing of its session can
                                                 be told from the answer */
    unsigned                    tells:1;      /* it has metadata about it */
    ngx_str_t                   session;      /* empty: none */
    ngx_msec_t                  left;         /* of it, 0: not told */
    ngx_msec_t                  sent;

    u_char                      name_buf[MS_POOL_NAME_MAX];
    u_char                      reason_buf[64];
    u_char                      session_buf[MS_POOL_SESSION_MAX];
} ngx_http_myservice_check_result_t;


typedef struct {
    ngx_http_myservice_check_result_t  *result;
    nghttp2_session            *session;

    /* the frame that nghttp2 gave and that did not fit yet */
    const uint8_t              *frame;
    size_t                      frame_len;

    size_t                      body_len;
    size_t                      body_sent;
    size_t                      message_len;

    ngx_int_t                   http_status;
    ngx_int_t                   grpc_status;
    uint32_t                    error;        /* of the stream */

    unsigned                    closed:1;     /* the stream */
    unsigned                    too_long:1;

    u_char                      body[5 + 1 + 2
                                  + NGX_HTTP_MYSERVICE_CHECK_SERVICE_MAX];
    u_char                      message[NGX_HTTP_MYSERVICE_CHECK_MESSAGE];
} ngx_http_myservice_check_t;


/* "check" is zeroed but for its result; to be freed in any case */
ngx_int_t ngx_http_myservice_check_start(ngx_http_myservice_check_t *check,
    ngx_str_t *authority, ngx_str_t *service, ngx_msec_t timeout,
    ngx_uint_t tls);
void ngx_http_myservice_check_free(ngx_http_myservice_check_t *check);

/* fills the buffer with what is to be sent */
ngx_int_t ngx_http_myservice_check_output(ngx_http_myservice_check_t *check,
    ngx_buf_t *b);

/* NGX_DONE when the call has ended: the result says how */
ngx_int_t ngx_http_myservice_check_input(ngx_http_myservice_check_t *check,
    u_char *p, size_t len);

/* NGX_DECLINED, with the reason */
void ngx_http_myservice_check_failed(
    ngx_http_myservice_check_result_t *result, const char *fmt, ngx_int_t n);


#endif /* NGX_HTTP_MYSERVICE_CHECK_H */
