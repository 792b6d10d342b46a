#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <nghttp2/nghttp2.h>

#include "my_service.pb-c.h"

#include "fake.h"
#include "harness.h"


#define CONNS_MAX    1024
#define STREAMS_MAX  64
#define INPUT_MAX    65536
#define PREFACE      24                 /* bytes of the client's magic */
#define WINDOW       16384              /* bytes taken before an update */
#define METADATA     32768

/* RFC 9113 section 6 */
#define DATA           0
#define HEADERS        1
#define RST_STREAM     3
#define SETTINGS       4
#define PING           6
#define GOAWAY         7
#define WINDOW_UPDATE  8

#define ACK            0x01
#define END_STREAM     0x01
#define END_HEADERS    0x04


struct fake_conn_s {
    int                   fd;           /* -1: free */
    bool                  preface;
    bool                  settings;
    unsigned              requests;
    size_t                taken;        /* since the last WINDOW_UPDATE */
    size_t                len;
    uint8_t               in[INPUT_MAX];
    nghttp2_hd_inflater  *inflater;
    fake_call_t           calls[STREAMS_MAX];  /* by stream / 2 */
};

struct fake_s {
    int             fd;
    const char     *name;
    fake_answer_pt  answer;
    pthread_t       thread;
    atomic_bool     stop;
    atomic_bool     late_settings;
    atomic_bool     at_once;
    atomic_uint     requests;
    atomic_uint     connections;
    pthread_mutex_t mutex;
    char            metadata[METADATA]; /* of the last request */
    fake_conn_t    *conns[CONNS_MAX];
};


/* Writing */

static void
fake_write(fake_conn_t *conn, const void *data, size_t len)
{
    ssize_t         n;
    const uint8_t  *p;

    for (p = data; len > 0; p += n, len -= (size_t) n) {
        n = conn->fd == -1 ? -1 : send(conn->fd, p, len, MSG_NOSIGNAL);

        if (n <= 0) {
            return;
        }
    }
}


static uint8_t *
fake_u32(uint8_t *p, uint32_t n)
{
    *p++ = (uint8_t) (n >> 24);
    *p++ = (uint8_t) (n >> 16);
    *p++ = (uint8_t) (n >> 8);
    *p++ = (uint8_t) n;

    return p;
}


static void
fake_frame(fake_conn_t *conn, uint8_t type, uint8_t flags, uint32_t stream,
    const void *payload, size_t len)
{
    uint8_t  frame[9 + 4096], *p;

    ck_assert_uint_le(len, 4096);

    p = fake_u32(frame, (uint32_t) len << 8);
    p[-1] = type;
    *p++ = flags;
    p = fake_u32(p, stream);
    memcpy(p, payload, len);

    fake_write(conn, frame, 9 + len);
}


/* A field without indexing and without Huffman code, RFC 7541 6.2.2. */
static uint8_t *
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
        /* RFC 7541 5.1, two bytes are enough here */
        ck_assert_uint_lt(v, 127 + 128 * 128);
        *p++ = 127;
        *p++ = (uint8_t) (0x80 | ((v - 127) & 0x7f));
        *p++ = (uint8_t) ((v - 127) >> 7);
    }

    return (uint8_t *) memcpy(p, value, v) + v;
}


