/* An HTTP/2 client that shows what was on the wire. */

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <nghttp2/nghttp2.h>

#include "client.h"
#include "harness.h"


#define CLIENTS_MAX  200
#define CALLS_MAX    65536
#define NV_MAX       64
#define READS_MAX    64                 /* of a connection in a row */


struct client_s {
    link_t           *link;             /* NULL: closed */
    bool              gone;
    bool              goaway;           /* GOAWAY came */
    bool              paused;           /* does not read */
    unsigned          pongs;
    unsigned          resets;
    nghttp2_session  *session;
};


/* of the test; no test frees them */
static client_t       client_list[CLIENTS_MAX];
static size_t         client_count;
static client_call_t *client_calls[CALLS_MAX];
static size_t         client_ncalls;


static void
client_call_over(client_call_t *call, uint32_t error, bool reset)
{
    call->done = true;
    call->error = error;
    call->reset = reset;
}


/* nghttp2 callbacks */

static ssize_t
client_on_write(nghttp2_session *session, const uint8_t *data, size_t len,
    int flags, void *user)
{
    ssize_t    n;
    client_t  *client;

    (void) session;
    (void) flags;

    client = user;
    n = link_write(client->link, data, len);

    if (n < 0) {
        return n == -1 ? NGHTTP2_ERR_WOULDBLOCK
                       : NGHTTP2_ERR_CALLBACK_FAILURE;
    }

    return n;
}


static ssize_t
client_on_body(nghttp2_session *session, int32_t stream, uint8_t *buffer,
    size_t size, uint32_t *flags, nghttp2_data_source *source, void *user)
{
    size_t          n;
    client_call_t  *call;

    (void) session;
    (void) stream;
    (void) user;

    call = source->ptr;
    n = call->pending_len < size ? call->pending_len : size;

    memcpy(buffer, call->pending, n);
    memmove(call->pending, call->pending + n, call->pending_len - n);
    call->pending_len -= n;
    call->sent += n;

    if (call->pending_len == 0 && call->pending_end) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;

    } else if (n == 0) {
        return NGHTTP2_ERR_DEFERRED;
    }

    return (ssize_t) n;
}


static int
client_on_header(nghttp2_session *session, const nghttp2_frame *frame,
    const uint8_t *name, size_t namelen, const uint8_t *value,
    size_t valuelen, uint8_t flags, void *user)
{
    client_call_t  *call;

    (void) namelen;
    (void) flags;
    (void) user;

    call = nghttp2_session_get_stream_user_data(session,
                                                frame->hd.stream_id);
    if (call == NULL) {
        return 0;
    }

    client_keep(call, (const char *) name, (const char *) value);

    if (strcmp((const char *) name, ":status") == 0) {
        call->http = atoi((const char *) value);

    } else if (strcmp((const char *) name, "grpc-status") == 0) {
        call->grpc = atoi((const char *) value);

    } else if (strcmp((const char *) name, "grpc-message") == 0) {
        snprintf(call->message, sizeof(call->message), "%.*s",
                 (int) valuelen, (const char *) value);

    } else if (strcmp((const char *) name, "content-type") == 0) {
        snprintf(call->type, sizeof(call->type), "%.*s", (int) valuelen,
                 (const char *) value);
    }

    return 0;
}


static int
client_on_frame(nghttp2_session *session, const nghttp2_frame *frame,
    void *user)
{
    client_t       *client;
    client_call_t  *call;

    client = user;

    if (frame->hd.type == NGHTTP2_GOAWAY) {
        client->gone = true;
        client->goaway = true;
        return 0;
    }

    if (frame->hd.type == NGHTTP2_PING) {
        client->pongs++;
        return 0;
    }

    if (frame->hd.type == NGHTTP2_RST_STREAM) {
        client->resets++;
        return 0;
    }

    call = nghttp2_session_get_stream_user_data(session,
                                                frame->hd.stream_id);
    if (call == NULL) {
        return 0;
    }

    if (frame->hd.type == NGHTTP2_HEADERS) {
        if (call->headers++ == 0) {
            call->flags = frame->hd.flags;
        }
    }

    return 0;
}


static int
client_on_data(nghttp2_session *session, uint8_t flags, int32_t stream,
    const uint8_t *data, size_t len, void *user)
{
    client_call_t  *call;

    (void) flags;
    (void) user;

    call = nghttp2_session_get_stream_user_data(session, stream);
    if (call == NULL) {
        return 0;
    }

    call->data++;

    if (call->len + len > call->room) {
        call->room = 2 * (call->len + len);
        call->body = realloc(call->body, call->room);
        ck_assert_ptr_nonnull(call->body);
    }

    memcpy(call->body + call->len, data, len);
    call->len += len;

    return 0;
}


