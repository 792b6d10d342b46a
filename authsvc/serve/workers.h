/*
 * A pool of threads with a bounded queue.  Each thread has a context of its
 * own and passes it to its jobs.
 */

#ifndef AUTHSVC_SERVE_WORKERS_H
#define AUTHSVC_SERVE_WORKERS_H


#include <stddef.h>


typedef struct workers_s      workers_t;
typedef struct workers_job_s  workers_job_t;

/* The caller embeds this in the data of a job, and owns it.  The pool does not
 * touch the job once it has called run(). */
struct workers_job_s {
    workers_job_t  *next;
    void          (*run)(workers_job_t *job, void *context);
};


/* "contexts" has one entry per thread; the array is copied.  "queue" jobs may
 * wait.  "nice", 0 to 19, is how much nicer the threads are than others.  NULL
 * on error (errno). */
workers_t *workers_create(size_t threads, size_t queue, int nice,
    void *const *contexts);

/* From any thread; -1 when the queue is full. */
int workers_submit(workers_t *workers, workers_job_t *job)
    __attribute__((warn_unused_result));

/* How many jobs wait for a thread. */
size_t workers_waiting(workers_t *workers);

/* Waits until all jobs are done.  Nobody may submit any more. */
void workers_free(workers_t *workers);


#endif /* AUTHSVC_SERVE_WORKERS_H */
