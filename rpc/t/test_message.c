/* Messages: good ones, and each kind of bad bytes. */

#include <stdlib.h>
#include <string.h>

#include <check.h>
#include <grpc/grpc.h>

#include "rpc/arena.h"
#include "rpc/message.h"


/*
 * message Node {
 *   string name = 1;
 *   Node child = 2;
 *   repeated string tags = 3;
 *   oneof value { string text = 4; int32 number = 5; }
 * }
 */

typedef struct node_s  node_t;

struct node_s {
    ProtobufCMessage   base;
    char              *name;
    node_t            *child;
    size_t             n_tags;
    char             **tags;
    uint32_t           value_case;
    union {
        char          *text;
        int32_t        number;
    };
};


extern const ProtobufCMessageDescriptor  node_descriptor;

static void node_init(ProtobufCMessage *message);

static const ProtobufCFieldDescriptor  node_fields[] = {
    { "name", 1, PROTOBUF_C_LABEL_NONE, PROTOBUF_C_TYPE_STRING, 0,
      offsetof(node_t, name), NULL, &protobuf_c_empty_string, 0, 0, NULL,
      NULL },
    { "child", 2, PROTOBUF_C_LABEL_NONE, PROTOBUF_C_TYPE_MESSAGE, 0,
      offsetof(node_t, child), &node_descriptor, NULL, 0, 0, NULL, NULL },
    { "tags", 3, PROTOBUF_C_LABEL_REPEATED, PROTOBUF_C_TYPE_STRING,
      offsetof(node_t, n_tags), offsetof(node_t, tags), NULL,
      &protobuf_c_empty_string, 0, 0, NULL, NULL },
    { "text", 4, PROTOBUF_C_LABEL_NONE, PROTOBUF_C_TYPE_STRING,
      offsetof(node_t, value_case), offsetof(node_t, text), NULL,
      &protobuf_c_empty_string, PROTOBUF_C_FIELD_FLAG_ONEOF, 0, NULL, NULL },
    { "number", 5, PROTOBUF_C_LABEL_NONE, PROTOBUF_C_TYPE_INT32,
      offsetof(node_t, value_case), offsetof(node_t, number), NULL, NULL,
      PROTOBUF_C_FIELD_FLAG_ONEOF, 0, NULL, NULL }
};

static const unsigned            node_names[] = { 1, 0, 4, 2, 3 };
static const ProtobufCIntRange   node_ranges[] = { { 1, 0 }, { 0, 5 } };

const ProtobufCMessageDescriptor  node_descriptor = {
    PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
    "Node", "Node", "node_t", "", sizeof(node_t),
    5, node_fields, node_names, 1, node_ranges,
    node_init, NULL, NULL, NULL
};


static void
node_init(ProtobufCMessage *message)
{
    node_t  *node;

    node = (node_t *) message;
    memset(node, 0, sizeof(*node));
    node->base.descriptor = &node_descriptor;
    node->name = (char *) protobuf_c_empty_string;
}


typedef struct {
    const char  *bytes;
    size_t       len;
    int          result;
} sample_t;

#define SAMPLE(bytes, result)  { bytes, sizeof(bytes) - 1, result }


