/* Looks into the store every few seconds. */

#include "authsvc/revoke/courier.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "rpc/log.h"


struct courier_s {
    pthread_t              thread;
    pthread_mutex_t        mutex;
    pthread_cond_t         cond;
    atomic_bool            stopping;
    int64_t                interval;    /* ms */
    store_t               *store;
    const gateways_tls_t  *tls;
};


static void
courier_wait(courier_t *courier)
{
    struct timespec  until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += courier->interval / 1000;
    until.tv_nsec += courier->interval % 1000 * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;

    pthread_mutex_lock(&courier->mutex);

    if (!atomic_load(&courier->stopping)) {
        (void) pthread_cond_timedwait(&courier->cond, &courier->mutex, &until);
    }

    pthread_mutex_unlock(&courier->mutex);
}


/* Logs the begin and the end of an outage, not each attempt. */
static void *
courier_thread(void *data)
{
    int         left;
    char        error[512];
    bool        late;
    courier_t  *courier = data;

    late = false;

    while (!atomic_load(&courier->stopping)) {
        left = gateways_send(courier->store, courier->tls, &courier->stopping,
                             error, sizeof(error));

        if (atomic_load(&courier->stopping)) {
            break;
        }

        if (left != 0 && !late) {
            log_warn("tokens are not revoked everywhere yet: %s (authsvc "
                     "repeats it)", error);
        }

        if (left == 0 && late) {
            log_info("all gateways have acknowledged what is revoked");
        }

        late = left != 0;
        courier_wait(courier);
    }

    return NULL;
}


courier_t *
courier_start(store_t *store, const gateways_tls_t *tls, int64_t interval)
{
    int         rc;
    sigset_t    all, old;
    courier_t  *courier;

    courier = calloc(1, sizeof(courier_t));
    if (courier == NULL) {
        return NULL;
    }

    courier->store = store;
    courier->tls = tls;
    courier->interval = interval;

    /* neither fails on Linux without attributes */
    pthread_mutex_init(&courier->mutex, NULL);
    pthread_cond_init(&courier->cond, NULL);

    /* all signals are for other threads */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(&courier->thread, NULL, courier_thread, courier);
    pthread_sigmask(SIG_SETMASK, &old, NULL);

    if (rc != 0) {
        free(courier);
        errno = rc;
        return NULL;
    }

    return courier;
}


void
courier_stop(courier_t *courier)
{
    if (courier == NULL) {
        return;
    }

    pthread_mutex_lock(&courier->mutex);
    atomic_store(&courier->stopping, true);
    pthread_cond_signal(&courier->cond);
    pthread_mutex_unlock(&courier->mutex);

    pthread_join(courier->thread, NULL);
    pthread_cond_destroy(&courier->cond);
    pthread_mutex_destroy(&courier->mutex);
    store_close(courier->store);
    free(courier);
}
