/* The service fake.Fake, whose messages are all empty. */

#include <stdlib.h>

#include "backendcheck/t/describe.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "google/protobuf/empty.pb-c.h"


#define METHODS  4


typedef Google__Protobuf__MethodDescriptorProto   describe_method_t;
typedef Google__Protobuf__ServiceDescriptorProto  describe_service_t;


static const ProtobufCMethodDescriptor  methods[METHODS] = {
    { "End", &google__protobuf__empty__descriptor,
      &google__protobuf__empty__descriptor },
    { "Watch", &google__protobuf__empty__descriptor,
      &google__protobuf__empty__descriptor },
    { "Talk", &google__protobuf__empty__descriptor,
      &google__protobuf__empty__descriptor },
    { "Call", &google__protobuf__empty__descriptor,
      &google__protobuf__empty__descriptor }
};

/* Call, End, Talk, Watch */
static const unsigned  by_name[METHODS] = { 3, 0, 2, 1 };

const ProtobufCServiceDescriptor  describe_fake = {
    PROTOBUF_C__SERVICE_DESCRIPTOR_MAGIC, "fake.Fake", "Fake", "Fake__Fake",
    "fake", METHODS, methods, by_name
};


uint8_t *
describe(size_t *len)
{
    size_t                                  i;
    uint8_t                                *out;
    describe_method_t                       list[METHODS];
    describe_method_t                      *list_of[METHODS];
    describe_service_t                      service =
        GOOGLE__PROTOBUF__SERVICE_DESCRIPTOR_PROTO__INIT;
    describe_service_t                     *service_of = &service;
    Google__Protobuf__FileDescriptorProto   file =
        GOOGLE__PROTOBUF__FILE_DESCRIPTOR_PROTO__INIT;
    Google__Protobuf__FileDescriptorProto  *file_of = &file;
    Google__Protobuf__FileDescriptorSet     set =
        GOOGLE__PROTOBUF__FILE_DESCRIPTOR_SET__INIT;

    for (i = 0; i < METHODS; i++) {
        google__protobuf__method_descriptor_proto__init(&list[i]);
        list[i].name = (char *) methods[i].name;
        list[i].input_type = ".google.protobuf.Empty";
        list[i].output_type = ".google.protobuf.Empty";
        list_of[i] = &list[i];
    }

    list[1].has_server_streaming = 1;
    list[1].server_streaming = 1;
    list[2].has_server_streaming = 1;
    list[2].server_streaming = 1;
    list[2].has_client_streaming = 1;
    list[2].client_streaming = 1;

    service.name = "Fake";
    service.n_method = METHODS;
    service.method = list_of;

    file.name = "fake.proto";
    file.package = "fake";
    file.n_service = 1;
    file.service = &service_of;

    set.n_file = 1;
    set.file = &file_of;

    out = malloc(google__protobuf__file_descriptor_set__get_packed_size(&set));
    if (out == NULL) {
        abort();
    }

    *len = google__protobuf__file_descriptor_set__pack(&set, out);

    return out;
}
