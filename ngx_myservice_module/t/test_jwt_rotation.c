/*
 * Rotations of keys that are read from files: workers that start later, calls
 * meanwhile, and how soon a retired key is refused.
 */

#include <stdio.h>
#include <string.h>

#include "client.h"
#include "gateway.h"
#include "harness.h"
#include "keyed.h"
#include "token.h"


/* a new worker does not start with keys that were retired before */
START_TEST(keys_new_worker)
{
    keyed_put("jwks", SET_A);
    keyed_start(KEYED_FILES("", "myservice_jwt_key_check 1d;\n", KEYED_SET));
    client_assert(keyed_call(keyed_token("a", SECRET_A)), 0, "");

    keyed_put("jwks", SET_B);
    client_assert(keyed_call(keyed_token("a", SECRET_A)), 0, "");

    gateway_kill_workers(1);

    keyed_open();
    client_assert_refused(keyed_call(keyed_token("a", SECRET_A)), 16, INVALID);
    client_assert(keyed_call(keyed_token("b", SECRET_B)), 0, "");
}
END_TEST


/* nor with the old keys when it cannot know the new ones; the keys of other
 * files stay */
START_TEST(keys_new_worker_without)
{
    keyed_put("jwks", SET_A);
    keyed_put("witness", SECRET_B);
    keyed_start(KEYED_WITNESSED);
    client_assert(keyed_call(keyed_token("a", SECRET_A)), 0, "");

    keyed_put("jwks", SET_B);
    keyed_await(keyed_token("b", SECRET_B), 0);
    keyed_await(keyed_token("a", SECRET_A), 16);
    ck_assert_int_eq(remove(harness_path("jwks")), 0);

    gateway_kill_workers(1);

    keyed_open();
    client_assert_refused(keyed_call(keyed_token("a", SECRET_A)), 14,
                          "service unavailable");
    client_assert(keyed_call(keyed_token(NULL, SECRET_B)), 0, "");
    ck_assert_uint_eq(keyed_logged("this new worker has no keys of it", NULL),
                      1);

    keyed_put("jwks", SET_B);
    keyed_await(keyed_token("a", SECRET_A), 16);
    client_assert(keyed_call(keyed_token("b", SECRET_B)), 0, "");
}
END_TEST


/* the loaded keys are good as long as no worker has newer ones */
START_TEST(keys_new_worker_loaded)
{
    keyed_put("jwks", SET_A);
    keyed_start(KEYED_FILES("", KEYED_CHECKED, KEYED_SET));
    ck_assert_int_eq(remove(harness_path("jwks")), 0);

    gateway_kill_workers(1);

    keyed_open();
    client_assert(keyed_call(keyed_token("a", SECRET_A)), 0, "");
}
END_TEST


#define CONNECTIONS  8
#define IN_FLIGHT    4                  /* on each */
#define ROTATIONS    5


static client_call_t *
call_on(client_t *client, const char *token)
{
    client_call_t  *call;

    call = client_grpc(client, ECHO, token, "s1", "", 0);
    client_wait(call);

    return call;
}


/* Calls until the workers have read keys "changes" times: none is refused. */
static unsigned
run_load(client_t **clients, const char *text, unsigned changes)
{
    size_t          i, j;
    unsigned        calls;
    client_call_t  *c[CONNECTIONS][IN_FLIGHT];

    calls = 0;

    do {
        for (i = 0; i < CONNECTIONS; i++) {
            for (j = 0; j < IN_FLIGHT; j++) {
                c[i][j] = client_grpc(clients[i], ECHO, text, "s1", "", 0);
            }
        }

        client_wait_all();

        for (i = 0; i < CONNECTIONS; i++) {
            for (j = 0; j < IN_FLIGHT; j++) {
                client_assert(c[i][j], 0, "");
                calls++;
            }
        }

    } while (keyed_logged("has changed", "jwks") < changes);

    return calls;
}


/* Two workers read each set: the old key, both keys, the new one.  The gateway
 * refuses no good token, and no token of a retired key passes once both workers
 * have read the set without it. */
START_TEST(keys_rotation_under_load)
{
    char         kid[2][8];
    size_t       i, n;
    unsigned     calls, changes;
    client_t    *clients[CONNECTIONS];
    const char  *keys[2], *tokens[2];

    strcpy(kid[0], "k0");
    keys[0] = token_jwk(kid[0], SECRET_A);
    tokens[0] = keyed_token(kid[0], SECRET_A);
    keyed_put("jwks", token_set(keys[0], NULL));
    keyed_start(KEYED_FILES("worker_processes 2;\n", KEYED_CHECKED, KEYED_SET));

    for (i = 0; i < CONNECTIONS; i++) {
        clients[i] = client_open(harness_port(8080));
    }

    calls = 0;
    changes = 0;

    for (n = 1; n <= ROTATIONS; n++) {
        snprintf(kid[1], sizeof(kid[1]), "k%zu", n);
        keys[1] = token_jwk(kid[1], n % 2 ? SECRET_B : SECRET_A);
        tokens[1] = keyed_token(kid[1], n % 2 ? SECRET_B : SECRET_A);

        keyed_put("jwks", token_set(keys[0], keys[1]));
        calls += run_load(clients, tokens[0], changes += 2);

        keyed_put("jwks", token_set(keys[1], NULL));
        calls += run_load(clients, tokens[1], changes += 2);

        for (i = 0; i < CONNECTIONS; i++) {
            client_assert_refused(call_on(clients[i], tokens[0]), 16, INVALID);
            client_assert(call_on(clients[i], tokens[1]), 0, "");
        }

        keys[0] = keys[1];
        tokens[0] = tokens[1];
    }

    printf("%u calls in %d rotations, none refused\n", calls, ROTATIONS);
}
END_TEST


/* a retired key is good for one interval at most */
START_TEST(keys_retired_soon)
{
    size_t      i;
    unsigned    prompt;
    long long   since;

    const char  *a = keyed_token("a", SECRET_A);

    keyed_put("jwks", SET_B);
    keyed_start(KEYED_FILES("", KEYED_CHECKED, KEYED_SET));
    prompt = 0;

    /* a machine under load may be late, a missing check always is */
    for (i = 0; prompt < 5; i++) {
        ck_assert_uint_lt(i, 30);
        keyed_put("jwks", SET_AB);
        keyed_await(a, 0);
        keyed_put("jwks", SET_B);
        since = harness_now();
        keyed_await(a, 16);
        prompt += harness_now() - since <= 2 * KEYED_CHECK;
    }
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("jwt rotation");

    harness_add(suite, keys_new_worker);
    harness_add(suite, keys_new_worker_without);
    harness_add(suite, keys_new_worker_loaded);
    harness_add(suite, keys_rotation_under_load);
    harness_add(suite, keys_retired_soon);

    return harness_run(suite, argv[0]);
}
