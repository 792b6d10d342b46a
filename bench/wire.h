/*
 * A nonblocking connection under an nghttp2 session: what the session wants to
 * send leaves in one write, memory for output is held only while the peer does
 * not take it.
 */

#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H


#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>


typedef struct {
    int               fd;
    int               epoll;
    void             *data;             /* of the epoll event */
    SSL              *ssl;              /* NULL: plaintext */
    nghttp2_session  *h2;
    uint8_t          *rest;             /* not taken by the peer yet */
    size_t            pos;
    size_t            len;
    bool              armed;            /* waits for EPOLLOUT, too */
} wire_t;


/* Makes "fd" nonblocking and adds it to "epoll" with "data".  The wire takes
 * over fd and ssl, the caller sets "h2" before it uses the wire.  -1: errno. */
int wire_open(wire_t *wire, int epoll, int fd, SSL *ssl, void *data)
    __attribute__((warn_unused_result));

/* Feeds the session with all that has come.  -1: the connection is over. */
int wire_receive(wire_t *wire) __attribute__((warn_unused_result));

/* Sends what the session has to say.  -1: the connection is over. */
int wire_send(wire_t *wire) __attribute__((warn_unused_result));

void wire_close(wire_t *wire);


#endif /* BENCH_WIRE_H */
