/* Symbols and imports of a set made here. */

#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "google/protobuf/descriptor.pb-c.h"
#include "rpc/descriptors.h"


#define PROTO(type, TYPE)                                                     \
    static Google__Protobuf__##type                                           \
    type(char *s)                                                             \
    {                                                                         \
        Google__Protobuf__##type  m = GOOGLE__PROTOBUF__##TYPE##__INIT;       \
                                                                              \
        m.name = s;                                                           \
        return m;                                                             \
    }

PROTO(FileDescriptorProto, FILE_DESCRIPTOR_PROTO)
PROTO(DescriptorProto, DESCRIPTOR_PROTO)
PROTO(EnumDescriptorProto, ENUM_DESCRIPTOR_PROTO)
PROTO(EnumValueDescriptorProto, ENUM_VALUE_DESCRIPTOR_PROTO)
PROTO(ServiceDescriptorProto, SERVICE_DESCRIPTOR_PROTO)
PROTO(MethodDescriptorProto, METHOD_DESCRIPTOR_PROTO)
PROTO(OneofDescriptorProto, ONEOF_DESCRIPTOR_PROTO)
PROTO(FieldDescriptorProto, FIELD_DESCRIPTOR_PROTO)


/*
 *     top.proto    package a.b, imports left.proto and right.proto
 *     left.proto   no package, imports base.proto
 *     right.proto  package a, imports base.proto and gone.proto
 *     base.proto   package a.b.c, imports nothing
 */

static rpc_descriptors_t *
make(void)
{
    size_t              len;
    uint8_t            *bytes;
    rpc_descriptors_t  *descriptors;

    Google__Protobuf__FileDescriptorProto  top, left, right, base;
    Google__Protobuf__DescriptorProto      outer, inner, alone, message;
    Google__Protobuf__EnumDescriptorProto  color, size;
    Google__Protobuf__EnumValueDescriptorProto  red, small;
    Google__Protobuf__ServiceDescriptorProto  service;
    Google__Protobuf__MethodDescriptorProto  method;
    Google__Protobuf__OneofDescriptorProto  choice;
    Google__Protobuf__FieldDescriptorProto  x;
    Google__Protobuf__FileDescriptorSet     set =
        GOOGLE__PROTOBUF__FILE_DESCRIPTOR_SET__INIT;

    Google__Protobuf__FileDescriptorProto  *files[] = {
        &base, &right, &left, &top
    };
    Google__Protobuf__DescriptorProto  *outers[] = { &outer };
    Google__Protobuf__DescriptorProto  *inners[] = { &inner };
    Google__Protobuf__DescriptorProto  *alones[] = { &alone };
    Google__Protobuf__DescriptorProto  *messages[] = { &message };
    Google__Protobuf__EnumDescriptorProto  *colors[] = { &color };
    Google__Protobuf__EnumDescriptorProto  *enums[] = { &size };
    Google__Protobuf__EnumValueDescriptorProto  *reds[] = { &red };
    Google__Protobuf__EnumValueDescriptorProto  *smalls[] = { &small };
    Google__Protobuf__ServiceDescriptorProto  *services[] = { &service };
    Google__Protobuf__MethodDescriptorProto  *methods[] = { &method };
    Google__Protobuf__OneofDescriptorProto  *choices[] = { &choice };
    Google__Protobuf__FieldDescriptorProto  *fields[] = { &x };
    char  *to_base[] = { "base.proto" };
    char  *to_gone[] = { "base.proto", "gone.proto" };
    char  *to_both[] = { "left.proto", "right.proto" };

    base = FileDescriptorProto("base.proto");
    base.package = "a.b.c";
    message = DescriptorProto("Message");
    base.n_message_type = 1;
    base.message_type = messages;

    right = FileDescriptorProto("right.proto");
    right.package = "a";
    right.n_dependency = 2;
    right.dependency = to_gone;

    left = FileDescriptorProto("left.proto");
    left.n_dependency = 1;
    left.dependency = to_base;
    alone = DescriptorProto("Alone");
    left.n_message_type = 1;
    left.message_type = alones;

    top = FileDescriptorProto("top.proto");
    top.package = "a.b";
    top.n_dependency = 2;
    top.dependency = to_both;
    outer = DescriptorProto("Outer");
    inner = DescriptorProto("Inner");
    x = FieldDescriptorProto("x");
    inner.n_field = 1;
    inner.field = fields;
    choice = OneofDescriptorProto("choice");
    inner.n_oneof_decl = 1;
    inner.oneof_decl = choices;
    size = EnumDescriptorProto("Size");
    small = EnumValueDescriptorProto("SMALL");
    size.n_value = 1;
    size.value = smalls;
    inner.n_enum_type = 1;
    inner.enum_type = enums;
    outer.n_nested_type = 1;
    outer.nested_type = inners;
    top.n_message_type = 1;
    top.message_type = outers;
    color = EnumDescriptorProto("Color");
    red = EnumValueDescriptorProto("RED");
    color.n_value = 1;
    color.value = reds;
    top.n_enum_type = 1;
    top.enum_type = colors;
    service = ServiceDescriptorProto("Service");
    method = MethodDescriptorProto("Method");
    service.n_method = 1;
    service.method = methods;
    top.n_service = 1;
    top.service = services;

    set.n_file = 4;
    set.file = files;

    len = google__protobuf__file_descriptor_set__get_packed_size(&set);
    bytes = malloc(len);
    ck_assert_ptr_nonnull(bytes);
    google__protobuf__file_descriptor_set__pack(&set, bytes);

    descriptors = rpc_descriptors_create(bytes, len);
    ck_assert_ptr_nonnull(descriptors);
    free(bytes);

    return descriptors;
}


