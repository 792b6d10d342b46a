
/*
 * Answers of the gateway as gRPC statuses: refusals of the modules above,
 * nginx's own error pages, and streams that break in the middle.
 *
 *   header filter   an error of nginx becomes a Trailers-Only answer
 *   body filter     an upstream failure after the header becomes trailers
 */

#include "answers/broken_stream.h"
#include "answers/context.h"
#include "answers/errors.h"
#include "answers/outcome.h"
#include "core/grpc.h"
#include "core/header.h"
#include "core/variable.h"
#include "version.h"


typedef struct {
    ngx_flag_t  errors;
} ms_errors_loc_conf_t;


static ngx_int_t ms_errors_add(ngx_http_request_t *r, ngx_list_t *headers,
    ms_answer_ctx_t *ctx);
static ngx_int_t ms_errors_trailers_only(ngx_http_request_t *r,
    ms_answer_ctx_t *ctx);
static ngx_int_t ms_errors_header_filter(ngx_http_request_t *r);
static ngx_uint_t ms_is_fallback(ngx_http_request_t *r, ms_answer_ctx_t *ctx);
static ngx_int_t ms_errors_body_filter(ngx_http_request_t *r, ngx_chain_t *in);

static ngx_int_t ms_errors_status_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ms_errors_search(ngx_http_request_t *r)
    __attribute__((noinline));
static ngx_table_elt_t *ms_errors_answered(ngx_http_request_t *r,
    ms_answer_ctx_t *ctx);
static ngx_int_t ms_errors_message_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);

static ngx_int_t ms_errors_preconfiguration(ngx_conf_t *cf);
static void *ms_errors_create_loc_conf(ngx_conf_t *cf);
static char *ms_errors_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ms_errors_init(ngx_conf_t *cf);
static ngx_int_t ms_errors_init_module(ngx_cycle_t *cycle);


static const char  ms_errors_version[] =
    "ngx_http_myservice_module/" MS_VERSION;

static ngx_str_t  ms_errors_unavailable = ngx_string("service unavailable");