static uint8_t *
fake_status_fields(uint8_t *p, int status, const char *message)
{
    char  text[16];

    snprintf(text, sizeof(text), "%d", status);
    p = fake_field(p, "grpc-status", text);

    return message == NULL ? p : fake_field(p, "grpc-message", message);
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
fake_trailers(fake_call_t *call, int status, const char *message)
{
    uint8_t  block[1024], *p;

    p = fake_status_fields(block, status, message);
    fake_frame(call->conn, HEADERS, END_HEADERS | END_STREAM, call->stream,
               block, (size_t) (p - block));
}


void
fake_refuse(fake_call_t *call, int status, const char *message)
{
    uint8_t  block[1024], *p;

    p = fake_status_fields(fake_response_fields(block), status, message);
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


static void
fake_close_conn(fake_conn_t *conn)
{
    if (conn->fd != -1) {
        close(conn->fd);
        conn->fd = -1;
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


/* Reading */

static void
fake_settings(fake_conn_t *conn)
{
    if (!conn->settings) {
        conn->settings = true;
        fake_frame(conn, SETTINGS, 0, 0, "", 0);
    }
}


static void
fake_copy(char *to, size_t size, const nghttp2_nv *nv)
{
    snprintf(to, size, "%.*s", (int) nv->valuelen, (const char *) nv->value);
}


/* "name: value" lines */
static void
fake_keep(fake_t *fake, size_t *used, const nghttp2_nv *nv)
{
    int  n;

    n = snprintf(fake->metadata + *used, METADATA - *used, "%.*s: %.*s\n",
                 (int) nv->namelen, (const char *) nv->name,
                 (int) nv->valuelen, (const char *) nv->value);
    *used += (size_t) n;
    ck_assert_uint_lt(*used, METADATA);
}


static void
fake_header_block(fake_t *fake, fake_conn_t *conn, fake_call_t *call,
    uint8_t *p, size_t len)
{
    int         flags;
    size_t      used;
    ssize_t     n;
    nghttp2_nv  nv;

    used = 0;
    pthread_mutex_lock(&fake->mutex);
    fake->metadata[0] = '\0';

    do {
        flags = 0;
        n = nghttp2_hd_inflate_hd2(conn->inflater, &nv, &flags, p, len, 1);
        ck_assert_int_ge(n, 0);
        p += n;
        len -= (size_t) n;

        if (flags & NGHTTP2_HD_INFLATE_EMIT) {
            fake_keep(fake, &used, &nv);

            if (nv.namelen == 5 && memcmp(nv.name, ":path", 5) == 0) {
                fake_copy(call->path, sizeof(call->path), &nv);

            } else if (nv.namelen == 10
                       && memcmp(nv.name, "session-id", 10) == 0)
            {
                fake_copy(call->session, sizeof(call->session), &nv);
            }
        }

    } while (!(flags & NGHTTP2_HD_INFLATE_FINAL));

    pthread_mutex_unlock(&fake->mutex);
    nghttp2_hd_inflate_end_headers(conn->inflater);
}


static void
fake_request(fake_t *fake, fake_conn_t *conn, fake_call_t *call)
{
    int          cork;
    fake_call_t  copy;

    /* late settings and the answer behind them come in one read */

    cork = atomic_load(&fake->late_settings) || atomic_load(&fake->at_once);
    (void) setsockopt(conn->fd, IPPROTO_TCP, TCP_CORK, &cork, sizeof(cork));

    fake_settings(conn);
    call->number = atomic_fetch_add(&fake->requests, 1) + 1;
    call->nth = ++conn->requests;
    copy = *call;
    fake->answer(&copy);

    cork = 0;
    (void) setsockopt(conn->fd, IPPROTO_TCP, TCP_CORK, &cork, sizeof(cork));
}


/* With the next request, so that a request may go without any answer. */
static void
fake_window(fake_conn_t *conn)
{
    uint8_t  window[4];

    if (conn->taken > WINDOW) {
        (void) fake_u32(window, (uint32_t) conn->taken);
        fake_frame(conn, WINDOW_UPDATE, 0, 0, window, 4);
        conn->taken = 0;
    }
}


static void
fake_got_frame(fake_t *fake, fake_conn_t *conn, uint8_t type, uint8_t flags,
    uint32_t stream, uint8_t *payload, size_t len)
{
    fake_call_t  *call;

    call = &conn->calls[stream / 2 % STREAMS_MAX];

    switch (type) {

    case SETTINGS:
        if (!(flags & ACK)) {
            fake_frame(conn, SETTINGS, ACK, 0, "", 0);
        }
        return;

    case PING:
        if (!(flags & ACK)) {
            fake_frame(conn, PING, ACK, 0, payload, len);
        }
        return;

    case HEADERS:
        fake_window(conn);
        memset(call, 0, sizeof(fake_call_t));
        call->fake = fake;
        call->conn = conn;
        call->stream = stream;
        fake_header_block(fake, conn, call, payload, len);
        break;

    case DATA:
        call->body += len;
        conn->taken += len;
        break;

    default:
        return;
    }

    if (flags & END_STREAM) {
        fake_request(fake, conn, call);
    }
}


/* Takes one frame off the input; false if it is not complete. */
static bool
fake_parse(fake_t *fake, fake_conn_t *conn)
{
    size_t    len;
    uint8_t  *p;
    uint32_t  stream;

    p = conn->in;

    if (!conn->preface) {
        if (conn->len < PREFACE) {
            return false;
        }

        conn->preface = true;
        conn->len -= PREFACE;
        memmove(p, p + PREFACE, conn->len);

        return true;
    }

    if (conn->len < 9) {
        return false;
    }

    len = (size_t) p[0] << 16 | (size_t) p[1] << 8 | p[2];

    if (conn->len < 9 + len) {
        return false;
    }

    stream = (uint32_t) (p[5] & 0x7f) << 24 | (uint32_t) p[6] << 16
             | (uint32_t) p[7] << 8 | p[8];
    fake_got_frame(fake, conn, p[3], p[4], stream, p + 9, len);

    conn->len -= 9 + len;
    memmove(p, p + 9 + len, conn->len);

    return true;
}


static void
fake_read(fake_t *fake, fake_conn_t *conn)
{
    ssize_t  n;

    n = recv(conn->fd, conn->in + conn->len, INPUT_MAX - conn->len, 0);

    if (n <= 0) {
        fake_close_conn(conn);
        return;
    }

    conn->len += (size_t) n;

    while (conn->fd != -1 && fake_parse(fake, conn)) { /* void */ }
}


static void
fake_accept(fake_t *fake)
{
    int           fd, on;
    size_t        i;
    fake_conn_t  *conn;

    fd = accept(fake->fd, NULL, NULL);
    if (fd == -1) {
        return;
    }

    on = 1;
    (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

    /* a place is not used twice: calls may be kept */
    for (i = 0; i < CONNS_MAX && fake->conns[i] != NULL; i++) { /* void */ }
    ck_assert_uint_lt(i, CONNS_MAX);

    conn = calloc(1, sizeof(fake_conn_t));
    ck_assert_ptr_nonnull(conn);
    conn->fd = fd;
    ck_assert_int_eq(nghttp2_hd_inflate_new(&conn->inflater), 0);
    fake->conns[i] = conn;
    atomic_fetch_add(&fake->connections, 1);

    if (!atomic_load(&fake->late_settings)) {
        fake_settings(conn);
    }
}


static void *
fake_main(void *data)
{
    size_t         i, n;
    fake_t        *fake;
    fake_conn_t   *map[CONNS_MAX + 1];
    struct pollfd  fds[CONNS_MAX + 1];

    fake = data;

    while (!atomic_load(&fake->stop)) {
        fds[0].fd = fake->fd;
        fds[0].events = POLLIN;
        n = 1;

        for (i = 0; i < CONNS_MAX; i++) {
            if (fake->conns[i] != NULL && fake->conns[i]->fd != -1) {
                map[n] = fake->conns[i];
                fds[n].fd = map[n]->fd;
                fds[n].events = POLLIN;
                n++;
            }
        }

        (void) poll(fds, n, 20);

        for (i = 1; i < n; i++) {
            if (fds[i].revents != 0) {
                fake_read(fake, map[i]);
            }
        }

        if (fds[0].revents != 0) {
            fake_accept(fake);
        }
    }

    return NULL;
}


fake_t *
fake_start(int number, const char *name, fake_answer_pt answer)
{
    return fake_start_at("127.0.0.1", number, name, answer);
}


fake_t *
fake_start_at(const char *address, int number, const char *name,
    fake_answer_pt answer)
{
    int                 on;
    fake_t             *fake;
    struct sockaddr_in  sin;

    fake = calloc(1, sizeof(fake_t));
    ck_assert_ptr_nonnull(fake);
    fake->name = name;
    fake->answer = answer;
    pthread_mutex_init(&fake->mutex, NULL);

    fake->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ne(fake->fd, -1);

    on = 1;
    (void) setsockopt(fake->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons((uint16_t) harness_port(number));
    ck_assert_int_eq(inet_pton(AF_INET, address, &sin.sin_addr), 1);
    ck_assert_int_eq(bind(fake->fd, (struct sockaddr *) &sin, sizeof(sin)), 0);
    ck_assert_int_eq(listen(fake->fd, 128), 0);

    ck_assert_int_eq(pthread_create(&fake->thread, NULL, fake_main, fake), 0);

    return fake;
}


void
fake_stop(fake_t *fake)
{
    size_t  i;

    atomic_store(&fake->stop, true);
    (void) pthread_join(fake->thread, NULL);
    close(fake->fd);

    for (i = 0; i < CONNS_MAX && fake->conns[i] != NULL; i++) {
        fake_close_conn(fake->conns[i]);
        nghttp2_hd_inflate_del(fake->conns[i]->inflater);
        free(fake->conns[i]);
    }

    free(fake);
}


unsigned
fake_requests(fake_t *fake)
{
    return atomic_load(&fake->requests);
}


const char *
fake_metadata(fake_t *fake)
{
    static char  copy[METADATA];

    pthread_mutex_lock(&fake->mutex);
    memcpy(copy, fake->metadata, METADATA);
    pthread_mutex_unlock(&fake->mutex);

    return copy;
}


unsigned
fake_connections(fake_t *fake)
{
    return atomic_load(&fake->connections);
}


void
fake_late_settings(fake_t *fake)
{
    atomic_store(&fake->late_settings, true);
}


void
fake_at_once(fake_t *fake)
{
    atomic_store(&fake->at_once, true);
}
