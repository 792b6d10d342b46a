/*
 * Threads that take jobs from one queue.
 */

#include "authsvc/serve/workers.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>


typedef struct {
    workers_t  *workers;
    void       *context;
    pthread_t   thread;
} worker_t;

struct workers_s {
    pthread_mutex_t   mutex;
    pthread_cond_t    cond;             /* a job was queued, or stopping */

    /* under the mutex */
    workers_job_t    *head;
    workers_job_t   **tail;
    size_t            waiting;
    bool              stopping;

    int               nice;
    size_t            limit;
    size_t            n;                /* started threads */
    worker_t          list[];
};


/* The next job; NULL: the pool ends. */
static workers_job_t *
workers_next(workers_t *workers)
{
    workers_job_t  *job;

    pthread_mutex_lock(&workers->mutex);

    while (workers->head == NULL && !workers->stopping) {
        pthread_cond_wait(&workers->cond, &workers->mutex);
    }

    job = workers->head;

    if (job != NULL) {
        workers->waiting--;
        workers->head = job->next;
        if (workers->head == NULL) {
            workers->tail = &workers->head;
        }
    }

    pthread_mutex_unlock(&workers->mutex);

    return job;
}


/* Changes the calling thread: on Linux both are per thread.  A thread that may
 * not change runs as it is. */
static void
workers_be_nice(int nice)
{
    struct sched_param  param;

    if (nice == 0) {
        return;
    }

    memset(&param, 0, sizeof(param));
    (void) pthread_setschedparam(pthread_self(), SCHED_BATCH, &param);
    (void) setpriority(PRIO_PROCESS, (id_t) gettid(),
                       getpriority(PRIO_PROCESS, (id_t) gettid()) + nice);
}


static void *
workers_thread(void *data)
{
    worker_t       *worker;
    workers_job_t  *job;

    worker = data;
    workers_be_nice(worker->workers->nice);

    while ((job = workers_next(worker->workers)) != NULL) {
        job->run(job, worker->context);
    }

    return NULL;
}


/* The main thread handles signals. */
static int
workers_start(workers_t *workers, size_t threads, void *const *contexts)
{
    int        rc;
    size_t     i;
    sigset_t   all, old;
    worker_t  *worker;

    sigfillset(&all);
    rc = pthread_sigmask(SIG_SETMASK, &all, &old);
    if (rc != 0) {
        return rc;
    }

    for (i = 0; i < threads && rc == 0; i++) {
        worker = &workers->list[i];
        worker->workers = workers;
        worker->context = contexts[i];
        rc = pthread_create(&worker->thread, NULL, workers_thread, worker);
        workers->n += (rc == 0);
    }

    (void) pthread_sigmask(SIG_SETMASK, &old, NULL);

    return rc;
}


workers_t *
workers_create(size_t threads, size_t queue, int nice, void *const *contexts)
{
    int         rc;
    workers_t  *workers;

    workers = calloc(1, sizeof(workers_t) + threads * sizeof(worker_t));
    if (workers == NULL) {
        return NULL;
    }

    workers->tail = &workers->head;
    workers->limit = queue;
    workers->nice = nice;

    /* neither fails on Linux without attributes */
    pthread_mutex_init(&workers->mutex, NULL);
    pthread_cond_init(&workers->cond, NULL);

    rc = workers_start(workers, threads, contexts);
    if (rc != 0) {
        workers_free(workers);
        errno = rc;
        return NULL;
    }

    return workers;
}


int
workers_submit(workers_t *workers, workers_job_t *job)
{
    int  rc;

    rc = -1;
    job->next = NULL;

    pthread_mutex_lock(&workers->mutex);

    if (workers->waiting < workers->limit) {
        *workers->tail = job;
        workers->tail = &job->next;
        workers->waiting++;
        pthread_cond_signal(&workers->cond);
        rc = 0;
    }

    pthread_mutex_unlock(&workers->mutex);

    return rc;
}


size_t
workers_waiting(workers_t *workers)
{
    size_t  n;

    pthread_mutex_lock(&workers->mutex);
    n = workers->waiting;
    pthread_mutex_unlock(&workers->mutex);

    return n;
}


void
workers_free(workers_t *workers)
{
    size_t  i;

    if (workers == NULL) {
        return;
    }

    pthread_mutex_lock(&workers->mutex);
    workers->stopping = true;
    pthread_cond_broadcast(&workers->cond);
    pthread_mutex_unlock(&workers->mutex);

    for (i = 0; i < workers->n; i++) {
        pthread_join(workers->list[i].thread, NULL);
    }

    pthread_cond_destroy(&workers->cond);
    pthread_mutex_destroy(&workers->mutex);
    free(workers);
}
