
/* Keeps a copy of the request, and winds the upstream request back. */

#include "sessions/replay.h"

#include "core/compat.h"
#include "wire/frame.h"


/* RFC 9113 section 3.4 */
#define MS_PREFACE       (sizeof("PRI * HTTP/2.0\r\n\r\n"                     \
                                 "SM\r\n\r\n") - 1)

/* bytes that a buffer of the copy has free for later parts of the body */
#define MS_REPLAY_ROOM   4096

/* and one for a header for fields of an attempt */
#define MS_REPLAY_MORE   256


static ngx_buf_t *ms_replay_room(ngx_pool_t *pool, ms_replay_t *replay,
    size_t len);
static ngx_int_t ms_replay_upstream(ngx_http_request_t *r);
static ngx_int_t ms_replay_unbuffered(ngx_http_request_t *r,
    ms_replay_t *replay, ngx_buf_t *header);
static ngx_chain_t *ms_replay_link(ngx_pool_t *pool, ngx_buf_t *buf);
static void ms_replay_stream_id(ngx_buf_t *b);


void
ms_replay_init(ms_replay_t *replay, size_t limit)
{
    ngx_memzero(replay, sizeof(ms_replay_t));

    replay->last = &replay->bufs;
    replay->limit = limit;
}


ngx_int_t
ms_replay_copy(ngx_http_request_t *r, ms_replay_t *replay, ngx_chain_t *in)
{
    size_t        len;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

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

        b = ms_replay_room(r->pool, replay, len);
        if (b == NULL) {
            return NGX_ERROR;
        }

        if (len) {
            b->last = ngx_cpymem(b->last, cl->buf->pos, len);
        }

        b->last_buf = cl->buf->last_buf;

        replay->size += len;
        replay->complete = b->last_buf;
    }

    return NGX_OK;
}


/* however small the parts of a body are, the copy is not much larger */

static ngx_buf_t *
ms_replay_room(ngx_pool_t *pool, ms_replay_t *replay, size_t len)
{
    size_t        size;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    b = replay->room;

    if (b && (size_t) (b->end - b->last) >= len) {
        return b;
    }

    size = ngx_min(replay->size, MS_REPLAY_ROOM);
    size = ngx_min(size, replay->limit - replay->size);
    size = ngx_max(size, len);

    b = len ? ngx_create_temp_buf(pool, size) : ngx_calloc_buf(pool);
    if (b == NULL) {
        return NULL;
    }

    cl = ms_replay_link(pool, b);
    if (cl == NULL) {
        return NULL;
    }

    *replay->last = cl;
    replay->last = &cl->next;
    replay->room = b;

    return b;
}


ngx_int_t
ms_replay_rewind(ngx_http_request_t *r, ms_replay_t *replay, ngx_buf_t *header,
    ngx_int_t (*reinit)(ngx_http_request_t *r), void *grpc)
{
    off_t                 file_pos;
    ngx_chain_t          *cl;
    ngx_http_upstream_t  *u;
    ms_compat_ctx_t      *ctx;

    u = r->upstream;

    if (r->request_body_no_buffering && replay->over) {
        return NGX_DECLINED;
    }

    ms_replay_stream_id(header);

    if (reinit(r) != NGX_OK) {
        return NGX_ERROR;
    }

    ctx = grpc;
    ctx->in = NULL;
    ctx->out = NULL;
    ctx->busy = NULL;

    if (ms_replay_upstream(r) != NGX_OK) {
        return NGX_ERROR;
    }

    if (r->request_body_no_buffering) {

        if (ms_replay_unbuffered(r, replay, header) != NGX_OK)
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
ms_replay_upstream(ngx_http_request_t *r)
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


/* the chain links that were sent are gone, their bytes are in the copy */

static ngx_int_t
ms_replay_unbuffered(ngx_http_request_t *r, ms_replay_t *replay,
    ngx_buf_t *header)
{
    ngx_chain_t  *cl, **ll;

    header->pos = header->start;

    r->upstream->request_bufs = ms_replay_link(r->pool, header);
    if (r->upstream->request_bufs == NULL) {
        return NGX_ERROR;
    }

    /* later parts of the body are sent by nginx as usual */

    replay->room = NULL;

    ll = &r->upstream->request_bufs->next;

    for (cl = replay->bufs; cl; cl = cl->next) {
        cl->buf->pos = cl->buf->start;

        *ll = ms_replay_link(r->pool, cl->buf);
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


void
ms_replay_unsent(ngx_http_request_t *r)
{
    ngx_http_upstream_t  *u;

    u = r->upstream;

    /* the unsent bytes are still in u->request_bufs */

    u->output.buf = NULL;
    u->output.in = NULL;
    u->output.busy = NULL;

    r->read_event_handler = ngx_http_block_reading;

    u->request_sent = 0;
}


ngx_int_t
ms_replay_body(ngx_http_request_t *r, ms_replay_t *replay, ngx_chain_t **body)
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

        *ll = ms_replay_link(r->pool, b);
        if (*ll == NULL) {
            return NGX_ERROR;
        }

        ll = &(*ll)->next;
    }

    *ll = NULL;

    return NGX_OK;
}


ngx_int_t
ms_replay_block(ngx_buf_t *header, ms_block_t *block)
{
    u_char  *p;

    p = header->start + MS_PREFACE;

    return header->last > p && ms_block_find(block, p, header->last - p) == 0
           ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ms_replay_append(ngx_pool_t *pool, ngx_buf_t *header, ms_block_t *block,
    ms_fields_t *fields)
{
    size_t   size;
    u_char  *p;

    size = MS_PREFACE + ms_block_size(block, fields->len);

    if ((size_t) (header->end - header->start) < size) {

        size += MS_REPLAY_MORE;

        p = ngx_pnalloc(pool, size);
        if (p == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(p, header->start, MS_PREFACE + block->end);

        header->start = p;
        header->end = p + size;
    }

    p = header->start + MS_PREFACE;

    header->pos = header->start;
    header->last = p + ms_block_append(block, p, fields->data, fields->len);

    return NGX_OK;
}


ngx_int_t
ms_replay_keep(ngx_pool_t *pool, ngx_buf_t *header, ms_block_t *block,
    ms_fields_t *fields)
{
    if (ms_replay_append(pool, header, block, fields) != NGX_OK) {
        return NGX_ERROR;
    }

    return ms_replay_block(header, block);
}


static ngx_chain_t *
ms_replay_link(ngx_pool_t *pool, ngx_buf_t *buf)
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
ms_replay_stream_id(ngx_buf_t *b)
{
    u_char  *p;

    static const u_char  first[4] = { 0, 0, 0, 1 };

    p = b->start + MS_PREFACE;

    while (b->last - p >= MS_FRAME_HEADER) {

        if (p[MS_FRAME_TYPE] == MS_FRAME_HEADERS
            || p[MS_FRAME_TYPE] == MS_FRAME_CONTINUATION)
        {
            ngx_memcpy(&p[MS_FRAME_STREAM], first, sizeof(first));
        }

        p += MS_FRAME_HEADER + ms_frame_length(p);
    }
}
