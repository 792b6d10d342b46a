
#include "ngx_http_myservice_grpc.h"

#include "percent.h"


typedef struct {
    ngx_uint_t        status;
    ngx_uint_t        code;
    ngx_str_t         message;
} ngx_http_myservice_http_status_t;


/* subrequests share the pool, and have contexts of their own */

typedef struct {
    ngx_pool_cleanup_t   cln;           /* the context follows */
    ngx_http_request_t  *request;
} ngx_http_myservice_ctx_owner_t;


/*
 * https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md,
 * and 413: a message over a limit is RESOURCE_EXHAUSTED in gRPC
 */

static ngx_http_myservice_http_status_t  ngx_http_myservice_http_statuses[] = {

    { NGX_HTTP_BAD_REQUEST, NGX_HTTP_MYSERVICE_INTERNAL,
      ngx_string("bad request") },
    { NGX_HTTP_UNAUTHORIZED, NGX_HTTP_MYSERVICE_UNAUTHENTICATED,
      ngx_string("unauthenticated") },
    { NGX_HTTP_FORBIDDEN, NGX_HTTP_MYSERVICE_PERMISSION_DENIED,
      ngx_string("forbidden") },
    { NGX_HTTP_NOT_FOUND, NGX_HTTP_MYSERVICE_UNIMPLEMENTED,
      ngx_string("method not routed") },
    { NGX_HTTP_REQUEST_ENTITY_TOO_LARGE, NGX_HTTP_MYSERVICE_RESOURCE_EXHAUSTED,
      ngx_string("request message is too large") },
    { NGX_HTTP_TOO_MANY_REQUESTS, NGX_HTTP_MYSERVICE_UNAVAILABLE,
      ngx_string("too many requests") },
    { NGX_HTTP_BAD_GATEWAY, NGX_HTTP_MYSERVICE_UNAVAILABLE,
      ngx_string("service unavailable") },
    { NGX_HTTP_SERVICE_UNAVAILABLE, NGX_HTTP_MYSERVICE_UNAVAILABLE,
      ngx_string("service unavailable") },
    { NGX_HTTP_GATEWAY_TIME_OUT, NGX_HTTP_MYSERVICE_UNAVAILABLE,
      ngx_string("service unavailable") },

    { 0, NGX_HTTP_MYSERVICE_UNKNOWN, ngx_string("unexpected http status") }
};


static ngx_int_t ngx_http_myservice_method(ngx_conf_t *cf, ngx_str_t *value,
    ngx_str_t *method);


ngx_uint_t
ngx_http_myservice_is_grpc(ngx_http_request_t *r)
{
    u_char           *p;
    ngx_table_elt_t  *h;

    static const size_t  len = sizeof("application/grpc") - 1;

    h = r->headers_in.content_type;

    if (h == NULL || r->http_version < NGX_HTTP_VERSION_20
        || h->value.len < len
        || (ngx_memcmp(h->value.data, "application/grpc", len) != 0
            && ngx_strncasecmp(h->value.data, (u_char *) "application/grpc",
                               len)
               != 0))
    {
        return 0;
    }

    p = h->value.data + len;

    return h->value.len == len || *p == '+' || *p == ';';
}


ngx_table_elt_t *
ngx_http_myservice_find_header(ngx_list_t *headers, const char *name,
    size_t len)
{
    u_char           *key;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &headers->part; part; part = part->next) {

        h = part->elts;

        if (h == NULL) {
            return NULL;
        }

        for (i = 0; i < part->nelts; i++) {

            key = h[i].key.data;

            /* in lower case already, but for clients of HTTP/1 */

            if (h[i].key.len == len && h[i].hash
                && (key[0] | 0x20) == (name[0] | 0x20)
                && (ngx_memcmp(key, name, len) == 0
                    || ngx_strncasecmp(key, (u_char *) name, len) == 0))
            {
                return &h[i];
            }
        }
    }

    return NULL;
}


ngx_int_t
ngx_http_myservice_add_header(ngx_list_t *headers, const char *key,
    ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    /* there is h->next since 1.23.0 */

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key.data = (u_char *) key;
    h->key.len = ngx_strlen(key);
    h->lowcase_key = h->key.data;
    h->value = *value;

    return NGX_OK;
}


