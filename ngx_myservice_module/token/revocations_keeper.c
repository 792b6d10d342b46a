
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

/* events are expected to belong to a connection */
static ngx_connection_t  ms_revocations_connection;


void
ms_revocations_keep(ngx_cycle_t *cycle)
{
    ngx_event_t  *ev;

    if (ngx_worker != 0 || !ms_revocations_on()) {
        return;
    }

    /* a reload may have named another file */

    ms_revocations_set_saved(0);

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
    ngx_msec_t           again;
    ms_jwt_main_conf_t  *jmcf;

    jmcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                               ngx_http_myservice_jwt_module);
    again = MS_REVOCATIONS_LOOK;

    if (ngx_current_msec - ms_revocations_swept >= MS_REVOCATIONS_SWEEP) {
        ms_revocations_swept = ngx_current_msec;
        ms_revocations_sweep();
    }

    if (jmcf->revocations_file.len
        && ms_revocations_saved() != ms_revocations_generation()
        && ms_revocations_save(&jmcf->revocations_file, ev->log) == NGX_ERROR)
    {
        again = MS_REVOCATIONS_AGAIN;
    }

    ngx_add_timer(ev, again);
}
