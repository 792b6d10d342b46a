/* Messages of the health protocol, against protobuf-c. */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "wire/health_message.h"
#include "harness.h"
#include "health.pb-c.h"


#define NAME_MAX_LEN  20000


typedef Grpc__Health__V1__HealthCheckResponse  response_t;


static const struct {
    const char           *name;
    const char           *body;
    size_t                len;
    ms_health_request_t   result;
    const char           *service;
} cases[] = {

#define BODY(s)  s, sizeof(s) - 1

    { "empty message", BODY("\0\0\0\0\0"), MS_HEALTH_REQUEST_OK, "" },
    { "empty name", BODY("\0\0\0\0\2\x0a\0"), MS_HEALTH_REQUEST_OK, "" },
    { "name", BODY("\0\0\0\0\5\x0a\3abc"), MS_HEALTH_REQUEST_OK, "abc" },
    { "the last one counts", BODY("\0\0\0\0\7\x0a\2ab\x0a\1c"),
      MS_HEALTH_REQUEST_OK, "c" },
    { "unknown varint", BODY("\0\0\0\0\7\x10\x96\1\x0a\2ab"),
      MS_HEALTH_REQUEST_OK, "ab" },
    { "unknown bytes", BODY("\0\0\0\0\6\x0a\1x\x12\1y"),
      MS_HEALTH_REQUEST_OK, "x" },
    { "unknown fixed64", BODY("\0\0\0\0\x0c\x11" "12345678\x0a\1x"),
      MS_HEALTH_REQUEST_OK, "x" },
    { "unknown fixed32", BODY("\0\0\0\0\x08\x15" "1234\x0a\1x"),
      MS_HEALTH_REQUEST_OK, "x" },
    { "the field, another type", BODY("\0\0\0\0\2\x08\1"),
      MS_HEALTH_REQUEST_OK, "" },
    { "highest field", BODY("\0\0\0\0\6\xf8\xff\xff\xff\x0f\0"),
      MS_HEALTH_REQUEST_OK, "" },

    { "nothing", BODY(""), MS_HEALTH_REQUEST_MISSING, NULL },
    { "compressed", BODY("\1\0\0\0\0"), MS_HEALTH_REQUEST_COMPRESSED, NULL },
    { "unknown flag", BODY("\2\0\0\0\0"), MS_HEALTH_REQUEST_MALFORMED, NULL },
    { "short prefix", BODY("\0\0\0\0"), MS_HEALTH_REQUEST_MALFORMED, NULL },
    { "short message", BODY("\0\0\0\0\3\x0a\0"), MS_HEALTH_REQUEST_MALFORMED,
      NULL },
    { "two messages", BODY("\0\0\0\0\0\0\0\0\0\0"),
      MS_HEALTH_REQUEST_MALFORMED, NULL },
    { "huge length", BODY("\0\xff\xff\xff\xff\x0a\0"),
      MS_HEALTH_REQUEST_MALFORMED, NULL },
    { "name over the end", BODY("\0\0\0\0\3\x0a\2a"),
      MS_HEALTH_REQUEST_MALFORMED, NULL },
    { "huge name", BODY("\0\0\0\0\x0b\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff"
                        "\1"), MS_HEALTH_REQUEST_MALFORMED, NULL },
    { "no length", BODY("\0\0\0\0\1\x0a"), MS_HEALTH_REQUEST_MALFORMED, NULL },
    { "field 0", BODY("\0\0\0\0\2\2\0"), MS_HEALTH_REQUEST_MALFORMED, NULL },
    { "field too high", BODY("\0\0\0\0\6\x80\x80\x80\x80\x10\0"),
      MS_HEALTH_REQUEST_MALFORMED, NULL },
    { "group", BODY("\0\0\0\0\2\x0b\x0c"), MS_HEALTH_REQUEST_OK, "" },
    { "group with all types, and a group",
      BODY("\0\0\0\0\x1b\x1b\x08\1\x11" "12345678\x0a\2xy\x15" "1234"
           "\x23\x24\x1c\x0a\1z"), MS_HEALTH_REQUEST_OK, "z" },
    { "group without end", BODY("\0\0\0\0\3\x1b\x08\1"),
      MS_HEALTH_REQUEST_MALFORMED, NULL },
    { "end of another group", BODY("\0\0\0\0\2\x1b\x24"),
      MS_HEALTH_REQUEST_MALFORMED, NULL },
    { "end without a group", BODY("\0\0\0\0\1\x1c"),
      MS_HEALTH_REQUEST_MALFORMED, NULL },
    { "bytes over the end of a group", BODY("\0\0\0\0\4\x1b\x0a\5\x1c"),
      MS_HEALTH_REQUEST_MALFORMED, NULL },
    { "wire type 6", BODY("\0\0\0\0\1\x0e"), MS_HEALTH_REQUEST_MALFORMED,
      NULL },
    { "endless varint", BODY("\0\0\0\0\x0c\x10\x80\x80\x80\x80\x80\x80\x80\x80"
                             "\x80\x80\1"), MS_HEALTH_REQUEST_MALFORMED,
      NULL },
    { "fixed64 cut", BODY("\0\0\0\0\5\x11" "1234"),
      MS_HEALTH_REQUEST_MALFORMED, NULL },
    { "fixed32 cut", BODY("\0\0\0\0\4\x15" "123"),
      MS_HEALTH_REQUEST_MALFORMED, NULL }
};


