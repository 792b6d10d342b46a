/*
 * A client of server reflection: lists the services and reads their methods
 * from the descriptors of their files.  It asks for v1, then for v1alpha.
 * https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backendcheck/methods.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "reflection.pb-c.h"


typedef Grpc__Reflection__V1__ServerReflectionRequest   request_t;
typedef Grpc__Reflection__V1__ServerReflectionResponse  response_t;
typedef Google__Protobuf__FileDescriptorProto           file_t;
typedef Google__Protobuf__ServiceDescriptorProto        service_t;
typedef Google__Protobuf__MethodDescriptorProto         describe_t;

#define REQUEST_CASE(name)                                                    \
    GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name
#define RESPONSE_CASE(name)                                                   \
    GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name


static void methods_named(methods_t *methods, const methods_t *known,
    const char *list);
static kind_t methods_kind(const methods_t *methods, const char *path);
static bool methods_reflect(methods_t *methods, peer_t *peer,
    const char *package);
static void methods_listed(methods_t *methods, rpc_stream_t *stream);
static void methods_service(methods_t *methods, rpc_stream_t *stream,
    const char *name);
static void methods_file(methods_t *methods, const file_t *file,
    const char *name);
static void methods_add(methods_t *methods, const char *service,
    const describe_t *method);
static response_t *reflect_ask(rpc_stream_t *stream, request_t *request,
    int answer);


void
methods_find(methods_t *methods, peer_t *peer)
{
    methods_t  known;

    memset(methods, 0, sizeof(methods_t));
    memset(&known, 0, sizeof(methods_t));

    known.reflected = methods_reflect(&known, peer, "grpc.reflection.v1")
                      || methods_reflect(&known, peer,
                                         "grpc.reflection.v1alpha");

    if (peer->plan->methods == NULL) {
        *methods = known;

    } else {
        methods_named(methods, &known, peer->plan->methods);
    }
}


/* Those of "list", each of the kind that the instance says. */

static void
methods_named(methods_t *methods, const methods_t *known, const char *list)
{
    target_t  *target;

    while (*list != '\0' && methods->n < METHODS_MAX) {
        target = &methods->methods[methods->n];

        if (method_parse(&list, target) == 0) {
            methods->n++;

            if (target->kind == KIND_UNKNOWN) {
                target->kind = methods_kind(known, target->path);
            }
        }
    }
}


static kind_t
methods_kind(const methods_t *methods, const char *path)
{
    size_t  i;

    for (i = 0; i < methods->n; i++) {
        if (strcmp(methods->methods[i].path, path) == 0) {
            return methods->methods[i].kind;
        }
    }

    return KIND_UNKNOWN;
}


/* False: the instance does not know this version. */

static bool
methods_reflect(methods_t *methods, peer_t *peer, const char *package)
{
    char           path[128];
    rpc_result_t   result;
    rpc_stream_t  *stream;

    snprintf(path, sizeof(path), "/%s.ServerReflection/ServerReflectionInfo",
             package);

    stream = rpc_client_bidi(peer->rpc, path, NULL, 0,
                 check_time_left(peer->test, peer->plan->timeout),
                 &grpc__reflection__v1__server_reflection_response__descriptor);
    if (stream == NULL) {
        abort();
    }

    methods_listed(methods, stream);
    rpc_stream_close(stream);
    rpc_stream_finish(stream, &result);

    if (methods->n == 0) {
        snprintf(methods->failure, sizeof(methods->failure), "%s: %d %s %s",
                 package, (int) result.code,
                 check_code_name((int) result.code), result.message);
    }

    rpc_result_free(&result);

    return methods->n > 0;
}


static void
methods_listed(methods_t *methods, rpc_stream_t *stream)
{
    size_t                                            i;
    const char                                       *name;
    request_t                                         request =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    response_t                                       *response;
    const Grpc__Reflection__V1__ListServiceResponse  *list;

    request.message_request_case = REQUEST_CASE(LIST_SERVICES);
    request.list_services = "";

    response = reflect_ask(stream, &request,
                           RESPONSE_CASE(LIST_SERVICES_RESPONSE));
    if (response == NULL) {
        return;
    }

    list = response->list_services_response;

    for (i = 0; i < list->n_service; i++) {
        name = list->service[i]->name;

        if (strncmp(name, "grpc.", 5) != 0) {
            methods_service(methods, stream, name);
        }
    }

    protobuf_c_message_free_unpacked(&response->base, NULL);
}


