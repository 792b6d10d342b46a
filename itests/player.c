/*
 * One session under load: its calls, and what each answer counts as.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "itests/player.h"
#include "my_service.pb-c.h"
#include "rpc/server.h"


#define GOAWAYS     2                   /* times that a call is repeated
                                           after a GOAWAY */
#define COUNT(array)  (sizeof(array) / sizeof((array)[0]))

#define COMPLAINTS  10                  /* failures that are printed */

/* ms; for this long a client may not know that its connection is gone */
#define LATE        2000

/* ms between two calls, and until a refused session tries again */
#define PACE        10
#define BACK_OFF    300


/* One call or message. */
typedef struct {
    int           code;
    const char   *message;
    const char   *pod;                  /* of an answer */
    const char   *decision;             /* NULL: not told */
    int           gateway;              /* from 1; 0: the only one */
    int64_t       start;
    int64_t       end;
} answer_t;


static bool player_seat(player_t *player);
static void player_visit(player_t *player);
static bool player_served(const player_t *player);
static client_t player_hop(player_t *player, int *gateway);
static outcome_t player_call(client_t *client);
static void player_echo(player_t *player);
static void player_stream(player_t *player, int64_t end);
static void player_shutdown(player_t *player);
static void player_answer(player_t *player, const answer_t *answer);
static void player_good(player_t *player, const answer_t *answer);
static void player_bad(player_t *player, const answer_t *answer);
static void player_complain(player_t *player, const answer_t *answer,
    const char *what);
static bool player_pause(player_t *player, int64_t ms);
static bool load_harmed(const load_t *load, harm_t kind, int number,
    int64_t start, int64_t end);
static int load_instance(const char *pod);


void *
player_run(void *data)
{
    player_t  *player = data;

    while (player_seat(player)) {
        player_visit(player);

        pthread_mutex_lock(&player->load->mutex);
        player->load->seats++;
        player->load->count.visits++;
        pthread_cond_broadcast(&player->load->changed);
        pthread_mutex_unlock(&player->load->mutex);

        /* lets another session call first */

        if (player_pause(player, BACK_OFF)) {
            break;
        }
    }

    return NULL;
}


/* Waits for a seat; false at the end of the load. */

static bool
player_seat(player_t *player)
{
    bool     playing;
    load_t  *load;

    load = player->load;

    pthread_mutex_lock(&load->mutex);

    while (load->seats == 0 && !load->stopping) {
        pthread_cond_wait(&load->changed, &load->mutex);
    }

    playing = !load->stopping;

    if (playing) {
        load->seats--;
    }

    pthread_mutex_unlock(&load->mutex);

    return playing;
}


static void
player_visit(player_t *player)
{
    bool           first;
    load_t        *load;
    int64_t        end;

    load = player->load;
    end = load->plan.visit != 0 ? rpc_now() + load->plan.visit : INT64_MAX;
    player->bound = false;
    player->visits++;
    first = true;
    memset(player->served, 0, sizeof(player->served));

    do {
        if (load->plan.streams != 0
            && player->number % load->plan.streams == 0)
        {
            player_stream(player, end);

        } else {
            player_echo(player);
        }

        pthread_mutex_lock(&load->mutex);

        if (player->round != load->round) {
            player->round = load->round;
            memset(player->served, 0, sizeof(player->served));
            first = true;

        } else if (first && player->bound && player_served(player)) {
            first = false;
            load->answered++;
            pthread_cond_broadcast(&load->changed);
        }

        pthread_mutex_unlock(&load->mutex);

        if (player_pause(player, !player->bound ? BACK_OFF
                                 : load->plan.pace != 0 ? load->plan.pace
                                 : PACE))
        {
            return;
        }

    } while (rpc_now() < end);

    if (load->plan.shutdowns != 0
        && (player->number + player->visits) % load->plan.shutdowns == 0
        && player->bound)
    {
        player_shutdown(player);
    }
}


/* Whether each gateway has answered. */

