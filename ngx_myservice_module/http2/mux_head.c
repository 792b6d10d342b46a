
/*
 * The header block of a call on a shared connection.
 *
 * The grpc module has encoded what is the call's alone.  Its fields go on
 * without indexing, so that the peer's table has only ":authority" and ":path",
 * and what stands behind the block: the fields that are the same for all calls
 * of a session.  A block is put as a whole, in the order of ids, or not at all:
 * then the table has not changed.
 */

#include "http2/mux_head.h"
#include "http2/mux_write.h"


/* the frames that a block is written in */
typedef struct {
    ms_mux_conn_t  *mc;
    uint32_t        id;
    uint8_t         type;
    uint8_t         flags;
    size_t          left;               /* of the block */
    size_t          room;               /* in the frame */
} ms_mux_head_t;


static ngx_int_t ms_mux_head_block(ms_mux_stream_t *s, u_char *p, size_t len);
static ngx_int_t ms_mux_head_open(ms_mux_stream_t *s);
static void ms_mux_head_put(ms_mux_head_t *head, const u_char *p, size_t len);


ngx_int_t
ms_mux_head(ms_mux_stream_t *s, ngx_buf_t *b)
{
    size_t          first, len;
    u_char         *p;
    ngx_int_t       rc;
    const uint8_t  *pos;

    pos = b->pos;
    first = s->out.rest;

    if (ms_mux_out_block(&s->out, &pos, b->last, &len) != 0) {
        ngx_log_error(NGX_LOG_ALERT, s->c.log, 0,
                      "the grpc module sends a header block in parts");
        return NGX_ERROR;
    }

    if (len == first) {
        rc = ms_mux_head_block(s, b->pos, len);

    } else {
        p = ngx_alloc(len, s->c.log);
        if (p == NULL) {
            return NGX_ERROR;
        }

        ms_mux_out_join(p, b->pos, first, len);
        rc = ms_mux_head_block(s, p, len);
        ngx_free(p);
    }

    b->pos += pos - b->pos;

    return rc;
}


static ngx_int_t
ms_mux_head_block(ms_mux_stream_t *s, u_char *p, size_t len)
{
    size_t          nbegin, nfields, size, n;
    u_char         *end;
    u_char          begin[MS_HPACK_BEGIN_MAX + MS_HPACK_PSEUDO_MAX];
    u_char          text[MS_HPACK_SHARE];
    const u_char   *fields;
    ms_mux_conn_t  *mc;
    ms_mux_head_t   head;

    if (len == 0 || ms_hpack_plain(p, len) != 0) {
        ngx_log_error(NGX_LOG_ALERT, s->c.log, 0,
                      "the grpc module sends what \"myservice_multiplex\" "
                      "does not know");
        return NGX_ERROR;
    }

    mc = s->conn;
    nfields = s->fields ? s->fields->len : 0;
    size = MS_HPACK_BEGIN_MAX + len + nfields;

    /* none of it may fail later */

    if (ms_mux_reserve(mc, size + (size / MS_FRAME_MAX + 1) * MS_FRAME_HEADER)
        != NGX_OK
        || ms_mux_head_open(s) != NGX_OK)
    {
        return NGX_ERROR;
    }

    end = ms_hpack_begin(&mc->table, begin);
    n = 0;
    fields = nfields ? s->fields->data : NULL;

    /* before its SETTINGS nobody knows what table the peer has */

    if (mc->settings && nfields && nfields <= sizeof(text)) {
        n = ms_hpack_pseudo(&mc->table, &end, p, len);
        nfields = ms_hpack_fields(&mc->table, text, fields, nfields) - text;
        fields = text;
    }

    nbegin = end - begin;

    head.mc = mc;
    head.id = s->id;
    head.type = MS_FRAME_HEADERS;
    head.flags = s->out.flags & MS_FLAG_END_STREAM;
    head.left = nbegin + len - n + nfields;
    head.room = 0;

    ms_mux_head_put(&head, begin, nbegin);
    ms_mux_head_put(&head, p + n, len - n);
    ms_mux_head_put(&head, fields, nfields);

    if (head.flags) {
        s->out_closed = 1;
    }

    return NGX_OK;
}


static ngx_int_t
ms_mux_head_open(ms_mux_stream_t *s)
{
    ms_mux_conn_t     *mc;
    ms_mux_stream_t  **p;

    mc = s->conn;

    s->id = ms_mux_id(&mc->next_id);

    if (s->id == 0) {
        mc->draining = 1;
        return NGX_ERROR;
    }

    s->place = mc->put;
    s->since = ngx_current_msec;

    if ((ngx_msec_int_t) (mc->asked - mc->seen) <= 0) {
        mc->asked = s->since;
    }

    p = &mc->buckets[(s->id >> 1) % MS_MUX_BUCKETS];
    s->next = *p;
    *p = s;

    return NGX_OK;
}


static void
ms_mux_head_put(ms_mux_head_t *head, const u_char *p, size_t len)
{
    size_t   n;
    uint8_t  flags, frame[MS_FRAME_HEADER];

    while (len) {

        if (head->room == 0) {
            head->room = ngx_min(head->left, MS_FRAME_MAX);
            flags = head->type == MS_FRAME_HEADERS ? head->flags : 0;

            if (head->room == head->left) {
                flags |= MS_FLAG_END_HEADERS;
            }

            (void) ms_frame_put_header(frame, head->room, head->type, flags,
                                       head->id);
            ms_mux_put(head->mc, frame, MS_FRAME_HEADER);

            head->type = MS_FRAME_CONTINUATION;
        }

        n = ngx_min(len, head->room);

        ms_mux_put(head->mc, p, n);

        p += n;
        len -= n;
        head->room -= n;
        head->left -= n;
    }
}
