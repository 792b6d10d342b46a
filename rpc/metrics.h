/*
 * Metrics of a service for Prometheus: GET /metrics at an address of its own,
 * HTTP/1.1 without TLS, one request per connection and one connection at a
 * time.  A client has five seconds.
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 */

#ifndef RPC_METRICS_H
#define RPC_METRICS_H


#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "rpc/server.h"


#define RPC_TIMES_BOUNDS  11

/* A row of a table of options; "env" is the prefix of the program. */
#define RPC_METRICS_OPTION(env, value)                                        \
    { "metrics HOST:PORT", env "_METRICS", OPTION_STRING, value, NULL, 0, 255,\
      "address to serve metrics on, at /metrics; else none" }


typedef struct rpc_metrics_s  rpc_metrics_t;

/* Writes families; runs on the server's thread. */
typedef void (*rpc_metrics_pt)(FILE *out, void *data);

/* A histogram, from 5 ms to 10 s; zeroed at first. */
typedef struct {
    atomic_ullong  buckets[RPC_TIMES_BOUNDS + 1];   /* not cumulated */
    atomic_ullong  sum;                             /* milliseconds */
} rpc_times_t;


/*
 * Listens at "address" ("127.0.0.1:9101", "[::1]:0") and starts a thread.  The
 * page has the calls of "server", and what "write" (which may be NULL) adds.
 * NULL with one line in "error".
 */
rpc_metrics_t *rpc_metrics_start(rpc_server_t *server, const char *address,
    rpc_metrics_pt write, void *data, char *error, size_t size);

/* The port it listens on. */
int rpc_metrics_port(const rpc_metrics_t *metrics);

/* Before rpc_server_stop().  NULL is fine. */
void rpc_metrics_stop(rpc_metrics_t *metrics);

/* From any thread. */
void rpc_times_add(rpc_times_t *times, int64_t ms);

/* The two lines that begin a family. */
void rpc_metrics_family(FILE *out, const char *name, const char *type,
    const char *help);

/* The family of a histogram. */
void rpc_metrics_times(FILE *out, const char *name, const char *help,
    rpc_times_t *times);


#endif /* RPC_METRICS_H */
