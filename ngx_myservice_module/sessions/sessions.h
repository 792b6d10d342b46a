/*
 * Configuration of the session balancer.
 */

#ifndef MS_SESSIONS_SESSIONS_H
#define MS_SESSIONS_SESSIONS_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "sessions/lasting.h"
#include "zone/zone.h"


typedef struct {
    ngx_http_complex_value_t  *key;               /* NULL: session id */
    ngx_http_complex_value_t  *expires;           /* NULL: none */
    ms_zone_t                 *zone;
    ngx_msec_t                 ttl;
    ngx_msec_t                 grace;             /* added to ttl */
    ngx_str_t                  ttl_text;          /* in milliseconds */
    ngx_msec_t                 lifetime;
    ngx_msec_t                 drain;             /* 0: as long as the lease */
    ngx_uint_t                 tries;
    ngx_uint_t                 learn_always;
    ngx_uint_t                 tells;             /* a loss: "fail" */
    ngx_msec_t                 pushback;          /* 0: nothing is said */
    ngx_array_t               *release;           /* ngx_str_t: methods */
} ms_sessions_srv_conf_t;


typedef struct {
    ngx_array_t             *retry;               /* ngx_str_t: methods */
    ngx_msec_t               retry_timeout;         /* 0: none */
    size_t                   replay_buffer;

    /* the balancer of the location's upstream, NULL if it has none */
    ms_sessions_srv_conf_t  *balancer;
    ms_lasting_conf_t        lasting;
} ms_sessions_loc_conf_t;


/* the directive's parameters, from the array of its words */
char *ms_sessions_parse(ngx_conf_t *cf, ms_sessions_srv_conf_t *conf);

/* refuses a location that passes to the upstream by other modules than grpc */
ngx_int_t ms_sessions_other_pass(ngx_conf_t *cf);

/*
 * after configuration: whether another load balancing method took the upstream
 */
ngx_uint_t ms_sessions_method_replaced(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us);

/* logs which one it is */
void ms_sessions_refuse_method(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us);

/* all zones, ms_zone_t *; valid after configuration */
ngx_array_t *ms_sessions_zones(ngx_http_request_t *r);

/* "HIT" and so on, by ms_claim_t */
ngx_str_t *ms_sessions_decision(ngx_uint_t claim);


extern ngx_module_t  ngx_http_myservice_sessions_module;


#endif /* MS_SESSIONS_SESSIONS_H */
