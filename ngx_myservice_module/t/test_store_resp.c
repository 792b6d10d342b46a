/*
 * The Redis protocol of one connection: requests as bytes, answers however they
 * are cut, answers that nobody asked for.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "store/resp.h"


typedef struct {
    ms_resp_t  resp;
    char       log[4096];               /* what the handlers saw */
    int        closes;                  /* close at the n-th answer */
} world_t;


static void
describe(char *p, const redisReply *r)
{
    size_t  i;

    switch (r->type) {

    case REDIS_REPLY_ARRAY:
        strcat(p, "[");

        for (i = 0; i < r->elements; i++) {
            describe(p, r->element[i]);
        }

        strcat(p, "]");
        break;

    case REDIS_REPLY_INTEGER:
        sprintf(p + strlen(p), ":%lld ", r->integer);
        break;

    case REDIS_REPLY_NIL:
        strcat(p, "nil ");
        break;

    case REDIS_REPLY_ERROR:
        strcat(p, "!");
        /* fall through */

    default:
        strcat(p, r->str);
        strcat(p, " ");
    }
}


static void
answered(void *owner, redisReply *reply, void *data)
{
    world_t  *w = owner;

    sprintf(w->log + strlen(w->log), "%s=", (const char *) data);

    if (reply == NULL) {
        strcat(w->log, "lost ");
        ck_assert_int_ne(ms_resp_ask(&w->resp, answered, "never"), 0);
        return;
    }

    describe(w->log, reply);

    if (w->closes > 0 && --w->closes == 0) {
        ms_resp_close(&w->resp);
    }
}


static void
begin(world_t *w)
{
    memset(w, 0, sizeof(world_t));
    ck_assert_int_eq(ms_resp_open(&w->resp, w), 0);
}


static void
ask(world_t *w, const char *name)
{
    ms_resp_begin(&w->resp, 1);
    ms_resp_word(&w->resp, "PING");
    ck_assert_int_eq(ms_resp_ask(&w->resp, answered, (void *) name), 0);
}


START_TEST(requests)
{
    world_t  w;

    static const char  expected[] = "*4\r\n$3\r\nSET\r\n$3\r\na\0b\r\n"
                                    "$20\r\n18446744073709551615\r\n"
                                    "$0\r\n\r\n";

    begin(&w);

    ms_resp_begin(&w.resp, 4);
    ms_resp_word(&w.resp, "SET");
    ms_resp_text(&w.resp, "a\0b", 3);
    ms_resp_number(&w.resp, UINT64_MAX);
    ms_resp_text(&w.resp, NULL, 0);
    ck_assert_int_eq(ms_resp_ask(&w.resp, answered, "a"), 0);

    ck_assert_uint_eq(w.resp.len, sizeof(expected) - 1);
    ck_assert_mem_eq(w.resp.out, expected, sizeof(expected) - 1);

    /* written in two parts, and begun anew */

    ms_resp_wrote(&w.resp, 7);
    ck_assert_uint_eq(w.resp.sent, 7);
    ms_resp_wrote(&w.resp, w.resp.len - 7);
    ck_assert_uint_eq(w.resp.len, 0);
    ck_assert_uint_eq(w.resp.sent, 0);

    ms_resp_close(&w.resp);
    ck_assert_str_eq(w.log, "a=lost ");
}
END_TEST


/* a question with a text too few or too many is not asked */

START_TEST(not_asked)
{
    char    *big;
    size_t   len;
    world_t  w;

    begin(&w);
    ask(&w, "a");
    len = w.resp.len;

    ms_resp_begin(&w.resp, 2);
    ms_resp_word(&w.resp, "x");
    ck_assert_int_ne(ms_resp_ask(&w.resp, answered, "b"), 0);
    ck_assert_uint_eq(w.resp.len, len);
    ck_assert_uint_eq(w.resp.asked, 1);

    ms_resp_begin(&w.resp, 1);
    ms_resp_word(&w.resp, "x");
    ms_resp_word(&w.resp, "x");
    ck_assert_int_ne(ms_resp_ask(&w.resp, answered, "b"), 0);
    ck_assert_uint_eq(w.resp.len, len);

    /* nor is what does not fit */

    big = calloc(1, MS_RESP_OUT_MAX);
    ck_assert_ptr_nonnull(big);
    ms_resp_begin(&w.resp, 1);
    ms_resp_text(&w.resp, big, MS_RESP_OUT_MAX);
    ck_assert_int_ne(ms_resp_ask(&w.resp, answered, "b"), 0);
    ck_assert_uint_eq(w.resp.len, len);
    free(big);

    ms_resp_close(&w.resp);
    ck_assert_str_eq(w.log, "a=lost ");
}
END_TEST


