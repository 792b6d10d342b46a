/*
 * What a balancer wants of "myservice_multiplex" in its upstream.
 */

#ifndef MS_HTTP2_MULTIPLEX_H
#define MS_HTTP2_MULTIPLEX_H


#include "http2/mux.h"


/* from a configuration: the handler runs in a worker when an instance has
 * ended a connection that had no calls */
void ms_multiplex_at_end(ngx_http_upstream_srv_conf_t *us,
    ms_mux_end_pt handler, void *data);


#endif /* MS_HTTP2_MULTIPLEX_H */
