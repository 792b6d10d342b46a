/*
 * gRPC server on the C core: one completion queue, one thread, handlers that
 * never block.  Methods are registered with their protobuf-c descriptors; a
 * handler gets a parsed, UTF-8-checked request and answers at once, later
 * (rpc_call_defer) or with a stream of messages; that of a bidirectional
 * stream runs for every request message.
 */

#ifndef RPC_SERVER_H
#define RPC_SERVER_H


#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <grpc/grpc_security.h>
#include <grpc/status.h>
#include <protobuf-c/protobuf-c.h>

#include "rpc/options.h"


typedef struct rpc_server_s  rpc_server_t;
typedef struct rpc_call_s    rpc_call_t;

typedef void (*rpc_handler_pt)(rpc_call_t *call,
    const ProtobufCMessage *request, void *data);
typedef void (*rpc_event_pt)(rpc_call_t *call, void *data);


/*
 * Calls above "max_calls" get RESOURCE_EXHAUSTED.  Calls of one request and
 * one response have a limit of their own, so that streams, however many, leave
 * room for health checks.
 */
typedef struct {
    int64_t  max_message;       /* bytes of one request message; 0: 4 MiB */
    int64_t  max_metadata;      /* bytes of request metadata; 0: 16 KiB */
    int64_t  max_calls;         /* open calls; 0: 4096 */
    int64_t  max_streams;       /* the same per connection; 0: 1024 */
    int64_t  idle_timeout;      /* ms until a connection without a call is
                                   closed; 0: 5 minutes */
    int64_t  request_timeout;   /* ms until the first message of a call must
                                   have come; 0: 30 seconds */
    int64_t  socket_mode;       /* permissions of a unix socket; 0: 0666 */
    int      outstanding;       /* accepted calls waiting per method; 0: 64 */
} rpc_server_options_t;

/* Rows of a table of options; "env" is the prefix of the program. */
#define RPC_SERVER_OPTIONS(env, options)                                      \
    { "max-calls", env "_MAX_CALLS", OPTION_NUMBER, &(options)->max_calls,    \
      "4096", 1, 1000000,                                                     \
      "streams that may be open, and as many other calls" },                  \
    { "max-connection-calls", env "_MAX_CONNECTION_CALLS", OPTION_NUMBER,     \
      &(options)->max_streams, "1024", 1, 1000000,                            \
      "calls that may be open on one connection" },                           \
    { "idle-timeout", env "_IDLE_TIMEOUT", OPTION_TIME,                       \
      &(options)->idle_timeout, "5m", 1000, 24 * 3600 * 1000,                 \
      "close a connection that has no call for this time" },                  \
    { "request-timeout", env "_REQUEST_TIMEOUT", OPTION_TIME,                 \
      &(options)->request_timeout, "30s", 100, 24 * 3600 * 1000,              \
      "how long the first message of a call may take" },                      \
    { "socket-mode", env "_SOCKET_MODE", OPTION_MODE,                         \
      &(options)->socket_mode, "0666", 0001, 0777,                            \
      "permissions of a unix socket" }


/*
 * Registration, before rpc_server_start().  "options" may be NULL.  Returns
 * NULL or -1 when memory or the core fails, or when "service" has no such
 * method.  "data" is borrowed until rpc_server_free().
 */

rpc_server_t *rpc_server_create(const rpc_server_options_t *options);

int rpc_server_unary(rpc_server_t *server,
    const ProtobufCServiceDescriptor *service, const char *method,
    rpc_handler_pt handler, void *data)
    __attribute__((warn_unused_result));

int rpc_server_stream(rpc_server_t *server,
    const ProtobufCServiceDescriptor *service, const char *method,
    rpc_handler_pt handler, void *data)
    __attribute__((warn_unused_result));

/* Streams of the client and of both.  The handler runs with the first message,
 * then once for every rpc_call_next(); with NULL when the client has sent its
 * last message. */
int rpc_server_bidi(rpc_server_t *server,
    const ProtobufCServiceDescriptor *service, const char *method,
    rpc_handler_pt handler, void *data)
    __attribute__((warn_unused_result));

/*
 * Listens on "address" ("127.0.0.1:5101", "[::1]:0", "unix:/path").  Call it
 * before there are other threads: it sets the umask for a moment.  Takes
 * ownership of "credentials"; NULL means plaintext h2c.  Returns the bound
 * port (1 for a unix socket), or 0 on error.  An address that another server
 * listens on is an error, a socket file without a server is replaced.
 */
int rpc_server_listen(rpc_server_t *server, const char *address,
    grpc_server_credentials *credentials)
    __attribute__((warn_unused_result));

int rpc_server_start(rpc_server_t *server)
    __attribute__((warn_unused_result));

/*
 * Drains: GOAWAY, then up to "grace" milliseconds for running calls, then
 * cancels the rest.  Connections without calls are closed after half a second.
 * Waits for the answers of deferred calls even then.
 * Blocks; never call it from a handler.  Returns 1 if calls had to be
 * cancelled, 0 if not.
 */
