/*
 * What a fake knows of streams and windows. The test fails when the gateway
 * breaks a rule of HTTP/2.
 */

#include <check.h>
#include <string.h>

#include "fake_conn.h"


/* RFC 9113 section 6.5.2 */
#define HEADER_TABLE_SIZE       1
#define MAX_CONCURRENT_STREAMS  3
#define INITIAL_WINDOW_SIZE     4

#define WINDOW_DEFAULT          65535
#define WINDOW_MAX              0x7fffffff
#define CANCEL                  8


static uint32_t
read_u32(const uint8_t *p)
{
    return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16
           | (uint32_t) p[2] << 8 | p[3];
}


fake_stream_t *
fake_flow_find(fake_conn_t *conn, uint32_t id)
{
    fake_stream_t  *stream;

    stream = &conn->streams[id / 2 % STREAMS_MAX];

    return id != 0 && stream->call.stream == id ? stream : NULL;
}


/* Each side may end first, a reset ends both. */
static void
ended(fake_conn_t *conn, fake_stream_t *stream, bool in, bool out)
{
    if (stream->in_end && stream->out_end) {
        return;
    }

    stream->in_end |= in;
    stream->out_end |= out;

    if (stream->in_end && stream->out_end) {
        conn->open--;
    }
}


static fake_stream_t *
began(fake_conn_t *conn, uint32_t id)
{
    fake_stream_t  *stream;

    ck_assert_msg(id % 2 == 1 && id > conn->latest,
                  "stream %u after stream %u", id, conn->latest);

    stream = &conn->streams[id / 2 % STREAMS_MAX];
    memset(stream, 0, sizeof(fake_stream_t));
    stream->call.fake = conn->fake;
    stream->call.conn = conn;
    stream->call.stream = id;
    stream->in_left = conn->in_initial;
    stream->out_left = conn->out_initial;

    conn->latest = id;
    conn->open++;
    ck_assert_msg(conn->open <= conn->open_max, "%u streams, %u allowed",
                  conn->open, conn->open_max);

    if (conn->open > atomic_load(&conn->fake->seen.streams)) {
        atomic_store(&conn->fake->seen.streams, conn->open);
    }

    return stream;
}


static void
got_data(fake_conn_t *conn, fake_stream_t *stream, bool end, size_t len)
{
    fake_seen_t  *seen;

    seen = &conn->fake->seen;
    atomic_fetch_add(&seen->data, len);

    if (len > atomic_load(&seen->largest)) {
        atomic_store(&seen->largest, len);
    }

    conn->in_left -= (int64_t) len;
    ck_assert_msg(conn->in_left >= 0 || len == 0,
                  "DATA beyond the connection's window");

    if (stream != NULL) {
        stream->in_left -= (int64_t) len;
        ck_assert_msg(stream->in_left >= 0 || len == 0,
                      "DATA beyond the window of stream %u",
                      stream->call.stream);
    }

    if (len > 0 && atomic_load(&conn->fake->credit) == FAKE_CREDIT_ALL) {
        fake_window_update(conn, 0, (uint32_t) len);

        if (stream != NULL && !end) {
            fake_window_update(conn, stream->call.stream, (uint32_t) len);
        }
    }
}


/* The window of every stream changes with the initial one. */
static void
change(fake_conn_t *conn, bool out, int64_t initial)
{
    size_t          i;
    int64_t        *base, delta;
    fake_stream_t  *stream;

    base = out ? &conn->out_initial : &conn->in_initial;
    delta = initial - *base;
    *base = initial;

    for (i = 0; i < STREAMS_MAX; i++) {
        stream = &conn->streams[i];

        if (stream->call.stream != 0) {
            *(out ? &stream->out_left : &stream->in_left) += delta;
        }
    }
}


/* A setting that allows more counts when the fake has sent it, one that allows
 * less when the gateway has acknowledged it. */
static void
apply(fake_conn_t *conn, const fake_setting_t *setting, bool acknowledged)
{
    switch (setting->id) {

    case HEADER_TABLE_SIZE:
        if (acknowledged) {
            ck_assert_int_eq(nghttp2_hd_inflate_change_table_size(
                                          conn->inflater, setting->value), 0);
        }
        break;

    case MAX_CONCURRENT_STREAMS:
        if (acknowledged || setting->value > conn->open_max) {
            conn->open_max = setting->value;
        }
        break;

    case INITIAL_WINDOW_SIZE:
        if (acknowledged || setting->value > conn->in_initial) {
            change(conn, false, setting->value);
        }
        break;
    }
}


static void
got_settings(fake_conn_t *conn, uint8_t flags, const uint8_t *p, size_t len)
{
    size_t  i;

    if (flags & ACK) {
        for (i = 0; i < conn->nsent; i++) {
            apply(conn, &conn->sent[i], true);
        }

        conn->nsent = 0;
        return;
    }

    ck_assert_uint_eq(len % 6, 0);

    for ( /* void */ ; len > 0; p += 6, len -= 6) {
        if (p[0] == 0 && p[1] == INITIAL_WINDOW_SIZE) {
            change(conn, true, read_u32(p + 2));
            atomic_store(&conn->fake->seen.window, read_u32(p + 2));
        }
    }
}


