/* What tools ask a server for, over one stream. */

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "google/protobuf/descriptor.pb-c.h"
#include "health.pb-c.h"
#include "reflection.pb-c.h"
#include "rpc/health.h"
#include "rpc/reflection.h"
#include "rpc/t/fixture.h"


#define V1     "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
#define ALPHA  "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

#define CALLS  64               /* that a server takes at the same time */


typedef Grpc__Reflection__V1__ServerReflectionRequest   request_t;
typedef Grpc__Reflection__V1__ServerReflectionResponse  response_t;

#define REQUEST(field, NAME)                                                  \
    static request_t                                                          \
    field(char *s)                                                            \
    {                                                                         \
        request_t  m =                                                        \
            GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;            \
                                                                              \
        m.host = "host";                                                      \
        m.field = s;                                                          \
        m.message_request_case =                                              \
    GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##NAME;  \
        return m;                                                             \
    }

REQUEST(file_by_filename, FILE_BY_FILENAME)
REQUEST(file_containing_symbol, FILE_CONTAINING_SYMBOL)
REQUEST(all_extension_numbers_of_type, ALL_EXTENSION_NUMBERS_OF_TYPE)
REQUEST(list_services, LIST_SERVICES)


static const char  *paths[] = { V1, ALPHA };


static fixture_t          f;
static rpc_health_t      *health;
static rpc_reflection_t  *reflection;


static void
unused(rpc_call_t *call, const ProtobufCMessage *message, void *data)
{
    (void) message;
    (void) data;

    rpc_call_fail(call, GRPC_STATUS_UNIMPLEMENTED, NULL);
}


/* Reflection is there before the methods it tells. */

static void
start(int with_health)
{
    char                               target[64];
    const ProtobufCServiceDescriptor  *api;

    api = &my_service__my_service_api__descriptor;

    f.server = rpc_server_create(NULL);
    reflection = rpc_reflection_create(f.server, rpc_protos, rpc_protos_len);
    ck_assert_ptr_nonnull(reflection);
    ck_assert_int_eq(rpc_server_unary(f.server, api, "Login", unused, NULL),
                     0);
    ck_assert_int_eq(rpc_server_unary(f.server, api, "MyServiceEcho", unused,
                                      NULL), 0);

    if (with_health) {
        health = rpc_health_create(f.server, "x", NULL, NULL);
        ck_assert_ptr_nonnull(health);
    }

    f.port = rpc_server_listen(f.server, "127.0.0.1:0", NULL);
    ck_assert_int_gt(f.port, 0);
    ck_assert_int_eq(rpc_server_start(f.server), 0);

    snprintf(target, sizeof(target), "127.0.0.1:%d", f.port);
    f.client = rpc_client_create(target, NULL);
}


static void
stop(void)
{
    ck_assert_int_eq(fixture_stop(&f, 5000), 0);
    rpc_reflection_free(reflection);
    rpc_health_free(health);
    health = NULL;
}


static rpc_stream_t *
open_stream(const char *path)
{
    rpc_stream_t  *s;

    s = rpc_client_bidi(f.client, path, NULL, 0, 30000,
            &grpc__reflection__v1__server_reflection_response__descriptor);
    ck_assert_ptr_nonnull(s);

    return s;
}


static response_t *
ask(rpc_stream_t *s, request_t request)
{
    response_t  *response;

    ck_assert_int_eq(rpc_stream_send(s, &request.base), 0);
    response = (response_t *) rpc_stream_next(s);
    ck_assert_ptr_nonnull(response);

    ck_assert_str_eq(response->valid_host, request.host);
    ck_assert_int_eq(response->original_request->message_request_case,
                     request.message_request_case);

    return response;
}


static void
forget(response_t *response)
{
    grpc__reflection__v1__server_reflection_response__free_unpacked(response,
                                                                    NULL);
}


static void
ends(rpc_stream_t *s, grpc_status_code code)
{
    rpc_result_t  result;

    ck_assert_ptr_null(rpc_stream_next(s));
    rpc_stream_finish(s, &result);
    ck_assert_int_eq(result.code, code);
    rpc_result_free(&result);
}


