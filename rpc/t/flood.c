/*
 * Many connections to a service, each with an HTTP/2 preface and, perhaps,
 * the headers of a call that never goes on.
 */

#include "rpc/t/flood.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>

#include "rpc/server.h"


#define PATIENCE  60000                 /* ms */


/* A literal field of HPACK, neither indexed nor Huffman. */

static size_t
flood_field(unsigned char *out, const char *name, const char *value)
{
    size_t  n;

    n = 0;
    out[n++] = 0;
    out[n++] = (unsigned char) strlen(name);
    memcpy(out + n, name, strlen(name));
    n += strlen(name);
    out[n++] = (unsigned char) strlen(value);
    memcpy(out + n, value, strlen(value));

    return n + strlen(value);
}


static size_t
flood_bytes(unsigned char *out, const char *path)
{
    size_t             n, headers;
    static const char  preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                   "\0\0\0\4\0\0\0\0\0";

    memcpy(out, preface, sizeof(preface) - 1);
    n = sizeof(preface) - 1;

    if (path == NULL) {
        return n;
    }

    headers = n;
    memcpy(out + n, "\0\0\0\1\4\0\0\0\1", 9);   /* END_HEADERS, stream 1 */
    n += 9;
    n += flood_field(out + n, ":method", "POST");
    n += flood_field(out + n, ":scheme", "http");
    n += flood_field(out + n, ":authority", "flood");
    n += flood_field(out + n, ":path", path);
    n += flood_field(out + n, "te", "trailers");
    n += flood_field(out + n, "content-type", "application/grpc");
    out[headers + 1] = (unsigned char) ((n - headers - 9) >> 8);
    out[headers + 2] = (unsigned char) (n - headers - 9);

    return n;
}


static void
flood_limit(void)
{
    struct rlimit  limit;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}


void
flood_open(const char *address, const char *path, int *fds, size_t n)
{
    size_t              i, len;
    unsigned char       bytes[1024];
    struct sockaddr_in  sin;

    flood_limit();
    len = flood_bytes(bytes, path);

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons((uint16_t) atoi(strrchr(address, ':') + 1));
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    for (i = 0; i < n; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0);
        ck_assert_msg(fds[i] != -1, "socket %zu: %s", i, strerror(errno));
        ck_assert_int_eq(connect(fds[i], (struct sockaddr *) &sin,
                                 sizeof(sin)), 0);
        ck_assert_int_eq(send(fds[i], bytes, len, MSG_NOSIGNAL), (int) len);
    }
}


void
flood_wait(const int *fds, size_t n)
{
    char           buffer[4096];
    size_t         i;
    int64_t        end, left;
    struct pollfd  pfd;

    end = rpc_now() + PATIENCE;

    for (i = 0; i < n; i++) {
        do {
            left = end - rpc_now();
            pfd = (struct pollfd) { .fd = fds[i], .events = POLLIN };
            ck_assert_msg(left > 0 && poll(&pfd, 1, (int) left) == 1,
                          "connection %zu is still open", i);
        } while (recv(fds[i], buffer, sizeof(buffer), 0) > 0);
    }
}


void
flood_close(const int *fds, size_t n)
{
    while (n > 0) {
        close(fds[--n]);
    }
}
