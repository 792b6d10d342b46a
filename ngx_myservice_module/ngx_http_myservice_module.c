
/*
 * Answers of the gateway as gRPC statuses: refusals of the modules above,
 * nginx's own error pages, and streams that break in the middle.
 *
 *   header filter   an error of nginx becomes a Trailers-Only answer
 *   body filter     an upstream failure after the header becomes trailers
 */

#include "ngx_http_myservice_module_internal.h"

#include "jwt/token.h"


typedef struct {
    ngx_flag_t                  errors;
} ngx_http_myservice_loc_conf_t;


static ngx_int_t ngx_http_myservice_trailers_only(ngx_http_request_t *r,
    ngx_uint_t code, ngx_str_t *message);
static ngx_int_t ngx_http_myservice_header_filter(ngx_http_request_t *r);
static ngx_uint_t ngx_http_myservice_is_fallback(ngx_http_request_t *r,
    ngx_http_myservice_ctx_t *ctx);
static ngx_int_t ngx_http_myservice_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);

static ngx_int_t ngx_http_myservice_session_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_myservice_status_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_myservice_message_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);

static ngx_int_t ngx_http_myservice_preconfiguration(ngx_conf_t *cf);
static void *ngx_http_myservice_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_myservice_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_http_myservice_init(ngx_conf_t *cf);


ngx_str_t  ngx_http_myservice_missing_session =
    ngx_string("missing session-id");
ngx_str_t  ngx_http_myservice_invalid_session =
    ngx_string("invalid session-id");

static ngx_str_t  ngx_http_myservice_unavailable =
    ngx_string("service unavailable");


