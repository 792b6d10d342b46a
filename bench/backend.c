/*
 * Stands for up to ten thousand instances in one process.  An answer costs less
 * than a proxy does, so that a benchmark measures the proxy.
 *
 *     backend ADDRESS ADDRESSES PORT PORTS [INTERVAL]
 *
 * listens on PORTS ports from PORT on, on each of ADDRESSES addresses from
 * ADDRESS on.  A method whose name ends in "Subscribe" is a stream: a message
 * every INTERVAL ms, or without it one per turn of the event loop, which is
 * one per write.  grpc.health.v1.Health/Check answers SERVING, with the session
 * of the port.  Any other method gets its own message back.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/wire.h"


#define EVENTS       256
#define SESSION_MAX  256
#define MESSAGE      100                /* bytes of a stream's message */
#define PREFIX       5


typedef struct listener_s  listener_t;
typedef struct conn_s      conn_t;
typedef struct call_s      call_t;

typedef enum {
    KIND_CONN = 0,
    KIND_LISTENER
} kind_t;

typedef enum {
    CALL_ECHO = 0,
    CALL_HEALTH,
    CALL_STREAM
} call_kind_t;

struct listener_s {
    kind_t     kind;
    int        fd;
    char       owner[SESSION_MAX + 1];
};

struct call_s {
    call_kind_t   kind;
    int32_t       id;
    conn_t       *conn;
    uint8_t      *body;
    size_t        len;
    size_t        sent;
    size_t        room;
    bool          answered;
    bool          ready;                /* a stream may send a message */
    call_t       *next;                 /* of the connection */
    call_t      **prev;
};

struct conn_s {
    kind_t        kind;
    wire_t        wire;
    listener_t   *listener;
    call_t       *calls;
    size_t        streams;
    conn_t       *next;                 /* connections that have streams */
    conn_t      **prev;
};


static int                         epoll;
static int                         interval;
static conn_t                     *streaming;
static nghttp2_session_callbacks  *callbacks;
static uint8_t                     message[PREFIX + MESSAGE];
static const uint8_t               serving[] = { 0, 0, 0, 0, 2, 8, 1 };


static void
die(const char *what)
{
    fprintf(stderr, "backend: %s: %s\n", what, strerror(errno));
    exit(1);
}


static nghttp2_nv
header(const char *name, const char *value)
{
    nghttp2_nv  nv;

    nv.name = (uint8_t *) (uintptr_t) name;
    nv.value = (uint8_t *) (uintptr_t) value;
    nv.namelen = strlen(name);
    nv.valuelen = strlen(value);
    nv.flags = NGHTTP2_NV_FLAG_NO_COPY_NAME;

    return nv;
}


static ssize_t
call_read(nghttp2_session *h2, int32_t id, uint8_t *buf, size_t size,
    uint32_t *flags, nghttp2_data_source *source, void *data)
{
    size_t      n;
    call_t     *call;
    nghttp2_nv  trailer;

    (void) data;

    call = source->ptr;

    if (call->kind == CALL_STREAM) {
        if (!call->ready || size < sizeof(message)) {
            return NGHTTP2_ERR_DEFERRED;
        }

        call->ready = false;
        memcpy(buf, message, sizeof(message));
        return sizeof(message);
    }

    n = call->len - call->sent;
    if (n > size) {
        n = size;
    }

    memcpy(buf, call->body + call->sent, n);
    call->sent += n;

    if (call->sent == call->len) {
        *flags = NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        trailer = header("grpc-status", "0");
        (void) nghttp2_submit_trailer(h2, id, &trailer, 1);
    }

    return (ssize_t) n;
}


static void
stream_start(call_t *call)
{
    conn_t  *conn;

    conn = call->conn;
    call->ready = true;

    if (conn->streams++ == 0) {
        conn->next = streaming;
        if (streaming != NULL) {
            streaming->prev = &conn->next;
        }

        conn->prev = &streaming;
        streaming = conn;
    }
}


static void
stream_end(conn_t *conn)
{
    if (--conn->streams == 0) {
        *conn->prev = conn->next;
        if (conn->next != NULL) {
            conn->next->prev = conn->prev;
        }
    }
}


static void
call_free(call_t *call)
{
    *call->prev = call->next;
    if (call->next != NULL) {
        call->next->prev = call->prev;
    }

    if (call->answered && call->kind == CALL_STREAM) {
        stream_end(call->conn);
    }

    free(call->body);
    free(call);
}


