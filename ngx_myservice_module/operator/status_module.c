
/*
 * The state of all pools as JSON, for operators and tests.
 */

#include "operator/status.h"
#include "core/session_text.h"
#include "token/conf.h"
#include "token/stats.h"
#include "version.h"
#include "store/store.h"
#include "zone/names.h"
#include "sessions/sessions.h"


#define MS_STATUS_HEAD                                                        \
    "{\"version\":\"" MS_VERSION "\",\"upstreams\":{"

/* a field of an instance: its name, a number or a fixed word, punctuation */
#define MS_STATUS_FIELD   (32 + NGX_INT64_LEN)

/* what a check found, with quotes and a comma */
#define MS_STATUS_CHECK   sizeof(",\"not serving\"")

/* keys, numbers and punctuation; texts come on top */
#define MS_STATUS_POOL    (640 + 24 * NGX_INT64_LEN)
#define MS_STATUS_STORE   (384 + 18 * NGX_ATOMIC_T_LEN)
#define MS_STATUS_NAME    (160 + 4 * NGX_INT64_LEN)


typedef u_char *(*ms_status_write_pt)(u_char *p, ms_zone_t *zone, void *value);

/* whether an instance has the field */

typedef enum {
    MS_STATUS_ALWAYS = 0,
    MS_STATUS_IF_SET,                           /* its value is not 0 */
    MS_STATUS_IF_CHECKED,                       /* with myservice_health */
    MS_STATUS_IF_LEASED
} ms_status_when_e;

typedef struct {
    const char          *name;
    ms_status_write_pt   write;
    size_t               offset;                /* of ms_member_t */
    ms_status_when_e     when;
} ms_status_field_t;


static ngx_int_t ms_status_handler(ngx_http_request_t *r);
static ngx_int_t ms_status_pools(ms_page_t *page);
static ngx_int_t ms_status_pool(ms_page_t *page, ms_zone_t *zone);
static u_char *ms_status_totals(u_char *p, ms_zone_stats_t *stats);
static ngx_int_t ms_status_store(ms_page_t *page, ms_zone_t *zone);
static ngx_int_t ms_status_names(ms_page_t *page, ms_zone_t *zone);
static u_char *ms_status_member(u_char *p, ms_zone_t *zone,
    ms_member_t *member);
static ngx_uint_t ms_status_shown(ms_status_field_t *field, ms_zone_t *zone,
    ms_member_t *member);
static u_char *ms_status_write_text(u_char *p, ms_zone_t *zone, void *value);
static u_char *ms_status_write_session(u_char *p, ms_zone_t *zone,
    void *value);
static u_char *ms_status_write_flag(u_char *p, ms_zone_t *zone, void *value);
static u_char *ms_status_write_count(u_char *p, ms_zone_t *zone, void *value);
static u_char *ms_status_write_msec(u_char *p, ms_zone_t *zone, void *value);
static u_char *ms_status_write_state(u_char *p, ms_zone_t *zone, void *value);
static u_char *ms_status_write_health(u_char *p, ms_zone_t *zone,
    void *value);
static u_char *ms_status_write_checks(u_char *p, ms_zone_t *zone,
    void *value);
static u_char *ms_status_write_source(u_char *p, ms_zone_t *zone,
    void *value);
static u_char *ms_status_write_name(u_char *p, ms_zone_t *zone, void *value);
static ngx_msec_t ms_status_since(ngx_msec_t time);
static u_char *ms_status_text(u_char *p, const char *key, ngx_str_t *text);
static char *ms_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


static ngx_str_t  ms_status_type = ngx_string("application/json");

static const char *const  ms_status_health[] = {
    [MS_VERDICT_NONE] = "unknown",
    [MS_VERDICT_PASSED] = "serving",
    [MS_VERDICT_FAILED] = "not serving",
    [MS_VERDICT_DEAD] = "failing"
};


/* what status says of an instance, in this order */

