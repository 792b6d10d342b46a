
/*
 * The page of myservice_metrics, in the text format of Prometheus.
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 */

#include "operator/metrics.h"

#include "operator/metrics_store.h"
#include "operator/metrics_text.h"
#include "sessions/sessions.h"
#include "token/conf.h"
#include "token/revocations.h"
#include "token/stats.h"
#include "version.h"
#include "zone/names.h"


static ngx_int_t ms_metrics_collect(ms_metrics_t *m, ngx_http_request_t *r);
static ngx_int_t ms_metrics_write(ms_metrics_t *m,
    const ms_metrics_family_t *family);
static ngx_int_t ms_metrics_build(ms_metrics_t *m,
    const ms_metrics_family_t *family);
static ngx_int_t ms_metrics_names(ms_metrics_t *m,
    const ms_metrics_family_t *family);
static ngx_int_t ms_metrics_name(ms_metrics_t *m, const char *name,
    ms_metrics_upstream_t *u, ngx_uint_t n, const char *result,
    uint64_t value);
static ngx_int_t ms_metrics_key_age(ms_metrics_t *m,
    const ms_metrics_family_t *family);
static ngx_uint_t ms_metrics_key_seen(ms_metrics_t *m, ngx_uint_t keyring,
    ngx_uint_t n);

static const char *ms_metrics_decision(ngx_uint_t n);
static const char *ms_metrics_state(ngx_uint_t n);
static const char *ms_metrics_end(ngx_uint_t n);
static const char *ms_metrics_reason(ngx_uint_t n);

static ngx_uint_t ms_metrics_queued(ms_metrics_upstream_t *u);
static ngx_uint_t ms_metrics_probed(ms_metrics_upstream_t *u);

static uint64_t ms_metrics_instances(ms_metrics_t *m,
    ms_metrics_upstream_t *u, ngx_uint_t n);
static uint64_t ms_metrics_slots(ms_metrics_t *m, ms_metrics_upstream_t *u,
    ngx_uint_t n);
static uint64_t ms_metrics_decisions(ms_metrics_t *m,
    ms_metrics_upstream_t *u, ngx_uint_t n);
static uint64_t ms_metrics_ended(ms_metrics_t *m, ms_metrics_upstream_t *u,
    ngx_uint_t n);
static uint64_t ms_metrics_queue(ms_metrics_t *m,
    ms_metrics_upstream_t *u, ngx_uint_t n);
static uint64_t ms_metrics_queue_oldest(ms_metrics_t *m,
    ms_metrics_upstream_t *u, ngx_uint_t n);
static uint64_t ms_metrics_health_age(ms_metrics_t *m,
    ms_metrics_upstream_t *u, ngx_uint_t n);
static uint64_t ms_metrics_tokens(ms_metrics_t *m, ms_metrics_upstream_t *u,
    ngx_uint_t n);
static uint64_t ms_metrics_revocations_full(ms_metrics_t *m,
    ms_metrics_upstream_t *u, ngx_uint_t n);
static uint64_t ms_metrics_revocations(ms_metrics_t *m,
    ms_metrics_upstream_t *u, ngx_uint_t n);


static ngx_str_t  ms_metrics_type =
    ngx_string("text/plain; version=0.0.4; charset=utf-8");


static const char *const  ms_metrics_codes[MS_COUNTS_CODES] = {
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED", "OTHER"
};

static const char *const  ms_metrics_uses[] = { "used", "free" };

static const char *const  ms_metrics_connection_uses[MS_CONNECTIONS] = {
    [MS_CONNECTION_OPENED] = "opened",
    [MS_CONNECTION_KEPT] = "kept",
    [MS_CONNECTION_SHARED] = "shared"
};

static const char *const  ms_metrics_queue_states[] = {
    "waiting", "served", "room"
};

static const char *const  ms_metrics_check_results[MS_CHECKS] = {
    [MS_CHECK_PASSED] = "passed",
    [MS_CHECK_FAILED] = "failed",
    [MS_CHECK_UNANSWERED] = "unanswered",
    [MS_CHECK_ERROR] = "error"
};

