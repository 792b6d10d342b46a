/* An instance defends itself against calls that bypass the gateway. */

#include <stdio.h>

#include "itests/client.h"
#include "itests/scenario.h"
#include "itests/stack.h"


static void direct_token(client_t *direct, const client_t *owner);
static void direct_session(client_t *direct, const client_t *owner,
    const client_t *stranger);


void
myservice_direct_calls(test_t *test)
{
    client_t       clients[2], direct;
    const char    *why;
    rpc_client_t  *instance;

    if (!stack_known(test)) {
        check_skip(test, "the addresses of the instances are not known "
                   "(--instances or --stack)", "calls straight to an "
                   "instance");
        return;
    }

    if (clients_open(clients, 2, test, "direct") == -1
        || !clients_login(clients, 2)
        || !client_echo(&clients[0], NULL))
    {
        goto done;
    }

    instance = stack_owner(test, clients[0].session, &why);

    if (!check(test, instance != NULL, "client 1: its instance is found: %s",
               instance != NULL ? "yes" : why))
    {
        goto done;
    }

    direct = clients[0];
    direct.rpc = instance;

    direct_token(&direct, &clients[0]);
    direct_session(&direct, &clients[0], &clients[1]);

    (void) client_echo(&direct, clients[0].pod);
    (void) client_echo(&clients[0], clients[0].pod);

    rpc_client_free(instance);

done:

    clients_close(clients, 2);
}


static void
direct_token(client_t *direct, const client_t *owner)
{
    outcome_t      outcome;
    credentials_t  credentials;

    credentials.authorization = NULL;
    credentials.session = owner->session;

    outcome = call_echo(direct, &credentials);

    if (outcome.code == GRPC_STATUS_OK) {
        outcome_free(&outcome);
        check_skip(direct->test, "the instance was not given the key",
                   "direct call without a token refused");
        return;
    }

    outcome_free(&outcome);

    (void) expect_refused(direct, &credentials, GRPC_STATUS_UNAUTHENTICATED,
                          "missing or invalid token",
                          "direct, without a token");

    credentials.authorization = "not.a.token";
    (void) expect_refused(direct, &credentials, GRPC_STATUS_UNAUTHENTICATED,
                          "missing or invalid token",
                          "direct, malformed token");

    credentials.authorization = owner->token;
    credentials.session = "another-session";
    (void) expect_refused(direct, &credentials, GRPC_STATUS_UNAUTHENTICATED,
                          "session-id mismatch",
                          "direct, session-id of another token");
}


static void
direct_session(client_t *direct, const client_t *owner,
    const client_t *stranger)
{
    char           message[320];
    outcome_t      outcome;
    credentials_t  credentials;

    credentials.authorization = owner->token;
    credentials.session = NULL;
    (void) expect_refused(direct, &credentials,
                          GRPC_STATUS_INVALID_ARGUMENT,
                          "session-id header is required",
                          "direct, without session-id");

    credentials.authorization = stranger->token;
    credentials.session = stranger->session;

    snprintf(message, sizeof(message), "Session conflict: was=%s, now=%s",
             owner->session, stranger->session);
    (void) expect_refused(direct, &credentials, GRPC_STATUS_INTERNAL,
                          message, "direct, of another session");

    snprintf(message, sizeof(message),
             "Client session mismatch: client=%s, server=%s",
             stranger->session, owner->session);
    outcome = call_shutdown(direct, &credentials);
    (void) expect_error(direct->test, &outcome,
                        GRPC_STATUS_PERMISSION_DENIED, message,
                        "direct, of another session: MyServiceShutdown");
}