/* "want" is the names of the files, each with a space behind it. */

static void
has_files(rpc_stream_t *s, request_t request, const char *want)
{
    char                                   names[512];
    size_t                                 i;
    response_t                            *response;
    ProtobufCBinaryData                   *bytes;
    Google__Protobuf__FileDescriptorProto *file;

    response = ask(s, request);
    ck_assert_int_eq(response->message_response_case, 4);
    names[0] = '\0';

    for (i = 0;
         i < response->file_descriptor_response->n_file_descriptor_proto;
         i++)
    {
        bytes = &response->file_descriptor_response->file_descriptor_proto[i];
        file = google__protobuf__file_descriptor_proto__unpack(NULL,
                   bytes->len, bytes->data);
        ck_assert_ptr_nonnull(file);
        ck_assert_uint_lt(strlen(names) + strlen(file->name) + 2,
                          sizeof(names));
        strcat(names, file->name);
        strcat(names, " ");
        google__protobuf__file_descriptor_proto__free_unpacked(file, NULL);
    }

    ck_assert_str_eq(names, want);
    forget(response);
}


static void
has_error(rpc_stream_t *s, request_t request, grpc_status_code code,
    const char *message)
{
    response_t  *response;

    response = ask(s, request);
    ck_assert_int_eq(response->message_response_case, 7);
    ck_assert_int_eq(response->error_response->error_code, (int) code);
    ck_assert_str_eq(response->error_response->error_message, message);
    forget(response);
}


static void
has_services(rpc_stream_t *s, const char *const *names, size_t n)
{
    size_t       i;
    response_t  *response;

    response = ask(s, list_services("ignored"));
    ck_assert_int_eq(response->message_response_case, 6);
    ck_assert_uint_eq(response->list_services_response->n_service, n);

    for (i = 0; i < n; i++) {
        ck_assert_str_eq(response->list_services_response->service[i]->name,
                         names[i]);
    }

    forget(response);
}


START_TEST(services)
{
    rpc_stream_t  *s;

    static const char  *names[] = {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "my_service.MyServiceAPI"
    };

    /* those of this server only */

    start(_i);
    s = open_stream(V1);
    has_services(s, _i ? names : names + 1, _i ? 4 : 3);
    has_services(s, _i ? names : names + 1, _i ? 4 : 3);
    rpc_stream_close(s);
    ends(s, GRPC_STATUS_OK);
    stop();
}
END_TEST


START_TEST(files)
{
    rpc_stream_t  *s;

    static const char  mine[] = "my_service.proto "
                                "google/protobuf/timestamp.proto ";

    start(1);
    s = open_stream(paths[_i]);

    has_files(s, file_by_filename("my_service.proto"), mine);
    has_files(s, file_by_filename("google/protobuf/timestamp.proto"),
              "google/protobuf/timestamp.proto ");
    has_files(s, file_containing_symbol("my_service.MyServiceAPI"), mine);
    has_files(s, file_containing_symbol("my_service.MyServiceAPI.Login"),
              mine);
    has_files(s, file_containing_symbol("my_service.EchoResponse"), mine);
    has_files(s, file_containing_symbol("google.protobuf.Timestamp"),
              "google/protobuf/timestamp.proto ");
    has_files(s, file_containing_symbol("grpc.health.v1.Health.Watch"),
              "health.proto ");
    has_files(s, file_containing_symbol(
                     "grpc.health.v1.HealthCheckResponse.ServingStatus"),
              "health.proto ");
    has_files(s, file_containing_symbol(
                     "grpc.reflection.v1.ServerReflection"),
              "reflection.proto ");
    has_files(s, file_containing_symbol(
                     "grpc.reflection.v1alpha.ServerReflectionRequest"),
              "reflection_v1alpha.proto ");

    rpc_stream_close(s);
    ends(s, GRPC_STATUS_OK);
    stop();
}
END_TEST


/* An error is an answer: the stream goes on. */

