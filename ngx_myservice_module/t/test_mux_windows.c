/*
 * myservice_multiplex and flow control: windows of the instance, slow clients,
 * large messages both ways.
 */

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "fake_conn.h"
#include "gateway.h"
#include "mux.h"
#include "sized.h"


#define INITIAL_WINDOW_SIZE  4          /* RFC 9113 section 6.5.2 */
#define WINDOW               65536      /* of the gateway, at first */
#define WINDOW_MAX           1048576
#define CONNECTION           65535      /* the window of a new one */

/* of a call that waits: the request and its buffers; what a client's connection
 * takes that does not read */
#define CALL                 49152
#define CLIENT_MAX           (8 * 1048576)


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


static unsigned long
data(fake_t *fake)
{
    return atomic_load(&fake_seen(fake)->data);
}


static void
await_data(fake_t *fake, unsigned long n)
{
    long long  since;

    since = harness_now();

    while (data(fake) < n) {
        client_poll(5);
        ck_assert_msg(harness_now() - since < HARNESS_DEADLINE,
                      "deadline: %lu bytes came, %lu expected", data(fake), n);
    }
}


static void
start_sized(unsigned n, size_t size)
{
    while (n-- > 0) {
        mux.calls[mux.n++] = sized_start(client, ECHO, "s1", size);
    }
}


static void
end_well(fake_t *fake, unsigned n)
{
    mux_await_held(fake, n);
    fake_release(fake, fake_ok);
    mux_all_ok(&mux);
    ck_assert_uint_eq(fake_connections(fake), 1);
}


START_TEST(mux_small_window)
{
    fake_t  *fake;

    fake = start(CONF(ONE, ON, ""));
    fake_setting(fake, INITIAL_WINDOW_SIZE, 1000);
    fake_credit(fake, FAKE_CREDIT_ALL);
    start_sized(1, 10);
    end_well(fake, 1);

    start_sized(8, 200000);
    end_well(fake, 8);
    ck_assert_uint_ge(data(fake), 8 * 200000);
    ck_assert_uint_le(atomic_load(&fake_seen(fake)->largest), 1000);
}
END_TEST


static void
give_credit(fake_conn_t *conn)
{
    fake_window_update(conn, 0, 1000000);
}


/* the connection's window is used up, whatever the streams' allow */
START_TEST(mux_no_credit)
{
    fake_t  *fake;

    fake = start(CONF(ONE, ON, ""));
    fake_setting(fake, INITIAL_WINDOW_SIZE, 10000000);
    fake_credit(fake, FAKE_CREDIT_NONE);
    start_sized(4, 100000);
    await_data(fake, CONNECTION);
    client_await_still();
    ck_assert_uint_eq(data(fake), CONNECTION);

    fake_tell(fake, give_credit);
    end_well(fake, 4);
}
END_TEST


/* the initial window shrinks below what was sent, then grows */
START_TEST(mux_window_changes)
{
    fake_t  *fake;

    fake = start(CONF(ONE, ON, ""));
    fake_credit(fake, FAKE_CREDIT_NONE);
    start_sized(4, 100000);
    await_data(fake, CONNECTION);

    fake_setting(fake, INITIAL_WINDOW_SIZE, 10);
    fake_tell(fake, give_credit);
    client_await_still();
    ck_assert_uint_le(data(fake), CONNECTION + 4 * 10);

    fake_setting(fake, INITIAL_WINDOW_SIZE, 200000);
    end_well(fake, 4);
}
END_TEST


static void
give_little(fake_conn_t *conn)
{
    fake_window_update(conn, 0, 10000);
}


static atomic_ulong  least;             /* bytes of a call */


static void
find_least(fake_conn_t *conn)
{
    size_t          i;
    fake_stream_t  *stream;

    atomic_store(&least, ULONG_MAX);

    for (i = 0; i < STREAMS_MAX; i++) {
        stream = &conn->streams[i];

        if (stream->call.stream != 0
            && stream->call.body < atomic_load(&least))
        {
            atomic_store(&least, stream->call.body);
        }
    }
}


