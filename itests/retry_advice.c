/*
 * All instances are taken: the gateway says when a call may come again.  A gRPC
 * library whose service config lists the status comes then, and not before.
 */

#include <stdlib.h>
#include <string.h>

#include "itests/client.h"
#include "itests/scenario.h"
#include "itests/stack.h"
#include "my_service.pb-c.h"
#include "rpc/server.h"


#define HOLDERS   3
#define ATTEMPTS  5

/* of myservice_pushback, a second: a quarter more or less */
#define SHORTEST  750
#define LONGEST   1250

/* What the library would do by itself is over after a moment. */
#define CONFIG                                                                \
    "{ \"methodConfig\": [ { \"name\": [ { } ],"                              \
    " \"retryPolicy\": { \"maxAttempts\": 5, \"initialBackoff\": \"0.01s\","  \
    " \"maxBackoff\": \"0.01s\", \"backoffMultiplier\": 1,"                   \
    " \"retryableStatusCodes\": [ \"RESOURCE_EXHAUSTED\" ] } } ] }"


static bool advice_hold(client_t *clients);
static bool advice_told(client_t *client);
static bool advice_open(client_t *client, client_t *as);
static bool advice_waits(client_t *client);
static void advice_gets_in(client_t *client, client_t *holder);


void
retry_advice(test_t *test)
{
    client_t  patient;
    client_t  clients[HOLDERS + 1];

    memset(&patient, 0, sizeof(client_t));

    if (clients_open(clients, HOLDERS + 1, test, "advice-") == 0
        && clients_login(clients, HOLDERS + 1)
        && advice_hold(clients)
        && advice_told(&clients[HOLDERS])
        && advice_open(&patient, &clients[HOLDERS])
        && advice_waits(&patient))
    {
        advice_gets_in(&patient, &clients[0]);
    }

    client_close(&patient);
    clients_close(clients, HOLDERS + 1);
}


static bool
advice_hold(client_t *clients)
{
    size_t  i;

    for (i = 0; i < HOLDERS; i++) {
        if (!client_echo(&clients[i], NULL) || !clients_differ(clients, i)) {
            return false;
        }
    }

    return true;
}


/* What the trailers of a refusal say; this client repeats nothing. */

static bool
advice_told(client_t *client)
{
    char                    *pushback, *details;
    check_t                  c;
    rpc_result_t             result;
    ProtobufCMessage        *response;
    rpc_metadata_t           metadata[2];
    MyService__EchoRequest   request = MY_SERVICE__ECHO_REQUEST__INIT;

    request.value = (char *) CLIENT_VALUE;
    metadata[0] = (rpc_metadata_t) { "authorization", client->token };
    metadata[1] = (rpc_metadata_t) { "session-id", client->session };

    response = rpc_client_unary(client->rpc,
                                "/my_service.MyServiceAPI/MyServiceEcho",
                                metadata, 2,
                                check_time_left(client->test,
                                                CLIENT_CALL_TIMEOUT),
                                &request.base,
                                &my_service__echo_response__descriptor,
                                &result);

    pushback = rpc_metadata_find(&result.trailing, "grpc-retry-pushback-ms");
    details = rpc_metadata_find(&result.trailing, "grpc-status-details-bin");

    check_begin(&c, client->test, "%s: MyServiceEcho, refused", client->name);
    (void) check_code(&c, (int) result.code, GRPC_STATUS_RESOURCE_EXHAUSTED);
    (void) check_equal(&c, "message", result.message,
                       "all instances are busy");
    (void) check_that(&c, pushback != NULL && atoi(pushback) >= SHORTEST
                          && atoi(pushback) <= LONGEST,
                      "grpc-retry-pushback-ms",
                      pushback != NULL ? pushback : "(nil)", "750 to 1250");
    (void) check_that(&c, details != NULL
                          && strstr(details, "google.rpc.ErrorInfo") != NULL,
                      "grpc-status-details-bin",
                      details != NULL ? "something else" : "(nil)",
                      "a google.rpc.ErrorInfo");

    free(pushback);
    free(details);

    if (response != NULL) {
        protobuf_c_message_free_unpacked(response, NULL);
    }

    rpc_result_free(&result);

    return check_done(&c);
}


/* The session of "as" on a connection with a retry policy. */

static bool
advice_open(client_t *client, client_t *as)
{
    const settings_t  *settings;

    settings = as->test->settings;
    *client = *as;
    strcpy(client->name, "patient client");
    client->token = strdup(as->token);
    client->rpc = rpc_client_create_config(settings->gateway, settings->tls,
                                           settings->tls_server_name, CONFIG);

    return check(as->test, client->token != NULL && client->rpc != NULL,
                 "%s: connection with a retry policy", client->name);
}


static bool
advice_waits(client_t *client)
{
    int64_t    began, took;
    outcome_t  outcome;

    began = rpc_now();
    outcome = call_echo(client, NULL);
    took = rpc_now() - began;

    return expect_error(client->test, &outcome, GRPC_STATUS_RESOURCE_EXHAUSTED,
                        "all instances are busy", "%s: MyServiceEcho",
                        client->name)
           && check(client->test, took >= (ATTEMPTS - 1) * SHORTEST,
                    "%s: it has waited %lld ms, at least %d ms before each of "
                    "%d further tries", client->name, (long long) took,
                    SHORTEST, ATTEMPTS - 1);
}


/* A session leaves, and its instance is started again. */

static void
advice_gets_in(client_t *client, client_t *holder)
{
    int          instance;
    outcome_t    outcome;
    const char  *why;

    if (stack_size(client->test, &why) == 0) {
        check_skip(client->test, why, "%s gets in", client->name);
        return;
    }

    instance = stack_find(client->test, holder->session);

    if (!check(client->test, instance > 0, "%s: its instance is known",
               holder->name)
        || !client_shutdown(holder, holder->pod)
        || !stack_restart(client->test, instance))
    {
        return;
    }

    for ( ;; ) {
        outcome = call_echo(client, NULL);

        if (outcome.code != GRPC_STATUS_RESOURCE_EXHAUSTED
            || check_time_left(client->test, CLIENT_CALL_TIMEOUT) <= 1)
        {
            break;
        }

        outcome_free(&outcome);
    }

    (void) expect_echo(client, &outcome, NULL);
}