ngx_int_t
ngx_http_myservice_send_header(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    r->headers_out.status = NGX_HTTP_OK;
    ngx_str_set(&r->headers_out.content_type, "application/grpc");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;
    ngx_http_clear_content_length(r);

    r->expect_trailers = 1;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc == NGX_OK ? NGX_ERROR : rc;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_myservice_add_status(ngx_http_request_t *r, ngx_list_t *headers,
    ngx_uint_t code, ngx_str_t *message)
{
    ngx_str_t  value;

    value.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN + 3 * message->len);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    value.len = ngx_sprintf(value.data, "%ui", code) - value.data;

    if (ngx_http_myservice_add_header(headers, "grpc-status", &value)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (message->len == 0) {
        return NGX_OK;
    }

    value.data += value.len;
    value.len = ms_percent_encode(value.data, message->data, message->len);

    return ngx_http_myservice_add_header(headers, "grpc-message", &value);
}


ngx_table_elt_t *
ngx_http_myservice_upstream_status(ngx_http_upstream_t *u, const char *name,
    size_t len)
{
    ngx_table_elt_t  *h;

    h = ngx_http_myservice_find_header(&u->headers_in.trailers, name, len);

    if (h == NULL) {
        h = ngx_http_myservice_find_header(&u->headers_in.headers, name, len);
    }

    return h;
}


void *
ngx_http_myservice_find_ctx(ngx_http_request_t *r, ngx_module_t *module,
    ngx_pool_cleanup_pt mark)
{
    void                *ctx;
    ngx_pool_cleanup_t  *cln;

    ctx = r->ctx[module->ctx_index];

    if (ctx == NULL && (r->internal || r->filter_finalize)) {

        for (cln = r->pool->cleanup; cln; cln = cln->next) {

            if (cln->handler == mark
                && ((ngx_http_myservice_ctx_owner_t *) cln)->request == r)
            {
                ctx = cln->data;
                r->ctx[module->ctx_index] = ctx;
                break;
            }
        }
    }

    return ctx;
}


void *
ngx_http_myservice_make_ctx(ngx_http_request_t *r, ngx_module_t *module,
    ngx_pool_cleanup_pt mark, size_t size)
{
    void                            *ctx;
    ngx_http_myservice_ctx_owner_t  *owner;

    ctx = ngx_http_myservice_find_ctx(r, module, mark);

    if (ctx) {
        return ctx;
    }

    /* ngx_pool_cleanup_add() allocates twice, and this is on every path */

    owner = ngx_palloc(r->pool, sizeof(ngx_http_myservice_ctx_owner_t) + size);
    if (owner == NULL) {
        return NULL;
    }

    ctx = owner + 1;
    ngx_memzero(ctx, size);

    owner->request = r;
    owner->cln.handler = mark;
    owner->cln.data = ctx;
    owner->cln.next = r->pool->cleanup;
    r->pool->cleanup = &owner->cln;

    r->ctx[module->ctx_index] = ctx;

    return ctx;
}


ngx_int_t
ngx_http_myservice_add_variables(ngx_conf_t *cf,
    ngx_http_variable_t *variables)
{
    ngx_http_variable_t  *var, *v;

    for (v = variables; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_myservice_variable(ngx_http_variable_value_t *v, ngx_str_t *value)
{
    if (value == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = value->data;
    v->len = value->len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


ngx_uint_t
ngx_http_myservice_from_http(ngx_uint_t status, ngx_str_t *message)
{
    ngx_http_myservice_http_status_t  *s;

    s = ngx_http_myservice_http_statuses;

    while (s->status && s->status != status) {
        s++;
    }

    *message = s->message;

    return s->code;
}


ngx_uint_t
ngx_http_myservice_to_http(ngx_uint_t code)
{
    switch (code) {

    case NGX_HTTP_MYSERVICE_INVALID_ARGUMENT:
        return NGX_HTTP_BAD_REQUEST;

    case NGX_HTTP_MYSERVICE_UNAUTHENTICATED:
        return NGX_HTTP_UNAUTHORIZED;

    case NGX_HTTP_MYSERVICE_PERMISSION_DENIED:
        return NGX_HTTP_FORBIDDEN;

    case NGX_HTTP_MYSERVICE_INTERNAL:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;

    default:
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }
}


char *
ngx_http_myservice_methods_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    char  *p = conf;

    ngx_str_t    *value, *method;
    ngx_uint_t    i;
    ngx_array_t **methods;

    methods = (ngx_array_t **) (p + cmd->offset);

    if (*methods != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    *methods = ngx_array_create(cf->pool, cf->args->nelts,
                                sizeof(ngx_str_t));
    if (*methods == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        return NGX_CONF_OK;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        method = ngx_array_push(*methods);
        if (method == NULL) {
            return NGX_CONF_ERROR;
        }

        if (ngx_http_myservice_method(cf, &value[i], method) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_myservice_method(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *method)
{
    u_char      ch, *p;
    ngx_uint_t  i, slash;

    slash = 0;

    for (i = 0; i < value->len; i++) {
        ch = value->data[i];

        if (ch == '/' && i + 1 < value->len) {
            slash++;
            continue;
        }

        if (ch != '_' && ch != '.' && (ch < '0' || ch > '9')
            && ((ch | 0x20) < 'a' || (ch | 0x20) > 'z'))
        {
            break;
        }
    }

    if (value->len == 0 || i < value->len
        || slash > (ngx_uint_t) (value->data[0] == '/' ? 2 : 1)
        || (value->data[0] == '/' && slash != 2))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid method \"%V\", expected "
                           "\"/package.Service/Method\" or \"Method\"",
                           value);
        return NGX_ERROR;
    }

    *method = *value;

    if (slash == 0 || value->data[0] == '/') {
        return NGX_OK;
    }

    p = ngx_pnalloc(cf->pool, value->len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    p[0] = '/';
    ngx_memcpy(&p[1], value->data, value->len);

    method->data = p;
    method->len++;

    return NGX_OK;
}


ngx_uint_t
ngx_http_myservice_method_listed(ngx_array_t *methods, ngx_str_t *uri)
{
    size_t       len;
    u_char      *p;
    ngx_str_t   *method;
    ngx_uint_t   i;

    if (methods == NULL) {
        return 0;
    }

    method = methods->elts;

    for (i = 0; i < methods->nelts; i++) {
        len = method[i].len;

        if (uri->len < len) {
            continue;
        }

        p = uri->data + uri->len - len;

        if (ngx_memcmp(p, method[i].data, len) != 0) {
            continue;
        }

        if (uri->len == len) {
            return 1;
        }

        if (method[i].data[0] != '/' && p[-1] == '/') {
            return 1;
        }
    }

    return 0;
}