static ngx_command_t  ms_errors_commands[] = {

    { ngx_string("myservice_grpc_errors"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ms_errors_loc_conf_t, errors),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_myservice_module_ctx = {
    ms_errors_preconfiguration,            /* preconfiguration */
    ms_errors_init,                        /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ms_errors_create_loc_conf,             /* create location configuration */
    ms_errors_merge_loc_conf               /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_module_ctx,        /* module context */
    ms_errors_commands,                    /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ms_errors_init_module,                 /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_variable_t  ms_errors_variables[] = {

    { ngx_string("myservice_grpc_status"), NULL,
      ms_errors_status_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("myservice_grpc_message"), NULL,
      ms_errors_message_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


static ngx_str_t  ms_identity = ngx_string("identity");


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


ngx_int_t
ms_errors_refuse(ngx_http_request_t *r, ngx_uint_t code, ngx_str_t *message)
{
    ngx_int_t  rc;

    if (ms_errors_set(r, code, message) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (r != r->main || !ms_grpc_is(r)) {
        return ms_grpc_to_http(code);
    }

    ms_errors_final(r);

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
ms_errors_set(ngx_http_request_t *r, ngx_uint_t code, ngx_str_t *message)
{
    ms_answer_ctx_t  *ctx;

    ctx = ms_answer_create_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ctx->code = code;
    ctx->final = 0;
    ngx_str_null(&ctx->details);
    ngx_str_null(&ctx->pushback);

    if (code) {
        ctx->message = *message;
    }

    return NGX_OK;
}


static ngx_int_t
ms_errors_add(ngx_http_request_t *r, ngx_list_t *headers, ms_answer_ctx_t *ctx)
{
    if (ms_grpc_add_status(r, headers, ctx->code, &ctx->message) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ctx->details.len == 0) {
        return NGX_OK;
    }

    if (ctx->pushback.len
        && ms_header_add(headers, "grpc-retry-pushback-ms", &ctx->pushback)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ms_header_add(headers, "grpc-status-details-bin", &ctx->details);
}


ngx_int_t
ms_errors_refuse_compressed(ngx_http_request_t *r, ngx_str_t *message)
{
    ms_answer_ctx_t  *ctx;

    ctx = ms_answer_create_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->identity = 1;

    return ms_errors_refuse(r, MS_GRPC_UNIMPLEMENTED, message);
}


void
ms_errors_final(ngx_http_request_t *r)
{
    ms_answer_ctx_t  *ctx;

    ctx = ms_answer_get_ctx(r);

    if (ctx && ctx->code && r == r->main && ms_grpc_is(r)) {
        ctx->final = 1;

        /* nginx asks one only once */

        r->error_page = 1;
    }
}


ngx_uint_t
ms_errors_enabled(ngx_http_request_t *r)
{
    ms_errors_loc_conf_t  *mlcf;

    mlcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_module);

    return mlcf->errors;
}


ngx_uint_t
ms_errors_refused(ngx_http_request_t *r)
{
    ms_answer_ctx_t  *ctx;

    ctx = ms_answer_get_ctx(r);

    return ctx && ctx->code;
}


/*
 * https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md:
 * Trailers-Only is one HEADERS frame with END_STREAM
 */

static ngx_int_t
ms_errors_trailers_only(ngx_http_request_t *r, ms_answer_ctx_t *ctx)
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

    return ms_errors_add(r, &r->headers_out.headers, ctx);
}


static ngx_int_t
ms_errors_header_filter(ngx_http_request_t *r)
{
    ngx_int_t              rc;
    ngx_uint_t             status;
    ms_answer_ctx_t       *ctx;
    ms_errors_loc_conf_t  *mlcf;

    if (r != r->main || !ms_grpc_is(r)) {
        return ngx_http_next_header_filter(r);
    }

    ctx = ms_answer_get_ctx(r);
    mlcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_module);
    status = r->err_status ? r->err_status : r->headers_out.status;

    if (ctx && ctx->code) {

        if (status != NGX_HTTP_OK || !ms_is_fallback(r, ctx)) {
            goto refuse;
        }

        ctx->code = MS_GRPC_OK;
    }

    if (!mlcf->errors && (ctx == NULL || ctx->upstream == NULL
                          || ctx->upstream != r->upstream))
    {
        /*
         * calls with a session are guarded even with "myservice_grpc_errors
         * off"
         */

        return ngx_http_next_header_filter(r);
    }

    rc = ms_outcome_header(r);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_OK && r->err_status == 0) {
        status = r->headers_out.status;
    }

    if (status != NGX_HTTP_OK) {

        if (!mlcf->errors) {
            return ngx_http_next_header_filter(r);
        }

        if (ms_errors_set_http(r, status) != NGX_OK) {
            return NGX_ERROR;
        }

        ctx = ms_answer_get_ctx(r);

        goto refuse;
    }

    if (ms_stream_guard(r) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);

refuse:

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "myservice answer: %ui \"%V\"", ctx->code, &ctx->message);

    if (ms_errors_trailers_only(r, ctx) != NGX_OK
        || (ctx->identity
            && ms_header_add(&r->headers_out.headers,
                             "grpc-accept-encoding",
                             &ms_identity)
               != NGX_OK))
    {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);
}


/*
 * Whether a refused call was answered by the location of an "error_page". A
 * page for browsers is not such an answer.
 */

static ngx_uint_t
ms_is_fallback(ngx_http_request_t *r, ms_answer_ctx_t *ctx)
{
    static const size_t  len = sizeof("application/grpc") - 1;

    return !ctx->final && r->internal && r->upstream
           && r->headers_out.content_type.len >= len
           && ngx_strncasecmp(r->headers_out.content_type.data,
                              (u_char *) "application/grpc", len)
              == 0;
}


static ngx_int_t
ms_errors_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_chain_t           *cl;
    ms_answer_ctx_t       *ctx;
    ms_errors_loc_conf_t  *mlcf;

    if (!ms_stream_broken(r, in)) {

        ctx = ngx_http_get_module_ctx(r, ngx_http_myservice_module);

        for (cl = in; cl && ctx && ctx->incomplete; cl = cl->next) {

            if (cl->buf->last_buf && ms_outcome_end(r, ctx) != NGX_OK) {
                return NGX_ERROR;
            }
        }

        return ngx_http_next_body_filter(r, in);
    }

    mlcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_module);

    if (!mlcf->errors && !ms_errors_refused(r)) {
        return ngx_http_next_body_filter(r, in);
    }

    return ms_errors_end_stream(r);
}


ngx_int_t
ms_errors_end_stream(ngx_http_request_t *r)
{
    ngx_buf_t        *b;
    ngx_chain_t       out;
    ms_answer_ctx_t  *ctx;

    ctx = ms_answer_create_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    if (r->upstream && ms_outcome_answered(r->upstream)) {
        ctx->code = MS_GRPC_OK;

        if (ms_outcome_trailers(r) != NGX_OK) {
            return NGX_ERROR;
        }

        goto last;
    }

    if (ctx->code == 0) {
        ctx->code = MS_GRPC_UNAVAILABLE;
        ctx->message = ms_errors_unavailable;
    }

    if (ms_errors_add(r, &r->headers_out.trailers, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

last:

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


/*
 * grpc-status as it was sent; without an upstream: by one of our modules.  For
 * the log phase: nothing follows that could change it.
 */

static ngx_table_elt_t *
ms_errors_answered(ngx_http_request_t *r, ms_answer_ctx_t *ctx)
{
    ngx_table_elt_t  *h;

    if (ctx && ctx->status) {
        return ctx->status;
    }

    h = r->upstream
        ? ms_grpc_upstream_status(r->upstream, "grpc-status",
                                  sizeof("grpc-status") - 1)
        : ms_header_find(&r->headers_out.trailers, "grpc-status",
                         sizeof("grpc-status") - 1);

    if (ctx && r->done) {
        ctx->status = h;
    }

    return h;
}


/* nearly every call ends with a status that the access log has found, and 0:
 * that costs 18 instructions */

ngx_int_t
ms_errors_status(ngx_http_request_t *r)
{
    ngx_str_t        *value;
    ms_answer_ctx_t  *ctx;

    ctx = r->ctx[ngx_http_myservice_module.ctx_index];

    if (ctx && ctx->code == 0 && ctx->status) {
        value = &ctx->status->value;

        if (value->len == 1 && value->data[0] == '0') {
            return MS_GRPC_OK;
        }
    }

    return ms_errors_search(r);
}


static ngx_int_t
ms_errors_search(ngx_http_request_t *r)
{
    ngx_int_t         status;
    ngx_table_elt_t  *h;
    ms_answer_ctx_t  *ctx;

    ctx = ms_answer_get_ctx(r);

    if (ctx && ctx->code) {
        return ctx->code;
    }

    h = ms_errors_answered(r, ctx);

    if (h == NULL) {
        return ms_grpc_is(r) ? MS_GRPC_CANCELLED : NGX_DECLINED;
    }

    status = ngx_atoi(h->value.data, h->value.len);

    return status == NGX_ERROR ? MS_ERRORS_NO_STATUS : status;
}


static ngx_int_t
ms_errors_status_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t         code;
    ngx_table_elt_t  *h;
    ms_answer_ctx_t  *ctx;

    ctx = ms_answer_get_ctx(r);

    if (ctx && ctx->code) {
        code.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
        if (code.data == NULL) {
            return NGX_ERROR;
        }

        code.len = ngx_sprintf(code.data, "%ui", ctx->code) - code.data;

        return ms_variable_set(v, &code);
    }

    h = ms_errors_answered(r, ctx);

    return ms_variable_set(v, h ? &h->value : NULL);
}


static ngx_int_t
ms_errors_message_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_table_elt_t  *h;
    ms_answer_ctx_t  *ctx;

    ctx = ms_answer_get_ctx(r);

    if (ctx && ctx->code) {
        return ms_variable_set(v, &ctx->message);
    }

    h = r->upstream
        ? ms_grpc_upstream_status(r->upstream, "grpc-message",
                                  sizeof("grpc-message") - 1)
        : NULL;

    return ms_variable_set(v, h ? &h->value : NULL);
}


static ngx_int_t
ms_errors_preconfiguration(ngx_conf_t *cf)
{
    return ms_variables_add(cf, ms_errors_variables);
}


static void *
ms_errors_create_loc_conf(ngx_conf_t *cf)
{
    ms_errors_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ms_errors_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->errors = NGX_CONF_UNSET;

    return conf;
}


static char *
ms_errors_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ms_errors_loc_conf_t  *prev = parent;
    ms_errors_loc_conf_t  *conf = child;

    ngx_conf_merge_value(conf->errors, prev->errors, 0);

    return NGX_CONF_OK;
}


static ngx_int_t
ms_errors_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ms_errors_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ms_errors_body_filter;

    return NGX_OK;
}


static ngx_int_t
ms_errors_init_module(ngx_cycle_t *cycle)
{
    if (!ngx_test_config) {
        ngx_log_error(NGX_LOG_NOTICE, cycle->log, 0,
                      "myservice module starts: %s", ms_errors_version);
    }

    return NGX_OK;
}
