/* Just enough of HTTP/1.1: one request on each connection. */

#include "authsvc/t/gateway_api.h"

#include <arpa/inet.h>
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>


#define PORTS_MAX  4


/* sockets that are bound and do not listen: nobody else gets their ports */
static struct {
    int  port;
    int  fd;
} gateway_ports[PORTS_MAX];
static int         gateway_nports;
static atomic_int  gateway_status;
static atomic_int  gateway_requests;
static char        gateway_request[4096];


int
gateway_api_port(void)
{
    int                 fd;
    socklen_t           len;
    struct sockaddr_in  addr;

    memset(&addr, 0, sizeof(addr));
    addr.sin_family = AF_INET;
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    len = sizeof(addr);

    ck_assert_int_lt(gateway_nports, PORTS_MAX);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *) &addr, len), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *) &addr, &len), 0);

    gateway_ports[gateway_nports].fd = fd;
    gateway_ports[gateway_nports].port = ntohs(addr.sin_port);

    return gateway_ports[gateway_nports++].port;
}


/* A request with its body, by Content-Length. */
static void
read_request(int fd)
{
    char        *head, *length, text[sizeof(gateway_request)];
    size_t       len;
    ssize_t      n;

    len = 0;
    text[0] = '\0';

    for ( ;; ) {
        head = strstr(text, "\r\n\r\n");
        length = strcasestr(text, "content-length: ");

        if (head != NULL && (length == NULL || len >= (size_t) (head + 4 - text)
                             + strtoul(length + 16, NULL, 10)))
        {
            break;
        }

        n = read(fd, text + len, sizeof(text) - 1 - len);
        if (n <= 0) {
            return;
        }

        len += (size_t) n;
        text[len] = '\0';
    }

    strcpy(gateway_request, text);
    atomic_fetch_add(&gateway_requests, 1);
}


static void *
serve(void *data)
{
    int   listener, fd, n;
    char  answer[256];

    listener = *(int *) data;

    for ( ;; ) {
        fd = accept(listener, NULL, NULL);
        if (fd < 0) {
            continue;
        }

        read_request(fd);
        n = snprintf(answer, sizeof(answer), "HTTP/1.1 %d X\r\nContent-Length: "
                     "24\r\nConnection: close\r\n\r\n"
                     "{\"detail\":\"the detail\"} \n",
                     atomic_load(&gateway_status));
        (void) !write(fd, answer, (size_t) n);
        close(fd);
    }

    return NULL;
}


void
gateway_api_start(int port, int status)
{
    int        i;
    pthread_t  thread;

    atomic_store(&gateway_status, status);

    for (i = 0; i < gateway_nports && gateway_ports[i].port != port; i++) {
        /* void */
    }

    ck_assert_int_lt(i, gateway_nports);
    ck_assert_int_eq(listen(gateway_ports[i].fd, 16), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, serve,
                                    &gateway_ports[i].fd), 0);
}


void
gateway_api_status(int status)
{
    atomic_store(&gateway_status, status);
}


int
gateway_api_requests(void)
{
    return atomic_load(&gateway_requests);
}


const char *
gateway_api_last(void)
{
    return gateway_request;
}
