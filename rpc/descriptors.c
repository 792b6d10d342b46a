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
typedef Google__Protobuf__FieldDescriptorProto    field_t;

/* On the wire a FileDescriptorSet is the same: field 1, repeated bytes. */
typedef Grpc__Reflection__V1__FileDescriptorResponse  set_t;

typedef enum {
    SYMBOL_NONE = 0,
    SYMBOL_MESSAGE,
    SYMBOL_OTHER
} symbol_t;

/* Extensions of "type" (NULL: of all), their numbers go to "numbers" if that
 * is not NULL. */
typedef struct {
    const char  *type;
    int32_t     *numbers;
    size_t       n;
} extensions_t;

struct rpc_descriptors_s {
    size_t                n;
    set_t                *set;
    file_t              **files;
    ProtobufCBinaryData  *closure;      /* what is handed out */
    bool                 *seen;
    int32_t              *numbers;
};


static int descriptors_unpack(rpc_descriptors_t *descriptors);
static void descriptors_visit(rpc_descriptors_t *descriptors, size_t file,
    size_t *n);

static symbol_t set_find(const rpc_descriptors_t *descriptors,
    const char *symbol, size_t *file);
static symbol_t file_find(const file_t *file, const char *symbol);
static symbol_t message_find(const message_t *message, const char *symbol);
static symbol_t enum_find(const enum_t *type, const char *symbol);
static symbol_t service_find(const service_t *service, const char *symbol);
static symbol_t fields_find(field_t *const *fields, size_t n,
    const char *symbol);
static const char *name_below(const char *symbol, const char *name);
static bool name_is(const char *symbol, const char *name);

static void file_extensions(const file_t *file, extensions_t *extensions);
static void message_extensions(const message_t *message,
    extensions_t *extensions);
static void fields_extensions(field_t *const *fields, size_t n,
    extensions_t *extensions);


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
    extensions_t          all;
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

    memset(&all, 0, sizeof(all));

    for (i = 0; i < n; i++) {
        descriptors->files[i] =
            google__protobuf__file_descriptor_proto__unpack(NULL,
                bytes[i].len, bytes[i].data);

        if (descriptors->files[i] == NULL) {
            return -1;
        }

        descriptors->n++;
        file_extensions(descriptors->files[i], &all);
    }

    descriptors->numbers = calloc(all.n + 1, sizeof(int32_t));

    return descriptors->numbers != NULL ? 0 : -1;
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
    free(descriptors->numbers);
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
    size_t  file;

    (void) set_find(descriptors, symbol, &file);

    return file;
}


size_t
rpc_descriptors_extension(const rpc_descriptors_t *descriptors,
    const char *type, int32_t number)
{
    size_t        i, k;
    extensions_t  found;

    found.type = type;
    found.numbers = descriptors->numbers;

    for (i = 0; i < descriptors->n; i++) {
        found.n = 0;
        file_extensions(descriptors->files[i], &found);

        for (k = 0; k < found.n; k++) {
            if (found.numbers[k] == number) {
                return i;
            }
        }
    }

    return RPC_DESCRIPTORS_NONE;
}


