/*
 * myservice_metrics.
 */

#ifndef MS_OPERATOR_METRICS_H
#define MS_OPERATOR_METRICS_H


#include "core/counts.h"


typedef struct {
    ngx_uint_t               on;                /* some location has it */
    ngx_shm_zone_t          *counts;            /* of the gateway */
} ms_metrics_main_conf_t;

/* of an upstream */

typedef struct {
    ngx_shm_zone_t          *counts;            /* NULL: nothing is counted */
} ms_metrics_srv_conf_t;


/* the content handler */
ngx_int_t ms_metrics_handler(ngx_http_request_t *r);


extern ngx_module_t  ngx_http_myservice_metrics_module;


#endif /* MS_OPERATOR_METRICS_H */
