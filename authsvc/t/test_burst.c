/*
 * Logins at an address that is held: their time does not tell them from failed
 * ones, and many at once do not keep others out.
 */

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "authsvc/login/backoff.h"
#include "authsvc/t/login.h"
#include "authsvc/t/server.h"
#include "authsvc/t/suite.h"
#include "rpc/client.h"
#include "rpc/server.h"


#define ADDRESS   "192.0.2.1"           /* the one that is held */
#define FAILURES  5                     /* --login-failures */
#define TRIES     51
#define FLOOD     40

typedef struct {
    pthread_t      thread;
    rpc_client_t  *client;
    const char    *user;
} guess_t;


static atomic_bool  stop;


/* TestUser is known at the address, and it is held. */
static rpc_client_t *
hold(const char *queue)
{
    int            i;
    char           user[32];
    rpc_client_t  *client;

    server_start("--login-backoff=1h", "--login-backoff-max=1h",
                 "--hash-threads=1", queue);
    client = rpc_client_create(server_target, NULL);
    ck_assert_int_eq(login_code(client, ADDRESS, "TestUser", "TestPassword",
                                NULL), 0);

    for (i = 0; i < FAILURES * BACKOFF_SOFT; i++) {
        snprintf(user, sizeof(user), "user%d", i);
        ck_assert_int_eq(login_code(client, ADDRESS, user, "wrong", NULL), 7);
    }

    ck_assert_ptr_nonnull(process_expect(&server_process,
                                         "address=\"" ADDRESS "\""));

    return client;
}


/* Milliseconds until the refusal. */
static int64_t
refusal(rpc_client_t *client, const char *address, const char *user)
{
    int64_t  start;

    start = rpc_now();
    ck_assert_int_eq(login_code(client, address, user, "wrong", NULL), 7);

    return rpc_now() - start;
}


static int
compare(const void *a, const void *b)
{
    const int64_t  *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}


/* The median of a held login's time, in medians of a failed one's. The tries
 * take turns: others run on this machine, too. */
static double
compared(rpc_client_t *client)
{
    int      i;
    char     user[32], address[32];
    int64_t  held[TRIES], denied[TRIES];

    for (i = 0; i < TRIES; i++) {
        snprintf(user, sizeof(user), "nobody%d", i);
        snprintf(address, sizeof(address), "198.51.100.%d", i);
        held[i] = refusal(client, ADDRESS, user);
        denied[i] = refusal(client, address, user);
    }

    qsort(held, TRIES, sizeof(int64_t), compare);
    qsort(denied, TRIES, sizeof(int64_t), compare);

    return (double) held[TRIES / 2] / (double) denied[TRIES / 2];
}


/* A busy machine gets more rounds; a difference is there in all of them. */
START_TEST(test_time)
{
    int            round;
    double         ratio;
    rpc_client_t  *client;

    client = hold(NULL);
    ratio = 0;

    for (round = 0; ratio < 1 / 1.5 || ratio > 1.5; round++) {
        ck_assert_msg(round < 5, "held logins take %.2f times as long", ratio);
        ratio = compared(client);
    }

    rpc_client_free(client);
    server_stop();
}
END_TEST


static void *
flood(void *data)
{
    guess_t  *g = data;

    do {
        ck_assert_int_eq(login_code(g->client, ADDRESS, g->user, "wrong",
                                    NULL), 7);
    } while (!atomic_load(&stop));

    return NULL;
}


/* Held logins take neither a thread nor a place in the queue. */
START_TEST(test_others)
{
    int            i;
    guess_t        guesses[FLOOD];
    rpc_client_t  *client;

    client = hold("--login-queue=1");
    for (i = 0; i < FAILURES; i++) {
        ck_assert_int_eq(login_code(client, ADDRESS, "TestUser", "wrong",
                                    NULL), 7);
    }
    atomic_init(&stop, false);

    for (i = 0; i < FLOOD; i++) {
        guesses[i].client = client;
        guesses[i].user = i % 2 ? "nobody" : "TestUser";
        ck_assert_int_eq(pthread_create(&guesses[i].thread, NULL, flood,
                                        &guesses[i]), 0);
    }

    for (i = 0; i < 30; i++) {
        ck_assert_int_eq(login_code(client, "192.0.2.2", "TestUser",
                                    "TestPassword", NULL), 0);
    }

    atomic_store(&stop, true);
    for (i = 0; i < FLOOD; i++) {
        pthread_join(guesses[i].thread, NULL);
    }

    rpc_client_free(client);
    server_stop();
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("burst");
    tcase = tcase_create("burst");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, server_setup, server_teardown);
    tcase_add_test(tcase, test_time);
    tcase_add_test(tcase, test_others);
    suite_add_tcase(suite, tcase);

    return suite_run(suite);
}
