
/*
 * The page of myservice_metrics, in the text format of Prometheus.
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 */

#include "operator/metrics.h"

#include "operator/page.h"
#include "sessions/sessions.h"
#include "token/conf.h"
#include "token/revocations.h"
#include "token/stats.h"
#include "version.h"
#include "zone/names.h"


/* bytes of a line without the texts in its labels */
#define MS_METRICS_LINE  256


/* an upstream, as it is while the page is written */

typedef struct {
    ms_zone_t               *zone;
    ms_zone_stats_t          stats;
    ms_counts_t              counts;
    ngx_str_t                label;             /* its name, escaped */
} ms_metrics_upstream_t;

typedef struct {
    ms_page_t                page;
    ms_metrics_upstream_t   *upstreams;
    ngx_uint_t               n;
    ngx_shm_zone_t          *tokens;
} ms_metrics_t;

typedef ngx_int_t (*ms_metrics_write_pt)(ms_metrics_t *m, const char *name);

typedef struct {
    const char              *name;
    const char              *type;
    const char              *help;
    ms_metrics_write_pt      write;
} ms_metrics_family_t;


static ngx_int_t ms_metrics_collect(ms_metrics_t *m, ngx_http_request_t *r);
static ngx_int_t ms_metrics_escape(ngx_pool_t *pool, ngx_str_t *text,
    ngx_str_t *label);
static ngx_int_t ms_metrics_line(ms_metrics_t *m, const char *name,
    ms_metrics_upstream_t *u, const char *label, const char *value,
    uint64_t n);
static ngx_int_t ms_metrics_build(ms_metrics_t *m, const char *name);
static ngx_int_t ms_metrics_instances(ms_metrics_t *m, const char *name);
static ngx_int_t ms_metrics_slots(ms_metrics_t *m, const char *name);
static ngx_int_t ms_metrics_decisions(ms_metrics_t *m, const char *name);
static ngx_int_t ms_metrics_ended(ms_metrics_t *m, const char *name);
static ngx_int_t ms_metrics_calls(ms_metrics_t *m, const char *name);
static ngx_int_t ms_metrics_first_byte(ms_metrics_t *m, const char *name);
static ngx_int_t ms_metrics_times(ms_metrics_t *m, const char *name,
    ms_metrics_upstream_t *u, ms_counts_times_t *times);
static ngx_int_t ms_metrics_name_members(ms_metrics_t *m, const char *name);
static ngx_int_t ms_metrics_name_answers(ms_metrics_t *m, const char *name);
static ngx_int_t ms_metrics_tokens(ms_metrics_t *m, const char *name);
static ngx_int_t ms_metrics_cache(ms_metrics_t *m, const char *name);
static ngx_int_t ms_metrics_keys(ms_metrics_t *m, const char *name);
static ngx_int_t ms_metrics_revocations(ms_metrics_t *m, const char *name);


static ngx_str_t  ms_metrics_type =
    ngx_string("text/plain; version=0.0.4; charset=utf-8");


static const char *const  ms_metrics_codes[MS_COUNTS_CODES] = {
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED", "OTHER"
};


/* what the page has, in this order */