START_TEST(errors)
{
    request_t                                request;
    rpc_stream_t                            *s;
    Grpc__Reflection__V1__ExtensionRequest   extension =
        GRPC__REFLECTION__V1__EXTENSION_REQUEST__INIT;

    start(1);
    s = open_stream(paths[_i]);

    has_error(s, file_by_filename("none.proto"), GRPC_STATUS_NOT_FOUND,
              "file not found");
    has_error(s, file_containing_symbol("my_service.None"),
              GRPC_STATUS_NOT_FOUND, "symbol not found");
    has_error(s, file_containing_symbol(""), GRPC_STATUS_NOT_FOUND,
              "symbol not found");
    has_error(s, all_extension_numbers_of_type("my_service.EchoRequest"),
              GRPC_STATUS_NOT_FOUND, "extension not found");

    extension.containing_type = "my_service.EchoRequest";
    extension.extension_number = 7;
    request = list_services("");
    request.message_request_case = 5;
    request.file_containing_extension = &extension;
    has_error(s, request, GRPC_STATUS_NOT_FOUND, "extension not found");

    request = list_services("");
    request.message_request_case = 0;
    has_error(s, request, GRPC_STATUS_INVALID_ARGUMENT, "unknown request");

    has_files(s, file_by_filename("health.proto"), "health.proto ");

    rpc_stream_close(s);
    ends(s, GRPC_STATUS_OK);
    stop();
}
END_TEST


START_TEST(many_calls)
{
    int            i;
    response_t    *response;
    rpc_result_t   result;
    request_t      request;
    rpc_stream_t  *s[CALLS], *over;

    start(0);
    request = list_services("");

    for (i = 0; i < CALLS; i++) {
        s[i] = open_stream(paths[i & 1]);
        response = ask(s[i], request);
        forget(response);
    }

    over = open_stream(V1);
    ck_assert_int_eq(rpc_stream_send(over, &request.base), 0);
    ends(over, GRPC_STATUS_RESOURCE_EXHAUSTED);

    /* those that go make room, in any order */

    for (i = 0; i < CALLS; i += 2) {
        rpc_stream_finish(s[i], &result);
        ck_assert_int_eq(result.code, GRPC_STATUS_CANCELLED);
        rpc_result_free(&result);
    }

    rpc_stream_close(s[1]);
    ends(s[1], GRPC_STATUS_OK);

    over = open_stream(V1);
    forget(ask(over, request));
    rpc_stream_close(over);
    ends(over, GRPC_STATUS_OK);

    for (i = 3; i < CALLS; i += 2) {
        rpc_stream_close(s[i]);
        ends(s[i], GRPC_STATUS_OK);
    }

    stop();
}
END_TEST


static void
drain(void *data)
{
    rpc_reflection_drain(data);
}


START_TEST(drained)
{
    request_t      request;
    rpc_stream_t  *s, *late;

    start(0);

    s = open_stream(V1);
    forget(ask(s, list_services("")));

    ck_assert_int_eq(rpc_server_post(f.server, drain, reflection), 0);
    ends(s, GRPC_STATUS_UNAVAILABLE);

    late = open_stream(V1);
    s = open_stream(ALPHA);
    rpc_stream_close(s);
    ends(s, GRPC_STATUS_OK);

    request = list_services("");
    (void) rpc_stream_send(late, &request.base);
    ends(late, GRPC_STATUS_UNAVAILABLE);

    stop();
}
END_TEST


START_TEST(bad_set)
{
    rpc_server_t  *server;

    server = rpc_server_create(NULL);
    ck_assert_ptr_null(rpc_reflection_create(server, "\x0a\x05", 2));
    rpc_server_free(server);
    rpc_reflection_free(NULL);
}
END_TEST


int
main(void)
{
    int       failed;
    TCase    *tc;
    Suite    *suite;
    SRunner  *runner;

    suite = suite_create("reflection");
    tc = tcase_create("reflection");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, services, 0, 2);
    tcase_add_loop_test(tc, files, 0, 2);
    tcase_add_loop_test(tc, errors, 0, 2);
    tcase_add_test(tc, many_calls);
    tcase_add_test(tc, drained);
    tcase_add_test(tc, bad_set);
    suite_add_tcase(suite, tc);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
