
/*
 * How long calls waited in the line of an upstream, as status and API show it.
 */

#include "operator/metrics.h"
#include "operator/status.h"


#define MS_WAITED_BUCKET  (sizeof("{\"le_ms\":,\"calls\":},") + 2 * NGX_INT64_LEN)


/* nothing is counted without "myservice_metrics" */

ngx_int_t
ms_status_waited(ms_page_t *page, ms_zone_t *zone)
{
    u_char                  *p;
    uint64_t                 calls;
    ngx_uint_t               i;
    ms_counts_t              counts;
    ms_metrics_srv_conf_t   *mscf;
    const ms_times_scale_t  *scale;

    mscf = ngx_http_conf_upstream_srv_conf(zone->upstream,
                                           ngx_http_myservice_metrics_module);

    p = ms_page_room(page, (MS_TIMES_BOUNDS + 2) * MS_WAITED_BUCKET);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (mscf->counts == NULL) {
        return NGX_OK;
    }

    ms_counts_sum(mscf->counts, &counts, sizeof(ms_counts_t));

    scale = &ms_times_default;
    calls = 0;
    p = ngx_sprintf(p, ",\"waited\":[");

    for (i = 0; i < scale->n; i++) {
        calls += counts.queued.buckets[i];
        p = ngx_sprintf(p, "{\"le_ms\":%uD,\"calls\":%uL},", scale->bounds[i],
                        calls);
    }

    calls += counts.queued.buckets[i];
    page->buf->last = ngx_sprintf(p, "{\"calls\":%uL}]", calls);

    return NGX_OK;
}
