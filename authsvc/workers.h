/*
 * A bounded pool of threads with a bounded queue.  Each thread has a context
 * of its own, which its jobs get.
 */

#ifndef AUTHSVC_WORKERS_H
#define AUTHSVC_WORKERS_H


#include <stddef.h>


typedef struct workers_s      workers_t;
typedef struct workers_job_s  workers_job_t;

/* To be embedded in what a job needs; the caller's until run() is called and
 * not touched afterwards. */
struct workers_job_s {
    workers_job_t  *next;
    void          (*run)(workers_job_t *job, void *context);
};


/* "contexts" has one entry per thread; the array is copied.  "queue" is how
 * many jobs may wait, "nice" by how much the threads stand back behind all
 * others, 0 to 19.  NULL on error (errno). */
workers_t *workers_create(size_t threads, size_t queue, int nice,
    void *const *contexts);

/* From any thread; -1 when the queue is full. */
int workers_submit(workers_t *workers, workers_job_t *job)
    __attribute__((warn_unused_result));

/* Waits until all jobs are done; none may be submitted any more. */
void workers_free(workers_t *workers);


#endif /* AUTHSVC_WORKERS_H */
