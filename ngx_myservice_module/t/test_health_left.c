/* An instance reports how long it keeps its session: "session-left". */

#include <stdatomic.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "status.h"


#define CONF(interval, ttl)                                                   \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m ttl=" ttl ";\n"  \
    "        myservice_health interval=" interval ";\n"                       \
    "        server 127.0.0.1:8081;\n"                                        \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "    }\n"                                                                 \
    STATUS_SERVER                                                             \
    "}\n"

#define NEVER  "1d"
#define BUSY   "all instances are busy"


/* what the instance reports of "s1", and when the first probe comes */
static const char        *_Atomic left;
static _Atomic long long  checked;


static void
serve(fake_call_t *call)
{
    long long  never = 0;

    if (strcmp(call->path, "/grpc.health.v1.Health/Check") != 0) {
        fake_ok(call);
        return;
    }

    (void) atomic_compare_exchange_strong(&checked, &never, harness_now());

    call->more[0][0] = "session-calls";
    call->more[0][1] = "0";

    if (atomic_load(&left) != NULL) {
        call->more[1][0] = "session-id";
        call->more[1][1] = "s1";
        call->more[2][0] = "session-left";
        call->more[2][1] = atomic_load(&left);
    }

    fake_health(call, 1);
}


/* a lease that only the instance knew of ends with its session, a second
 * later, not with the idle time of this gateway */
START_TEST(left_of_learned)
{
    atomic_store(&left, "4000");
    (void) fake_start(8081, "one", serve);
    gateway_start(CONF(NEVER, "30m"));

    status_await(status_member("127.0.0.1", 8081, "leased"));
    ck_assert(status_has("\"session\":\"s1\""));

    status_await(status_member("127.0.0.1", 8081, "free"));
    harness_lasted(atomic_load(&checked), 5000);

    client_assert(echo_once("s2"), 0, "");
}
END_TEST


/* a value that is no number has no effect */
START_TEST(left_bad)
{
    size_t  i;

    static const char *const  values[] = { "", "0", "-1", "1500x", "1e3" };

    (void) fake_start(8081, "one", serve);

    for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        atomic_store(&left, values[i]);
        gateway_start(CONF(NEVER, "30m"));
        status_await(status_member("127.0.0.1", 8081, "leased"));

        /* of half an hour and an eighth */
        ck_assert(status_has("\"remaining_ms\":20"));
        gateway_stop();
    }
}
END_TEST


/* another gateway used the instance: the lease lasts as long as the instance
 * says, not longer */
START_TEST(left_of_own)
{
    long long  since;

    atomic_store(&left, "60000");
    (void) fake_start(8081, "one", serve);
    gateway_start(CONF("200ms", "1s"));
    client_assert(echo_once("s1"), 0, "");
    since = harness_now();

    while (harness_now() - since < 2500) {
        ck_assert(status_has("\"state\":\"leased\""));
        harness_pause(since, "time");
    }

    client_assert_refused(echo_once("s2"), 8, BUSY);

    atomic_store(&left, NULL);
    status_await(status_member("127.0.0.1", 8081, "free"));
    client_assert(echo_once("s2"), 0, "");
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("health_left");

    harness_add(suite, left_of_learned);
    harness_add(suite, left_bad);
    harness_add(suite, left_of_own);

    return harness_run(suite, argv[0]);
}
