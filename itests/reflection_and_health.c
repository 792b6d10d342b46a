/*
 * Tools and load balancers ask the gateway without a token: for reflection in
 * both versions, and for the gateway's own health, which changes when the last
 * instance has ended.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "google/protobuf/descriptor.pb-c.h"
#include "health.pb-c.h"
#include "itests/client.h"
#include "itests/scenario.h"
#include "reflection.pb-c.h"


#define HEALTH_CHECK  "/grpc.health.v1.Health/Check"
#define HEALTH_WATCH  "/grpc.health.v1.Health/Watch"
#define API           "my_service.MyServiceAPI"

#define INSTANCES     3


typedef Grpc__Reflection__V1__ServerReflectionRequest   request_t;
typedef Grpc__Reflection__V1__ServerReflectionResponse  response_t;
typedef Grpc__Health__V1__HealthCheckRequest            health_request_t;
typedef Grpc__Health__V1__HealthCheckResponse           health_response_t;

#define REQUEST_CASE(name)                                                    \
    GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name
#define RESPONSE_CASE(name)                                                   \
    GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name
#define STATUS(name)                                                          \
    GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name


static bool reflect(client_t *client, const char *package);
static bool reflect_services(client_t *client, rpc_stream_t *stream);
static bool reflect_symbol(client_t *client, rpc_stream_t *stream,
    const char *symbol, const char *file);
static bool reflect_missing(client_t *client, rpc_stream_t *stream);
static response_t *reflect_ask(client_t *client, rpc_stream_t *stream,
    request_t *request, const char *what);
static bool service_listed(const response_t *response, const char *name);
static char *file_name(const ProtobufCBinaryData *bytes);

static bool health_check(client_t *client, const char *service, int status);
static bool health_unknown(client_t *client);
static rpc_stream_t *health_watch(client_t *client, const char *service,
    int status);
static bool health_next(client_t *client, rpc_stream_t *stream, int status,
    const char *what);
static void health_cancel(client_t *client, rpc_stream_t *stream);
static void health_changes(client_t *client, rpc_stream_t *stream);
static bool instances_leave(test_t *test);


void
reflection_and_health(test_t *test)
{
    client_t       client;
    rpc_stream_t  *all, *api, *none;

    if (client_open(&client, test, "client", "reflection") == -1) {
        return;
    }

    if (reflect(&client, "grpc.reflection.v1")
        && reflect(&client, "grpc.reflection.v1alpha")
        && health_check(&client, "", STATUS(SERVING))
        && health_check(&client, API, STATUS(SERVING))
        && health_unknown(&client))
    {
        all = health_watch(&client, "", STATUS(SERVING));
        api = health_watch(&client, API, STATUS(SERVING));
        none = health_watch(&client, "no.such.Service",
                            STATUS(SERVICE_UNKNOWN));

        health_changes(&client, all);

        health_cancel(&client, all);
        health_cancel(&client, api);
        health_cancel(&client, none);
    }

    client_close(&client);
}


/* reflection */


static bool
reflect(client_t *client, const char *package)
{
    char           path[128];
    bool           ok;
    rpc_result_t   result;
    rpc_stream_t  *stream;

    snprintf(path, sizeof(path), "/%s.ServerReflection/ServerReflectionInfo",
             package);

    stream = rpc_client_bidi(client->rpc, path, NULL, 0,
                 check_time_left(client->test, CLIENT_CALL_TIMEOUT),
                 &grpc__reflection__v1__server_reflection_response__descriptor);
    if (stream == NULL) {
        abort();
    }

    check_note(client->test, "%s: one call of %s", client->name, package);

    ok = reflect_services(client, stream)
         && reflect_symbol(client, stream, API, "my_service.proto")
         && reflect_symbol(client, stream, API ".MyServiceSubscribe",
                           "my_service.proto")
         && reflect_symbol(client, stream, "my_service.EchoResponse",
                           "my_service.proto")
         && reflect_symbol(client, stream, "google.protobuf.Timestamp",
                           "google/protobuf/timestamp.proto")
         && reflect_symbol(client, stream, "grpc.health.v1.Health",
                           "health.proto")
         && reflect_missing(client, stream);

    if (ok) {
        rpc_stream_close(stream);
        ok = check(client->test, rpc_stream_next(stream) == NULL,
                   "%s: %s: no answer without a request", client->name,
                   package);
    }

    rpc_stream_finish(stream, &result);

    ok = ok && check(client->test, result.code == GRPC_STATUS_OK,
                     "%s: %s: the call ends with %s %s", client->name,
                     package, check_code_name((int) result.code),
                     result.message);
    rpc_result_free(&result);

    return ok;
}


