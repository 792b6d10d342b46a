
/*
 * The first worker frees entries that are past their end, and saves the list
 * when it has changed: once for all changes of a tenth of a second.
 */

#include "token/revocations_keeper.h"

#include "token/conf.h"
#include "token/revocations.h"
#include "token/revocations_file.h"


#define MS_REVOCATIONS_LOOK   100               /* milliseconds */
#define MS_REVOCATIONS_SWEEP  5000
#define MS_REVOCATIONS_AGAIN  1000              /* after a failure */


static void ms_revocations_handler(ngx_event_t *ev);


static ngx_event_t  ms_revocations_timer;
static ngx_msec_t   ms_revocations_swept;

/* the changes that this process has saved: another one may have saved them to
 * another file, which the configuration before a reload named */
static ngx_uint_t   ms_revocations_kept;

/* events are expected to belong to a connection */
static ngx_connection_t  ms_revocations_connection;


void
ms_revocations_keep(ngx_cycle_t *cycle)
{
    ngx_event_t  *ev;

    if (ngx_worker != 0 || !ms_revocations_on()) {
        return;
    }

    ms_revocations_kept = 0;
    ms_revocations_connection.fd = (ngx_socket_t) -1;
    ms_revocations_swept = ngx_current_msec;

    ev = &ms_revocations_timer;
    ngx_memzero(ev, sizeof(ngx_event_t));

    ev->handler = ms_revocations_handler;
    ev->data = &ms_revocations_connection;
    ev->log = cycle->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, 1);
}


static void
ms_revocations_handler(ngx_event_t *ev)
{
    ngx_int_t            rc;
    ngx_msec_t           again;
    ngx_uint_t           generation;
    ms_jwt_main_conf_t  *jmcf;

    jmcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                               ngx_http_myservice_jwt_module);
    again = MS_REVOCATIONS_LOOK;

    if (ngx_current_msec - ms_revocations_swept >= MS_REVOCATIONS_SWEEP) {
        ms_revocations_swept = ngx_current_msec;
        ms_revocations_sweep();
    }

    generation = ms_revocations_generation();

    if (jmcf->revocations_file.len && ms_revocations_kept != generation) {
        rc = ms_revocations_save(&jmcf->revocations_file, ev->log);

        if (rc == NGX_OK) {
            ms_revocations_kept = generation;

        } else if (rc == NGX_ERROR) {
            again = MS_REVOCATIONS_AGAIN;
        }
    }

    ngx_add_timer(ev, again);
}
