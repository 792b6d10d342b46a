/* A running instance and its client. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "health.pb-c.h"
#include "instance.h"
#include "rpc/server.h"


#define ARGS_MAX  32


/* The response of the last call. */
static ProtobufCMessage  *last;


static int instance_read(instance_t *instance, int64_t deadline);
static size_t metadata_of(rpc_metadata_t *metadata, const char *token,
    const char *session);
static void last_set(ProtobufCMessage *response);
static void answer_take(answer_t *answer, rpc_result_t *result);


static const ProtobufCMessageDescriptor *
response_of(const char *method)
{
    if (strcmp(method, "MyServiceShutdown") == 0) {
        return &my_service__shutdown_response__descriptor;
    }

    return &my_service__echo_response__descriptor;
}


void
instance_start(instance_t *instance, const char *const *args)
{
    int          i, n;
    char        *p;
    const char  *all[ARGS_MAX] = { "--listen", "127.0.0.1:0" };
    const char   ready[] = "listening on ";

    n = 2;

    for (i = 0; args[i] != NULL; i++) {
        ck_assert_int_lt(n, ARGS_MAX - 1);
        all[n++] = args[i];
    }

    instance_spawn(instance, all);
    instance_log_wait(instance, ready);

    p = strstr(instance->text, ready) + sizeof(ready) - 1;
    ck_assert_int_eq(sscanf(p, "%63s", instance->address), 1);

    instance->client = rpc_client_create(instance->address, NULL);
    ck_assert_ptr_nonnull(instance->client);
}


void
instance_spawn(instance_t *instance, const char *const *args)
{
    int          i, fds[2];
    char         path[1024];
    const char  *build, *argv[ARGS_MAX + 1];

    memset(instance, 0, sizeof(instance_t));

    build = getenv("BUILD");
    snprintf(path, sizeof(path), "%s/myservice",
             build != NULL ? build : "build");

    argv[0] = path;

    for (i = 0; args[i] != NULL; i++) {
        ck_assert_int_lt(i + 2, ARGS_MAX);
        argv[i + 1] = args[i];
    }

    argv[i + 1] = NULL;

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);

    instance->pid = fork();
    ck_assert_int_ne(instance->pid, -1);

    if (instance->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(fds[1], STDERR_FILENO);
        execv(path, (char *const *) argv);
        _exit(127);
    }

    close(fds[1]);
    instance->log = fds[0];
}


void
instance_log_wait(instance_t *instance, const char *text)
{
    int64_t  deadline;

    deadline = rpc_now() + PATIENCE;

    while (strstr(instance->text, text) == NULL) {
        ck_assert_msg(instance_read(instance, deadline) == 1,
                      "\"%s\" not in the log of myservice:\n%s", text,
                      instance->text);
    }
}


void
instance_log_end(instance_t *instance)
{
    int      rc;
    int64_t  deadline;

    deadline = rpc_now() + PATIENCE;

    while ((rc = instance_read(instance, deadline)) == 1) {
        /* more */
    }

    ck_assert_msg(rc == 0, "myservice has not ended, log:\n%s",
                  instance->text);
}


int
instance_wait(instance_t *instance)
{
    int      status;
    int64_t  deadline;

    /* a client of the core that is in no call would not answer the PING
     * with which a graceful stop begins */

    if (instance->client != NULL) {
        rpc_client_free(instance->client);
        instance->client = NULL;
    }

    last_set(NULL);

    deadline = rpc_now() + PATIENCE;

    /* the end of its standard error is the end of the process */

    while (instance_read(instance, deadline) == 1) {
        /* more */
    }

    if (rpc_now() >= deadline) {
        kill(instance->pid, SIGKILL);
    }

    ck_assert_int_eq(waitpid(instance->pid, &status, 0), instance->pid);
    close(instance->log);

    ck_assert_msg(WIFEXITED(status), "myservice: signal %d, log:\n%s",
                  WTERMSIG(status), instance->text);

    return WEXITSTATUS(status);
}


int
instance_stop(instance_t *instance)
{
    kill(instance->pid, SIGTERM);

    return instance_wait(instance);
}


answer_t
call_echo(instance_t *instance, const char *token, const char *session)
{
    size_t          n;
    rpc_metadata_t  metadata[2];

    n = metadata_of(metadata, token, session);

    return call_method(instance, "MyServiceEcho", metadata, n);
}


answer_t
call_shutdown(instance_t *instance, const char *token, const char *session)
{
    size_t          n;
    rpc_metadata_t  metadata[2];

    n = metadata_of(metadata, token, session);

    return call_method(instance, "MyServiceShutdown", metadata, n);
}


answer_t
call_method(instance_t *instance, const char *method,
    const rpc_metadata_t *metadata, size_t n)
{
    char                         path[128];
    answer_t                     answer;
    rpc_result_t                 result;
    const ProtobufCMessage      *request;
    MyService__EchoRequest       echo = MY_SERVICE__ECHO_REQUEST__INIT;
    MyService__ShutdownRequest   shut = MY_SERVICE__SHUTDOWN_REQUEST__INIT;

    snprintf(path, sizeof(path), "/my_service.MyServiceAPI/%s", method);

    echo.value = (char *) "hello";
    request = strcmp(method, "MyServiceShutdown") == 0 ? &shut.base
                                                       : &echo.base;

    answer.response = rpc_client_unary(instance->client, path, metadata, n,
                                       PATIENCE, request,
                                       response_of(method), &result);
    answer_take(&answer, &result);

    return answer;
}


