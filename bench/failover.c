/*
 * failover ADDRESS:PORT SECRET-FILE TRIALS PID...: how long the first call of a
 * session takes after its instance was killed with SIGKILL, the kill included.
 *
 * PID i is the instance whose pod_name is i.  Each trial kills an instance for
 * good: there must be more instances than trials.
 */

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <jansson.h>

#include "bench/histogram.h"
#include "bench/token.h"
#include "my_service.pb-c.h"
#include "rpc/client.h"
#include "rpc/core.h"


#define ECHO      "/my_service.MyServiceAPI/MyServiceEcho"
#define DEADLINE  10000                 /* ms */


static uint64_t
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
}


/* The instance that answered; -1: no instance did. */

static int
call(rpc_client_t *client, const rpc_metadata_t *metadata)
{
    int                       instance;
    rpc_result_t              result;
    MyService__EchoRequest    request = MY_SERVICE__ECHO_REQUEST__INIT;
    MyService__EchoResponse  *answer;

    request.value = (char *) (uintptr_t) "failover";
    instance = -1;

    answer = (MyService__EchoResponse *)
        rpc_client_unary(client, ECHO, metadata, 2, DEADLINE,
                         &request.base, &my_service__echo_response__descriptor,
                         &result);

    if (answer != NULL) {
        instance = atoi(answer->pod_name);
        protobuf_c_message_free_unpacked(&answer->base, NULL);

    } else {
        fprintf(stderr, "failover: %d %s\n", (int) result.code,
                result.message);
    }

    rpc_result_free(&result);

    return instance;
}


static void
report(const histogram_t *times, int failed)
{
    char    *text;
    json_t  *json;

    json = json_pack("{s:I, s:i, s:f, s:f, s:f}",
                     "trials", (json_int_t) times->n, "failed", failed,
                     "p50", (double) histogram_quantile(times, 0.5) / 1000,
                     "p99", (double) histogram_quantile(times, 0.99) / 1000,
                     "max", (double) times->max / 1000);

    text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(6));
    puts(text);
    free(text);
    json_decref(json);
}


int
main(int argc, char **argv)
{
    int                  i, trials, instance, dead, failed;
    char                *secret;
    uint64_t             start;
    rpc_client_t        *client;
    rpc_metadata_t       metadata[2];
    static histogram_t   times;

    if (argc < 5 || atoi(argv[3]) >= argc - 4) {
        fprintf(stderr, "usage: failover ADDRESS:PORT SECRET-FILE TRIALS"
                " PID...\n");
        return 2;
    }

    secret = token_secret(argv[2]);
    if (secret == NULL) {
        fprintf(stderr, "failover: cannot read %s\n", argv[2]);
        return 1;
    }

    trials = atoi(argv[3]);
    metadata[0].key = "session-id";
    metadata[0].value = "failover";
    metadata[1].key = "authorization";
    metadata[1].value = token_make(secret, "failover");

    rpc_core_init();
    client = rpc_client_create(argv[1], NULL);
    instance = call(client, metadata);
    failed = 0;

    for (i = 0; i < trials && instance >= 0 && instance < argc - 4; i++) {
        start = now();
        (void) kill((pid_t) atoi(argv[4 + instance]), SIGKILL);

        dead = instance;
        instance = call(client, metadata);
        histogram_add(&times, now() - start);

        failed += instance < 0 || instance == dead;
    }

    report(&times, failed);
    rpc_client_free(client);

    return failed || times.n < (uint64_t) trials;
}
