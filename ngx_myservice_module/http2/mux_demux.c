
/* What an instance sends on a shared connection, to whom it belongs. */

#include "http2/mux_demux.h"
#include "http2/mux_send.h"
#include "http2/mux_stream.h"
#include "http2/mux_write.h"


/* the connection's window is given back in parts */
#define MS_MUX_CREDIT  (MS_MUX_WINDOW_MAX / 4)


static ngx_int_t ms_mux_demux_piece(ms_mux_conn_t *mc, ms_mux_piece_t *piece,
    ms_mux_stream_t **current);
static ngx_int_t ms_mux_demux_leave(ms_mux_conn_t *mc,
    ms_mux_stream_t **current);
static ngx_int_t ms_mux_demux_all(ms_mux_conn_t *mc,
    ms_mux_stream_t **current);
static ngx_int_t ms_mux_demux_deliver(ms_mux_conn_t *mc, ms_mux_stream_t *s);
static ngx_int_t ms_mux_demux_control(ms_mux_conn_t *mc, ms_mux_piece_t *piece);
static ngx_int_t ms_mux_demux_settings(ms_mux_conn_t *mc,
    ms_mux_piece_t *piece);
static ngx_int_t ms_mux_demux_rewindow(ms_mux_conn_t *mc);
static ngx_int_t ms_mux_demux_window(ms_mux_conn_t *mc, ms_mux_piece_t *piece);
static void ms_mux_demux_goaway(ms_mux_conn_t *mc, ms_mux_piece_t *piece);


/* NGX_ERROR: without memory, or the instance violates HTTP/2 */

ngx_int_t
ms_mux_demux(ms_mux_conn_t *mc, u_char *p, u_char *last)
{
    ngx_int_t         rc;
    ms_mux_in_e       what;
    ms_mux_piece_t    piece;
    ms_mux_stream_t  *s;

    s = NULL;

    for ( ;; ) {
        what = ms_mux_in_next(&mc->in, &p, last, &piece);

        if (what == MS_MUX_IN_STREAM) {
            rc = ms_mux_demux_piece(mc, &piece, &s);

        } else {
            rc = ms_mux_demux_all(mc, &s);
        }

        if (rc == NGX_OK && what == MS_MUX_IN_CONTROL) {
            rc = ms_mux_demux_control(mc, &piece);
        }

        if (what == MS_MUX_IN_BAD) {
            rc = NGX_DECLINED;
        }

        if (rc != NGX_OK || what == MS_MUX_IN_MORE) {
            break;
        }
    }

    if (rc == NGX_OK) {
        rc = ms_mux_demux_rewindow(mc);
    }

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_ERR, mc->c->log, 0,
                      "connection is closed: instance violates HTTP/2, "
                      "instance=\"%V\"", &mc->peer->name);

        while (!ngx_queue_empty(&mc->streams)) {
            ms_mux_stream_spoil(ngx_queue_data(ngx_queue_head(&mc->streams),
                                               ms_mux_stream_t, queue));
        }
    }

    if (rc != NGX_OK || p == last) {
        return rc;
    }

    mc->carry_len = last - p;
    mc->carry = ngx_alloc(mc->carry_len, mc->c->log);
    if (mc->carry == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(mc->carry, p, mc->carry_len);

    return NGX_OK;
}


/* pieces for the same stream are given to it together */

static ngx_int_t
ms_mux_demux_piece(ms_mux_conn_t *mc, ms_mux_piece_t *piece,
    ms_mux_stream_t **current)
{
    ngx_int_t         rc;
    ms_mux_stream_t  *s;

    mc->pings = 0;
    mc->received += piece->data;

    if (mc->received > MS_MUX_CREDIT) {
        ms_mux_control_u32(mc, MS_FRAME_WINDOW_UPDATE, 0,
                           (uint32_t) mc->received);
        mc->received = 0;
    }

    s = *current;

    if (s == NULL || s->id != piece->stream) {

        if (piece->stream >= mc->next_id && (piece->stream & 1)) {
            rc = ms_mux_demux_all(mc, current);
            return rc == NGX_OK ? NGX_DECLINED : rc;
        }

        rc = ms_mux_demux_leave(mc, current);

        if (rc != NGX_OK) {
            return rc;
        }

        s = ms_mux_stream_find(mc, piece->stream);
    }

    if (s == NULL || s->in_closed) {

        /* for a call that has ended */

        return NGX_OK;
    }

    if (*current == NULL) {
        *current = s;
        s->span = piece->pos;
    }

    s->span_last = piece->last;
    s->span_type = piece->type;
    s->unacked += piece->data;

    if (piece->end) {
        s->in_closed = 1;

        if (piece->type == MS_FRAME_RST_STREAM) {
            s->out_closed = 1;
        }
    }

    return NGX_OK;
}


/*
 * Another stream has its turn.  An instance that answers many calls at once
 * sends their headers first: a header alone waits for what the same read may
 * have for its call, which then has less to do.
 */

static ngx_int_t
ms_mux_demux_leave(ms_mux_conn_t *mc, ms_mux_stream_t **current)
{
    ms_mux_stream_t  *s;

    s = *current;
    *current = NULL;

    if (s == NULL) {
        return NGX_OK;
    }

    if (s->held || s->in_closed || s->span_type != MS_FRAME_HEADERS) {
        return ms_mux_demux_deliver(mc, s);
    }

    s->held = s->span;
    s->held_last = s->span_last;
    s->span = NULL;
    s->span_last = NULL;

    ngx_queue_insert_tail(&mc->held, &s->holding);

    return NGX_OK;
}


