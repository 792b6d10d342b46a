
/*
 * Lines of myservice_metrics, in the text format of Prometheus.
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 */

#include "operator/metrics_text.h"


static ngx_int_t ms_metrics_line(ms_metrics_t *m,
    const ms_metrics_family_t *family, ms_metrics_upstream_t *u, ngx_uint_t n);
static ngx_atomic_t *ms_metrics_counts(ms_metrics_t *m,
    const ms_metrics_family_t *family, ms_metrics_upstream_t *u);
static u_char *ms_metrics_seconds(u_char *p, uint64_t time,
    ngx_uint_t second);
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
    ngx_uint_t              i, n;
    ms_metrics_upstream_t  *u;

    for (i = 0; i < (family->gateway ? 1 : m->n); i++) {
        u = family->gateway ? NULL : &m->upstreams[i];

        if (family->with && !family->with(u)) {
            continue;
        }

        for (n = family->first; n < ngx_max(family->end, 1); n++) {
            if (ms_metrics_line(m, family, u, n) != NGX_OK) {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
ms_metrics_line(ms_metrics_t *m, const ms_metrics_family_t *family,
    ms_metrics_upstream_t *u, ngx_uint_t n)
{
    u_char    *p;
    uint64_t   value;

    p = ms_page_room(&m->page, MS_METRICS_LINE + (u ? u->label.len : 0));
    if (p == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(p, "%s", family->name);

    if (u) {
        p = ngx_sprintf(p, "{upstream=\"%V\"", &u->label);
    }

    if (family->label) {
        p = ngx_sprintf(p, "%s%s=\"%s\"", u ? "," : "{", family->label,
                        family->text ? family->text(n) : family->texts[n]);
    }

    if (u || family->label) {
        *p++ = '}';
    }

    *p++ = ' ';

    value = family->value ? family->value(m, u, n)
                          : ms_metrics_counts(m, family, u)[n];

    p = family->seconds ? ms_metrics_seconds(p, value, 1000)
                        : ngx_sprintf(p, "%uL", value);
    *p++ = '\n';
    m->page.buf->last = p;

    return NGX_OK;
}


static ngx_atomic_t *
ms_metrics_counts(ms_metrics_t *m, const ms_metrics_family_t *family,
    ms_metrics_upstream_t *u)
{
    u_char  *counts;

    counts = u ? (u_char *) &u->counts : (u_char *) &m->counts;

    return (ngx_atomic_t *) (counts + family->counts);
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
    times = (ms_times_t *) ms_metrics_counts(m, family, u);

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


/* "second" is 1000 or 1000000 */

static u_char *
ms_metrics_seconds(u_char *p, uint64_t time, ngx_uint_t second)
{
    return second == 1000
           ? ngx_sprintf(p, "%uL.%03uL", time / second, time % second)
           : ngx_sprintf(p, "%uL.%06uL", time / second, time % second);
}
