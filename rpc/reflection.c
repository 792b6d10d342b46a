/*
 * The reflection service: one stream per tool, an answer for each request.  A
 * tool that sends nothing for a minute loses its stream.
 */

#include "rpc/reflection.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "reflection.pb-c.h"
#include "rpc/call.h"
#include "rpc/descriptors.h"


/* a tool holds one call; there is no reason for many of them */
#define REFLECTION_STREAMS  64

/* ms without a request; tools that come back open another call */
#define REFLECTION_IDLE     60000


typedef Grpc__Reflection__V1__ServerReflectionRequest   request_t;
typedef Grpc__Reflection__V1__ServerReflectionResponse  response_t;
typedef Grpc__Reflection__V1__ServiceResponse           service_name_t;

#define REQUEST_CASE(name)                                                    \
    GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name
#define RESPONSE_CASE(name)                                                   \
    GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name

typedef struct reflection_stream_s  reflection_stream_t;

/* In the memory of its call. */
struct reflection_stream_s {
    reflection_stream_t  *next;
    reflection_stream_t  *prev;
    rpc_call_t           *call;
    rpc_reflection_t     *reflection;
};

struct rpc_reflection_s {
    const rpc_server_t    *server;
    rpc_descriptors_t     *descriptors;
    service_name_t        *services;    /* one for each method */
    service_name_t       **names;       /* sorted; NULL before the first ask */
    size_t                 n_services;
    size_t                 n_names;
    reflection_stream_t   *streams;
    size_t                 n;
    bool                   draining;
};

/* A response and what it points to. */
typedef struct {
    response_t                                      response;
    Grpc__Reflection__V1__FileDescriptorResponse    files;
    Grpc__Reflection__V1__ListServiceResponse       services;
    Grpc__Reflection__V1__ErrorResponse             error;
} reply_t;


static int reflection_register(rpc_reflection_t *reflection,
    rpc_server_t *server);
static void reflection_info(rpc_call_t *call, const ProtobufCMessage *message,
    void *data);
static reflection_stream_t *reflection_open(rpc_reflection_t *reflection,
    rpc_call_t *call);
static void reflection_done(rpc_call_t *call, void *data);
static void reflection_sent(rpc_call_t *call, void *data);
static void reflection_idle(rpc_call_t *call, void *data);
static void reflection_services(rpc_reflection_t *reflection);
static int service_compare(const void *one, const void *two);

static void reply_make(rpc_reflection_t *reflection, reply_t *reply,
    const request_t *request);
static void reply_file(rpc_reflection_t *reflection, reply_t *reply,
    size_t file, const char *missing);
static void reply_services(rpc_reflection_t *reflection, reply_t *reply);
static void reply_error(reply_t *reply, grpc_status_code code,
    const char *message);


/* v1alpha is v1 under another name, on the wire they are the same. */

static const ProtobufCMethodDescriptor  reflection_alpha_methods[] = {
    { "ServerReflectionInfo",
      &grpc__reflection__v1__server_reflection_request__descriptor,
      &grpc__reflection__v1__server_reflection_response__descriptor }
};

static const unsigned  reflection_alpha_indices[] = { 0 };

static const ProtobufCServiceDescriptor  reflection_alpha = {
    .magic = PROTOBUF_C__SERVICE_DESCRIPTOR_MAGIC,
    .name = "grpc.reflection.v1alpha.ServerReflection",
    .short_name = "ServerReflection",
    .c_name = "Grpc__Reflection__V1alpha__ServerReflection",
    .package = "grpc.reflection.v1alpha",
    .n_methods = 1,
    .methods = reflection_alpha_methods,
    .method_indices_by_name = reflection_alpha_indices
};


rpc_reflection_t *
rpc_reflection_create(rpc_server_t *server, const void *set, size_t len)
{
    rpc_reflection_t  *reflection;

    reflection = calloc(1, sizeof(rpc_reflection_t));
    if (reflection == NULL) {
        return NULL;
    }

    reflection->server = server;
    reflection->descriptors = rpc_descriptors_create(set, len);

    if (reflection->descriptors == NULL
        || reflection_register(reflection, server) != 0)
    {
        rpc_reflection_free(reflection);
        return NULL;
    }

    return reflection;
}