static ngx_int_t
ms_mux_demux_all(ms_mux_conn_t *mc, ms_mux_stream_t **current)
{
    ngx_int_t         rc;
    ms_mux_stream_t  *s;

    s = *current;
    *current = NULL;

    rc = s ? ms_mux_demux_deliver(mc, s) : NGX_OK;

    while (rc == NGX_OK && !ngx_queue_empty(&mc->held)) {
        s = ngx_queue_data(ngx_queue_head(&mc->held), ms_mux_stream_t,
                           holding);
        rc = ms_mux_demux_deliver(mc, s);
    }

    return rc;
}


static ngx_int_t
ms_mux_demux_deliver(ms_mux_conn_t *mc, ms_mux_stream_t *s)
{
    uint32_t   id;
    ngx_int_t  rc;

    id = s->id;
    rc = ms_mux_stream_deliver(mc, s);

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_ERR, mc->c->log, 0,
                      "stream %uD has more in it than its window allows, "
                      "instance=\"%V\"", id, &mc->peer->name);
    }

    return rc;
}


/* NGX_DECLINED: the instance violates HTTP/2 */

static ngx_int_t
ms_mux_demux_control(ms_mux_conn_t *mc, ms_mux_piece_t *piece)
{
    switch (piece->type) {

    case MS_FRAME_SETTINGS:
        return ms_mux_demux_settings(mc, piece);

    case MS_FRAME_PING:

        if (!(piece->flags & MS_FLAG_ACK)) {
            ms_mux_control(mc, MS_FRAME_PING, MS_FLAG_ACK, 0, piece->pos, 8);
        }

        return NGX_OK;

    case MS_FRAME_WINDOW_UPDATE:
        return ms_mux_demux_window(mc, piece);

    case MS_FRAME_GOAWAY:
        ms_mux_demux_goaway(mc, piece);
        return NGX_OK;

    default:
        return NGX_OK;
    }
}


static ngx_int_t
ms_mux_demux_settings(ms_mux_conn_t *mc, ms_mux_piece_t *piece)
{
    ms_mux_settings_t  settings;

    if (piece->flags & MS_FLAG_ACK) {
        return NGX_OK;
    }

    /* without the setting: no limit in the first of them, the same later */

    settings.limit = mc->settings ? mc->peer->limit : MS_MUX_WINDOW_MAX;
    settings.window = mc->init_window;
    settings.table = mc->table.wanted;

    if (ms_mux_settings(piece->pos, piece->last - piece->pos, &settings) != 0)
    {
        return NGX_DECLINED;
    }

    mc->settings = 1;
    mc->peer->limit = settings.limit;
    ms_hpack_setting(&mc->table, settings.table);

    if (settings.window != mc->init_window) {
        mc->init_window = settings.window;
        mc->rewindow = 1;
    }

    ms_mux_control(mc, MS_FRAME_SETTINGS, MS_FLAG_ACK, 0, NULL, 0);

    return NGX_OK;
}


/* once for all SETTINGS of a read: there may be many of them, and of streams */

static ngx_int_t
ms_mux_demux_rewindow(ms_mux_conn_t *mc)
{
    ngx_queue_t  *q;

    if (!mc->rewindow) {
        return NGX_OK;
    }

    mc->rewindow = 0;

    for (q = ngx_queue_head(&mc->streams);
         q != ngx_queue_sentinel(&mc->streams);
         q = ngx_queue_next(q))
    {
        if (ms_mux_stream_credit(ngx_queue_data(q, ms_mux_stream_t, queue), 0)
            != NGX_OK)
        {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ms_mux_demux_window(ms_mux_conn_t *mc, ms_mux_piece_t *piece)
{
    uint32_t          n;
    ms_mux_stream_t  *s;

    n = ms_frame_u31(piece->pos);

    if (n == 0) {
        return NGX_DECLINED;
    }

    if (piece->stream == 0) {

        if (ms_mux_window_add(&mc->window, n) != 0) {
            return NGX_DECLINED;
        }

        ms_mux_send_unblock(mc);

        return NGX_OK;
    }

    s = ms_mux_stream_find(mc, piece->stream);

    return s && ms_mux_stream_credit(s, n) != NGX_OK ? NGX_DECLINED : NGX_OK;
}


/* streams without an id begin nothing here: they are as refused */

static void
ms_mux_demux_goaway(ms_mux_conn_t *mc, ms_mux_piece_t *piece)
{
    uint32_t          last, error;
    ngx_queue_t      *q;
    ms_mux_stream_t  *s;

    last = ms_frame_u31(piece->pos);
    error = (uint32_t) piece->pos[4] << 24 | piece->pos[5] << 16
            | piece->pos[6] << 8 | piece->pos[7];

    ngx_log_error(NGX_LOG_INFO, mc->c->log, 0,
                  "instance sends GOAWAY: error %uD, last stream %uD, "
                  "instance=\"%V\"", error, last, &mc->peer->name);

    mc->draining = 1;

    for (q = ngx_queue_head(&mc->streams);
         q != ngx_queue_sentinel(&mc->streams);
         /* void */)
    {
        s = ngx_queue_data(q, ms_mux_stream_t, queue);
        q = ngx_queue_next(q);

        if (s->id == 0) {
            ms_mux_stream_lost(s, 1, 0);

        } else if (s->id > last && !s->in_closed) {
            ms_mux_stream_refuse(s, error);
        }
    }

    ms_mux_flush_soon(mc);
}