const int32_t *
rpc_descriptors_extensions(rpc_descriptors_t *descriptors, const char *type,
    size_t *n)
{
    size_t        i, file;
    extensions_t  found;

    *n = 0;

    if (set_find(descriptors, type, &file) != SYMBOL_MESSAGE) {
        return NULL;
    }

    found.type = type;
    found.numbers = descriptors->numbers;
    found.n = 0;

    for (i = 0; i < descriptors->n; i++) {
        file_extensions(descriptors->files[i], &found);
    }

    *n = found.n;

    return found.numbers;
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


static symbol_t
set_find(const rpc_descriptors_t *descriptors, const char *symbol,
    size_t *file)
{
    size_t    i;
    symbol_t  found;

    for (i = 0; i < descriptors->n; i++) {
        found = file_find(descriptors->files[i], symbol);

        if (found != SYMBOL_NONE) {
            *file = i;
            return found;
        }
    }

    *file = RPC_DESCRIPTORS_NONE;

    return SYMBOL_NONE;
}


static symbol_t
file_find(const file_t *file, const char *symbol)
{
    size_t    i;
    symbol_t  found;

    if (file->package != NULL && file->package[0] != '\0') {
        symbol = name_below(symbol, file->package);

        if (symbol == NULL || symbol[0] == '\0') {
            return SYMBOL_NONE;
        }
    }

    found = fields_find(file->extension, file->n_extension, symbol);

    for (i = 0; found == SYMBOL_NONE && i < file->n_message_type; i++) {
        found = message_find(file->message_type[i], symbol);
    }

    for (i = 0; found == SYMBOL_NONE && i < file->n_enum_type; i++) {
        found = enum_find(file->enum_type[i], symbol);
    }

    for (i = 0; found == SYMBOL_NONE && i < file->n_service; i++) {
        found = service_find(file->service[i], symbol);
    }

    return found;
}


static symbol_t
message_find(const message_t *message, const char *symbol)
{
    size_t    i;
    symbol_t  found;

    symbol = name_below(symbol, message->name);

    if (symbol == NULL) {
        return SYMBOL_NONE;
    }

    if (symbol[0] == '\0') {
        return SYMBOL_MESSAGE;
    }

    found = fields_find(message->field, message->n_field, symbol);

    if (found == SYMBOL_NONE) {
        found = fields_find(message->extension, message->n_extension, symbol);
    }

    for (i = 0; found == SYMBOL_NONE && i < message->n_nested_type; i++) {
        found = message_find(message->nested_type[i], symbol);
    }

    for (i = 0; found == SYMBOL_NONE && i < message->n_enum_type; i++) {
        found = enum_find(message->enum_type[i], symbol);
    }

    for (i = 0; found == SYMBOL_NONE && i < message->n_oneof_decl; i++) {
        if (name_is(symbol, message->oneof_decl[i]->name)) {
            found = SYMBOL_OTHER;
        }
    }

    return found;
}


/* The values of an enum are siblings of it, not below it. */

static symbol_t
enum_find(const enum_t *type, const char *symbol)
{
    size_t  i;

    if (name_is(symbol, type->name)) {
        return SYMBOL_OTHER;
    }

    for (i = 0; i < type->n_value; i++) {
        if (name_is(symbol, type->value[i]->name)) {
            return SYMBOL_OTHER;
        }
    }

    return SYMBOL_NONE;
}


static symbol_t
service_find(const service_t *service, const char *symbol)
{
    size_t  i;

    symbol = name_below(symbol, service->name);

    if (symbol == NULL) {
        return SYMBOL_NONE;
    }

    if (symbol[0] == '\0') {
        return SYMBOL_OTHER;
    }

    for (i = 0; i < service->n_method; i++) {
        if (name_is(symbol, service->method[i]->name)) {
            return SYMBOL_OTHER;
        }
    }

    return SYMBOL_NONE;
}


static symbol_t
fields_find(field_t *const *fields, size_t n, const char *symbol)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        if (name_is(symbol, fields[i]->name)) {
            return SYMBOL_OTHER;
        }
    }

    return SYMBOL_NONE;
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


/* extensions */


static void
file_extensions(const file_t *file, extensions_t *extensions)
{
    size_t  i;

    fields_extensions(file->extension, file->n_extension, extensions);

    for (i = 0; i < file->n_message_type; i++) {
        message_extensions(file->message_type[i], extensions);
    }
}


static void
message_extensions(const message_t *message, extensions_t *extensions)
{
    size_t  i;

    fields_extensions(message->extension, message->n_extension, extensions);

    for (i = 0; i < message->n_nested_type; i++) {
        message_extensions(message->nested_type[i], extensions);
    }
}


/* protoc writes the extended type with a dot in front. */

static void
fields_extensions(field_t *const *fields, size_t n, extensions_t *extensions)
{
    size_t       i;
    const char  *extendee;

    for (i = 0; i < n; i++) {
        extendee = fields[i]->extendee;

        if (extensions->type != NULL
            && (extendee == NULL || extendee[0] != '.'
                || strcmp(extendee + 1, extensions->type) != 0))
        {
            continue;
        }

        if (extensions->numbers != NULL) {
            extensions->numbers[extensions->n] = fields[i]->number;
        }

        extensions->n++;
    }
}
