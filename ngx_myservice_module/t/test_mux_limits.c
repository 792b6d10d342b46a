/*
 * myservice_multiplex and limits: streams of a connection, as the instance and
 * the configuration allow; idle connections; what a peer may not do.
 */

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "fake_conn.h"
#include "gateway.h"
#include "mux.h"
#include "sized.h"


/* RFC 9113 section 6.5.2 */
#define MAX_CONCURRENT_STREAMS  3
#define INITIAL_WINDOW_SIZE     4


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


/* "n" calls at once, all of them well */
static void
together(fake_t *fake, unsigned n)
{
    mux_start(&mux, client, "s1", n);
    mux_await_held(fake, n);
    fake_release(fake, fake_ok);
    mux_all_ok(&mux);
}


START_TEST(mux_peer_limit)
{
    fake_t  *fake;

    fake = start(CONF(ONE, ON, ""));
    fake_setting(fake, MAX_CONCURRENT_STREAMS, 4);
    together(fake, 1);
    together(fake, 10);
    ck_assert_uint_eq(fake_connections(fake), 3);
    ck_assert_uint_eq(atomic_load(&fake_seen(fake)->streams), 4);
    together(fake, 12);
    ck_assert_uint_eq(fake_connections(fake), 3);
}
END_TEST


/* on a new connection, too, whose SETTINGS have not come yet */
START_TEST(mux_peer_limit_remembered)
{
    fake_t  *fake;

    fake = start(CONF(ONE, ON, ""));
    fake_setting(fake, MAX_CONCURRENT_STREAMS, 4);
    together(fake, 1);
    fake_hang_up(fake, true);
    fake_late_settings(fake);
    together(fake, 10);
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
    together(fake, 100);
    ck_assert_uint_eq(fake_connections(fake), 1);
    together(fake, 101);
    ck_assert_uint_eq(fake_connections(fake), 2);
    ck_assert_uint_eq(atomic_load(&fake_seen(fake)->streams), 100);
}
END_TEST


START_TEST(mux_configured)
{
    fake_t  *fake;

    fake = start(CONF(ONE, ON_WITH("streams=2"), ""));
    together(fake, 5);
    ck_assert_uint_eq(fake_connections(fake), 3);
    ck_assert_uint_eq(atomic_load(&fake_seen(fake)->streams), 2);
}
END_TEST


/* A connection that has had its calls ends with the last of them. */
START_TEST(mux_requests)
{
    fake_t  *fake;

    fake = start(CONF(ONE, ON_WITH("requests=3"), ""));

    together(fake, 1);
    together(fake, 1);
    ck_assert_uint_eq(fake_connections(fake), 1);
    mux_await_open(fake, 1);

    together(fake, 5);
    ck_assert_uint_eq(fake_connections(fake), 3);
    ck_assert_uint_eq(atomic_load(&fake_seen(fake)->streams), 3);
    mux_await_open(fake, 1);

    together(fake, 100);
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
    together(fake, 1);
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
    together(fake, 1);

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
    together(fake, 8);
    ck_assert_msg(fake_connections(fake)
                  == connections + (wrong->ends == ALL),
                  "%s: %u connections", wrong->what, fake_connections(fake));
    ck_assert_uint_eq(fake_requests(fake), 17);
}
END_TEST


/* PINGs by a peer that does not read the answers */

#define FLOOD  40000000

static uint8_t       flood_type;
static atomic_ulong  flooded;           /* bytes */


static void
flood(fake_conn_t *conn)
{
    size_t          len, n, frame;
    ssize_t         sent;
    uint8_t         bytes[17 * 1000], *p;
    struct timeval  second = { 1, 0 };

    frame = flood_type == PING ? 17 : 9;
    len = frame * 1000;
    memset(bytes, 0, sizeof(bytes));

    for (p = bytes; p < bytes + len; p += frame) {
        p[2] = (uint8_t) (frame - 9);
        p[3] = flood_type;
    }

    (void) setsockopt(conn->fd, SOL_SOCKET, SO_SNDTIMEO, &second,
                      sizeof(second));

    for (n = 0; n < FLOOD; n += (size_t) sent) {
        sent = send(conn->fd, bytes, len, MSG_NOSIGNAL);

        /* whole frames: an end in the middle of one is no end here */
        if (sent <= 0) {
            break;
        }
    }

    atomic_store(&flooded, n);
    fake_close_conn(conn);
}


static void
flooded_with(uint8_t type)
{
    fake_t         *fake;
    unsigned long   memory;

    flood_type = type;
    fake = start(CONF(ONE, ON, ""));
    together(fake, 8);
    memory = gateway_memory();
    mux_start(&mux, client, "s1", 8);
    mux_await_held(fake, 8);
    fake_tell(fake, flood);
    mux_all(&mux, 14, UNAVAILABLE);
    fake_release(fake, forget);
    ck_assert_uint_lt(gateway_memory(), memory + 10000000);
    together(fake, 8);
}


START_TEST(mux_ping_flood)
{
    flooded_with(PING);
}
END_TEST


START_TEST(mux_settings_flood)
{
    flooded_with(SETTINGS);
}
END_TEST