static const char  answers[] =
    "+PONG\r\n"
    ":17\r\n"
    "*3\r\n$3\r\nhad\r\n$-1\r\n*2\r\n$0\r\n\r\n:1\r\n"
    "-NOSCRIPT no such script\r\n"
    "*0\r\n"
    "$5\r\na\r\nb \r\n";

static const char  seen[] = "0=PONG 1=:17 2=[had nil [ :1 ]]"
                            "3=!NOSCRIPT no such script 4=[]5=a\r\nb  ";


/* however the bytes are cut, from one at a time to all at once */

START_TEST(pieces)
{
    size_t   step, pos, n;
    world_t  w;

    static const char  *names[] = { "0", "1", "2", "3", "4", "5" };

    for (step = 1; step <= sizeof(answers) - 1; step++) {
        begin(&w);

        for (n = 0; n < 6; n++) {
            ask(&w, names[n]);
        }

        for (pos = 0; pos < sizeof(answers) - 1; pos += n) {
            n = sizeof(answers) - 1 - pos;
            n = n < step ? n : step;
            ck_assert_int_eq(ms_resp_feed(&w.resp, answers + pos, n),
                             MS_RESP_OK);
        }

        ck_assert_str_eq(w.log, seen);
        ck_assert_uint_eq(w.resp.asked, 0);
        ms_resp_close(&w.resp);
        ck_assert_str_eq(w.log, seen);
    }
}
END_TEST


START_TEST(unasked)
{
    world_t  w;

    begin(&w);
    ask(&w, "a");
    ck_assert_int_eq(ms_resp_feed(&w.resp, "+a\r\n+b\r\n", 8),
                     MS_RESP_UNASKED);
    ms_resp_close(&w.resp);
    ck_assert_str_eq(w.log, "a=a ");
}
END_TEST


static const char  *bad[] = {
    "hello\r\n",
    "*16385\r\n",
    "*2000000000\r\n",
    ":12x\r\n",
    "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"
};

START_TEST(bad_protocol)
{
    world_t  w;

    begin(&w);
    ask(&w, "a");
    ask(&w, "b");
    ck_assert_int_eq(ms_resp_feed(&w.resp, bad[_i], strlen(bad[_i])),
                     MS_RESP_PROTOCOL);
    ms_resp_close(&w.resp);
    ck_assert_str_eq(w.log, "a=lost b=lost ");
}
END_TEST


START_TEST(too_long)
{
    int         i;
    char        piece[65536];
    world_t     w;
    ms_resp_e   rc;

    begin(&w);
    ask(&w, "a");
    memset(piece, 'x', sizeof(piece));
    rc = ms_resp_feed(&w.resp, "$2000000000\r\n", 13);

    for (i = 0; rc == MS_RESP_OK && i < 1000; i++) {
        rc = ms_resp_feed(&w.resp, piece, sizeof(piece));
    }

    ck_assert_int_eq(rc, MS_RESP_PROTOCOL);
    ck_assert_int_lt(i, 100);
    ms_resp_close(&w.resp);
}
END_TEST


/* a handler closes: those behind it are told, nothing more is read */

START_TEST(closed_by_handler)
{
    world_t  w;

    begin(&w);
    ask(&w, "a");
    ask(&w, "b");
    ask(&w, "c");
    w.closes = 2;
    ck_assert_int_eq(ms_resp_feed(&w.resp, "+1\r\n+2\r\n+3\r\n+4\r\n", 16),
                     MS_RESP_CLOSED);
    ck_assert_str_eq(w.log, "a=1 b=2 c=lost ");
}
END_TEST


/* what is asked is bounded, and the order is kept when the ring turns */