static int
client_on_close(nghttp2_session *session, int32_t stream, uint32_t error,
    void *user)
{
    client_call_t  *call;

    (void) user;

    call = nghttp2_session_get_stream_user_data(session, stream);
    if (call != NULL) {
        client_call_over(call, error, error != NGHTTP2_NO_ERROR);
    }

    return 0;
}


/* Connections */

client_t *
client_open(int port)
{
    return client_open_link(port, LINK_PLAIN);
}


client_t *
client_open_link(int port, link_kind_t kind)
{
    client_t                   *client;
    nghttp2_session_callbacks  *callbacks;

    ck_assert_uint_lt(client_count, CLIENTS_MAX);
    client = &client_list[client_count++];
    client->link = link_open(port, kind);

    ck_assert_int_eq(nghttp2_session_callbacks_new(&callbacks), 0);
    nghttp2_session_callbacks_set_send_callback(callbacks, client_on_write);
    nghttp2_session_callbacks_set_on_header_callback(callbacks,
                                                     client_on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks,
                                                         client_on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks,
                                                              client_on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks,
                                                           client_on_close);
    ck_assert_int_eq(nghttp2_session_client_new(&client->session, callbacks,
                                                client), 0);
    nghttp2_session_callbacks_del(callbacks);

    ck_assert_int_eq(nghttp2_submit_settings(client->session,
                                             NGHTTP2_FLAG_NONE, NULL, 0), 0);

    return client;
}


client_t *
client_open_held(int port)
{
    client_t  *client;

    client = client_open(port);
    link_hold(client->link);

    return client;
}


void
client_window(client_t *client, uint32_t size)
{
    nghttp2_settings_entry  entry;

    entry.settings_id = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE;
    entry.value = size;

    ck_assert_int_eq(nghttp2_submit_settings(client->session,
                                             NGHTTP2_FLAG_NONE, &entry, 1), 0);
}


void
client_window_all(client_t *client, int32_t size)
{
    ck_assert_int_eq(nghttp2_session_set_local_window_size(client->session,
                                           NGHTTP2_FLAG_NONE, 0, size), 0);
}


void
client_window_call(client_call_t *call, int32_t size)
{
    ck_assert_int_eq(nghttp2_session_set_local_window_size(
                                           call->client->session,
                                           NGHTTP2_FLAG_NONE, call->stream,
                                           size), 0);
}


void
client_close(client_t *client)
{
    size_t  i;

    if (client->link == NULL) {
        return;
    }

    nghttp2_session_del(client->session);
    link_close(client->link);
    client->link = NULL;
    client->gone = true;

    for (i = 0; i < client_ncalls; i++) {
        if (client_calls[i]->client == client && !client_calls[i]->done) {
            client_call_over(client_calls[i], NGHTTP2_INTERNAL_ERROR, true);
        }
    }
}


void
client_forget(client_t *client)
{
    client_call_t  *call;

    client_close(client);

    while (client_ncalls > 0
           && client_calls[client_ncalls - 1]->client == client)
    {
        call = client_calls[--client_ncalls];
        free(call->body);
        free(call->pending);
        free(call);
    }

    if (client == &client_list[client_count - 1]) {
        memset(client, 0, sizeof(client_t));
        client_count--;
    }
}


bool
client_gone(client_t *client)
{
    return client->gone;
}


bool
client_goaway(client_t *client)
{
    return client->goaway;
}


link_t *
client_link(client_t *client)
{
    (void) nghttp2_session_send(client->session);

    return client->link;
}


unsigned
client_resets(client_t *client)
{
    return client->resets;
}


void
client_pause(client_t *client, bool pause)
{
    client->paused = pause;
}


void
client_ping(client_t *client)
{
    ck_assert_int_eq(nghttp2_submit_ping(client->session, NGHTTP2_FLAG_NONE,
                                         NULL), 0);
}


void
client_wait_pongs(client_t *client, unsigned n)
{
    long long  since;

    since = harness_now();

    while (client->pongs < n) {
        ck_assert_msg(harness_now() - since < HARNESS_DEADLINE,
                      "deadline: %u pongs, %u expected", client->pongs, n);
        client_poll(100);
    }
}


