/* The threads that hash passwords, and their queue. */

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "authsvc/serve/workers.h"
#include "authsvc/t/suite.h"


typedef struct {
    workers_job_t  job;
    sem_t         *started;             /* posted by the job, may be NULL */
    sem_t         *gate;                /* waited for by the job */
    void          *context;
    int            order;
    bool           done;
} test_job_t;


static atomic_int  sequence;


static void
run(workers_job_t *job, void *context)
{
    test_job_t  *t = (test_job_t *) job;

    t->context = context;
    t->order = atomic_fetch_add(&sequence, 1);

    if (t->started != NULL) {
        sem_post(t->started);
    }

    if (t->gate != NULL) {
        sem_wait(t->gate);
    }

    t->done = true;
}


START_TEST(test_order)
{
    int          i, context;
    void        *contexts[] = { &context };
    test_job_t   jobs[100] = { 0 };
    workers_t   *workers;

    workers = workers_create(1, 100, 0, contexts);
    ck_assert_ptr_nonnull(workers);

    for (i = 0; i < 100; i++) {
        jobs[i].job.run = run;
        ck_assert_int_eq(workers_submit(workers, &jobs[i].job), 0);
    }

    /* does not throw away what waits */
    workers_free(workers);

    for (i = 0; i < 100; i++) {
        ck_assert(jobs[i].done);
        ck_assert_int_eq(jobs[i].order, i);
        ck_assert_ptr_eq(jobs[i].context, &context);
    }

    workers_free(NULL);
}
END_TEST


START_TEST(test_full)
{
    int          i;
    sem_t        started, gate;
    void        *contexts[] = { NULL, NULL };
    test_job_t   jobs[7] = { 0 };
    workers_t   *workers;

    sem_init(&started, 0, 0);
    sem_init(&gate, 0, 0);
    workers = workers_create(2, 3, 0, contexts);

    for (i = 0; i < 7; i++) {
        jobs[i].job.run = run;
        jobs[i].started = &started;
        jobs[i].gate = &gate;
    }

    /* two run, three wait, one too many */
    for (i = 0; i < 2; i++) {
        ck_assert_int_eq(workers_submit(workers, &jobs[i].job), 0);
        sem_wait(&started);
    }
    for (i = 2; i < 5; i++) {
        ck_assert_int_eq(workers_submit(workers, &jobs[i].job), 0);
    }
    ck_assert_int_eq(workers_submit(workers, &jobs[5].job), -1);

    /* one is done, one of the waiting starts: a place is free */
    sem_post(&gate);
    sem_wait(&started);
    ck_assert_int_eq(workers_submit(workers, &jobs[5].job), 0);
    ck_assert_int_eq(workers_submit(workers, &jobs[6].job), -1);

    for (i = 0; i < 5; i++) {
        sem_post(&gate);
    }
    workers_free(workers);

    for (i = 0; i < 6; i++) {
        ck_assert(jobs[i].done);
    }
    ck_assert(!jobs[6].done);
}
END_TEST


/* Each thread has its own context: none is used by two at a time. */
START_TEST(test_contexts)
{
    int          i;
    sem_t        started, gate;
    char         context[4];
    void        *contexts[4];
    test_job_t   jobs[4] = { 0 };
    workers_t   *workers;

    sem_init(&started, 0, 0);
    sem_init(&gate, 0, 0);

    for (i = 0; i < 4; i++) {
        contexts[i] = &context[i];
        context[i] = 0;
    }

    workers = workers_create(4, 4, 0, contexts);

    for (i = 0; i < 4; i++) {
        jobs[i].job.run = run;
        jobs[i].started = &started;
        jobs[i].gate = &gate;
        ck_assert_int_eq(workers_submit(workers, &jobs[i].job), 0);
    }

    for (i = 0; i < 4; i++) {
        sem_wait(&started);
    }
    for (i = 0; i < 4; i++) {
        sem_post(&gate);
    }
    workers_free(workers);

    for (i = 0; i < 4; i++) {
        *(char *) jobs[i].context += 1;
    }
    for (i = 0; i < 4; i++) {
        ck_assert_int_eq(context[i], 1);
    }
}
END_TEST


typedef struct {
    workers_t   *workers;
    int          accepted;
    test_job_t   jobs[500];
} submitter_t;


static void *
submit(void *data)
{
    int           i;
    submitter_t  *s = data;

    for (i = 0; i < 500; i++) {
        s->jobs[i].job.run = run;
        s->accepted += (workers_submit(s->workers, &s->jobs[i].job) == 0);
    }

    return NULL;
}


/* What is accepted is run, exactly once. */
START_TEST(test_many)
{
    int           i, j, done, accepted;
    void         *contexts[3] = { NULL };
    pthread_t     threads[4];
    submitter_t  *submitters;
    workers_t    *workers;

    submitters = calloc(4, sizeof(submitter_t));
    workers = workers_create(3, 50, 0, contexts);
    atomic_store(&sequence, 0);

    for (i = 0; i < 4; i++) {
        submitters[i].workers = workers;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, submit,
                                        &submitters[i]), 0);
    }
    for (i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    workers_free(workers);

    done = 0;
    accepted = 0;
    for (i = 0; i < 4; i++) {
        accepted += submitters[i].accepted;
        for (j = 0; j < 500; j++) {
            done += submitters[i].jobs[j].done;
        }
    }

    ck_assert_int_ge(accepted, 50);
    ck_assert_int_eq(done, accepted);
    ck_assert_int_eq(atomic_load(&sequence), accepted);
    free(submitters);
}
END_TEST


typedef struct {
    workers_job_t  job;
    int            nice;
    int            policy;
} nice_job_t;


static void
run_nice(workers_job_t *job, void *context)
{
    nice_job_t          *t = (nice_job_t *) job;
    struct sched_param   param;

    (void) context;

    t->nice = getpriority(PRIO_PROCESS, (id_t) gettid());
    ck_assert_int_eq(pthread_getschedparam(pthread_self(), &t->policy,
                                           &param), 0);
}


/* The threads stand back, and only they. */
START_TEST(test_nice)
{
    int          before;
    void        *contexts[] = { NULL };
    nice_job_t   polite = { .job.run = run_nice };
    nice_job_t   plain = { .job.run = run_nice };
    workers_t   *workers;

    before = getpriority(PRIO_PROCESS, 0);

    workers = workers_create(1, 1, 7, contexts);
    ck_assert_int_eq(workers_submit(workers, &polite.job), 0);
    workers_free(workers);
    ck_assert_int_eq(polite.nice, before + 7);
    ck_assert_int_eq(polite.policy, SCHED_BATCH);

    workers = workers_create(1, 1, 0, contexts);
    ck_assert_int_eq(workers_submit(workers, &plain.job), 0);
    workers_free(workers);
    ck_assert_int_eq(plain.nice, before);
    ck_assert_int_ne(plain.policy, SCHED_BATCH);

    ck_assert_int_eq(getpriority(PRIO_PROCESS, 0), before);
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("workers");
    tcase = tcase_create("workers");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, test_order);
    tcase_add_test(tcase, test_full);
    tcase_add_test(tcase, test_contexts);
    tcase_add_test(tcase, test_many);
    tcase_add_test(tcase, test_nice);
    suite_add_tcase(suite, tcase);

    return suite_run(suite);
}
