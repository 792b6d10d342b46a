/*
 * A client's way to the gateway: TCP, also with TLS, never blocking once it
 * is open.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <openssl/ssl.h>

#include "harness.h"
#include "link.h"


struct link_s {
    int       fd;
    SSL      *ssl;                      /* NULL: without */
    bool      holding;
    bool      early;                    /* no handshake yet */
    uint8_t  *held;
    size_t    len;
};


/* of the test: a server sends sessions after the handshake */
static SSL_SESSION  *link_session;


static int
link_connect(int port, bool small)
{
    int                 fd, on, size;
    struct sockaddr_in  sin;

    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ne(fd, -1);

    if (small) {
        size = 4096;
        (void) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    }

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons((uint16_t) port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_msg(connect(fd, (struct sockaddr *) &sin, sizeof(sin)) == 0,
                  "connect to port %d: %s", port, strerror(errno));

    on = 1;
    (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);

    return fd;
}


/* TLS */

static int
link_on_session(SSL *ssl, SSL_SESSION *session)
{
    (void) ssl;

    SSL_SESSION_free(link_session);
    link_session = session;

    return 1;
}


static SSL_CTX *
link_context(link_kind_t kind)
{
    SSL_CTX  *ctx;

    ctx = SSL_CTX_new(TLS_client_method());
    ck_assert_ptr_nonnull(ctx);

    ck_assert_int_eq(SSL_CTX_set_alpn_protos(ctx, (uint8_t *) "\x02h2", 3), 0);
    (void) SSL_CTX_set_max_proto_version(ctx, kind == LINK_TLS12
                                              ? TLS1_2_VERSION
                                              : TLS1_3_VERSION);
    (void) SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    (void) SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE
                                 | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    (void) SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT
                                          | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(ctx, link_on_session);

    return ctx;
}


/* After a call that returned "n": waits for what TLS wants. */
static void
link_await(link_t *link, int n, const char *what)
{
    int            error;
    struct pollfd  pfd;

    error = SSL_get_error(link->ssl, n);
    ck_assert_msg(error == SSL_ERROR_WANT_READ
                  || error == SSL_ERROR_WANT_WRITE,
                  "%s: SSL error %d", what, error);

    pfd.fd = link->fd;
    pfd.events = error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
    ck_assert_msg(poll(&pfd, 1, HARNESS_DEADLINE) == 1, "deadline: %s", what);
}


static void
link_handshake(link_t *link)
{
    int            n;
    unsigned       len;
    const uint8_t  *protocol;

    while ((n = SSL_do_handshake(link->ssl)) != 1) {
        link_await(link, n, "handshake");
    }

    SSL_get0_alpn_selected(link->ssl, &protocol, &len);
    ck_assert_msg(len == 2 && memcmp(protocol, "h2", 2) == 0, "no h2");
}


static void
link_open_tls(link_t *link, link_kind_t kind)
{
    SSL_CTX  *ctx;

    ctx = link_context(kind);
    link->ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    ck_assert_ptr_nonnull(link->ssl);
    ck_assert_int_eq(SSL_set_fd(link->ssl, link->fd), 1);
    SSL_set_connect_state(link->ssl);

    if (kind != LINK_EARLY) {
        link_handshake(link);
        return;
    }

    ck_assert_msg(link_session != NULL, "no session to resume");
    ck_assert_uint_gt(SSL_SESSION_get_max_early_data(link_session), 0);
    ck_assert_int_eq(SSL_set_session(link->ssl, link_session), 1);

    link->early = true;
    link->holding = true;
}


static void
link_send_early(link_t *link)
{
    int     n;
    size_t  sent;

    link->early = false;

    while ((n = SSL_write_early_data(link->ssl, link->held, link->len, &sent))
           != 1)
    {
        link_await(link, n, "early data");
    }

    ck_assert_uint_eq(sent, link->len);
    link_handshake(link);
}


bool
link_early(const link_t *link)
{
    return SSL_get_early_data_status(link->ssl) == SSL_EARLY_DATA_ACCEPTED;
}


/* All */

link_t *
link_open(int port, link_kind_t kind)
{
    link_t  *link;

    link = calloc(1, sizeof(link_t));
    ck_assert_ptr_nonnull(link);
    link->fd = link_connect(port, kind == LINK_SMALL);

    if (kind != LINK_PLAIN && kind != LINK_SMALL) {
        link_open_tls(link, kind);
    }

    return link;
}


void
link_close(link_t *link)
{
    if (link->ssl != NULL) {

        /* a session without it is not resumed */

        (void) SSL_shutdown(link->ssl);
    }

    SSL_free(link->ssl);
    close(link->fd);
    free(link->held);
    free(link);
}


int
link_fd(const link_t *link)
{
    return link->fd;
}


static ssize_t
link_ssl_result(link_t *link, int n)
{
    switch (SSL_get_error(link->ssl, n)) {

    case SSL_ERROR_NONE:
        return n;

    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return -1;

    case SSL_ERROR_ZERO_RETURN:
        return 0;

    default:
        return -2;
    }
}


ssize_t
link_read(link_t *link, void *buffer, size_t size)
{
    ssize_t  n;

    if (link->ssl != NULL) {
        return link->early ? -1 : link_ssl_result(link, SSL_read(link->ssl,
                                                     buffer, (int) size));
    }

    n = recv(link->fd, buffer, size, 0);

    return n == -1 && errno != EAGAIN ? -2 : n;
}


static ssize_t
link_send(link_t *link, const void *data, size_t len)
{
    ssize_t  n;

    if (link->ssl != NULL) {
        return link_ssl_result(link, SSL_write(link->ssl, data, (int) len));
    }

    n = send(link->fd, data, len, MSG_NOSIGNAL);

    return n == -1 && errno != EAGAIN ? -2 : n;
}


ssize_t
link_write(link_t *link, const void *data, size_t len)
{
    if (!link->holding) {
        return link_send(link, data, len);
    }

    link->held = realloc(link->held, link->len + len);
    ck_assert_ptr_nonnull(link->held);
    memcpy(link->held + link->len, data, len);
    link->len += len;

    return (ssize_t) len;
}


void
link_hold(link_t *link)
{
    link->holding = true;
}


void
link_release_part(link_t *link, size_t len)
{
    ck_assert_uint_le(len, link->len);
    ck_assert_int_eq(link_send(link, link->held, len), (ssize_t) len);
    link->len -= len;
    memmove(link->held, link->held + len, link->len);
}


void
link_release(link_t *link, size_t piece)
{
    size_t         n;
    ssize_t        sent;
    uint8_t       *p;
    struct pollfd  pfd;

    link->holding = false;

    if (link->early) {
        link_send_early(link);
        link->len = 0;
        return;
    }

    for (p = link->held; link->len > 0; p += sent, link->len -= (size_t) sent)
    {
        n = piece != 0 && piece < link->len ? piece : link->len;
        sent = link_send(link, p, n);

        if (sent == -1) {
            pfd.fd = link->fd;
            pfd.events = POLLOUT;
            ck_assert_msg(poll(&pfd, 1, HARNESS_DEADLINE) == 1,
                          "deadline: release");
            sent = 0;
        }

        ck_assert_int_ge(sent, 0);
    }
}
