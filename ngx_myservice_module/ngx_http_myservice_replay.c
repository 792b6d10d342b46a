
#include "ngx_http_myservice_replay.h"

#include "ngx_http_myservice_compat.h"


/* RFC 9113 section 3.4 and section 4.1 */

#define NGX_HTTP_MYSERVICE_PREFACE       (sizeof("PRI * HTTP/2.0\r\n\r\n"    \
                                                 "SM\r\n\r\n") - 1)
#define NGX_HTTP_MYSERVICE_FRAME         9
#define NGX_HTTP_MYSERVICE_HEADERS       0x1
#define NGX_HTTP_MYSERVICE_CONTINUATION  0x9


static ngx_int_t ngx_http_myservice_replay_upstream(ngx_http_request_t *r);
static ngx_int_t ngx_http_myservice_replay_unbuffered(ngx_http_request_t *r,
    ngx_http_myservice_replay_t *replay, ngx_buf_t *header);
static ngx_chain_t *ngx_http_myservice_replay_link(ngx_pool_t *pool,
    ngx_buf_t *buf);
static void ngx_http_myservice_replay_stream_id(ngx_buf_t *b);


void
ngx_http_myservice_replay_init(ngx_http_myservice_replay_t *replay,
    size_t limit)
{
    ngx_memzero(replay, sizeof(ngx_http_myservice_replay_t));

    replay->last = &replay->bufs;
    replay->limit = limit;
}