static ms_status_field_t  ms_status_fields[] = {

    { "address", ms_status_write_text,
      offsetof(ms_member_t, name), MS_STATUS_ALWAYS },
    { "state", ms_status_write_state,
      offsetof(ms_member_t, state), MS_STATUS_ALWAYS },
    { "drain", ms_status_write_flag,
      offsetof(ms_member_t, drain), MS_STATUS_ALWAYS },
    { "session_drain", ms_status_write_flag,
      offsetof(ms_member_t, reported), MS_STATUS_IF_SET },
    { "removed", ms_status_write_flag,
      offsetof(ms_member_t, removed), MS_STATUS_ALWAYS },
    { "failures", ms_status_write_count,
      offsetof(ms_member_t, failures), MS_STATUS_ALWAYS },
    { "health", ms_status_write_health,
      offsetof(ms_member_t, health), MS_STATUS_IF_CHECKED },
    { "checks", ms_status_write_checks,
      offsetof(ms_member_t, verdicts), MS_STATUS_IF_CHECKED },
    { "since_ms", ms_status_write_msec,
      offsetof(ms_member_t, since), MS_STATUS_ALWAYS },
    { "retry_ms", ms_status_write_msec,
      offsetof(ms_member_t, retry), MS_STATUS_IF_SET },
    { "drain_ms", ms_status_write_msec,
      offsetof(ms_member_t, drained), MS_STATUS_IF_SET },
    { "source", ms_status_write_source,
      offsetof(ms_member_t, source), MS_STATUS_ALWAYS },
    { "name", ms_status_write_name,
      offsetof(ms_member_t, names), MS_STATUS_IF_SET },
    { "session", ms_status_write_session,
      offsetof(ms_member_t, session), MS_STATUS_IF_LEASED },
    { "foreign", ms_status_write_flag,
      offsetof(ms_member_t, foreign), MS_STATUS_IF_LEASED },
    { "moves", ms_status_write_flag,
      offsetof(ms_member_t, moves), MS_STATUS_IF_SET },
    { "age_ms", ms_status_write_msec,
      offsetof(ms_member_t, age), MS_STATUS_IF_LEASED },
    { "idle_ms", ms_status_write_msec,
      offsetof(ms_member_t, idle), MS_STATUS_IF_LEASED },
    { "remaining_ms", ms_status_write_msec,
      offsetof(ms_member_t, remaining), MS_STATUS_IF_LEASED },
    { "epoch", ms_status_write_msec,
      offsetof(ms_member_t, epoch), MS_STATUS_IF_LEASED }
};

#define MS_STATUS_FIELDS                                                      \
    (sizeof(ms_status_fields) / sizeof(ms_status_field_t))


