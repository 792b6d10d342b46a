/*
 * What a fake writes.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <check.h>

#include "my_service.pb-c.h"

#include "fake_conn.h"


static void
fake_write(fake_conn_t *conn, const void *data, size_t len)
{
    size_t          size;
    ssize_t         n;
    const uint8_t  *p;

    if (conn->rest_len > 0) {
        /* after a frame that was cut */
        ck_assert_uint_le(conn->rest_len + len, sizeof(conn->rest));
        memcpy(conn->rest + conn->rest_len, data, len);
        conn->rest_len += len;
        return;
    }

    for (p = data; len > 0; p += n, len -= (size_t) n) {
        size = atomic_load(&conn->fake->bytewise) ? 1 : len;
        n = conn->fd == -1 ? -1 : send(conn->fd, p, size,
                                       MSG_NOSIGNAL|MSG_DONTWAIT);

        if (n == -1 && errno == EAGAIN) {
            atomic_store(&conn->fake->full, true);
            n = send(conn->fd, p, size, MSG_NOSIGNAL);
        }

        if (n <= 0) {
            return;
        }
    }
}


uint8_t *
fake_u32(uint8_t *p, uint32_t n)
{
    *p++ = (uint8_t) (n >> 24);
    *p++ = (uint8_t) (n >> 16);
    *p++ = (uint8_t) (n >> 8);
    *p++ = (uint8_t) n;

    return p;
}


/* The answer to the PING shows that the begin was read; they come in one. */
static void
fake_write_cut(fake_conn_t *conn, const uint8_t *frame, size_t len)
{
    uint8_t  begin[17 + 128] = { 0, 0, 8, PING };

    ck_assert_uint_lt(conn->cut, len);
    ck_assert_uint_le(17 + conn->cut, sizeof(begin));
    ck_assert_uint_le(len, sizeof(conn->rest));

    memcpy(begin + 17, frame, conn->cut);
    fake_write(conn, begin, 17 + conn->cut);

    conn->rest_len = len - conn->cut;
    memcpy(conn->rest, frame + conn->cut, conn->rest_len);
    conn->cut = 0;
}


void
fake_frame(fake_conn_t *conn, uint8_t type, uint8_t flags, uint32_t stream,
    const void *payload, size_t len)
{
    uint8_t  frame[9 + FRAME_MAX], *p;

    ck_assert_uint_le(len, FRAME_MAX);

    p = fake_u32(frame, (uint32_t) len << 8);
    p[-1] = type;
    *p++ = flags;
    p = fake_u32(p, stream);
    memcpy(p, payload, len);

    fake_flow_sent(conn, type, flags, stream, payload, len);

    if (conn->cut == 0) {
        fake_write(conn, frame, 9 + len);

    } else {
        fake_write_cut(conn, frame, 9 + len);
    }
}


void
fake_frame_rest(fake_conn_t *conn)
{
    size_t  len;

    len = conn->rest_len;
    conn->rest_len = 0;
    fake_write(conn, conn->rest, len);
}


void
fake_cut(fake_call_t *call, size_t cut)
{
    call->conn->cut = cut;
}


void
fake_bytes(fake_call_t *call, const void *data, size_t len)
{
    fake_write(call->conn, data, len);
}


/* RFC 7541 6.2.2 */
uint8_t *
fake_field(uint8_t *p, const char *name, const char *value)
{
    size_t  n, v;

    n = strlen(name);
    v = strlen(value);

    *p++ = 0;
    *p++ = (uint8_t) n;
    p = (uint8_t *) memcpy(p, name, n) + n;

    if (v < 127) {
        *p++ = (uint8_t) v;

    } else {
        /* RFC 7541 5.1 */
        *p++ = 127;

        for (v -= 127; v > 127; v >>= 7) {
            *p++ = (uint8_t) (0x80 | (v & 0x7f));
        }

        *p++ = (uint8_t) v;
        v = strlen(value);
    }

    return (uint8_t *) memcpy(p, value, v) + v;
}


static uint8_t *
fake_status_fields(fake_call_t *call, uint8_t *p, int status,
    const char *message)
{
    char  text[16];

    snprintf(text, sizeof(text), "%d", status);
    p = fake_field(p, "grpc-status", text);

    if (message != NULL) {
        p = fake_field(p, "grpc-message", message);
    }

    if (call->epoch != NULL) {
        p = fake_field(p, "session-epoch", call->epoch);
    }

    return call->trailer[0] == NULL ? p : fake_field(p, call->trailer[0],
                                                     call->trailer[1]);
}


