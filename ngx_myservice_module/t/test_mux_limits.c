/*
 * myservice_multiplex and limits: streams of a connection, as the instance and
 * the configuration allow; idle connections; what a peer may not send.
 */

#include <stdio.h>

#include "fake_conn.h"
#include "gateway.h"
#include "mux.h"


/* RFC 9113 section 6.5.2 */
#define MAX_CONCURRENT_STREAMS  3


static mux_calls_t  mux;
static client_t    *client;


static fake_t *
start(const char *conf)
{
    fake_t  *fake;

    fake = fake_start(8081, "one", fake_hold);
    gateway_start(conf);
    client = client_open(harness_port(8080));

    return fake;
}


START_TEST(mux_peer_limit)
{
    fake_t  *fake;

    fake = start(CONF(ONE, ON, ""));
    fake_setting(fake, MAX_CONCURRENT_STREAMS, 4);
    mux_together(&mux, client, fake, 1);
    mux_together(&mux, client, fake, 10);
    ck_assert_uint_eq(fake_connections(fake), 3);
    ck_assert_uint_eq(atomic_load(&fake_seen(fake)->streams), 4);
    mux_together(&mux, client, fake, 12);
    ck_assert_uint_eq(fake_connections(fake), 3);
}
END_TEST


/* on a new connection, too, whose SETTINGS have not come yet */
START_TEST(mux_peer_limit_remembered)
{
    fake_t  *fake;

    fake = start(CONF(ONE, ON, ""));
    fake_setting(fake, MAX_CONCURRENT_STREAMS, 4);
    mux_together(&mux, client, fake, 1);
    fake_hang_up(fake, true);
    fake_late_settings(fake);
    mux_together(&mux, client, fake, 10);
    ck_assert_uint_eq(fake_connections(fake), 4);
    ck_assert_uint_eq(atomic_load(&fake_seen(fake)->streams), 4);
}
END_TEST


/* while calls run */
START_TEST(mux_peer_limit_changes)
{
    fake_t  *fake;

    fake = start(CONF(ONE, ON, ""));
    mux_start(&mux, client, "s1", 8);
    mux_await_held(fake, 8);
    ck_assert_uint_eq(fake_connections(fake), 1);

    fake_setting(fake, MAX_CONCURRENT_STREAMS, 2);
    fake_tell(fake, fake_ping);
    mux_await(&fake_seen(fake)->pongs, 1);
    mux_start(&mux, client, "s1", 2);
    mux_await_held(fake, 10);
    ck_assert_uint_eq(fake_connections(fake), 2);

    fake_setting(fake, MAX_CONCURRENT_STREAMS, 100);
    fake_tell(fake, fake_ping);
    mux_await(&fake_seen(fake)->pongs, 3);
    mux_start(&mux, client, "s1", 40);
    mux_await_held(fake, 50);
    ck_assert_uint_eq(fake_connections(fake), 2);

    fake_release(fake, fake_ok);
    mux_all_ok(&mux);
}
END_TEST


START_TEST(mux_hundred)
{
    fake_t  *fake;

    fake = start(CONF(ONE, ON, ""));
    mux_together(&mux, client, fake, 100);
    ck_assert_uint_eq(fake_connections(fake), 1);
    mux_together(&mux, client, fake, 101);
    ck_assert_uint_eq(fake_connections(fake), 2);
    ck_assert_uint_eq(atomic_load(&fake_seen(fake)->streams), 100);
}
END_TEST


START_TEST(mux_configured)
{
    fake_t  *fake;

    fake = start(CONF(ONE, ON_WITH("streams=2"), ""));
    mux_together(&mux, client, fake, 5);
    ck_assert_uint_eq(fake_connections(fake), 3);
    ck_assert_uint_eq(atomic_load(&fake_seen(fake)->streams), 2);
}
END_TEST


/* A connection that has had its calls ends with the last of them. */
START_TEST(mux_requests)
{
    fake_t  *fake;

    fake = start(CONF(ONE, ON_WITH("requests=3"), ""));

    mux_together(&mux, client, fake, 1);
    mux_together(&mux, client, fake, 1);
    ck_assert_uint_eq(fake_connections(fake), 1);
    mux_await_open(fake, 1);

    mux_together(&mux, client, fake, 5);
    ck_assert_uint_eq(fake_connections(fake), 3);
    ck_assert_uint_eq(atomic_load(&fake_seen(fake)->streams), 3);
    mux_await_open(fake, 1);

    mux_together(&mux, client, fake, 100);
    ck_assert_uint_eq(fake_connections(fake), 36);
    mux_await_open(fake, 1);
}
END_TEST


/* while the first of its calls still runs, new ones go elsewhere */
START_TEST(mux_requests_held)
{
    fake_t  *fake;

    fake = start(CONF(ONE, ON_WITH("requests=2"), ""));
    mux_start(&mux, client, "s1", 1);
    mux_await_held(fake, 1);
    mux_start(&mux, client, "s1", 1);
    mux_await_held(fake, 2);
    ck_assert_uint_eq(fake_connections(fake), 1);

    mux_start(&mux, client, "s1", 1);
    mux_await_held(fake, 3);
    ck_assert_uint_eq(fake_connections(fake), 2);
    ck_assert_int_eq(atomic_load(&fake_seen(fake)->open), 2);

    fake_release(fake, fake_ok);
    mux_all_ok(&mux);
    mux_await_open(fake, 1);
}
END_TEST


