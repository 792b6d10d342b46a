/*
 * One probe on a connection of its own.  The connection counts as idle and its
 * timer is cancelable: a worker that exits does not wait for a probe.
 */

#ifndef MS_HEALTH_PROBE_H
#define MS_HEALTH_PROBE_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "health/exchange.h"


typedef struct ms_probe_s  ms_probe_t;

typedef void (*ms_probe_pt)(ms_probe_t *probe);

typedef struct {
    ngx_msec_t                 timeout;       /* of the whole probe */
    ngx_str_t                  service;       /* empty: the server as such */
    ms_probe_pt                handler;

    /* of a location that passes with TLS; NULL: without */
    ngx_http_upstream_conf_t  *tls;
    ngx_str_t                  tls_name;      /* ends with a zero byte */
} ms_probe_conf_t;


/* NULL if out of memory; "conf" must live as long as the probe */
ms_probe_t *ms_probe_create(ms_probe_conf_t *conf, void *data);

/* the instance to probe; may be called under the lock of the zone */
void ms_probe_peer(ms_probe_t *probe, ms_instance_info_t *info);

/* asks the instance to forget its session; under the lock, too */
void ms_probe_elsewhere(ms_probe_t *probe, ms_instance_info_t *info);

/*
 * Starts the probe.  The handler runs once, perhaps before this returns; the
 * probe is freed after that.
 */
void ms_probe_start(ms_probe_t *probe);

/* without the handler */
void ms_probe_cancel(ms_probe_t *probe);

/* in the handler */
void *ms_probe_data(ms_probe_t *probe);
ms_exchange_result_t *ms_probe_result(ms_probe_t *probe);


#endif /* MS_HEALTH_PROBE_H */
