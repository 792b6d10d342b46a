/* google.rpc.Status with ErrorInfo and RetryInfo, as it is on the wire. */

#include <check.h>
#include <string.h>

#include "harness.h"
#include "wire/error_info.h"
#include "wire/protobuf.h"


static uint8_t  encoded[MS_ERROR_INFO_MAX];


/* The field "number" of a message is this text, or has it as its value. */
static ms_protobuf_t
field(ms_protobuf_t *message, uint64_t number, const char *text)
{
    unsigned       type;
    uint64_t       got, len;
    ms_protobuf_t  value;

    ck_assert_int_eq(ms_protobuf_field(message, &got, &type, &len), 0);
    ck_assert_uint_eq(got, number);
    ck_assert_uint_eq(type, MS_PROTOBUF_LEN);
    value.pos = message->pos;
    value.last = message->pos + len;
    message->pos += len;

    if (text != NULL) {
        ck_assert_uint_eq(len, strlen(text));
        ck_assert_mem_eq(value.pos, text, len);
    }

    return value;
}


static uint64_t
varint(ms_protobuf_t *message, uint64_t number)
{
    unsigned  type;
    uint64_t  got, value;

    ck_assert_int_eq(ms_protobuf_field(message, &got, &type, &value), 0);
    ck_assert_uint_eq(got, number);
    ck_assert_uint_eq(type, MS_PROTOBUF_VARINT);

    return value;
}


static void
encodes(const ms_error_info_t *info)
{
    size_t         len;
    ms_protobuf_t  status, any, value, data;

    len = ms_error_info_write(encoded, info);
    ck_assert_uint_le(len, sizeof(encoded));

    status = (ms_protobuf_t) { encoded, encoded + len };
    ck_assert_uint_eq(varint(&status, 1), info->code);
    (void) field(&status, 2, info->message);
    any = field(&status, 3, NULL);

    (void) field(&any, 1, "type.googleapis.com/google.rpc.ErrorInfo");
    value = field(&any, 2, NULL);
    ck_assert_ptr_eq(any.pos, any.last);

    (void) field(&value, 1, info->reason);
    (void) field(&value, 2, info->domain);
    data = field(&value, 3, NULL);
    ck_assert_ptr_eq(value.pos, value.last);

    (void) field(&data, 1, info->key);
    (void) field(&data, 2, info->value);
    ck_assert_ptr_eq(data.pos, data.last);

    if (info->retry) {
        any = field(&status, 3, NULL);
        (void) field(&any, 1, "type.googleapis.com/google.rpc.RetryInfo");
        value = field(&any, 2, NULL);
        ck_assert_ptr_eq(any.pos, any.last);

        data = field(&value, 1, NULL);
        ck_assert_ptr_eq(value.pos, value.last);
        ck_assert_uint_eq(varint(&data, 1), info->retry / 1000);
        ck_assert_uint_eq(varint(&data, 2), info->retry % 1000 * 1000000);
        ck_assert_ptr_eq(data.pos, data.last);
    }

    ck_assert_ptr_eq(status.pos, status.last);
}


START_TEST(error_info)
{
    static const ms_error_info_t  info = {
        10, "gone", "LOST", "here", "decision", "MOVED", 0
    };

    encodes(&info);
}
END_TEST


START_TEST(error_info_retry)
{
    ms_error_info_t  info = {
        8, "busy", "BUSY", "here", "upstream", "u", 1500
    };

    encodes(&info);
    info.retry = 999;
    encodes(&info);
    info.retry = 60000;
    encodes(&info);
}
END_TEST


/* lengths take two bytes */
START_TEST(error_info_longest)
{
    char             text[65];
    ms_error_info_t  info = { 16, text, text, text, text, text,
                                UINT32_MAX };

    memset(text, 'x', 64);
    text[64] = '\0';
    encodes(&info);
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("error_info");

    tcase = tcase_create("error_info");
    tcase_add_test(tcase, error_info);
    tcase_add_test(tcase, error_info_retry);
    tcase_add_test(tcase, error_info_longest);
    suite_add_tcase(suite, tcase);

    return harness_run_units(suite);
}
