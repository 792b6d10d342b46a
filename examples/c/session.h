/*
 * One session per process, for gRPC services on rpc/.  Meets levels 1 to 3 of
 * the contract between gateway and instance (docs/backend.md), so that a
 * service only asks whose session it serves.  Everything runs on the server's
 * thread.
 */

#ifndef EXAMPLES_SESSION_H
#define EXAMPLES_SESSION_H


#include <stdbool.h>
#include <stdint.h>

#include "rpc/run.h"
#include "rpc/server.h"


typedef struct sessions_s  sessions_t;

typedef struct {
    const char  *listen;
    const char  *service;           /* "package.Service", for health checks */
    int64_t      ttl;               /* ms, where the gateway sends none */
    int64_t      grace;             /* ms for the session after SIGTERM */
    void       (*end)(void *data);  /* the session is over: forget its state */
    void        *data;
} sessions_options_t;


/* Before the server starts.  "options" are borrowed.  NULL on error. */
sessions_t *sessions_create(rpc_run_t *run, rpc_server_t *server,
    const sessions_options_t *options);

/* rpc_run() with what the contract asks for at SIGTERM. */
int sessions_run(sessions_t *sessions) __attribute__((warn_unused_result));

/* After rpc_server_free(). */
void sessions_free(sessions_t *sessions);

/*
 * First of all in a handler.  -1: the call was refused and has ended.  Else it
 * uses the session until it is done; then "done" (may be NULL) runs.  Do not
 * use rpc_call_on_done().
 */
int sessions_enter(sessions_t *sessions, rpc_call_t *call, bool stream,
    rpc_event_pt done, void *data) __attribute__((warn_unused_result));

/* Whose session it is, and ms until it ends if no other call comes.  Between
 * sessions_enter() and "done". */
const char *sessions_id(const sessions_t *sessions);
const char *sessions_subject(const sessions_t *sessions);
int64_t sessions_left(const sessions_t *sessions);

/* The session ends with this call; its other streams end now. */
void sessions_release(sessions_t *sessions, rpc_call_t *call);


#endif /* EXAMPLES_SESSION_H */
