/*
 * Starts and ends the threads of a load, and keeps the list of the harm done to
 * the stack; player.c has the calls.
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "itests/player.h"
#include "rpc/server.h"


#define LOGINS  4


/* Only some Logins at a time: the queue of authsvc is bounded. */
typedef struct {
    load_t     *load;
    pthread_t   thread;
    size_t      first;
    bool        ok;
} login_t;


static bool load_open(load_t *load);
static bool load_login(load_t *load);
static void *login_run(void *data);


load_t *
load_start(test_t *test, const load_plan_t *plan)
{
    load_t              *load;
    pthread_condattr_t   attr;

    load = calloc(1, sizeof(load_t) + plan->sessions * sizeof(player_t));
    if (load == NULL) {
        abort();
    }

    load->test = test;
    load->plan = *plan;
    load->seats = plan->seats;

    pthread_mutex_init(&load->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&load->changed, &attr);
    pthread_condattr_destroy(&attr);

    if (!load_open(load) || !load_login(load)) {
        (void) load_stop(load);
        return NULL;
    }

    for ( /* void */ ; load->started < plan->sessions; load->started++) {
        if (pthread_create(&load->players[load->started].thread, NULL,
                           player_run, &load->players[load->started])
            != 0)
        {
            abort();
        }
    }

    return load;
}


bool
load_await(load_t *load)
{
    bool             good;
    struct timespec  until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += check_time_left(load->test, 60000) / 1000;

    pthread_mutex_lock(&load->mutex);

    while (load->answered < load->plan.seats
           && pthread_cond_timedwait(&load->changed, &load->mutex, &until)
              == 0)
    {
        /* void */
    }

    good = load->answered >= load->plan.seats;

    pthread_mutex_unlock(&load->mutex);

    return check(load->test, good, "%zu sessions have an instance",
                 load->plan.seats);
}


bool
load_again(load_t *load)
{
    pthread_mutex_lock(&load->mutex);
    load->round++;
    load->answered = 0;
    pthread_mutex_unlock(&load->mutex);

    return load_await(load);
}


void
load_harm(load_t *load, harm_t kind, int number)
{
    record_t  *record;

    pthread_mutex_lock(&load->mutex);

    if (load->nharms == load->maxharms) {
        load->maxharms = load->maxharms > 0 ? 2 * load->maxharms : 64;
        load->harms = realloc(load->harms,
                              load->maxharms * sizeof(record_t));
        if (load->harms == NULL) {
            abort();
        }
    }

    record = &load->harms[load->nharms++];
    record->kind = kind;
    record->number = number;
    record->start = rpc_now();
    record->end = kind == HARM_WORKER ? record->start : INT64_MAX;

    pthread_mutex_unlock(&load->mutex);
}


void
load_healed(load_t *load, harm_t kind, int number)
{
    size_t  i;

    pthread_mutex_lock(&load->mutex);

    for (i = 0; i < load->nharms; i++) {
        if (load->harms[i].kind == kind
            && load->harms[i].number == number
            && load->harms[i].end == INT64_MAX)
        {
            load->harms[i].end = rpc_now();
        }
    }

    pthread_mutex_unlock(&load->mutex);
}


int
load_ended(load_t *load)
{
    int  instance;

    pthread_mutex_lock(&load->mutex);
    instance = load->nended > 0 ? load->ended[--load->nended] : 0;
    pthread_mutex_unlock(&load->mutex);

    return instance;
}


bool
load_moved(load_t *load)
{
    bool  moved;

    pthread_mutex_lock(&load->mutex);
    moved = load->count.moves + load->count.lost > 0;
    pthread_mutex_unlock(&load->mutex);

    return moved;
}


bool
load_contended(load_t *load)
{
    bool  contended;

    pthread_mutex_lock(&load->mutex);
    contended = load->count.calls > 0 && load->count.busy > 0
                && load->count.visits > 0;
    pthread_mutex_unlock(&load->mutex);

    return contended;
}


load_count_t
load_stop(load_t *load)
{
    size_t         i;
    load_count_t   count;

    pthread_mutex_lock(&load->mutex);
    load->stopping = true;
    pthread_cond_broadcast(&load->changed);
    pthread_mutex_unlock(&load->mutex);

    for (i = 0; i < load->started; i++) {
        pthread_join(load->players[i].thread, NULL);
    }

    for (i = 0; i < load->plan.sessions; i++) {
        client_close(&load->players[i].client);
        player_disconnect(&load->players[i]);
    }

    count = load->count;

    check_note(load->test, "%llu answers, %llu visits, %llu moves, %llu busy, "
               "%llu without a place to move to, %llu cut off with their "
               "worker or gateway, %llu not repeatable, %llu without a store, "
               "%llu Shutdown of instances that were gone; the slowest took %lld ms",
               (unsigned long long) count.calls,
               (unsigned long long) count.visits,
               (unsigned long long) count.moves,
               (unsigned long long) count.busy,
               (unsigned long long) count.lost,
               (unsigned long long) count.cut,
               (unsigned long long) count.unrepeatable,
               (unsigned long long) count.unstored,
               (unsigned long long) count.undone,
               (long long) count.slowest);

    for (i = 0; i < sizeof(count.codes) / sizeof(count.codes[0]); i++) {
        if (count.codes[i] > 0) {
            check_note(load->test, "%llu answers with %s",
                       (unsigned long long) count.codes[i],
                       check_code_name((int) i));
        }
    }

    pthread_cond_destroy(&load->changed);
    pthread_mutex_destroy(&load->mutex);
    free(load->harms);
    free(load);

    return count;
}


static bool
load_open(load_t *load)
{
    size_t     i;
    char       label[64], name[32];
    player_t  *player;

    for (i = 0; i < load->plan.sessions; i++) {
        player = &load->players[i];

        player->load = load;
        player->number = i;
        player->seed = (unsigned) i + 1;

        snprintf(name, sizeof(name), "client %zu", i + 1);
        snprintf(label, sizeof(label), "%s%zu", load->plan.label, i + 1);

        if (client_open(&player->client, load->test, name, label) == -1) {
            return false;
        }
    }

    return true;
}


static bool
load_login(load_t *load)
{
    bool     ok;
    size_t   i;
    login_t  logins[LOGINS];

    ok = true;

    for (i = 0; i < LOGINS; i++) {
        logins[i].load = load;
        logins[i].first = i;
        logins[i].ok = true;

        if (pthread_create(&logins[i].thread, NULL, login_run, &logins[i])
            != 0)
        {
            abort();
        }
    }

    for (i = 0; i < LOGINS; i++) {
        pthread_join(logins[i].thread, NULL);
        ok &= logins[i].ok;
    }

    return ok;
}


static void *
login_run(void *data)
{
    size_t    i;
    login_t  *login = data;

    for (i = login->first; i < login->load->plan.sessions; i += LOGINS) {
        login->ok &= client_login(&login->load->players[i].client);
    }

    return NULL;
}