static const ms_metrics_family_t  ms_metrics_families[] = {

    { "myservice_build_info", "gauge",
      "1; the labels name the versions of the module and of nginx",
      ms_metrics_build },
    { "myservice_instances", "gauge",
      "members of the upstream by state",
      ms_metrics_instances },
    { "myservice_zone_slots", "gauge",
      "room for instances in the upstream's shared memory",
      ms_metrics_slots },
    { "myservice_decisions_total", "counter",
      "instances that calls asked for, by what the gateway decided",
      ms_metrics_decisions },
    { "myservice_sessions_ended_total", "counter",
      "sessions whose lease ended, by reason",
      ms_metrics_ended },
    { "myservice_calls_total", "counter",
      "calls to the upstream that ended, by gRPC status",
      ms_metrics_calls },
    { "myservice_first_byte_seconds", "histogram",
      "time from connecting to the instance that answered to its header",
      ms_metrics_first_byte },
    { "myservice_name_members", "gauge",
      "members that a resolved name has",
      ms_metrics_name_members },
    { "myservice_name_answers_total", "counter",
      "answers of name servers for a resolved name, by result",
      ms_metrics_name_answers },
    { "myservice_tokens_total", "counter",
      "tokens of calls by verdict, of all upstreams",
      ms_metrics_tokens },
    { "myservice_token_cache_total", "counter",
      "look-ups in the workers' caches of verified tokens, and evictions",
      ms_metrics_cache },
    { "myservice_keys_updates_total", "counter",
      "replacements of keys in workers, by outcome",
      ms_metrics_keys },
    { "myservice_revocations", "gauge",
      "entries of the list of revoked tokens",
      ms_metrics_revocations },
    { NULL, NULL, NULL, NULL }
};


