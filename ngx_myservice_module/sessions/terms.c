
/* Computes when a lease ends, and encodes that for the instance. */

#include "sessions/terms.h"

#include "core/log.h"
#include "core/metadata.h"
#include "core/upgrade.h"
#include "core/variable.h"
#include "wire/decimal.h"


/* seconds; a later end is no end */
#define MS_TERMS_MAX  31536000

/* milliseconds; a token within its leeway is already past its end */
#define MS_TERMS_MIN  1000


static void ms_terms_usual(ms_sessions_srv_conf_t *conf,
    ms_pool_terms_t *terms);
static ngx_int_t ms_terms_left(ngx_http_request_t *r,
    ms_sessions_srv_conf_t *conf, ngx_msec_t *left);
static void ms_terms_field(ms_lasting_t *to, ngx_str_t *name, ngx_msec_t ms);
static ngx_int_t ms_terms_msec(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, ngx_msec_t ms);


static ngx_str_t  ms_terms_id = ngx_string("session-id");
static ngx_str_t  ms_terms_ttl = ngx_string("session-ttl");
static ngx_str_t  ms_terms_ends = ngx_string("session-ends");
static ngx_str_t  ms_terms_subject = ngx_string("session-subject");


ngx_int_t
ms_terms_terms(ngx_http_request_t *r, ms_sessions_srv_conf_t *conf,
    ms_pool_terms_t *terms)
{
    ngx_int_t   rc;
    ngx_msec_t  left;

    ms_terms_usual(conf, terms);

    terms->subject = ms_metadata_subject(r);

    rc = ms_terms_left(r, conf, &left);

    if (rc == NGX_OK) {
        terms->ends = ngx_current_msec + left + MS_TERMS_GRACE;
    }

    return rc == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


void
ms_terms_learned(ms_sessions_srv_conf_t *conf, ms_pool_terms_t *terms)
{
    ms_terms_usual(conf, terms);

    terms->grace = conf->grace;
    terms->routes = conf->learn_always
                    || ms_zone_learns(conf->zone, conf->ttl)
                    || ms_upgrading();
}


static void
ms_terms_usual(ms_sessions_srv_conf_t *conf, ms_pool_terms_t *terms)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    /*
     * The instance counts its idle time from the end of a call, and the
     * gateway may skip a renewal. The lease must never end before the instance
     * forgets the session, or a stranger would meet that session's state.
     */

    ngx_memzero(terms, sizeof(ms_pool_terms_t));

    terms->ttl = conf->ttl + conf->grace;
    terms->lifetime = conf->lifetime ? conf->lifetime + MS_TERMS_GRACE : 0;
    terms->call_every = 0;
    terms->tentative = 0;
    terms->tells = conf->tells & 1;
    terms->clock = ((uint64_t) tp->sec * 1000 + tp->msec) * 1000;
}


/* until "expires"; NGX_DECLINED if there is no such end */

static ngx_int_t
ms_terms_left(ngx_http_request_t *r, ms_sessions_srv_conf_t *conf,
    ngx_msec_t *left)
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
        ms_log_error(NGX_LOG_ERR, r->connection->log, 0,
                     "invalid value \"%V\" of \"expires\", expected seconds "
                     "since 1970", &value);
        return NGX_ERROR;
    }

    tp = ngx_timeofday();

    if (seconds > tp->sec + MS_TERMS_MAX) {
        return NGX_DECLINED;
    }

    *left = MS_TERMS_MIN;

    if (seconds > tp->sec + MS_TERMS_MIN / 1000) {
        *left = (ngx_msec_t) (seconds - tp->sec) * 1000 - tp->msec;
    }

    return NGX_OK;
}


size_t
ms_terms_size(ms_pool_key_t *key)
{
    return ms_field_max(ms_terms_id.len, key->len)
           + ms_field_max(ms_terms_ttl.len, NGX_INT64_LEN)
           + ms_field_max(ms_terms_ends.len, NGX_INT64_LEN)
           + ms_field_max(ms_terms_subject.len, 2 * MS_POOL_SUBJECT);
}


void
ms_terms_fields(ms_sessions_srv_conf_t *conf, ms_pool_key_t *key,
    ms_pool_terms_t *terms, ms_lasting_t *to)
{
    u_char      subject[2 * MS_POOL_SUBJECT];
    ngx_msec_t  left;

    ms_lasting_put(to, &ms_terms_id, key->session, key->len);

    if (terms->subject) {
        (void) ngx_hex_dump(subject, (u_char *) terms->subject,
                            MS_POOL_SUBJECT);

        ms_lasting_put(to, &ms_terms_subject, subject, sizeof(subject));
    }

    left = conf->ttl;

    if (terms->ends) {
        left = terms->ends - MS_TERMS_GRACE - ngx_current_msec;

        ms_terms_field(to, &ms_terms_ends, left);
    }

    if (left < conf->ttl) {
        ms_terms_field(to, &ms_terms_ttl, left);

    } else {
        ms_lasting_put(to, &ms_terms_ttl, conf->ttl_text.data,
                       conf->ttl_text.len);
    }
}


/* one that changes with each call */

static void
ms_terms_field(ms_lasting_t *to, ngx_str_t *name, ngx_msec_t ms)
{
    u_char        text[NGX_INT64_LEN];
    ms_fields_t  *fields;

    fields = to->fields;

    fields->len = ms_field_write(fields->data + fields->len, name->data,
                                 name->len, text,
                                 ms_decimal_write(text, ms) - text)
                  - fields->data;
}


ngx_int_t
ms_terms_ttl_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_int_t                rc;
    ngx_msec_t               left;
    ms_sessions_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_sessions_module);

    if (slcf->balancer == NULL) {
        return ms_variable_set(v, NULL);
    }

    rc = ms_terms_left(r, slcf->balancer, &left);

    if (rc != NGX_OK || left >= slcf->balancer->ttl) {
        return ms_variable_set(v, &slcf->balancer->ttl_text);
    }

    return ms_terms_msec(r, v, left);
}


ngx_int_t
ms_terms_ends_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_msec_t               left;
    ms_sessions_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_sessions_module);

    if (slcf->balancer == NULL
        || ms_terms_left(r, slcf->balancer, &left) != NGX_OK)
    {
        return ms_variable_set(v, NULL);
    }

    return ms_terms_msec(r, v, left);
}


static ngx_int_t
ms_terms_msec(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    ngx_msec_t ms)
{
    ngx_str_t  text;

    text.data = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (text.data == NULL) {
        return NGX_ERROR;
    }

    text.len = ngx_sprintf(text.data, "%M", ms) - text.data;

    return ms_variable_set(v, &text);
}
