/*
 * myservice_multiplex and failures: a connection, a call, an instance that
 * fails with many calls open. What has run is not repeated, and a session stays
 * where its instance lives.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_conn.h"
#include "gateway.h"
#include "instance.h"
#include "mux.h"
#include "sized.h"


#define OPEN    32

/* RFC 9113 section 7 */
#define REFUSED_STREAM  7
#define CANCEL          8

#define INITIAL_WINDOW_SIZE  4          /* section 6.5.2 */


static mux_calls_t  mux;
static client_t    *client;
static fake_t      *fake;               /* that has the session */
static fake_t      *other;


static void
release_all(void)
{
    fake_release(fake, fake_ok);
    fake_release(other, fake_ok);
}


/* A session with an instance, and another instance */
static void
start(const char *conf)
{
    fake_t     *swap;
    long long   since;

    fake = fake_start(8081, "one", fake_hold);
    other = fake_start(8082, "two", fake_hold);
    gateway_start(conf);
    client = client_open(harness_port(8080));
    mux_start(&mux, client, "s1", 1);
    since = harness_now();

    while (fake_held(fake) + fake_held(other) == 0) {
        client_poll(5);
        harness_pause(since, "the first call");
    }

    if (fake_held(other) > 0) {
        swap = fake;
        fake = other;
        other = swap;
    }

    release_all();
    mux_all_ok(&mux);
}


static void
open_calls(void)
{
    mux_start(&mux, client, "s1", OPEN);
    mux_await_held(fake, OPEN);
}


static void
forget(fake_call_t *call)
{
    (void) call;
}


/* The session's calls still come to its instance, on that connection. */
static void
stays(unsigned connection)
{
    fake_release(fake, forget);
    mux_start(&mux, client, "s1", 4);
    mux_await_held(fake, 4);
    release_all();
    mux_all_ok(&mux);
    ck_assert_uint_eq(fake_connections(fake), connection);
    ck_assert_uint_eq(fake_held(other), 0);
}


static void
keep_headers(fake_call_t *call)
{
    fake_headers(call);
    fake_hold(call);
}


static void
keep_half(fake_call_t *call)
{
    fake_half_message(call);
    fake_hold(call);
}


/* What has come of the answers when a connection ends, and how it ends. */

typedef struct {
    int   parts;
    enum { RESET, CLOSED, CLOSED_WITH_GOAWAY } how;
} death_t;

static const death_t  deaths[] = {
    { 0, RESET }, { 0, CLOSED }, { 0, CLOSED_WITH_GOAWAY },
    { 1, RESET }, { 1, CLOSED }, { 1, CLOSED_WITH_GOAWAY },
    { 2, RESET }, { 2, CLOSED }, { 2, CLOSED_WITH_GOAWAY }
};

#define DEATHS  ((int) (sizeof(deaths) / sizeof(deaths[0])))


static void
end_connection(const death_t *death)
{
    client_await_still();

    if (death->how == RESET) {
        fake_abort(fake);

    } else {
        fake_hang_up(fake, death->how == CLOSED_WITH_GOAWAY);
    }
}


static void
die(const death_t *death)
{
    open_calls();

    if (death->parts > 0) {
        fake_release(fake, keep_headers);
    }

    if (death->parts > 1) {
        fake_release(fake, keep_half);
    }

    end_connection(death);
}


/* each call ends with 14, none has run twice */
START_TEST(mux_dies)
{
    start(CONF(TWO, ON, ""));
    die(&deaths[_i]);
    mux_all(&mux, 14, UNAVAILABLE);
    ck_assert_uint_eq(fake_requests(fake), 1 + OPEN);
    stays(2);
}
END_TEST


/* listed methods are repeated, while the client has no part of an answer */
START_TEST(mux_dies_listed)
{
    start(CONF(TWO, ON, RETRY_ECHO));
    die(&deaths[_i]);

    if (deaths[_i].parts == 0) {
        mux_await_held(fake, 2 * OPEN);
        release_all();
        mux_all_ok(&mux);
        ck_assert_uint_eq(fake_requests(fake), 1 + 2 * OPEN);

    } else {
        mux_all(&mux, 14, UNAVAILABLE);
        ck_assert_uint_eq(fake_requests(fake), 1 + OPEN);
    }

    stays(2);
}
END_TEST


static void
keep_one_and_half(fake_call_t *call)
{
    fake_headers(call);
    fake_message(call, 0);
    keep_half(call);
}


