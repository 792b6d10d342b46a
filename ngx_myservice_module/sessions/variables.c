
/*
 * Variables: what a call has asked for and got.  Subrequests have no instance,
 * they know that of the main request.
 */

#include "sessions/variables.h"

#include "answers/errors.h"
#include "core/variable.h"
#include "sessions/call_context.h"
#include "sessions/terms.h"
#include "wire/decimal.h"


static ngx_int_t ms_variable_instance(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ms_variable_decision(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ms_variable_attempts(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ms_variable_wait_time(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ms_variable_lease_age(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ms_variable_seconds(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, ngx_msec_t ms);


static ngx_http_variable_t  ms_variables[] = {

    { ngx_string("myservice_instance"), NULL,
      ms_variable_instance, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("myservice_decision"), NULL,
      ms_variable_decision, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("myservice_attempts"), NULL,
      ms_variable_attempts, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("myservice_wait_time"), NULL,
      ms_variable_wait_time, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("myservice_lease_age"), NULL,
      ms_variable_lease_age, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("myservice_session_ttl"), NULL,
      ms_terms_ttl_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("myservice_session_ends"), NULL,
      ms_terms_ends_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


static ngx_str_t  ms_variable_denied = ngx_string("DENIED");


ngx_int_t
ms_sessions_variables(ngx_conf_t *cf)
{
    return ms_variables_add(cf, ms_variables);
}


static ngx_int_t
ms_variable_instance(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ms_call_t  *call;

    call = ms_call_get(r->main);

    return ms_variable_set(v, call && call->grant.name.len ? &call->grant.name
                                                           : NULL);
}


static ngx_int_t
ms_variable_decision(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t  *decision;
    ms_call_t  *call;

    call = ms_call_get(r->main);
    decision = NULL;

    if (call && call->key.len && call->decision != MS_CLAIM_DENIED) {
        decision = ms_sessions_decision(call->decision);

    } else if (ms_errors_refused(r->main)) {
        decision = &ms_variable_denied;
    }

    return ms_variable_set(v, decision);
}


static ngx_int_t
ms_variable_attempts(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t   text;
    ms_call_t  *call;

    call = ms_call_get(r->main);

    if (call == NULL) {
        return ms_variable_set(v, NULL);
    }

    text.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (text.data == NULL) {
        return NGX_ERROR;
    }

    text.len = ms_decimal_write(text.data, call->asked) - text.data;

    return ms_variable_set(v, &text);
}


static ngx_int_t
ms_variable_wait_time(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ms_call_t  *call;

    call = ms_call_get(r->main);

    return call && call->asked ? ms_variable_seconds(r, v, call->waited)
                               : ms_variable_set(v, NULL);
}


static ngx_int_t
ms_variable_lease_age(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ms_call_t  *call;

    call = ms_call_get(r->main);

    return call && call->asked ? ms_variable_seconds(r, v, call->grant.age)
                               : ms_variable_set(v, NULL);
}


/* as nginx writes its own times */

static ngx_int_t
ms_variable_seconds(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    ngx_msec_t ms)
{
    u_char     *p;
    ngx_str_t   text;

    text.data = ngx_pnalloc(r->pool, MS_DECIMAL_LEN + 4);
    if (text.data == NULL) {
        return NGX_ERROR;
    }

    p = ms_decimal_write(text.data, ms / 1000);

    *p++ = '.';
    *p++ = '0' + ms / 100 % 10;
    *p++ = '0' + ms / 10 % 10;
    *p++ = '0' + ms % 10;

    text.len = p - text.data;

    return ms_variable_set(v, &text);
}
