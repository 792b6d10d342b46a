/*
 * Runs a server until SIGTERM, SIGINT or rpc_run_quit(), then drains it.  It
 * may go on for a while after a signal; one more ends the process at once.
 */

#ifndef RPC_RUN_H
#define RPC_RUN_H


#include <stdbool.h>
#include <stdint.h>

#include "rpc/health.h"
#include "rpc/metrics.h"
#include "rpc/server.h"


typedef struct rpc_run_s  rpc_run_t;

typedef struct {
    const char               *listen;       /* as rpc_server_listen() */
    grpc_server_credentials  *credentials;  /* taken; NULL means plaintext */
    rpc_health_t             *health;       /* may be NULL */
    int64_t                   grace;        /* ms for running calls */
    const char               *warning;      /* once it listens; or NULL */

    /* Runs on the server's thread at SIGTERM and SIGINT.  The server then
     * serves on until rpc_run_quit(), for "patience" ms at most.  May be
     * NULL. */
    void                    (*leave)(void *data);
    int64_t                   patience;

    /* Runs on the server's thread when the drain begins, after health became
     * NOT_SERVING; the place to end streams.  May be NULL. */
    void                    (*drain)(void *data);

    /* Runs on the thread of rpc_run() at SIGHUP and SIGUSR1.  NULL: these are
     * ignored, or another thread waits for them. */
    void                    (*reload)(void *data);

    const char               *metrics;      /* as rpc_metrics_start(); NULL:
                                               none */
    rpc_metrics_pt            write;        /* what it adds; may be NULL */

    void                     *data;
} rpc_run_options_t;


/*
 * Blocks SIGTERM, SIGINT, SIGHUP and SIGUSR1, ignores SIGPIPE in this process,
 * and raises its soft limit of descriptors to the hard one.  Call it first,
 * before threads and rpc_server_create().  NULL on error (errno).
 */
rpc_run_t *rpc_run_create(void);

/*
 * Listens, starts the server, logs "listening on ADDRESS", says SERVING (and
 * tells systemd, see rpc/notify.h), waits, drains and stops.  Returns 0 after a stop that was asked for, -1
 * with one line in the log when it could not start, or no longer accepts
 * connections: then a supervisor is to start it again.
 */
int rpc_run(rpc_run_t *run, rpc_server_t *server,
    const rpc_run_options_t *options) __attribute__((warn_unused_result));

/* After rpc_run(): whether a signal asked for the stop, not rpc_run_quit(). */
bool rpc_run_signalled(const rpc_run_t *run);

/* Makes rpc_run() drain and return.  From any thread, at any time. */
void rpc_run_quit(rpc_run_t *run);

/* After rpc_server_free(). */
void rpc_run_free(rpc_run_t *run);


#endif /* RPC_RUN_H */