START_TEST(mux_dies_resumed)
{
    client_call_t  *call;

    start(CONF(TWO, ON, "myservice_resume MyServiceSubscribe;\n"));

    while (mux.n < OPEN) {
        mux.calls[mux.n++] = sized_start(client, SUBSCRIBE, "s1", 100);
    }

    mux_await_held(fake, OPEN);
    fake_release(fake, keep_one_and_half);
    end_connection(&deaths[_i]);
    mux_await_held(fake, 2 * OPEN);
    release_all();

    while (mux.n > 0) {
        call = mux.calls[--mux.n];
        client_wait(call);
        client_assert(call, 0, "");
        ck_assert_uint_eq(call->headers, 2);
        ck_assert_uint_eq(client_messages(call), 2);
    }

    ck_assert_uint_eq(fake_requests(fake), 1 + 2 * OPEN);
    stays(2);
}
END_TEST


/* The log has a line for each call that a dead connection ended. */
START_TEST(mux_dies_logged)
{
    char        *log;
    unsigned     n;
    const char  *p;

    start(CONF(TWO, ON, ""));
    die(&deaths[1]);
    mux_all(&mux, 14, UNAVAILABLE);

    n = 0;
    log = harness_read("error.log");

    for (p = log; (p = strstr(p, ", client: ")) != NULL; p++) {
        n++;
    }

    free(log);
    ck_assert_msg(n >= OPEN, "%u lines for %d calls", n, OPEN);
}
END_TEST


/* the instance is gone: all calls go to the same other one */
START_TEST(mux_instance_dies)
{
    start(CONF(TWO, ON, RETRY_ECHO));
    open_calls();
    fake_stop(fake);
    mux_await_held(other, OPEN);
    fake_release(other, fake_ok);
    mux_all_ok(&mux);
    ck_assert_uint_eq(fake_connections(other), 1);
}
END_TEST


START_TEST(mux_instance_dies_not_listed)
{
    start(CONF(TWO, ON, ""));
    open_calls();
    fake_stop(fake);
    mux_all(&mux, 14, UNAVAILABLE);
    ck_assert_uint_eq(fake_held(other), 0);

    mux_start(&mux, client, "s1", OPEN);
    mux_await_held(other, OPEN);
    fake_release(other, fake_ok);
    mux_all_ok(&mux);
}
END_TEST


/* nothing listens at most addresses: no call was sent, all are repeated */
START_TEST(mux_connect_refused)
{
    int   i;
    char  session[8];

    for (i = 0; i < 3; i++) {
        (void) fake_start(8081 + i, "one", fake_ok);
    }

    gateway_start(CONF(THREE
        "server 127.0.0.1:8084; server 127.0.0.1:8085;\n"
        "server 127.0.0.1:8086; server 127.0.0.1:8087;\n"
        "server 127.0.0.1:8088; server 127.0.0.1:8089;\n", ON, ""));
    client = client_open(harness_port(8080));

    for (i = 0; i < 3; i++) {
        snprintf(session, sizeof(session), "s%d", i);
        mux_start(&mux, client, session, 16);
        mux_all_ok(&mux);
    }
}
END_TEST


START_TEST(mux_nobody)
{
    gateway_start(CONF(TWO, ON, ""));
    client = client_open(harness_port(8080));
    mux_start(&mux, client, "s1", OPEN);
    mux_all(&mux, 14, UNAVAILABLE);
    mux_start(&mux, client, "s1", OPEN);
    mux_all(&mux, 14, UNAVAILABLE);
}
END_TEST


/* GOAWAY in the middle: what it leaves out was not processed */

static unsigned  limit;


static void
go_away(fake_conn_t *conn)
{
    limit = conn->latest - OPEN;        /* half of the open ones */
    fake_goaway_after(conn, limit);
}


static void
answer_included(fake_call_t *call)
{
    if (call->stream <= limit && call->conn == call->fake->conns[0]) {
        fake_ok(call);
    }
}


START_TEST(mux_goaway)
{
    start(CONF(TWO, ON, ""));
    open_calls();
    fake_tell(fake, go_away);
    mux_await_held(fake, OPEN + OPEN / 2);
    ck_assert_uint_eq(fake_connections(fake), 2);

    /* the others are on the new connection, where nothing is left out */

    fake_release(fake, answer_included);
    mux_start(&mux, client, "s1", 1);
    mux_await_held(fake, 1);
    ck_assert_uint_eq(fake_connections(fake), 2);
    fake_release(fake, fake_ok);
    mux_await_open(fake, 1);
}
END_TEST


