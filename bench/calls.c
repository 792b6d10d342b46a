/* Calls of a load: starts them, counts their ends. */

#include "bench/calls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/token.h"
#include "bench/wire.h"


#define CALLS_EVENTS   256
#define CALLS_WINDOW   (1 << 26)
#define CALLS_STATUS   8
#define CALLS_PATIENCE UINT64_C(20000000000)    /* ns without any event */
#define CALLS_PROBES   400              /* names per session */


typedef struct {
    char        *name;
    char        *token;
} session_t;

typedef struct {
    wire_t       wire;
    calls_t     *calls;
    unsigned     index;
    bool         settings;
    bool         dirty;                 /* has something to send */
} conn_t;

typedef struct {
    uint64_t     begun;
    conn_t      *conn;
    size_t       sent;                  /* of the message */
    int          status;                /* grpc-status, -1: none */
    int          http;
    bool         began;                 /* the first message has come */
    char         message[128];
} call_t;

struct calls_s {
    const calls_conf_t        *conf;
    int                        epoll;
    SSL_CTX                   *ssl;
    nghttp2_session_callbacks *callbacks;
    char                       authority[32];

    session_t                 *sessions;
    unsigned                   nsessions;
    conn_t                    *conns;
    unsigned                   nconns;

    /* connections that may begin a call, each as often as it may */
    unsigned                  *turns;
    size_t                     head;
    size_t                     nturns;

    conn_t                   **dirty;
    unsigned                   ndirty;

    uint64_t                   begun;
    uint64_t                   running;
    uint64_t                   began;
    unsigned                   ready;   /* connections with SETTINGS */
    calls_count_t              count;
};


uint64_t
calls_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
}


static void
calls_dirty(conn_t *conn)
{
    calls_t  *calls;

    calls = conn->calls;

    if (!conn->dirty) {
        conn->dirty = true;
        calls->dirty[calls->ndirty++] = conn;
    }
}


static void
calls_turn(calls_t *calls, unsigned conn)
{
    size_t  size;

    size = (size_t) calls->conf->connections * calls->conf->streams;
    calls->turns[(calls->head + calls->nturns++) % size] = conn;
}


static ssize_t
call_read(nghttp2_session *h2, int32_t id, uint8_t *buf, size_t size,
    uint32_t *flags, nghttp2_data_source *source, void *data)
{
    size_t               n;
    call_t              *call;
    const calls_conf_t  *conf;

    (void) h2;
    (void) id;
    (void) data;

    call = source->ptr;
    conf = call->conn->calls->conf;

    n = conf->size - call->sent;
    if (n > size) {
        n = size;
    }

    memcpy(buf, conf->body + call->sent, n);
    call->sent += n;

    if (call->sent == conf->size) {
        *flags = NGHTTP2_DATA_FLAG_EOF;
    }

    return (ssize_t) n;
}


static nghttp2_nv
header(const char *name, const char *value)
{
    nghttp2_nv  nv;

    nv.name = (uint8_t *) (uintptr_t) name;
    nv.value = (uint8_t *) (uintptr_t) value;
    nv.namelen = strlen(name);
    nv.valuelen = strlen(value);
    nv.flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;

    return nv;
}


static void
call_begin(conn_t *conn, const session_t *session)
{
    size_t                  n;
    call_t                 *call;
    calls_t                *calls;
    nghttp2_nv              nv[10];
    nghttp2_data_provider   provider;

    calls = conn->calls;

    call = calloc(1, sizeof(call_t));
    if (call == NULL) {
        abort();
    }

    nv[0] = header(":method", "POST");
    nv[1] = header(":scheme", calls->conf->tls ? "https" : "http");
    nv[2] = header(":path", calls->conf->path);
    nv[3] = header(":authority", calls->authority);
    nv[4] = header("te", "trailers");
    nv[5] = header("content-type", "application/grpc");
    nv[6] = header("user-agent", "grpc-c/29.0.0 (linux; chttp2)");
    n = 7;

    if (calls->conf->secret != NULL) {
        nv[n++] = header("session-id", session->name);
        nv[n++] = header("authorization", session->token);
    }

    call->begun = calls_now();
    call->conn = conn;
    call->status = -1;

    provider.source.ptr = call;
    provider.read_callback = call_read;

    if (nghttp2_submit_request(conn->wire.h2, NULL, nv, n, &provider, call) < 0)
    {
        abort();
    }

    calls->running++;
    calls_dirty(conn);
}


static void
calls_begin(calls_t *calls)
{
    size_t    size;
    uint64_t  i;
    conn_t   *conn;

    size = (size_t) calls->conf->connections * calls->conf->streams;
    conn = &calls->conns[calls->turns[calls->head]];
    calls->head = (calls->head + 1) % size;
    calls->nturns--;

    i = calls->conf->fresh ? calls->begun : conn->index;
    calls->begun++;

    call_begin(conn, &calls->sessions[i % calls->nsessions]);
}


