/*
 * A TCP proxy that can fall silent: one thread that looks at all connections
 * every few milliseconds at the latest.
 */

#include "itests/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>


#define PAIRS  64                       /* connections at the same time */
#define LOOK   20                       /* ms */


/* A client's socket and the one to the target; -1, -1: none. */
typedef struct {
    int  fd[2];
} pair_t;

struct proxy_s {
    pthread_t           thread;
    int                 listener;
    struct sockaddr_in  target;
    atomic_bool         silent;
    atomic_bool         stopping;
    atomic_int          accepted;
    pair_t              pairs[PAIRS];
};


static void *proxy_run(void *data);
static void proxy_accept(proxy_t *proxy);
static void proxy_copy(pair_t *pair, int from);
static void proxy_end(pair_t *pair);
static bool proxy_address(struct sockaddr_in *sin, const char *text);


proxy_t *
proxy_start(int port, const char *target)
{
    int                 i, on;
    char                own[32];
    proxy_t            *proxy;
    struct sockaddr_in  sin;

    proxy = calloc(1, sizeof(proxy_t));
    if (proxy == NULL) {
        abort();
    }

    for (i = 0; i < PAIRS; i++) {
        proxy->pairs[i].fd[0] = -1;
        proxy->pairs[i].fd[1] = -1;
    }

    on = 1;
    snprintf(own, sizeof(own), "127.0.0.1:%d", port);
    proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (proxy->listener == -1
        || !proxy_address(&sin, own)
        || !proxy_address(&proxy->target, target)
        || setsockopt(proxy->listener, SOL_SOCKET, SO_REUSEADDR, &on,
                      sizeof(on)) == -1
        || bind(proxy->listener, (struct sockaddr *) &sin, sizeof(sin)) == -1
        || listen(proxy->listener, 64) == -1
        || pthread_create(&proxy->thread, NULL, proxy_run, proxy) != 0)
    {
        if (proxy->listener != -1) {
            (void) close(proxy->listener);
        }

        free(proxy);
        return NULL;
    }

    return proxy;
}


void
proxy_silence(proxy_t *proxy, bool silent)
{
    atomic_store(&proxy->silent, silent);
}


int
proxy_accepted(proxy_t *proxy)
{
    return atomic_load(&proxy->accepted);
}


void
proxy_stop(proxy_t *proxy)
{
    atomic_store(&proxy->stopping, true);
    (void) pthread_join(proxy->thread, NULL);
    (void) close(proxy->listener);
    free(proxy);
}


static void *
proxy_run(void *data)
{
    int             i, n;
    pair_t         *pairs[2 * PAIRS];
    proxy_t        *proxy = data;
    struct pollfd   fds[2 * PAIRS + 1];

    while (!atomic_load(&proxy->stopping)) {
        fds[0].fd = proxy->listener;
        fds[0].events = POLLIN;
        n = 1;

        for (i = 0; i < 2 * PAIRS; i++) {
            if (proxy->pairs[i / 2].fd[i % 2] != -1) {
                pairs[n - 1] = &proxy->pairs[i / 2];
                fds[n].fd = proxy->pairs[i / 2].fd[i % 2];
                fds[n++].events = POLLIN;
            }
        }

        if (atomic_load(&proxy->silent)) {
            (void) poll(NULL, 0, LOOK);
            continue;
        }

        (void) poll(fds, (nfds_t) n, LOOK);

        for (i = 1; i < n; i++) {
            if (fds[i].revents != 0 && !atomic_load(&proxy->silent)) {
                proxy_copy(pairs[i - 1], fds[i].fd);
            }
        }

        if (fds[0].revents != 0) {
            proxy_accept(proxy);
        }
    }

    for (i = 0; i < PAIRS; i++) {
        proxy_end(&proxy->pairs[i]);
    }

    return NULL;
}


static void
proxy_accept(proxy_t *proxy)
{
    int      i;
    pair_t   pair;

    pair.fd[0] = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC);
    pair.fd[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (pair.fd[0] != -1 && pair.fd[1] != -1
        && connect(pair.fd[1], (struct sockaddr *) &proxy->target,
                   sizeof(proxy->target)) == 0)
    {
        for (i = 0; i < PAIRS; i++) {
            if (proxy->pairs[i].fd[0] == -1) {
                proxy->pairs[i] = pair;
                (void) atomic_fetch_add(&proxy->accepted, 1);
                return;
            }
        }
    }

    proxy_end(&pair);
}


/* The target is on this machine and reads: a write waits for an instant. */

static void
proxy_copy(pair_t *pair, int from)
{
    int      to;
    char     buf[65536];
    ssize_t  n, sent, done;

    /* ended by the other side, in this round */

    if (pair->fd[0] != from && pair->fd[1] != from) {
        return;
    }

    to = pair->fd[pair->fd[0] == from];
    n = read(from, buf, sizeof(buf));

    if (n <= 0) {
        proxy_end(pair);
        return;
    }

    for (done = 0; done < n; done += sent) {
        sent = send(to, buf + done, (size_t) (n - done), MSG_NOSIGNAL);

        if (sent <= 0) {
            proxy_end(pair);
            return;
        }
    }
}


static void
proxy_end(pair_t *pair)
{
    int  i;

    for (i = 0; i < 2; i++) {
        if (pair->fd[i] != -1) {
            (void) close(pair->fd[i]);
            pair->fd[i] = -1;
        }
    }
}


static bool
proxy_address(struct sockaddr_in *sin, const char *text)
{
    int   port;
    char  host[64];

    memset(sin, 0, sizeof(*sin));
    sin->sin_family = AF_INET;

    if (sscanf(text, "%63[0-9.]:%d", host, &port) != 2
        || inet_pton(AF_INET, host, &sin->sin_addr) != 1)
    {
        return false;
    }

    sin->sin_port = htons((uint16_t) port);

    return true;
}
