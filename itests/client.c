/*
 * Clients of the scenarios: calls with any metadata, and checks of every field
 * of the answers.
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "itests/client.h"
#include "my_service.pb-c.h"


#define CALL_TRIES    3                 /* of a call that cannot connect */
#define CALL_CONNECT  10000             /* ms */


typedef struct {
    const char                        *path;
    const ProtobufCMessageDescriptor  *response;
} method_info_t;


static outcome_t call_unary(client_t *client, method_t method,
    const credentials_t *credentials, const ProtobufCMessage *request);
static bool call_unconnected(const rpc_result_t *result);
static size_t call_metadata(client_t *client,
    const credentials_t *credentials, rpc_metadata_t *metadata);
static bool expect_ok(check_t *check, const outcome_t *outcome);
static void expect_sessions(check_t *check, const client_t *client,
    const char *server, const char *own);
static void expect_pod(check_t *check, client_t *client, const char *got,
    const char *want);


static const method_info_t  methods[] = {
    [METHOD_LOGIN] = {
        "/my_service.MyServiceAPI/Login",
        &my_service__login_response__descriptor
    },
    [METHOD_ECHO] = {
        "/my_service.MyServiceAPI/MyServiceEcho",
        &my_service__echo_response__descriptor
    },
    [METHOD_SUBSCRIBE] = {
        "/my_service.MyServiceAPI/MyServiceSubscribe",
        &my_service__echo_response__descriptor
    },
    [METHOD_SHUTDOWN] = {
        "/my_service.MyServiceAPI/MyServiceShutdown",
        &my_service__shutdown_response__descriptor
    }
};


int
client_open(client_t *client, test_t *test, const char *name,
    const char *label)
{
    memset(client, 0, sizeof(client_t));

    client->test = test;
    snprintf(client->name, sizeof(client->name), "%s", name);
    client_new_session(client->session, sizeof(client->session), label);

    client->rpc = client_connect(test, test->settings->gateway, true);

    if (client->rpc == NULL) {
        (void) check(test, false, "%s: cannot make a channel to %s", name,
                     test->settings->gateway);
        return -1;
    }

    check_note(test, "%s: connection to %s%s, session-id %s", name,
               test->settings->gateway,
               test->settings->tls != NULL ? " over TLS" : "",
               client->session);

    return 0;
}


rpc_client_t *
client_connect(const test_t *test, const char *address, bool gateway)
{
    const settings_t  *settings;

    settings = test->settings;

    if (settings->tls == NULL) {
        return rpc_client_create(address, NULL);
    }

    return rpc_client_create_tls(address, settings->tls,
                                 gateway ? settings->tls_server_name : NULL);
}


void
client_close(client_t *client)
{
    if (client->rpc != NULL) {
        rpc_client_free(client->rpc);
    }

    free(client->token);
    memset(client, 0, sizeof(client_t));
}


void
client_new_session(char *out, size_t size, const char *label)
{
    struct timespec  now;

    clock_gettime(CLOCK_REALTIME, &now);

    snprintf(out, size, "integration-test-session-%s-%lld%09ld", label,
             (long long) now.tv_sec, now.tv_nsec);
}


outcome_t
call_login(client_t *client, const char *username, const char *password,
    const char *session)
{
    credentials_t             none = { NULL, NULL };
    MyService__LoginRequest   request = MY_SERVICE__LOGIN_REQUEST__INIT;

    request.username = (char *) username;
    request.password = (char *) password;
    request.session_id = (char *) session;

    return call_unary(client, METHOD_LOGIN, &none, &request.base);
}


outcome_t
call_echo(client_t *client, const credentials_t *credentials)
{
    MyService__EchoRequest  request = MY_SERVICE__ECHO_REQUEST__INIT;

    request.value = (char *) CLIENT_VALUE;

    return call_unary(client, METHOD_ECHO, credentials, &request.base);
}