static bool
reflect_services(client_t *client, rpc_stream_t *stream)
{
    size_t       i;
    check_t      c;
    request_t    request =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    response_t  *response;

    static const char  *names[] = {
        API, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection"
    };

    request.message_request_case = REQUEST_CASE(LIST_SERVICES);
    request.list_services = "";

    response = reflect_ask(client, stream, &request, "list of services");
    if (response == NULL) {
        return false;
    }

    check_begin(&c, client->test, "%s: list of services", client->name);

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void) check_that(&c, service_listed(response, names[i]), names[i],
                          "missing", "listed");
    }

    protobuf_c_message_free_unpacked(&response->base, NULL);

    return check_done(&c);
}


static bool
service_listed(const response_t *response, const char *name)
{
    size_t                                      i;
    const Grpc__Reflection__V1__ListServiceResponse  *list;

    if (response->message_response_case
        != RESPONSE_CASE(LIST_SERVICES_RESPONSE))
    {
        return false;
    }

    list = response->list_services_response;

    for (i = 0; i < list->n_service; i++) {
        if (strcmp(list->service[i]->name, name) == 0) {
            return true;
        }
    }

    return false;
}


/* The first file is the one that was asked for. */

static bool
reflect_symbol(client_t *client, rpc_stream_t *stream, const char *symbol,
    const char *file)
{
    char        *name;
    check_t      c;
    request_t    request =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    response_t  *response;

    request.message_request_case = REQUEST_CASE(FILE_CONTAINING_SYMBOL);
    request.file_containing_symbol = (char *) symbol;

    response = reflect_ask(client, stream, &request, symbol);
    if (response == NULL) {
        return false;
    }

    check_begin(&c, client->test, "%s: file of %s", client->name, symbol);

    if (check_number(&c, "answer", (int) response->message_response_case,
                     RESPONSE_CASE(FILE_DESCRIPTOR_RESPONSE))
        && check_that(&c, response->file_descriptor_response
                          ->n_file_descriptor_proto > 0,
                      "files", "none", "some"))
    {
        name = file_name(&response->file_descriptor_response
                         ->file_descriptor_proto[0]);
        (void) check_equal(&c, "name", name, file);
        free(name);
    }

    protobuf_c_message_free_unpacked(&response->base, NULL);

    return check_done(&c);
}


/* A copy, "" if it is no descriptor. */

static char *
file_name(const ProtobufCBinaryData *bytes)
{
    char                                   *name;
    Google__Protobuf__FileDescriptorProto  *file;

    file = google__protobuf__file_descriptor_proto__unpack(NULL, bytes->len,
                                                           bytes->data);
    name = strdup(file != NULL && file->name != NULL ? file->name : "");

    if (file != NULL) {
        google__protobuf__file_descriptor_proto__free_unpacked(file, NULL);
    }

    if (name == NULL) {
        abort();
    }

    return name;
}


static bool
reflect_missing(client_t *client, rpc_stream_t *stream)
{
    check_t      c;
    request_t    request =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    response_t  *response;

    request.message_request_case = REQUEST_CASE(FILE_CONTAINING_SYMBOL);
    request.file_containing_symbol = "my_service.NoSuchThing";

    response = reflect_ask(client, stream, &request, "a missing symbol");
    if (response == NULL) {
        return false;
    }

    check_begin(&c, client->test, "%s: a symbol that is not there",
                client->name);

    if (check_number(&c, "answer", (int) response->message_response_case,
                     RESPONSE_CASE(ERROR_RESPONSE)))
    {
        (void) check_code(&c, response->error_response->error_code,
                          GRPC_STATUS_NOT_FOUND);
        (void) check_equal(&c, "message",
                           response->error_response->error_message,
                           "symbol not found");
    }

    protobuf_c_message_free_unpacked(&response->base, NULL);

    return check_done(&c);
}


static response_t *
reflect_ask(client_t *client, rpc_stream_t *stream, request_t *request,
    const char *what)
{
    ProtobufCMessage  *message;

    message = NULL;

    if (rpc_stream_send(stream, &request->base) == 0) {
        message = rpc_stream_next(stream);
    }

    (void) check(client->test, message != NULL, "%s: %s: an answer",
                 client->name, what);

    return (response_t *) message;
}


/* health */


