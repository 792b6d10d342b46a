/*
 * Shared by load.c and player.c only.
 */

#ifndef ITESTS_PLAYER_H
#define ITESTS_PLAYER_H


#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "itests/client.h"
#include "itests/load.h"


#define ENDED_MAX  64


typedef struct {
    harm_t    kind;
    int       number;                   /* of the instance or gateway */
    int64_t   start;
    int64_t   end;                      /* INT64_MAX: not healed yet */
} record_t;

/* A session and its thread. */
typedef struct {
    load_t     *load;
    pthread_t   thread;
    client_t    client;
    rpc_client_t  *rpcs[STACK_GATEWAYS];    /* of several gateways; NULL: not
                                               connected */
    unsigned    round;
    bool        served[STACK_GATEWAYS]; /* in this visit and round */
    unsigned    seed;
    size_t      number;
    size_t      visits;
    bool        bound;
    int64_t     since;                  /* start of the first call on
                                           client.pod */
    int64_t     last;                   /* last good answer */
} player_t;

struct load_s {
    test_t           *test;
    load_plan_t       plan;
    pthread_mutex_t   mutex;            /* guards all below */
    pthread_cond_t    changed;
    bool              stopping;
    size_t            seats;            /* seats that are free */
    unsigned          round;
    size_t            answered;         /* visits that had an answer, in this
                                           round */
    size_t            nharms;
    size_t            maxharms;         /* room for so many */
    record_t         *harms;
    size_t            nended;
    int               ended[ENDED_MAX];
    load_count_t      count;
    size_t            started;
    player_t          players[];
};


/* The thread; "data" is its player_t. */
void *player_run(void *data);

void player_disconnect(player_t *player);


#endif /* ITESTS_PLAYER_H */