static ngx_command_t  ngx_http_myservice_commands[] = {

    { ngx_string("myservice_grpc_errors"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_myservice_loc_conf_t, errors),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_myservice_module_ctx = {
    ngx_http_myservice_preconfiguration,   /* preconfiguration */
    ngx_http_myservice_init,               /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_myservice_create_loc_conf,    /* create location configuration */
    ngx_http_myservice_merge_loc_conf      /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_module_ctx,        /* module context */
    ngx_http_myservice_commands,           /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_variable_t  ngx_http_myservice_variables[] = {

    { ngx_string("myservice_session"), NULL,
      ngx_http_myservice_session_variable, 0, 0, 0 },

    { ngx_string("myservice_grpc_status"), NULL,
      ngx_http_myservice_status_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("myservice_grpc_message"), NULL,
      ngx_http_myservice_message_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


void
ngx_http_myservice_mark(void *data)
{
    /* see ngx_http_myservice_find_ctx() */
}


ngx_int_t
ngx_http_myservice_refuse(ngx_http_request_t *r, ngx_uint_t code,
    ngx_str_t *message)
{
    ngx_int_t  rc;

    if (ngx_http_myservice_set_status(r, code, message) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (r != r->main || !ngx_http_myservice_is_grpc(r)) {
        return ngx_http_myservice_to_http(code);
    }

    ngx_http_myservice_set_final(r);

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        ngx_http_finalize_request(r, rc);
        return NGX_DONE;
    }

    r->headers_out.status = NGX_HTTP_OK;

    /* the header filter does the rest */

    ngx_http_finalize_request(r, ngx_http_send_header(r));

    return NGX_DONE;
}


ngx_int_t
ngx_http_myservice_set_status(ngx_http_request_t *r, ngx_uint_t code,
    ngx_str_t *message)
{
    ngx_http_myservice_ctx_t  *ctx;

    ctx = ngx_http_myservice_create_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ctx->code = code;
    ctx->final = 0;

    if (code) {
        ctx->message = *message;
    }

    return NGX_OK;
}


void
ngx_http_myservice_set_final(ngx_http_request_t *r)
{
    ngx_http_myservice_ctx_t  *ctx;

    ctx = ngx_http_myservice_get_ctx(r);

    if (ctx && ctx->code && r == r->main && ngx_http_myservice_is_grpc(r)) {
        ctx->final = 1;

        /* nginx asks one only once */

        r->error_page = 1;
    }
}


ngx_uint_t
ngx_http_myservice_refused(ngx_http_request_t *r)
{
    ngx_http_myservice_ctx_t  *ctx;

    ctx = ngx_http_myservice_get_ctx(r);

    return ctx && ctx->code;
}


ngx_int_t
ngx_http_myservice_session_id(ngx_http_request_t *r, ngx_str_t *session)
{
    ngx_uint_t                 i, n;
    ngx_list_part_t           *part;
    ngx_table_elt_t           *h;
    ngx_http_myservice_ctx_t  *ctx;

    static const size_t  len = sizeof("session-id") - 1;
    static const size_t  timeout = sizeof("grpc-timeout") - 1;

    ctx = ngx_http_myservice_create_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    if (ctx->session_known) {
        *session = ctx->session;
        return ctx->session_rc;
    }

    n = 0;

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].key.len == len
                && ngx_memcmp(h[i].lowcase_key, "session-id", len) == 0)
            {
                ctx->session = h[i].value;
                n++;

            } else if (h[i].key.len == timeout
                       && ngx_memcmp(h[i].lowcase_key, "grpc-timeout",
                                     timeout)
                          == 0)
            {
                ctx->timeout = &h[i];
            }
        }
    }

    if (n == 0 || (n == 1 && ctx->session.len == 0)) {
        ctx->session_rc = NGX_DECLINED;

    } else if (n > 1
               || !ms_session_valid((char *) ctx->session.data,
                                    ctx->session.len))
    {
        ctx->session_rc = NGX_ABORT;

    } else {
        ctx->session_rc = NGX_OK;
    }

    ctx->session_known = 1;
    *session = ctx->session;

    return ctx->session_rc;
}


/* usually found on the way to the session id */

ngx_table_elt_t *
ngx_http_myservice_timeout(ngx_http_request_t *r)
{
    ngx_http_myservice_ctx_t  *ctx;

    ctx = ngx_http_myservice_get_ctx(r);

    if (ctx && ctx->session_known) {
        return ctx->timeout;
    }

    return ngx_http_myservice_find_header(&r->headers_in.headers,
                                          "grpc-timeout",
                                          sizeof("grpc-timeout") - 1);
}


/*
 * https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md:
 * Trailers-Only is one HEADERS frame with END_STREAM
 */

static ngx_int_t
ngx_http_myservice_trailers_only(ngx_http_request_t *r, ngx_uint_t code,
    ngx_str_t *message)
{
    /* drops ETag, Retry-After, WWW-Authenticate and the like */

    ngx_http_clean_header(r);

    r->err_status = 0;
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.status_line.len = 0;

    ngx_str_set(&r->headers_out.content_type, "application/grpc");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;
    ngx_str_null(&r->headers_out.charset);

    r->headers_out.content_length_n = -1;
    r->header_only = 1;
    r->disable_not_modified = 1;

    return ngx_http_myservice_add_status(r, &r->headers_out.headers, code,
                                         message);
}


static ngx_int_t
ngx_http_myservice_header_filter(ngx_http_request_t *r)
{
    ngx_uint_t                      status;
    ngx_http_myservice_ctx_t       *ctx;
    ngx_http_myservice_loc_conf_t  *mlcf;

    if (r != r->main || !ngx_http_myservice_is_grpc(r)) {
        return ngx_http_next_header_filter(r);
    }

    ctx = ngx_http_myservice_get_ctx(r);
    mlcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_module);
    status = r->err_status ? r->err_status : r->headers_out.status;

    if (ctx && ctx->code) {

        if (status != NGX_HTTP_OK || !ngx_http_myservice_is_fallback(r, ctx)) {
            goto refuse;
        }

        ctx->code = NGX_HTTP_MYSERVICE_OK;
    }

    if (!mlcf->errors) {
        return ngx_http_next_header_filter(r);
    }

    if (status != NGX_HTTP_OK) {

        ctx = ngx_http_myservice_create_ctx(r);
        if (ctx == NULL) {
            return NGX_ERROR;
        }

        ctx->code = ngx_http_myservice_from_http(status, &ctx->message);

        goto refuse;
    }

    if (ngx_http_myservice_guard_stream(r) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);

refuse:

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "myservice answer: %ui \"%V\"", ctx->code, &ctx->message);

    if (ngx_http_myservice_trailers_only(r, ctx->code, &ctx->message)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);
}