ngx_int_t
ngx_http_myservice_replay_copy(ngx_http_request_t *r,
    ngx_http_myservice_replay_t *replay, ngx_chain_t *in)
{
    size_t        len;
    ngx_buf_t    *b;
    ngx_chain_t  *cl, *ln;

    for (cl = in; cl && !replay->over; cl = cl->next) {

        len = cl->buf->last - cl->buf->pos;

        if (len > replay->limit - replay->size) {
            replay->over = 1;
            replay->bufs = NULL;
            break;
        }

        if (len == 0 && !cl->buf->last_buf) {
            continue;
        }

        if (len) {
            b = ngx_create_temp_buf(r->pool, len);
            if (b == NULL) {
                return NGX_ERROR;
            }

            b->last = ngx_cpymem(b->last, cl->buf->pos, len);

        } else {
            b = ngx_calloc_buf(r->pool);
            if (b == NULL) {
                return NGX_ERROR;
            }
        }

        b->last_buf = cl->buf->last_buf;

        ln = ngx_alloc_chain_link(r->pool);
        if (ln == NULL) {
            return NGX_ERROR;
        }

        ln->buf = b;
        ln->next = NULL;

        *replay->last = ln;
        replay->last = &ln->next;

        replay->size += len;
        replay->complete = b->last_buf;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_myservice_replay_rewind(ngx_http_request_t *r,
    ngx_http_myservice_replay_t *replay, ngx_buf_t *header,
    ngx_int_t (*reinit)(ngx_http_request_t *r), void *grpc)
{
    off_t                 file_pos;
    ngx_chain_t          *cl;
    ngx_http_upstream_t  *u;
#if (NGX_HTTP_MYSERVICE_RESET_GRPC_CHAINS)
    ngx_http_myservice_grpc_ctx_t  *ctx;
#endif

    u = r->upstream;

    if (r->request_body_no_buffering && replay->over) {
        return NGX_DECLINED;
    }

    ngx_http_myservice_replay_stream_id(header);

    if (reinit(r) != NGX_OK) {
        return NGX_ERROR;
    }

#if (NGX_HTTP_MYSERVICE_RESET_GRPC_CHAINS)

    ctx = grpc;
    ctx->in = NULL;
    ctx->out = NULL;
    ctx->busy = NULL;

#endif

    if (ngx_http_myservice_replay_upstream(r) != NGX_OK) {
        return NGX_ERROR;
    }

    if (r->request_body_no_buffering) {

        if (ngx_http_myservice_replay_unbuffered(r, replay, header) != NGX_OK)
        {
            return NGX_ERROR;
        }

    } else {

        /* the chain is intact; there is at most one file */

        file_pos = 0;

        for (cl = u->request_bufs; cl; cl = cl->next) {
            cl->buf->pos = cl->buf->start;

            if (cl->buf->in_file) {
                cl->buf->file_pos = file_pos;
                file_pos = cl->buf->file_last;
            }
        }
    }

    /*
     * ngx_http_upstream_next() neither refuses a request that "was not sent"
     * nor takes it for a non-idempotent one, and ngx_http_upstream_connect()
     * does not wind it back a second time
     */

    u->request_sent = 0;

    return NGX_OK;
}


/* as ngx_http_upstream_reinit() does */

static ngx_int_t
ngx_http_myservice_replay_upstream(ngx_http_request_t *r)
{
    ngx_http_upstream_t  *u;

    u = r->upstream;

    u->keepalive = 0;
    u->upgrade = 0;
    u->error = 0;

    ngx_memzero(&u->headers_in, sizeof(ngx_http_upstream_headers_in_t));
    u->headers_in.content_length_n = -1;
    u->headers_in.last_modified_time = -1;

    if (ngx_list_init(&u->headers_in.headers, r->pool, 8,
                      sizeof(ngx_table_elt_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_list_init(&u->headers_in.trailers, r->pool, 2,
                      sizeof(ngx_table_elt_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    u->output.buf = NULL;
    u->output.in = NULL;
    u->output.busy = NULL;

    u->buffer.pos = u->buffer.start;
    u->buffer.last = u->buffer.start;

    return NGX_OK;
}


/* the links of what was sent are gone; the bytes are in the copy */

static ngx_int_t
ngx_http_myservice_replay_unbuffered(ngx_http_request_t *r,
    ngx_http_myservice_replay_t *replay, ngx_buf_t *header)
{
    ngx_chain_t  *cl, **ll;

    header->pos = header->start;

    r->upstream->request_bufs = ngx_http_myservice_replay_link(r->pool,
                                                               header);
    if (r->upstream->request_bufs == NULL) {
        return NGX_ERROR;
    }

    ll = &r->upstream->request_bufs->next;

    for (cl = replay->bufs; cl; cl = cl->next) {
        cl->buf->pos = cl->buf->start;

        *ll = ngx_http_myservice_replay_link(r->pool, cl->buf);
        if (*ll == NULL) {
            return NGX_ERROR;
        }

        ll = &(*ll)->next;
    }

    r->request_body->bufs = NULL;

    for (cl = r->request_body->busy; cl; cl = cl->next) {
        cl->buf->pos = cl->buf->last;
    }

    /* until the request is sent again */

    r->read_event_handler = ngx_http_block_reading;

    return NGX_OK;
}


ngx_int_t
ngx_http_myservice_replay_body(ngx_http_request_t *r,
    ngx_http_myservice_replay_t *replay, ngx_chain_t **body)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl, **ll;

    if (replay->over || !replay->complete) {
        return NGX_DECLINED;
    }

    ll = body;

    for (cl = replay->bufs; cl; cl = cl->next) {

        b = ngx_alloc_buf(r->pool);
        if (b == NULL) {
            return NGX_ERROR;
        }

        *b = *cl->buf;
        b->pos = b->start;

        *ll = ngx_http_myservice_replay_link(r->pool, b);
        if (*ll == NULL) {
            return NGX_ERROR;
        }

        ll = &(*ll)->next;
    }

    *ll = NULL;

    return NGX_OK;
}


static ngx_chain_t *
ngx_http_myservice_replay_link(ngx_pool_t *pool, ngx_buf_t *buf)
{
    ngx_chain_t  *cl;

    cl = ngx_alloc_chain_link(pool);

    if (cl) {
        cl->buf = buf;
        cl->next = NULL;
    }

    return cl;
}


/*
 * For a kept-alive connection the grpc module writes the stream id into the
 * header buffer and does not restore it: on a fresh one it must be 1 again.
 */

static void
ngx_http_myservice_replay_stream_id(ngx_buf_t *b)
{
    u_char  *p;

    p = b->start + NGX_HTTP_MYSERVICE_PREFACE;

    while (b->last - p >= NGX_HTTP_MYSERVICE_FRAME) {

        if (p[3] == NGX_HTTP_MYSERVICE_HEADERS
            || p[3] == NGX_HTTP_MYSERVICE_CONTINUATION)
        {
            p[5] = 0;
            p[6] = 0;
            p[7] = 0;
            p[8] = 1;
        }

        p += NGX_HTTP_MYSERVICE_FRAME + (p[0] << 16 | p[1] << 8 | p[2]);
    }
}