static void
got_window(fake_conn_t *conn, fake_stream_t *stream, uint32_t id, uint32_t n)
{
    int64_t  *window;

    ck_assert_uint_gt(n, 0);

    if (id != 0) {
        atomic_fetch_add(&conn->fake->seen.credit, n);
    }

    window = id == 0 ? &conn->out_left
             : stream != NULL ? &stream->out_left : NULL;

    if (window != NULL) {
        *window += n;
        ck_assert_int_le(*window, WINDOW_MAX);
    }

    if (stream != NULL && stream->pours) {
        fake_pour(&stream->call);
    }
}


fake_stream_t *
fake_flow_got(fake_conn_t *conn, uint8_t type, uint8_t flags, uint32_t id,
    const uint8_t *payload, size_t len)
{
    fake_seen_t    *seen;
    fake_stream_t  *stream;

    seen = &conn->fake->seen;
    stream = fake_flow_find(conn, id);

    ck_assert_msg(conn->block_stream == 0
                  || (type == CONTINUATION && id == conn->block_stream),
                  "a frame of type %d inside of a header", type);
    ck_assert_msg(id <= conn->latest || type == HEADERS,
                  "a frame of type %d for stream %u, which has not begun",
                  type, id);

    switch (type) {

    case DATA:
        got_data(conn, stream, flags & END_STREAM, len);
        break;

    case HEADERS:
        stream = began(conn, id);
        break;

    case CONTINUATION:
        ck_assert_uint_ne(conn->block_stream, 0);
        atomic_fetch_add(&seen->continuations, 1);
        break;

    case RST_STREAM:
        atomic_fetch_add(&seen->resets, 1);
        atomic_fetch_add(&seen->cancels, read_u32(payload) == CANCEL);

        if (stream != NULL) {
            ended(conn, stream, true, true);
        }
        break;

    case SETTINGS:
        got_settings(conn, flags, payload, len);
        break;

    case PING:
        atomic_fetch_add(flags & ACK ? &seen->pongs : &seen->pings, 1);
        break;

    case GOAWAY:
        atomic_fetch_add(&seen->goaways, 1);
        break;

    case WINDOW_UPDATE:
        got_window(conn, stream, id, read_u32(payload));
        break;
    }

    if (type == HEADERS || type == CONTINUATION) {
        conn->block_stream = flags & END_HEADERS ? 0 : id;
    }

    if ((type == HEADERS || type == DATA) && (flags & END_STREAM)
        && stream != NULL)
    {
        ended(conn, stream, true, false);
    }

    return stream;
}


void
fake_flow_sent(fake_conn_t *conn, uint8_t type, uint8_t flags, uint32_t id,
    const uint8_t *payload, size_t len)
{
    fake_stream_t  *stream;

    stream = fake_flow_find(conn, id);

    if (type == WINDOW_UPDATE && id == 0 && len == 4) {
        conn->in_left += read_u32(payload);
    }

    if (type == DATA) {
        conn->out_left -= (int64_t) len;
    }

    if (stream == NULL) {
        return;
    }

    if (type == WINDOW_UPDATE && len == 4) {
        stream->in_left += read_u32(payload);

    } else if (type == DATA) {
        stream->out_left -= (int64_t) len;
    }

    if (type == RST_STREAM) {
        ended(conn, stream, true, true);

    } else if ((type == HEADERS || type == DATA) && (flags & END_STREAM)) {
        ended(conn, stream, false, true);
    }
}


void
fake_flow_open(fake_conn_t *conn)
{
    conn->in_left = WINDOW_DEFAULT;
    conn->out_left = WINDOW_DEFAULT;
    conn->in_initial = WINDOW_DEFAULT;
    conn->out_initial = WINDOW_DEFAULT;
    conn->open_max = STREAMS_MAX;
    atomic_fetch_add(&conn->fake->seen.open, 1);
}


void
fake_flow_settings(fake_conn_t *conn, const fake_setting_t *settings, size_t n)
{
    size_t   i;
    uint8_t  payload[6 * SETTINGS_MAX], *p;

    p = payload;

    for (i = 0; i < n; i++) {
        *p++ = (uint8_t) (settings[i].id >> 8);
        *p++ = (uint8_t) settings[i].id;
        p = fake_u32(p, settings[i].value);

        ck_assert_uint_lt(conn->nsent, SETTINGS_MAX);
        conn->sent[conn->nsent++] = settings[i];
        apply(conn, &settings[i], false);
    }

    fake_frame(conn, SETTINGS, 0, 0, payload, 6 * n);
}
