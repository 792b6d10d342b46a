/*
 * TLS in front of a fake: every connection that is accepted gets one to the
 * fake, and ends when that one ends.
 */

#include <arpa/inet.h>
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
#include <openssl/ssl.h>

#include "harness.h"
#include "tls_front.h"


#define FRONTS_MAX  8


struct tls_front_s {
    int          fd;
    int          backend;               /* its port */
    unsigned     flags;
    SSL_CTX     *ctx;
    atomic_bool  hang;
    atomic_uint  drop;
    atomic_uint  accepted;
    atomic_uint  handshakes;
    atomic_uint  resumed;
    atomic_uint  ends;
};

typedef struct {
    tls_front_t  *front;
    int           fd;
} tls_front_conn_t;


/* of the test; threads and memory end with its process */
static tls_front_t  *fronts[FRONTS_MAX];
static size_t        nfronts;


/* A thread may be in the library when its process exits: nothing of that is
 * freed then.  Only the first call of the library can say so. */
__attribute__((constructor))
static void
tls_front_load(void)
{
    (void) OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
}


void
tls_front_certs(const char *name)
{
    char  command[8192];

    snprintf(command, sizeof(command), "scripts/dev-certs %s",
             harness_path(name));
    ck_assert_msg(system(command) == 0, "failed: %s", command);
}