static const sample_t  utf8_samples[] = {
    SAMPLE("", 1),
    SAMPLE("plain ascii, longer than a word of eight", 1),
    SAMPLE("nul \0 is UTF-8", 1),
    SAMPLE("\x7f", 1),
    SAMPLE("\x80", 0),
    SAMPLE("\xbf", 0),
    SAMPLE("\xc0\x80", 0),                      /* overlong NUL */
    SAMPLE("\xc1\xbf", 0),
    SAMPLE("\xc2\x80", 1),
    SAMPLE("\xc2", 0),
    SAMPLE("\xc2\x7f", 0),
    SAMPLE("\xc2\xc0", 0),
    SAMPLE("\xdf\xbf", 1),
    SAMPLE("\xe0\x9f\xbf", 0),                  /* overlong */
    SAMPLE("\xe0\xa0\x80", 1),
    SAMPLE("\xe2\x82\xac", 1),
    SAMPLE("\xe2\x82", 0),
    SAMPLE("\xe2\x28\xa1", 0),
    SAMPLE("\xe2\x82\x28", 0),
    SAMPLE("\xed\x9f\xbf", 1),
    SAMPLE("\xed\xa0\x80", 0),                  /* surrogates */
    SAMPLE("\xed\xbf\xbf", 0),
    SAMPLE("\xee\x80\x80", 1),
    SAMPLE("\xef\xbf\xbf", 1),
    SAMPLE("\xf0\x8f\xbf\xbf", 0),              /* overlong */
    SAMPLE("\xf0\x90\x80\x80", 1),
    SAMPLE("\xf0\x9f\x98\x80", 1),
    SAMPLE("\xf0\x9f\x98", 0),
    SAMPLE("\xf0\x9f\x28\x80", 0),
    SAMPLE("\xf4\x8f\xbf\xbf", 1),
    SAMPLE("\xf4\x90\x80\x80", 0),              /* above U+10FFFF */
    SAMPLE("\xf5\x80\x80\x80", 0),
    SAMPLE("\xfe", 0),
    SAMPLE("\xff", 0),
    SAMPLE("12345678\xc3\xa9" "12345678", 1),
    SAMPLE("1234567\xc3\xa9" "12345678", 1),
    SAMPLE("12345678901234567890\xc3", 0),
    SAMPLE("1234567\x80" "12345678", 0)
};

static const sample_t  wire_samples[] = {
    SAMPLE("", RPC_MESSAGE_OK),
    SAMPLE("\x0a\x00", RPC_MESSAGE_OK),         /* a default that was sent */
    SAMPLE("\x0a\x01x", RPC_MESSAGE_OK),
    SAMPLE("\x0a\x81\x00x", RPC_MESSAGE_OK),    /* a longer varint than due */
    SAMPLE("\x0a\x01x\x0a\x01y", RPC_MESSAGE_OK),
    SAMPLE("\x28\x01", RPC_MESSAGE_OK),
    SAMPLE("\x52\x02\xff\x00", RPC_MESSAGE_OK), /* unknown field 10 */
    SAMPLE("\x51" "12345678", RPC_MESSAGE_OK),
    SAMPLE("\x55" "1234", RPC_MESSAGE_OK),

    /* UTF-8 and NUL: alone, overridden, nested, repeated, in a oneof */
    SAMPLE("\x0a\x01\xff", RPC_MESSAGE_UTF8),
    SAMPLE("\x0a\x01\x00", RPC_MESSAGE_NUL),
    SAMPLE("\x0a\x02x\x00", RPC_MESSAGE_NUL),
    SAMPLE("\x0a\x01\x00\x0a\x01x", RPC_MESSAGE_NUL),
    SAMPLE("\x12\x03\x0a\x01\xff", RPC_MESSAGE_UTF8),
    SAMPLE("\x12\x03\x0a\x01\x00", RPC_MESSAGE_NUL),
    SAMPLE("\x12\x05\x12\x03\x0a\x01\x00", RPC_MESSAGE_NUL),
    SAMPLE("\x1a\x01x\x1a\x01\xff", RPC_MESSAGE_UTF8),
    SAMPLE("\x1a\x01x\x1a\x01\x00", RPC_MESSAGE_NUL),
    SAMPLE("\x22\x01\xff", RPC_MESSAGE_UTF8),
    SAMPLE("\x22\x01\x00", RPC_MESSAGE_NUL),

    /* not protobuf, or not this message */
    SAMPLE("\x0a", RPC_MESSAGE_MALFORMED),
    SAMPLE("\x0a\x02x", RPC_MESSAGE_MALFORMED),
    SAMPLE("\x0a\x80", RPC_MESSAGE_MALFORMED),
    SAMPLE("\x0a\xff\xff\xff\xff\x0f", RPC_MESSAGE_MALFORMED),
    SAMPLE("\x0a\x81\x80\x80\x80\x80\x00x", RPC_MESSAGE_MALFORMED),
    SAMPLE("\x08\x01", RPC_MESSAGE_MALFORMED),  /* a number in "name" */
    SAMPLE("\x2a\x01x", RPC_MESSAGE_MALFORMED), /* a string in "number" */
    SAMPLE("\x28\x80", RPC_MESSAGE_MALFORMED),
    SAMPLE("\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
           RPC_MESSAGE_MALFORMED),
    SAMPLE("\x00\x01", RPC_MESSAGE_MALFORMED),  /* field 0 */
    SAMPLE("\x80\x80\x80\x80\x80\x01", RPC_MESSAGE_MALFORMED),
    SAMPLE("\xfa\xff\xff\xff\x7f\x00", RPC_MESSAGE_MALFORMED),
    SAMPLE("\x53\x54", RPC_MESSAGE_MALFORMED),  /* a group */
    SAMPLE("\x54", RPC_MESSAGE_MALFORMED),
    SAMPLE("\x56", RPC_MESSAGE_MALFORMED),
    SAMPLE("\x57", RPC_MESSAGE_MALFORMED),
    SAMPLE("\x51" "1234567", RPC_MESSAGE_MALFORMED),
    SAMPLE("\x55" "123", RPC_MESSAGE_MALFORMED),
    SAMPLE("\x12\x01\x0a", RPC_MESSAGE_MALFORMED)
};


