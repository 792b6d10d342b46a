/*
 * The instance of running streams is killed. With myservice_resume the streams
 * go on from the next instance of the session; without it they end with a
 * status.
 */

#include <stdlib.h>
#include <string.h>

#include "itests/client.h"
#include "itests/scenario.h"
#include "itests/stack.h"
#include "my_service.pb-c.h"
#include "rpc/server.h"


#define STREAMS      2
#define UNAVAILABLE  "backend service unavailable"

/* From the end of "kill" to the next message, ms. */
#define RESUME_LIMIT  20000


typedef struct {
    client_t      *client;
    rpc_stream_t  *streams[STREAMS];
    int            index[STREAMS];      /* of the next message */
} subscriber_t;


static void stop_play(test_t *test, bool resume);
static bool stop_subscribe(subscriber_t *s);
static bool stop_kill(subscriber_t *s);
static bool stop_resumed(subscriber_t *s, const char *old);
static ProtobufCMessage *stop_first_of_other(subscriber_t *s, int i,
    const char *old);
static void stop_ended(subscriber_t *s, const char *old);
static void stop_cancel(subscriber_t *s);


void
stream_subscription_myservice_stop(test_t *test)
{
    stop_play(test, true);
}


void
stream_subscription_myservice_stop_no_resume(test_t *test)
{
    stop_play(test, false);
}


static void
stop_play(test_t *test, bool resume)
{
    int            instances, kills;
    char           old[CLIENT_POD];
    client_t       client;
    const char    *why;
    subscriber_t   s;

    instances = stack_size(test, &why);

    if (instances > 0 && resume == test->settings->no_resume) {
        instances = 0;
        why = resume ? "this gateway does not resume streams (--no-resume)"
                     : "this gateway resumes streams (without --no-resume)";
    }

    if (instances == 0) {
        check_skip(test, why, "the instance of a stream is killed: the "
                   "stream %s", resume ? "goes on" : "ends with 14");
        return;
    }

    memset(&s, 0, sizeof(s));
    s.client = &client;

    if (client_open(&client, test, "client", "stop") == -1) {
        return;
    }

    if (!client_login(&client) || !client_echo(&client, NULL)
        || !stop_subscribe(&s))
    {
        goto done;
    }

    /* with resume the streams and the session go on until the last instance
     * ends */

    for (kills = 1; ; kills++) {
        memcpy(old, client.pod, sizeof(old));

        if (!stop_kill(&s)) {
            goto done;
        }

        if (!resume || kills == instances) {
            break;
        }

        if (!stop_resumed(&s, old)) {
            goto done;
        }
    }

    stop_ended(&s, old);

done:

    stop_cancel(&s);
    client_close(&client);
}


/* Reads two messages of each stream, so that both surely run. */

static bool
stop_subscribe(subscriber_t *s)
{
    int  i;

    for (i = 0; i < STREAMS; i++) {
        s->streams[i] = call_subscribe(s->client,
                                       check_time_left(s->client->test,
                                                       3600000));
        if (s->streams[i] == NULL) {
            return false;
        }

        for (s->index[i] = 0; s->index[i] < 2; s->index[i]++) {
            if (!expect_message(s->client, rpc_stream_next(s->streams[i]),
                                s->index[i], s->client->pod))
            {
                return false;
            }
        }
    }

    return true;
}


static bool
stop_kill(subscriber_t *s)
{
    int      number;
    test_t  *test;

    test = s->client->test;
    number = stack_find(test, s->client->session);

    return check(test, number > 0, "the instance of the session is found: "
                 "instance %d, \"%s\"", number, s->client->pod)
           && stack_kill(test, number);
}


/* Both streams and the other calls are on one new instance. */

static bool
stop_resumed(subscriber_t *s, const char *old)
{
    int                i, n;
    char               pod[sizeof(s->client->pod)];
    int64_t            start, took;
    client_t          *client;
    const char        *why;
    rpc_client_t      *instance;
    ProtobufCMessage  *message;

    client = s->client;
    start = rpc_now();

    for (i = 0; i < STREAMS; i++) {
        message = stop_first_of_other(s, i, old);
        took = rpc_now() - start;
        s->index[i] = 1;

        /* a late message of the old instance has changed client->pod */

        if (!expect_message(client, message, 0, i == 0 ? NULL : pod)
            || !check(client->test, strcmp(client->pod, old) != 0,
                      "stream %d goes on from another instance: got \"%s\", "
                      "was \"%s\"", i + 1, client->pod, old)
            || !check(client->test, took < RESUME_LIMIT,
                      "within %d ms: got %lld", RESUME_LIMIT,
                      (long long) took))
        {
            return false;
        }

        memcpy(pod, client->pod, sizeof(pod));
    }

    if (!client_echo(client, client->pod)) {
        return false;
    }

    instance = stack_owner(client->test, client->session, &why);

    n = instance != NULL ? stack_calls(instance, client->session) : -1;
    rpc_client_free(instance);

    if (!check(client->test, n == STREAMS,
               "streams on the new instance: got %d, want %d", n, STREAMS))
    {
        return false;
    }

    for (i = 0; i < STREAMS; i++) {
        if (!expect_message(client, rpc_stream_next(s->streams[i]),
                            s->index[i], client->pod))
        {
            return false;
        }

        s->index[i]++;
    }

    return true;
}


/* Reads what the old instance had sent before it was killed. */

static ProtobufCMessage *
stop_first_of_other(subscriber_t *s, int i, const char *old)
{
    ProtobufCMessage              *message;
    const MyService__EchoResponse *echo;

    for ( ;; ) {
        message = rpc_stream_next(s->streams[i]);
        echo = (const MyService__EchoResponse *) message;

        if (message == NULL || strcmp(echo->pod_name, old) != 0) {
            return message;
        }

        (void) expect_message(s->client, message, s->index[i]++, old);
    }
}


/* Only trailers can have the text of the status. */

static void
stop_ended(subscriber_t *s, const char *old)
{
    int                i;
    test_t            *test;
    outcome_t          outcome;
    rpc_result_t       result;
    ProtobufCMessage  *message;

    test = s->client->test;

    for (i = 0; i < STREAMS; i++) {
        message = stop_first_of_other(s, i, old);

        if (!check(test, message == NULL, "stream %d ends", i + 1)) {
            protobuf_c_message_free_unpacked(message, NULL);
        }

        rpc_stream_finish(s->streams[i], &result);
        s->streams[i] = NULL;

        outcome.code = result.code;
        outcome.message = strdup(result.message);
        outcome.response = NULL;
        outcome.decision = NULL;

        (void) expect_error(test, &outcome, GRPC_STATUS_UNAVAILABLE,
                            UNAVAILABLE, "stream %d, trailers", i + 1);
        rpc_result_free(&result);
    }

    outcome = call_echo(s->client, NULL);

    if (!test->settings->no_resume) {
        (void) expect_error(test, &outcome, GRPC_STATUS_UNAVAILABLE,
                            UNAVAILABLE, "MyServiceEcho when the last "
                            "instance is killed");
        return;
    }

    if (expect_echo(s->client, &outcome, NULL)) {
        (void) check(test, strcmp(s->client->pod, old) != 0,
                     "the session has another instance: got \"%s\", was "
                     "\"%s\"", s->client->pod, old);
    }
}


static void
stop_cancel(subscriber_t *s)
{
    int           i;
    rpc_result_t  result;

    for (i = 0; i < STREAMS; i++) {
        if (s->streams[i] != NULL) {
            rpc_stream_cancel(s->streams[i]);
            rpc_stream_finish(s->streams[i], &result);
            rpc_result_free(&result);
        }
    }
}
