
/*
 * Builds the lists by which the grpc module drops, hides and passes fields.
 */

#include "sessions/pass.h"

#include "core/compat.h"
#include "core/metadata.h"


/* fields by which an upstream orders nginx about; an instance may not */
#define MS_PASS_IGNORE                                                        \
    (NGX_CONF_BITMASK_SET                                                     \
     |NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT                                       \
     |NGX_HTTP_UPSTREAM_IGN_XA_EXPIRES                                        \
     |NGX_HTTP_UPSTREAM_IGN_XA_LIMIT_RATE                                     \
     |NGX_HTTP_UPSTREAM_IGN_XA_BUFFERING                                      \
     |NGX_HTTP_UPSTREAM_IGN_XA_CHARSET)


static ngx_array_t *ms_pass_headers(ngx_conf_t *cf, ngx_array_t *source,
    ms_lasting_conf_t *lasting);
static ngx_int_t ms_pass_take(ngx_array_t *headers, ngx_array_t *source,
    ngx_str_t *name);
static ngx_int_t ms_pass_drop(ngx_conf_t *cf, ngx_array_t *headers,
    ngx_str_t *name);
static ngx_array_t *ms_pass_hide(ngx_conf_t *cf, ngx_array_t *names);
static ngx_array_t *ms_pass_allow(ngx_conf_t *cf, ngx_array_t *names);
static ngx_uint_t ms_pass_hidden(ngx_str_t *name);


/* what instances say to the gateway alone */

static ngx_str_t  ms_pass_names[] = {
    ngx_string("session-owner"),
    ngx_string("session-leaving"),
    ngx_string("session-left"),
    ngx_string("session-calls"),
    ngx_string("session-drain"),
    ngx_string("session-subject"),
    ngx_string("session-start"),
    ngx_string("session-epoch"),
    ngx_string("session-decision"),
    ngx_string("x-accel-redirect"),
    ngx_string("x-accel-expires"),
    ngx_string("x-accel-limit-rate"),
    ngx_string("x-accel-buffering"),
    ngx_string("x-accel-charset"),
    ngx_null_string
};


/* no part of gRPC, but sent by the grpc module where it knows the length */

static ngx_str_t  ms_pass_length = ngx_string("content-length");


extern ngx_module_t  ngx_http_grpc_module;


/*
 * The grpc module compiles its lists itself, out of another configuration: the
 * one of the location was inherited from, or by, other locations.
 */

ngx_int_t
ms_pass_guard(ngx_conf_t *cf, ms_lasting_conf_t *lasting)
{
    ngx_http_module_t         *grpc;
    ngx_http_upstream_conf_t  *ucf;
    ms_compat_loc_conf_t      *glcf, *prev, *conf;

    glcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_grpc_module);
    grpc = ngx_http_grpc_module.ctx;

    prev = grpc->create_loc_conf(cf);
    conf = grpc->create_loc_conf(cf);

    if (prev == NULL || conf == NULL) {
        return NGX_ERROR;
    }

    ucf = &conf->upstream;

    conf->headers_source = ms_pass_headers(cf, glcf->headers_source, lasting);
    ucf->hide_headers = ms_pass_hide(cf, glcf->upstream.hide_headers);
    ucf->pass_headers = ms_pass_allow(cf, glcf->upstream.pass_headers);

    if (conf->headers_source == NULL || ucf->hide_headers == NULL
        || ucf->pass_headers == NULL
        || grpc->merge_loc_conf(cf, prev, conf) != NGX_CONF_OK)
    {
        return NGX_ERROR;
    }

    glcf->headers = conf->headers;
    glcf->upstream.hide_headers_hash = ucf->hide_headers_hash;
    glcf->upstream.ignore_headers |= MS_PASS_IGNORE;

    return NGX_OK;
}


/*
 * a "grpc_set_header" of a reserved name; one without value drops what the
 * client sent
 */

