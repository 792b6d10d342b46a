/*
 * A myservice process for the tests, and calls to it.
 */

#ifndef MYSERVICE_T_INSTANCE_H
#define MYSERVICE_T_INSTANCE_H


#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "my_service.pb-c.h"
#include "rpc/client.h"


/* What a test waits for at most, ms. */
#define PATIENCE  60000


typedef struct {
    pid_t          pid;
    int            log;                 /* its standard error */
    char           text[65536];         /* what was read of it */
    size_t         len;
    char           address[64];
    rpc_client_t  *client;
} instance_t;

typedef struct {
    grpc_status_code   code;
    char               message[768];
    ProtobufCMessage  *response;        /* valid until the next call */
    char               owner[300];      /* initial metadata "session-id" */
    char               calls[16];       /* and "session-calls" */
    char               left[24];        /* and "session-left" */
    char               id[64];          /* and "instance-id" */
    char               drain[16];       /* and "session-drain" */
    char               refused[300];    /* trailer "session-owner" */
    char               leaving[16];     /* and "session-leaving" */
} answer_t;


/* Starts build/myservice on a free port with more arguments (ended by NULL)
 * and waits until it listens. */
void instance_start(instance_t *instance, const char *const *args);

/* Starts it only, with exactly these arguments. */
void instance_spawn(instance_t *instance, const char *const *args);

/* Reads the log until "text" is in it; fails the test after PATIENCE. */
void instance_log_wait(instance_t *instance, const char *text);

/* Reads the log to its end, which is that of the process; fails the test after
 * PATIENCE. */
void instance_log_end(instance_t *instance);

/* The exit code; fails the test after PATIENCE or a signal. */
int instance_wait(instance_t *instance);

/* SIGTERM and wait. */
int instance_stop(instance_t *instance);


/* "token" and "session" NULL: not sent. */
answer_t call_echo(instance_t *instance, const char *token,
    const char *session);
answer_t call_shutdown(instance_t *instance, const char *token,
    const char *session);
answer_t call_method(instance_t *instance, const char *method,
    const rpc_metadata_t *metadata, size_t n);

/* health Check of "" */
answer_t call_health(instance_t *instance);
answer_t call_check(instance_t *instance, const rpc_metadata_t *metadata,
    size_t n);

rpc_stream_t *call_subscribe(instance_t *instance, const char *token,
    const char *session, int64_t timeout);

/* The end of a stream; frees it. */
answer_t stream_end(rpc_stream_t *stream);

#define assert_answer(answer, want_code, want_message)                        \
    do {                                                                      \
        answer_t  got_ = (answer);                                            \
        ck_assert_msg(got_.code == (want_code)                                \
                      && strcmp(got_.message, (want_message)) == 0,           \
                      "got %d \"%s\", want %d \"%s\"", (int) got_.code,       \
                      got_.message, (int) (want_code), (want_message));       \
    } while (0)

/* An Echo of the session by the instance named "pod-1". */
void assert_served(answer_t answer, const char *session);


#endif /* MYSERVICE_T_INSTANCE_H */
