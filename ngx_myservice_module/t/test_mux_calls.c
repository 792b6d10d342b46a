/*
 * myservice_multiplex and calls: many on one connection, in any order,
 * cancelled, with large headers, from several workers and upstreams.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_conn.h"
#include "gateway.h"
#include "instance.h"
#include "mux.h"
#include "sized.h"
#include "token.h"


#define MANY  64


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


START_TEST(mux_many)
{
    int      round;
    fake_t  *fake;

    fake = start(CONF(ONE, ON, ""));

    for (round = 0; round < 3; round++) {
        mux_start(&mux, client, "s1", MANY);
        mux_await_held(fake, MANY);
        fake_release(fake, fake_ok);
        mux_all_ok(&mux);
    }

    ck_assert_uint_eq(fake_connections(fake), 1);
    ck_assert_uint_eq(atomic_load(&fake_seen(fake)->streams), MANY);
}
END_TEST


/* without it each call takes a connection: the tests can tell */
START_TEST(mux_off)
{
    fake_t  *fake;

    fake = start(CONF(ONE, "", ""));
    mux_start(&mux, client, "s1", 8);
    mux_await_held(fake, 8);
    fake_release(fake, fake_ok);
    mux_all_ok(&mux);
    ck_assert_uint_eq(fake_connections(fake), 8);
}
END_TEST


/* what comes in one turn of the worker leaves in one write */
START_TEST(mux_one_write)
{
    fake_t         *fake;
    unsigned long   writes;

    fake = start(CONF(ONE, ON, ""));
    mux_start(&mux, client, "s1", 1);
    mux_await_held(fake, 1);
    fake_release(fake, fake_ok);
    mux_all_ok(&mux);
    client_await_still();

    writes = gateway_writes();
    gateway_freeze(true);
    mux_start(&mux, client, "s1", MANY);
    client_poll(0);
    gateway_freeze(false);
    mux_await_held(fake, MANY);
    writes = gateway_writes() - writes;
    ck_assert_msg(writes <= 4, "%lu writes for %d calls", writes, MANY);

    fake_release(fake, fake_ok);
    mux_all_ok(&mux);
}
END_TEST


static bool  odd;


/* every other one, the youngest of them last */
static void
answer_some(fake_call_t *call)
{
    odd = !odd;

    if (odd) {
        fake_ok(call);

    } else {
        fake_hold(call);
    }
}


/* each answer comes to the call that it is for */
START_TEST(mux_any_order)
{
    int       i;
    char      session[3][8];
    fake_t   *fakes[3];
    size_t    k;

    for (i = 0; i < 3; i++) {
        snprintf(session[i], sizeof(session[i]), "s%d", i);
        fakes[i] = fake_start(8081 + i, session[i], fake_hold);
    }

    gateway_start(CONF(THREE, ON, ""));
    client = client_open(harness_port(8080));

    for (k = 0; k < 60; k++) {
        mux_start(&mux, client, session[k % 3], 1);
    }

    for (i = 0; i < 3; i++) {
        mux_await_held(fakes[i], 20);
    }

    for (k = 0; k < 8; k++) {
        for (i = 0; i < 3; i++) {
            fake_release(fakes[i], answer_some);
        }
    }

    for (i = 0; i < 3; i++) {
        fake_release(fakes[i], fake_ok);
        ck_assert_uint_eq(fake_connections(fakes[i]), 1);
    }

    for (k = 3; k < 60; k++) {
        client_wait(mux.calls[k]);
        client_assert(mux.calls[k], 0, "");
        client_wait(mux.calls[k - 3]);
        ck_assert_str_ne(client_pod(mux.calls[k], 0), "");
        snprintf(session[0], sizeof(session[0]), "%s",
                 client_pod(mux.calls[k], 0));
        ck_assert_str_eq(client_pod(mux.calls[k - 3], 0), session[0]);
    }
}
END_TEST


/* HEADERS and CONTINUATION of a call come without a frame between them */
START_TEST(mux_long_headers)
{
    int               i;
    char             *value;
    fake_t           *fake;
    client_header_t   headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { "session-id", "s1" },
        { "x-long", NULL },
        { "x-longer", NULL },
        { NULL, NULL }
    };

    value = malloc(12001);
    ck_assert_ptr_nonnull(value);
    memset(value, '~', 12000);
    value[12000] = '\0';
    headers[3].value = value;
    headers[4].value = value;

    fake = start(CONF(ONE, ON, ""));

    for (i = 0; i < 8; i++) {
        mux.calls[mux.n++] = client_request(client, ECHO, headers,
                                            "\0\0\0\0\0", 5, false);
    }

    mux_await_held(fake, 8);
    ck_assert_uint_ge(atomic_load(&fake_seen(fake)->continuations), 8);
    ck_assert_ptr_nonnull(strstr(fake_metadata(fake), value));
    fake_release(fake, fake_ok);
    mux_all_ok(&mux);
    ck_assert_uint_eq(fake_connections(fake), 1);
    free(value);
}
END_TEST