static uint64_t  order;

static void
in_order(void *owner, redisReply *reply, void *data)
{
    uint64_t  n;

    (void) owner;
    ck_assert_int_eq(ms_resp_value(reply, &n), 0);
    ck_assert_uint_eq(n, (uintptr_t) data);
    ck_assert_uint_eq(n, order);
    order++;
}

START_TEST(ring)
{
    int        i, asked, answered_n;
    char       text[32];
    world_t    w;

    begin(&w);
    order = 0;
    asked = 0;
    answered_n = 0;

    while (asked < 50000) {

        for (i = 0; i < 700; i++) {
            ms_resp_begin(&w.resp, 1);
            ms_resp_word(&w.resp, "x");
            ck_assert_int_eq(ms_resp_ask(&w.resp, in_order,
                                         (void *) (uintptr_t) asked), 0);
            asked++;
        }

        ms_resp_wrote(&w.resp, w.resp.len);

        for (i = 0; i < 650; i++) {
            snprintf(text, sizeof(text), ":%d\r\n", answered_n++);
            ck_assert_int_eq(ms_resp_feed(&w.resp, text, strlen(text)),
                             MS_RESP_OK);
        }
    }

    while (answered_n < asked) {
        snprintf(text, sizeof(text), ":%d\r\n", answered_n++);
        ck_assert_int_eq(ms_resp_feed(&w.resp, text, strlen(text)),
                         MS_RESP_OK);
    }

    for (i = 0; i < MS_RESP_ASKED_MAX; i++) {
        ms_resp_begin(&w.resp, 0);
        ck_assert_int_eq(ms_resp_ask(&w.resp, answered, "x"), 0);
    }

    ms_resp_begin(&w.resp, 0);
    ck_assert_int_ne(ms_resp_ask(&w.resp, answered, "x"), 0);
    w.resp.asked = 0;
    ms_resp_close(&w.resp);
}
END_TEST


static const struct {
    const char  *reply;
    int          rc;
    uint64_t     n;
} values[] = {
    { "$3\r\n123\r\n", 0, 123 },
    { ":5\r\n", 0, 5 },
    { "$20\r\n18446744073709551615\r\n", 0, UINT64_MAX },
    { "$20\r\n18446744073709551616\r\n", -1, 0 },
    { "$2\r\n-1\r\n", -1, 0 },
    { ":-1\r\n", -1, 0 },
    { "$2\r\n1x\r\n", -1, 0 },
    { "$0\r\n\r\n", -1, 0 },
    { "$3\r\n1\0" "2\r\n", -1, 0 },
    { "$-1\r\n", -1, 0 },
    { "*0\r\n", -1, 0 }
};

static void
one_value(void *owner, redisReply *reply, void *data)
{
    int       i = (int) (uintptr_t) data;
    uint64_t  n;

    (void) owner;
    n = 0;
    ck_assert_int_eq(ms_resp_value(reply, &n), values[i].rc);
    ck_assert_uint_eq(n, values[i].n);
    order++;
}

START_TEST(number)
{
    size_t   len;
    world_t  w;

    begin(&w);
    order = 0;
    ms_resp_begin(&w.resp, 0);
    ck_assert_int_eq(ms_resp_ask(&w.resp, one_value,
                                 (void *) (uintptr_t) _i), 0);
    len = _i == 8 ? 9 : strlen(values[_i].reply);
    ck_assert_int_eq(ms_resp_feed(&w.resp, values[_i].reply, len),
                     MS_RESP_OK);
    ck_assert_uint_eq(order, 1);
    ck_assert_int_eq(ms_resp_value(NULL, &order), -1);
    ms_resp_close(&w.resp);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_resp");
    harness_add(suite, requests);
    harness_add(suite, not_asked);
    harness_add(suite, pieces);
    harness_add(suite, unasked);
    harness_add_loop(suite, bad_protocol,
                     (int) (sizeof(bad) / sizeof(bad[0])));
    harness_add(suite, too_long);
    harness_add(suite, closed_by_handler);
    harness_add(suite, ring);
    harness_add_loop(suite, number,
                     (int) (sizeof(values) / sizeof(values[0])));

    return harness_run_units(suite);
}