static void
call_answer(nghttp2_session *h2, call_t *call)
{
    size_t                 n;
    nghttp2_nv             nv[3];
    nghttp2_data_provider  provider;

    call->answered = true;

    nv[0] = header(":status", "200");
    nv[1] = header("content-type", "application/grpc");
    n = 2;

    if (call->kind == CALL_HEALTH) {
        call->body = malloc(sizeof(serving));
        if (call->body == NULL) {
            die("malloc");
        }

        memcpy(call->body, serving, sizeof(serving));
        call->len = sizeof(serving);

        if (call->conn->listener->owner[0] != '\0') {
            nv[n++] = header("session-id", call->conn->listener->owner);
        }

    } else if (call->kind == CALL_STREAM) {
        stream_start(call);
    }

    provider.source.ptr = call;
    provider.read_callback = call_read;

    (void) nghttp2_submit_response(h2, call->id, nv, n, &provider);
}


static int
on_begin(nghttp2_session *h2, const nghttp2_frame *frame, void *data)
{
    call_t  *call;
    conn_t  *conn = data;

    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        return 0;
    }

    call = calloc(1, sizeof(call_t));
    if (call == NULL) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }

    call->id = frame->hd.stream_id;
    call->conn = conn;
    call->next = conn->calls;
    call->prev = &conn->calls;

    if (conn->calls != NULL) {
        conn->calls->prev = &call->next;
    }

    conn->calls = call;

    return nghttp2_session_set_stream_user_data(h2, call->id, call);
}


static bool
ends_with(const uint8_t *s, size_t len, const char *end)
{
    size_t  n;

    n = strlen(end);

    return len >= n && memcmp(s + len - n, end, n) == 0;
}


static int
on_header(nghttp2_session *h2, const nghttp2_frame *frame,
    const uint8_t *name, size_t name_len, const uint8_t *value, size_t len,
    uint8_t flags, void *data)
{
    call_t  *call;
    conn_t  *conn = data;

    (void) flags;

    call = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
    if (call == NULL) {
        return 0;
    }

    if (name_len == 5 && memcmp(name, ":path", 5) == 0) {
        if (ends_with(value, len, ".Health/Check")) {
            call->kind = CALL_HEALTH;

        } else if (ends_with(value, len, "Subscribe")) {
            call->kind = CALL_STREAM;
        }

        return 0;
    }

    if (name_len == 10 && memcmp(name, "session-id", 10) == 0
        && len <= SESSION_MAX)
    {
        memcpy(conn->listener->owner, value, len);
        conn->listener->owner[len] = '\0';
    }

    return 0;
}


static int
on_data(nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *bytes,
    size_t len, void *data)
{
    call_t  *call;

    (void) flags;
    (void) data;

    call = nghttp2_session_get_stream_user_data(h2, id);
    if (call == NULL || call->kind != CALL_ECHO) {
        return 0;
    }

    if (call->len + len > call->room) {
        call->room = 2 * (call->len + len);
        call->body = realloc(call->body, call->room);
        if (call->body == NULL) {
            return NGHTTP2_ERR_CALLBACK_FAILURE;
        }
    }

    memcpy(call->body + call->len, bytes, len);
    call->len += len;

    return 0;
}


static int
on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *data)
{
    call_t  *call;

    (void) data;

    if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS)
        && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
    {
        call = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
        if (call != NULL) {
            call_answer(h2, call);
        }
    }

    return 0;
}


static int
on_close(nghttp2_session *h2, int32_t id, uint32_t code, void *data)
{
    call_t  *call;

    (void) code;
    (void) data;

    call = nghttp2_session_get_stream_user_data(h2, id);
    if (call != NULL) {
        call_free(call);
    }

    return 0;
}


/* nghttp2 does not report the streams that end with their session */

static void
conn_close(conn_t *conn)
{
    while (conn->calls != NULL) {
        call_free(conn->calls);
    }

    wire_close(&conn->wire);
    free(conn);
}