int rpc_server_stop(rpc_server_t *server, int64_t grace);

/* Stops it first, if that was not done.  NULL is fine. */
void rpc_server_free(rpc_server_t *server);

/* Runs "fn" on the server's thread, from any thread, in the order of the
 * posts; before the start it waits for the start.  -1 if out of memory or
 * the server has stopped: then "fn" does not run. */
int rpc_server_post(rpc_server_t *server, void (*fn)(void *data), void *data);

/* Timers of the server's thread, not bound to a call; may be set before the
 * start, too.  The caller owns "timer" (zeroed before its first use, then
 * "fire" and "data" set); set it again to move it. */
typedef struct rpc_timer_s {
    int64_t  when;                      /* rpc_now() milliseconds */
    void   (*fire)(void *data);
    void    *data;
    size_t   slot;                      /* 1-based heap index, 0 = not set */
} rpc_timer_t;

void rpc_timer_set(rpc_server_t *server, rpc_timer_t *timer, int64_t delay);
void rpc_timer_clear(rpc_server_t *server, rpc_timer_t *timer);

/* Monotonic milliseconds. */
int64_t rpc_now(void);


/*
 * Everything below runs on the server's thread.  A call that was deferred may
 * be handed to one other thread, which may read its metadata, use
 * rpc_call_alloc(), rpc_call_add_initial(), rpc_call_add_trailing() and
 * rpc_call_cancelled(), and ends with exactly one rpc_call_reply() or
 * rpc_call_fail(), also when the call is cancelled; after that the call is
 * not its any more.
 *
 * A request that is not a message, or not UTF-8, never gets to the handler:
 * INTERNAL.  A string with a NUL character: INVALID_ARGUMENT.  A handler of a
 * unary method that neither answers nor defers: INTERNAL.  A first message
 * that does not come in time: DEADLINE_EXCEEDED.
 */

/* First value of a request metadata key (lower case), NULL if absent.  Not
 * NUL-terminated; valid until the call is done.  "-bin" values are decoded. */
const char *rpc_call_metadata(const rpc_call_t *call, const char *key,
    size_t *len);

/* How many values the key has. */
size_t rpc_call_metadata_count(const rpc_call_t *call, const char *key);

/* "ipv4:127.0.0.1:4711"; NUL-terminated, lives in the call's memory. */
const char *rpc_call_peer(rpc_call_t *call);

/* Memory that lives as long as the call.  NULL when out of memory, or when the
 * call has used sixteen times the largest message. */
void *rpc_call_alloc(rpc_call_t *call, size_t size);

/* Up to 8 each; -1 when full, sent already, or not legal as metadata. */
int rpc_call_add_initial(rpc_call_t *call, const char *key,
    const char *value);
int rpc_call_add_trailing(rpc_call_t *call, const char *key,
    const char *value);

/* Unary: the answer. */
void rpc_call_reply(rpc_call_t *call, const ProtobufCMessage *response);

/* Ends a call with a status; Trailers-Only if nothing was sent or added as
 * initial metadata.  "message" may be NULL.  Also the normal end of a stream
 * (GRPC_STATUS_OK); without effect after the end or a cancel. */
void rpc_call_fail(rpc_call_t *call, grpc_status_code code,
    const char *message);

/* Unary: answer later, from any thread.  The request stays valid until the
 * answer. */
void rpc_call_defer(rpc_call_t *call);

/* Stream, bidi: sends one message; "sent" (may be NULL) runs when it is
 * written.  One message in flight: returns -1 while the last one is not
 * written, or after the end. */
int rpc_call_send(rpc_call_t *call, const ProtobufCMessage *message,
    rpc_event_pt sent, void *data);

/* Bidi: reads the next message.  What the handler was given last is valid
 * until it runs again.  Returns -1 while a message is being read, after the
 * client's last one, or after the end. */
int rpc_call_next(rpc_call_t *call);

/* Bidi: what the handler wants to find again; NULL at first. */
void rpc_call_set_data(rpc_call_t *call, void *data);
void *rpc_call_data(const rpc_call_t *call);

/* Runs once when nothing of the call is left to do: its answer is on the wire
 * or it was cancelled.  The call is invalid afterwards. */
void rpc_call_on_done(rpc_call_t *call, rpc_event_pt done, void *data);

/* Runs when the peer cancels, disconnects or its deadline passes; streams
 * and deferred calls only. */
void rpc_call_on_cancel(rpc_call_t *call, rpc_event_pt cancel, void *data);

bool rpc_call_cancelled(const rpc_call_t *call);

/* One timer per call, in milliseconds from now; negative clears it.  Cleared
 * by itself when the call ends. */
void rpc_call_timer(rpc_call_t *call, int64_t delay, rpc_event_pt fire,
    void *data);


#endif /* RPC_SERVER_H */