ngx_int_t
ms_metrics_handler(ngx_http_request_t *r)
{
    u_char                     *p;
    ngx_int_t                   rc;
    ms_metrics_t                m;
    const ms_metrics_family_t  *family;

    rc = ms_page_begin(&m.page, r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ms_metrics_collect(&m, r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    for (family = ms_metrics_families; family->name; family++) {

        p = ms_page_room(&m.page, 2 * MS_METRICS_LINE);
        if (p == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        m.page.buf->last = ngx_sprintf(p, "# HELP %s %s\n# TYPE %s %s\n",
                                       family->name, family->help,
                                       family->name, family->type);

        if (family->write(&m, family->name) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    return ms_page_send(&m.page, NGX_HTTP_OK, &ms_metrics_type);
}


static ngx_int_t
ms_metrics_collect(ms_metrics_t *m, ngx_http_request_t *r)
{
    ngx_uint_t               i;
    ngx_array_t             *zones;
    ms_zone_t              **zone;
    ms_jwt_main_conf_t      *jmcf;
    ms_metrics_srv_conf_t   *mscf;
    ms_metrics_upstream_t   *u;

    zones = ms_sessions_zones(r);
    zone = zones->elts;

    u = ngx_palloc(r->pool, zones->nelts * sizeof(ms_metrics_upstream_t) + 1);
    if (u == NULL) {
        return NGX_ERROR;
    }

    m->upstreams = u;
    m->n = zones->nelts;

    for (i = 0; i < m->n; i++, u++) {
        u->zone = zone[i];
        mscf = ngx_http_conf_upstream_srv_conf(u->zone->upstream,
                                          ngx_http_myservice_metrics_module);

        ms_zone_stats(u->zone, &u->stats, r->connection->log);
        ms_counts_sum(mscf->counts, &u->counts);

        if (ms_metrics_escape(r->pool, &u->zone->upstream->host, &u->label)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    jmcf = ngx_http_get_module_main_conf(r, ngx_http_myservice_jwt_module);
    m->tokens = jmcf->zone;

    return NGX_OK;
}


/* the value of a label: backslash, quote and line feed are escaped */

static ngx_int_t
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


/* "u" NULL: not of one upstream */

static ngx_int_t
ms_metrics_line(ms_metrics_t *m, const char *name, ms_metrics_upstream_t *u,
    const char *label, const char *value, uint64_t n)
{
    u_char  *p;

    p = ms_page_room(&m->page, MS_METRICS_LINE + (u ? u->label.len : 0));
    if (p == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(p, "%s{", name);

    if (u) {
        p = ngx_sprintf(p, "upstream=\"%V\",", &u->label);
    }

    m->page.buf->last = ngx_sprintf(p, "%s=\"%s\"} %uL\n", label, value, n);

    return NGX_OK;
}


static ngx_int_t
ms_metrics_build(ms_metrics_t *m, const char *name)
{
    u_char  *p;

    p = ms_page_room(&m->page, MS_METRICS_LINE);
    if (p == NULL) {
        return NGX_ERROR;
    }

    m->page.buf->last = ngx_sprintf(p, "%s{version=\"%s\",nginx=\"%s\"} 1\n",
                                    name, MS_VERSION, NGINX_VERSION);

    return NGX_OK;
}


static ngx_int_t
ms_metrics_instances(ms_metrics_t *m, const char *name)
{
    ngx_uint_t  i, state;

    for (i = 0; i < m->n; i++) {
        for (state = MS_INSTANCE_UNUSED + 1;
             state < MS_INSTANCE_STATES;
             state++)
        {
            if (ms_metrics_line(m, name, &m->upstreams[i], "state",
                                ms_instance_state_name(state),
                                m->upstreams[i].stats.states[state])
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
ms_metrics_slots(ms_metrics_t *m, const char *name)
{
    uint64_t                used;
    ngx_uint_t              i, state;
    ms_metrics_upstream_t  *u;

    for (i = 0; i < m->n; i++) {
        u = &m->upstreams[i];
        used = 0;

        for (state = MS_INSTANCE_UNUSED + 1;
             state < MS_INSTANCE_STATES;
             state++)
        {
            used += u->stats.states[state];
        }

        if (ms_metrics_line(m, name, u, "use", "used", used) != NGX_OK
            || ms_metrics_line(m, name, u, "use", "free",
                               u->stats.capacity - used)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ms_metrics_decisions(ms_metrics_t *m, const char *name)
{
    ngx_uint_t  i, n;

    for (i = 0; i < m->n; i++) {
        for (n = 0; n < MS_CLAIM_DECISIONS; n++) {
            if (ms_metrics_line(m, name, &m->upstreams[i], "decision",
                                (char *) ms_sessions_decision(n)->data,
                                m->upstreams[i].stats.decisions[n])
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
ms_metrics_ended(ms_metrics_t *m, const char *name)
{
    ngx_uint_t  i, n;

    for (i = 0; i < m->n; i++) {
        for (n = MS_END_NONE + 1; n < MS_ENDS; n++) {
            if (ms_metrics_line(m, name, &m->upstreams[i], "reason",
                                ms_pool_end_name(n),
                                m->upstreams[i].stats.ended[n])
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
ms_metrics_calls(ms_metrics_t *m, const char *name)
{
    ngx_uint_t  i, code;

    for (i = 0; i < m->n; i++) {
        for (code = 0; code < MS_COUNTS_CODES; code++) {
            if (ms_metrics_line(m, name, &m->upstreams[i], "grpc_status",
                                ms_metrics_codes[code],
                                m->upstreams[i].counts.calls[code])
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
ms_metrics_first_byte(ms_metrics_t *m, const char *name)
{
    ngx_uint_t  i;

    for (i = 0; i < m->n; i++) {
        if (ms_metrics_times(m, name, &m->upstreams[i],
                             &m->upstreams[i].counts.first_byte)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* a histogram: its buckets are cumulated, its times in seconds */

static ngx_int_t
ms_metrics_times(ms_metrics_t *m, const char *name, ms_metrics_upstream_t *u,
    ms_counts_times_t *times)
{
    u_char      *p;
    uint64_t     count;
    ngx_uint_t   i;

    count = 0;

    for (i = 0; i < MS_COUNTS_BOUNDS + 1; i++) {
        count += times->buckets[i];

        p = ms_page_room(&m->page, MS_METRICS_LINE + u->label.len);
        if (p == NULL) {
            return NGX_ERROR;
        }

        p = ngx_sprintf(p, "%s_bucket{upstream=\"%V\",le=\"", name,
                        &u->label);

        p = i < MS_COUNTS_BOUNDS
            ? ngx_sprintf(p, "%M.%03M", ms_counts_bounds[i] / 1000,
                          ms_counts_bounds[i] % 1000)
            : ngx_sprintf(p, "+Inf");

        m->page.buf->last = ngx_sprintf(p, "\"} %uL\n", count);
    }

    p = ms_page_room(&m->page, 2 * (MS_METRICS_LINE + u->label.len));
    if (p == NULL) {
        return NGX_ERROR;
    }

    m->page.buf->last = ngx_sprintf(p, "%s_sum{upstream=\"%V\"} %uL.%03uL\n"
                                       "%s_count{upstream=\"%V\"} %uL\n",
                                    name, &u->label, times->sum / 1000,
                                    times->sum % 1000, name, &u->label, count);

    return NGX_OK;
}


static ngx_int_t
ms_metrics_name(ms_metrics_t *m, const char *name, ms_metrics_upstream_t *u,
    ngx_uint_t n, const char *result, uint64_t value)
{
    u_char     *p;
    ngx_str_t   text;

    if (ms_metrics_escape(m->page.request->pool, &u->zone->names[n]->text,
                          &text)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    p = ms_page_room(&m->page, MS_METRICS_LINE + u->label.len + text.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(p, "%s{upstream=\"%V\",name=\"%V\"", name, &u->label,
                    &text);

    if (result) {
        p = ngx_sprintf(p, ",result=\"%s\"", result);
    }

    m->page.buf->last = ngx_sprintf(p, "} %uL\n", value);

    return NGX_OK;
}


static ngx_int_t
ms_metrics_name_members(ms_metrics_t *m, const char *name)
{
    ngx_uint_t              i, n;
    ms_slot_t               slot;
    ms_metrics_upstream_t  *u;

    for (i = 0; i < m->n; i++) {
        u = &m->upstreams[i];

        for (n = 0; n < u->zone->nnames; n++) {
            ms_names_state(u->zone, n, &slot, m->page.request->connection->log);

            if (ms_metrics_name(m, name, u, n, NULL, slot.members) != NGX_OK) {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
ms_metrics_name_answers(ms_metrics_t *m, const char *name)
{
    ngx_uint_t              i, n;
    ms_slot_t               slot;
    ms_metrics_upstream_t  *u;

    for (i = 0; i < m->n; i++) {
        u = &m->upstreams[i];

        for (n = 0; n < u->zone->nnames; n++) {
            ms_names_state(u->zone, n, &slot, m->page.request->connection->log);

            if (ms_metrics_name(m, name, u, n, "answered", slot.answers)
                != NGX_OK
                || ms_metrics_name(m, name, u, n, "failed", slot.failures)
                   != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
ms_metrics_tokens(ms_metrics_t *m, const char *name)
{
    ngx_uint_t  i;

    for (i = 0; i < MS_JWT_REASONS; i++) {
        if (ms_metrics_line(m, name, NULL, "status", ms_reason(i).name,
                            ms_jwt_sum(m->tokens, i))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ms_metrics_cache(ms_metrics_t *m, const char *name)
{
    return ms_metrics_line(m, name, NULL, "result", "hit",
                           ms_jwt_sum(m->tokens, MS_JWT_HITS))
           == NGX_OK
           && ms_metrics_line(m, name, NULL, "result", "miss",
                              ms_jwt_sum(m->tokens, MS_JWT_MISSES))
              == NGX_OK
           && ms_metrics_line(m, name, NULL, "result", "evicted",
                              ms_jwt_sum(m->tokens, MS_JWT_EVICTIONS))
              == NGX_OK
           ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ms_metrics_keys(ms_metrics_t *m, const char *name)
{
    return ms_metrics_line(m, name, NULL, "outcome", "updated",
                           ms_jwt_sum(m->tokens, MS_JWT_UPDATES))
           == NGX_OK
           && ms_metrics_line(m, name, NULL, "outcome", "failed",
                              ms_jwt_sum(m->tokens, MS_JWT_FAILURES))
              == NGX_OK
           ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ms_metrics_revocations(ms_metrics_t *m, const char *name)
{
    u_char  *p;

    p = ms_page_room(&m->page, MS_METRICS_LINE);
    if (p == NULL) {
        return NGX_ERROR;
    }

    m->page.buf->last = ngx_sprintf(p, "%s %ui\n", name,
                                    ms_revocations_count());

    return NGX_OK;
}