static void
conn_accept(listener_t *listener)
{
    int                           fd;
    conn_t                       *conn;
    static nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1024 },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 24 }
    };

    fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd == -1) {
        if (errno == EMFILE || errno == ENFILE) {
            die("accept");
        }

        return;
    }

    conn = calloc(1, sizeof(conn_t));
    if (conn == NULL) {
        die("calloc");
    }

    conn->listener = listener;

    if (wire_open(&conn->wire, epoll, fd, NULL, conn) == -1) {
        die("epoll_ctl");
    }

    if (nghttp2_session_server_new(&conn->wire.h2, callbacks, conn) != 0) {
        die("nghttp2");
    }

    (void) nghttp2_submit_settings(conn->wire.h2, 0, settings, 2);
    (void) nghttp2_session_set_local_window_size(conn->wire.h2, 0, 0, 1 << 24);

    if (wire_send(&conn->wire) == -1) {
        conn_close(conn);
    }
}


static void
listen_one(uint32_t address, int port)
{
    int                  on;
    listener_t          *listener;
    struct epoll_event   ee;
    struct sockaddr_in   sin;

    listener = calloc(1, sizeof(listener_t));
    if (listener == NULL) {
        die("calloc");
    }

    listener->kind = KIND_LISTENER;
    listener->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
                          0);
    if (listener->fd == -1) {
        die("socket");
    }

    on = 1;
    (void) setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons((uint16_t) port);
    sin.sin_addr.s_addr = htonl(address);

    ee.events = EPOLLIN;
    ee.data.ptr = listener;

    if (bind(listener->fd, (struct sockaddr *) &sin, sizeof(sin)) == -1
        || listen(listener->fd, 511) == -1
        || epoll_ctl(epoll, EPOLL_CTL_ADD, listener->fd, &ee) == -1)
    {
        die("listen");
    }
}


/* One more message for every stream. */

static void
stream_all(void)
{
    call_t  *call;
    conn_t  *conn, *next;

    for (conn = streaming; conn != NULL; conn = next) {
        next = conn->next;

        if (conn->wire.rest != NULL) {
            continue;
        }

        for (call = conn->calls; call != NULL; call = call->next) {
            if (call->kind == CALL_STREAM) {
                call->ready = true;
                (void) nghttp2_session_resume_data(conn->wire.h2, call->id);
            }
        }

        if (wire_send(&conn->wire) == -1) {
            conn_close(conn);
        }
    }
}


static void
turn(struct epoll_event *ee)
{
    conn_t  *conn;

    if (*(kind_t *) ee->data.ptr == KIND_LISTENER) {
        conn_accept(ee->data.ptr);
        return;
    }

    conn = ee->data.ptr;

    if (((ee->events & ~(uint32_t) EPOLLOUT)
         && wire_receive(&conn->wire) == -1)
        || wire_send(&conn->wire) == -1)
    {
        conn_close(conn);
    }
}


static int64_t
milliseconds(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


static void
serve(void)
{
    int                 i, n, wait;
    int64_t             now, due;
    struct epoll_event  events[EVENTS];

    due = 0;

    for ( ;; ) {
        now = milliseconds();
        wait = streaming == NULL ? -1 : now >= due ? 0 : (int) (due - now);

        n = epoll_wait(epoll, events, EVENTS, wait);

        for (i = 0; i < n; i++) {
            turn(&events[i]);
        }

        if (streaming != NULL && milliseconds() >= due) {
            stream_all();
            due = milliseconds() + interval;
        }
    }
}


static void
setup(void)
{
    epoll = epoll_create1(EPOLL_CLOEXEC);

    if (epoll == -1 || nghttp2_session_callbacks_new(&callbacks) != 0) {
        die("start");
    }

    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks,
                                                            on_begin);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks,
                                                              on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks,
                                                           on_close);

    /* EchoResponse.client_value */
    message[4] = MESSAGE;
    message[5] = 0x0a;
    message[6] = MESSAGE - 2;
    memset(message + 7, 'm', MESSAGE - 2);
}


int
main(int argc, char **argv)
{
    int             i, j, port, addresses, ports;
    struct in_addr  first;

    if ((argc != 5 && argc != 6) || inet_aton(argv[1], &first) == 0) {
        fprintf(stderr, "usage: backend ADDRESS ADDRESSES PORT PORTS"
                " [INTERVAL]\n");
        return 2;
    }

    addresses = atoi(argv[2]);
    port = atoi(argv[3]);
    ports = atoi(argv[4]);
    interval = argc == 6 ? atoi(argv[5]) : 0;

    signal(SIGPIPE, SIG_IGN);
    setup();

    for (i = 0; i < addresses; i++) {
        for (j = 0; j < ports; j++) {
            listen_one(ntohl(first.s_addr) + (uint32_t) i, port + j);
        }
    }

    puts("ready");
    fflush(stdout);
    serve();
}