static uint8_t *
fake_response_fields(uint8_t *p)
{
    *p++ = 0x88;                        /* :status 200, RFC 7541 appendix A */

    return fake_field(p, "content-type", "application/grpc");
}


void
fake_headers(fake_call_t *call)
{
    size_t   i;
    uint8_t  block[512], *p;

    p = fake_response_fields(block);

    for (i = 0; i < 4 && call->more[i][0] != NULL; i++) {
        p = fake_field(p, call->more[i][0], call->more[i][1]);
    }

    fake_frame(call->conn, HEADERS, END_HEADERS, call->stream, block,
               (size_t) (p - block));
}


void
fake_block(fake_call_t *call, uint8_t flags, const char *const (*fields)[2])
{
    uint8_t  block[4096], *p;

    for (p = block; (*fields)[0] != NULL; fields++) {
        ck_assert_uint_lt((size_t) (p - block) + 8 + strlen((*fields)[0])
                          + strlen((*fields)[1]), sizeof(block));
        p = fake_field(p, (*fields)[0], (*fields)[1]);
    }

    fake_frame(call->conn, HEADERS, flags, call->stream, block,
               (size_t) (p - block));
}


void
fake_trailers(fake_call_t *call, int status, const char *message)
{
    uint8_t  block[1024], *p;

    p = fake_status_fields(call, block, status, message);
    fake_frame(call->conn, HEADERS, END_HEADERS | END_STREAM, call->stream,
               block, (size_t) (p - block));
}


void
fake_refuse(fake_call_t *call, int status, const char *message)
{
    uint8_t  block[1024], *p;

    p = fake_status_fields(call, fake_response_fields(block), status,
                           message);
    fake_frame(call->conn, HEADERS, END_HEADERS | END_STREAM, call->stream,
               block, (size_t) (p - block));
}


/* Packs an EchoResponse with its 5-byte prefix; returns its size. */
static size_t
fake_pack(fake_call_t *call, int index, uint8_t *message)
{
    size_t                   len;
    MyService__EchoResponse  response = MY_SERVICE__ECHO_RESPONSE__INIT;

    response.pod_name = (char *) call->fake->name;
    response.server_value = (char *) "my_service";
    response.index = index;

    len = my_service__echo_response__pack(&response, message + 5);
    message[0] = 0;
    (void) fake_u32(message + 1, (uint32_t) len);

    return len + 5;
}


void
fake_message(fake_call_t *call, int index)
{
    size_t   len;
    uint8_t  message[512];

    len = fake_pack(call, index, message);
    fake_frame(call->conn, DATA, 0, call->stream, message, len);
}


void
fake_half_message(fake_call_t *call)
{
    size_t   len;
    uint8_t  message[512];

    len = fake_pack(call, 0, message);
    fake_frame(call->conn, DATA, 0, call->stream, message, len / 2);
}


void
fake_goaway(fake_call_t *call)
{
    uint8_t  payload[8];

    /* the last stream that was, NO_ERROR */
    (void) fake_u32(fake_u32(payload,
                             call->stream > 2 ? call->stream - 2 : 0), 0);
    fake_frame(call->conn, GOAWAY, 0, 0, payload, 8);
}


void
fake_reset(fake_call_t *call, uint32_t error)
{
    uint8_t  payload[4];

    (void) fake_u32(payload, error);
    fake_frame(call->conn, RST_STREAM, 0, call->stream, payload, 4);
}


void
fake_close_conn(fake_conn_t *conn)
{
    if (conn->fd != -1) {
        close(conn->fd);
        conn->fd = -1;
        atomic_fetch_sub(&conn->fake->seen.open, 1);
    }
}


void
fake_close(fake_call_t *call)
{
    fake_close_conn(call->conn);
}


void
fake_ok(fake_call_t *call)
{
    fake_headers(call);
    fake_message(call, 0);
    fake_trailers(call, 0, NULL);
}


void
fake_health(fake_call_t *call, int serving)
{
    uint8_t  message[7] = { 0, 0, 0, 0, 2, 0x08, 0 };

    if (serving < 0) {
        fake_refuse(call, -serving, "");
        return;
    }

    message[6] = (uint8_t) serving;
    fake_headers(call);
    fake_frame(call->conn, DATA, 0, call->stream, message, sizeof(message));
    fake_trailers(call, 0, NULL);
}
