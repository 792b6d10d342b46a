/*
 * Scriptable HTTP/2 backends: one thread each, frames by hand, so that a test
 * decides what is on the wire and when.
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake_conn.h"
#include "harness.h"


#define PREFACE      24                 /* bytes of the client's magic */
#define WINDOW       16384              /* bytes taken before an update */


static void
fake_settings(fake_conn_t *conn)
{
    if (!conn->settings) {
        conn->settings = true;
        fake_flow_settings(conn, conn->fake->settings,
                           conn->fake->nsettings);
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
    atomic_store(&fake->seen.block, len);
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
    atomic_store(&fake->seen.table,
                 nghttp2_hd_inflate_get_dynamic_table_size(conn->inflater));
}


/* The payload of a HEADERS or CONTINUATION frame. */
static void
fake_fragment(fake_t *fake, fake_conn_t *conn, fake_call_t *call,
    uint8_t flags, const uint8_t *payload, size_t len)
{
    ck_assert_uint_le(conn->block_len + len, sizeof(conn->block));
    memcpy(conn->block + conn->block_len, payload, len);
    conn->block_len += len;

    if (flags & END_HEADERS) {
        len = conn->block_len;
        conn->block_len = 0;
        fake_header_block(fake, conn, call, conn->block, len);
    }
}


static void
fake_request(fake_t *fake, fake_conn_t *conn, fake_call_t *call)
{
    int          cork;
    fake_call_t  copy;

    /* late settings and the answer after them arrive in one read */

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

    if (conn->taken > WINDOW
        && atomic_load(&conn->fake->credit) == FAKE_CREDIT_LATE)
    {
        (void) fake_u32(window, (uint32_t) conn->taken);
        fake_frame(conn, WINDOW_UPDATE, 0, 0, window, 4);
        conn->taken = 0;
    }
}


static void
fake_got_frame(fake_t *fake, fake_conn_t *conn, uint8_t type, uint8_t flags,
    uint32_t id, uint8_t *payload, size_t len)
{
    fake_stream_t  *stream;

    stream = fake_flow_got(conn, type, flags, id, payload, len);

    switch (type) {

    case SETTINGS:
        if (!(flags & ACK) && !conn->mute) {
            fake_frame(conn, SETTINGS, ACK, 0, "", 0);
        }
        return;

    case PING:
        if (flags & ACK) {
            fake_frame_rest(conn);

        } else if (!conn->mute) {
            fake_frame(conn, PING, ACK, 0, payload, len);
        }
        return;

    case HEADERS:
        fake_window(conn);
        /* fall through */

    case CONTINUATION:
        fake_fragment(fake, conn, &stream->call, flags, payload, len);

        if (!(flags & END_HEADERS)) {
            return;
        }
        break;

    case DATA:
        conn->taken += len;

        if (stream == NULL) {
            return;
        }

        stream->call.body += len;
        break;

    default:
        return;
    }

    if (atomic_load(&fake->early) ? type != DATA
        : type == DATA ? flags & END_STREAM : stream->in_end)
    {
        fake_request(fake, conn, &stream->call);
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
    for (i = 0; i < CONNS_MAX && fake->conns[i] != NULL; i++) {

        if (atomic_load(&fake->forgets) && fake->conns[i]->fd == -1) {
            nghttp2_hd_inflate_del(fake->conns[i]->inflater);
            free(fake->conns[i]);
            break;
        }
    }

    ck_assert_uint_lt(i, CONNS_MAX);

    conn = calloc(1, sizeof(fake_conn_t));
    ck_assert_ptr_nonnull(conn);
    conn->fd = fd;
    conn->fake = fake;
    fake_flow_open(conn);
    ck_assert_int_eq(nghttp2_hd_inflate_new(&conn->inflater), 0);
    fake->conns[i] = conn;
    atomic_fetch_add(&fake->connections, 1);

    if (!atomic_load(&fake->late_settings)) {
        fake_settings(conn);
    }
}


static void
fake_listen(fake_t *fake, bool on)
{
    int                 one;
    struct sockaddr_in  sin;

    if (!on) {
        fake_deaf(fake);
        atomic_store(&fake->refuses, true);
        return;
    }

    fake->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ne(fake->fd, -1);

    one = 1;
    (void) setsockopt(fake->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons((uint16_t) fake->port);
    sin.sin_addr.s_addr = fake->address;
    ck_assert_int_eq(bind(fake->fd, (struct sockaddr *) &sin, sizeof(sin)), 0);
    ck_assert_int_eq(listen(fake->fd, 128), 0);
    atomic_store(&fake->refuses, false);
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
        fds[0].fd = fake->fd;           /* -1: ignored */
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

        if (fds[0].revents != 0 && fake->fd != -1) {
            fake_accept(fake);
        }

        if (atomic_load(&fake->refuse) != atomic_load(&fake->refuses)) {
            fake_listen(fake, !atomic_load(&fake->refuse));
        }

        if (atomic_load(&fake->work) != NULL) {
            atomic_load(&fake->work)(fake);
            atomic_store(&fake->work, NULL);
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
    fake_t  *fake;

    fake = calloc(1, sizeof(fake_t));
    ck_assert_ptr_nonnull(fake);
    fake->name = name;
    fake->answer = answer;
    fake->port = harness_port(number);
    ck_assert_int_eq(inet_pton(AF_INET, address, &fake->address), 1);
    pthread_mutex_init(&fake->mutex, NULL);

    fake_listen(fake, true);

    ck_assert_int_eq(pthread_create(&fake->thread, NULL, fake_main, fake), 0);

    return fake;
}


void
fake_deaf(fake_t *fake)
{
    if (fake->fd != -1) {
        close(fake->fd);
        fake->fd = -1;
    }
}


void
fake_stop(fake_t *fake)
{
    size_t  i;

    atomic_store(&fake->stop, true);
    (void) pthread_join(fake->thread, NULL);
    fake_deaf(fake);

    for (i = 0; i < CONNS_MAX && fake->conns[i] != NULL; i++) {
        fake_close_conn(fake->conns[i]);
        nghttp2_hd_inflate_del(fake->conns[i]->inflater);
        free(fake->conns[i]);
    }

    free(fake->held);
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


void
fake_backlog(fake_t *fake, int n)
{
    ck_assert_int_eq(listen(fake->fd, n), 0);
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


void
fake_early(fake_t *fake)
{
    atomic_store(&fake->early, true);
}


static void
run(fake_t *fake, fake_work_pt work, bool full)
{
    long long  since;

    since = harness_now();

    while (atomic_load(&fake->work) != NULL) {
        harness_pause(since, "the fake has done what it was told");
    }

    atomic_store(&fake->full, false);
    atomic_store(&fake->work, work);

    while (atomic_load(&fake->work) != NULL
           && !(full && atomic_load(&fake->full)))
    {
        harness_pause(since, "the fake does what it is told");
    }
}


void
fake_run(fake_t *fake, fake_work_pt work)
{
    run(fake, work, false);
}


void
fake_run_full(fake_t *fake, fake_work_pt work)
{
    run(fake, work, true);
}


void
fake_refuse_connects(fake_t *fake, bool refuse)
{
    long long  since;

    atomic_store(&fake->refuse, refuse);
    since = harness_now();

    while (atomic_load(&fake->refuses) != refuse) {
        harness_pause(since, "the fake's listening socket");
    }
}
