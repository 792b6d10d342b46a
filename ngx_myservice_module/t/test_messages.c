/* Boundaries of gRPC messages that arrive in pieces of every size. */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "wire/messages.h"
#include "harness.h"


static const size_t  sizes[] = { 0, 1, 4, 5, 300, 0, 0, 70000, 2 };

#define MESSAGES  (sizeof(sizes) / sizeof(sizes[0]))


static uint8_t *
body_make(size_t *len)
{
    size_t    i;
    uint8_t  *body, *p;

    *len = 0;

    for (i = 0; i < MESSAGES; i++) {
        *len += MS_MESSAGE_PREFIX + sizes[i];
    }

    body = calloc(1, *len);
    ck_assert_ptr_nonnull(body);
    p = body;

    for (i = 0; i < MESSAGES; i++) {
        p[1] = (uint8_t) (sizes[i] >> 24);
        p[2] = (uint8_t) (sizes[i] >> 16);
        p[3] = (uint8_t) (sizes[i] >> 8);
        p[4] = (uint8_t) sizes[i];
        memset(p + MS_MESSAGE_PREFIX, 0xff, sizes[i]);
        p += MS_MESSAGE_PREFIX + sizes[i];
    }

    return body;
}


/* the last boundary at or before "end", 0 if none */
static size_t
boundary(size_t end)
{
    size_t  i, at, last;

    at = 0;
    last = 0;

    for (i = 0; i < MESSAGES; i++) {
        at += MS_MESSAGE_PREFIX + sizes[i];

        if (at > end) {
            break;
        }

        last = at;
    }

    return last;
}


START_TEST(pieces)
{
    size_t         len, at, n, got, want;
    uint8_t       *body;
    ms_messages_t  messages;

    static const size_t  piece[] = { 1, 2, 3, 5, 7, 64, 4096, 16384, 1 << 20 };

    body = body_make(&len);
    memset(&messages, 0, sizeof(messages));

    for (at = 0; at < len; at += n) {
        n = len - at < piece[_i] ? len - at : piece[_i];
        got = ms_messages_feed(&messages, body + at, n);

        want = boundary(at + n);
        want = want > at ? want - at : 0;
        ck_assert_uint_eq(got, want);
    }

    ck_assert_uint_eq(messages.rest, 0);
    ck_assert_uint_eq(messages.prefix_len, 0);
    free(body);
}
END_TEST


START_TEST(huge_length)
{
    ms_messages_t  messages;

    static const uint8_t  prefix[] = { 0, 0xff, 0xff, 0xff, 0xff, 1, 2 };

    memset(&messages, 0, sizeof(messages));
    ck_assert_uint_eq(ms_messages_feed(&messages, prefix, sizeof(prefix)), 0);
    ck_assert_uint_eq(messages.rest, 0xffffffffu - 2);
}
END_TEST


int
main(void)
{
    TCase  *tc;
    Suite  *suite;

    suite = suite_create("messages");
    tc = tcase_create("messages");
    tcase_add_loop_test(tc, pieces, 0, 9);
    tcase_add_test(tc, huge_length);
    suite_add_tcase(suite, tc);

    return harness_run_units(suite);
}
