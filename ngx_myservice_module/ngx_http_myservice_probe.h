/*
 * One health check: grpc.health.v1.Health/Check on a connection of its own,
 * with libnghttp2 as codec.
 *
 * The connection counts as idle and its timer is cancelable: a worker that
 * exits does not wait for it.
 */

#ifndef NGX_HTTP_MYSERVICE_PROBE_H
#define NGX_HTTP_MYSERVICE_PROBE_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>

#include "pool.h"


#define NGX_HTTP_MYSERVICE_PROBE_SERVICE_MAX  255


typedef struct ngx_http_myservice_probe_s  ngx_http_myservice_probe_t;

typedef void (*ngx_http_myservice_probe_pt)(
    ngx_http_myservice_probe_t *probe);

typedef struct {
    ngx_msec_t                    timeout;    /* of the whole check */
    ngx_str_t                     service;    /* empty: the server as such */
    ngx_http_myservice_probe_pt   handler;
} ngx_http_myservice_probe_conf_t;


/* what a finished check found; valid in the handler */

typedef struct {
    /*
     * NGX_OK: serving; NGX_DECLINED: not; NGX_ERROR: this worker could not
     * ask; NGX_ABORT: this worker is exiting
     */
    ngx_int_t                     rc;
    ngx_str_t                     name;       /* of the instance */
    ngx_str_t                     reason;     /* if not serving */

    unsigned                      silent:1;   /* nothing of its session can
                                                 be told from the answer */
    unsigned                      tells:1;    /* it has metadata about it */
    ngx_str_t                     session;    /* empty: none */
    ngx_msec_t                    sent;
} ngx_http_myservice_probe_result_t;


/* NULL if out of memory; "conf" must live as long as the probe */
ngx_http_myservice_probe_t *ngx_http_myservice_probe_create(
    ngx_http_myservice_probe_conf_t *conf, void *data);

/* who is checked; may be called under the lock of the zone */
void ngx_http_myservice_probe_peer(ngx_http_myservice_probe_t *probe,
    ms_instance_info_t *info);

/*
 * Starts the check.  The handler runs once, perhaps before this returns; the
 * probe is gone after that.
 */
void ngx_http_myservice_probe_start(ngx_http_myservice_probe_t *probe);

/* without the handler */
void ngx_http_myservice_probe_cancel(ngx_http_myservice_probe_t *probe);

void *ngx_http_myservice_probe_data(ngx_http_myservice_probe_t *probe);
ngx_http_myservice_probe_result_t *ngx_http_myservice_probe_result(
    ngx_http_myservice_probe_t *probe);


#endif /* NGX_HTTP_MYSERVICE_PROBE_H */