static void
all_included(fake_conn_t *conn)
{
    fake_goaway_after(conn, conn->latest);
}


/* a connection that the instance closes is not used, open calls end well */
START_TEST(mux_goaway_later)
{
    start(CONF(TWO, ON, ""));
    open_calls();
    fake_tell(fake, all_included);
    fake_tell(fake, fake_ping);
    mux_await(&fake_seen(fake)->pongs, 1);
    mux_start(&mux, client, "s1", OPEN);
    mux_await_held(fake, 2 * OPEN);
    ck_assert_uint_eq(fake_connections(fake), 2);
    release_all();
    mux_all_ok(&mux);
    mux_await_open(fake, 1);
    stays(2);
}
END_TEST


/* while no call runs */
START_TEST(mux_idle_ends)
{
    int  i;

    start(CONF(TWO, ON, ""));

    for (i = 0; i < 9; i++) {
        switch (i % 3) {
        case 0:
            fake_abort(fake);
            break;
        case 1:
            fake_hang_up(fake, false);
            break;
        default:
            fake_tell(fake, all_included);
            mux_await_open(fake, 0);
        }

        stays((unsigned) i + 2);
    }
}
END_TEST


static uint32_t  code;
static bool      reset;


static void
reset_first(fake_call_t *call)
{
    if (!reset) {
        reset = true;
        fake_reset(call, code);

    } else {
        fake_hold(call);
    }
}


START_TEST(mux_reset)
{
    start(CONF(TWO, ON, ""));
    open_calls();
    code = CANCEL;
    fake_release(fake, reset_first);
    client_wait(mux.calls[0]);
    client_assert(mux.calls[0], 14, UNAVAILABLE);
    mux.calls[0] = mux.calls[--mux.n];
    fake_release(fake, fake_ok);
    mux_all_ok(&mux);
    stays(1);
}
END_TEST


START_TEST(mux_refused)
{
    start(CONF(TWO, ON, ""));
    open_calls();
    code = REFUSED_STREAM;
    fake_release(fake, reset_first);
    mux_await_held(fake, OPEN);
    fake_release(fake, fake_ok);
    mux_all_ok(&mux);
    ck_assert_uint_eq(fake_requests(fake), 1 + OPEN + 1);
    ck_assert_uint_le(fake_connections(fake), 2);
    ck_assert_uint_eq(fake_held(other), 0);
}
END_TEST


static client_call_t *
call_within(const char *timeout)
{
    const client_header_t  headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { "session-id", "s1" },
        { "grpc-timeout", timeout },
        { NULL, NULL }
    };

    return client_request(client, ECHO, headers, "\0\0\0\0\0", 5, false);
}


static void
answer_second(fake_call_t *call)
{
    if (call->conn == call->fake->conns[0]) {
        fake_hold(call);

    } else {
        fake_ok(call);
    }
}


/* no byte comes and no PING is answered: a new connection, the same session */
START_TEST(mux_hangs)
{
    unsigned        n;
    long long       since;
    client_call_t  *call;

    fake = fake_start(8081, "one", answer_second);
    gateway_start(CONF(ONE, ON, ""));
    client = client_open(harness_port(8080));
    call = echo_start(client, "s1");
    mux_await_held(fake, 1);
    fake_release(fake, fake_ok);
    client_wait(call);

    fake_tell(fake, fake_mute);
    since = harness_now();
    n = 0;

    do {
        call = call_within("300m");
        client_wait(call);
        n += call->grpc != 0;
        harness_within(since, 3000);
    } while (call->grpc != 0);

    /* three if this machine does not answer for a second */
    ck_assert_uint_ge(fake_connections(fake), 2);
    ck_assert_uint_le(atomic_load(&fake_seen(fake)->pings), 3);
    ck_assert_uint_ge(atomic_load(&fake_seen(fake)->pings), 1);
    ck_assert_uint_ge(n, 1);
    mux_await_open(fake, 1);
    mux_start(&mux, client, "s1", OPEN);
    mux_all_ok(&mux);
    ck_assert_uint_le(fake_connections(fake), 3);
}
END_TEST