/* a window of the connection that comes in small pieces is for all */
START_TEST(mux_fair)
{
    int      i;
    fake_t  *fake;

    fake = start(CONF(ONE, ON, ""));
    fake_setting(fake, INITIAL_WINDOW_SIZE, 10000000);
    fake_credit(fake, FAKE_CREDIT_NONE);
    start_sized(8, 300000);
    await_data(fake, CONNECTION);
    client_await_still();

    for (i = 1; i <= 40; i++) {
        fake_tell(fake, give_little);
        await_data(fake, CONNECTION + (unsigned long) i * 10000);
    }

    fake_tell(fake, find_least);
    ck_assert_msg(atomic_load(&least) > 20000, "%lu bytes of a call",
                  atomic_load(&least));

    for (i = 0; i < 3; i++) {
        fake_tell(fake, give_credit);
    }

    end_well(fake, 8);
}
END_TEST


/* Answers, as many bytes as the gateway's windows allow */

static atomic_ulong  most;              /* at once, on a stream */


/* Streams are held with their headers, other calls are answered. */
static void
serve(fake_call_t *call)
{
    if (strcmp(call->path, SUBSCRIBE) == 0) {
        fake_headers(call);
        fake_hold(call);

    } else {
        fake_ok(call);
    }
}


static void
pour(fake_call_t *call)
{
    unsigned long  before;

    before = atomic_load(&fake_seen(call->fake)->poured);
    fake_pour(call);
    before = atomic_load(&fake_seen(call->fake)->poured) - before;

    if (before > atomic_load(&most)) {
        atomic_store(&most, before);
    }

    fake_hold(call);
}


static void
answer_end(fake_call_t *call)
{
    fake_trailers(call, 0, "");
}


static unsigned long
poured(fake_t *fake)
{
    return atomic_load(&fake_seen(fake)->poured);
}


static fake_t *
start_streams(const char *conf)
{
    fake_t  *fake;

    fake = fake_start(8081, "one", serve);
    gateway_start(conf);
    client = client_open(harness_port(8080));

    return fake;
}


static void
subscribe(client_t *from, unsigned n)
{
    while (n-- > 0) {
        mux.calls[mux.n++] = client_grpc(from, SUBSCRIBE, NULL, "s1", "", 0);
    }
}


/* Until the gateway takes no more. */
static void
pour_all(fake_t *fake)
{
    unsigned long  before;

    do {
        before = poured(fake);
        fake_release(fake, pour);
        client_await_still();
    } while (poured(fake) > before);
}


/* Every byte comes to its client, and the streams end. */
static void
drain(fake_t *fake)
{
    size_t         i;
    unsigned long  sum;

    fake_release(fake, answer_end);
    sum = 0;

    for (i = 0; i < mux.n; i++) {
        client_wait(mux.calls[i]);
        client_assert(mux.calls[i], 0, "");
        sum += mux.calls[i]->len;
    }

    ck_assert_uint_eq(sum, poured(fake));
}


/* The instance is stopped where clients do not read, and what is beside them
 * goes on. */
static void
slow(unsigned clients, unsigned streams)
{
    unsigned        i, n;
    fake_t         *fake;
    client_t       *slow_ones[8];
    long long       since, longest;
    unsigned long   memory;

    n = clients * streams;
    fake = start_streams(CONF(ONE, ON, ""));
    client_assert(echo_get(client, "s1"), 0, "");
    memory = gateway_memory();

    for (i = 0; i < clients; i++) {
        slow_ones[i] = client_open(harness_port(8080));
        subscribe(slow_ones[i], streams);
    }

    mux_await_held(fake, n);

    for (i = 0; i < clients; i++) {
        client_pause(slow_ones[i], true);
    }

    pour_all(fake);
    memory = gateway_memory() - memory;
    ck_assert_uint_le(poured(fake), n * WINDOW + clients * CLIENT_MAX);

    /* a sanitizer, in another binary, has memory of its own */

    ck_assert_msg(memory <= poured(fake) + n * CALL
                  || getenv("NGINX_BINARY") != NULL,
                  "%lu bytes of memory for %u streams with %lu bytes", memory,
                  n, poured(fake));

    longest = 0;

    for (i = 0; i < 50; i++) {
        since = harness_now();
        client_assert(echo_get(client, "s1"), 0, "");
        since = harness_now() - since;
        longest = since > longest ? since : longest;
    }

    ck_assert_int_lt(longest, HARNESS_PATIENCE * 1000);

    for (i = 0; i < clients; i++) {
        client_window(slow_ones[i], WINDOW_MAX);
        client_window_all(slow_ones[i], 1 << 30);
        client_pause(slow_ones[i], false);
    }

    drain(fake);
}