static struct sockaddr_in
tls_front_address(int port)
{
    struct sockaddr_in  sin;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons((uint16_t) port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    return sin;
}


/* -1 if no server listens */
static int
tls_front_connect(int port)
{
    int                 fd, on;
    struct sockaddr_in  sin;

    sin = tls_front_address(port);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd != -1
        && connect(fd, (struct sockaddr *) &sin, sizeof(sin)) == -1)
    {
        close(fd);
        return -1;
    }

    on = 1;
    (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

    return fd;
}


/* Passes the bytes of one side to the other; false when that side has
 * ended. */

static bool
tls_front_to_backend(SSL *ssl, int backend)
{
    int   n;
    char  buffer[16384];

    do {
        n = SSL_read(ssl, buffer, sizeof(buffer));

        if (n <= 0 || send(backend, buffer, (size_t) n, MSG_NOSIGNAL) != n) {
            return false;
        }

    } while (SSL_pending(ssl) > 0);

    return true;
}


static bool
tls_front_to_client(SSL *ssl, int backend, bool spoil)
{
    ssize_t  n;
    char     buffer[16384];

    n = recv(backend, buffer, sizeof(buffer), 0);

    if (spoil) {
        return n > 0 && send(SSL_get_fd(ssl), buffer, (size_t) n,
                             MSG_NOSIGNAL) == n;
    }

    return n > 0 && SSL_write(ssl, buffer, (int) n) == n;
}


static void
tls_front_relay(tls_front_t *front, SSL *ssl, int backend)
{
    bool           open, spoil;
    struct pollfd  fds[2];

    spoil = false;

    fds[0].fd = SSL_get_fd(ssl);
    fds[0].events = POLLIN;
    fds[1].fd = backend;
    fds[1].events = POLLIN;

    for (open = true; open; ) {
        (void) poll(fds, 2, -1);

        if (fds[0].revents != 0) {
            open = tls_front_to_backend(ssl, backend);
            spoil = front->flags & TLS_FRONT_SPOIL;
        }

        if (open && fds[1].revents != 0) {
            open = tls_front_to_client(ssl, backend, spoil);
        }
    }

    if (!(front->flags & TLS_FRONT_CUT)) {
        (void) SSL_shutdown(ssl);
    }
}


/* in the middle of the handshake */
static bool
tls_front_fails(tls_front_t *front, int fd)
{
    char  byte;

    while (atomic_load(&front->hang)) {
        if (recv(fd, &byte, 1, 0) <= 0) {
            return true;
        }
    }

    if (atomic_load(&front->drop) == 0) {
        return false;
    }

    atomic_fetch_sub(&front->drop, 1);

    return true;
}


static void *
tls_front_conn(void *data)
{
    int                backend;
    SSL               *ssl;
    tls_front_t       *front;
    tls_front_conn_t  *conn;

    conn = data;
    front = conn->front;
    backend = tls_front_connect(front->backend);
    ssl = SSL_new(front->ctx);

    if (backend != -1 && ssl != NULL && !tls_front_fails(front, conn->fd)
        && SSL_set_fd(ssl, conn->fd) == 1
        && SSL_accept(ssl) == 1)
    {
        atomic_fetch_add(&front->handshakes, 1);

        if (SSL_session_reused(ssl)) {
            atomic_fetch_add(&front->resumed, 1);
        }

        tls_front_relay(front, ssl, backend);
    }

    SSL_free(ssl);
    close(backend);
    close(conn->fd);
    atomic_fetch_add(&front->ends, 1);
    free(conn);

    return NULL;
}


static void *
tls_front_main(void *data)
{
    int                fd;
    pthread_t          thread;
    tls_front_t       *front;
    tls_front_conn_t  *conn;

    front = data;

    while ((fd = accept(front->fd, NULL, NULL)) != -1) {
        conn = malloc(sizeof(tls_front_conn_t));

        if (conn == NULL) {
            abort();
        }

        atomic_fetch_add(&front->accepted, 1);
        conn->front = front;
        conn->fd = fd;

        if (pthread_create(&thread, NULL, tls_front_conn, conn) != 0) {
            abort();
        }

        pthread_detach(thread);
    }

    return NULL;
}


/* ALPN "h2", as gRPC servers have it; nginx refuses a peer without. */
static int
tls_front_alpn(SSL *ssl, const unsigned char **out, unsigned char *outlen,
    const unsigned char *in, unsigned int inlen, void *data)
{
    (void) ssl;
    (void) data;

    return SSL_select_next_proto((unsigned char **) out, outlen,
                                 (const unsigned char *) "\x02h2", 3, in,
                                 inlen)
           == OPENSSL_NPN_NEGOTIATED
           ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}


static SSL_CTX *
tls_front_ctx(const char *certs, unsigned flags)
{
    int       version;
    char      name[3][64];
    SSL_CTX  *ctx;

    snprintf(name[0], sizeof(name[0]), "%s/server.crt", certs);
    snprintf(name[1], sizeof(name[1]), "%s/server.key", certs);
    snprintf(name[2], sizeof(name[2]), "%s/ca.crt", certs);

    ctx = SSL_CTX_new(TLS_server_method());
    ck_assert_ptr_nonnull(ctx);

    ck_assert_int_eq(SSL_CTX_use_certificate_chain_file(ctx,
                                                     harness_path(name[0])),
                     1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey_file(ctx, harness_path(name[1]),
                                                 SSL_FILETYPE_PEM), 1);
    ck_assert_int_eq(SSL_CTX_load_verify_file(ctx, harness_path(name[2])), 1);

    SSL_CTX_set_verify(ctx,
                       SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                       NULL);
    SSL_CTX_set_alpn_select_cb(ctx, tls_front_alpn, NULL);

    /* OpenSSL refuses sessions of servers that ask for certificates and have
     * no context */
    if ((flags & TLS_FRONT_REFUSE) == 0) {
        ck_assert_int_eq(SSL_CTX_set_session_id_context(ctx,
                                               (const unsigned char *) "front",
                                               5), 1);
    }

    version = flags & TLS_FRONT_OLD ? TLS1_2_VERSION : TLS1_3_VERSION;
    ck_assert_int_eq(SSL_CTX_set_min_proto_version(ctx, version), 1);
    ck_assert_int_eq(SSL_CTX_set_max_proto_version(ctx, version), 1);

    return ctx;
}


tls_front_t *
tls_front_start(int number, int backend, const char *certs, unsigned flags)
{
    int                 on;
    pthread_t           thread;
    tls_front_t        *front;
    struct sockaddr_in  sin;

    front = calloc(1, sizeof(tls_front_t));
    ck_assert_ptr_nonnull(front);
    ck_assert_uint_lt(nfronts, FRONTS_MAX);
    fronts[nfronts++] = front;

    front->backend = harness_port(backend);
    front->flags = flags;
    front->ctx = tls_front_ctx(certs, flags);
    front->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ne(front->fd, -1);

    on = 1;
    (void) setsockopt(front->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));

    sin = tls_front_address(harness_port(number));
    ck_assert_int_eq(bind(front->fd, (struct sockaddr *) &sin, sizeof(sin)),
                     0);
    ck_assert_int_eq(listen(front->fd, 128), 0);

    ck_assert_int_eq(pthread_create(&thread, NULL, tls_front_main, front), 0);
    pthread_detach(thread);

    return front;
}


void
tls_front_hang(tls_front_t *front)
{
    atomic_store(&front->hang, true);
}


void
tls_front_drop(tls_front_t *front, unsigned n)
{
    atomic_store(&front->drop, n);
}


unsigned
tls_front_accepted(tls_front_t *front)
{
    return atomic_load(&front->accepted);
}


unsigned
tls_front_handshakes(tls_front_t *front)
{
    return atomic_load(&front->handshakes);
}


unsigned
tls_front_resumed(tls_front_t *front)
{
    return atomic_load(&front->resumed);
}


void
tls_front_await_ends(tls_front_t *front, unsigned n)
{
    long long  since;

    since = harness_now();

    while (atomic_load(&front->ends) < n) {
        harness_pause(since, "a connection ends");
    }
}
