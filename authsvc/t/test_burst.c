/*
 * Many logins at once at an address that is held: they do not tell who is
 * known there, and do not keep others out.
 */

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "authsvc/backoff.h"
#include "authsvc/t/server.h"
#include "my_service.pb-c.h"
#include "rpc/client.h"
#include "rpc/server.h"


#define LOGIN     "/my_service.MyServiceAPI/Login"
#define TIMEOUT   20000
#define ADDRESS   "192.0.2.1"           /* the one that is held */
#define FAILURES  5                     /* --login-failures */
#define BURST     4                     /* one more would hold the user */
#define RECENT    16                    /* failures whose time counts */
#define ROUNDS    7
#define FLOOD     40

typedef struct {
    pthread_t      thread;
    rpc_client_t  *client;
    const char    *user;
    int            code;
} guess_t;


static atomic_bool  stop;


static int
login(rpc_client_t *client, const char *address, const char *user,
    const char *password)
{
    int                       code;
    rpc_result_t              result;
    rpc_metadata_t            from = { "x-real-ip", address };
    ProtobufCMessage         *response;
    MyService__LoginRequest   request = MY_SERVICE__LOGIN_REQUEST__INIT;

    request.username = (char *) user;
    request.password = (char *) password;
    request.session_id = (char *) "s";

    response = rpc_client_unary(client, LOGIN, &from, 1, TIMEOUT,
                                &request.base,
                                &my_service__login_response__descriptor,
                                &result);
    if (response != NULL) {
        protobuf_c_message_free_unpacked(response, NULL);
    }

    code = (int) result.code;
    rpc_result_free(&result);

    return code;
}


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
    ck_assert_int_eq(login(client, ADDRESS, "TestUser", "TestPassword"), 0);

    for (i = 0; i < FAILURES * BACKOFF_SOFT; i++) {
        snprintf(user, sizeof(user), "user%d", i);
        ck_assert_int_eq(login(client, ADDRESS, user, "wrong"), 7);
    }

    ck_assert_ptr_nonnull(process_expect(&server_process,
                                         ADDRESS ": it is held"));

    return client;
}


static void *
guess(void *data)
{
    guess_t  *g = data;

    g->code = login(g->client, ADDRESS, g->user, "wrong");

    return NULL;
}


/* Milliseconds until the last answer. */
static int64_t
burst(rpc_client_t *client, const char *user)
{
    int      i;
    guess_t  guesses[BURST];
    int64_t  start;

    start = rpc_now();

    for (i = 0; i < BURST; i++) {
        guesses[i].client = client;
        guesses[i].user = user;
        ck_assert_int_eq(pthread_create(&guesses[i].thread, NULL, guess,
                                        &guesses[i]), 0);
    }
    for (i = 0; i < BURST; i++) {
        pthread_join(guesses[i].thread, NULL);
        ck_assert_int_eq(guesses[i].code, 7);
    }

    return rpc_now() - start;
}


/* How long a hash takes now: others run on this machine, too. */
static void
measure(rpc_client_t *client, int round)
{
    int   i;
    char  user[32], address[32];

    snprintf(address, sizeof(address), "198.51.100.%d", round);

    for (i = 0; i < RECENT; i++) {
        snprintf(user, sizeof(user), "user%d", i);
        ck_assert_int_eq(login(client, address, user, "wrong"), 7);
    }
}


static int
compare(const void *a, const void *b)
{
    const int64_t  *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}


START_TEST(test_known)
{
    int            i;
    char           nobody[32];
    double         ratio;
    int64_t        known[ROUNDS], unknown[ROUNDS];
    rpc_client_t  *client;

    client = hold(NULL);

    for (i = 0; i < ROUNDS; i++) {
        /* forgets his failures */
        ck_assert_int_eq(login(client, ADDRESS, "TestUser", "TestPassword"),
                         0);
        snprintf(nobody, sizeof(nobody), "nobody%d", i);
        measure(client, i);
        unknown[i] = burst(client, nobody);
        known[i] = burst(client, "TestUser");
    }

    qsort(known, ROUNDS, sizeof(int64_t), compare);
    qsort(unknown, ROUNDS, sizeof(int64_t), compare);
    ratio = (double) known[ROUNDS / 2] / (double) unknown[ROUNDS / 2];
    ck_assert_double_lt(ratio, 1.5);
    ck_assert_double_gt(ratio, 1 / 1.5);

    rpc_client_free(client);
    server_stop();
}
END_TEST


static void *
flood(void *data)
{
    guess_t  *g = data;

    do {
        g->code = login(g->client, ADDRESS, g->user, "wrong");
        ck_assert(g->code == 7 || g->code == 8);
    } while (!atomic_load(&stop));

    return NULL;
}


/* What is held leaves half of the queue to others, and all of the threads. */
START_TEST(test_others)
{
    int            i;
    guess_t        guesses[FLOOD];
    rpc_client_t  *client;

    client = hold("--login-queue=8");
    atomic_init(&stop, false);

    for (i = 0; i < FLOOD; i++) {
        guesses[i].client = client;
        guesses[i].user = i % 2 ? "nobody" : "TestUser";
        ck_assert_int_eq(pthread_create(&guesses[i].thread, NULL, flood,
                                        &guesses[i]), 0);
    }

    for (i = 0; i < 30; i++) {
        ck_assert_int_eq(login(client, "192.0.2.2", "TestUser",
                               "TestPassword"), 0);
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
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("burst");
    tcase = tcase_create("burst");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, server_setup, server_teardown);
    tcase_add_test(tcase, test_known);
    tcase_add_test(tcase, test_others);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? 0 : 1;
}
