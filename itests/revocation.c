/*
 * The tokens of a user are revoked by "authsvc user", which calls the gateway's
 * API: calls and a stream end, a new login works, until the user is disabled.
 */

#include <stdio.h>

#include "itests/client.h"
#include "itests/scenario.h"
#include "itests/stack.h"
#include "rpc/server.h"


#define REVOKED  "token revoked"
#define PACE     100                    /* ms between two logins */


static void revocation_stream_ends(client_t *client, rpc_stream_t *stream);
static bool revocation_again(client_t *client);
static void revocation_disable(client_t *client);


void
revocation(test_t *test)
{
    char           command[256];
    client_t       client;
    rpc_stream_t  *stream;

    if (test->settings->stack == NULL) {
        check_skip(test, "it needs --stack", "revocation of tokens");
        return;
    }

    if (client_open(&client, test, "client", "revocation") == -1) {
        return;
    }

    stream = NULL;

    if (!client_login(&client) || !client_echo(&client, NULL)) {
        goto done;
    }

    stream = call_subscribe(&client, check_time_left(test, 3600000));

    if (stream == NULL
        || !expect_message(&client, rpc_stream_next(stream), 0, client.pod))
    {
        goto done;
    }

    snprintf(command, sizeof(command), "revoke %s", test->settings->username);

    if (!check(test, stack_user(test, command), "authsvc user %s: the gateway "
               "has acknowledged it", command))
    {
        goto done;
    }

    (void) expect_refused(&client, NULL, GRPC_STATUS_UNAUTHENTICATED, REVOKED,
                          "a revoked token");
    revocation_stream_ends(&client, stream);
    stream = NULL;

    if (revocation_again(&client)) {
        revocation_disable(&client);
    }

done:

    if (stream != NULL) {
        rpc_stream_cancel(stream);
        revocation_stream_ends(&client, stream);
    }

    client_close(&client);
}


/* Messages may have come before it. */

static void
revocation_stream_ends(client_t *client, rpc_stream_t *stream)
{
    check_t            c;
    rpc_result_t       result;
    ProtobufCMessage  *message;

    while ((message = rpc_stream_next(stream)) != NULL) {
        protobuf_c_message_free_unpacked(message, NULL);
    }

    rpc_stream_finish(stream, &result);

    check_begin(&c, client->test, "%s: end of the stream", client->name);
    (void) check_code(&c, (int) result.code, GRPC_STATUS_UNAUTHENTICATED);
    (void) check_equal(&c, "message", result.message, REVOKED);
    (void) check_done(&c);

    rpc_result_free(&result);
}


/* A token of the second in which the others were revoked is refused, too. */

static bool
revocation_again(client_t *client)
{
    int64_t    end;
    outcome_t  outcome;

    end = rpc_now() + check_time_left(client->test, 60000);

    for ( ;; ) {
        if (!client_login(client)) {
            return false;
        }

        outcome = call_echo(client, NULL);

        if (outcome.code == GRPC_STATUS_OK || rpc_now() >= end) {
            return expect_echo(client, &outcome, client->pod);
        }

        outcome_free(&outcome);
        check_pace(PACE);
    }
}


static void
revocation_disable(client_t *client)
{
    char       command[256];
    test_t    *test;
    outcome_t  outcome;

    test = client->test;
    snprintf(command, sizeof(command), "disable %s", test->settings->username);

    if (!check(test, stack_user(test, command), "authsvc user %s: the gateway "
               "has acknowledged it", command))
    {
        return;
    }

    (void) expect_refused(client, NULL, GRPC_STATUS_UNAUTHENTICATED, REVOKED,
                          "a token of a disabled user");
    outcome = login_outcome(client);
    (void) expect_error(test, &outcome, GRPC_STATUS_PERMISSION_DENIED,
                        "invalid username or password",
                        "Login of a disabled user");

    if (stack_reload(test)) {
        (void) expect_refused(client, NULL, GRPC_STATUS_UNAUTHENTICATED,
                              REVOKED, "the token after a reload");
    }

    snprintf(command, sizeof(command), "enable %s", test->settings->username);
    (void) check(test, stack_user(test, command), "authsvc user %s", command);
    (void) client_login(client);
}