static void
begin_block(fake_call_t *call)
{
    static const char *const  fields[][2] = {
        { ":status", "200" },
        { NULL, NULL }
    };

    fake_block(call, 0, fields);
    fake_hold(call);
}


static void
end_block(fake_call_t *call)
{
    uint8_t  block[64], *p;

    p = fake_field(block, "content-type", "application/grpc");
    fake_frame(call->conn, CONTINUATION, END_HEADERS, call->stream, block,
               (size_t) (p - block));
    fake_message(call, 0);
    fake_trailers(call, 0, "");
}


/* the grpc module learns of a window, but not in the header of an answer */
START_TEST(mux_long_answer)
{
    int             i;
    fake_t         *fake;
    client_call_t  *call;

    static const char             zeros[10000];
    static const client_header_t  headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { "session-id", "s1" },
        { NULL, NULL }
    };

    fake = start(CONF(ONE, ON, ""));
    fake_early(fake);
    call = client_request(client, ECHO, headers, zeros, 5, true);
    mux_await_held(fake, 1);
    fake_release(fake, begin_block);

    for (i = 0; i < 5; i++) {
        client_send(call, zeros, sizeof(zeros), i == 4);
        client_await_still();
    }

    fake_release(fake, end_block);
    client_wait(call);
    client_assert(call, 0, "");
}
END_TEST


START_TEST(mux_bytewise)
{
    fake_t  *fake;

    fake = start(CONF(ONE, ON, ""));
    fake_bytewise(fake);
    mux_start(&mux, client, "s1", 8);
    mux_await_held(fake, 8);
    fake_release(fake, fake_ok);
    mux_all_ok(&mux);
    ck_assert_uint_eq(fake_connections(fake), 1);
}
END_TEST


static void
answer_headers(fake_call_t *call)
{
    fake_headers(call);
    fake_hold(call);
}


static void
answer_message(fake_call_t *call)
{
    fake_message(call, 0);
    fake_hold(call);
}


static void
answer_trailers(fake_call_t *call)
{
    fake_trailers(call, 0, "");
}


/* the parts of all answers are mixed */
START_TEST(mux_mixed)
{
    fake_t  *fake;

    fake = start(CONF(ONE, ON, ""));
    mux_start(&mux, client, "s1", MANY);
    mux_await_held(fake, MANY);
    fake_release(fake, answer_headers);
    fake_release(fake, answer_message);
    fake_release(fake, answer_trailers);
    mux_all_ok(&mux);
}
END_TEST


START_TEST(mux_ping)
{
    unsigned  i;
    fake_t   *fake;

    fake = start(CONF(ONE, ON, ""));

    for (i = 1; i < 4; i++) {
        mux_start(&mux, client, "s1", 1);
        mux_await_held(fake, 1);
        fake_tell(fake, fake_ping);
        mux_await(&fake_seen(fake)->pongs, 2 * i - 1);
        fake_release(fake, fake_ok);
        mux_all_ok(&mux);
        fake_tell(fake, fake_ping);
        mux_await(&fake_seen(fake)->pongs, 2 * i);
    }

    ck_assert_uint_eq(fake_connections(fake), 1);
}
END_TEST


/* the instance hears of it, and what it answers all the same is dropped */
START_TEST(mux_cancel)
{
    size_t   i;
    fake_t  *fake;

    fake = start(CONF(ONE, ON, ""));
    mux_start(&mux, client, "s1", 32);
    mux_await_held(fake, 32);

    for (i = 0; i < 16; i++) {
        client_cancel(mux.calls[2 * i]);
    }

    mux_await(&fake_seen(fake)->cancels, 16);
    fake_release(fake, fake_ok);

    for (i = 0; i < 16; i++) {
        mux.calls[i] = mux.calls[2 * i + 1];
    }

    mux.n = 16;
    mux_all_ok(&mux);
    ck_assert_uint_eq(atomic_load(&fake_seen(fake)->resets), 16);

    mux_start(&mux, client, "s1", 32);
    mux_await_held(fake, 32);
    fake_release(fake, fake_ok);
    mux_all_ok(&mux);
    ck_assert_uint_eq(fake_connections(fake), 1);
}
END_TEST


