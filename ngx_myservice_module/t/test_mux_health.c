/*
 * myservice_multiplex and myservice_health: an instance that ends a connection
 * without calls is probed at once, and the probe says what that means.
 */

#include <stdatomic.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "mux.h"
#include "status.h"


/* no probe but the first is due while the test runs */
#define CHECKED  "myservice_health interval=1h timeout=1s fails=1;\n"


static atomic_uint  probes;


static void
serve(fake_call_t *call)
{
    if (strcmp(call->path, "/grpc.health.v1.Health/Check") == 0) {
        atomic_fetch_add(&probes, 1);
        fake_health(call, 1);
        return;
    }

    fake_ok(call);
}


static fake_t *
begin(void)
{
    fake_t  *fake;

    fake = fake_start(8081, "one", serve);
    gateway_start(CONF(ONE, CHECKED ON, ""));
    mux_await(&probes, 1);
    client_assert(echo_once("s1"), 0, "");

    return fake;
}


START_TEST(mux_health_died)
{
    fake_stop(begin());

    status_await(status_member("127.0.0.1", 8081, "down"));
    ck_assert(gateway_logged("instance is down"));
}
END_TEST


START_TEST(mux_health_lives)
{
    fake_t  *fake;

    fake = begin();

    fake_hang_up(fake, false);
    mux_await(&probes, 2);
    fake_hang_up(fake, true);
    client_assert(echo_once("s1"), 0, "");
    fake_hang_up(fake, true);
    mux_await(&probes, 3);

    client_assert(echo_once("s1"), 0, "");
    ck_assert(!gateway_logged("instance is down"));
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;

    suite = suite_create("mux_health");
    harness_add(suite, mux_health_died);
    harness_add(suite, mux_health_lives);

    return harness_run(suite, argv[0]);
}
