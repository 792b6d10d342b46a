/*
 * A thread for what must not wait for calls and must not make them wait: it
 * looks after files once in a while, and at once on SIGHUP or SIGUSR1.
 */

#ifndef AUTHSVC_SERVE_KEEPER_H
#define AUTHSVC_SERVE_KEEPER_H


#include <stdbool.h>
#include <stdint.h>


typedef struct keeper_s  keeper_t;

/* "signalled": on a signal. */
typedef void (*keeper_pt)(void *data, bool signalled);


/* Before any other thread starts, so that the signals are this one's.  -1 with
 * errno. */
int keeper_prepare(void) __attribute__((warn_unused_result));

/* Calls "run" every "interval" milliseconds; NULL with errno. */
keeper_t *keeper_start(int64_t interval, keeper_pt run, void *data);

/* Waits until it has ended.  NULL is fine. */
void keeper_stop(keeper_t *keeper);


#endif /* AUTHSVC_SERVE_KEEPER_H */
