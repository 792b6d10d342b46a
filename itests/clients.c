/*
 * Several clients at once: connections, calls in parallel, and checks that
 * tokens and instances differ.
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "itests/client.h"


typedef struct {
    pthread_t        thread;
    client_t        *client;
    client_call_pt   call;
    outcome_t       *outcome;
} parallel_t;


static void *parallel_run(void *data);


void
clients_parallel(client_t *clients, size_t n, client_call_pt call,
    outcome_t *outcomes)
{
    size_t       i;
    parallel_t  *runs;

    runs = calloc(n, sizeof(parallel_t));
    if (runs == NULL) {
        abort();
    }

    for (i = 0; i < n; i++) {
        runs[i].client = &clients[i];
        runs[i].call = call;
        runs[i].outcome = &outcomes[i];

        if (pthread_create(&runs[i].thread, NULL, parallel_run, &runs[i])
            != 0)
        {
            abort();
        }
    }

    for (i = 0; i < n; i++) {
        pthread_join(runs[i].thread, NULL);
    }

    free(runs);
}


int
clients_open(client_t *clients, size_t n, test_t *test, const char *label)
{
    char    name[32], full[64];
    size_t  i;

    memset(clients, 0, n * sizeof(client_t));

    for (i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "client %zu", i + 1);
        snprintf(full, sizeof(full), "%s%zu", label, i + 1);

        if (client_open(&clients[i], test, name, full) == -1) {
            return -1;
        }
    }

    return 0;
}


void
clients_close(client_t *clients, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        client_close(&clients[i]);
    }
}


bool
clients_login(client_t *clients, size_t n)
{
    bool        ok;
    size_t      i, j;
    outcome_t  *outcomes;

    ok = true;

    outcomes = calloc(n, sizeof(outcome_t));
    if (outcomes == NULL) {
        abort();
    }

    clients_parallel(clients, n, login_outcome, outcomes);

    for (i = 0; i < n; i++) {
        ok &= expect_login(&clients[i], &outcomes[i]);
    }

    free(outcomes);

    for (i = 0; ok && i < n; i++) {
        for (j = 0; j < i; j++) {
            ok &= check(clients[i].test,
                        strcmp(clients[i].token, clients[j].token) != 0,
                        "the tokens of %s and %s differ", clients[j].name,
                        clients[i].name);
        }
    }

    return ok;
}


bool
clients_differ(const client_t *clients, size_t i)
{
    bool    ok;
    size_t  j;

    ok = true;

    for (j = 0; j < i; j++) {
        if (clients[j].pod[0] == '\0') {
            continue;
        }

        ok &= check(clients[i].test,
                    strcmp(clients[i].pod, clients[j].pod) != 0,
                    "pod_name of %s and %s differ: got \"%s\" and \"%s\"",
                    clients[j].name, clients[i].name, clients[j].pod,
                    clients[i].pod);
    }

    return ok;
}


static void *
parallel_run(void *data)
{
    parallel_t  *run = data;

    *run->outcome = run->call(run->client);

    return NULL;
}