static const char *const  ms_metrics_wait_texts[MS_WAITS] = {
    [MS_WAIT_KEYS] = "keys",
    [MS_WAIT_NAMES] = "names",
    [MS_WAIT_PROBES] = "probes",
    [MS_WAIT_MESSAGE] = "message"
};

static const char *const  ms_metrics_token_texts[MS_JWT_COUNTERS] = {
    [MS_JWT_HITS] = "hit",
    [MS_JWT_MISSES] = "miss",
    [MS_JWT_EVICTIONS] = "evicted",
    [MS_JWT_UPDATES] = "updated",
    [MS_JWT_FAILURES] = "failed"
};


/* what the page has, in this order */

static const ms_metrics_family_t  ms_metrics_families[] = {

    { "myservice_build_info", "gauge",
      "1; the labels name the versions of the module and of nginx",
      ms_metrics_build, .gateway = 1 },
    { "myservice_instances", "gauge",
      "members of the upstream by state",
      ms_metrics_each,
      .label = "state", .first = MS_INSTANCE_UNUSED + 1,
      .end = MS_INSTANCE_STATES,
      .text = ms_metrics_state,
      .value = ms_metrics_instances },
    { "myservice_zone_slots", "gauge",
      "room for instances in the upstream's shared memory",
      ms_metrics_each,
      .label = "use", .end = 2,
      .texts = ms_metrics_uses,
      .value = ms_metrics_slots },
    { "myservice_decisions_total", "counter",
      "instances that calls asked for, by what the gateway decided",
      ms_metrics_each,
      .label = "decision", .end = MS_CLAIM_DECISIONS,
      .text = ms_metrics_decision,
      .value = ms_metrics_decisions },
    { "myservice_assignment_seconds", "histogram",
      "from the begin of a session's first call until its instance was found",
      ms_metrics_times,
      .scale = &ms_times_default,
      .counts = offsetof(ms_counts_t, assignment) },
    { "myservice_sessions_ended_total", "counter",
      "sessions whose lease ended, by reason",
      ms_metrics_each,
      .label = "reason", .first = MS_END_NONE + 1,
      .end = MS_ENDS,
      .text = ms_metrics_end,
      .value = ms_metrics_ended },
    { "myservice_session_seconds", "histogram",
      "how long leases lasted that have ended",
      ms_metrics_times,
      .scale = &ms_times_long,
      .counts = offsetof(ms_counts_t, session) },
    { "myservice_calls_total", "counter",
      "calls to the upstream that ended, by gRPC status",
      ms_metrics_each,
      .label = "grpc_status", .end = MS_COUNTS_CODES,
      .texts = ms_metrics_codes,
      .counts = offsetof(ms_counts_t, calls) },
    { "myservice_first_byte_seconds", "histogram",
      "time from connecting to the instance that answered to its header",
      ms_metrics_times,
      .scale = &ms_times_default,
      .counts = offsetof(ms_counts_t, first_byte) },
    { "myservice_waits_total", "counter",
      "calls that had to wait before they got an instance, by what for",
      ms_metrics_each,
      .gateway = 1, .label = "reason",
      .end = MS_WAITS,
      .texts = ms_metrics_wait_texts,
      .counts = offsetof(ms_gateway_counts_t, waits) },
    { "myservice_queue_sessions", "gauge",
      "sessions in the waiting line (myservice_queue), and room for more",
      ms_metrics_each,
      .label = "state", .end = 3,
      .texts = ms_metrics_queue_states,
      .value = ms_metrics_queue },
    { "myservice_queue_oldest_seconds", "gauge",
      "how long the session has waited that has waited longest",
      ms_metrics_each,
      .with = ms_metrics_queued,
      .value = ms_metrics_queue_oldest, .seconds = 1 },
    { "myservice_queue_seconds", "histogram",
      "how long calls waited in the line that got an instance",
      ms_metrics_times,
      .scale = &ms_times_default,
      .counts = offsetof(ms_counts_t, queued) },
    { "myservice_connections_total", "counter",
      "attempts at instances, by the connection that they were sent on",
      ms_metrics_each,
      .label = "use", .end = MS_CONNECTIONS,
      .texts = ms_metrics_connection_uses,
      .counts = offsetof(ms_counts_t, connections) },
    { "myservice_coalesced_writes_total", "counter",
      "writes to clients that were saved by joining them to others",
      ms_metrics_each,
      .gateway = 1,
      .counts = offsetof(ms_gateway_counts_t, coalesced) },
    { "myservice_decodings_saved_total", "counter",
      "values of clients' header fields that were not decoded again",
      ms_metrics_each,
      .gateway = 1,
      .counts = offsetof(ms_gateway_counts_t, decoded_once) },
    { "myservice_health_checks_total", "counter",
      "probes of instances by result",
      ms_metrics_each,
      .label = "result", .end = MS_CHECKS,
      .texts = ms_metrics_check_results,
      .counts = offsetof(ms_counts_t, checks) },
    { "myservice_health_check_seconds", "histogram",
      "how long probes took",
      ms_metrics_times,
      .scale = &ms_times_default,
      .counts = offsetof(ms_counts_t, probe) },
    { "myservice_health_age_seconds", "gauge",
      "time since the last result of a probe",
      ms_metrics_each,
      .with = ms_metrics_probed,
      .value = ms_metrics_health_age, .seconds = 1 },
    { "myservice_name_members", "gauge",
      "members that a resolved name has",
      ms_metrics_names, .label = NULL },
    { "myservice_name_answers_total", "counter",
      "answers of name servers for a resolved name, by result",
      ms_metrics_names,
      .label = "result" },
    { "myservice_name_lookup_seconds", "histogram",
      "how long the look-ups of names took",
      ms_metrics_times,
      .scale = &ms_times_default,
      .counts = offsetof(ms_counts_t, lookup) },
    { "myservice_tokens_total", "counter",
      "tokens of calls by verdict, of all upstreams",
      ms_metrics_each,
      .gateway = 1, .label = "status",
      .end = MS_JWT_REASONS,
      .text = ms_metrics_reason,
      .value = ms_metrics_tokens },
    { "myservice_token_verification_seconds", "histogram",
      "how long it took to verify tokens that no cache had",
      ms_metrics_times,
      .gateway = 1,
      .scale = &ms_times_short,
      .counts = offsetof(ms_gateway_counts_t, verification) },
    { "myservice_token_cache_total", "counter",
      "look-ups in the workers' caches of verified tokens, and evictions",
      ms_metrics_each,
      .gateway = 1, .label = "result",
      .first = MS_JWT_HITS,
      .end = MS_JWT_UPDATES,
      .texts = ms_metrics_token_texts,
      .value = ms_metrics_tokens },
    { "myservice_keys_updates_total", "counter",
      "replacements of keys in workers, by outcome",
      ms_metrics_each,
      .gateway = 1, .label = "outcome",
      .first = MS_JWT_UPDATES,
      .end = MS_JWT_COUNTERS,
      .texts = ms_metrics_token_texts,
      .value = ms_metrics_tokens },
    { "myservice_key_age_seconds", "gauge",
      "time since the keys of a source changed",
      ms_metrics_key_age, .gateway = 1 },
    { "myservice_revocations", "gauge",
      "entries of the list of revoked tokens",
      ms_metrics_each,
      .gateway = 1,
      .value = ms_metrics_revocations },
    { "myservice_revocations_full", "gauge",
      "1: revocations did not fit, all tokens of before are refused",
      ms_metrics_each,
      .gateway = 1,
      .value = ms_metrics_revocations_full },
    { .name = NULL }
};