static void
methods_service(methods_t *methods, rpc_stream_t *stream, const char *name)
{
    size_t                                               i;
    file_t                                              *file;
    request_t                                            request =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    response_t                                          *response;
    const Grpc__Reflection__V1__FileDescriptorResponse  *files;

    request.message_request_case = REQUEST_CASE(FILE_CONTAINING_SYMBOL);
    request.file_containing_symbol = (char *) name;

    response = reflect_ask(stream, &request,
                           RESPONSE_CASE(FILE_DESCRIPTOR_RESPONSE));
    if (response == NULL) {
        return;
    }

    files = response->file_descriptor_response;

    for (i = 0; i < files->n_file_descriptor_proto; i++) {
        file = google__protobuf__file_descriptor_proto__unpack(NULL,
                   files->file_descriptor_proto[i].len,
                   files->file_descriptor_proto[i].data);

        if (file != NULL) {
            methods_file(methods, file, name);
            google__protobuf__file_descriptor_proto__free_unpacked(file, NULL);
        }
    }

    protobuf_c_message_free_unpacked(&response->base, NULL);
}


static void
methods_file(methods_t *methods, const file_t *file, const char *name)
{
    char              full[PATH_LENGTH];
    size_t            i, k;
    const service_t  *service;

    for (i = 0; i < file->n_service; i++) {
        service = file->service[i];

        if (file->package != NULL && file->package[0] != '\0') {
            snprintf(full, sizeof(full), "%s.%s", file->package,
                     service->name != NULL ? service->name : "");
        } else {
            snprintf(full, sizeof(full), "%s",
                     service->name != NULL ? service->name : "");
        }

        if (strcmp(full, name) != 0) {
            continue;
        }

        for (k = 0; k < service->n_method; k++) {
            methods_add(methods, full, service->method[k]);
        }
    }
}


/* Streams of requests alone are left out: they are rare, and a call of one
 * is no different from one of a bidirectional stream. */

static void
methods_add(methods_t *methods, const char *service, const describe_t *method)
{
    int        n;
    bool       client, server;
    target_t  *target;

    client = method->has_client_streaming && method->client_streaming;
    server = method->has_server_streaming && method->server_streaming;

    if (methods->n == METHODS_MAX || method->name == NULL
        || (client && !server))
    {
        return;
    }

    target = &methods->methods[methods->n];
    n = snprintf(target->path, sizeof(target->path), "/%s/%s", service,
                 method->name);

    if (n < (int) sizeof(target->path)) {
        target->kind = client ? KIND_BIDI : server ? KIND_STREAM : KIND_UNARY;
        methods->n++;
    }
}


/* NULL if it is not the answer that was asked for. */

static response_t *
reflect_ask(rpc_stream_t *stream, request_t *request, int answer)
{
    response_t  *response;

    if (rpc_stream_send(stream, &request->base) == -1) {
        return NULL;
    }

    response = (response_t *) rpc_stream_next(stream);

    if (response != NULL && (int) response->message_response_case != answer) {
        protobuf_c_message_free_unpacked(&response->base, NULL);
        return NULL;
    }

    return response;
}


int
method_parse(const char **list, target_t *target)
{
    size_t       len;
    const char  *p;

    p = *list;
    len = strcspn(p, ",");
    *list += len + (p[len] == ',');
    target->kind = KIND_UNKNOWN;

    if (strncmp(p, "stream:", 7) == 0) {
        target->kind = KIND_STREAM;
        p += 7;
        len -= 7;

    } else if (strncmp(p, "bidi:", 5) == 0) {
        target->kind = KIND_BIDI;
        p += 5;
        len -= 5;
    }

    snprintf(target->path, PATH_LENGTH, "%.*s", (int) len, p);

    return len >= 4 && len < PATH_LENGTH && p[0] == '/' && p[1] != '/'
           && memchr(p + 2, '/', len - 3) != NULL ? 0 : -1;
}


bool
method_ends(const char *path)
{
    size_t              i;
    const char         *name;
    static const char  *words[] = {
        "Shutdown", "Leave", "Release", "Exit", "Quit", "Stop", "Close",
        "Terminate", "Delete", "Destroy", "Kill", "End", "Logout"
    };

    name = strrchr(path, '/');

    for (i = 0; name != NULL && i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasestr(name, words[i]) != NULL) {
            return true;
        }
    }

    return false;
}
