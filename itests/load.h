/*
 * Sessions that call without end, each in a thread of its own, while a
 * scenario does harm: who failed, who moved, and whether the harm explains it.
 */

#ifndef ITESTS_LOAD_H
#define ITESTS_LOAD_H


#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "itests/check.h"


typedef struct load_s  load_t;

typedef struct {
    const char  *label;             /* of the session ids */
    size_t       sessions;          /* each has a connection of its own */
    size_t       seats;             /* how many of them play at once */
    int64_t      visit;             /* ms that one plays; 0: until the end */
    int64_t      ttl;               /* ms; idle for longer, it may lose its
                                       instance; 0: never that long */
    size_t       shutdowns;         /* every so many visits end with one;
                                       0: none */
    size_t       streams;           /* every so many sessions subscribe
                                       instead of Echo; 0: none */
} load_plan_t;

/* What a scenario does to the stack. */
typedef enum {
    HARM_INSTANCE = 0,              /* one instance dies or drains */
    HARM_WORKER,                    /* connections of clients break */
} harm_t;

typedef struct {
    uint64_t  calls;                /* answered OK; messages of streams too */
    uint64_t  visits;
    uint64_t  moves;                /* of a session whose instance was harmed */
    uint64_t  busy;                 /* 8 for a session without an instance */
    uint64_t  lost;                 /* 8, instance harmed, none was free */
    uint64_t  cut;                  /* 14, in flight on a worker that died */
    uint64_t  unrepeatable;         /* 14, in flight on an instance harmed */
    uint64_t  undone;               /* Shutdown whose instance was harmed */
    uint64_t  strayed;              /* moved, and no harm explains it */
    uint64_t  failed;               /* failed, and no harm explains it */
    int64_t   slowest;              /* ms of one call */
} load_count_t;


/* Opens, logs in and starts them all; NULL after a failed check. */
load_t *load_start(test_t *test, const load_plan_t *plan);

/* Waits until every seat has had an answer. */
bool load_await(load_t *load);

/* Before and after doing it; "instance" is a number as in stack.h. */
void load_harm(load_t *load, harm_t kind, int instance);
void load_healed(load_t *load, int instance);

/* An instance that a Shutdown has ended, 0 if there is none. */
int load_ended(load_t *load);

/* Ends the calls and waits for the threads; prints what was not explained. */
load_count_t load_stop(load_t *load);


#endif /* ITESTS_LOAD_H */
