/*
 * Sessions that call without end, each in a thread of its own, while a scenario
 * does harm to the stack. Counts the calls that failed and the sessions that
 * moved, and whether the harm explains each of them.
 */

#ifndef ITESTS_LOAD_H
#define ITESTS_LOAD_H


#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "itests/check.h"
#include "itests/stack.h"


typedef struct load_s  load_t;

typedef struct {
    const char  *label;             /* of the session ids */
    size_t       sessions;          /* each has a connection of its own */
    size_t       seats;             /* sessions that call at the same time */
    int64_t      visit;             /* ms that a session calls; 0: until the
                                       end */
    int64_t      ttl;               /* ms; a session that is idle for longer
                                       may lose its instance; 0: none is */
    size_t       shutdowns;         /* one in so many visits ends with
                                       Shutdown; 0: none */
    size_t       streams;           /* one in so many sessions has a stream
                                       instead of Echo calls; 0: none */
    int64_t      pace;              /* ms between two calls; 0: 10 */
    bool         told;              /* the gateway tells of each move */
    const stack_gateways_t  *gateways;
                                    /* each call goes to one of them, that is
                                       not harmed; NULL: all to the one of the
                                       settings */
} load_plan_t;

/* What a scenario does to the stack. */
typedef enum {
    HARM_INSTANCE = 0,              /* one instance dies or drains */
    HARM_WORKER,                    /* connections of clients break */
    HARM_GATEWAY,                   /* of several gateways one dies */
    HARM_STORE,                     /* no new sessions */
} harm_t;

typedef struct {
    uint64_t  calls;                /* answers OK, and messages of streams */
    uint64_t  visits;
    uint64_t  moves;                /* sessions that left an instance after
                                       harm */
    uint64_t  silent;               /* moves that no answer told of */
    uint64_t  busy;                 /* 8 for a session without an instance */
    uint64_t  lost;                 /* 8, instance harmed, none was free */
    uint64_t  cut;                  /* 14, in flight on a worker that died */
    uint64_t  unrepeatable;         /* 14, in flight on an instance harmed */
    uint64_t  unstored;             /* 14, no instance yet, store harmed */
    uint64_t  undone;               /* Shutdown whose instance was harmed */
    uint64_t  strayed;              /* moved without harm that explains it */
    uint64_t  failed;               /* failed without harm that explains it */
    uint64_t  codes[17];            /* answers that were not OK, by status */
    int64_t   slowest;              /* ms of one call */
} load_count_t;


/* Connects, logs in and starts all sessions. NULL after a failed check. */
load_t *load_start(test_t *test, const load_plan_t *plan);

/* Waits until every session that calls has had an answer, of several gateways
 * one of each. */
bool load_await(load_t *load);

/* The same once more, for the calls that start now. */
bool load_again(load_t *load);

/* The scenario calls these before and after the harm. "number" is that of an
 * instance as in stack.h, or of a gateway, from 1; 0 for other harm. */
void load_harm(load_t *load, harm_t kind, int number);
void load_healed(load_t *load, harm_t kind, int number);

/* Number of an instance that a Shutdown has ended, 0 if none has. */
int load_ended(load_t *load);

/* Whether a session has left an instance after harm, or would have had to. */
bool load_moved(load_t *load);

/* Whether sessions were answered, found no instance, and came and went. */
bool load_contended(load_t *load);

/* Ends the calls and waits for the threads. */
load_count_t load_stop(load_t *load);


#endif /* ITESTS_LOAD_H */