START_TEST(request)
{
    size_t               len;
    uint8_t             *body;
    const uint8_t       *service;
    ms_health_request_t  result;

    /* a copy of its own, so that a sanitizer sees a read beyond its end */

    body = malloc(cases[_i].len ? cases[_i].len : 1);
    ck_assert_ptr_nonnull(body);
    memcpy(body, cases[_i].body, cases[_i].len);

    result = ms_health_request_parse(body, cases[_i].len, &service, &len);
    ck_assert_msg(result == cases[_i].result, "%s: %d", cases[_i].name,
                  result);

    if (result == MS_HEALTH_REQUEST_OK) {
        ck_assert_msg(len == strlen(cases[_i].service)
                      && memcmp(service, cases[_i].service, len) == 0,
                      "%s: \"%.*s\"", cases[_i].name, (int) len,
                      (const char *) service);
    }

    free(body);
}
END_TEST


static const struct {
    const char           *body;
    size_t                len;
    ms_health_request_t   result;
    uint32_t              status;
} answers[] = {
    { BODY("\0\0\0\0\2\x08\1"), MS_HEALTH_REQUEST_OK, 1 },
    { BODY("\0\0\0\0\0"), MS_HEALTH_REQUEST_OK, 0 },
    { BODY("\0\0\0\0\4\x08\1\x08\2"), MS_HEALTH_REQUEST_OK, 2 },
    { BODY("\0\0\0\0\4\x10\7\x08\1"), MS_HEALTH_REQUEST_OK, 1 },
    { BODY("\0\0\0\0\5\x12\1x\x08\1"), MS_HEALTH_REQUEST_OK, 1 },
    { BODY("\0\0\0\0\x0b\x08\1\x11" "12345678"), MS_HEALTH_REQUEST_OK, 1 },
    { BODY("\0\0\0\0\7\x15" "1234\x08\1"), MS_HEALTH_REQUEST_OK, 1 },
    { BODY("\0\0\0\0\6\x1b\x08\2\x1c\x08\1"), MS_HEALTH_REQUEST_OK, 1 },
    { BODY("\0\0\0\0\5\x0a\1\1\x08\1"), MS_HEALTH_REQUEST_OK, 1 },
    { BODY("\0\0\0\0\3\x08\x81\1"), MS_HEALTH_REQUEST_OK, 129 },
    { BODY(""), MS_HEALTH_REQUEST_MISSING, 0 },
    { BODY("\1\0\0\0\2\x08\1"), MS_HEALTH_REQUEST_COMPRESSED, 0 },
    { BODY("\0\0\0\0\3\x08\1"), MS_HEALTH_REQUEST_MALFORMED, 0 },
    { BODY("\0\0\0\0\1\x08"), MS_HEALTH_REQUEST_MALFORMED, 0 },
};


START_TEST(answer)
{
    uint8_t              *body;
    uint32_t              status;
    ms_health_request_t   result;

    body = malloc(answers[_i].len ? answers[_i].len : 1);
    ck_assert_ptr_nonnull(body);
    memcpy(body, answers[_i].body, answers[_i].len);

    result = ms_health_response_parse(body, answers[_i].len, &status);
    ck_assert_int_eq(result, answers[_i].result);

    if (result == MS_HEALTH_REQUEST_OK) {
        ck_assert_uint_eq(status, answers[_i].status);
    }

    free(body);
}
END_TEST


/* lengths of one, two and three bytes; what protobuf-c writes */
START_TEST(names)
{
    char                *name;
    size_t               n, len;
    uint8_t              body[NAME_MAX_LEN + 16];
    const uint8_t       *service;
    ms_health_request_t  result;
    Grpc__Health__V1__HealthCheckRequest  message =
        GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;

    name = malloc(NAME_MAX_LEN + 1);
    ck_assert_ptr_nonnull(name);

    for (n = 0; n <= NAME_MAX_LEN; n += n < 300 ? 1 : 97) {
        memset(name, 'a' + (int) (n % 26), n);
        name[n] = '\0';
        message.service = name;

        len = grpc__health__v1__health_check_request__pack(&message, body + 5);
        body[0] = body[1] = 0;
        body[2] = (uint8_t) (len >> 16);
        body[3] = (uint8_t) (len >> 8);
        body[4] = (uint8_t) len;

        result = ms_health_request_parse(body, len + 5, &service, &len);

        ck_assert_int_eq(result, MS_HEALTH_REQUEST_OK);
        ck_assert_uint_eq(len, n);
        ck_assert_int_eq(memcmp(service, name, n), 0);
    }

    free(name);
}
END_TEST


START_TEST(response)
{
    int          status;
    size_t       len;
    uint8_t      body[MS_HEALTH_RESPONSE_MAX];
    response_t  *message;

    for (status = MS_HEALTH_UNKNOWN; status <= MS_HEALTH_SERVICE_UNKNOWN;
         status++)
    {
        len = ms_health_response_write(body, (ms_health_status_t) status);
        ck_assert_uint_ge(len, 5);
        ck_assert_uint_eq(body[4], len - 5);
        ck_assert_int_eq(memcmp(body, "\0\0\0\0", 4), 0);

        message = grpc__health__v1__health_check_response__unpack(NULL,
                      len - 5, body + 5);
        ck_assert_ptr_nonnull(message);
        ck_assert_int_eq((int) message->status, status);
        grpc__health__v1__health_check_response__free_unpacked(message, NULL);
    }
}
END_TEST


int
main(void)
{
    TCase  *tc;
    Suite  *suite;

    suite = suite_create("health messages");
    tc = tcase_create("health messages");
    tcase_add_loop_test(tc, request, 0,
                        (int) (sizeof(cases) / sizeof(cases[0])));
    tcase_add_loop_test(tc, answer, 0,
                        sizeof(answers) / sizeof(answers[0]));
    tcase_add_test(tc, names);
    tcase_add_test(tc, response);
    suite_add_tcase(suite, tc);

    return harness_run_units(suite);
}