/* DATA by a peer that does not read the WINDOW_UPDATEs for it */

#define UPLOAD  24000000                /* more than sockets hold */
#define PART    (16 * 16384)
#define MOST    (1000 * PART)

static atomic_ulong  arrived;           /* bytes of the answer */
static atomic_bool   over;


static void
answer_deaf(fake_call_t *call)
{
    size_t          sent;
    ssize_t         n;
    uint8_t        *p;
    long long       since;
    static uint8_t  part[PART + 16 * 9];

    if (call->number == 1) {
        fake_ok(call);
        return;
    }

    for (p = part; p < part + sizeof(part); p += 16384 + 9) {
        (void) fake_u32(p, 16384 << 8 | DATA);
        (void) fake_u32(p + 5, call->stream);
    }

    fake_headers(call);
    since = harness_now();

    for (sent = 0; sent < MOST && !atomic_load(&over); sent += PART) {
        n = send(call->conn->fd, part, sizeof(part), MSG_NOSIGNAL);

        if (n != sizeof(part)) {
            break;
        }

        while (atomic_load(&arrived) < sent + PART && !atomic_load(&over)) {
            harness_pause(since, "the client");
        }
    }

    fake_close(call);
}


static void
give_all(fake_conn_t *conn)
{
    fake_window_update(conn, 0, 0x40000000);
}


START_TEST(mux_data_flood)
{
    fake_t         *fake;
    long long       since;
    client_call_t  *call;

    fake = fake_start(8081, "one", answer_deaf);
    fake_setting(fake, INITIAL_WINDOW_SIZE, 0x40000000);
    gateway_start(CONF(ONE, ON_WITH("window=64k streams=1"), ""));
    client = client_open(harness_port(8080));
    client_assert(echo_get(client, "s1"), 0, "");
    fake_early(fake);
    fake_tell(fake, give_all);

    call = sized_start(client, ECHO, "s1", UPLOAD);
    since = harness_now();

    while (!call->done) {
        client_poll(5);
        atomic_store(&arrived, call->len);
        ck_assert_int_lt(harness_now() - since, HARNESS_DEADLINE);
    }

    atomic_store(&over, true);
    ck_assert(gateway_logged("instance sends and does not read"));
    ck_assert_uint_lt(call->len, MOST);
    ck_assert_int_eq(call->grpc, 14);
}
END_TEST


/* Settings that change the window of every call, by a peer that reads */

#define MANY     900
#define ROUNDS   200
#define BATCH    500                    /* of SETTINGS */

static uint32_t  changes;               /* the window, by as much */


static void
change_windows(fake_conn_t *conn)
{
    int       i, round;
    size_t    got;
    ssize_t   n;
    uint8_t   frames[BATCH * 15], acks[BATCH * 9], *p;

    for (round = 0; round < ROUNDS; round++) {

        for (i = 0, p = frames; i < BATCH; i++) {
            p = fake_u32(p, 6 << 8 | SETTINGS);
            *p++ = 0;
            p = fake_u32(p, 0);
            *p++ = 0;
            *p++ = INITIAL_WINDOW_SIZE;
            p = fake_u32(p, 65535 + (i % 2 ? 0 : changes));
        }

        ck_assert_int_eq(send(conn->fd, frames, sizeof(frames), MSG_NOSIGNAL),
                         sizeof(frames));

        for (got = 0; got < sizeof(acks); got += (size_t) n) {
            n = recv(conn->fd, acks, sizeof(acks) - got, 0);
            ck_assert_int_gt(n, 0);
        }
    }
}


/* CPU of the worker, in nanoseconds */
static unsigned long long
cpu(void)
{
    FILE                *f;
    char                 path[64];
    pid_t                pid;
    unsigned long long   spent;

    ck_assert_uint_eq(gateway_workers(&pid, 1), 1);
    snprintf(path, sizeof(path), "/proc/%d/schedstat", (int) pid);
    f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fscanf(f, "%llu", &spent), 1);
    fclose(f);

    return spent;
}


/* many such settings and many calls do not multiply */
START_TEST(mux_settings_many)
{
    fake_t              *fake;
    unsigned long long   since, same, changed;

    fake = start(CONF(ONE, ON_WITH("streams=1000"), ""));
    fake_setting(fake, MAX_CONCURRENT_STREAMS, 1000);
    together(fake, 1);
    mux_start(&mux, client, "s1", MANY);
    mux_await_held(fake, MANY);
    ck_assert_uint_eq(fake_connections(fake), 1);

    changes = 0;
    since = cpu();
    fake_tell(fake, change_windows);
    same = cpu() - since;

    changes = 1;
    since = cpu();
    fake_tell(fake, change_windows);
    changed = cpu() - since;

    ck_assert_msg(changed < 10 * same, "%llu us, and %llu us without a change",
                  changed / 1000, same / 1000);
    fake_release(fake, fake_ok);
    mux_all_ok(&mux);
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
    harness_add(suite, mux_ping_flood);
    harness_add(suite, mux_settings_flood);
    harness_add(suite, mux_settings_many);
    harness_add(suite, mux_data_flood);

    return harness_run(suite, argv[0]);
}
