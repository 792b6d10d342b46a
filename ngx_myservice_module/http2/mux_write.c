
/* What a shared connection is about to write. */

#include "http2/mux_write.h"


#define MS_MUX_BLOCK       16384

/* blocks of a worker that wait to be used again: 1m */
#define MS_MUX_BLOCKS_MAX  64


static ngx_uint_t ms_mux_flooded(ms_mux_conn_t *mc);
static void ms_mux_unreserve(ms_mux_conn_t *mc);
static ms_mux_block_t *ms_mux_block(ngx_log_t *log);
static void ms_mux_block_free(ms_mux_block_t *b);


/* of this worker */

static ms_mux_block_t  *ms_mux_blocks;
static ngx_uint_t       ms_mux_nblocks;


ngx_int_t
ms_mux_reserve(ms_mux_conn_t *mc, size_t len)
{
    size_t           room;
    ngx_chain_t    **ll;
    ms_mux_block_t  *b;

    room = 0;
    ll = NULL;

    if (mc->out_last) {
        room = mc->out_last->buf.end - mc->out_last->buf.last;
        ll = &mc->out_last->cl.next;

        /* reserved before */

        while (*ll) {
            room += MS_MUX_BLOCK;
            ll = &(*ll)->next;
        }
    }

    while (room < len) {
        b = ms_mux_block(mc->c->log);
        if (b == NULL) {
            return NGX_ERROR;
        }

        if (ll) {
            *ll = &b->cl;

        } else {
            mc->out = b;
            mc->out_last = b;
        }

        ll = &b->cl.next;
        room += MS_MUX_BLOCK;
    }

    return NGX_OK;
}


void
ms_mux_put(ms_mux_conn_t *mc, const u_char *p, size_t len)
{
    size_t           n;
    ngx_buf_t       *buf;
    ms_mux_block_t  *b;

    mc->out_size += len;
    mc->put += len;

    for (b = mc->out_last; b && len; b = (ms_mux_block_t *) b->cl.next) {
        buf = &b->buf;

        n = ngx_min(len, (size_t) (buf->end - buf->last));
        buf->last = ngx_cpymem(buf->last, p, n);
        p += n;
        len -= n;

        mc->out_last = b;
    }
}


void
ms_mux_control(ms_mux_conn_t *mc, ngx_uint_t type, ngx_uint_t flags,
    uint32_t stream, const u_char *payload, size_t len)
{
    uint8_t  head[MS_FRAME_HEADER];

    if (mc->broken) {
        return;
    }

    if (ms_mux_flooded(mc)
        || ms_mux_reserve(mc, MS_FRAME_HEADER + len) != NGX_OK)
    {
        mc->broken = 1;

    } else {
        (void) ms_frame_put_header(head, len, (uint8_t) type, (uint8_t) flags,
                                   stream);
        ms_mux_put(mc, head, MS_FRAME_HEADER);
        ms_mux_put(mc, payload, len);

        if (mc->controls++ == 0) {
            mc->controls_place = mc->put;
        }
    }

    ms_mux_flush_soon(mc);
}


/* a socket that takes bytes gets them at the end of this turn */

static ngx_uint_t
ms_mux_flooded(ms_mux_conn_t *mc)
{
    if (mc->c->write->ready
        || mc->controls < MS_MUX_CONTROLS_MAX
                          + MS_MUX_CONTROLS_CALL * mc->conf->streams)
    {
        return 0;
    }

    ngx_log_error(NGX_LOG_ERR, mc->c->log, 0,
                  "connection is closed: instance sends and does not read, "
                  "instance=\"%V\"", &mc->peer->name);

    return 1;
}


void
ms_mux_control_u32(ms_mux_conn_t *mc, ngx_uint_t type, uint32_t stream,
    uint32_t value)
{
    uint8_t  payload[4];

    (void) ms_frame_put_u32(payload, value);

    ms_mux_control(mc, type, 0, stream, payload, 4);
}


void
ms_mux_flush_soon(ms_mux_conn_t *mc)
{
    if (!mc->flush.posted) {
        ngx_post_event(&mc->flush, &ngx_posted_events);
    }
}


ngx_int_t
ms_mux_flush(ms_mux_conn_t *mc)
{
    ngx_uint_t       error;
    ngx_chain_t     *cl;
    ms_mux_block_t  *b;

    if (mc->out_size == 0 || !mc->c->write->ready) {
        return NGX_OK;
    }

    ms_mux_unreserve(mc);

    cl = mc->c->send_chain(mc->c, &mc->out->cl, 0);

    error = cl == NGX_CHAIN_ERROR;

    if (error) {
        mc->err = ngx_socket_errno;

        /* the first of several writes may have gone well */

        cl = &mc->out->cl;
    }

    while (mc->out && &mc->out->cl != cl) {
        b = mc->out;
        mc->out = (ms_mux_block_t *) b->cl.next;
        ms_mux_block_free(b);
    }

    if (mc->out == NULL) {
        mc->out_last = NULL;
    }

    mc->out_size = 0;

    for ( /* void */ ; cl; cl = cl->next) {
        mc->out_size += cl->buf->last - cl->buf->pos;
    }

    if (error) {
        return NGX_ERROR;
    }

    if (ms_mux_written(mc) >= mc->controls_place) {
        mc->controls = 0;
    }

    return NGX_OK;
}


/* empty blocks behind the last one: TLS writes no empty record */

static void
ms_mux_unreserve(ms_mux_conn_t *mc)
{
    ms_mux_block_t  *b;

    while (mc->out_last->cl.next) {
        b = (ms_mux_block_t *) mc->out_last->cl.next;
        mc->out_last->cl.next = b->cl.next;
        ms_mux_block_free(b);
    }
}


void
ms_mux_write_free(ms_mux_conn_t *mc)
{
    ms_mux_block_t  *b;

    while (mc->out) {
        b = mc->out;
        mc->out = (ms_mux_block_t *) b->cl.next;
        ms_mux_block_free(b);
    }

    mc->out_last = NULL;
    mc->out_size = 0;
}


static ms_mux_block_t *
ms_mux_block(ngx_log_t *log)
{
    ngx_buf_t       *buf;
    ms_mux_block_t  *b;

    b = ms_mux_blocks;

    if (b) {
        ms_mux_blocks = (ms_mux_block_t *) b->cl.next;
        ms_mux_nblocks--;

    } else {
        b = ngx_alloc(sizeof(ms_mux_block_t) + MS_MUX_BLOCK, log);
        if (b == NULL) {
            return NULL;
        }
    }

    buf = &b->buf;

    ngx_memzero(buf, sizeof(ngx_buf_t));

    buf->pos = b->data;
    buf->last = b->data;
    buf->end = b->data + MS_MUX_BLOCK;
    buf->temporary = 1;

    b->cl.buf = buf;
    b->cl.next = NULL;

    return b;
}


static void
ms_mux_block_free(ms_mux_block_t *b)
{
    if (ms_mux_nblocks < MS_MUX_BLOCKS_MAX) {
        b->cl.next = (ngx_chain_t *) ms_mux_blocks;
        ms_mux_blocks = b;
        ms_mux_nblocks++;
        return;
    }

    ngx_free(b);
}
