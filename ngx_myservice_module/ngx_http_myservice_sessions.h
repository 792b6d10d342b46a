/*
 * Configuration of the session balancer, as a call sees it.
 */

#ifndef NGX_HTTP_MYSERVICE_SESSIONS_H
#define NGX_HTTP_MYSERVICE_SESSIONS_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_myservice_zone.h"


typedef struct {
    ngx_http_complex_value_t       *key;          /* NULL: session id */
    ngx_http_complex_value_t       *expires;      /* NULL: none */
    ngx_http_myservice_zone_t      *zone;
    ngx_msec_t                      ttl;
    ngx_str_t                       ttl_text;     /* in milliseconds */
    ngx_msec_t                      lifetime;
    ngx_uint_t                      tries;
    ngx_array_t                    *release;      /* ngx_str_t: methods */
} ngx_http_myservice_sessions_srv_conf_t;


typedef struct {
    ngx_array_t                    *retry;        /* ngx_str_t: methods */
    ngx_msec_t                      retry_timeout;  /* 0: none */
    size_t                          replay_buffer;

    /* that the location passes to, NULL if to another upstream */
    ngx_http_myservice_sessions_srv_conf_t  *balancer;
} ngx_http_myservice_sessions_loc_conf_t;


/* the directive's parameters, from the array of its words */
char *ngx_http_myservice_sessions_parse(ngx_conf_t *cf,
    ngx_http_myservice_sessions_srv_conf_t *conf);

/* all zones, ngx_http_myservice_zone_t *; valid after configuration */
ngx_array_t *ngx_http_myservice_sessions_zones(ngx_http_request_t *r);

/* "HIT" and so on, by ms_claim_t */
ngx_str_t *ngx_http_myservice_sessions_decision(ngx_uint_t claim);


extern ngx_module_t  ngx_http_myservice_sessions_module;


#endif /* NGX_HTTP_MYSERVICE_SESSIONS_H */
