/*
 * An issuer of keys on 127.0.0.1:harness_port(8082), one HTTP connection
 * after the other, so that a test decides what is answered and when.
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "harness.h"
#include "issuer.h"


static int  listener = -1;


void
issuer_listen(void)
{
    int                 on;
    struct sockaddr_in  sin;

    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_ne(listener, -1);

    on = 1;
    (void) setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons((uint16_t) harness_port(8082));
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(listener, (struct sockaddr *) &sin, sizeof(sin)), 0);
    ck_assert_int_eq(listen(listener, 16), 0);
}


void
issuer_gone(void)
{
    close(listener);
}


int
issuer_try(void)
{
    int  fd;

    client_poll(2);
    fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    return fd;
}


int
issuer_accept(void)
{
    int        fd;
    long long  since;

    since = harness_now();

    while ((fd = issuer_try()) == -1) {
        harness_pause(since, "a fetch");
    }

    return fd;
}


const char *
issuer_read(int fd)
{
    size_t       len;
    ssize_t      n;
    static char  text[8192];

    len = 0;

    do {
        n = read(fd, text + len, sizeof(text) - 1 - len);
        ck_assert_int_gt(n, 0);
        len += (size_t) n;
        text[len] = '\0';
    } while (strstr(text, "\r\n\r\n") == NULL);

    return text;
}


void
issuer_write(int fd, const char *text, size_t len)
{
    ck_assert_int_eq(send(fd, text, len, MSG_NOSIGNAL), (ssize_t) len);
}


void
issuer_answer(int fd, const char *status, const char *body)
{
    int   n;
    char  header[256];

    (void) issuer_read(fd);
    n = snprintf(header, sizeof(header),
                 "HTTP/1.1 %s\r\nContent-Length: %zu\r\n"
                 "Cache-Control: max-age=1\r\n\r\n", status, strlen(body));
    issuer_write(fd, header, (size_t) n);
    issuer_write(fd, body, strlen(body));
    close(fd);
}
