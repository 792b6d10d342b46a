/* A client of a service's metrics. */

#include "rpc/t/scrape.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>


int
scrape_connect(int port)
{
    int                 fd;
    struct sockaddr_in  address;

    memset(&address, 0, sizeof(address));
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((in_port_t) port);

    fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_ne(fd, -1);
    ck_assert_int_eq(connect(fd, (struct sockaddr *) &address,
                             sizeof(address)), 0);

    return fd;
}


const char *
scrape(int port, const char *request)
{
    int          fd;
    size_t       len;
    ssize_t      n;
    static char  text[65536];

    if (request == NULL) {
        request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    }

    fd = scrape_connect(port);
    ck_assert_int_eq(send(fd, request, strlen(request), MSG_NOSIGNAL),
                     (ssize_t) strlen(request));
    len = 0;

    while ((n = recv(fd, text + len, sizeof(text) - 1 - len, 0)) > 0) {
        len += (size_t) n;
    }

    text[len] = '\0';
    close(fd);

    return text;
}