static ngx_command_t  ms_status_commands[] = {

    { ngx_string("myservice_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS, ms_status, 0, 0, NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_myservice_status_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_status_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_status_module_ctx, /* module context */
    ms_status_commands,                    /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ms_status_handler(ngx_http_request_t *r)
{
    ngx_int_t  rc;
    ms_page_t  page;

    rc = ms_page_begin(&page, r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ms_status_pools(&page) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ms_page_send(&page, NGX_HTTP_OK, &ms_status_type);
}


static ngx_int_t
ms_status_pools(ms_page_t *page)
{
    u_char              *p;
    ngx_uint_t           i;
    ngx_array_t         *zones;
    ms_zone_t          **zone;
    ms_jwt_main_conf_t  *jmcf;

    if (ms_page_puts(page, MS_STATUS_HEAD) != NGX_OK) {
        return NGX_ERROR;
    }

    zones = ms_sessions_zones(page->request);
    zone = zones->elts;

    for (i = 0; i < zones->nelts; i++) {

        if ((i && ms_page_puts(page, ",") != NGX_OK)
            || ms_status_pool(page, zone[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    p = ms_page_room(page, sizeof("},\"jwt\":}\n") + MS_JWT_JSON);
    if (p == NULL) {
        return NGX_ERROR;
    }

    jmcf = ngx_http_get_module_main_conf(page->request,
                                         ngx_http_myservice_jwt_module);

    p = ngx_sprintf(p, "},\"jwt\":");
    p = ms_jwt_json(p, jmcf->zone);
    page->buf->last = ngx_sprintf(p, "}\n");

    return NGX_OK;
}


static ngx_int_t
ms_status_pool(ms_page_t *page, ms_zone_t *zone)
{
    uint32_t          from;
    ngx_log_t        *log;
    ngx_uint_t        i, n, first;
    ms_member_t      *members;
    ms_zone_stats_t   stats;

    log = page->request->connection->log;

    members = ngx_palloc(page->request->pool,
                         MS_STATUS_BATCH * sizeof(ms_member_t));
    if (members == NULL) {
        return NGX_ERROR;
    }

    ms_zone_stats(zone, &stats, log);

    if (ms_status_string(page, &zone->upstream->host) != NGX_OK
        || ms_page_puts(page, ":{") != NGX_OK
        || ms_status_upstream(page, zone, &stats) != NGX_OK
        || ms_page_puts(page, ",\"instances\":[") != NGX_OK)
    {
        return NGX_ERROR;
    }

    first = 1;

    for (from = 0; from < stats.limit; /* void */) {

        n = ms_zone_snapshot(zone, &from, members, MS_STATUS_BATCH, log);

        for (i = 0; i < n; i++) {

            if ((!first && ms_page_puts(page, ",") != NGX_OK)
                || ms_status_instance(page, zone, &members[i]) != NGX_OK)
            {
                return NGX_ERROR;
            }

            first = 0;
        }
    }

    return ms_page_puts(page, "]}");
}


ngx_int_t
ms_status_upstream(ms_page_t *page, ms_zone_t *zone, ms_zone_stats_t *stats)
{
    u_char                  *p;
    ms_sessions_srv_conf_t  *scf;

    p = ms_page_room(page, MS_STATUS_POOL + 6 * zone->shm_zone->shm.name.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    p = ms_status_text(p, "zone", &zone->shm_zone->shm.name);

    scf = ngx_http_conf_upstream_srv_conf(zone->upstream,
                                          ngx_http_myservice_sessions_module);

    p = ngx_sprintf(p, ",\"ttl_ms\":%M,\"grace_ms\":%M", scf->ttl,
                    scf->grace);
    page->buf->last = ms_status_totals(p, stats);

    if (stats->places && ms_status_waited(page, zone) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ms_status_store(page, zone) != NGX_OK) {
        return NGX_ERROR;
    }

    return ms_status_names(page, zone);
}


/* nothing without a store */

static ngx_int_t
ms_status_store(ms_page_t *page, ms_zone_t *zone)
{
    u_char             *p;
    ngx_str_t           address;
    ms_store_t         *store;
    ms_store_counts_t  *counts;
    ms_store_shared_t  *sh;

    static const char  *states[] = { "connecting", "connected", "gone" };

    store = ms_store_of(zone->upstream);

    if (store == NULL) {
        return NGX_OK;
    }

    sh = store->sh;
    address.data = sh->address;
    address.len = strnlen((char *) sh->address, sizeof(sh->address));

    p = ms_page_room(page, MS_STATUS_STORE
                           + 6 * (store->url.len + address.len));
    if (p == NULL) {
        return NGX_ERROR;
    }

    counts = &sh->counts;

    p = ngx_sprintf(p, ",\"store\":{");
    p = ms_status_text(p, "url", &store->url);
    p = ngx_sprintf(p, ",\"state\":\"%s\",", states[sh->connected]);
    p = ms_status_text(p, "address", &address);
    p = ngx_sprintf(p, ",\"since_ms\":%M", ms_status_since(sh->since));

    if (sh->read) {
        p = ngx_sprintf(p, ",\"read_ms\":%M", ms_status_since(sh->read));
    }

    page->buf->last = ngx_sprintf(p, ",\"questions\":%uA,"
                                     "\"answers\":%uA,\"answered_us\":%uA,"
                                     "\"own\":%uA,\"given\":%uA,"
                                     "\"denied\":%uA,\"limited\":%uA,"
                                     "\"unavailable\":%uA,\"busy\":%uA,"
                                     "\"renewed\":%uA,\"entered\":%uA,"
                                     "\"changes\":%uA,\"ended\":%uA,"
                                     "\"words\":%uA,\"errors\":%uA,"
                                     "\"connects\":%uA}",
                                  counts->questions, counts->answers,
                                  counts->latency, counts->own,
                                  counts->given, counts->denied,
                                  counts->limited,
                                  counts->unavailable,
                                  counts->busy, counts->renewed,
                                  counts->asserted, counts->changes,
                                  counts->lost, counts->words,
                                  counts->errors, counts->connects);

    return NGX_OK;
}


/* another worker's clock may be ahead */

static ngx_msec_t
ms_status_since(ngx_msec_t time)
{
    return (ngx_msec_t) ngx_max((ngx_msec_int_t) (ngx_current_msec - time), 0);
}


ngx_int_t
ms_status_instance(ms_page_t *page, ms_zone_t *zone, ms_member_t *member)
{
    u_char  *p;

    p = ms_page_room(page, MS_STATUS_FIELDS * MS_STATUS_FIELD + MS_NAME_MAX
                           + MS_POOL_VERDICTS * MS_STATUS_CHECK
                           + 6 * (MS_POOL_NAME_MAX + MS_POOL_SESSION_MAX));
    if (p == NULL) {
        return NGX_ERROR;
    }

    page->buf->last = ms_status_member(p, zone, member);

    return NGX_OK;
}


ngx_int_t
ms_status_string(ms_page_t *page, ngx_str_t *text)
{
    u_char  *p;

    p = ms_page_room(page, 6 * text->len + 2);
    if (p == NULL) {
        return NGX_ERROR;
    }

    page->buf->last = ms_status_write_text(p, NULL, text);

    return NGX_OK;
}


static ngx_int_t
ms_status_names(ms_page_t *page, ms_zone_t *zone)
{
    size_t      size;
    u_char     *p;
    ngx_uint_t  i;
    ms_slot_t   slot;

    size = sizeof(",\"names\":[]")
           + zone->nnames * (MS_STATUS_NAME + MS_NAME_MAX);

    p = ms_page_room(page, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(p, ",\"names\":[");

    for (i = 0; i < zone->nnames; i++) {
        ms_names_state(zone, i, &slot, page->request->connection->log);

        p = ngx_sprintf(p, i ? ",{" : "{");
        p = ms_status_text(p, "name", &zone->names[i]->text);
        p = ngx_sprintf(p, ",\"members\":%uD,\"answers\":%uL,"
                           "\"failures\":%uL",
                        slot.members, slot.answers, slot.failures);

        if (slot.answers) {
            p = ngx_sprintf(p, ",\"answered_ms\":%M",
                            ngx_current_msec > slot.answered
                            ? ngx_current_msec - slot.answered : 0);
        }

        if (slot.state != NGX_OK) {
            p = ngx_sprintf(p, ",\"error\":\"%s\"",
                            ngx_resolver_strerror(slot.state));
        }

        *p++ = '}';
    }

    page->buf->last = ngx_sprintf(p, "]");

    return NGX_OK;
}


static u_char *
ms_status_totals(u_char *p, ms_zone_stats_t *stats)
{
    ngx_uint_t  i, members;

    members = 0;

    for (i = MS_INSTANCE_UNUSED + 1; i < MS_INSTANCE_STATES; i++) {
        members += stats->states[i];
    }

    p = ngx_sprintf(p, ",\"capacity\":%uD,\"members\":%ui,\"states\":{",
                    stats->capacity, members);

    for (i = MS_INSTANCE_UNUSED + 1; i < MS_INSTANCE_STATES; i++) {
        p = ngx_sprintf(p, "%s\"%s\":%uD",
                        i == MS_INSTANCE_UNUSED + 1 ? "" : ",",
                        ms_instance_state_name(i), stats->states[i]);
    }

    p = ngx_sprintf(p, "},\"decisions\":{");

    for (i = 0; i < MS_CLAIM_DECISIONS; i++) {
        p = ngx_sprintf(p, "%s\"%V\":%uL", i ? "," : "",
                        ms_sessions_decision(i),
                        stats->decisions[i]);
    }

    p = ngx_sprintf(p, "},\"ended\":{");

    for (i = MS_END_NONE + 1; i < MS_ENDS; i++) {
        p = ngx_sprintf(p, "%s\"%s\":%uL", i > 1 ? "," : "",
                        ms_pool_end_name(i), stats->ended[i]);
    }

    if (stats->places) {
        p = ngx_sprintf(p, "},\"queue\":{\"length\":%uD,\"waiting\":%uD,"
                           "\"served\":%uD,\"oldest_ms\":%uL",
                        stats->places, stats->line.waiting,
                        stats->line.served, stats->line.oldest);
    }

    return ngx_sprintf(p, "}");
}


static u_char *
ms_status_member(u_char *p, ms_zone_t *zone, ms_member_t *member)
{
    ngx_uint_t          i;
    ms_status_field_t  *field;

    *p++ = '{';

    for (i = 0; i < MS_STATUS_FIELDS; i++) {
        field = &ms_status_fields[i];

        if (ms_status_shown(field, zone, member)) {
            p = ngx_sprintf(p, "%s\"%s\":", i ? "," : "", field->name);
            p = field->write(p, zone, (u_char *) member + field->offset);
        }
    }

    *p++ = '}';

    return p;
}


static ngx_uint_t
ms_status_shown(ms_status_field_t *field, ms_zone_t *zone, ms_member_t *member)
{
    switch (field->when) {

    case MS_STATUS_IF_SET:
        return field->write == ms_status_write_msec
               ? *(uint64_t *) ((u_char *) member + field->offset) != 0
               : *(uint32_t *) ((u_char *) member + field->offset) != 0;

    case MS_STATUS_IF_CHECKED:
        return zone->health;

    case MS_STATUS_IF_LEASED:
        return member->leased;

    default:
        return 1;
    }
}


/* an escaped byte takes up to six */

static u_char *
ms_status_write_text(u_char *p, ms_zone_t *zone, void *value)
{
    ngx_str_t  *text = value;

    *p++ = '"';
    p = (u_char *) ngx_escape_json(p, text->data, text->len);
    *p++ = '"';

    return p;
}


static u_char *
ms_status_write_session(u_char *p, ms_zone_t *zone, void *value)
{
    u_char     out[MS_SESSION_HASH];
    ngx_str_t  hash;

    return ms_status_write_text(p, zone, ms_session_shown(value, &hash, out));
}


static u_char *
ms_status_write_flag(u_char *p, ms_zone_t *zone, void *value)
{
    return ngx_sprintf(p, *(uint32_t *) value ? "true" : "false");
}


static u_char *
ms_status_write_count(u_char *p, ms_zone_t *zone, void *value)
{
    return ngx_sprintf(p, "%uD", *(uint32_t *) value);
}


static u_char *
ms_status_write_msec(u_char *p, ms_zone_t *zone, void *value)
{
    return ngx_sprintf(p, "%uL", *(uint64_t *) value);
}


static u_char *
ms_status_write_state(u_char *p, ms_zone_t *zone, void *value)
{
    return ngx_sprintf(p, "\"%s\"",
                       ms_instance_state_name(*(ms_instance_state_t *) value));
}


static u_char *
ms_status_write_health(u_char *p, ms_zone_t *zone, void *value)
{
    return ngx_sprintf(p, "\"%s\"",
                       ms_status_health[*(ms_verdict_t *) value]);
}


/* the newest first */

static u_char *
ms_status_write_checks(u_char *p, ms_zone_t *zone, void *value)
{
    ngx_uint_t     i;
    ms_verdict_t  *verdicts = value;

    *p++ = '[';

    for (i = 0; i < MS_POOL_VERDICTS && verdicts[i] != MS_VERDICT_NONE; i++) {
        p = ngx_sprintf(p, "%s\"%s\"", i ? "," : "",
                        ms_status_health[verdicts[i]]);
    }

    *p++ = ']';

    return p;
}


/* what keeps it a member; "none" if it only stays for its lease */

static u_char *
ms_status_write_source(u_char *p, ms_zone_t *zone, void *value)
{
    uint32_t  source;

    source = *(uint32_t *) value & ~MS_SOURCE_SEEN;

    return ngx_sprintf(p, "\"%s\"", source & MS_SOURCE_SERVER ? "server"
                                    : source & MS_SOURCE_OPERATOR ? "operator"
                                    : source ? "name" : "none");
}


/* the first of the names that the member was resolved from */

static u_char *
ms_status_write_name(u_char *p, ms_zone_t *zone, void *value)
{
    ngx_uint_t  i;

    for (i = 0; !(*(uint32_t *) value & 1 << i); i++) { /* void */ }

    return ms_status_write_text(p, zone, &zone->names[i]->text);
}


static u_char *
ms_status_text(u_char *p, const char *key, ngx_str_t *text)
{
    p = ngx_sprintf(p, "\"%s\":", key);

    return ms_status_write_text(p, NULL, text);
}


static char *
ms_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ms_status_handler;

    return NGX_CONF_OK;
}