START_TEST(mux_disconnect)
{
    fake_t    *fake;
    client_t  *other;

    fake = start(CONF(ONE, ON, ""));
    other = client_open(harness_port(8080));
    mux_start(&mux, other, "s1", 32);
    mux_await_held(fake, 32);
    client_close(other);
    mux.n = 0;
    mux_await(&fake_seen(fake)->cancels, 32);
    fake_release(fake, fake_ok);

    mux_start(&mux, client, "s1", 32);
    mux_await_held(fake, 32);
    fake_release(fake, fake_ok);
    mux_all_ok(&mux);
    ck_assert_uint_eq(fake_connections(fake), 1);
}
END_TEST


/* calls in flight end where they are, and the old worker ends after them */
START_TEST(mux_reload)
{
    fake_t    *fake;
    client_t  *old;

    fake = start(CONF(ONE, ON, ""));
    old = client;
    mux_start(&mux, old, "s1", 32);
    mux_await_held(fake, 32);
    gateway_reload(NULL);

    client = client_open(harness_port(8080));
    mux_start(&mux, client, "s1", 32);
    mux_await_held(fake, 64);
    fake_release(fake, fake_ok);
    mux_all_ok(&mux);
    ck_assert_uint_eq(fake_connections(fake), 2);

    gateway_await_workers(1);
    mux_await_open(fake, 1);
}
END_TEST


/* connections without a call do not keep a worker */
START_TEST(mux_reload_idle)
{
    fake_t  *fake;

    fake = start(CONF(ONE, ON, ""));
    mux_start(&mux, client, "s1", 2);
    mux_await_held(fake, 2);
    fake_release(fake, fake_ok);
    mux_all_ok(&mux);
    gateway_reload(NULL);
    gateway_await_workers(1);
    mux_await_open(fake, 0);
}
END_TEST


START_TEST(mux_stop)
{
    fake_t  *fake;

    fake = start(CONF(ONE, ON, ""));
    mux_start(&mux, client, "s1", 32);
    mux_await_held(fake, 32);
    gateway_stop();
    mux_await_open(fake, 0);
}
END_TEST


/* large messages both ways at once, many of them */
START_TEST(mux_large)
{
    int             i, round;
    client_call_t  *calls[12];

    (void) instance_start(8081, "one", NULL);
    gateway_start(CONF(ONE, ON, ""));
    client = client_open(harness_port(8080));

    for (round = 0; round < 2; round++) {
        for (i = 0; i < 12; i++) {
            calls[i] = sized_start(client, ECHO, "s1",
                                   (size_t) i * i * i * 1000);
        }

        for (i = 0; i < 12; i++) {
            client_wait(calls[i]);
            sized_ok(calls[i], (size_t) i * i * i * 1000);
        }
    }
}
END_TEST


START_TEST(mux_streams)
{
    int             i;
    client_call_t  *calls[100];

    (void) instance_start(8081, "one", "--subscribe-interval 2ms");
    gateway_start(CONF(ONE, ON, ""));
    client = client_open(harness_port(8080));

    for (i = 0; i < 100; i++) {
        calls[i] = sized_start(client, SUBSCRIBE, "s1", (size_t) i * 40);
    }

    for (i = 0; i < 100; i++) {
        client_wait_messages(calls[i], 20);
        (void) sized_check(calls[i], (size_t) i * 40);
        ck_assert(!calls[i]->done);

        if (i % 2) {
            client_cancel(calls[i]);
        }
    }

    for (i = 0; i < 100; i += 2) {
        client_wait_messages(calls[i], client_messages(calls[i]) + 5);
        (void) sized_check(calls[i], (size_t) i * 40);
    }
}
END_TEST


/* several upstream blocks with one address */
START_TEST(mux_same_address)
{
    fake_t  *fake;

    fake = start(CONF_WITH("1",
        UPSTREAM("u", ONE, ON) UPSTREAM("v", ONE, ON)
        "upstream w { server 127.0.0.1:8081; " ON " }\n",
        PASS("") "location /my_service.MyServiceAPI/MyServiceSubscribe {\n"
        "grpc_pass grpc://v; }\n"
        "location /w { grpc_pass grpc://w; }\n"));

    mux_start(&mux, client, "s1", 20);
    mux.calls[mux.n++] = client_grpc(client, SUBSCRIBE, NULL, "s2", "", 0);
    mux.calls[mux.n++] = client_grpc(client, "/w/x", NULL, NULL, "", 0);
    mux_await_held(fake, 22);
    fake_release(fake, fake_ok);
    mux_all_ok(&mux);
    ck_assert_uint_le(fake_connections(fake), 3);
}
END_TEST


