/*
 * What myservice_status says: the configuration of the test has it at /status
 * of 127.0.0.1:8090, without HTTP/2.
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "harness.h"
#include "status.h"


static void
status_get(char *text, size_t size)
{
    int                 fd;
    size_t              len;
    ssize_t             n;
    struct timeval      second = { 1, 0 };
    struct sockaddr_in  sin;

    static const char  request[] = "GET /status HTTP/1.0\r\n\r\n";

    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ne(fd, -1);

    (void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second));

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons((uint16_t) harness_port(8090));
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(connect(fd, (struct sockaddr *) &sin, sizeof(sin)), 0);
    ck_assert_int_eq(send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL),
                     (ssize_t) sizeof(request) - 1);

    len = 0;

    do {
        ck_assert_uint_lt(len, size - 1);
        n = recv(fd, text + len, size - 1 - len, 0);
        len += n > 0 ? (size_t) n : 0;
    } while (n > 0);

    text[len] = '\0';
    close(fd);
}


bool
status_has(const char *text)
{
    char       status[262144];
    long long  since;

    since = harness_now();

    /* a worker that exits closes what it has not read a request from yet; one
       that is stopped may be the one that the kernel woke, again and again */

    for ( ;; ) {
        status_get(status, sizeof(status));

        if (strstr(status, "\"upstreams\"") != NULL) {
            return strstr(status, text) != NULL;
        }

        harness_pause(since, "/status answers");
    }
}


void
status_await(const char *text)
{
    long long  since;

    since = harness_now();

    while (!status_has(text)) {
        harness_pause(since, text);
    }
}


void
status_await_not(const char *text)
{
    long long  since;

    since = harness_now();

    while (status_has(text)) {
        harness_pause(since, text);
    }
}


const char *
status_member(const char *address, int number, const char *state)
{
    static char  text[256];

    snprintf(text, sizeof(text), "\"address\":\"%s:%d\"%s%s", address,
             harness_port(number), state != NULL ? ",\"state\":\"" : "",
             state != NULL ? state : "");

    return text;
}
