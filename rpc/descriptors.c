/*
 * Looks up file names and symbols in a FileDescriptorSet.  Sets are small: it
 * searches them from the start each time.
 */

#include "rpc/descriptors.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "google/protobuf/descriptor.pb-c.h"
#include "reflection.pb-c.h"


typedef Google__Protobuf__FileDescriptorProto     file_t;
typedef Google__Protobuf__DescriptorProto         message_t;
typedef Google__Protobuf__EnumDescriptorProto     enum_t;
typedef Google__Protobuf__ServiceDescriptorProto  service_t;

/* On the wire a FileDescriptorSet is the same: field 1, repeated bytes. */
typedef Grpc__Reflection__V1__FileDescriptorResponse  set_t;

struct rpc_descriptors_s {
    size_t                n;
    set_t                *set;
    file_t              **files;
    ProtobufCBinaryData  *closure;      /* what is handed out */
    bool                 *seen;
};


static int descriptors_unpack(rpc_descriptors_t *descriptors);
static void descriptors_visit(rpc_descriptors_t *descriptors, size_t file,
    size_t *n);

static bool file_has(const file_t *file, const char *symbol);
static bool message_has(const message_t *message, const char *symbol);
static bool enum_has(const enum_t *type, const char *symbol);
static bool service_has(const service_t *service, const char *symbol);
static const char *name_below(const char *symbol, const char *name);
static bool name_is(const char *symbol, const char *name);


rpc_descriptors_t *
rpc_descriptors_create(const void *set, size_t len)
{
    rpc_descriptors_t  *descriptors;

    descriptors = calloc(1, sizeof(rpc_descriptors_t));
    if (descriptors == NULL) {
        return NULL;
    }

    descriptors->set =
        grpc__reflection__v1__file_descriptor_response__unpack(NULL, len, set);

    if (descriptors->set == NULL || descriptors_unpack(descriptors) != 0) {
        rpc_descriptors_free(descriptors);
        return NULL;
    }

    return descriptors;
}


static int
descriptors_unpack(rpc_descriptors_t *descriptors)
{
    size_t                i, n;
    ProtobufCBinaryData  *bytes;

    n = descriptors->set->n_file_descriptor_proto;
    bytes = descriptors->set->file_descriptor_proto;

    descriptors->files = calloc(n + 1, sizeof(file_t *));
    descriptors->closure = calloc(n + 1, sizeof(ProtobufCBinaryData));
    descriptors->seen = calloc(n + 1, sizeof(bool));

    if (descriptors->files == NULL || descriptors->closure == NULL
        || descriptors->seen == NULL)
    {
        return -1;
    }

    for (i = 0; i < n; i++) {
        descriptors->files[i] =
            google__protobuf__file_descriptor_proto__unpack(NULL,
                bytes[i].len, bytes[i].data);

        if (descriptors->files[i] == NULL) {
            return -1;
        }

        descriptors->n++;
    }

    return 0;
}


void
rpc_descriptors_free(rpc_descriptors_t *descriptors)
{
    if (descriptors == NULL) {
        return;
    }

    while (descriptors->n > 0) {
        descriptors->n--;
        google__protobuf__file_descriptor_proto__free_unpacked(
            descriptors->files[descriptors->n], NULL);
    }

    grpc__reflection__v1__file_descriptor_response__free_unpacked(
        descriptors->set, NULL);
    free(descriptors->files);
    free(descriptors->closure);
    free(descriptors->seen);
    free(descriptors);
}


size_t
rpc_descriptors_file(const rpc_descriptors_t *descriptors, const char *name)
{
    size_t  i;

    for (i = 0; i < descriptors->n; i++) {
        if (name_is(name, descriptors->files[i]->name)) {
            return i;
        }
    }

    return RPC_DESCRIPTORS_NONE;
}


size_t
rpc_descriptors_symbol(const rpc_descriptors_t *descriptors,
    const char *symbol)
{
    size_t  i;

    for (i = 0; i < descriptors->n; i++) {
        if (file_has(descriptors->files[i], symbol)) {
            return i;
        }
    }

    return RPC_DESCRIPTORS_NONE;
}