static bool
player_served(const player_t *player)
{
    size_t                   i;
    const stack_gateways_t  *gateways;

    gateways = player->load->plan.gateways;

    for (i = 0; gateways != NULL && i < gateways->n; i++) {
        if (!player->served[i]) {
            return false;
        }
    }

    return true;
}


/* The client with a connection to any of the gateways that are not harmed. */

static client_t
player_hop(player_t *player, int *gateway)
{
    size_t                   i, n;
    client_t                 client;
    int64_t                  now;
    bool                     harmed;
    load_t                  *load;
    const stack_gateways_t  *gateways;

    client = player->client;
    load = player->load;
    gateways = load->plan.gateways;
    *gateway = 0;

    if (gateways == NULL) {
        return client;
    }

    n = (size_t) rand_r(&player->seed) % gateways->n;

    for (i = 0; i < gateways->n; i++) {
        now = rpc_now();

        pthread_mutex_lock(&load->mutex);
        harmed = load_harmed(load, HARM_GATEWAY, (int) n + 1, now, now);
        pthread_mutex_unlock(&load->mutex);

        if (!harmed) {
            break;
        }

        n = (n + 1) % gateways->n;
    }

    if (player->rpcs[n] == NULL) {
        player->rpcs[n] = client_connect(client.test, gateways->address[n],
                                         true);
    }

    if (player->rpcs[n] == NULL) {
        abort();
    }

    client.rpc = player->rpcs[n];
    *gateway = (int) n + 1;

    return client;
}


void
player_disconnect(player_t *player)
{
    size_t  i;

    for (i = 0; i < STACK_GATEWAYS; i++) {
        if (player->rpcs[i] != NULL) {
            rpc_client_free(player->rpcs[i]);
        }
    }
}


/*
 * Two workers in a row may send GOAWAY without having processed the call. The
 * gRPC core repeats it once (gRFC A6); after that the client must.
 */
static outcome_t
player_call(client_t *client)
{
    int        i;
    outcome_t  outcome;

    outcome = call_echo(client, NULL);

    for (i = 0; i < GOAWAYS && outcome.code == GRPC_STATUS_UNAVAILABLE
                && strcmp(outcome.message, "GOAWAY received") == 0;
         i++)
    {
        check_note(client->test, "%s: two workers sent GOAWAY",
                   client->name);
        outcome_free(&outcome);
        outcome = call_echo(client, NULL);
    }

    return outcome;
}


static void
player_echo(player_t *player)
{
    answer_t                       answer;
    client_t                       client;
    outcome_t                      outcome;
    const MyService__EchoResponse *echo;

    client = player_hop(player, &answer.gateway);
    answer.start = rpc_now();
    outcome = player_call(&client);
    answer.end = rpc_now();

    echo = (const MyService__EchoResponse *) outcome.response;

    answer.code = outcome.code;
    answer.message = outcome.message;
    answer.pod = echo != NULL ? echo->pod_name : NULL;
    answer.decision = outcome.decision;

    if (echo != NULL
        && strcmp(echo->server_session_id, player->client.session) != 0)
    {
        answer.code = GRPC_STATUS_DATA_LOSS;
        answer.message = "answer of another session";
    }

    player_answer(player, &answer);
    outcome_free(&outcome);

    /* a channel whose connection was refused waits a while */

    if (answer.code == GRPC_STATUS_UNAVAILABLE && answer.gateway != 0) {
        rpc_client_free(client.rpc);
        player->rpcs[answer.gateway - 1] = NULL;
    }
}


/* Until the end of the visit, or of the stream. */

