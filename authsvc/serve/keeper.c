/* A thread that has the keyring look at its directory once a second. */

#include "authsvc/serve/keeper.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>


struct keeper_s {
    pthread_t        thread;
    atomic_bool      stopping;
    struct timespec  interval;
    keeper_pt        run;
    void            *data;
};


static void
keeper_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGUSR1);
}


int
keeper_prepare(void)
{
    sigset_t  set;

    keeper_signals(&set);
    errno = pthread_sigmask(SIG_BLOCK, &set, NULL);

    return errno == 0 ? 0 : -1;
}


static void *
keeper_thread(void *data)
{
    int        signo;
    sigset_t   set;
    keeper_t  *keeper = data;

    keeper_signals(&set);

    for ( ;; ) {
        signo = sigtimedwait(&set, NULL, &keeper->interval);

        if (atomic_load(&keeper->stopping)) {
            return NULL;
        }

        if (signo > 0 || errno == EAGAIN) {
            keeper->run(keeper->data, signo > 0);
        }
    }
}


keeper_t *
keeper_start(int64_t interval, keeper_pt run, void *data)
{
    int        rc;
    sigset_t   all, old;
    keeper_t  *keeper;

    keeper = calloc(1, sizeof(keeper_t));
    if (keeper == NULL) {
        return NULL;
    }

    keeper->interval.tv_sec = interval / 1000;
    keeper->interval.tv_nsec = interval % 1000 * 1000000;
    keeper->run = run;
    keeper->data = data;

    /* all other signals are for the main thread */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(&keeper->thread, NULL, keeper_thread, keeper);
    pthread_sigmask(SIG_SETMASK, &old, NULL);

    if (rc != 0) {
        free(keeper);
        errno = rc;
        return NULL;
    }

    return keeper;
}


void
keeper_stop(keeper_t *keeper)
{
    if (keeper == NULL) {
        return;
    }

    atomic_store(&keeper->stopping, true);
    pthread_kill(keeper->thread, SIGUSR1);
    pthread_join(keeper->thread, NULL);
    free(keeper);
}
