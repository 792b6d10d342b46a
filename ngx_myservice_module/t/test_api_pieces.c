/*
 * myservice_api over HTTP/1.1: bodies that come in pieces, and bytes that are
 * no text.
 */

#include <arpa/inet.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "gateway.h"
#include "harness.h"


#define CONF                                                                  \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=z1:1m;\n"             \
    "        server 127.0.0.1:8081;\n"                                        \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080;\n"                                        \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "        location /api/ { myservice_api write=on; }\n"                    \
    "    }\n"                                                                 \
    "}\n"

#define HEAD                                                                  \
    "POST /api/1/upstreams/u/instances HTTP/1.1\r\n"                          \
    "Host: localhost\r\n"                                                     \
    "Connection: close\r\n"                                                   \
    "Content-Type: application/json\r\n"


static int
connected(void)
{
    int                       fd;
    const struct timeval      limit = { .tv_sec = 10 };
    const struct sockaddr_in  address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t) harness_port(8080)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)
    };

    fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_ge(fd, 0);
    (void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    ck_assert_int_eq(connect(fd, (const struct sockaddr *) &address,
                             sizeof(address)), 0);

    return fd;
}


static void
say(int fd, const char *text)
{
    ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL),
                     (int) strlen(text));
}


/* all up to "end", NULL: up to the end of the connection */
static const char *
hear(int fd, const char *end)
{
    size_t       len;
    ssize_t      n;
    static char  text[8192];

    len = 0;
    text[0] = '\0';

    while (end == NULL || strstr(text, end) == NULL) {
        n = recv(fd, text + len, sizeof(text) - 1 - len, 0);
        ck_assert_msg(n >= 0, "no answer after \"%s\"", text);

        if (n == 0) {
            break;
        }

        len += (size_t) n;
        text[len] = '\0';
    }

    return text;
}


/* the answer has the status, and is JSON */
static void
expect(int fd, int status)
{
    char         line[32];
    json_t      *json;
    const char  *text, *body;

    text = hear(fd, NULL);
    close(fd);

    snprintf(line, sizeof(line), "HTTP/1.1 %d ", status);
    ck_assert_msg(strncmp(text, line, strlen(line)) == 0,
                  "expected %d: %s", status, text);

    body = strstr(text, "\r\n\r\n");
    ck_assert_ptr_nonnull(body);
    json = json_loads(body, 0, NULL);
    ck_assert_msg(json != NULL, "no JSON: %s", body);
    json_decref(json);
}


/* a client may send the first bytes of the body together with the head */
START_TEST(pieces_body)
{
    int  fd;

    gateway_start(CONF);

    fd = connected();
    say(fd, HEAD "Content-Length: 28\r\nExpect: 100-continue\r\n\r\n"
            "{\"address\":");
    (void) hear(fd, "100 Continue\r\n\r\n");
    say(fd, "\"127.0.0.1:9999\"}");
    expect(fd, 200);
}
END_TEST


/* a body of 28 bytes and so many spaces, in chunks */
static void
chunked(int spaces, int status)
{
    int   fd, n;
    char  chunk[1100];

    fd = connected();
    say(fd, HEAD "Transfer-Encoding: chunked\r\n\r\n"
            "b\r\n{\"address\":\r\n11\r\n\"127.0.0.1:9999\"}\r\n");

    for (/* void */; spaces > 0; spaces -= n) {
        n = spaces < 1000 ? spaces : 1000;
        snprintf(chunk, sizeof(chunk), "%x\r\n%*s\r\n", (unsigned) n, n, "");
        say(fd, chunk);
    }

    say(fd, "0\r\n\r\n");
    expect(fd, status);
}


START_TEST(pieces_chunked)
{
    int  fd;

    gateway_start(CONF);

    chunked(0, 200);
    chunked(4096 - 28, 200);
    chunked(4096 - 27, 413);
    chunked(100000, 413);               /* nginx puts it into a file */

    fd = connected();
    say(fd, HEAD "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    expect(fd, 400);
}
END_TEST


/* what the client sent stands in the answer, which is JSON all the same */
START_TEST(pieces_no_text)
{
    int   fd, i;
    char  key[601];

    gateway_start(CONF);

    fd = connected();
    say(fd, "GET /api/1/ HTTP/1.1\r\nHost: \xff\xfe\r\n"
            "Connection: close\r\n\r\n");
    expect(fd, 421);

    /* the answer has no room for all of it: characters of two bytes */

    for (i = 0; i < 600; i++) {
        key[i] = i & 1 ? '\xa4' : '\xc3';
    }

    key[600] = '\0';

    fd = connected();
    say(fd, HEAD "Content-Length: 606\r\n\r\n{\"");
    say(fd, key);
    say(fd, "\":1}");
    expect(fd, 400);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("api pieces");
    harness_add(suite, pieces_body);
    harness_add(suite, pieces_chunked);
    harness_add(suite, pieces_no_text);

    return harness_run(suite, "test_api_pieces");
}
