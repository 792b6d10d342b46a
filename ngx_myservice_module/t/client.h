/*
 * An HTTP/2 client that shows what was on the wire.  nghttp2 is the codec; a
 * connection has any number of calls, and one poll loop serves all connections
 * of the test.  A wait that lasts longer than HARNESS_DEADLINE fails the test.
 * Calls and clients stay until the test ends; no test frees them.
 */

#ifndef MODULE_T_CLIENT_H
#define MODULE_T_CLIENT_H


#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "link.h"


#define ECHO       "/my_service.MyServiceAPI/MyServiceEcho"
#define SUBSCRIBE  "/my_service.MyServiceAPI/MyServiceSubscribe"
#define SHUTDOWN   "/my_service.MyServiceAPI/MyServiceShutdown"
#define LOGIN      "/my_service.MyServiceAPI/Login"


typedef struct client_s  client_t;

typedef struct {
    const char  *name;
    const char  *value;
} client_header_t;

typedef struct {
    bool      done;
    bool      reset;                    /* ended by RST_STREAM, or with its
                                           connection */
    uint32_t  error;                    /* its code */
    int       http;                     /* :status, 0 if none came */
    int       grpc;                     /* grpc-status, -1 if none came */
    char      message[512];             /* grpc-message, as on the wire */
    char      type[64];                 /* content-type */
    char      fields[2048];             /* "name: value" lines of all HEADERS */
    unsigned  headers;                  /* HEADERS frames */
    unsigned  data;                     /* DATA frames with content */
    uint8_t   flags;                    /* of the first HEADERS frame */
    uint8_t  *body;
    size_t    len;
    size_t    room;                     /* allocated */
    size_t    sent;                     /* of the request, by the library */

    client_t *client;
    int32_t   stream;
    uint8_t  *pending;                  /* request bytes not sent yet */
    size_t    pending_len;
    bool      pending_end;
} client_call_t;


client_t *client_open(int port);
client_t *client_open_link(int port, link_kind_t kind);

/* Connected, but the server gets no byte before link_release(). */
client_t *client_open_held(int port);
void client_close(client_t *client);

/* Closes the client that was opened last, which has room for another one then: a
 * test that polls may open as many as it likes.  Its calls are gone, too. */
void client_forget(client_t *client);

/* The client's link, with all submitted frames written to it. */
link_t *client_link(client_t *client);

/* Stops reading, so that the socket fills up, or reads again. */
void client_pause(client_t *client, bool pause);

/* How many RST_STREAM frames came, also for calls that were over. */
unsigned client_resets(client_t *client);

/* Sends a PING. */
void client_ping(client_t *client);

/* Waits until "n" PINGs in all are answered. */
void client_wait_pongs(client_t *client, unsigned n);

/* How many bytes the server may send on each call, running calls included. */
void client_window(client_t *client, uint32_t size);

/* The same for all calls together. */
void client_window_all(client_t *client, int32_t size);

/* The same for one call. */
void client_window_call(client_call_t *call, int32_t size);

/* The server has closed the connection, or sent GOAWAY. */
bool client_gone(client_t *client);

/* The server has sent GOAWAY. */
bool client_goaway(client_t *client);

/* Starts any request.  "headers" ends with a NULL name; a name that begins with
 * ":" replaces a default (POST, http).  A NULL "body" ends the stream with the
 * headers; "more" leaves it open for client_send(). */
client_call_t *client_request(client_t *client, const char *path,
    const client_header_t *headers, const void *body, size_t len, bool more);

void client_send(client_call_t *call, const void *data, size_t len, bool end);
void client_cancel(client_call_t *call);

/* Starts a gRPC call with one message; "token" and "session" may be NULL. */
client_call_t *client_grpc(client_t *client, const char *path,
    const char *token, const char *session, const void *message, size_t len);

/* Calls of the session with a good token; those with _get wait for the end. */
client_call_t *echo_start(client_t *client, const char *session);
client_call_t *echo_get(client_t *client, const char *session);

/* The same with a token of that user. */
client_call_t *echo_start_as(client_t *client, const char *user,
    const char *session);

/* The same on a connection of its own to harness_port(8080). */
client_call_t *echo_once(const char *session);

client_call_t *shutdown_get(client_t *client, const char *session);

/* Serves all connections until the call is over, has "n" messages, or all
 * calls are over. */
void client_wait(client_call_t *call);
void client_wait_messages(client_call_t *call, unsigned n);
void client_wait_all(void);

/* Serves all connections that are not paused until the gateway has written
 * nothing for 300 ms. */
void client_await_still(void);

/* Serves all connections once, for up to "timeout" milliseconds. */
void client_poll(int timeout);

/* How many complete gRPC messages the body has. */
unsigned client_messages(const client_call_t *call);

/* pod_name of message number "n" (from 0), "" if there is none; valid until
 * the next call of this function. */
const char *client_pod(const client_call_t *call, unsigned n);

/* The call is over with this status and message, without a reset. */
#define client_assert(call, code, text)                                       \
    client_assert_at(call, code, text, false, __FILE__, __LINE__)

/* The same in one HEADERS frame with END_STREAM and END_HEADERS. */
#define client_assert_refused(call, code, text)                               \
    client_assert_at(call, code, text, true, __FILE__, __LINE__)

void client_assert_at(const client_call_t *call, int code, const char *text,
    bool trailers_only, const char *file, int line);

/* The call has the line, "name: value", among its fields. */
bool client_has(const client_call_t *call, const char *line);

/* Adds a field; for client.c. */
void client_keep(client_call_t *call, const char *name, const char *value);

/* The call does not end within "ms" milliseconds. */
void client_assert_waits(const client_call_t *call, long long ms);


#endif /* MODULE_T_CLIENT_H */