ProtobufCBinaryData *
rpc_descriptors_closure(rpc_descriptors_t *descriptors, size_t file,
    size_t *n)
{
    *n = 0;
    memset(descriptors->seen, 0, descriptors->n * sizeof(bool));

    descriptors_visit(descriptors, file, n);

    return descriptors->closure;
}


/* Every file once, so the depth is that of the imports. */

static void
descriptors_visit(rpc_descriptors_t *descriptors, size_t file, size_t *n)
{
    size_t         i, import;
    const file_t  *f;

    descriptors->seen[file] = true;
    descriptors->closure[(*n)++]
        = descriptors->set->file_descriptor_proto[file];

    f = descriptors->files[file];

    for (i = 0; i < f->n_dependency; i++) {
        import = rpc_descriptors_file(descriptors, f->dependency[i]);

        if (import != RPC_DESCRIPTORS_NONE && !descriptors->seen[import]) {
            descriptors_visit(descriptors, import, n);
        }
    }
}


/* symbols */


static bool
file_has(const file_t *file, const char *symbol)
{
    size_t  i;

    if (file->package != NULL && file->package[0] != '\0') {
        symbol = name_below(symbol, file->package);

        if (symbol == NULL || symbol[0] == '\0') {
            return false;
        }
    }

    for (i = 0; i < file->n_message_type; i++) {
        if (message_has(file->message_type[i], symbol)) {
            return true;
        }
    }

    for (i = 0; i < file->n_enum_type; i++) {
        if (enum_has(file->enum_type[i], symbol)) {
            return true;
        }
    }

    for (i = 0; i < file->n_service; i++) {
        if (service_has(file->service[i], symbol)) {
            return true;
        }
    }

    return false;
}


static bool
message_has(const message_t *message, const char *symbol)
{
    size_t  i;

    symbol = name_below(symbol, message->name);

    if (symbol == NULL || symbol[0] == '\0') {
        return symbol != NULL;
    }

    for (i = 0; i < message->n_field; i++) {
        if (name_is(symbol, message->field[i]->name)) {
            return true;
        }
    }

    for (i = 0; i < message->n_oneof_decl; i++) {
        if (name_is(symbol, message->oneof_decl[i]->name)) {
            return true;
        }
    }

    for (i = 0; i < message->n_nested_type; i++) {
        if (message_has(message->nested_type[i], symbol)) {
            return true;
        }
    }

    for (i = 0; i < message->n_enum_type; i++) {
        if (enum_has(message->enum_type[i], symbol)) {
            return true;
        }
    }

    return false;
}


/* The values of an enum are siblings of it, not below it. */

static bool
enum_has(const enum_t *type, const char *symbol)
{
    size_t  i;

    for (i = 0; i < type->n_value; i++) {
        if (name_is(symbol, type->value[i]->name)) {
            return true;
        }
    }

    return name_is(symbol, type->name);
}


static bool
service_has(const service_t *service, const char *symbol)
{
    size_t  i;

    symbol = name_below(symbol, service->name);

    if (symbol == NULL || symbol[0] == '\0') {
        return symbol != NULL;
    }

    for (i = 0; i < service->n_method; i++) {
        if (name_is(symbol, service->method[i]->name)) {
            return true;
        }
    }

    return false;
}


/* "b.c" of "a.b.c" below "a", "" if they are the same, else NULL. */

static const char *
name_below(const char *symbol, const char *name)
{
    size_t  len;

    if (name == NULL || name[0] == '\0') {
        return NULL;
    }

    len = strlen(name);

    if (strncmp(symbol, name, len) != 0) {
        return NULL;
    }

    symbol += len;

    if (symbol[0] == '.' && symbol[1] != '\0') {
        return symbol + 1;
    }

    return symbol[0] == '\0' ? symbol : NULL;
}


static bool
name_is(const char *symbol, const char *name)
{
    return name != NULL && strcmp(symbol, name) == 0;
}
