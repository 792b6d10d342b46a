/*
 * A closed loop of gRPC calls over HTTP/2: so many connections, so many calls
 * at once, the next one when one has ended.  One thread.
 */

#ifndef BENCH_CALLS_H
#define BENCH_CALLS_H


#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/histogram.h"


typedef struct {
    struct sockaddr_in  address;
    const char         *path;           /* of the method */
    const char         *secret;         /* signs tokens; NULL: none is sent */
    const char         *prefix;         /* of the names of sessions */
    const char         *body;           /* of a message, or NULL ... */
    size_t              size;           /* ... and its length */
    unsigned            connections;
    unsigned            streams;        /* at once on each connection */
    unsigned            active;         /* calls at once on all of them */
    unsigned            sessions;       /* connection i has session i mod n */
    bool                fresh;          /* call i has session i */
    bool                endless;        /* the methods' streams do not end */
    bool                tls;
} calls_conf_t;

typedef struct {
    uint64_t            done;           /* with grpc-status 0 */
    uint64_t            failed;
    uint64_t            bytes;          /* of messages, with their prefixes */
    histogram_t         latency;        /* from the request to the trailers */
    char                error[256];     /* the first one */
} calls_count_t;

typedef struct calls_s  calls_t;


/* Borrows "conf".  Makes tokens, connects nowhere.  NULL: "error" says why. */
calls_t *calls_create(const calls_conf_t *conf, char *error, size_t size);

/*
 * Finds names of sessions that get answers, one after the other: an instance
 * serves only its first session, and the proxy in between does not know that.
 * -1: found too few names.
 */
int calls_probe(calls_t *calls) __attribute__((warn_unused_result));

/* Connects and waits for SETTINGS.  -1: errno. */
int calls_connect(calls_t *calls) __attribute__((warn_unused_result));

/* Keeps "active" calls running until "limit" have begun (0: any number) or the
 * clock shows "end" (nanoseconds of CLOCK_MONOTONIC, 0: any time). */
void calls_run(calls_t *calls, uint64_t limit, uint64_t end);

/* Waits for the calls that run; for endless ones, for the first message. */
void calls_settle(calls_t *calls);

/* Counts from zero; what was counted goes to "count" if it is not NULL. */
void calls_count(calls_t *calls, calls_count_t *count);

uint64_t calls_now(void);


#endif /* BENCH_CALLS_H */