/* The fakes see the end of a connection a little later. */
static void
await_open(fake_t **fakes, int n, int most)
{
    int        i, open;
    long long  since;

    since = harness_now();

    do {
        client_poll(5);
        open = 0;

        for (i = 0; i < n; i++) {
            open += atomic_load(&fake_seen(fakes[i])->open);
        }

        ck_assert_msg(harness_now() - since < HARNESS_DEADLINE,
                      "deadline: %d connections, %d expected", open, most);

    } while (open > most);
}


/* five instances and room for two connections without a call */
START_TEST(mux_idle)
{
    int      i, round;
    char     session[8];
    fake_t  *fakes[5];

    for (i = 0; i < 5; i++) {
        fakes[i] = fake_start(8081 + i, "one", fake_ok);
    }

    gateway_start(CONF(THREE "server 127.0.0.1:8084; server 127.0.0.1:8085;\n",
                       ON_WITH("idle=2"), ""));
    client = client_open(harness_port(8080));

    for (round = 0; round < 3; round++) {
        for (i = 0; i < 5; i++) {
            snprintf(session, sizeof(session), "s%d", i);
            mux_start(&mux, client, session, 4);
        }

        mux_all_ok(&mux);

        for (i = 0; i < 5; i++) {
            ck_assert_uint_eq(fake_requests(fakes[i]),
                              4 * ((unsigned) round + 1));
        }

        await_open(fakes, 5, 2);
    }
}
END_TEST


/* those with calls are no part of it */
START_TEST(mux_idle_busy)
{
    int      i;
    char     session[8];
    fake_t  *fakes[3];

    for (i = 0; i < 3; i++) {
        fakes[i] = fake_start(8081 + i, "one", fake_hold);
    }

    gateway_start(CONF(THREE, ON_WITH("idle=1"), ""));
    client = client_open(harness_port(8080));

    for (i = 0; i < 3; i++) {
        snprintf(session, sizeof(session), "s%d", i);
        mux_start(&mux, client, session, 8);
    }

    for (i = 0; i < 3; i++) {
        mux_await_held(fakes[i], 8);
        ck_assert_int_eq(atomic_load(&fake_seen(fakes[i])->open), 1);
    }

    for (i = 0; i < 3; i++) {
        fake_release(fakes[i], fake_ok);
    }

    mux_all_ok(&mux);
}
END_TEST


START_TEST(mux_timeout)
{
    fake_t     *fake;
    long long   since;

    fake = start(CONF(ONE, ON_WITH("timeout=1s"), ""));
    mux_start(&mux, client, "s1", 1);
    mux_await_held(fake, 1);
    client_assert_waits(mux.calls[0], 1500);
    ck_assert_int_eq(atomic_load(&fake_seen(fake)->open), 1);

    since = harness_now();
    fake_release(fake, fake_ok);
    mux_all_ok(&mux);
    mux_await_open(fake, 0);
    harness_lasted(since, 1000);
    mux_together(&mux, client, fake, 1);
}
END_TEST


/* What an instance must not send, and what it may. */

typedef enum {
    NONE = 0,
    CALL,                               /* of the stream */
    ALL
} ends_t;

typedef struct {
    const char  *what;
    uint32_t     len;                   /* as the frame says */
    uint8_t      type;
    uint8_t      flags;
    uint32_t     stream;
    const char  *payload;
    size_t       size;
    ends_t       ends;
} wrong_t;

#define FRAME(ends, what, type, flags, stream, text)                          \
    { what, sizeof(text) - 1, type, flags, stream, text, sizeof(text) - 1,    \
      ends }

static const char  zeros[16385];