answer_t
call_health(instance_t *instance)
{
    return call_check(instance, NULL, 0);
}


answer_t
call_check(instance_t *instance, const rpc_metadata_t *metadata, size_t n)
{
    answer_t                           answer;
    rpc_result_t                       result;
    Grpc__Health__V1__HealthCheckRequest  request
        = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;

    answer.response = rpc_client_unary(instance->client,
                          "/grpc.health.v1.Health/Check", metadata, n, PATIENCE,
                          &request.base,
                          &grpc__health__v1__health_check_response__descriptor,
                          &result);
    answer_take(&answer, &result);

    return answer;
}


rpc_stream_t *
call_subscribe(instance_t *instance, const char *token, const char *session,
    int64_t timeout)
{
    size_t                   n;
    rpc_stream_t            *stream;
    rpc_metadata_t           metadata[2];
    MyService__EchoRequest   request = MY_SERVICE__ECHO_REQUEST__INIT;

    n = metadata_of(metadata, token, session);
    request.value = (char *) "hello";

    stream = rpc_client_stream(instance->client,
                               "/my_service.MyServiceAPI/MyServiceSubscribe",
                               metadata, n, timeout, &request.base,
                               &my_service__echo_response__descriptor);
    ck_assert_ptr_nonnull(stream);

    return stream;
}


answer_t
stream_end(rpc_stream_t *stream)
{
    answer_t      answer;
    rpc_result_t  result;

    rpc_stream_finish(stream, &result);
    answer.response = NULL;
    answer_take(&answer, &result);

    return answer;
}


void
assert_served(answer_t answer, const char *session)
{
    MyService__EchoResponse  *echo;

    assert_answer(answer, 0, "");
    echo = (MyService__EchoResponse *) answer.response;

    ck_assert_int_eq(echo->index, 0);
    ck_assert_str_eq(echo->client_value, "hello");
    ck_assert_str_eq(echo->server_value, "my_service");
    ck_assert_str_eq(echo->pod_name, "pod-1");
    ck_assert_str_eq(echo->server_session_id, session);
    ck_assert_str_eq(echo->client_session_id, session);
    ck_assert_str_eq(echo->server_method, "MyServiceEcho");
}


/* 1: read something; 0: end; -1: the deadline has passed. */

static int
instance_read(instance_t *instance, int64_t deadline)
{
    int             n;
    ssize_t         got;
    int64_t         left;
    struct pollfd   pfd = { instance->log, POLLIN, 0 };

    do {
        left = deadline - rpc_now();
        n = left > 0 ? poll(&pfd, 1, (int) left) : 0;
    } while (n == -1 && errno == EINTR);

    if (n <= 0) {
        return -1;
    }

    if (instance->len > sizeof(instance->text) / 2) {

        /* a chatty test: the old half goes */

        memmove(instance->text, instance->text + instance->len / 2,
                instance->len - instance->len / 2);
        instance->len -= instance->len / 2;
    }

    got = read(instance->log, instance->text + instance->len,
               sizeof(instance->text) - instance->len - 1);

    if (got <= 0) {
        return 0;
    }

    instance->len += (size_t) got;
    instance->text[instance->len] = '\0';

    return 1;
}


static size_t
metadata_of(rpc_metadata_t *metadata, const char *token, const char *session)
{
    size_t  n;

    n = 0;

    if (token != NULL) {
        metadata[n].key = "authorization";
        metadata[n++].value = token;
    }

    if (session != NULL) {
        metadata[n].key = "session-id";
        metadata[n++].value = session;
    }

    return n;
}


static void
last_set(ProtobufCMessage *response)
{
    if (last != NULL) {
        protobuf_c_message_free_unpacked(last, NULL);
    }

    last = response;
}


/* "" if it is not there. */
static void
field_take(char *out, size_t size, const grpc_metadata_array *metadata,
    const char *name)
{
    char  *value;

    value = rpc_metadata_find(metadata, name);
    snprintf(out, size, "%s", value != NULL ? value : "");
    free(value);
}


static void
answer_take(answer_t *answer, rpc_result_t *result)
{
    last_set(answer->response);

    answer->code = result->code;
    snprintf(answer->message, sizeof(answer->message), "%s",
             result->message);

    field_take(answer->owner, sizeof(answer->owner), &result->initial,
               "session-id");
    field_take(answer->calls, sizeof(answer->calls), &result->initial,
               "session-calls");
    field_take(answer->left, sizeof(answer->left), &result->initial,
               "session-left");
    field_take(answer->id, sizeof(answer->id), &result->initial,
               "instance-id");
    field_take(answer->drain, sizeof(answer->drain), &result->initial,
               "session-drain");
    field_take(answer->refused, sizeof(answer->refused), &result->trailing,
               "session-owner");
    field_take(answer->leaving, sizeof(answer->leaving), &result->trailing,
               "session-leaving");

    rpc_result_free(result);
}