outcome_t
call_shutdown(client_t *client, const credentials_t *credentials)
{
    MyService__ShutdownRequest  request = MY_SERVICE__SHUTDOWN_REQUEST__INIT;

    return call_unary(client, METHOD_SHUTDOWN, credentials, &request.base);
}


outcome_t
call_subscribe_refused(client_t *client, const credentials_t *credentials)
{
    size_t                   n;
    outcome_t                outcome;
    rpc_result_t             result;
    rpc_stream_t            *stream;
    rpc_metadata_t           metadata[3];
    MyService__EchoRequest   request = MY_SERVICE__ECHO_REQUEST__INIT;

    request.value = (char *) CLIENT_VALUE;
    n = call_metadata(client, credentials, metadata);

    stream = rpc_client_stream(client->rpc, methods[METHOD_SUBSCRIBE].path,
                               metadata, n,
                               check_time_left(client->test,
                                               CLIENT_CALL_TIMEOUT),
                               &request.base,
                               methods[METHOD_SUBSCRIBE].response);

    if (stream == NULL) {
        outcome.code = GRPC_STATUS_UNKNOWN;
        outcome.message = strdup("cannot begin the call");
        outcome.response = NULL;
        outcome.decision = NULL;
        return outcome;
    }

    outcome.response = rpc_stream_next(stream);
    rpc_stream_finish(stream, &result);

    outcome.code = outcome.response == NULL ? result.code : GRPC_STATUS_OK;
    outcome.message = strdup(result.message);
    outcome.decision = rpc_metadata_find(&result.initial, "session-decision");

    rpc_result_free(&result);

    return outcome;
}


rpc_stream_t *
call_subscribe(client_t *client, int64_t timeout)
{
    size_t                   n;
    rpc_stream_t            *stream;
    rpc_metadata_t           metadata[3];
    MyService__EchoRequest   request = MY_SERVICE__ECHO_REQUEST__INIT;

    request.value = (char *) CLIENT_VALUE;
    n = call_metadata(client, NULL, metadata);

    stream = rpc_client_stream(client->rpc, methods[METHOD_SUBSCRIBE].path,
                               metadata, n, timeout, &request.base,
                               methods[METHOD_SUBSCRIBE].response);

    if (stream == NULL) {
        (void) check(client->test, false, "%s: cannot begin a stream",
                     client->name);
    }

    return stream;
}


bool
expect_login(client_t *client, outcome_t *outcome)
{
    char                            expires[32];
    bool                            ok;
    check_t                         c;
    const MyService__LoginResponse *login;

    check_begin(&c, client->test, "%s: Login", client->name);

    if (expect_ok(&c, outcome)) {
        login = (const MyService__LoginResponse *) outcome->response;

        (void) check_that(&c, login->token[0] != '\0', "token", "",
                          "not empty");
        (void) check_not_empty(&c, "role", login->role);

        if (check_that(&c, login->expires_at != NULL, "expires_at",
                       "(nil)", "not nil"))
        {
            snprintf(expires, sizeof(expires), "%lld",
                     (long long) login->expires_at->seconds);
            (void) check_that(&c, login->expires_at->seconds > time(NULL),
                              "expires_at", expires, "in the future");
            client->expires = login->expires_at->seconds;
        }

        free(client->token);
        client->token = strdup(login->token);
    }

    ok = check_done(&c);
    outcome_free(outcome);

    return ok;
}


bool
expect_echo(client_t *client, outcome_t *outcome, const char *pod)
{
    bool                           ok;
    check_t                        c;
    const MyService__EchoResponse *echo;

    check_begin(&c, client->test, "%s: MyServiceEcho", client->name);

    if (expect_ok(&c, outcome)) {
        echo = (const MyService__EchoResponse *) outcome->response;

        (void) check_equal(&c, "client_value", echo->client_value,
                           CLIENT_VALUE);
        (void) check_equal(&c, "server_value", echo->server_value,
                           "my_service");
        (void) check_number(&c, "index", echo->index, 0);
        (void) check_equal(&c, "server_method", echo->server_method,
                           "MyServiceEcho");
        expect_sessions(&c, client, echo->server_session_id,
                        echo->client_session_id);
        expect_pod(&c, client, echo->pod_name, pod);
    }

    ok = check_done(&c);
    outcome_free(outcome);

    return ok;
}


