
/*
 * Streams that survive their instance.  For the listed methods only whole
 * gRPC messages go to the client; when the instance dies, the rest of a
 * message is dropped, the request is sent again by running the content
 * handler once more, and the answer of the session's next instance goes on
 * where the last one broke.
 */

#include "ngx_http_myservice_call.h"
#include "ngx_http_myservice_grpc.h"
#include "ngx_http_myservice_module.h"

#include "messages.h"


#define NGX_HTTP_MYSERVICE_RESUME_TRIES      8
#define NGX_HTTP_MYSERVICE_RESUME_CONFLICTS  64
#define NGX_HTTP_MYSERVICE_RESUME_BUFFER     1048576


typedef struct {
    ngx_array_t            *methods;       /* ngx_str_t */
    size_t                  buffer;
} ngx_http_myservice_resume_loc_conf_t;


typedef struct {
    ms_messages_t           messages;
    ngx_buf_t              *hold;          /* begin of a message */
    ngx_chain_t            *free;
    ngx_chain_t            *busy;
    ngx_uint_t              restarts;      /* since the last message */
    unsigned                listed:1;
    unsigned                resumed:1;     /* the next header is not sent */
} ngx_http_myservice_resume_ctx_t;


static void ngx_http_myservice_resume_mark(void *data);
static ngx_int_t ngx_http_myservice_resume_header_filter(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_myservice_resume_second_header(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_myservice_resume_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_int_t ngx_http_myservice_resume_align(ngx_http_request_t *r,
    ngx_http_myservice_resume_ctx_t *ctx, ngx_chain_t *in, ngx_chain_t **out);
static ngx_chain_t **ngx_http_myservice_resume_flush(ngx_http_request_t *r,
    ngx_http_myservice_resume_ctx_t *ctx, ngx_chain_t **out);
static ngx_int_t ngx_http_myservice_resume_hold(ngx_http_request_t *r,
    ngx_http_myservice_resume_ctx_t *ctx, u_char *p, size_t len);
static ngx_buf_t *ngx_http_myservice_resume_buf(ngx_http_request_t *r,
    ngx_http_myservice_resume_ctx_t *ctx, size_t size);
static ngx_int_t ngx_http_myservice_resume_restart(ngx_http_request_t *r);
static void ngx_http_myservice_resume_handler(ngx_http_request_t *r);

static void *ngx_http_myservice_resume_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_myservice_resume_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static ngx_int_t ngx_http_myservice_resume_init(ngx_conf_t *cf);


static ngx_command_t  ngx_http_myservice_resume_commands[] = {

    { ngx_string("myservice_resume"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_myservice_methods_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_myservice_resume_loc_conf_t, methods),
      NULL },

    { ngx_string("myservice_resume_buffer"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_myservice_resume_loc_conf_t, buffer),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_myservice_resume_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_myservice_resume_init,        /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_myservice_resume_create_loc_conf,
                                           /* create location configuration */
    ngx_http_myservice_resume_merge_loc_conf
                                           /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_resume_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_resume_module_ctx, /* module context */
    ngx_http_myservice_resume_commands,    /* module directives */
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


#define ngx_http_myservice_resume_get_ctx(r)                                  \
    (ngx_http_myservice_resume_ctx_t *)                                       \
        ngx_http_myservice_find_ctx(r, &ngx_http_myservice_resume_module,     \
                                    ngx_http_myservice_resume_mark)


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


static void
ngx_http_myservice_resume_mark(void *data)
{
    /* see ngx_http_myservice_find_ctx() */
}


static ngx_int_t
ngx_http_myservice_resume_header_filter(ngx_http_request_t *r)
{
    ngx_http_myservice_call_t             *call;
    ngx_http_myservice_resume_ctx_t       *ctx;
    ngx_http_myservice_resume_loc_conf_t  *rlcf;

    ctx = ngx_http_myservice_resume_get_ctx(r);

    if (ctx && ctx->resumed) {
        return ngx_http_myservice_resume_second_header(r);
    }

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_resume_module);

    if (ctx || rlcf->methods == NULL || r != r->main || r->upstream == NULL
        || r->headers_out.status != NGX_HTTP_OK
        || ngx_http_myservice_refused(r)
        || !ngx_http_myservice_is_grpc(r)
        || !ngx_http_myservice_method_listed(rlcf->methods, &r->uri))
    {
        return ngx_http_next_header_filter(r);
    }

    call = ngx_http_myservice_call_get(r);
    if (call == NULL) {
        return ngx_http_next_header_filter(r);
    }

    ctx = ngx_http_myservice_make_ctx(r, &ngx_http_myservice_resume_module,
                                      ngx_http_myservice_resume_mark,
                                      sizeof(ngx_http_myservice_resume_ctx_t));
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ctx->listed = 1;
    call->resumable = 1;

    return ngx_http_next_header_filter(r);
}


/* the client has a header already; an error can only be told in trailers */

static ngx_int_t
ngx_http_myservice_resume_second_header(ngx_http_request_t *r)
{
    ngx_str_t             name;
    ngx_uint_t            i;
    ngx_table_elt_t      *h;
    ngx_http_upstream_t  *u;

    static const char  *names[] = { "grpc-status", "grpc-message", NULL };

    r->header_sent = 1;

    u = r->upstream;

    if (r->err_status || r->headers_out.status != NGX_HTTP_OK
        || ngx_http_myservice_refused(r) || u == NULL)
    {
        r->err_status = 0;
        r->header_only = 1;

        return ngx_http_myservice_end_stream(r);
    }

    for (i = 0; names[i]; i++) {
        name.len = ngx_strlen(names[i]);

        h = ngx_http_myservice_find_header(&u->headers_in.headers, names[i],
                                           name.len);

        if (h && ngx_http_myservice_add_header(&u->headers_in.trailers,
                                               names[i], &h->value)
                 != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_myservice_resume_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_int_t                         rc;
    ngx_chain_t                      *out;
    ngx_http_myservice_resume_ctx_t  *ctx;

    if (ngx_http_myservice_broken_stream(r, in)) {
        rc = ngx_http_myservice_resume_restart(r);

        if (rc != NGX_DECLINED) {
            return rc;
        }

        return ngx_http_next_body_filter(r, in);
    }

    ctx = ngx_http_myservice_resume_get_ctx(r);

    if (ctx == NULL || !ctx->listed || r != r->main) {
        return ngx_http_next_body_filter(r, in);
    }

    out = NULL;

    if (ngx_http_myservice_resume_align(r, ctx, in, &out) != NGX_OK) {
        return NGX_ERROR;
    }

    if (in && out == NULL && ctx->busy == NULL) {
        return NGX_OK;
    }

    rc = ngx_http_next_body_filter(r, out);

    ngx_chain_update_chains(r->pool, &ctx->free, &ctx->busy, &out,
                            (ngx_buf_tag_t) &ngx_http_myservice_resume_module);

    return rc;
}


/*
 * What a read brings is passed on up to the end of its last message, in
 * nginx's own buffers, so that a slow client stops the reading; only the
 * begin of an unfinished message is copied.
 */

static ngx_int_t
ngx_http_myservice_resume_align(ngx_http_request_t *r,
    ngx_http_myservice_resume_ctx_t *ctx, ngx_chain_t *in, ngx_chain_t **out)
{
    size_t        complete, len;
    u_char       *end;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    for ( /* void */ ; in; in = in->next) {

        b = in->buf;
        len = ngx_buf_special(b) ? 0 : b->last - b->pos;
        end = NULL;

        if (len && ctx->listed) {
            complete = ms_messages_feed(&ctx->messages, b->pos, len);
            end = b->pos + complete;

            if (complete == 0) {
                if (ngx_http_myservice_resume_hold(r, ctx, b->pos, len)
                    != NGX_OK)
                {
                    return NGX_ERROR;
                }

                b->pos = b->last;

                if (ctx->listed) {
                    continue;
                }

                /* too long to be held: what was held goes out */

                end = b->last;
            }

            ctx->restarts = 0;
        }

        if (end || b->last_buf) {
            out = ngx_http_myservice_resume_flush(r, ctx, out);
            if (out == NULL) {
                return NGX_ERROR;
            }
        }

        if (end && end < b->last) {
            if (ngx_http_myservice_resume_hold(r, ctx, end, b->last - end)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            b->last = end;
        }

        if (len == 0 || b->pos != b->last) {
            cl = ngx_alloc_chain_link(r->pool);
            if (cl == NULL) {
                return NGX_ERROR;
            }

            cl->buf = b;
            cl->next = NULL;

            *out = cl;
            out = &cl->next;
        }

        if (!ctx->listed) {
            out = ngx_http_myservice_resume_flush(r, ctx, out);
            if (out == NULL) {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


/* what is held goes out; returns where the chain goes on */

static ngx_chain_t **
ngx_http_myservice_resume_flush(ngx_http_request_t *r,
    ngx_http_myservice_resume_ctx_t *ctx, ngx_chain_t **out)
{
    ngx_chain_t  *cl;

    if (ctx->hold == NULL) {
        return out;
    }

    cl = ngx_alloc_chain_link(r->pool);
    if (cl == NULL) {
        return NULL;
    }

    cl->buf = ctx->hold;
    cl->next = NULL;

    ctx->hold = NULL;
    *out = cl;

    return &cl->next;
}


/* appends to what is held; a message over the limit ends the resumability */

static ngx_int_t
ngx_http_myservice_resume_hold(ngx_http_request_t *r,
    ngx_http_myservice_resume_ctx_t *ctx, u_char *p, size_t len)
{
    size_t                                 size, used;
    ngx_buf_t                             *b;
    ngx_http_myservice_resume_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_resume_module);

    used = ctx->hold ? (size_t) (ctx->hold->last - ctx->hold->pos) : 0;

    /* the size of the whole message, once its prefix is known */

    size = used + len + ctx->messages.rest;

    if (size > rlcf->buffer) {
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "a message of %uz bytes is over "
                      "\"myservice_resume_buffer\", the stream can not be "
                      "resumed any more", size);
        ctx->listed = 0;
        ngx_http_myservice_call_get(r)->resumable = 0;
        size = used + len;
    }

    b = ctx->hold;

    if (b == NULL || (size_t) (b->end - b->last) < len) {

        b = ngx_http_myservice_resume_buf(r, ctx, size);
        if (b == NULL) {
            return NGX_ERROR;
        }

        if (ctx->hold) {
            b->last = ngx_cpymem(b->last, ctx->hold->pos, used);
        }

        ctx->hold = b;
    }

    b->last = ngx_cpymem(b->last, p, len);

    return NGX_OK;
}


/* large, so that the memory of a long stream can be given back */

static ngx_buf_t *
ngx_http_myservice_resume_buf(ngx_http_request_t *r,
    ngx_http_myservice_resume_ctx_t *ctx, size_t size)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    size = ngx_max(size, ngx_pagesize);

    cl = ngx_chain_get_free_buf(r->pool, &ctx->free);
    if (cl == NULL) {
        return NULL;
    }

    b = cl->buf;
    ngx_free_chain(r->pool, cl);

    if ((size_t) (b->end - b->start) < size) {

        if (b->start) {
            (void) ngx_pfree(r->pool, b->start);
        }

        b->start = ngx_palloc(r->pool, size);
        if (b->start == NULL) {
            return NULL;
        }

        b->end = b->start + size;
    }

    b->pos = b->start;
    b->last = b->start;
    b->temporary = 1;
    b->tag = (ngx_buf_tag_t) &ngx_http_myservice_resume_module;

    return b;
}


/*
 * A refusal that is told behind the header is no broken stream: the call was
 * not processed, whatever its method.
 */

static ngx_int_t
ngx_http_myservice_resume_restart(ngx_http_request_t *r)
{
    ngx_uint_t                        refused;
    ngx_http_myservice_call_t        *call;
    ngx_http_myservice_resume_ctx_t  *ctx;

    call = ngx_http_myservice_call_get(r);
    ctx = ngx_http_myservice_resume_get_ctx(r);

    if (call == NULL || !call->broken || r->connection->error) {
        return NGX_DECLINED;
    }

    refused = (call->conflict || call->leaving) && !call->forwarded;

    if (!refused && (ctx == NULL || !ctx->listed)) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_myservice_make_ctx(r, &ngx_http_myservice_resume_module,
                                      ngx_http_myservice_resume_mark,
                                      sizeof(ngx_http_myservice_resume_ctx_t));
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    if (ctx->restarts++ >= (refused
                            ? NGX_HTTP_MYSERVICE_RESUME_CONFLICTS
                            : NGX_HTTP_MYSERVICE_RESUME_TRIES)
        || ngx_http_myservice_call_replay(call) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (ngx_http_myservice_set_status(r, NGX_HTTP_MYSERVICE_OK, NULL)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (!refused) {
        ngx_log_error(NGX_LOG_NOTICE, r->connection->log, 0,
                      "stream of instance \"%V\" broke, it is resumed",
                      &call->grant.name);
    }

    ctx->resumed = 1;
    ctx->hold = NULL;
    ngx_memzero(&ctx->messages, sizeof(ms_messages_t));

    r->header_sent = 0;
    r->main->count++;
    r->write_event_handler = ngx_http_myservice_resume_handler;

    if (ngx_http_post_request(r, NULL) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_DONE;
}


static void
ngx_http_myservice_resume_handler(ngx_http_request_t *r)
{
    r->write_event_handler = ngx_http_request_empty_handler;

    ngx_http_finalize_request(r, r->content_handler(r));
}


static void *
ngx_http_myservice_resume_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_myservice_resume_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool,
                       sizeof(ngx_http_myservice_resume_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->methods = NGX_CONF_UNSET_PTR;
    conf->buffer = NGX_CONF_UNSET_SIZE;

    return conf;
}


static char *
ngx_http_myservice_resume_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_http_myservice_resume_loc_conf_t  *prev = parent;
    ngx_http_myservice_resume_loc_conf_t  *conf = child;

    ngx_conf_merge_ptr_value(conf->methods, prev->methods, NULL);
    ngx_conf_merge_size_value(conf->buffer, prev->buffer,
                              NGX_HTTP_MYSERVICE_RESUME_BUFFER);

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_myservice_resume_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_myservice_resume_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_myservice_resume_body_filter;

    return NGX_OK;
}
