/*
 * One health check on a connection of its own.  The connection counts as
 * idle and its timer is cancelable: a worker that exits does not wait for it.
 */

#ifndef NGX_HTTP_MYSERVICE_PROBE_H
#define NGX_HTTP_MYSERVICE_PROBE_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_myservice_check.h"


typedef struct ngx_http_myservice_probe_s  ngx_http_myservice_probe_t;

typedef void (*ngx_http_myservice_probe_pt)(
    ngx_http_myservice_probe_t *probe);

typedef struct {
    ngx_msec_t                    timeout;    /* of the whole check */
    ngx_str_t                     service;    /* empty: the server as such */
    ngx_http_myservice_probe_pt   handler;

    /* of a location that passes with TLS; NULL: without */
    ngx_http_upstream_conf_t     *tls;
    ngx_str_t                     tls_name;   /* ends with a zero byte */
} ngx_http_myservice_probe_conf_t;


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

/* in the handler */
void *ngx_http_myservice_probe_data(ngx_http_myservice_probe_t *probe);
ngx_http_myservice_check_result_t *ngx_http_myservice_probe_result(
    ngx_http_myservice_probe_t *probe);


#endif /* NGX_HTTP_MYSERVICE_PROBE_H */