static int
reflection_register(rpc_reflection_t *reflection, rpc_server_t *server)
{
    if (rpc_server_bidi(server,
                        &grpc__reflection__v1__server_reflection__descriptor,
                        "ServerReflectionInfo", reflection_info, reflection)
        != 0)
    {
        return -1;
    }

    return rpc_server_bidi(server, &reflection_alpha, "ServerReflectionInfo",
                           reflection_info, reflection);
}


void
rpc_reflection_free(rpc_reflection_t *reflection)
{
    size_t  i;

    if (reflection == NULL) {
        return;
    }

    for (i = 0; i < reflection->n_services; i++) {
        free(reflection->services[i].name);
    }

    free(reflection->services);
    free(reflection->names);
    rpc_descriptors_free(reflection->descriptors);
    free(reflection);
}


void
rpc_reflection_drain(rpc_reflection_t *reflection)
{
    reflection_stream_t  *stream;

    reflection->draining = true;

    /* no call is done before the next event */

    for (stream = reflection->streams; stream != NULL; stream = stream->next) {
        rpc_call_fail(stream->call, GRPC_STATUS_UNAVAILABLE,
                      "server is shutting down");
    }
}


/* calls */


static void
reflection_info(rpc_call_t *call, const ProtobufCMessage *message, void *data)
{
    reply_t            reply;
    rpc_reflection_t  *reflection = data;

    if (message == NULL) {
        rpc_call_fail(call, GRPC_STATUS_OK, NULL);
        return;
    }

    if (rpc_call_data(call) == NULL
        && reflection_open(reflection, call) == NULL)
    {
        return;
    }

    /* also ends a call whose client does not read */
    rpc_call_timer(call, REFLECTION_IDLE, reflection_idle, NULL);

    reply_make(reflection, &reply, (const request_t *) message);

    (void) rpc_call_send(call, &reply.response.base, reflection_sent, NULL);
}


/* NULL: the call was refused. */

