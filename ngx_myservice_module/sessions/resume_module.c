
/*
 * Streams that survive their instance.  For the listed methods only whole
 * gRPC messages go to the client; when the instance dies, the rest of a
 * message is dropped, the request is sent again by running the content
 * handler once more, and the answer of the session's next instance goes on
 * where the last one broke.
 */

#include "answers/broken_stream.h"
#include "answers/errors.h"
#include "answers/outcome.h"
#include "core/context.h"
#include "core/grpc.h"
#include "core/log.h"
#include "core/methods.h"
#include "core/timeout.h"
#include "core/values.h"
#include "sessions/call.h"
#include "sessions/deadline.h"
#include "sessions/loss.h"
#include "sessions/pace.h"
#include "sessions/resumed.h"
#include "wire/messages.h"


#define MS_RESUME_CONFLICTS  64
#define MS_RESUME_BUFFER     1048576


typedef struct {
    ngx_array_t            *methods;       /* ngx_str_t */
    size_t                  buffer;
} ms_resume_loc_conf_t;


typedef struct {
    ms_messages_t      messages;
    ngx_buf_t         *hold;               /* begin of a message */
    ngx_chain_t       *free;
    ngx_chain_t       *busy;
    ngx_uint_t         refusals;           /* since the last message */
    ms_pace_t          pace;               /* of the other restarts */
    ngx_event_t        timer;              /* until the next one */
    ms_outcome_form_t  form;               /* of the first answer */
    unsigned           listed:1;
    unsigned           resumed:1;          /* the next header is not sent */
} ms_resume_ctx_t;


static void ms_resume_cleanup(void *data);
static ngx_int_t ms_resume_header_filter(ngx_http_request_t *r);
static ngx_int_t ms_resume_body_filter(ngx_http_request_t *r, ngx_chain_t *in);
static ngx_int_t ms_resume_align(ngx_http_request_t *r, ms_resume_ctx_t *ctx,
    ngx_chain_t *in, ngx_chain_t **out);
static ngx_chain_t **ms_resume_flush(ngx_http_request_t *r,
    ms_resume_ctx_t *ctx, ngx_chain_t **out);
static ngx_int_t ms_resume_hold(ngx_http_request_t *r, ms_resume_ctx_t *ctx,
    u_char *p, size_t len);
static ngx_buf_t *ms_resume_buf(ngx_http_request_t *r, ms_resume_ctx_t *ctx,
    size_t size);
static ngx_int_t ms_resume_restart(ngx_http_request_t *r);
static ngx_int_t ms_resume_pace(ngx_http_request_t *r, ms_call_t *call,
    ms_resume_ctx_t *ctx, ngx_msec_t *wait);
static void ms_resume_timer(ngx_event_t *ev);
static void ms_resume_handler(ngx_http_request_t *r);

static void *ms_resume_create_loc_conf(ngx_conf_t *cf);
static char *ms_resume_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ms_resume_init(ngx_conf_t *cf);


static ms_value_t  ms_resume_buffer =
    { ngx_null_string, ms_value_size, 0, 0, 1073741824, NULL, 0 };


static ngx_command_t  ms_resume_commands[] = {

    { ngx_string("myservice_resume"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ms_methods_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ms_resume_loc_conf_t, methods),
      NULL },

    { ngx_string("myservice_resume_buffer"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ms_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ms_resume_loc_conf_t, buffer),
      &ms_resume_buffer },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_myservice_resume_module_ctx = {
    NULL,                                  /* preconfiguration */
    ms_resume_init,                        /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ms_resume_create_loc_conf,
                                           /* create location configuration */
    ms_resume_merge_loc_conf
                                           /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_resume_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_resume_module_ctx, /* module context */
    ms_resume_commands,                    /* module directives */
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


#define ms_resume_get_ctx(r)                                                  \
    (ms_resume_ctx_t *)                                                       \
        ms_context_find(r, &ngx_http_myservice_resume_module)


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


static void
ms_resume_cleanup(void *data)
{
    ms_resume_ctx_t *ctx = data;

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }
}


static ngx_int_t
ms_resume_header_filter(ngx_http_request_t *r)
{
    ms_call_t             *call;
    ms_resume_ctx_t       *ctx;
    ms_resume_loc_conf_t  *rlcf;

    ctx = ms_resume_get_ctx(r);

    if (ctx && ctx->resumed) {
        return ms_resumed_header(r, &ctx->form);
    }

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_resume_module);

    if (ctx || rlcf->methods == NULL || r != r->main || r->upstream == NULL
        || r->headers_out.status != NGX_HTTP_OK
        || ms_errors_refused(r)
        || !ms_grpc_is(r)
        || !ms_methods_listed(rlcf->methods, &r->uri))
    {
        return ngx_http_next_header_filter(r);
    }

    call = ms_call_get(r);
    if (call == NULL) {
        return ngx_http_next_header_filter(r);
    }

    ctx = ms_context_make(r, &ngx_http_myservice_resume_module,
                          sizeof(ms_resume_ctx_t), ms_resume_cleanup);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ctx->listed = 1;
    call->resumable = 1;

    ms_outcome_form(r, &ctx->form);

    return ngx_http_next_header_filter(r);
}


