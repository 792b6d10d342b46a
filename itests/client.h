/*
 * The clients of the scenarios: raw calls with any metadata, and calls with
 * every field of the answer checked.
 */

#ifndef ITESTS_CLIENT_H
#define ITESTS_CLIENT_H


#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <grpc/status.h>
#include <protobuf-c/protobuf-c.h>

#include "itests/check.h"
#include "rpc/client.h"


#define CLIENT_VALUE  "integration-test-echo"
#define CLIENT_POD    256

/* Only a call that hangs takes longer. */
#define CLIENT_CALL_TIMEOUT  60000


typedef enum {
    METHOD_LOGIN = 0,
    METHOD_ECHO,
    METHOD_SUBSCRIBE,
    METHOD_SHUTDOWN
} method_t;

/* A client with a connection and a session of its own. */
typedef struct {
    test_t        *test;
    rpc_client_t  *rpc;
    char           name[32];            /* "client 1" */
    char           session[128];
    char          *token;               /* NULL before Login */
    int64_t        expires;             /* of the token, seconds since 1970 */
    char           pod[CLIENT_POD];     /* of the last good answer, or "" */
    const char    *epoch;               /* "session-epoch" of calls, NULL: is
                                           not sent */
} client_t;

typedef struct {
    grpc_status_code   code;
    char              *message;
    ProtobufCMessage  *response;        /* NULL unless code is OK */
    char              *decision;        /* what the gateway tells of the
                                           session, NULL: nothing */
} outcome_t;

/* NULL: the key is not sent. */
typedef struct {
    const char  *authorization;
    const char  *session;
} credentials_t;


/* The session id is "integration-test-session-<label>-<timestamp>". */
int client_open(client_t *client, test_t *test, const char *name,
    const char *label) __attribute__((warn_unused_result));
void client_close(client_t *client);

/* A connection as the settings say, to the gateway ("gateway" true) or to an
 * instance. */
rpc_client_t *client_connect(const test_t *test, const char *address,
    bool gateway);

/* Makes a new session id. */
void client_new_session(char *out, size_t size, const char *label);


/* Raw calls: nothing is checked.  "credentials" NULL: the client's own. */

outcome_t call_login(client_t *client, const char *username,
    const char *password, const char *session);
outcome_t call_echo(client_t *client, const credentials_t *credentials);
outcome_t call_shutdown(client_t *client, const credentials_t *credentials);

/* Subscribe that must end before any message. If a message comes, the outcome
 * is OK and the stream is cancelled. */
outcome_t call_subscribe_refused(client_t *client,
    const credentials_t *credentials);

rpc_stream_t *call_subscribe(client_t *client, int64_t timeout);


/* Checks of an outcome, which they free. They return whether all of it
 * holds. */

bool expect_login(client_t *client, outcome_t *outcome);

/* "pod", if not NULL, names the instance that must have answered. Sets
 * client->pod. */
bool expect_echo(client_t *client, outcome_t *outcome, const char *pod);
bool expect_shutdown(client_t *client, outcome_t *outcome, const char *pod);
bool expect_error(test_t *test, outcome_t *outcome, grpc_status_code code,
    const char *message, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* Echo and Subscribe, one after the other, are refused. */
bool expect_refused(client_t *client, const credentials_t *credentials,
    grpc_status_code code, const char *message, const char *what);

/* One message of a stream; frees it. */
bool expect_message(client_t *client, ProtobufCMessage *message,
    int32_t index, const char *pod);

void outcome_free(outcome_t *outcome);


/* A call and its check together. */

bool client_login(client_t *client);
bool client_echo(client_t *client, const char *pod);
bool client_shutdown(client_t *client, const char *pod);

/* Every client does the same raw call at the same time. */
typedef outcome_t (*client_call_pt)(client_t *client);
void clients_parallel(client_t *clients, size_t n, client_call_pt call,
    outcome_t *outcomes);

/* Clients "client 1", "client 2", ... of session label "<label>1", ... */
int clients_open(client_t *clients, size_t n, test_t *test,
    const char *label) __attribute__((warn_unused_result));
void clients_close(client_t *clients, size_t n);

/* All at the same time; the tokens must differ. */
bool clients_login(client_t *clients, size_t n);

/* Checks that another instance answered clients[i] than the clients before
 * it. */
bool clients_differ(const client_t *clients, size_t i);

outcome_t login_outcome(client_t *client);
outcome_t echo_outcome(client_t *client);
outcome_t subscribe_outcome(client_t *client);
outcome_t shutdown_outcome(client_t *client);


#endif /* ITESTS_CLIENT_H */
