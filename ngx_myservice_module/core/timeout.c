
/*
 * The time that a client gives its call: "grpc-timeout".
 */

#include "core/timeout.h"

#include "core/metadata.h"
#include "wire/timeout.h"


/* a longer time is no limit; timers take 31 bits on any platform */
#define MS_TIMEOUT_MAX  2000000000


ngx_msec_int_t
ms_timeout_left(ngx_http_request_t *r)
{
    int64_t           timeout, spent;
    ngx_time_t       *tp;
    ngx_table_elt_t  *h;

    h = ms_metadata_timeout(r);

    if (h == NULL) {
        return NGX_ERROR;
    }

    timeout = ms_timeout_parse(h->value.data, h->value.len);

    if (timeout < 0 || timeout > MS_TIMEOUT_MAX) {
        return NGX_ERROR;
    }

    tp = ngx_timeofday();
    spent = (int64_t) (tp->sec - r->start_sec) * 1000
            + (int64_t) tp->msec - (int64_t) r->start_msec;

    return timeout > spent ? (ngx_msec_int_t) (timeout - ngx_max(spent, 0))
                           : 0;
}