static ngx_int_t
ms_resume_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_int_t         rc;
    ngx_chain_t      *out;
    ms_call_t        *call;
    ms_resume_ctx_t  *ctx;

    if (ms_stream_broken(r, in)) {
        rc = ms_resume_restart(r);

        if (rc != NGX_DECLINED) {
            return rc;
        }

        call = ms_call_get(r);

        if (call) {
            ms_call_leave(call);
        }

        return ngx_http_next_body_filter(r, in);
    }

    ctx = ms_resume_get_ctx(r);

    if (ctx == NULL || !ctx->listed || r != r->main) {
        return ngx_http_next_body_filter(r, in);
    }

    out = NULL;

    if (ms_resume_align(r, ctx, in, &out) != NGX_OK) {
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
ms_resume_align(ngx_http_request_t *r, ms_resume_ctx_t *ctx, ngx_chain_t *in,
    ngx_chain_t **out)
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
                if (ms_resume_hold(r, ctx, b->pos, len) != NGX_OK) {
                    return NGX_ERROR;
                }

                b->pos = b->last;

                if (ctx->listed) {
                    continue;
                }

                /* too long to be held: what was held goes out */

                end = b->last;
            }

            ctx->refusals = 0;
            ms_pace_progress(&ctx->pace);
        }

        if (end || b->last_buf) {
            out = ms_resume_flush(r, ctx, out);
            if (out == NULL) {
                return NGX_ERROR;
            }
        }

        if (end && end < b->last) {
            if (ms_resume_hold(r, ctx, end, b->last - end) != NGX_OK) {
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
            out = ms_resume_flush(r, ctx, out);
            if (out == NULL) {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


/* what is held goes out; returns where the chain goes on */

static ngx_chain_t **
ms_resume_flush(ngx_http_request_t *r, ms_resume_ctx_t *ctx, ngx_chain_t **out)
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
ms_resume_hold(ngx_http_request_t *r, ms_resume_ctx_t *ctx, u_char *p,
    size_t len)
{
    size_t                 size, used;
    ngx_buf_t             *b;
    ms_resume_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_resume_module);

    used = ctx->hold ? (size_t) (ctx->hold->last - ctx->hold->pos) : 0;

    /* how large the whole message will be, once its prefix is known */

    size = used + len + ctx->messages.rest;

    if (size > rlcf->buffer) {
        ms_log_error(NGX_LOG_WARN, r->connection->log, 0,
                     "a message of %uz bytes is over "
                     "\"myservice_resume_buffer\", the stream can not be "
                     "resumed any more", size);
        ctx->listed = 0;
        ms_call_get(r)->resumable = 0;
        size = used + len;
    }

    b = ctx->hold;

    if (b == NULL || (size_t) (b->end - b->last) < len) {

        b = ms_resume_buf(r, ctx, size);
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
ms_resume_buf(ngx_http_request_t *r, ms_resume_ctx_t *ctx, size_t size)
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
 * A refusal after the header is not a broken stream: the call was not
 * processed, whatever its method.
 */

static ngx_int_t
ms_resume_restart(ngx_http_request_t *r)
{
    ngx_msec_t        wait;
    ngx_uint_t        refused;
    ms_call_t        *call;
    ms_resume_ctx_t  *ctx;

    call = ms_call_get(r);
    ctx = ms_resume_get_ctx(r);

    if (call == NULL || !call->broken || r->connection->error) {
        return NGX_DECLINED;
    }

    refused = (call->conflict || call->leaving) && !call->forwarded;

    if (!refused && (ctx == NULL || !ctx->listed) && !ms_loss_asks(call)) {
        return NGX_DECLINED;
    }

    ctx = ms_context_make(r, &ngx_http_myservice_resume_module,
                          sizeof(ms_resume_ctx_t), ms_resume_cleanup);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    if (ms_call_replay(call) != NGX_OK) {
        return NGX_DECLINED;
    }

    wait = 0;

    if (refused) {

        if (ctx->refusals++ >= MS_RESUME_CONFLICTS) {
            return NGX_DECLINED;
        }

    } else if (!call->asks && ms_resume_pace(r, call, ctx, &wait) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (ms_errors_set(r, MS_GRPC_OK, NULL) != NGX_OK) {
        return NGX_ERROR;
    }

    ctx->resumed = 1;
    ctx->hold = NULL;
    ngx_memzero(&ctx->messages, sizeof(ms_messages_t));

    r->main->count++;

    if (wait) {

        /* only the session's lease is held, and it was renewed */

        r->read_event_handler = ngx_http_test_reading;
        r->write_event_handler = ngx_http_request_empty_handler;

        ctx->timer.handler = ms_resume_timer;
        ctx->timer.data = r;
        ctx->timer.log = r->connection->log;

        ngx_add_timer(&ctx->timer, wait);

        return NGX_DONE;
    }

    r->write_event_handler = ms_resume_handler;

    if (ngx_http_post_request(r, NULL) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_DONE;
}


/* how long to wait; the one log line of a resume */

static ngx_int_t
ms_resume_pace(ngx_http_request_t *r, ms_call_t *call, ms_resume_ctx_t *ctx,
    ngx_msec_t *wait)
{
    int32_t          rc;
    ngx_str_t       *message;
    ngx_msec_int_t   left;

    static ngx_str_t  many =
        ngx_string("the stream broke off eight times without a message");
    static ngx_str_t  often =
        ngx_string("the stream broke off thirty times in a minute");

    rc = ms_pace_next(&ctx->pace, ngx_current_msec, (uint32_t) ngx_random());

    if (rc < 0) {
        message = rc == MS_PACE_TOO_MANY ? &many : &often;

        ms_log_error(NGX_LOG_WARN, r->connection->log, 0,
                     "stream is not resumed any more: %V, instance=\"%V\"",
                     message, &call->grant.name);

        (void) ms_errors_set(r, MS_GRPC_UNAVAILABLE, message);
        return NGX_DECLINED;
    }

    ms_log_error(NGX_LOG_NOTICE, r->connection->log, 0,
                 "stream is resumed: it broke off, instance=\"%V\" "
                 "in_a_row=%uD in=%Dms",
                 &call->grant.name, ctx->pace.row, rc);

    *wait = rc;
    left = ms_timeout_left(r);

    if (left != NGX_ERROR && left < rc) {

        /* then the call ends in place of an attempt */

        *wait = left;
    }

    return NGX_OK;
}


static void
ms_resume_timer(ngx_event_t *ev)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ev->data;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    ms_resume_handler(r);

    ngx_http_run_posted_requests(c);
}


static void
ms_resume_handler(ngx_http_request_t *r)
{
    r->header_sent = 0;
    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    ngx_http_finalize_request(r, r->content_handler(r));
}


static void *
ms_resume_create_loc_conf(ngx_conf_t *cf)
{
    ms_resume_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ms_resume_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->methods = NGX_CONF_UNSET_PTR;
    conf->buffer = NGX_CONF_UNSET_SIZE;

    return conf;
}


static char *
ms_resume_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ms_resume_loc_conf_t  *prev = parent;
    ms_resume_loc_conf_t  *conf = child;

    ngx_conf_merge_ptr_value(conf->methods, prev->methods, NULL);
    ngx_conf_merge_size_value(conf->buffer, prev->buffer, MS_RESUME_BUFFER);

    return NGX_CONF_OK;
}


static ngx_int_t
ms_resume_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ms_resume_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ms_resume_body_filter;

    return NGX_OK;
}
