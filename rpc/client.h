/*
 * Blocking gRPC client on the C core: unary calls and streams with metadata,
 * deadline, status and trailing metadata.  A client may be shared by threads;
 * a stream belongs to one thread, except rpc_stream_cancel().
 */

#ifndef RPC_CLIENT_H
#define RPC_CLIENT_H


#include <stddef.h>
#include <stdint.h>

#include <grpc/grpc_security.h>
#include <grpc/status.h>
#include <protobuf-c/protobuf-c.h>

#include "rpc/tls.h"


typedef struct rpc_client_s  rpc_client_t;
typedef struct rpc_stream_s  rpc_stream_t;

typedef struct {
    const char  *key;                  /* lower case */
    const char  *value;
} rpc_metadata_t;

typedef struct {
    grpc_status_code  code;
    char             *message;         /* never NULL after a call */
    grpc_metadata_array  initial;
    grpc_metadata_array  trailing;
    grpc_call        *call;            /* keeps the metadata alive */
} rpc_result_t;


/* "target" is "host:port" or "unix:/path".  Takes ownership of "credentials";
 * NULL means plaintext h2c.  Every client has a connection of its own. */
rpc_client_t *rpc_client_create(const char *target,
    grpc_channel_credentials *credentials);

/* The same over TLS.  "server_name" is what the server's certificate must be
 * for; NULL: the host of "target". */
rpc_client_t *rpc_client_create_tls(const char *target, const rpc_tls_t *tls,
    const char *server_name);

/* The same, over TLS unless "tls" is NULL, with a service config in gRPC's JSON:
 * its retry policy repeats calls. */
rpc_client_t *rpc_client_create_config(const char *target,
    const rpc_tls_t *tls, const char *server_name, const char *config);

void rpc_client_free(rpc_client_t *client);

/* Waits until there is a connection, "timeout" milliseconds at most: a call
 * right after one that could not connect may get the old error.  0 or -1. */
int rpc_client_await(rpc_client_t *client, int64_t timeout);

/*
 * One unary call.  "path" is "/package.Service/Method"; "timeout" is in
 * milliseconds, negative for none.  Returns the response, to be freed with
 * protobuf_c_message_free_unpacked(m, NULL), or NULL when result->code is
 * not GRPC_STATUS_OK.  "result" is always set; free it with
 * rpc_result_free().
 */
ProtobufCMessage *rpc_client_unary(rpc_client_t *client, const char *path,
    const rpc_metadata_t *metadata, size_t n, int64_t timeout,
    const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *response, rpc_result_t *result);

/* Opens a server stream; does not wait for the first message.  Returns NULL
 * only when metadata is not legal or memory is out. */
rpc_stream_t *rpc_client_stream(rpc_client_t *client, const char *path,
    const rpc_metadata_t *metadata, size_t n, int64_t timeout,
    const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *response);

/* The same for streams of requests: it starts with no message. */
rpc_stream_t *rpc_client_bidi(rpc_client_t *client, const char *path,
    const rpc_metadata_t *metadata, size_t n, int64_t timeout,
    const ProtobufCMessageDescriptor *response);

/* Bidi: one more message, blocks until it is on its way.  -1 if the call has
 * ended.  rpc_stream_close() says that there is no other one. */
int rpc_stream_send(rpc_stream_t *stream, const ProtobufCMessage *request);
void rpc_stream_close(rpc_stream_t *stream);

/* The next message, or NULL at the end: then rpc_stream_finish(). */
ProtobufCMessage *rpc_stream_next(rpc_stream_t *stream);

/* From any thread. */
void rpc_stream_cancel(rpc_stream_t *stream);

/* Cancels if not ended yet, fills "result", frees the stream. */
void rpc_stream_finish(rpc_stream_t *stream, rpc_result_t *result);

/* First value of a key as a copy to be freed with free(), NULL if absent. */
char *rpc_metadata_find(const grpc_metadata_array *array, const char *key);

void rpc_result_free(rpc_result_t *result);


#endif /* RPC_CLIENT_H */
