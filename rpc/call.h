/*
 * Inside of the server: what server.c and call.c share.
 *
 * All of it belongs to the server's thread, except what is marked.  A call is
 * alive while "refs" counts something: a tag in the completion queue, the
 * answer a deferred call still waits for, or a callback that runs.
 */

#ifndef RPC_CALL_H
#define RPC_CALL_H


#include <pthread.h>
#include <stdatomic.h>

#include <grpc/grpc.h>

#include "rpc/arena.h"
#include "rpc/server.h"
#include "rpc/timer.h"


#define RPC_METADATA_MAX  8
#define RPC_CODES         17            /* of gRPC */

/* What the completion queue gives back. */
typedef struct {
    void  (*handler)(void *data, bool ok);
    void   *data;
} rpc_tag_t;

typedef struct rpc_method_s  rpc_method_t;
typedef struct rpc_post_s    rpc_post_t;

typedef enum {
    RPC_METHOD_UNARY = 0,
    RPC_METHOD_STREAM,          /* one request, many responses */
    RPC_METHOD_BIDI
} rpc_method_kind_t;

struct rpc_method_s {
    rpc_method_t                      *next;
    char                              *path;
    void                              *registered;
    const ProtobufCMessageDescriptor  *request;
    rpc_handler_pt                     handler;
    void                              *data;
    rpc_method_kind_t                  kind;
    unsigned long long                 ended[RPC_CODES];
};

typedef enum {
    RPC_CALL_FREE = 0,
    RPC_CALL_ARMED,             /* waits for a request */
    RPC_CALL_RUNNING,           /* may send messages and a status */
    RPC_CALL_ENDING,            /* its final batch was started */
    RPC_CALL_CANCELLED          /* nothing may be sent any more */
} rpc_call_state_t;

typedef struct {
    grpc_metadata  elts[RPC_METADATA_MAX];
    size_t         n;
} rpc_call_metadata_t;

typedef struct {
    rpc_event_pt   handler;
    void          *data;
} rpc_callback_t;

struct rpc_call_s {
    rpc_call_t           *next;             /* in the free list */
    rpc_server_t         *server;
    rpc_method_t         *method;           /* NULL: an unknown one */
    rpc_call_state_t      state;
    unsigned              refs;

    /* filled by the core */
    grpc_call            *core;
    gpr_timespec          deadline;
    grpc_call_details     details;
    grpc_metadata_array   metadata;
    grpc_byte_buffer     *payload;
    int                   close;            /* of RECV_CLOSE_ON_SERVER */

    rpc_tag_t             request_tag;
    rpc_tag_t             close_tag;
    rpc_tag_t             read_tag;
    rpc_tag_t             half_tag;
    rpc_tag_t             send_tag;
    rpc_tag_t             final_tag;
    rpc_tag_t             answer_tag;

    unsigned              close_armed:1;
    unsigned              initial_sent:1;
    unsigned              in_flight:1;
    unsigned              reading:1;
    unsigned              half_closed:1;    /* by the client */
    unsigned              deferred:1;
    unsigned              begun:1;          /* its first message has come */

    atomic_bool           cancelled;        /* read by any thread */

    /* of a deferred call, written by the thread that answers */
    atomic_flag           answered;
    grpc_byte_buffer     *answer;
    grpc_status_code      code;
    char                 *message;          /* in the arena */

    void                 *data;
    rpc_callback_t        sent;
    rpc_callback_t        done;
    rpc_callback_t        cancel;
    rpc_callback_t        fire;
    rpc_timer_t           timer;

    rpc_call_metadata_t   initial;
    rpc_call_metadata_t   trailing;

    /* bidi: of one request message, in the memory of the other one */
    rpc_arena_t          *requests;

    rpc_arena_t           arena;
};

/* which of rpc_server_t.open counts the call */
#define RPC_CALL_KIND(call)  ((call)->method->kind != RPC_METHOD_UNARY)

struct rpc_server_s {
    rpc_server_options_t     options;
    grpc_server             *core;
    grpc_completion_queue   *queue;
    rpc_method_t            *methods;
    pthread_t                thread;

    /* of the thread that starts and stops the server */
    unsigned                 started:1;
    unsigned                 threaded:1;
    unsigned                 stopped:1;

    atomic_bool              stopping;
    atomic_bool              cancelling;    /* all calls that are left */
    atomic_uint              active;        /* calls that have begun */

    rpc_timers_t             timers;
    rpc_call_t              *free;
    size_t                   nfree;
    size_t                   calls;         /* not free, armed ones, too */
    int64_t                  open[2];       /* streams (1), other calls */

    rpc_tag_t                shutdown_tag;
    rpc_tag_t                wake_tag;

    /* "wake" is a call that goes nowhere: its empty batches wake the queue */
    grpc_channel            *lame;
    grpc_call               *wake;

    pthread_mutex_t          mutex;         /* for all below */
    pthread_cond_t           cond;
    rpc_post_t              *posts;
    rpc_post_t             **last;
    bool                     closed;        /* no more posts */
    bool                     drained;       /* the core has stopped */
    bool                     idle;          /* "calls" came down to 0 */
};


/* Makes the core put the next request of the method (NULL: of any unknown
 * one) into the queue. */
void rpc_call_arm(rpc_server_t *server, rpc_method_t *method);

/* The last one ends the call. */
void rpc_call_unref(rpc_call_t *call);

/* Waits for the first message of a new call, then runs its handler. */
void rpc_request_begin(rpc_call_t *call);

void rpc_request_read_event(void *data, bool ok);
void rpc_request_half_event(void *data, bool ok);

void rpc_call_free_list(rpc_server_t *server);

/* Runs what was posted. */
void rpc_post_event(void *data, bool ok);

/* Aborts on a transition that rpc_call_state_t does not have. */
void rpc_call_set_state(rpc_call_t *call, rpc_call_state_t state);

void rpc_call_batch(rpc_call_t *call, const grpc_op *ops, size_t n,
    rpc_tag_t *tag);

/* Tells the call when its peer is gone. */
void rpc_call_arm_close(rpc_call_t *call);

/* Counts the end of a call for metrics. */
void rpc_call_count(rpc_call_t *call, grpc_status_code code);

/* Starts the final batch, unless the call has ended.  Takes "message", which
 * may be NULL. */
void rpc_call_final(rpc_call_t *call, grpc_byte_buffer *message,
    grpc_status_code code, const char *text);

void rpc_call_metadata_clear(rpc_call_metadata_t *metadata);


#endif /* RPC_CALL_H */