ngx_int_t
ms_metrics_handler(ngx_http_request_t *r)
{
    ngx_int_t     rc;
    ms_metrics_t  m;

    rc = ms_page_begin(&m.page, r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ms_metrics_collect(&m, r) != NGX_OK
        || ms_metrics_write(&m, ms_metrics_families) != NGX_OK
        || ms_metrics_write(&m, ms_metrics_store) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ms_page_send(&m.page, NGX_HTTP_OK, &ms_metrics_type);
}


static ngx_int_t
ms_metrics_write(ms_metrics_t *m, const ms_metrics_family_t *family)
{
    u_char  *p;

    for ( /* void */ ; family->name; family++) {

        p = ms_page_room(&m->page, 2 * MS_METRICS_LINE);
        if (p == NULL) {
            return NGX_ERROR;
        }

        m->page.buf->last = ngx_sprintf(p, "# HELP %s %s\n# TYPE %s %s\n",
                                        family->name, family->help,
                                        family->name, family->type);

        if (family->write(m, family) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
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
    ms_metrics_main_conf_t  *mmcf;

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
        ms_counts_sum(mscf->counts, &u->counts, sizeof(ms_counts_t));

        if (ms_metrics_escape(r->pool, &u->zone->upstream->host, &u->label)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    jmcf = ngx_http_get_module_main_conf(r, ngx_http_myservice_jwt_module);
    m->tokens = jmcf->zone;
    m->keyrings = &jmcf->keyrings;

    mmcf = ngx_http_get_module_main_conf(r, ngx_http_myservice_metrics_module);
    ms_counts_sum(mmcf->counts, &m->counts, sizeof(ms_gateway_counts_t));

    return NGX_OK;
}


static ngx_int_t
ms_metrics_build(ms_metrics_t *m, const ms_metrics_family_t *family)
{
    u_char  *p;

    p = ms_metrics_open(m, family->name, NULL, 0);
    if (p == NULL) {
        return NGX_ERROR;
    }

    m->page.buf->last = ngx_sprintf(p, "version=\"%s\",nginx=\"%s\"} 1\n",
                                    MS_VERSION, NGINX_VERSION);

    return NGX_OK;
}


/* with a label: answers by result, else members */

static ngx_int_t
ms_metrics_names(ms_metrics_t *m, const ms_metrics_family_t *family)
{
    ngx_int_t               rc;
    ngx_uint_t              i, n;
    ms_slot_t               slot;
    ms_metrics_upstream_t  *u;

    for (i = 0; i < m->n; i++) {
        u = &m->upstreams[i];

        for (n = 0; n < u->zone->nnames; n++) {
            ms_names_state(u->zone, n, &slot, m->page.request->connection->log);

            if (family->label == NULL) {
                rc = ms_metrics_name(m, family->name, u, n, NULL,
                                     slot.members);

            } else {
                rc = ms_metrics_name(m, family->name, u, n, "answered",
                                     slot.answers)
                     == NGX_OK
                     ? ms_metrics_name(m, family->name, u, n, "failed",
                                       slot.failures)
                     : NGX_ERROR;
            }

            if (rc != NGX_OK) {
                return NGX_ERROR;
            }
        }
    }

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

    p = ms_metrics_open(m, name, u, text.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(p, "name=\"%V\"", &text);

    if (result) {
        p = ngx_sprintf(p, ",result=\"%s\"", result);
    }

    m->page.buf->last = ngx_sprintf(p, "} %uL\n", value);

    return NGX_OK;
}


static ngx_int_t
ms_metrics_key_age(ms_metrics_t *m, const ms_metrics_family_t *family)
{
    time_t           age;
    u_char          *p;
    ngx_str_t        label;
    ngx_uint_t       i, n;
    ms_keyring_t   **keyring;
    ms_key_store_t  *store;

    keyring = m->keyrings->elts;

    for (i = 0; i < m->keyrings->nelts; i++) {

        for (n = 0; n < keyring[i]->sources->nelts; n++) {
            store = &keyring[i]->stores[n];

            if (*store->changed == 0 || ms_metrics_key_seen(m, i, n)) {
                continue;
            }

            if (ms_metrics_escape(m->page.request->pool, &store->source->name,
                                  &label)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            p = ms_metrics_open(m, family->name, NULL, label.len);
            if (p == NULL) {
                return NGX_ERROR;
            }

            age = ngx_time() - (time_t) *store->changed;

            m->page.buf->last = ngx_sprintf(p, "source=\"%V\"} %T\n", &label,
                                            ngx_max(age, 0));
        }
    }

    return NGX_OK;
}


/* whether a keyring before this one has the same source */

static ngx_uint_t
ms_metrics_key_seen(ms_metrics_t *m, ngx_uint_t keyring, ngx_uint_t n)
{
    ngx_str_t       *name;
    ngx_uint_t       i, k;
    ms_keyring_t   **keyrings;

    keyrings = m->keyrings->elts;
    name = &keyrings[keyring]->stores[n].source->name;

    for (k = 0; k <= keyring; k++) {

        for (i = 0; i < (k < keyring ? keyrings[k]->sources->nelts : n); i++) {

            if (ngx_strcmp(keyrings[k]->stores[i].source->name.data,
                           name->data)
                == 0)
            {
                return 1;
            }
        }
    }

    return 0;
}


static const char *
ms_metrics_decision(ngx_uint_t n)
{
    return (char *) ms_sessions_decision(n)->data;
}


static const char *
ms_metrics_state(ngx_uint_t n)
{
    return ms_instance_state_name(n);
}


static const char *
ms_metrics_end(ngx_uint_t n)
{
    return ms_pool_end_name(n);
}


static const char *
ms_metrics_reason(ngx_uint_t n)
{
    return ms_reason(n).name;
}


static ngx_uint_t
ms_metrics_queued(ms_metrics_upstream_t *u)
{
    return u->stats.places != 0;
}


static ngx_uint_t
ms_metrics_probed(ms_metrics_upstream_t *u)
{
    return u->zone->health && u->zone->sh->rounds.probed != 0;
}


static uint64_t
ms_metrics_instances(ms_metrics_t *m, ms_metrics_upstream_t *u, ngx_uint_t n)
{
    return u->stats.states[n];
}


static uint64_t
ms_metrics_slots(ms_metrics_t *m, ms_metrics_upstream_t *u, ngx_uint_t n)
{
    uint32_t  unused;

    unused = u->stats.states[MS_INSTANCE_UNUSED];

    return n ? unused : u->stats.capacity - unused;
}


static uint64_t
ms_metrics_decisions(ms_metrics_t *m, ms_metrics_upstream_t *u, ngx_uint_t n)
{
    return u->stats.decisions[n];
}


static uint64_t
ms_metrics_ended(ms_metrics_t *m, ms_metrics_upstream_t *u, ngx_uint_t n)
{
    return u->stats.ended[n];
}


static uint64_t
ms_metrics_queue(ms_metrics_t *m, ms_metrics_upstream_t *u, ngx_uint_t n)
{
    uint64_t          used;
    ms_line_stats_t  *line;

    line = &u->stats.line;

    switch (n) {

    case 0:
        return line->waiting;

    case 1:
        return line->served;

    default:

        /* a reload may have made the line shorter */

        used = line->waiting + line->served;

        return u->stats.places > used ? u->stats.places - used : 0;
    }
}


static uint64_t
ms_metrics_queue_oldest(ms_metrics_t *m, ms_metrics_upstream_t *u,
    ngx_uint_t n)
{
    return u->stats.line.oldest;
}


static uint64_t
ms_metrics_health_age(ms_metrics_t *m, ms_metrics_upstream_t *u, ngx_uint_t n)
{
    ngx_msec_int_t  age;

    /* the clock of the worker that probed may be ahead */
    age = ngx_current_msec - u->zone->sh->rounds.probed;

    return ngx_max(age, 0);
}


static uint64_t
ms_metrics_tokens(ms_metrics_t *m, ms_metrics_upstream_t *u, ngx_uint_t n)
{
    return ms_jwt_sum(m->tokens, n);
}


static uint64_t
ms_metrics_revocations(ms_metrics_t *m, ms_metrics_upstream_t *u,
    ngx_uint_t n)
{
    return ms_revocations_count();
}


static uint64_t
ms_metrics_revocations_full(ms_metrics_t *m, ms_metrics_upstream_t *u,
    ngx_uint_t n)
{
    return ms_revocations_full();
}
