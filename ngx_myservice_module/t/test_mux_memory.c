/*
 * myservice_multiplex on a worker that gets no more memory: calls may fail, the
 * worker goes on, and later ones are well.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "gateway.h"
#include "mux.h"
#include "sized.h"


#define CLIENTS  8
#define OPEN     32
#define ROUNDS   4
#define SIZE     30000


static fake_t  *fake;
static pid_t    worker;


/* The worker's address space may grow by so many bytes, -1: by any number. */
static void
may_grow(long long bytes)
{
    char            path[64];
    FILE           *f;
    unsigned long   pages;
    struct rlimit   limit;

    snprintf(path, sizeof(path), "/proc/%d/statm", (int) worker);
    f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fscanf(f, "%lu", &pages), 1);
    fclose(f);

    ck_assert_int_eq(prlimit(worker, RLIMIT_AS, NULL, &limit), 0);
    limit.rlim_cur = bytes == -1 ? limit.rlim_max
                                 : pages * 4096 + (rlim_t) bytes;
    ck_assert_int_eq(prlimit(worker, RLIMIT_AS, &limit, NULL), 0);
}


/* Returns how many have not ended well within "ms".  nginx forgets some of them
 * for lack of memory. */
static unsigned
many_calls(long long ms)
{
    int             i, k;
    unsigned        failed;
    long long       since;
    client_t       *clients[CLIENTS];
    client_call_t  *calls[CLIENTS * OPEN];

    for (i = 0; i < CLIENTS; i++) {
        clients[i] = client_open(harness_port(8080));

        for (k = 0; k < OPEN; k++) {
            calls[i * OPEN + k] = sized_start(clients[i], ECHO, "s1", SIZE);
        }
    }

    since = harness_now();
    failed = 0;

    for (i = 0; i < CLIENTS * OPEN; i++) {

        while (!calls[i]->done && !client_gone(calls[i]->client)
               && harness_now() - since < ms)
        {
            client_poll(5);
        }

        failed += !calls[i]->done || calls[i]->grpc != 0;
    }

    for (i = 0; i < CLIENTS; i++) {
        client_close(clients[i]);
    }

    return failed;
}


START_TEST(mux_memory)
{
    pid_t     pid;
    unsigned  round, failed;

    static const long long  steps[ROUNDS] = { 0, 1 << 18, 1 << 20, 1 << 22 };

    /* a sanitizer needs address space, and ends a process without */

    if (getenv("NGINX_BINARY") != NULL) {
        return;
    }

    gateway_allow("Cannot allocate memory");
    fake = fake_start(8081, "one", fake_ok);
    fake_credit(fake, FAKE_CREDIT_ALL);
    gateway_start(CONF(ONE, ON, ""));
    ck_assert_uint_eq(gateway_workers(&worker, 1), 1);
    client_assert(echo_once("s1"), 0, "");
    failed = 0;

    for (round = 0; round < ROUNDS; round++) {
        may_grow(steps[round]);
        failed += many_calls(2000);
        may_grow(-1);

        ck_assert_uint_eq(many_calls(HARNESS_DEADLINE), 0);
        mux_await_open(fake, 4);
    }

    ck_assert_uint_gt(failed, 0);
    ck_assert_uint_eq(gateway_workers(&pid, 1), 1);
    ck_assert_int_eq(pid, worker);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("mux_memory");

    harness_add(suite, mux_memory);

    return harness_run(suite, argv[0]);
}
