/* HTTP/2 of a load over nghttp2. */

#include "bench/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>


#define WIRE_BUFFER  (256 * 1024)


static uint8_t  wire_in[WIRE_BUFFER];
static uint8_t  wire_out[WIRE_BUFFER];


static int
wire_arm(wire_t *wire, bool armed)
{
    struct epoll_event  ee;

    if (wire->armed == armed) {
        return 0;
    }

    wire->armed = armed;
    ee.events = EPOLLIN | (armed ? EPOLLOUT : 0);
    ee.data.ptr = wire->data;

    return epoll_ctl(wire->epoll, EPOLL_CTL_MOD, wire->fd, &ee);
}


int
wire_open(wire_t *wire, int epoll, int fd, SSL *ssl, void *data)
{
    int                 on;
    struct epoll_event  ee;

    memset(wire, 0, sizeof(wire_t));

    wire->fd = fd;
    wire->epoll = epoll;
    wire->ssl = ssl;
    wire->data = data;

    on = 1;
    (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

    if (fcntl(fd, F_SETFL, O_NONBLOCK) == -1) {
        return -1;
    }

    ee.events = EPOLLIN;
    ee.data.ptr = data;

    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ee);
}


/* 0: would block; -1: the end or an error. */

static ssize_t
wire_read(wire_t *wire)
{
    int      code;
    ssize_t  n;

    if (wire->ssl == NULL) {
        n = read(wire->fd, wire_in, sizeof(wire_in));
        if (n > 0) {
            return n;
        }

        return n == -1 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    }

    n = SSL_read(wire->ssl, wire_in, sizeof(wire_in));
    if (n > 0) {
        return n;
    }

    code = SSL_get_error(wire->ssl, (int) n);

    return code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE ? 0 : -1;
}


int
wire_receive(wire_t *wire)
{
    ssize_t  n;

    do {
        n = wire_read(wire);
        if (n <= 0) {
            return (int) n;
        }

        if (nghttp2_session_mem_recv(wire->h2, wire_in, (size_t) n) < 0) {
            return -1;
        }

    } while (wire->ssl != NULL || n == (ssize_t) sizeof(wire_in));

    return 0;
}


static ssize_t
wire_write(wire_t *wire, const uint8_t *data, size_t len)
{
    int      code;
    ssize_t  n;

    if (wire->ssl == NULL) {
        n = send(wire->fd, data, len, MSG_NOSIGNAL);
        if (n >= 0) {
            return n;
        }

        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    }

    n = SSL_write(wire->ssl, data, (int) len);
    if (n > 0) {
        return n;
    }

    code = SSL_get_error(wire->ssl, (int) n);

    return code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE ? 0 : -1;
}


/* Keeps the bytes of wire_out that the peer does not take. 1: some are left;
 * -1: error. */

static int
wire_push(wire_t *wire, size_t len)
{
    size_t   sent;
    ssize_t  n;

    for (sent = 0; sent < len; sent += (size_t) n) {
        n = wire_write(wire, wire_out + sent, len - sent);
        if (n == -1) {
            return -1;
        }

        if (n == 0) {
            wire->rest = malloc(len - sent);
            if (wire->rest == NULL) {
                return -1;
            }

            memcpy(wire->rest, wire_out + sent, len - sent);
            wire->pos = 0;
            wire->len = len - sent;
            return 1;
        }
    }

    return 0;
}


static int
wire_push_rest(wire_t *wire)
{
    ssize_t  n;

    while (wire->pos < wire->len) {
        n = wire_write(wire, wire->rest + wire->pos, wire->len - wire->pos);
        if (n <= 0) {
            return n == 0 ? 1 : -1;
        }

        wire->pos += (size_t) n;
    }

    free(wire->rest);
    wire->rest = NULL;

    return 0;
}


int
wire_send(wire_t *wire)
{
    int             rc;
    size_t          len;
    ssize_t         n;
    const uint8_t  *data;

    rc = wire->rest != NULL ? wire_push_rest(wire) : 0;

    while (rc == 0) {
        len = 0;

        do {
            n = nghttp2_session_mem_send(wire->h2, &data);
            if (n < 0) {
                return -1;
            }

            /* a frame has 16k at most */
            memcpy(wire_out + len, data, (size_t) n);
            len += (size_t) n;

        } while (n > 0 && len < sizeof(wire_out) - 32 * 1024);

        if (len == 0) {
            break;
        }

        rc = wire_push(wire, len);
    }

    return rc == -1 ? -1 : wire_arm(wire, rc == 1);
}


void
wire_close(wire_t *wire)
{
    if (wire->ssl != NULL) {
        SSL_free(wire->ssl);
    }

    nghttp2_session_del(wire->h2);
    free(wire->rest);

    if (wire->fd >= 0) {
        close(wire->fd);
    }

    memset(wire, 0, sizeof(wire_t));
    wire->fd = -1;
}