static const struct {
    const char  *symbol;
    const char  *file;              /* NULL: there is none */
} symbols[] = {
    { "a.b.Outer", "top.proto" },
    { "a.b.Outer.Inner", "top.proto" },
    { "a.b.Outer.Inner.x", "top.proto" },
    { "a.b.Outer.Inner.choice", "top.proto" },
    { "a.b.Outer.Inner.Size", "top.proto" },
    { "a.b.Outer.Inner.SMALL", "top.proto" },
    { "a.b.Color", "top.proto" },
    { "a.b.RED", "top.proto" },
    { "a.b.Service", "top.proto" },
    { "a.b.Service.Method", "top.proto" },
    { "Alone", "left.proto" },
    { "a.b.c.Message", "base.proto" },
    { "", NULL },
    { ".", NULL },
    { "a", NULL },
    { "a.b", NULL },
    { "a.b.", NULL },
    { "a.b.c", NULL },
    { ".a.b.Outer", NULL },
    { "a.b.Outer.", NULL },
    { "a.b.Out", NULL },
    { "a.b.Outerr", NULL },
    { "a.b.Inner", NULL },
    { "a.b.Outer.x", NULL },
    { "a.b.Color.RED", NULL },
    { "a.b.Service.Other", NULL },
    { "a.b.Service.Method.x", NULL },
    { "a.b.Alone", NULL },
    { "a.b.c.Outer", NULL }
};


START_TEST(symbol)
{
    size_t              got, want;
    rpc_descriptors_t  *d;

    d = make();

    got = rpc_descriptors_symbol(d, symbols[_i].symbol);
    want = RPC_DESCRIPTORS_NONE;

    if (symbols[_i].file != NULL) {
        want = rpc_descriptors_file(d, symbols[_i].file);
        ck_assert_uint_ne(want, RPC_DESCRIPTORS_NONE);
    }

    ck_assert_msg(got == want, "\"%s\" is in another file",
                  symbols[_i].symbol);

    rpc_descriptors_free(d);
}
END_TEST


START_TEST(closure)
{
    size_t                                  i, k, n;
    rpc_descriptors_t                      *d;
    ProtobufCBinaryData                    *files;
    Google__Protobuf__FileDescriptorProto  *file;

    static const struct {
        const char  *name;
        const char  *files[5];
    } cases[] = {
        { "base.proto", { "base.proto", NULL } },
        { "right.proto", { "right.proto", "base.proto", NULL } },
        { "top.proto", { "top.proto", "left.proto", "base.proto",
                         "right.proto", NULL } }
    };

    d = make();

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        files = rpc_descriptors_closure(d,
                                 rpc_descriptors_file(d, cases[i].name), &n);

        for (k = 0; cases[i].files[k] != NULL; k++) {
            ck_assert_uint_lt(k, n);
            file = google__protobuf__file_descriptor_proto__unpack(NULL,
                       files[k].len, files[k].data);
            ck_assert_ptr_nonnull(file);
            ck_assert_str_eq(file->name, cases[i].files[k]);
            google__protobuf__file_descriptor_proto__free_unpacked(file, NULL);
        }

        ck_assert_uint_eq(k, n);
    }

    rpc_descriptors_free(d);
}
END_TEST


START_TEST(malformed)
{
    rpc_descriptors_t  *d;

    ck_assert_ptr_null(rpc_descriptors_create("\x0a\x05", 2));
    ck_assert_ptr_null(rpc_descriptors_create("\x0a\x02\x0a\x05", 4));

    d = rpc_descriptors_create("", 0);
    ck_assert_ptr_nonnull(d);
    ck_assert_uint_eq(rpc_descriptors_symbol(d, "a"), RPC_DESCRIPTORS_NONE);
    rpc_descriptors_free(d);
    rpc_descriptors_free(NULL);
}
END_TEST


int
main(void)
{
    int       failed;
    TCase    *tc;
    Suite    *suite;
    SRunner  *runner;

    suite = suite_create("descriptors");
    tc = tcase_create("descriptors");
    tcase_add_loop_test(tc, symbol, 0,
                        (int) (sizeof(symbols) / sizeof(symbols[0])));
    tcase_add_test(tc, closure);
    tcase_add_test(tc, malformed);
    suite_add_tcase(suite, tc);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