bool
expect_shutdown(client_t *client, outcome_t *outcome, const char *pod)
{
    bool                               ok;
    check_t                            c;
    const MyService__ShutdownResponse *answer;

    check_begin(&c, client->test, "%s: MyServiceShutdown", client->name);

    if (expect_ok(&c, outcome)) {
        answer = (const MyService__ShutdownResponse *) outcome->response;

        (void) check_number(&c, "index", answer->index, 0);
        (void) check_equal(&c, "server_method", answer->server_method,
                           "MyServiceShutdown");
        expect_sessions(&c, client, answer->server_session_id,
                        answer->client_session_id);
        expect_pod(&c, client, answer->pod_name, pod);
    }

    ok = check_done(&c);
    outcome_free(outcome);

    return ok;
}


bool
expect_message(client_t *client, ProtobufCMessage *message, int32_t index,
    const char *pod)
{
    bool                           ok;
    check_t                        c;
    const MyService__EchoResponse *echo;

    check_begin(&c, client->test, "%s: MyServiceSubscribe message %d",
                client->name, index);

    if (check_that(&c, message != NULL, "message", "(end of stream)",
                   "received"))
    {
        echo = (const MyService__EchoResponse *) message;

        (void) check_number(&c, "index", echo->index, index);
        (void) check_equal(&c, "client_value", echo->client_value,
                           CLIENT_VALUE);
        (void) check_equal(&c, "server_value", echo->server_value,
                           "my_service");
        (void) check_equal(&c, "server_method", echo->server_method,
                           "MyServiceSubscribe");
        expect_sessions(&c, client, echo->server_session_id,
                        echo->client_session_id);
        expect_pod(&c, client, echo->pod_name, pod);

        protobuf_c_message_free_unpacked(message, NULL);
    }

    ok = check_done(&c);

    return ok;
}


bool
expect_error(test_t *test, outcome_t *outcome, grpc_status_code code,
    const char *message, const char *fmt, ...)
{
    bool      ok;
    char      what[160];
    check_t   c;
    va_list   args;

    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);

    check_begin(&c, test, "%s", what);
    (void) check_code(&c, (int) outcome->code, (int) code);
    (void) check_equal(&c, "message", outcome->message, message);

    ok = check_done(&c);
    outcome_free(outcome);

    return ok;
}


bool
expect_refused(client_t *client, const credentials_t *credentials,
    grpc_status_code code, const char *message, const char *what)
{
    bool       echo, subscribe;
    outcome_t  outcome;

    outcome = call_echo(client, credentials);
    echo = expect_error(client->test, &outcome, code, message,
                        "%s: MyServiceEcho", what);

    outcome = call_subscribe_refused(client, credentials);
    subscribe = expect_error(client->test, &outcome, code, message,
                             "%s: MyServiceSubscribe", what);

    return echo && subscribe;
}


void
outcome_free(outcome_t *outcome)
{
    if (outcome->response != NULL) {
        protobuf_c_message_free_unpacked(outcome->response, NULL);
        outcome->response = NULL;
    }

    free(outcome->message);
    outcome->message = NULL;
    free(outcome->decision);
    outcome->decision = NULL;
}


bool
client_login(client_t *client)
{
    outcome_t  outcome;

    outcome = login_outcome(client);

    return expect_login(client, &outcome);
}


bool
client_echo(client_t *client, const char *pod)
{
    outcome_t  outcome;

    outcome = call_echo(client, NULL);

    return expect_echo(client, &outcome, pod);
}