START_TEST(mux_slow_client)
{
    slow(1, 20);
}
END_TEST


START_TEST(mux_slow_clients)
{
    slow(5, 100);
}
END_TEST


static void
pour_on(fake_call_t *call)
{
    fake_pour_on(call, true);
    fake_hold(call);
}


static void
pour_no_more(fake_call_t *call)
{
    fake_pour_on(call, false);
    fake_hold(call);
}


/* Pours "n" bytes more through the gateway. */
static void
pour_through(fake_t *fake, unsigned long n)
{
    long long  since;

    since = harness_now();
    n += poured(fake);
    fake_release(fake, pour_on);

    while (poured(fake) < n) {
        client_poll(5);
        ck_assert_msg(harness_now() - since < HARNESS_DEADLINE,
                      "deadline: %lu bytes of %lu", poured(fake), n);
    }

    fake_release(fake, pour_no_more);
    client_await_still();
}


/* Until a stream takes more than "n" bytes at once. */
static void
pour_until(fake_t *fake, unsigned long n)
{
    long long  since;

    since = harness_now();

    while (atomic_load(&most) <= n) {
        ck_assert_msg(harness_now() - since < HARNESS_DEADLINE,
                      "deadline: %lu bytes at once", atomic_load(&most));
        pour_through(fake, 4000000);
        fake_release(fake, pour);
    }
}


static fake_t *
start_fast(const char *conf)
{
    fake_t  *fake;

    fake = start_streams(conf);
    client_window(client, 1 << 24);
    client_window_all(client, 1 << 30);
    subscribe(client, 1);
    mux_await_held(fake, 1);

    return fake;
}


/* the window of a stream whose client reads all */
START_TEST(mux_window_grows)
{
    fake_t  *fake;

    fake = start_fast(CONF(ONE, ON, ""));
    ck_assert_uint_le(atomic_load(&fake_seen(fake)->window), WINDOW);
    pour_until(fake, 3 * WINDOW / 2);
    ck_assert_uint_le(atomic_load(&most), WINDOW_MAX);
    drain(fake);
}
END_TEST


START_TEST(mux_window_configured)
{
    fake_t  *fake;

    fake = start_fast(CONF(ONE, ON_WITH("window=128k-256k"), ""));
    ck_assert_uint_eq(atomic_load(&fake_seen(fake)->window), 131072);
    pour_until(fake, 131072);
    pour_through(fake, 2000000);
    fake_release(fake, pour);
    ck_assert_uint_le(atomic_load(&most), 262144);
    drain(fake);
}
END_TEST


START_TEST(mux_window_fixed)
{
    fake_t  *fake;

    fake = start_fast(CONF(ONE, ON_WITH("window=64k"), ""));
    pour_through(fake, 2000000);
    fake_release(fake, pour);
    ck_assert_uint_le(atomic_load(&most), 65536);
    drain(fake);
}
END_TEST


/* large messages both ways at once, more than any window */
START_TEST(mux_both_ways)
{
    size_t   i;
    fake_t  *fake;
    char    *zeros;

    zeros = calloc(1, 1000000);
    ck_assert_ptr_nonnull(zeros);

    fake = fake_start(8081, "one", serve);
    fake_early(fake);
    fake_credit(fake, FAKE_CREDIT_ALL);
    gateway_start(CONF(ONE, ON, ""));
    client = client_open(harness_port(8080));
    client_window_all(client, 1 << 30);

    for (i = 0; i < 4; i++) {
        mux.calls[mux.n++] = client_grpc(client, SUBSCRIBE, NULL, "s1", zeros,
                                         1000000);
    }

    mux_await_held(fake, 4);
    pour_through(fake, 4000000);
    await_data(fake, 4 * 1000005);
    drain(fake);
    ck_assert_uint_eq(data(fake), 4 * 1000005);
    free(zeros);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("mux_windows");

    harness_add(suite, mux_small_window);
    harness_add(suite, mux_no_credit);
    harness_add(suite, mux_window_changes);
    harness_add(suite, mux_fair);
    harness_add(suite, mux_slow_client);
    harness_add(suite, mux_slow_clients);
    harness_add(suite, mux_window_grows);
    harness_add(suite, mux_window_configured);
    harness_add(suite, mux_window_fixed);
    harness_add(suite, mux_both_ways);

    return harness_run(suite, argv[0]);
}