static grpc_byte_buffer *
buffer_of(const void *bytes, size_t len, size_t pieces)
{
    size_t             i, from, to;
    grpc_slice         slices[4];
    grpc_byte_buffer  *buffer;

    for (i = 0; i < pieces; i++) {
        from = len * i / pieces;
        to = len * (i + 1) / pieces;
        slices[i] = grpc_slice_from_copied_buffer((const char *) bytes + from,
                                                  to - from);
    }

    buffer = grpc_raw_byte_buffer_create(slices, pieces);

    for (i = 0; i < pieces; i++) {
        grpc_slice_unref(slices[i]);
    }

    return buffer;
}


static ProtobufCMessage *
unpack(const void *bytes, size_t len, size_t pieces,
    ProtobufCAllocator *allocator, rpc_message_error_t *error)
{
    ProtobufCMessage  *message;
    grpc_byte_buffer  *buffer;

    buffer = buffer_of(bytes, len, pieces);
    message = rpc_message_unpack(buffer, &node_descriptor, allocator, error);
    grpc_byte_buffer_destroy(buffer);

    return message;
}


START_TEST(utf8)
{
    char            *copy;
    const sample_t  *sample;

    sample = &utf8_samples[_i];

    /* on the heap, so that a sanitizer sees a read past the end */

    copy = malloc(sample->len > 0 ? sample->len : 1);
    memcpy(copy, sample->bytes, sample->len);

    ck_assert_msg(rpc_utf8_valid((uint8_t *) copy, sample->len)
                  == (sample->result != 0), "sample %d", _i);
    free(copy);
}
END_TEST


START_TEST(wire)
{
    uint8_t              *copy;
    size_t                pieces;
    const sample_t       *sample;
    ProtobufCMessage     *message;
    rpc_message_error_t   error;

    sample = &wire_samples[_i];

    copy = malloc(sample->len > 0 ? sample->len : 1);
    memcpy(copy, sample->bytes, sample->len);

    for (pieces = 1; pieces <= 4; pieces++) {
        message = unpack(copy, sample->len, pieces, NULL, &error);

        ck_assert_msg(error == (rpc_message_error_t) sample->result,
                      "sample %d in %zu pieces: %d instead of %d", _i, pieces,
                      error, sample->result);
        ck_assert((message != NULL) == (error == RPC_MESSAGE_OK));

        protobuf_c_message_free_unpacked(message, NULL);
    }

    free(copy);
}
END_TEST


/* Whatever two bytes a string has: it is whole, or it is refused. */

