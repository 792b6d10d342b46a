
/*
 * What the log says of a store: changes, not tries, and each once for all
 * workers.
 */

#include "store/report.h"

#include "core/log.h"


/* milliseconds */
#define MS_STORE_COMPLAIN  60000        /* between two lines of one error */
#define MS_STORE_REASON    10000        /* between two reasons why it is gone */


static ngx_uint_t ms_store_report_due(ms_store_shared_t *sh,
    const char *why);


/* one line for each change, whichever worker sees it first */

void
ms_store_report(ms_store_conn_t *sc, ngx_uint_t connected, const char *why)
{
    ms_store_t         *store;
    ngx_atomic_t        was;
    ms_store_shared_t  *sh;

    store = sc->store;
    sh = store->sh;
    was = sh->connected;

    if (connected) {
        if (was != 1 && ngx_atomic_cmp_set(&sh->connected, was, 1)) {
            sh->since = ngx_current_msec;
            ngx_memcpy(sh->address, sc->name, sizeof(sc->name));
            ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                          "store is connected: address %s, store=\"%V\" "
                          "upstream=\"%V\"", sc->name, &store->url,
                          &store->upstream->host);
        }

        return;
    }

    if (was != 2) {

        if (!ngx_atomic_cmp_set(&sh->connected, was, 2)) {
            return;
        }

        sh->since = ngx_current_msec;
        sh->reason = 0;
    }

    if (!ms_store_report_due(sh, why)) {
        return;
    }

    ngx_memcpy(sh->address, sc->name, sizeof(sc->name));
    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "store is gone: %s, address %s, store=\"%V\" "
                  "upstream=\"%V\"", why, sc->name, &store->url,
                  &store->upstream->host);
}


/* whether a line is due: for the first reason, and for another one some time
 * later, as of a server that is there again and does not know the password */

static ngx_uint_t
ms_store_report_due(ms_store_shared_t *sh, const char *why)
{
    ngx_atomic_uint_t  hash, was;

    was = sh->reason;
    hash = ngx_crc32_short((u_char *) why, ngx_strlen(why)) | 1;

    if (was == hash
        || (was && ngx_current_msec - sh->reasoned < MS_STORE_REASON)
        || !ngx_atomic_cmp_set(&sh->reason, was, hash))
    {
        return 0;
    }

    sh->reasoned = ngx_current_msec;

    return 1;
}


/* a store without memory answers all new sessions so: one line a minute, of each
 * kind of errors */

void
ms_store_report_error(ms_store_t *store, const char *error)
{
    size_t                 len;
    ngx_uint_t             i, hash;
    ms_store_complaint_t  *complaint, *list;

    len = strcspn(error, " ");
    hash = ngx_crc32_short((u_char *) error, len) | 1;

    list = store->sh->complaints;
    complaint = list;

    for (i = 0; i < MS_STORE_COMPLAINTS; i++) {

        if (list[i].error == hash) {
            complaint = &list[i];

            if (ngx_current_msec - complaint->at < MS_STORE_COMPLAIN) {
                return;
            }

            break;
        }

        if (list[i].error == 0 || list[i].at < complaint->at) {
            complaint = &list[i];
        }
    }

    complaint->error = hash;
    complaint->at = ngx_current_msec;

    ms_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                 "store answers with an error: %s, store=\"%V\" "
                 "upstream=\"%V\"", error, &store->url,
                 &store->upstream->host);
}
