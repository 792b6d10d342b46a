
#include "ngx_http_myservice_lease.h"

#include "ngx_http_myservice_grpc.h"


/* seconds; what ends later does not end */
#define NGX_HTTP_MYSERVICE_LEASE_MAX  31536000

/* a token that is in its leeway is past its end; milliseconds */
#define NGX_HTTP_MYSERVICE_LEASE_MIN  1000


static ngx_int_t ngx_http_myservice_lease_left(ngx_http_request_t *r,
    ngx_http_myservice_sessions_srv_conf_t *conf, ngx_msec_t *left);
static ngx_int_t ngx_http_myservice_lease_msec(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, ngx_msec_t ms);


ngx_int_t
ngx_http_myservice_lease_terms(ngx_http_request_t *r,
    ngx_http_myservice_sessions_srv_conf_t *conf, ms_pool_terms_t *terms)
{
    ngx_int_t   rc;
    ngx_msec_t  left;

    ngx_http_myservice_lease_learned(conf, terms);

    rc = ngx_http_myservice_lease_left(r, conf, &left);

    if (rc == NGX_OK) {
        terms->ends = ngx_current_msec + left
                      + NGX_HTTP_MYSERVICE_LEASE_GRACE;
    }

    return rc == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


void
ngx_http_myservice_lease_learned(
    ngx_http_myservice_sessions_srv_conf_t *conf, ms_pool_terms_t *terms)
{
    /*
     * the instance counts from the end of a call, and a touch may be left out
     * here: a lease that ends later than the session it stands for never
     * sends a stranger into it
     */

    terms->ttl = conf->ttl + conf->ttl / 8;
    terms->lifetime = conf->lifetime
                      ? conf->lifetime + NGX_HTTP_MYSERVICE_LEASE_GRACE : 0;
    terms->ends = 0;
}


/* until "expires"; NGX_DECLINED if there is no such end */

static ngx_int_t
ngx_http_myservice_lease_left(ngx_http_request_t *r,
    ngx_http_myservice_sessions_srv_conf_t *conf, ngx_msec_t *left)
{
    time_t       seconds;
    ngx_str_t    value;
    ngx_time_t  *tp;

    if (conf->expires == NULL) {
        return NGX_DECLINED;
    }

    if (ngx_http_complex_value(r, conf->expires, &value) != NGX_OK) {
        return NGX_ERROR;
    }

    if (value.len == 0) {
        return NGX_DECLINED;
    }

    seconds = ngx_atotm(value.data, value.len);

    if (seconds == (time_t) NGX_ERROR) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "invalid value \"%V\" of \"expires\", expected seconds "
                      "since 1970", &value);
        return NGX_ERROR;
    }

    tp = ngx_timeofday();

    if (seconds > tp->sec + NGX_HTTP_MYSERVICE_LEASE_MAX) {
        return NGX_DECLINED;
    }

    *left = NGX_HTTP_MYSERVICE_LEASE_MIN;

    if (seconds > tp->sec + NGX_HTTP_MYSERVICE_LEASE_MIN / 1000) {
        *left = (ngx_msec_t) (seconds - tp->sec) * 1000 - tp->msec;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_myservice_lease_ttl_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_int_t                                rc;
    ngx_msec_t                               left;
    ngx_http_myservice_sessions_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_sessions_module);

    if (slcf->balancer == NULL) {
        return ngx_http_myservice_variable(v, NULL);
    }

    rc = ngx_http_myservice_lease_left(r, slcf->balancer, &left);

    if (rc != NGX_OK || left >= slcf->balancer->ttl) {
        return ngx_http_myservice_variable(v, &slcf->balancer->ttl_text);
    }

    return ngx_http_myservice_lease_msec(r, v, left);
}


ngx_int_t
ngx_http_myservice_lease_ends_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_msec_t                               left;
    ngx_http_myservice_sessions_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_sessions_module);

    if (slcf->balancer == NULL
        || ngx_http_myservice_lease_left(r, slcf->balancer, &left) != NGX_OK)
    {
        return ngx_http_myservice_variable(v, NULL);
    }

    return ngx_http_myservice_lease_msec(r, v, left);
}


static ngx_int_t
ngx_http_myservice_lease_msec(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, ngx_msec_t ms)
{
    ngx_str_t  text;

    text.data = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (text.data == NULL) {
        return NGX_ERROR;
    }

    text.len = ngx_sprintf(text.data, "%M", ms) - text.data;

    return ngx_http_myservice_variable(v, &text);
}