/* calls that are slow are no sign that the connection hangs */
START_TEST(mux_slow_calls)
{
    int             i;
    client_call_t  *call;

    start(CONF(TWO, ON, ""));

    for (i = 0; i < 10; i++) {
        call = call_within("300m");
        client_wait(call);
        client_assert(call, 4, "deadline exceeded");
    }

    ck_assert_uint_le(atomic_load(&fake_seen(fake)->pings), 11);
    ck_assert_uint_le(fake_connections(fake), 3);
    stays(fake_connections(fake));
}
END_TEST


/* a process that is stopped for a while */
START_TEST(mux_stopped)
{
    int             i;
    pid_t           pid;
    client_call_t  *call, *large;

    pid = instance_start(8081, "one", NULL);
    gateway_start(CONF(ONE, ON, ""));
    client = client_open(harness_port(8080));
    client_assert(echo_get(client, "s1"), 0, "");
    ck_assert_int_eq(kill(pid, SIGSTOP), 0);

    large = sized_start(client, ECHO, "s1", 3000000);

    for (i = 0; i < 8; i++) {
        call = call_within("400m");
        client_wait(call);
        client_assert(call, 4, "deadline exceeded");
    }

    ck_assert_int_eq(kill(pid, SIGCONT), 0);
    client_assert(echo_get(client, "s1"), 0, "");
    client_wait(large);
    mux_start(&mux, client, "s1", OPEN);
    mux_all_ok(&mux);
}
END_TEST


/* Calls whose connection takes no bytes any more */

#define OTHER      "/my_service.MyServiceAPI/Other"
#define LARGE      6000000
#define IMPATIENT                                                             \
    PASS("")                                                                  \
    "        location = " OTHER " {\n"                                        \
    "            grpc_read_timeout 1s;\n"                                     \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"

static atomic_bool  goes_on;
static atomic_uint  others;


/* the fake reads nothing while this runs */
static void
answer_later(fake_call_t *call)
{
    long long  since;

    if (strcmp(call->path, OTHER) == 0) {
        atomic_fetch_add(&others, 1);
        return;
    }

    since = harness_now();

    while (call->number > 1 && !atomic_load(&goes_on)) {
        harness_pause(since, "the test");
    }

    fake_ok(call);
}


static void
give_all(fake_conn_t *conn)
{
    fake_window_update(conn, 0, 0x40000000);
}


/* its header is queued when it fails: it will be written, and may run */
START_TEST(mux_queued)
{
    int             i;
    char            once[80];
    client_call_t  *call;

    const client_header_t  headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { "session-id", "s1" },
        { NULL, NULL }
    };

    fake = fake_start(8081, "one", answer_later);
    fake_setting(fake, INITIAL_WINDOW_SIZE, 0x40000000);
    gateway_start(CONF_WITH("1", UPSTREAM("u", ONE, ON), IMPATIENT));
    client = client_open(harness_port(8080));
    client_assert(echo_get(client, "s1"), 0, "");
    fake_early(fake);
    fake_tell(fake, give_all);

    for (i = 0; i < 4; i++) {
        mux.calls[mux.n++] = sized_start(client, ECHO, "s1", LARGE);
    }

    client_await_still();
    call = client_request(client, OTHER, headers, NULL, 0, false);
    client_wait(call);
    client_assert(call, 4, "deadline exceeded");

    atomic_store(&goes_on, true);
    mux_all_ok(&mux);
    client_assert(echo_get(client, "s1"), 0, "");
    ck_assert_uint_eq(atomic_load(&others), 1);
    (void) sprintf(once, "grpc=4 upstream=\"127.0.0.1:%d\"",
                   harness_port(8081));
    gateway_await_access(once);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("mux_failure");

    harness_add_loop(suite, mux_dies, DEATHS);
    harness_add_loop(suite, mux_dies_listed, DEATHS);
    harness_add_loop(suite, mux_dies_resumed, 3);
    harness_add(suite, mux_dies_logged);
    harness_add(suite, mux_instance_dies);
    harness_add(suite, mux_instance_dies_not_listed);
    harness_add(suite, mux_connect_refused);
    harness_add(suite, mux_nobody);
    harness_add(suite, mux_goaway);
    harness_add(suite, mux_goaway_later);
    harness_add(suite, mux_idle_ends);
    harness_add(suite, mux_reset);
    harness_add(suite, mux_refused);
    harness_add(suite, mux_hangs);
    harness_add(suite, mux_slow_calls);
    harness_add(suite, mux_stopped);
    harness_add(suite, mux_queued);

    return harness_run(suite, argv[0]);
}
