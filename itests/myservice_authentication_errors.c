/*
 * Wrong, forged and expired tokens open no instance, and no refused call takes
 * an instance.
 */

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "itests/client.h"
#include "itests/forge.h"
#include "itests/scenario.h"


#define INSTANCES  3
#define CLIENTS    INSTANCES

/* ms; the difference of clocks that the gateway may allow */
#define LEEWAY  15000

#define INVALID  "missing or invalid token"


static void auth_wrong(client_t *client, const client_t *other);
static void auth_forged(client_t *client, const client_t *other);
static void auth_none_taken(client_t *clients);
static void auth_expired(client_t *client);


void
myservice_authentication_errors(test_t *test)
{
    client_t  clients[CLIENTS];

    if (clients_open(clients, CLIENTS, test, "auth") == 0
        && clients_login(clients, CLIENTS))
    {
        auth_wrong(&clients[0], &clients[1]);
        auth_forged(&clients[0], &clients[1]);

        /* the first tokens may expire soon */

        if (clients_login(clients, CLIENTS)) {
            auth_none_taken(clients);
            auth_expired(&clients[0]);
        }
    }

    clients_close(clients, CLIENTS);
}


static void
auth_wrong(client_t *client, const client_t *other)
{
    size_t         i;
    credentials_t  credentials;

    const struct {
        const char  *what;
        const char  *authorization;
        const char  *session;
        const char  *message;
    } cases[] = {
        { "no token", NULL, client->session, INVALID },
        { "malformed token", "malformed", client->session, INVALID },
        { "token of three empty parts", "..", client->session, INVALID },
        { "no session-id", client->token, NULL, "missing session-id" },
        { "session-id of another token", client->token, other->session,
          "session-id mismatch" },
        { "token of another session", other->token, client->session,
          "session-id mismatch" },
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        credentials.authorization = cases[i].authorization;
        credentials.session = cases[i].session;

        (void) expect_refused(client, &credentials,
                              GRPC_STATUS_UNAUTHENTICATED,
                              cases[i].message, cases[i].what);
    }
}


static void
auth_forged(client_t *client, const client_t *other)
{
    char              what[96], *token;
    credentials_t     credentials;
    const forgery_t  *forgery;

    for (forgery = forgeries; forgery->name != NULL; forgery++) {
        token = forgery->make(client->token, other->session);

        credentials.authorization = token;
        credentials.session = forgery->steals ? other->session
                                              : client->session;
        snprintf(what, sizeof(what), "forged token, %s", forgery->name);

        (void) expect_refused(client, &credentials,
                              GRPC_STATUS_UNAUTHENTICATED, INVALID, what);
        free(token);
    }
}


/* All instances are still free, and the good tokens open them. */

static void
auth_none_taken(client_t *clients)
{
    char           bearer[8192];
    size_t         i;
    outcome_t      outcome;
    credentials_t  credentials;

    for (i = 0; i < CLIENTS; i++) {
        if (!client_echo(&clients[i], NULL)) {
            return;
        }

        (void) clients_differ(clients, i);
    }

    snprintf(bearer, sizeof(bearer), "Bearer %s", clients[0].token);
    credentials.authorization = bearer;
    credentials.session = clients[0].session;

    outcome = call_echo(&clients[0], &credentials);
    (void) expect_echo(&clients[0], &outcome, clients[0].pod);
}


static void
auth_expired(client_t *client)
{
    int64_t        ttl, left;
    outcome_t      outcome;

    ttl = client->test->settings->token_ttl;
    left = check_time_left(client->test, ttl + LEEWAY + 1);

    if (ttl == 0 || left < ttl + LEEWAY) {
        check_skip(client->test, ttl == 0
                       ? "--token-ttl does not tell how long tokens live"
                       : "tokens live longer than this scenario may take",
                   "expired token: MyServiceEcho and MyServiceSubscribe "
                   "refused with \"token expired\"");
        return;
    }

    for ( ;; ) {
        outcome = call_echo(client, NULL);

        if (outcome.code != GRPC_STATUS_OK
            || check_time_left(client->test, 1000) < 1000)
        {
            break;
        }

        outcome_free(&outcome);
        (void) poll(NULL, 0, 100);
    }

    outcome_free(&outcome);

    if (!check(client->test, time(NULL) >= client->expires,
               "the token was good until it expired"))
    {
        return;
    }

    (void) expect_refused(client, NULL, GRPC_STATUS_UNAUTHENTICATED,
                          "token expired", "expired token");

    if (client_login(client)) {
        (void) client_echo(client, client->pod);
    }
}