static reflection_stream_t *
reflection_open(rpc_reflection_t *reflection, rpc_call_t *call)
{
    reflection_stream_t  *stream;

    if (reflection->draining) {
        rpc_call_fail(call, GRPC_STATUS_UNAVAILABLE,
                      "server is shutting down");
        return NULL;
    }

    if (reflection->n == REFLECTION_STREAMS) {
        rpc_call_fail(call, GRPC_STATUS_RESOURCE_EXHAUSTED,
                      "too many calls of reflection");
        return NULL;
    }

    stream = rpc_call_alloc(call, sizeof(reflection_stream_t));
    if (stream == NULL) {
        rpc_call_fail(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }

    stream->call = call;
    stream->reflection = reflection;
    stream->prev = NULL;
    stream->next = reflection->streams;

    if (stream->next != NULL) {
        stream->next->prev = stream;
    }

    reflection->streams = stream;
    reflection->n++;

    rpc_call_set_data(call, stream);
    rpc_call_on_done(call, reflection_done, stream);

    return stream;
}


static void
reflection_done(rpc_call_t *call, void *data)
{
    reflection_stream_t  *stream = data;

    (void) call;

    if (stream->prev != NULL) {
        stream->prev->next = stream->next;

    } else {
        stream->reflection->streams = stream->next;
    }

    if (stream->next != NULL) {
        stream->next->prev = stream->prev;
    }

    stream->reflection->n--;
}


static void
reflection_sent(rpc_call_t *call, void *data)
{
    (void) data;

    rpc_call_timer(call, REFLECTION_IDLE, reflection_idle, NULL);
    (void) rpc_call_next(call);
}


static void
reflection_idle(rpc_call_t *call, void *data)
{
    (void) data;

    rpc_call_fail(call, GRPC_STATUS_OK, NULL);
}


/* The services that have methods, each once; they do not change any more once
 * there are calls. */

static void
reflection_services(rpc_reflection_t *reflection)
{
    size_t               i, n;
    service_name_t      *service;
    const rpc_method_t  *first, *method;

    if (reflection->names != NULL) {
        return;
    }

    n = 0;
    first = reflection->server->methods;

    for (method = first; method != NULL; method = method->next) {
        n++;
    }

    reflection->services = calloc(n, sizeof(service_name_t));
    reflection->names = calloc(n, sizeof(service_name_t *));

    if (reflection->services == NULL || reflection->names == NULL) {
        abort();        /* as the core does */
    }

    for (method = first; method != NULL; method = method->next) {
        service = &reflection->services[reflection->n_services];
        grpc__reflection__v1__service_response__init(service);
        service->name = strndup(method->path + 1,
                                strcspn(method->path + 1, "/"));
        reflection->names[reflection->n_services++] = service;
    }

    qsort(reflection->names, n, sizeof(service_name_t *), service_compare);

    for (i = 0; i < n; i++) {
        service = reflection->names[i];

        if (i == 0
            || strcmp(reflection->names[reflection->n_names - 1]->name,
                      service->name)
               != 0)
        {
            reflection->names[reflection->n_names++] = service;
        }
    }
}


static int
service_compare(const void *one, const void *two)
{
    return strcmp((*(service_name_t *const *) one)->name,
                  (*(service_name_t *const *) two)->name);
}


/* responses */


static void
reply_make(rpc_reflection_t *reflection, reply_t *reply,
    const request_t *request)
{
    size_t                    file;
    const rpc_descriptors_t  *descriptors;

    descriptors = reflection->descriptors;

    grpc__reflection__v1__server_reflection_response__init(&reply->response);
    reply->response.valid_host = request->host;
    reply->response.original_request = (request_t *) request;

    switch (request->message_request_case) {

    case REQUEST_CASE(FILE_BY_FILENAME):
        file = rpc_descriptors_file(descriptors, request->file_by_filename);
        reply_file(reflection, reply, file, "file not found");
        return;

    case REQUEST_CASE(FILE_CONTAINING_SYMBOL):
        file = rpc_descriptors_symbol(descriptors,
                                      request->file_containing_symbol);
        reply_file(reflection, reply, file, "symbol not found");
        return;

    case REQUEST_CASE(FILE_CONTAINING_EXTENSION):
    case REQUEST_CASE(ALL_EXTENSION_NUMBERS_OF_TYPE):
        /* proto3 has none but of its own options */
        reply_error(reply, GRPC_STATUS_NOT_FOUND, "extension not found");
        return;

    case REQUEST_CASE(LIST_SERVICES):
        reply_services(reflection, reply);
        return;

    default:
        reply_error(reply, GRPC_STATUS_INVALID_ARGUMENT, "unknown request");
    }
}


static void
reply_file(rpc_reflection_t *reflection, reply_t *reply, size_t file,
    const char *missing)
{
    if (file == RPC_DESCRIPTORS_NONE) {
        reply_error(reply, GRPC_STATUS_NOT_FOUND, missing);
        return;
    }

    grpc__reflection__v1__file_descriptor_response__init(&reply->files);
    reply->files.file_descriptor_proto =
        rpc_descriptors_closure(reflection->descriptors, file,
                                &reply->files.n_file_descriptor_proto);

    reply->response.message_response_case
        = RESPONSE_CASE(FILE_DESCRIPTOR_RESPONSE);
    reply->response.file_descriptor_response = &reply->files;
}


static void
reply_services(rpc_reflection_t *reflection, reply_t *reply)
{
    reflection_services(reflection);

    grpc__reflection__v1__list_service_response__init(&reply->services);
    reply->services.n_service = reflection->n_names;
    reply->services.service = reflection->names;

    reply->response.message_response_case
        = RESPONSE_CASE(LIST_SERVICES_RESPONSE);
    reply->response.list_services_response = &reply->services;
}


static void
reply_error(reply_t *reply, grpc_status_code code, const char *message)
{
    grpc__reflection__v1__error_response__init(&reply->error);
    reply->error.error_code = code;
    reply->error.error_message = (char *) message;

    reply->response.message_response_case = RESPONSE_CASE(ERROR_RESPONSE);
    reply->response.error_response = &reply->error;
}