START_TEST(strings_are_whole)
{
    unsigned              i;
    uint8_t               bytes[4];
    const node_t         *node;
    ProtobufCMessage     *message;
    rpc_message_error_t   error;

    for (i = 0; i < 65536; i++) {
        bytes[0] = 0x0a;
        bytes[1] = 2;
        bytes[2] = i & 0xff;
        bytes[3] = (uint8_t) (i >> 8);

        error = rpc_message_check(&node_descriptor, bytes, 4);

        message = protobuf_c_message_unpack(&node_descriptor, NULL, 4, bytes);
        ck_assert_ptr_nonnull(message);
        node = (const node_t *) message;

        ck_assert((strlen(node->name) != 2 && error != RPC_MESSAGE_OK)
                  || (strlen(node->name) == 2 && error != RPC_MESSAGE_NUL));
        ck_assert((error == RPC_MESSAGE_UTF8)
                  == !rpc_utf8_valid(bytes + 2, 2));

        protobuf_c_message_free_unpacked(message, NULL);
    }
}
END_TEST


/* A node in a node in a node... */

static size_t
nest(uint8_t *p, int depth)
{
    size_t   len, hdr;
    uint8_t  inner[1024], header[4];

    if (depth == 0) {
        return 0;
    }

    len = nest(inner, depth - 1);
    hdr = 0;
    header[hdr++] = 0x12;

    if (len >= 128) {
        header[hdr++] = (uint8_t) (len & 0x7f) | 0x80;
        header[hdr++] = (uint8_t) (len >> 7);

    } else {
        header[hdr++] = (uint8_t) len;
    }

    memcpy(p, header, hdr);
    memcpy(p + hdr, inner, len);

    return hdr + len;
}


START_TEST(depth)
{
    size_t               len;
    uint8_t              bytes[1024];
    ProtobufCMessage    *message;
    rpc_message_error_t  error;

    len = nest(bytes, RPC_MESSAGE_DEPTH);
    message = unpack(bytes, len, 1, NULL, &error);
    ck_assert_int_eq(error, RPC_MESSAGE_OK);
    protobuf_c_message_free_unpacked(message, NULL);

    len = nest(bytes, RPC_MESSAGE_DEPTH + 1);
    ck_assert_ptr_null(unpack(bytes, len, 1, NULL, &error));
    ck_assert_int_eq(error, RPC_MESSAGE_DEEP);
}
END_TEST


START_TEST(round_trip)
{
    char                *tags[] = { "a", "", "\xc3\xa9" };
    node_t               child, node;
    rpc_arena_t          arena;
    ProtobufCAllocator   allocator;
    grpc_byte_buffer    *buffer;
    const node_t        *copy;
    rpc_message_error_t  error;

    protobuf_c_message_init(&node_descriptor, &child);
    protobuf_c_message_init(&node_descriptor, &node);
    child.name = "child";
    child.value_case = 4;
    child.text = "text";
    node.name = "node";
    node.child = &child;
    node.n_tags = 3;
    node.tags = tags;
    node.value_case = 5;
    node.number = -1;

    buffer = rpc_message_pack(&node.base);
    rpc_arena_init(&arena, 65536);
    allocator = rpc_arena_allocator(&arena);

    copy = (const node_t *) rpc_message_unpack(buffer, &node_descriptor,
                                               &allocator, &error);
    grpc_byte_buffer_destroy(buffer);

    ck_assert_int_eq(error, RPC_MESSAGE_OK);
    ck_assert_str_eq(copy->name, "node");
    ck_assert_str_eq(copy->child->name, "child");
    ck_assert_str_eq(copy->child->text, "text");
    ck_assert_uint_eq(copy->n_tags, 3);
    ck_assert_str_eq(copy->tags[2], "\xc3\xa9");
    ck_assert_int_eq(copy->number, -1);

    rpc_arena_reset(&arena);

    /* an empty message is a message */

    protobuf_c_message_init(&node_descriptor, &child);
    buffer = rpc_message_pack(&child.base);
    ck_assert_uint_eq(grpc_byte_buffer_length(buffer), 0);
    copy = (const node_t *) rpc_message_unpack(buffer, &node_descriptor,
                                               &allocator, &error);
    ck_assert_ptr_nonnull(copy);
    ck_assert_str_eq(copy->name, "");
    grpc_byte_buffer_destroy(buffer);
    rpc_arena_reset(&arena);
}
END_TEST