static void
player_stream(player_t *player, int64_t end)
{
    bool                           stopping;
    answer_t                       answer;
    client_t                       client;
    rpc_result_t                   result;
    rpc_stream_t                  *stream;
    ProtobufCMessage              *message;
    const MyService__EchoResponse *echo;

    client = player_hop(player, &answer.gateway);
    answer.start = rpc_now();
    stream = call_subscribe(&client,
                            check_time_left(player->client.test, 3600000));
    if (stream == NULL) {
        abort();
    }

    do {
        message = rpc_stream_next(stream);
        answer.end = rpc_now();

        if (message == NULL) {
            rpc_stream_finish(stream, &result);

            answer.code = result.code;
            answer.message = result.message;
            player_answer(player, &answer);
            rpc_result_free(&result);

            return;
        }

        echo = (const MyService__EchoResponse *) message;

        /* the time between two messages is not that of a call */

        answer.code = GRPC_STATUS_OK;
        answer.message = "";
        answer.pod = echo->pod_name;
        answer.decision = NULL;
        answer.start = answer.end;
        player_answer(player, &answer);
        protobuf_c_message_free_unpacked(message, NULL);

        pthread_mutex_lock(&player->load->mutex);
        stopping = player->load->stopping;
        pthread_mutex_unlock(&player->load->mutex);

    } while (!stopping && answer.end < end);

    rpc_stream_cancel(stream);
    rpc_stream_finish(stream, &result);
    rpc_result_free(&result);
}


/* Shutdown is not repeatable. It may fail when the instance has ended. */

static void
player_shutdown(player_t *player)
{
    int         instance;
    load_t     *load;
    answer_t    answer;
    client_t    client;
    outcome_t   outcome;

    load = player->load;
    instance = load_instance(player->client.pod);

    client = player_hop(player, &answer.gateway);
    answer.start = rpc_now();
    outcome = call_shutdown(&client, NULL);
    answer.end = rpc_now();
    answer.code = outcome.code;
    answer.message = outcome.message;

    pthread_mutex_lock(&load->mutex);

    if (outcome.code == GRPC_STATUS_OK) {
        if (load->nended < ENDED_MAX) {
            load->ended[load->nended++] = instance;
        }

    } else if (load_harmed(load, HARM_INSTANCE, instance, player->since,
                           answer.end)
               || load_harmed(load, HARM_WORKER, 0, answer.start - LATE,
                              answer.end)
               || (load->plan.ttl != 0
                   && answer.end - player->last > load->plan.ttl))
    {
        load->count.undone++;

    } else {
        load->count.failed++;
        player_complain(player, &answer, "Shutdown failed");
    }

    pthread_mutex_unlock(&load->mutex);

    player->bound = false;
    outcome_free(&outcome);
}


static void
player_answer(player_t *player, const answer_t *answer)
{
    load_t  *load;

    load = player->load;

    pthread_mutex_lock(&load->mutex);

    if (answer->end - answer->start > load->count.slowest) {
        load->count.slowest = answer->end - answer->start;
    }

    if (answer->code == GRPC_STATUS_OK) {
        player_good(player, answer);

    } else {
        player_bad(player, answer);
    }

    pthread_mutex_unlock(&load->mutex);
}


static void
player_good(player_t *player, const answer_t *answer)
{
    load_t  *load;

    load = player->load;
    load->count.calls++;

    if (answer->gateway != 0) {
        player->served[answer->gateway - 1] = true;
    }

    if (player->bound && strcmp(player->client.pod, answer->pod) == 0) {
        player->last = answer->end;
        return;
    }

    if (!player->bound) {
        /* void */

    } else if (load_harmed(load, HARM_INSTANCE,
                           load_instance(player->client.pod), player->since,
                           answer->end))
    {
        load->count.moves++;

        if (answer->decision == NULL
            || strcmp(answer->decision, "MOVED") != 0)
        {
            load->count.silent++;

            if (load->plan.told) {
                player_complain(player, answer, "moved, and was not told");
            }
        }

    } else if (load->plan.ttl == 0
               || answer->end - player->last <= load->plan.ttl)
    {
        load->count.strayed++;
        player_complain(player, answer, "moved for no reason");
    }

    snprintf(player->client.pod, sizeof(player->client.pod), "%s",
             answer->pod);
    player->bound = true;
    player->since = answer->start;
    player->last = answer->end;
}


