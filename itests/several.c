/*
 * Waits and checks of scenarios of several gateways with one store.
 */

#include "itests/several.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/server.h"


#define INSTANCES     64
#define CONFLICT      "Session conflict"


static bool gateways_try(gateways_t *g, int number, bool refused);
static bool gateways_alone(gateways_t *g, char *text, size_t size);


bool
gateways_all(gateways_t *g, int first, int last, bool refused)
{
    int  i;

    for (i = first; i <= last; i++) {
        if (!gateways_try(g, i, refused)) {
            return false;
        }
    }

    return true;
}


/* Waits until gateway "number" refuses new sessions because of the store, or
 * does not: then there is an instance, or there is none. */

static bool
gateways_try(gateways_t *g, int number, bool refused)
{
    bool       done, open;
    int64_t    end;
    client_t   client;
    outcome_t  outcome;

    end = rpc_now() + check_time_left(g->test, SEVERAL_PATIENCE);
    done = false;
    open = false;

    do {
        if (!open) {
            if (!gateways_new(g, &client, number)) {
                break;
            }

            open = true;
        }

        outcome = call_echo(&client, NULL);

        if (outcome.code == GRPC_STATUS_UNAVAILABLE) {
            done = refused && strcmp(outcome.message, SEVERAL_UNAVAILABLE) == 0;

        } else {
            done = !refused && (outcome.code == GRPC_STATUS_OK
                                || strcmp(outcome.message, SEVERAL_BUSY) == 0);
        }

        if (outcome.code == GRPC_STATUS_OK) {
            g->taken++;
            open = false;
            client_close(&client);
        }

        if (!done && rpc_now() >= end) {
            check_note(g->test, "the last answer: %s \"%s\"",
                       check_code_name(outcome.code), outcome.message);
        }

        outcome_free(&outcome);

        if (!done) {
            check_pace(SEVERAL_POLL);
        }

    } while (!done && rpc_now() < end);

    if (open) {
        client_close(&client);
    }

    return check(g->test, done, "gateway %d %s new sessions", number,
                 refused ? "refuses" : "takes");
}


/* A client of that gateway, logged in. */

bool
gateways_new(gateways_t *g, client_t *client, int number)
{
    char  name[32];

    snprintf(name, sizeof(name), "new session at %d", number);

    if (client_open(client, g->test, name, "new") == -1) {
        return false;
    }

    gateways_to(g, client, number);

    if (!client_login(client)) {
        client_close(client);
        return false;
    }

    return true;
}


void
gateways_to(gateways_t *g, client_t *client, int number)
{
    rpc_client_free(client->rpc);
    client->rpc = client_connect(g->test, g->at.address[number - 1], true);

    if (client->rpc == NULL) {
        abort();
    }
}


/* The store has the leases of the sessions, also when it was empty. */

bool
gateways_leases(gateways_t *g)
{
    long     n;
    int64_t  end;

    end = rpc_now() + check_time_left(g->test, SEVERAL_PATIENCE);

    while ((n = stack_store_leases(g->test)) < SEVERAL_SESSIONS
           && rpc_now() < end)
    {
        check_pace(SEVERAL_POLL);
    }

    return check(g->test, n >= SEVERAL_SESSIONS, "the store has the leases: "
                 "got %ld, want %d", n, SEVERAL_SESSIONS);
}


/* Waits until no session is on two instances. */

bool
gateways_apart(gateways_t *g)
{
    bool     alone;
    char     text[256];
    int64_t  end;

    end = rpc_now() + check_time_left(g->test, SEVERAL_PATIENCE);

    while (!(alone = gateways_alone(g, text, sizeof(text)))
           && rpc_now() < end)
    {
        check_pace(SEVERAL_POLL);
    }

    return check(g->test, alone, "no session is on two instances: %s",
                 alone ? "none" : text);
}


static bool
gateways_alone(gateways_t *g, char *text, size_t size)
{
    int         i, j;
    static char sessions[INSTANCES][128];

    for (i = 0; i < g->instances && i < INSTANCES; i++) {
        if (!stack_session(g->test, i + 1, sessions[i], sizeof(sessions[i]))) {
            snprintf(text, size, "instance %d does not answer", i + 1);
            return false;
        }

        for (j = 0; j < i; j++) {
            if (sessions[i][0] != '\0'
                && strcmp(sessions[i], sessions[j]) == 0)
            {
                snprintf(text, size, "%.127s, %d and %d", sessions[i], j + 1,
                         i + 1);
                return false;
            }
        }
    }

    return true;
}


void
gateways_counts(gateways_t *g, const load_count_t *count)
{
    (void) check(g->test, count->calls > 0, "there were calls");
    (void) gateways_none(g->test, "failed", count->failed);
    (void) gateways_none(g->test, "moved for no reason", count->strayed);
    (void) gateways_none(g->test, "moves", count->moves);

    if (g->forgets) {
        check_note(g->test, "%ld calls of new sessions came to another "
                   "session's instance", stack_count(g->test, CONFLICT));

    } else {
        (void) gateways_none(g->test, "calls that came to another session's "
                             "instance",
                             (uint64_t) stack_count(g->test, CONFLICT));
    }
}


bool
gateways_none(test_t *test, const char *what, uint64_t got)
{
    return check(test, got == 0, "%s: got %llu, want 0", what,
                 (unsigned long long) got);
}
