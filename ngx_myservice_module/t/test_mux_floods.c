/*
 * myservice_multiplex and a peer that floods its connection: PINGs, SETTINGS,
 * DATA without an end, and many changes of the window.
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
forget(fake_call_t *call)
{
    (void) call;
}


static void
flooded_with(uint8_t type)
{
    fake_t         *fake;
    unsigned long   memory;

    flood_type = type;
    fake = start(CONF(ONE, ON, ""));
    mux_together(&mux, client, fake, 8);
    memory = gateway_memory();
    mux_start(&mux, client, "s1", 8);
    mux_await_held(fake, 8);
    fake_tell(fake, flood);
    mux_all(&mux, 14, UNAVAILABLE);
    fake_release(fake, forget);
    ck_assert_uint_lt(gateway_memory(), memory + 10000000);
    mux_together(&mux, client, fake, 8);
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
    mux_together(&mux, client, fake, 1);
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
    suite = suite_create("mux_floods");

    harness_add(suite, mux_ping_flood);
    harness_add(suite, mux_settings_flood);
    harness_add(suite, mux_settings_many);
    harness_add(suite, mux_data_flood);

    return harness_run(suite, argv[0]);
}