/* Reads and writes what can be; closes a broken connection. */
static void
client_serve(client_t *client)
{
    int      i;
    ssize_t  n;
    uint8_t  buffer[16384];

    n = -1;

    /* a server may write faster than this reads */

    for (i = 0; i < READS_MAX && !client->paused; i++) {
        n = link_read(client->link, buffer, sizeof(buffer));

        if (n <= 0) {
            break;
        }

        if (nghttp2_session_mem_recv(client->session, buffer, (size_t) n)
            < 0)
        {
            ck_abort_msg("not HTTP/2");
        }
    }

    if (n == 0 || n == -2 || nghttp2_session_send(client->session) != 0)
    {
        client_close(client);
    }
}


void
client_poll(int timeout)
{
    size_t         i, n;
    client_t      *map[CLIENTS_MAX];
    struct pollfd  fds[CLIENTS_MAX];

    n = 0;

    for (i = 0; i < client_count; i++) {
        if (client_list[i].link != NULL) {
            (void) nghttp2_session_send(client_list[i].session);
            map[n] = &client_list[i];
            fds[n].fd = link_fd(client_list[i].link);
            fds[n].events = client_list[i].paused ? 0 : POLLIN;

            if (nghttp2_session_want_write(client_list[i].session)) {
                fds[n].events |= POLLOUT;
            }

            n++;
        }
    }

    (void) poll(fds, n, timeout);

    for (i = 0; i < n; i++) {
        if (fds[i].revents != 0) {
            client_serve(map[i]);
        }
    }
}


/* Calls */

static nghttp2_nv
client_nv(const char *name, const char *value)
{
    nghttp2_nv  nv;

    nv.name = (uint8_t *) name;
    nv.namelen = strlen(name);
    nv.value = (uint8_t *) value;
    nv.valuelen = strlen(value);
    nv.flags = NGHTTP2_NV_FLAG_NONE;

    return nv;
}


/* Pseudo headers first; those of the caller win. */
static size_t
client_fill(nghttp2_nv *nva, const char *path,
    const client_header_t *headers)
{
    size_t                 i, n;
    const client_header_t  *h;

    nva[0] = client_nv(":method", "POST");
    nva[1] = client_nv(":scheme", "http");
    nva[2] = client_nv(":authority", "localhost");
    nva[3] = client_nv(":path", path);
    n = 4;

    for (h = headers; h->name != NULL; h++) {
        if (h->name[0] != ':') {
            ck_assert_uint_lt(n, NV_MAX);
            nva[n++] = client_nv(h->name, h->value);
            continue;
        }

        for (i = 0; i < 4; i++) {
            if (strcmp((char *) nva[i].name, h->name) == 0) {
                nva[i] = client_nv(h->name, h->value);
            }
        }
    }

    return n;
}


static void
client_append(client_call_t *call, const void *data, size_t len)
{
    call->pending = realloc(call->pending, call->pending_len + len + 1);
    ck_assert_ptr_nonnull(call->pending);
    memcpy(call->pending + call->pending_len, data, len);
    call->pending_len += len;
}


client_call_t *
client_request(client_t *client, const char *path,
    const client_header_t *headers, const void *body, size_t len, bool more)
{
    size_t                 n;
    nghttp2_nv             nva[NV_MAX];
    client_call_t         *call;
    nghttp2_data_provider  provider;

    ck_assert_uint_lt(client_ncalls, CALLS_MAX);
    ck_assert_msg(client->link != NULL, "the connection is closed");

    call = calloc(1, sizeof(client_call_t));
    ck_assert_ptr_nonnull(call);
    client_calls[client_ncalls++] = call;

    call->client = client;
    call->grpc = -1;
    call->pending_end = !more;
    client_append(call, body != NULL ? body : "", len);

    provider.source.ptr = call;
    provider.read_callback = client_on_body;

    n = client_fill(nva, path, headers);
    call->stream = nghttp2_submit_request(client->session, NULL, nva, n,
                                          body != NULL || more ? &provider
                                                               : NULL,
                                          call);
    ck_assert_int_gt(call->stream, 0);

    return call;
}


void
client_send(client_call_t *call, const void *data, size_t len, bool end)
{
    client_append(call, data, len);
    call->pending_end = end;
    (void) nghttp2_session_resume_data(call->client->session, call->stream);
}


void
client_cancel(client_call_t *call)
{
    (void) nghttp2_submit_rst_stream(call->client->session, NGHTTP2_FLAG_NONE,
                                     call->stream, NGHTTP2_CANCEL);
    client_poll(0);
}


void
client_wait_all(void)
{
    size_t  i;

    for (i = 0; i < client_ncalls; i++) {
        client_wait(client_calls[i]);
    }
}
