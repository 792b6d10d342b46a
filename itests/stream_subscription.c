/*
 * Streams of a session run beside its other calls on the same instance. They
 * end there when the client cancels; the lease stays.
 */

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "itests/client.h"
#include "itests/scenario.h"
#include "itests/stack.h"
#include "rpc/server.h"


#define STREAMS     2
#define MESSAGES    3
#define ECHO_CALLS  20

#define AT_ONCE       20000             /* ms */
#define CANCEL_LIMIT  20000


static bool stream_open(client_t *client, rpc_stream_t **streams);
static bool stream_calls(client_t *client);
static bool stream_read(client_t *client, rpc_stream_t **streams);
static void stream_cancel(client_t *client, rpc_stream_t *stream,
    rpc_client_t *instance, int left, const char *why);


void
stream_subscription(test_t *test)
{
    int            i;
    char           pod[CLIENT_POD];
    client_t       client;
    const char    *why;
    rpc_client_t  *instance;
    rpc_stream_t  *streams[STREAMS] = { NULL };

    instance = NULL;

    if (client_open(&client, test, "client", "stream") == -1) {
        return;
    }

    if (!client_login(&client) || !client_echo(&client, NULL)) {
        goto done;
    }

    memcpy(pod, client.pod, sizeof(pod));
    instance = stack_owner(test, client.session, &why);

    if (!stream_open(&client, streams) || !stream_calls(&client)
        || !stream_read(&client, streams))
    {
        goto done;
    }

    for (i = 0; i < STREAMS; i++) {
        stream_cancel(&client, streams[i], instance, STREAMS - 1 - i, why);
        streams[i] = NULL;
    }

    (void) client_echo(&client, pod);
    (void) client_shutdown(&client, pod);

done:

    for (i = 0; i < STREAMS; i++) {
        if (streams[i] != NULL) {
            stream_cancel(&client, streams[i], NULL, 0, "failed before");
        }
    }

    rpc_client_free(instance);
    client_close(&client);
}


static bool
stream_open(client_t *client, rpc_stream_t **streams)
{
    int      i;
    int64_t  start;

    for (i = 0; i < STREAMS; i++) {
        start = rpc_now();

        streams[i] = call_subscribe(client,
                                    check_time_left(client->test, 3600000));

        if (streams[i] == NULL
            || !expect_message(client, rpc_stream_next(streams[i]), 0,
                               client->pod)
            || !check(client->test, rpc_now() - start < AT_ONCE,
                      "the first message of stream %d came at once: "
                      "%lld ms", i + 1, (long long) (rpc_now() - start)))
        {
            return false;
        }
    }

    return true;
}


/* All at the same time, while the streams are open. */

static bool
stream_calls(client_t *client)
{
    int         i;
    bool        ok;
    client_t   *clones;
    outcome_t   outcomes[ECHO_CALLS];

    clones = calloc(ECHO_CALLS, sizeof(client_t));
    if (clones == NULL) {
        abort();
    }

    for (i = 0; i < ECHO_CALLS; i++) {
        clones[i] = *client;
    }

    ok = true;

    clients_parallel(clones, ECHO_CALLS, echo_outcome, outcomes);

    for (i = 0; i < ECHO_CALLS; i++) {
        ok &= expect_echo(&clones[i], &outcomes[i], client->pod);
    }

    free(clones);

    return ok;
}


static bool
stream_read(client_t *client, rpc_stream_t **streams)
{
    int  i, index;

    for (index = 1; index < MESSAGES; index++) {
        for (i = 0; i < STREAMS; i++) {
            if (!expect_message(client, rpc_stream_next(streams[i]), index,
                                client->pod))
            {
                return false;
            }
        }
    }

    return true;
}


/* Cancels a stream and waits until "left" calls are in flight on the instance.
 * "instance" is NULL when that cannot be seen; "why" is the reason. */

static void
stream_cancel(client_t *client, rpc_stream_t *stream, rpc_client_t *instance,
    int left, const char *why)
{
    int           n;
    check_t       c;
    int64_t       start;
    rpc_result_t  result;

    if (instance != NULL) {
        n = stack_calls(instance, client->session);
        (void) check(client->test, n == left + 1,
                     "streams on the instance before a cancel: got %d, "
                     "want %d", n, left + 1);
    }

    start = rpc_now();
    rpc_stream_cancel(stream);
    rpc_stream_finish(stream, &result);

    check_begin(&c, client->test, "%s: cancel of a stream", client->name);
    (void) check_code(&c, (int) result.code, GRPC_STATUS_CANCELLED);
    (void) check_done(&c);

    rpc_result_free(&result);

    if (instance == NULL) {
        check_skip(client->test, why, "the stream ends on the instance");
        return;
    }

    do {
        n = stack_calls(instance, client->session);
    } while (n != left && rpc_now() - start < CANCEL_LIMIT
             && poll(NULL, 0, 10) == 0);

    (void) check(client->test, n == left,
                 "it ends on the instance within %d ms, the session stays: "
                 "streams left: got %d, want %d", CANCEL_LIMIT, n, left);
}
