/*
 * Between a gateway and its store: answers come in pieces, end in the middle, or
 * are others.  One thread.
 */

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"
#include "store_proxy.h"


#define PAIRS_MAX  64
#define SMALL      64                   /* bytes of an answer: each piece may
                                           cost a turn of a busy machine */


typedef struct {
    int       client;                   /* -1: none */
    int       store;
    unsigned  armed;                    /* the store_proxy_cut() that it knows */
    size_t    left;                     /* bytes until the cut, if it is armed */
    bool      cut;
} pair_t;


static pair_t          pairs[PAIRS_MAX];
static int             listener, to;
static atomic_bool     pieces, away;
static atomic_size_t   cut_after;
static atomic_uint     cut_armed, cuts;
static const char     *_Atomic instead; /* NULL: the answers of the store */


static int
address(int port, struct sockaddr_in *sin)
{
    memset(sin, 0, sizeof(*sin));
    sin->sin_family = AF_INET;
    sin->sin_port = htons((uint16_t) port);
    sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}


static void
drop(pair_t *pair)
{
    (void) close(pair->client);
    (void) close(pair->store);
    pair->client = -1;
}


static void
take(void)
{
    int                 i, one = 1;
    pair_t             *pair;
    struct sockaddr_in  sin;

    for (i = 0; i < PAIRS_MAX - 1 && pairs[i].client != -1; i++) {
        /* void */
    }

    pair = &pairs[i];
    pair->client = accept(listener, NULL, NULL);
    pair->store = address(to, &sin);
    pair->cut = false;
    pair->armed = cut_armed;

    (void) setsockopt(pair->client, IPPROTO_TCP, TCP_NODELAY, &one,
                      sizeof(one));

    if (away
        || connect(pair->store, (struct sockaddr *) &sin, sizeof(sin)) != 0)
    {
        drop(pair);
    }
}


/* false: that was the end */

static bool
pass(int from, int to_fd, size_t max, bool answers, size_t *passed)
{
    bool         small;
    char         buffer[8192];
    ssize_t      n, sent, done, piece;
    const char  *text;

    n = recv(from, buffer, max < sizeof(buffer) ? max : sizeof(buffer), 0);
    small = answers && pieces;
    text = answers ? instead : NULL;

    /* those of the script are arrays, shorter than the one to HELLO */

    if (text != NULL && n > 2 && buffer[0] == '*' && buffer[2] == '\r') {
        n = (ssize_t) strlen(text);
        memcpy(buffer, text, (size_t) n);
    }

    for (done = 0; done < n; done += sent) {
        piece = n - done;

        if (small && done < SMALL && piece > 1 + done % 7) {
            piece = 1 + done % 7;
        }

        sent = send(to_fd, buffer + done, (size_t) piece, MSG_NOSIGNAL);

        if (sent <= 0) {
            return false;
        }

        if (small && done < SMALL) {

            /* the worker reads meanwhile */

            (void) sched_yield();
        }
    }

    *passed = n > 0 ? (size_t) n : 0;

    return n > 0;
}


static void
answer(pair_t *pair)
{
    size_t  n;

    if (pair->armed != cut_armed) {
        pair->armed = cut_armed;
        pair->left = cut_after;
        pair->cut = true;
    }

    if (!pass(pair->store, pair->client, pair->cut ? pair->left : SIZE_MAX,
              true, &n))
    {
        drop(pair);
        return;
    }

    pair->left -= n;

    if (pair->cut && pair->left == 0) {
        cuts++;
        drop(pair);
    }
}


static void *
work(void *data)
{
    int            i;
    size_t         n;
    struct pollfd  fds[1 + 2 * PAIRS_MAX];

    (void) data;

    for ( ;; ) {
        fds[0].fd = listener;
        fds[0].events = POLLIN;

        for (i = 0; i < PAIRS_MAX; i++) {
            fds[1 + 2 * i].fd = pairs[i].client;
            fds[2 + 2 * i].fd = pairs[i].client == -1 ? -1 : pairs[i].store;
            fds[1 + 2 * i].events = POLLIN;
            fds[2 + 2 * i].events = POLLIN;
        }

        if (poll(fds, 1 + 2 * PAIRS_MAX, 10) < 0) {
            continue;
        }

        for (i = 0; i < PAIRS_MAX; i++) {

            if (away && pairs[i].client != -1) {
                drop(&pairs[i]);
                continue;
            }

            if (fds[1 + 2 * i].fd != -1 && fds[1 + 2 * i].revents
                && !pass(pairs[i].client, pairs[i].store, SIZE_MAX, false,
                         &n))
            {
                drop(&pairs[i]);
            }

            if (pairs[i].client != -1 && fds[2 + 2 * i].revents) {
                answer(&pairs[i]);
            }
        }

        if (fds[0].revents) {
            take();
        }
    }

    return NULL;
}


void
store_proxy_start(int number, int store)
{
    int                 i, one = 1;
    pthread_t           thread;
    struct sockaddr_in  sin;

    for (i = 0; i < PAIRS_MAX; i++) {
        pairs[i].client = -1;
    }

    to = harness_port(store);
    listener = address(harness_port(number), &sin);
    ck_assert_int_eq(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one,
                                sizeof(one)), 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *) &sin, sizeof(sin)), 0);
    ck_assert_int_eq(listen(listener, 64), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, work, NULL), 0);
}


void
store_proxy_pieces(bool on)
{
    pieces = on;
}


void
store_proxy_cut(size_t bytes)
{
    cut_after = bytes;
    cut_armed++;
}


void
store_proxy_instead(const char *text)
{
    instead = text;
}


unsigned
store_proxy_cuts(void)
{
    return cuts;
}


void
store_proxy_away(bool on)
{
    away = on;
}