static void
call_failed(calls_t *calls, const call_t *call, const char *what)
{
    if (calls->count.failed++ == 0) {
        snprintf(calls->count.error, sizeof(calls->count.error),
                 "%s, :status %d, grpc-status %d: %s", what, call->http,
                 call->status, call->message);
    }
}


static int
on_close(nghttp2_session *h2, int32_t id, uint32_t code, void *data)
{
    call_t   *call;
    conn_t   *conn = data;
    calls_t  *calls;

    calls = conn->calls;

    call = nghttp2_session_get_stream_user_data(h2, id);
    if (call == NULL) {
        return 0;
    }

    if (call->status == 0 && code == 0) {
        calls->count.done++;
        histogram_add(&calls->count.latency, calls_now() - call->begun);

    } else {
        call_failed(calls, call, code ? "reset" : "ended");
    }

    calls->running--;
    calls->began -= call->began;
    calls_turn(calls, conn->index);
    free(call);

    return nghttp2_session_set_stream_user_data(h2, id, NULL);
}


static int
on_header(nghttp2_session *h2, const nghttp2_frame *frame,
    const uint8_t *name, size_t name_len, const uint8_t *value, size_t len,
    uint8_t flags, void *data)
{
    call_t  *call;
    size_t   n;

    (void) flags;
    (void) data;

    call = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
    if (call == NULL) {
        return 0;
    }

    if (name_len == 7 && memcmp(name, ":status", 7) == 0) {
        call->http = atoi((const char *) value);

    } else if (name_len == 11 && memcmp(name, "grpc-status", 11) == 0) {
        call->status = atoi((const char *) value);

    } else if (name_len == 12 && memcmp(name, "grpc-message", 12) == 0) {
        n = len < sizeof(call->message) ? len : sizeof(call->message) - 1;
        memcpy(call->message, value, n);
        call->message[n] = '\0';
    }

    return 0;
}


static int
on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *data)
{
    call_t   *call;
    conn_t   *conn = data;
    calls_t  *calls;

    calls = conn->calls;

    if (frame->hd.type == NGHTTP2_SETTINGS) {
        if (!(frame->hd.flags & NGHTTP2_FLAG_ACK) && !conn->settings) {
            conn->settings = true;
            calls->ready++;
        }

    } else if (frame->hd.type == NGHTTP2_DATA && frame->hd.length > 0) {
        calls->count.bytes += frame->hd.length;

        call = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
        if (call != NULL && !call->began) {
            call->began = true;
            calls->began++;
        }
    }

    return 0;
}


static int
conn_open(calls_t *calls, conn_t *conn, unsigned index)
{
    int                           fd;
    SSL                          *ssl;
    static nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, CALLS_WINDOW }
    };

    conn->calls = calls;
    conn->index = index;

    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1) {
        return -1;
    }

    if (connect(fd, (const struct sockaddr *) &calls->conf->address,
                sizeof(struct sockaddr_in)) == -1)
    {
        close(fd);
        return -1;
    }

    ssl = NULL;

    if (calls->ssl != NULL) {
        ssl = SSL_new(calls->ssl);
        SSL_set_fd(ssl, fd);

        if (SSL_connect(ssl) != 1) {
            SSL_free(ssl);
            close(fd);
            errno = EPROTO;
            return -1;
        }
    }

    if (wire_open(&conn->wire, calls->epoll, fd, ssl, conn) == -1
        || nghttp2_session_client_new(&conn->wire.h2, calls->callbacks, conn)
           != 0)
    {
        return -1;
    }

    (void) nghttp2_submit_settings(conn->wire.h2, 0, settings, 2);
    (void) nghttp2_session_set_local_window_size(conn->wire.h2, 0, 0,
                                                 CALLS_WINDOW);
    calls_dirty(conn);

    return 0;
}


/* A lost connection would spoil the measurement: the load ends. */

static void
conn_lost(conn_t *conn)
{
    fprintf(stderr, "load: connection %u was closed (%s)\n", conn->index,
            strerror(errno));
    exit(1);
}


static void
calls_flush(calls_t *calls)
{
    conn_t    *conn;
    unsigned   i;

    for (i = 0; i < calls->ndirty; i++) {
        conn = calls->dirty[i];
        conn->dirty = false;

        if (wire_send(&conn->wire) == -1) {
            conn_lost(conn);
        }
    }

    calls->ndirty = 0;
}


/* Sends, waits up to "wait" ms, receives. */

static void
calls_poll(calls_t *calls, int wait)
{
    int                  i, n;
    conn_t              *conn;
    uint64_t             now;
    struct epoll_event   events[CALLS_EVENTS];
    static uint64_t      last;

    if (last == 0) {
        last = calls_now();
    }

    calls_flush(calls);

    n = epoll_wait(calls->epoll, events, CALLS_EVENTS, wait);

    if (n <= 0) {
        now = calls_now();
        if (now - last > CALLS_PATIENCE) {
            fprintf(stderr, "load: %llu calls without an answer\n",
                    (unsigned long long) calls->running);
            exit(1);
        }

        return;
    }

    last = calls_now();

    for (i = 0; i < n; i++) {
        conn = events[i].data.ptr;

        if (wire_receive(&conn->wire) == -1) {
            conn_lost(conn);
        }

        calls_dirty(conn);
    }
}