static ngx_array_t *
ms_pass_headers(ngx_conf_t *cf, ngx_array_t *source,
    ms_lasting_conf_t *lasting)
{
    ngx_str_t                 *name;
    ngx_uint_t                 i;
    ngx_array_t               *headers;
    ngx_keyval_t              *from, *to;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    headers = ngx_array_create(cf->pool, 16, sizeof(ngx_keyval_t));
    if (headers == NULL) {
        return NULL;
    }

    from = source ? source->elts : NULL;

    for (i = 0; source && i < source->nelts; i++) {

        if (ms_metadata_reserved(&from[i].key)) {
            ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                               "\"grpc_set_header %V\" in location \"%V\" is "
                               "ignored: \"myservice_sessions\" sends this "
                               "itself", &from[i].key, &clcf->name);
            continue;
        }

        to = ngx_array_push(headers);
        if (to == NULL) {
            return NULL;
        }

        *to = from[i];
    }

    for (name = ms_metadata_reserved_names; name->len; name++) {
        if (ms_pass_drop(cf, headers, name) != NGX_OK) {
            return NULL;
        }
    }

    for (i = 0; ms_lasting_names[i].len; i++) {

        switch (ms_pass_take(headers, source, &ms_lasting_names[i])) {

        case NGX_OK:
            ms_lasting_take(lasting, i);
            break;

        case NGX_ERROR:
            return NULL;
        }
    }

    /* END_STREAM says where a body ends */

    if (ms_pass_take(headers, source, &ms_pass_length) == NGX_ERROR) {
        return NULL;
    }

    return headers;
}


/* drops the name alone; NGX_DECLINED: a "grpc_set_header" has set it */

static ngx_int_t
ms_pass_take(ngx_array_t *headers, ngx_array_t *source, ngx_str_t *name)
{
    ngx_uint_t     i;
    ngx_keyval_t  *kv;

    kv = source ? source->elts : NULL;

    for (i = 0; source && i < source->nelts; i++) {
        if (kv[i].key.len == name->len
            && ngx_strncasecmp(kv[i].key.data, name->data, name->len) == 0)
        {
            return NGX_DECLINED;
        }
    }

    kv = ngx_array_push(headers);
    if (kv == NULL) {
        return NGX_ERROR;
    }

    kv->key = *name;
    ngx_str_set(&kv->value, "");

    return NGX_OK;
}


/* the name, and with "_" for "-" */

static ngx_int_t
ms_pass_drop(ngx_conf_t *cf, ngx_array_t *headers, ngx_str_t *name)
{
    ngx_uint_t     i;
    ngx_keyval_t  *kv;

    kv = ngx_array_push_n(headers, 2);
    if (kv == NULL) {
        return NGX_ERROR;
    }

    kv[0].key = *name;
    ngx_str_set(&kv[0].value, "");

    kv[1] = kv[0];
    kv[1].key.data = ngx_pstrdup(cf->pool, name);

    if (kv[1].key.data == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < name->len; i++) {
        if (name->data[i] == '-') {
            kv[1].key.data[i] = '_';
        }
    }

    return NGX_OK;
}


/* of "grpc_hide_header" */

static ngx_array_t *
ms_pass_hide(ngx_conf_t *cf, ngx_array_t *names)
{
    ngx_str_t    *name, *hide;
    ngx_uint_t    i;
    ngx_array_t  *headers;

    headers = ngx_array_create(cf->pool, 16, sizeof(ngx_str_t));
    if (headers == NULL) {
        return NULL;
    }

    for (name = ms_pass_names; name->len; name++) {

        hide = ngx_array_push(headers);
        if (hide == NULL) {
            return NULL;
        }

        *hide = *name;
    }

    if (names == NULL || names == NGX_CONF_UNSET_PTR) {
        return headers;
    }

    name = names->elts;

    for (i = 0; i < names->nelts; i++) {

        hide = ngx_array_push(headers);
        if (hide == NULL) {
            return NULL;
        }

        *hide = name[i];
    }

    return headers;
}


/* of "grpc_pass_header" */

static ngx_array_t *
ms_pass_allow(ngx_conf_t *cf, ngx_array_t *names)
{
    ngx_str_t    *name, *pass;
    ngx_uint_t    i;
    ngx_array_t  *headers;

    headers = ngx_array_create(cf->pool, 4, sizeof(ngx_str_t));

    if (headers == NULL || names == NULL || names == NGX_CONF_UNSET_PTR) {
        return headers;
    }

    name = names->elts;

    for (i = 0; i < names->nelts; i++) {

        if (ms_pass_hidden(&name[i])) {
            continue;
        }

        pass = ngx_array_push(headers);
        if (pass == NULL) {
            return NULL;
        }

        *pass = name[i];
    }

    return headers;
}


static ngx_uint_t
ms_pass_hidden(ngx_str_t *name)
{
    ngx_str_t  *hide;

    for (hide = ms_pass_names; hide->len; hide++) {
        if (name->len == hide->len
            && ngx_strncasecmp(name->data, hide->data, hide->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}