static const wrong_t  wrongs[] = {
    FRAME(NONE, "a frame of an unknown type", 0x20, 0xff, 3, "text"),
    FRAME(NONE, "PRIORITY", 2, 0, 3, "\0\0\0\0\0"),
    FRAME(NONE, "an unknown setting", SETTINGS, 0, 0, "\0\x77\0\0\0\1"),
    FRAME(NONE, "WINDOW_UPDATE for a call that is over", WINDOW_UPDATE, 0, 1,
         "\0\0\0\1"),
    FRAME(NONE, "RST_STREAM for a call that is over", RST_STREAM, 0, 1,
          "\0\0\0\1"),
    FRAME(ALL, "DATA without a stream", DATA, 0, 0, "\0\0\0\0\0"),
    FRAME(ALL, "HEADERS without a stream", HEADERS, END_HEADERS, 0, "\x88"),
    FRAME(ALL, "RST_STREAM without a stream", RST_STREAM, 0, 0, "\0\0\0\1"),
    FRAME(CALL, "RST_STREAM that is too long", RST_STREAM, 0, 3, "\0\0\0\1\1"),
    FRAME(ALL, "SETTINGS that are cut", SETTINGS, 0, 0, "\0\4\0\0\0"),
    FRAME(ALL, "SETTINGS of a stream", SETTINGS, 0, 3, "\0\4\0\0\0\0"),
    FRAME(ALL, "an ACK with settings", SETTINGS, ACK, 0, "\0\4\0\0\0\0"),
    FRAME(ALL, "a window beyond its limit", SETTINGS, 0, 0,
          "\0\4\xff\xff\xff\xff"),
    FRAME(ALL, "PING that is too short", PING, 0, 0, "1234"),
    FRAME(ALL, "PING of a stream", PING, 0, 3, "12345678"),
    FRAME(ALL, "GOAWAY that is cut", GOAWAY, 0, 0, "1234"),
    FRAME(ALL, "WINDOW_UPDATE that is cut", WINDOW_UPDATE, 0, 0, "\0\0\1"),
    FRAME(ALL, "WINDOW_UPDATE of nothing", WINDOW_UPDATE, 0, 0, "\0\0\0\0"),
    FRAME(ALL, "a sum beyond the limit", WINDOW_UPDATE, 0, 0,
          "\x7f\xff\xff\xff"),
    FRAME(ALL, "CONTINUATION of nothing", CONTINUATION, END_HEADERS, 3,
          "\x88"),
    { "a header block within another one", 1, HEADERS, 0, 3,
      "\x88" "\0\0\1\1\4\0\0\0\5" "\x88", 11, ALL },
    FRAME(CALL, "PUSH_PROMISE", 5, END_HEADERS, 3, "\0\0\0\2\x88"),
    FRAME(ALL, "DATA of a call that has not begun", DATA, 0, 1001,
          "\0\0\0\0\0"),
    FRAME(ALL, "RST_STREAM of one that has not begun", RST_STREAM, 0, 1001,
          "\0\0\0\1"),
    { "a frame that is too large", 16385, DATA, 0, 3, zeros, 16385, CALL },
    { "the largest frame there is", 0xffffff, 0x20, 0, 3, "", 0, ALL }
};

static const wrong_t  *wrong;


static void
be_wrong(fake_conn_t *conn)
{
    uint8_t      head[9], *p;
    fake_call_t  call = { .conn = conn };

    p = fake_u32(head, wrong->len << 8);
    p[-1] = wrong->type;
    *p++ = wrong->flags;
    (void) fake_u32(p, wrong->stream);
    fake_bytes(&call, head, sizeof(head));
    fake_bytes(&call, wrong->payload, wrong->size);
}


static void
forget(fake_call_t *call)
{
    (void) call;
}


/* One of the calls, or all, end as after an answer that is wrong. */
static void
await_end(size_t n)
{
    size_t     i, left;
    long long  since;

    since = harness_now();
    left = mux.n - n;

    while (mux.n > left) {
        client_poll(5);
        ck_assert_int_lt(harness_now() - since, HARNESS_DEADLINE);

        for (i = 0; i < mux.n; i++) {
            if (mux.calls[i]->done) {
                ck_assert(mux.calls[i]->grpc == 13
                          || mux.calls[i]->grpc == 14);
                ck_assert(!mux.calls[i]->reset);
                mux.calls[i] = mux.calls[--mux.n];
            }
        }
    }

    ck_assert_uint_eq(mux.n, left);
}


/* Other calls go on as long as the frames can be told apart, and the session
 * stays. */
START_TEST(mux_wrong)
{
    fake_t    *fake;
    unsigned   connections;

    wrong = &wrongs[_i];
    fake = start(CONF(ONE, ON, ""));
    mux_together(&mux, client, fake, 1);

    mux_start(&mux, client, "s1", 8);
    mux_await_held(fake, 8);
    fake_tell(fake, be_wrong);

    if (wrong->ends == ALL) {
        await_end(8);
        fake_release(fake, forget);

    } else {
        await_end(wrong->ends == CALL);
        fake_release(fake, fake_ok);
        mux_all_ok(&mux);
    }

    connections = fake_connections(fake);
    mux_together(&mux, client, fake, 8);
    ck_assert_msg(fake_connections(fake)
                  == connections + (wrong->ends == ALL),
                  "%s: %u connections", wrong->what, fake_connections(fake));
    ck_assert_uint_eq(fake_requests(fake), 17);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("mux_limits");

    harness_add(suite, mux_peer_limit);
    harness_add(suite, mux_peer_limit_remembered);
    harness_add(suite, mux_peer_limit_changes);
    harness_add(suite, mux_hundred);
    harness_add(suite, mux_configured);
    harness_add(suite, mux_requests);
    harness_add(suite, mux_requests_held);
    harness_add(suite, mux_idle);
    harness_add(suite, mux_idle_busy);
    harness_add(suite, mux_timeout);
    harness_add_loop(suite, mux_wrong,
                     (int) (sizeof(wrongs) / sizeof(wrongs[0])));

    return harness_run(suite, argv[0]);
}