bool
client_shutdown(client_t *client, const char *pod)
{
    outcome_t  outcome;

    outcome = call_shutdown(client, NULL);

    return expect_shutdown(client, &outcome, pod);
}


outcome_t
login_outcome(client_t *client)
{
    return call_login(client, client->test->settings->username,
                      client->test->settings->password, client->session);
}


outcome_t
echo_outcome(client_t *client)
{
    return call_echo(client, NULL);
}


outcome_t
subscribe_outcome(client_t *client)
{
    return call_subscribe_refused(client, NULL);
}


outcome_t
shutdown_outcome(client_t *client)
{
    return call_shutdown(client, NULL);
}


static outcome_t
call_unary(client_t *client, method_t method,
    const credentials_t *credentials, const ProtobufCMessage *request)
{
    int              i;
    size_t           n;
    outcome_t        outcome;
    rpc_result_t     result;
    rpc_metadata_t   metadata[3];

    n = call_metadata(client, credentials, metadata);

    for (i = 1; /* void */ ; i++) {
        outcome.response = rpc_client_unary(client->rpc, methods[method].path,
                                            metadata, n,
                                            check_time_left(client->test,
                                                        CLIENT_CALL_TIMEOUT),
                                            request, methods[method].response,
                                            &result);

        if (i == CALL_TRIES || !call_unconnected(&result)) {
            break;
        }

        check_note(client->test, "%s: %s", client->name, result.message);
        rpc_result_free(&result);
        (void) rpc_client_await(client->rpc, check_time_left(client->test,
                                                             CALL_CONNECT));
    }

    outcome.code = result.code;
    outcome.message = strdup(result.message);
    outcome.decision = rpc_metadata_find(&result.initial, "session-decision");

    rpc_result_free(&result);

    if (outcome.message == NULL) {
        abort();
    }

    return outcome;
}


/*
 * gRPC 1.51 may take the errno of another system call for that of connect()
 * (github.com/grpc/grpc/pull/35064): it gives up a connection that it has just
 * begun. The gateway has seen nothing, and a client calls again.
 */

static bool
call_unconnected(const rpc_result_t *result)
{
    return result->code == GRPC_STATUS_UNAVAILABLE
           && strstr(result->message, "failed to connect") != NULL
           && strstr(result->message, "No such file or directory") != NULL;
}


static size_t
call_metadata(client_t *client, const credentials_t *credentials,
    rpc_metadata_t *metadata)
{
    size_t         n;
    credentials_t  own;

    if (credentials == NULL) {
        own.authorization = client->token;
        own.session = client->session;
        credentials = &own;
    }

    n = 0;

    if (credentials->authorization != NULL) {
        metadata[n].key = "authorization";
        metadata[n++].value = credentials->authorization;
    }

    if (credentials->session != NULL) {
        metadata[n].key = "session-id";
        metadata[n++].value = credentials->session;
    }

    if (client->epoch != NULL) {
        metadata[n].key = "session-epoch";
        metadata[n++].value = client->epoch;
    }

    return n;
}


/* Only an answer with code OK has fields; otherwise the message is printed. */

static bool
expect_ok(check_t *check, const outcome_t *outcome)
{
    if (check_code(check, (int) outcome->code, GRPC_STATUS_OK)) {
        return true;
    }

    check_note(check->test, "%s: message: %s", check->what,
               outcome->message);

    return false;
}


static void
expect_sessions(check_t *check, const client_t *client, const char *server,
    const char *own)
{
    (void) check_equal(check, "server_session_id", server, client->session);
    (void) check_equal(check, "client_session_id", own, client->session);
}


static void
expect_pod(check_t *check, client_t *client, const char *got,
    const char *want)
{
    if (want != NULL) {
        (void) check_equal(check, "pod_name", got, want);

    } else {
        (void) check_not_empty(check, "pod_name", got);
    }

    snprintf(client->pod, sizeof(client->pod), "%s", got);
}