static void
player_bad(player_t *player, const answer_t *answer)
{
    bool     harmed, idle;
    load_t  *load;

    load = player->load;

    if (answer->code > 0 && answer->code < (int) COUNT(load->count.codes)) {
        load->count.codes[answer->code]++;
    }

    if (answer->code == GRPC_STATUS_RESOURCE_EXHAUSTED && !player->bound) {
        load->count.busy++;
        return;
    }

    harmed = load_harmed(load, HARM_INSTANCE,
                         player->bound ? load_instance(player->client.pod)
                                       : 0,
                         player->bound ? player->since : answer->start,
                         answer->end);
    idle = load->plan.ttl != 0
           && answer->end - player->last > load->plan.ttl;

    if (answer->code == GRPC_STATUS_RESOURCE_EXHAUSTED && (harmed || idle)) {
        load->count.lost++;
        player->bound = false;

    } else if (answer->code == GRPC_STATUS_UNAVAILABLE
               && load_harmed(load, HARM_WORKER, 0, answer->start - LATE,
                              answer->end))
    {
        load->count.cut++;

    } else if (answer->code == GRPC_STATUS_UNAVAILABLE
               && answer->gateway != 0
               && load_harmed(load, HARM_GATEWAY, answer->gateway,
                              answer->start, answer->end))
    {
        load->count.cut++;

    } else if (strcmp(answer->message, "session store unavailable") == 0
               && !player->bound
               && load_harmed(load, HARM_STORE, 0, answer->start,
                              answer->end))
    {
        load->count.unstored++;

    } else if (answer->code == GRPC_STATUS_UNAVAILABLE && harmed) {
        load->count.unrepeatable++;
        check_note(load->test, "%s, session %s, on \"%s\": not repeated: %s",
                   player->client.name, player->client.session,
                   player->bound ? player->client.pod : "", answer->message);

    } else {
        load->count.failed++;
        player_complain(player, answer, "failed");
    }
}


/* The caller holds the mutex. */

static void
player_complain(player_t *player, const answer_t *answer, const char *what)
{
    load_count_t  *count;

    count = &player->load->count;

    if (count->failed + count->strayed
        + (player->load->plan.told ? count->silent : 0) > COMPLAINTS)
    {
        return;
    }

    (void) check(player->load->test, false, "%s, session %s, on \"%s\": %s: "
                 "%s \"%s\", gateway %d, now on \"%s\", after %lld ms",
                 player->client.name, player->client.session,
                 player->bound ? player->client.pod : "", what,
                 check_code_name(answer->code), answer->message,
                 answer->gateway,
                 answer->code == GRPC_STATUS_OK ? answer->pod : "",
                 (long long) (answer->end - answer->start));
}


/* Up to twice "ms"; true at the end of the load. */

static bool
player_pause(player_t *player, int64_t ms)
{
    bool             stopping;
    load_t          *load;
    struct timespec  until;

    load = player->load;
    ms = ms / 2 + rand_r(&player->seed) % ms;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += ms * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;

    pthread_mutex_lock(&load->mutex);

    while (!load->stopping
           && pthread_cond_timedwait(&load->changed, &load->mutex, &until)
              == 0)
    {
        /* void */
    }

    stopping = load->stopping;

    pthread_mutex_unlock(&load->mutex);

    return stopping;
}


/* "number" 0: any.  The caller holds the mutex. */

static bool
load_harmed(const load_t *load, harm_t kind, int number, int64_t start,
    int64_t end)
{
    size_t           i;
    const record_t  *record;

    for (i = 0; i < load->nharms; i++) {
        record = &load->harms[i];

        if (record->kind == kind
            && (number == 0 || record->number == number)
            && record->start <= end && record->end >= start)
        {
            return true;
        }
    }

    return false;
}


static int
load_instance(const char *pod)
{
    int  number;

    return sscanf(pod, "myservice-%d", &number) == 1 ? number : -1;
}