/* The walk over a message that is going to be sent. */

START_TEST(message_utf8)
{
    char    *tags[] = { "good", "\xff" };
    node_t   child, node;

    protobuf_c_message_init(&node_descriptor, &child);
    protobuf_c_message_init(&node_descriptor, &node);
    ck_assert(rpc_message_utf8(&node.base));

    node.name = NULL;
    node.child = &child;
    node.tags = tags;
    node.n_tags = 1;
    node.value_case = 5;
    node.number = -1;           /* not a pointer to look at */
    ck_assert(rpc_message_utf8(&node.base));

    node.n_tags = 2;
    ck_assert(!rpc_message_utf8(&node.base));
    node.n_tags = 0;

    child.name = "\xff";
    ck_assert(!rpc_message_utf8(&node.base));
    child.name = "\xc3\xa9";
    ck_assert(rpc_message_utf8(&node.base));

    node.value_case = 4;
    node.text = "\x80";
    ck_assert(!rpc_message_utf8(&node.base));
    node.text = "good";
    ck_assert(rpc_message_utf8(&node.base));
}
END_TEST


START_TEST(compressed)
{
    grpc_slice            slice;
    grpc_byte_buffer     *buffer;
    rpc_message_error_t   error;

    slice = grpc_slice_from_static_string("\x0a\x01x");
    buffer = grpc_raw_compressed_byte_buffer_create(&slice, 1,
                                                    GRPC_COMPRESS_GZIP);
    ck_assert_ptr_null(rpc_message_unpack(buffer, &node_descriptor, NULL,
                                          &error));
    ck_assert_int_eq(error, RPC_MESSAGE_COMPRESSED);

    grpc_byte_buffer_destroy(buffer);
    grpc_slice_unref(slice);
}
END_TEST


START_TEST(arena)
{
    int           i;
    char         *p;
    rpc_arena_t   a;

    rpc_arena_init(&a, 100000);

    for (i = 1; i <= 200; i++) {
        p = rpc_arena_alloc(&a, (size_t) i);
        ck_assert_ptr_nonnull(p);
        ck_assert_uint_eq((uintptr_t) p % 16, 0);
        memset(p, i, (size_t) i);
    }

    ck_assert_int_eq(a.full, 0);
    ck_assert_ptr_null(rpc_arena_alloc(&a, 100000));
    ck_assert_int_eq(a.full, 1);
    ck_assert_ptr_null(rpc_arena_alloc(&a, SIZE_MAX));
    ck_assert_ptr_null(rpc_arena_alloc(&a, SIZE_MAX - 8));

    rpc_arena_reset(&a);
    ck_assert_int_eq(a.full, 0);
    p = rpc_arena_alloc(&a, 100000);
    ck_assert_ptr_nonnull(p);
    memset(p, 1, 100000);
    rpc_arena_reset(&a);
}
END_TEST


static Suite *
message_suite(void)
{
    TCase  *tc;
    Suite  *suite;

    suite = suite_create("message");
    tc = tcase_create("message");
    tcase_set_timeout(tc, 60);

    tcase_add_loop_test(tc, utf8, 0,
                        sizeof(utf8_samples) / sizeof(utf8_samples[0]));
    tcase_add_loop_test(tc, wire, 0,
                        sizeof(wire_samples) / sizeof(wire_samples[0]));
    tcase_add_test(tc, strings_are_whole);
    tcase_add_test(tc, depth);
    tcase_add_test(tc, round_trip);
    tcase_add_test(tc, message_utf8);
    tcase_add_test(tc, compressed);
    tcase_add_test(tc, arena);
    suite_add_tcase(suite, tc);

    return suite;
}


int
main(void)
{
    int       failed;
    SRunner  *runner;

    runner = srunner_create(message_suite());
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