int
calls_connect(calls_t *calls)
{
    unsigned  i, j;

    for (i = 0; i < calls->conf->connections; i++) {
        if (conn_open(calls, &calls->conns[i], i) == -1) {
            return -1;
        }
    }

    calls->nconns = i;

    for (j = 0; j < calls->conf->streams; j++) {
        for (i = 0; i < calls->nconns; i++) {
            calls_turn(calls, i);
        }
    }

    while (calls->ready < calls->nconns) {
        calls_poll(calls, 100);
    }

    return 0;
}


void
calls_run(calls_t *calls, uint64_t limit, uint64_t end)
{
    uint64_t  left;

    left = limit ? limit : UINT64_MAX;

    while (end == 0 || calls_now() < end) {

        while (left > 0 && calls->nturns > 0
               && calls->running < calls->conf->active)
        {
            calls_begin(calls);
            left--;
        }

        if (left == 0 && end == 0) {
            return;
        }

        calls_poll(calls, 10);
    }
}


void
calls_settle(calls_t *calls)
{
    while (calls->conf->endless ? calls->began < calls->running
                                : calls->running > 0)
    {
        calls_poll(calls, 10);
    }

    calls_flush(calls);
}


void
calls_count(calls_t *calls, calls_count_t *count)
{
    if (count != NULL) {
        *count = calls->count;
    }

    memset(&calls->count, 0, sizeof(calls_count_t));
}


static int
session_make(calls_t *calls, session_t *session, unsigned number)
{
    if (asprintf(&session->name, "%s%u", calls->conf->prefix, number) == -1) {
        return -1;
    }

    session->token = token_make(calls->conf->secret, session->name);

    return session->token != NULL ? 0 : -1;
}


int
calls_probe(calls_t *calls)
{
    conn_t     conn;
    unsigned   i, number;
    uint64_t   done;

    memset(&conn, 0, sizeof(conn_t));

    if (conn_open(calls, &conn, 0) == -1) {
        return -1;
    }

    number = calls->nsessions;

    for (i = 0; i < calls->nsessions; i++) {
        for ( ;; ) {
            done = calls->count.done;
            call_begin(&conn, &calls->sessions[i]);
            calls_settle(calls);

            if (calls->count.done > done) {
                break;
            }

            free(calls->sessions[i].name);
            free(calls->sessions[i].token);

            if (number > calls->nsessions * CALLS_PROBES
                || session_make(calls, &calls->sessions[i], number++) == -1)
            {
                errno = EAGAIN;
                return -1;
            }
        }
    }

    wire_close(&conn.wire);
    calls->ready = 0;
    calls->nturns = 0;
    calls->head = 0;
    calls_count(calls, NULL);

    return 0;
}


static int
calls_tls(calls_t *calls)
{
    static const unsigned char  h2[] = { 2, 'h', '2' };

    calls->ssl = SSL_CTX_new(TLS_client_method());

    return calls->ssl != NULL
           && SSL_CTX_set_alpn_protos(calls->ssl, h2, sizeof(h2)) == 0
           && SSL_CTX_set_mode(calls->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE
                               |SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER)
           ? 0 : -1;
}


static void
calls_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
}


calls_t *
calls_create(const calls_conf_t *conf, char *error, size_t size)
{
    calls_t   *calls;
    unsigned   i;

    calls = calloc(1, sizeof(calls_t));
    if (calls == NULL) {
        snprintf(error, size, "no memory");
        return NULL;
    }

    calls->conf = conf;
    calls->nsessions = conf->sessions;
    calls->epoll = epoll_create1(EPOLL_CLOEXEC);
    calls->sessions = calloc(conf->sessions, sizeof(session_t));
    calls->conns = calloc(conf->connections, sizeof(conn_t));
    calls->dirty = calloc(conf->connections + 1, sizeof(conn_t *));
    calls->turns = calloc((size_t) conf->connections * conf->streams,
                          sizeof(unsigned));

    snprintf(calls->authority, sizeof(calls->authority), "%s:%d",
             inet_ntoa(conf->address.sin_addr), ntohs(conf->address.sin_port));

    if (calls->epoll == -1 || calls->sessions == NULL || calls->conns == NULL
        || calls->dirty == NULL || calls->turns == NULL
        || nghttp2_session_callbacks_new(&calls->callbacks) != 0
        || (conf->tls && calls_tls(calls) == -1))
    {
        snprintf(error, size, "cannot start: %s", strerror(errno));
        return NULL;
    }

    calls_callbacks(calls->callbacks);

    for (i = 0; conf->secret != NULL && i < conf->sessions; i++) {
        if (session_make(calls, &calls->sessions[i], i) == -1) {
            snprintf(error, size, "cannot make a token");
            return NULL;
        }
    }

    return calls;
}