/*
 * Whether what was refused has been answered elsewhere, where an "error_page"
 * has sent it.  A page for browsers is no such answer.
 */

static ngx_uint_t
ngx_http_myservice_is_fallback(ngx_http_request_t *r,
    ngx_http_myservice_ctx_t *ctx)
{
    static const size_t  len = sizeof("application/grpc") - 1;

    return !ctx->final && r->internal && r->upstream
           && r->headers_out.content_type.len >= len
           && ngx_strncasecmp(r->headers_out.content_type.data,
                              (u_char *) "application/grpc", len)
              == 0;
}


static ngx_int_t
ngx_http_myservice_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_http_myservice_loc_conf_t  *mlcf;

    if (!ngx_http_myservice_broken_stream(r, in)) {
        return ngx_http_next_body_filter(r, in);
    }

    mlcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_module);

    if (!mlcf->errors && !ngx_http_myservice_refused(r)) {
        return ngx_http_next_body_filter(r, in);
    }

    return ngx_http_myservice_end_stream(r);
}


ngx_int_t
ngx_http_myservice_end_stream(ngx_http_request_t *r)
{
    ngx_buf_t                 *b;
    ngx_chain_t                out;
    ngx_http_myservice_ctx_t  *ctx;

    ctx = ngx_http_myservice_create_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    if (ctx->code == 0) {
        ctx->code = NGX_HTTP_MYSERVICE_UNAVAILABLE;
        ctx->message = ngx_http_myservice_unavailable;
    }

    if (ngx_http_myservice_add_status(r, &r->headers_out.trailers, ctx->code,
                                      &ctx->message)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_next_body_filter(r, &out);
}


static ngx_int_t
ngx_http_myservice_session_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_int_t  rc;
    ngx_str_t  session;

    rc = ngx_http_myservice_session_id(r, &session);

    return ngx_http_myservice_variable(v, rc == NGX_OK ? &session : NULL);
}


static ngx_int_t
ngx_http_myservice_status_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                  code;
    ngx_table_elt_t           *h;
    ngx_http_myservice_ctx_t  *ctx;

    ctx = ngx_http_myservice_get_ctx(r);

    if (ctx && ctx->code) {
        code.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
        if (code.data == NULL) {
            return NGX_ERROR;
        }

        code.len = ngx_sprintf(code.data, "%ui", ctx->code) - code.data;

        return ngx_http_myservice_variable(v, &code);
    }

    /* without an upstream: what a module of ours answered itself */

    h = r->upstream
        ? ngx_http_myservice_upstream_status(r->upstream, "grpc-status",
                                             sizeof("grpc-status") - 1)
        : ngx_http_myservice_find_header(&r->headers_out.trailers,
                                         "grpc-status",
                                         sizeof("grpc-status") - 1);

    return ngx_http_myservice_variable(v, h ? &h->value : NULL);
}


static ngx_int_t
ngx_http_myservice_message_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_table_elt_t           *h;
    ngx_http_myservice_ctx_t  *ctx;

    ctx = ngx_http_myservice_get_ctx(r);

    if (ctx && ctx->code) {
        return ngx_http_myservice_variable(v, &ctx->message);
    }

    h = r->upstream
        ? ngx_http_myservice_upstream_status(r->upstream, "grpc-message",
                                             sizeof("grpc-message") - 1)
        : NULL;

    return ngx_http_myservice_variable(v, h ? &h->value : NULL);
}


static ngx_int_t
ngx_http_myservice_preconfiguration(ngx_conf_t *cf)
{
    return ngx_http_myservice_add_variables(cf, ngx_http_myservice_variables);
}


static void *
ngx_http_myservice_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_myservice_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_myservice_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->errors = NGX_CONF_UNSET;

    return conf;
}


static char *
ngx_http_myservice_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_myservice_loc_conf_t  *prev = parent;
    ngx_http_myservice_loc_conf_t  *conf = child;

    ngx_conf_merge_value(conf->errors, prev->errors, 0);

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_myservice_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_myservice_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_myservice_body_filter;

    return NGX_OK;
}