/* each worker has a connection of its own */
START_TEST(mux_workers)
{
    int        i;
    fake_t    *fake;
    client_t  *clients[16];

    fake = start(CONF_WITH("4", UPSTREAM("u", ONE, ON), PASS("")));

    for (i = 0; i < 16; i++) {
        clients[i] = client_open(harness_port(8080));
        mux_start(&mux, clients[i], "s1", 8);
    }

    mux_await_held(fake, 128);
    ck_assert_uint_le(fake_connections(fake), 8);
    fake_release(fake, fake_ok);
    mux_all_ok(&mux);
}
END_TEST


static int  answer_way;


static uint8_t *
answer_frame(uint8_t *p, uint8_t type, uint8_t flags, uint32_t stream,
    const char *payload, size_t len)
{
    (void) fake_u32(p, (uint32_t) len << 8);
    p[3] = type;
    p[4] = flags;
    p = fake_u32(p + 5, stream);
    memcpy(p, payload, len);

    return p + len;
}


/* in one piece, as an instance does that answers many calls at once */
static void
answer_headers_first(fake_conn_t *conn)
{
    uint32_t     id;
    uint8_t      bytes[1024], *p;
    fake_call_t  call = { .conn = conn };

    static const char  header[] = "\x88\0\x0c" "content-type"
                                  "\x10" "application/grpc";
    static const char  trailers[] = "\0\x0b" "grpc-status" "\1" "0";

    p = bytes;

    for (id = 1; id <= 7; id += 2) {
        p = answer_frame(p, HEADERS, END_HEADERS, id, header,
                         sizeof(header) - 1);
    }

    if (answer_way == 1) {
        p = answer_frame(p, RST_STREAM, 0, 3, "\0\0\0\2", 4);
        p = answer_frame(p, GOAWAY, 0, 0, "\0\0\0\7\0\0\0\0", 8);
    }

    if (answer_way == 2) {
        p = answer_frame(p, PING, 0, 3, "12345678", 8);
    }

    for (id = 1; id <= 7; id += 2) {

        if (answer_way == 1 && id == 3) {
            continue;
        }

        p = answer_frame(p, DATA, 0, id, "\0\0\0\0\0", 5);
        p = answer_frame(p, HEADERS, END_HEADERS|END_STREAM, id, trailers,
                         sizeof(trailers) - 1);
    }

    fake_bytes(&call, bytes, (size_t) (p - bytes));
}


static void
answered(fake_call_t *call)
{
    (void) call;
}


/* Headers wait for the rest of their answers, but not longer than that can
 * come: it may be the end of the call, or of the connection. */
START_TEST(mux_headers_first)
{
    size_t   i, failed;
    fake_t  *fake;

    static const size_t  ends[] = { 0, 1, 4 };

    answer_way = _i;
    fake = start(CONF(ONE, ON, ""));
    mux_start(&mux, client, "s1", 4);
    mux_await_held(fake, 4);
    fake_tell(fake, answer_headers_first);

    failed = 0;

    for (i = 0; i < mux.n; i++) {
        client_wait(mux.calls[i]);
        ck_assert_int_eq(mux.calls[i]->http, 200);

        if (mux.calls[i]->grpc != 0) {
            failed++;
            ck_assert_uint_eq(mux.calls[i]->len, 0);

        } else {
            client_assert(mux.calls[i], 0, "");
            ck_assert_uint_eq(mux.calls[i]->len, 5);
        }
    }

    ck_assert_uint_eq(failed, ends[_i]);

    fake_release(fake, answered);
    ck_assert_uint_eq(fake_requests(fake), 4);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("mux_calls");

    harness_add(suite, mux_many);
    harness_add(suite, mux_off);
    harness_add(suite, mux_one_write);
    harness_add(suite, mux_any_order);
    harness_add(suite, mux_long_headers);
    harness_add(suite, mux_long_answer);
    harness_add(suite, mux_bytewise);
    harness_add(suite, mux_mixed);
    harness_add(suite, mux_ping);
    harness_add(suite, mux_cancel);
    harness_add(suite, mux_disconnect);
    harness_add(suite, mux_reload);
    harness_add(suite, mux_reload_idle);
    harness_add(suite, mux_stop);
    harness_add(suite, mux_large);
    harness_add(suite, mux_streams);
    harness_add(suite, mux_same_address);
    harness_add(suite, mux_workers);
    harness_add_loop(suite, mux_headers_first, 3);

    return harness_run(suite, argv[0]);
}
