/*
 * An HTTP/2 client that shows what was on the wire: nghttp2 as codec, many
 * calls per connection, all connections of the test polled together. A call
 * fails the test when it is not over before the deadline.
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

/* Connected, but the server gets no byte until link_release(). */
client_t *client_open_silent(int port);
void client_close(client_t *client);

/* What the client sends on, all submitted frames written to it. */
link_t *client_link(client_t *client);

/* Stops reading, so that the socket fills up, and starts it again. */
void client_deaf(client_t *client, bool deaf);

/* RST_STREAM frames that came, also for calls that were over. */
unsigned client_resets(client_t *client);

/* A PING; waits for the answers to the first "n". */
void client_ping(client_t *client);
void client_wait_pongs(client_t *client, unsigned n);

/* How much the server may send on each call, those that run included. */
void client_window(client_t *client, uint32_t size);

/* The same for all calls together. */
void client_window_all(client_t *client, int32_t size);

/* The connection is closed by the server or was told to go away. */
bool client_gone(client_t *client);

/* It was told to go away. */
bool client_told(client_t *client);

/* Any request. "headers" ends with a NULL name; those whose names begin with
 * ":" replace the defaults (POST, http). A NULL "body" ends the stream with
 * the headers. "more" leaves it open for client_send(). */
client_call_t *client_request(client_t *client, const char *path,
    const client_header_t *headers, const void *body, size_t len, bool more);

void client_send(client_call_t *call, const void *data, size_t len, bool end);
void client_cancel(client_call_t *call);

/* A gRPC call with one message; "token" and "session" may be NULL. */
client_call_t *client_grpc(client_t *client, const char *path,
    const char *token, const char *session, const void *message, size_t len);

/* Calls of the session with a good token; echo_get() waits for the end. */
client_call_t *echo_start(client_t *client, const char *session);
client_call_t *echo_get(client_t *client, const char *session);
client_call_t *shutdown_get(client_t *client, const char *session);

/* Serves all connections until the call is over, has "n" messages, or all
 * calls are over. */
void client_wait(client_call_t *call);
void client_wait_messages(client_call_t *call, unsigned n);
void client_wait_all(void);

/* Serves all connections that are not deaf until the gateway has nothing to
 * write to anybody, as far as can be seen. */
void client_await_still(void);

/* Serves all connections once, for up to "timeout" milliseconds. */
void client_poll(int timeout);

/* Complete gRPC messages in the body. */
unsigned client_messages(const client_call_t *call);

/* pod_name of message number "n" (from 0), "" if there is none; valid until
 * the next call of this function. */
const char *client_pod(const client_call_t *call, unsigned n);

/* The call is over with this status and message, and not by a reset. */
#define client_assert(call, code, text)                                       \
    client_assert_at(call, code, text, false, __FILE__, __LINE__)

/* The same in one HEADERS frame with END_STREAM and END_HEADERS. */
#define client_assert_refused(call, code, text)                               \
    client_assert_at(call, code, text, true, __FILE__, __LINE__)

void client_assert_at(const client_call_t *call, int code, const char *text,
    bool trailers_only, const char *file, int line);

/* The call is not over within "ms" milliseconds. */
void client_assert_waits(const client_call_t *call, long long ms);


#endif /* MODULE_T_CLIENT_H */