static bool
health_check(client_t *client, const char *service, int status)
{
    check_t             c;
    rpc_result_t        result;
    health_request_t    request =
        GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    health_response_t  *response;

    request.service = (char *) service;

    response = (health_response_t *)
        rpc_client_unary(client->rpc, HEALTH_CHECK, NULL, 0,
                         check_time_left(client->test, CLIENT_CALL_TIMEOUT),
                         &request.base,
                         &grpc__health__v1__health_check_response__descriptor,
                         &result);

    check_begin(&c, client->test, "%s: Check of \"%s\"", client->name,
                service);

    if (check_code(&c, (int) result.code, GRPC_STATUS_OK)) {
        (void) check_number(&c, "status", (int) response->status, status);
        protobuf_c_message_free_unpacked(&response->base, NULL);
    }

    rpc_result_free(&result);

    return check_done(&c);
}


static bool
health_unknown(client_t *client)
{
    outcome_t          outcome;
    rpc_result_t       result;
    health_request_t   request =
        GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;

    request.service = "no.such.Service";

    outcome.response =
        rpc_client_unary(client->rpc, HEALTH_CHECK, NULL, 0,
                         check_time_left(client->test, CLIENT_CALL_TIMEOUT),
                         &request.base,
                         &grpc__health__v1__health_check_response__descriptor,
                         &result);
    outcome.code = result.code;
    outcome.message = strdup(result.message);
    outcome.decision = NULL;
    rpc_result_free(&result);

    if (outcome.message == NULL) {
        abort();
    }

    return expect_error(client->test, &outcome, GRPC_STATUS_NOT_FOUND,
                        "unknown service", "%s: Check of \"no.such.Service\"",
                        client->name);
}


/* Starts a Watch and reads its first status. */

static rpc_stream_t *
health_watch(client_t *client, const char *service, int status)
{
    rpc_stream_t      *stream;
    health_request_t   request =
        GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;

    request.service = (char *) service;

    stream = rpc_client_stream(client->rpc, HEALTH_WATCH, NULL, 0,
                 check_time_left(client->test, 3600000), &request.base,
                 &grpc__health__v1__health_check_response__descriptor);
    if (stream == NULL) {
        abort();
    }

    (void) health_next(client, stream, status, service);

    return stream;
}


static bool
health_next(client_t *client, rpc_stream_t *stream, int status,
    const char *what)
{
    check_t             c;
    health_response_t  *response;

    response = (health_response_t *) rpc_stream_next(stream);

    check_begin(&c, client->test, "%s: Watch of \"%s\"", client->name, what);

    if (check_that(&c, response != NULL, "stream", "its end", "a message")) {
        (void) check_number(&c, "status", (int) response->status, status);
        protobuf_c_message_free_unpacked(&response->base, NULL);
    }

    return check_done(&c);
}


static void
health_cancel(client_t *client, rpc_stream_t *stream)
{
    rpc_result_t  result;

    rpc_stream_cancel(stream);
    rpc_stream_finish(stream, &result);

    (void) check(client->test, result.code == GRPC_STATUS_CANCELLED,
                 "%s: cancel of a Watch: %s", client->name,
                 check_code_name((int) result.code));

    rpc_result_free(&result);
}


/* The sessions shut down all instances. */

static void
health_changes(client_t *client, rpc_stream_t *stream)
{
    outcome_t  outcome;

    if (!instances_leave(client->test) || !client_login(client)) {
        return;
    }

    outcome = call_echo(client, NULL);

    if (outcome.code == GRPC_STATUS_OK) {
        outcome_free(&outcome);
        check_skip(client->test, "there are more than three instances",
                   "the status without an instance");
        return;
    }

    if (expect_error(client->test, &outcome, GRPC_STATUS_RESOURCE_EXHAUSTED,
                     "no available instances", "%s: MyServiceEcho",
                     client->name))
    {
        (void) health_check(client, "", STATUS(NOT_SERVING));
        (void) health_check(client, API, STATUS(NOT_SERVING));
        (void) health_next(client, stream, STATUS(NOT_SERVING), "");
    }
}


static bool
instances_leave(test_t *test)
{
    bool      ok;
    size_t    i;
    client_t  clients[INSTANCES];

    ok = clients_open(clients, INSTANCES, test, "health-") == 0
         && clients_login(clients, INSTANCES);

    for (i = 0; ok && i < INSTANCES; i++) {
        ok = client_echo(&clients[i], NULL);
    }

    for (i = 0; ok && i < INSTANCES; i++) {
        ok = client_shutdown(&clients[i], clients[i].pod);
    }

    clients_close(clients, INSTANCES);

    return ok;
}
