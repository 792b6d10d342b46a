/*
 * First calls of sessions on an instance that closes or refuses all of them:
 * the gateway tries other instances, and does not call this one down.
 */

#include <stdatomic.h>
#include <stdlib.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "retry.h"


#define BAD  TWO "server 127.0.0.1:8083;\n"


/* The fake that gets the first request always answers as "always" says. */

static _Atomic(fake_t *)  broken;
static fault_t            always;
static atomic_uint        tried;


static void
one_is_broken(fake_call_t *call)
{
    fake_t  *none;

    none = NULL;
    (void) atomic_compare_exchange_strong(&broken, &none, call->fake);

    if (call->fake != atomic_load(&broken)) {
        fake_ok(call);
        return;
    }

    atomic_fetch_add(&tried, 1);

    if (always == GO_AWAY) {
        fake_goaway(call);

    } else {
        if (always == CLOSE_AFTER_HEADERS) {
            fake_headers(call);
        }

        fake_close(call);
    }
}


static void
start_broken(fault_t fault, const char *conf)
{
    int  i;

    always = fault;

    for (i = 8081; i <= 8083; i++) {
        (void) fake_start(i, "f", one_is_broken);
    }

    gateway_start(conf);
}


/* A first call that cannot be repeated at the instance goes elsewhere, and so
 * do the next sessions. The instance is not down: it serves when no other
 * instance is free. */
static void
first_call_moves(fault_t fault, const char *conf)
{
    start_broken(fault, conf);
    client_assert(echo_once("s1"), 0, "");
    ck_assert_uint_le(atomic_load(&tried), 3);
    client_assert(echo_once("s1"), 0, "");
    client_assert(echo_once("s2"), 0, "");
    ck_assert_uint_le(atomic_load(&tried), 3);
    ck_assert(!gateway_logged("instance failed"));

    client_assert_refused(echo_once("s3"), 14, UNAVAILABLE);
    ck_assert_uint_le(atomic_load(&tried), 6);
}


START_TEST(retry_first_call_listed)
{
    first_call_moves(CLOSE, CONF(BAD, RETRY_ECHO));
}
END_TEST


START_TEST(retry_first_call_goaway)
{
    first_call_moves(GO_AWAY, CONF(BAD, ""));
}
END_TEST


/* a call that may have run is not sent again, but the client may send it
 * again */
static void
next_call_moves(fault_t fault)
{
    start_broken(fault, CONF(BAD, ""));
    client_assert(echo_once("s1"), 14, UNAVAILABLE);
    ck_assert_uint_eq(atomic_load(&tried), 1);
    client_assert(echo_once("s1"), 0, "");
    client_assert(echo_once("s2"), 0, "");
    ck_assert_uint_eq(atomic_load(&tried), 1);
    ck_assert(!gateway_logged("instance failed"));
}


START_TEST(retry_first_call_died)
{
    next_call_moves(CLOSE);
}
END_TEST


START_TEST(retry_first_call_broke)
{
    next_call_moves(CLOSE_AFTER_HEADERS);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("retry of first calls");

    harness_add(suite, retry_first_call_listed);
    harness_add(suite, retry_first_call_goaway);
    harness_add(suite, retry_first_call_died);
    harness_add(suite, retry_first_call_broke);

    return harness_run(suite, argv[0]);
}
