
/*
 * Lines of myservice_metrics, in the text format of Prometheus.
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 */

#include "operator/metrics_text.h"


static ngx_int_t ms_metrics_histogram(ms_metrics_t *m,
    const ms_metrics_family_t *family, ms_metrics_upstream_t *u);


ngx_int_t
ms_metrics_escape(ngx_pool_t *pool, ngx_str_t *text, ngx_str_t *label)
{
    u_char      *p;
    ngx_uint_t   i;

    p = ngx_pnalloc(pool, 2 * text->len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    label->data = p;

    for (i = 0; i < text->len; i++) {

        if (text->data[i] == '\n') {
            *p++ = '\\';
            *p++ = 'n';
            continue;
        }

        if (text->data[i] == '\\' || text->data[i] == '"') {
            *p++ = '\\';
        }

        *p++ = text->data[i];
    }

    label->len = p - label->data;

    return NGX_OK;
}


u_char *
ms_metrics_open(ms_metrics_t *m, const char *name, ms_metrics_upstream_t *u,
    size_t room)
{
    u_char  *p;

    p = ms_page_room(&m->page, MS_METRICS_LINE + (u ? u->label.len : 0)
                               + room);
    if (p == NULL) {
        return NULL;
    }

    p = ngx_sprintf(p, "%s{", name);

    return u ? ngx_sprintf(p, "upstream=\"%V\",", &u->label) : p;
}


ngx_int_t
ms_metrics_each(ms_metrics_t *m, const ms_metrics_family_t *family)
{
    u_char                 *p;
    ngx_uint_t              i, n;
    ms_metrics_upstream_t  *u;

    for (i = 0; i < (family->gateway ? 1 : m->n); i++) {
        u = family->gateway ? NULL : &m->upstreams[i];

        for (n = family->first; n < family->end; n++) {

            p = ms_metrics_open(m, family->name, u, 0);
            if (p == NULL) {
                return NGX_ERROR;
            }

            m->page.buf->last = ngx_sprintf(p, "%s=\"%s\"} %uL\n",
                                            family->label,
                                            family->text ? family->text(n)
                                                         : family->texts[n],
                                            family->value(m, u, n));
        }
    }

    return NGX_OK;
}


ngx_int_t
ms_metrics_time(ms_metrics_t *m, const ms_metrics_family_t *family,
    ms_metrics_upstream_t *u, uint64_t ms)
{
    u_char  *p;

    p = ms_page_room(&m->page, MS_METRICS_LINE + u->label.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(p, "%s{upstream=\"%V\"} ", family->name, &u->label);
    p = ms_metrics_seconds(p, ms, 1000);
    *p++ = '\n';
    m->page.buf->last = p;

    return NGX_OK;
}


ngx_int_t
ms_metrics_times(ms_metrics_t *m, const ms_metrics_family_t *family)
{
    ngx_uint_t  i;

    if (family->gateway) {
        return ms_metrics_histogram(m, family, NULL);
    }

    for (i = 0; i < m->n; i++) {
        if (ms_metrics_histogram(m, family, &m->upstreams[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* its buckets are cumulated, its times in seconds */

static ngx_int_t
ms_metrics_histogram(ms_metrics_t *m, const ms_metrics_family_t *family,
    ms_metrics_upstream_t *u)
{
    u_char                  *p;
    uint64_t                 count;
    ngx_str_t                labels;
    ngx_uint_t               i;
    ms_times_t              *times;
    const ms_times_scale_t  *scale;

    scale = family->scale;
    times = (ms_times_t *) ((u_char *) (u ? (void *) &u->counts
                                          : (void *) &m->counts)
                            + family->times);

    labels.data = ngx_pnalloc(m->page.request->pool,
                              sizeof("{upstream=\"\"}")
                              + (u ? u->label.len : 0));
    if (labels.data == NULL) {
        return NGX_ERROR;
    }

    labels.len = u ? ngx_sprintf(labels.data, "{upstream=\"%V\"}", &u->label)
                     - labels.data
                   : 0;

    count = 0;

    for (i = 0; i <= scale->n; i++) {
        count += times->buckets[i];

        p = ms_page_room(&m->page, MS_METRICS_LINE + labels.len);
        if (p == NULL) {
            return NGX_ERROR;
        }

        p = ngx_sprintf(p, "%s_bucket{", family->name);

        if (u) {
            p = ngx_sprintf(p, "upstream=\"%V\",", &u->label);
        }

        p = ngx_cpymem(p, "le=\"", 4);

        p = i < scale->n
            ? ms_metrics_seconds(p, scale->bounds[i], scale->second)
            : ngx_cpymem(p, "+Inf", 4);

        m->page.buf->last = ngx_sprintf(p, "\"} %uL\n", count);
    }

    p = ms_page_room(&m->page, 2 * (MS_METRICS_LINE + labels.len));
    if (p == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(p, "%s_sum%V ", family->name, &labels);
    p = ms_metrics_seconds(p, times->sum, scale->second);
    m->page.buf->last = ngx_sprintf(p, "\n%s_count%V %uL\n", family->name,
                                    &labels, count);

    return NGX_OK;
}


u_char *
ms_metrics_seconds(u_char *p, uint64_t time, ngx_uint_t second)
{
    return second == 1000
           ? ngx_sprintf(p, "%uL.%03uL", time / second, time % second)
           : ngx_sprintf(p, "%uL.%06uL", time / second, time % second);
}
