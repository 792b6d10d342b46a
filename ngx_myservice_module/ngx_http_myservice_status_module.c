
/*
 * The state of all pools as JSON, for operators and tests.
 */

#include "ngx_http_myservice_jwt.h"
#include "ngx_http_myservice_names.h"
#include "ngx_http_myservice_sessions.h"


/* records per lock hold, and members per buffer */
#define NGX_HTTP_MYSERVICE_STATUS_BATCH   32

/* keys, numbers and punctuation; texts come on top */
#define NGX_HTTP_MYSERVICE_STATUS_MEMBER  (352 + 10 * NGX_INT64_LEN)
#define NGX_HTTP_MYSERVICE_STATUS_POOL    (512 + 16 * NGX_INT64_LEN)
#define NGX_HTTP_MYSERVICE_STATUS_NAME    (160 + 4 * NGX_INT64_LEN)


static ngx_int_t ngx_http_myservice_status_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_myservice_status_pools(ngx_http_request_t *r,
    ngx_chain_t ***last);
static ngx_int_t ngx_http_myservice_status_pool(ngx_http_request_t *r,
    ngx_http_myservice_zone_t *zone, ngx_chain_t ***last);
static u_char *ngx_http_myservice_status_totals(u_char *p,
    ngx_http_myservice_zone_stats_t *stats);
static ngx_int_t ngx_http_myservice_status_names(ngx_http_request_t *r,
    ngx_http_myservice_zone_t *zone, ngx_chain_t ***last);
static u_char *ngx_http_myservice_status_member(u_char *p,
    ngx_http_myservice_zone_t *zone, ngx_http_myservice_member_t *member);
static u_char *ngx_http_myservice_status_text(u_char *p, const char *key,
    ngx_str_t *text);
static ngx_buf_t *ngx_http_myservice_status_buf(ngx_http_request_t *r,
    size_t size, ngx_chain_t ***last);
static char *ngx_http_myservice_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static const char *const  ngx_http_myservice_status_health[] = {
    [MS_VERDICT_NONE] = "unknown",
    [MS_VERDICT_PASSED] = "serving",
    [MS_VERDICT_FAILED] = "failing"
};


static ngx_command_t  ngx_http_myservice_status_commands[] = {

    { ngx_string("myservice_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_myservice_status,
      0,
      0,
      NULL },

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
    ngx_http_myservice_status_commands,    /* module directives */
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
ngx_http_myservice_status_handler(ngx_http_request_t *r)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t  *out, **last, *cl;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    out = NULL;
    last = &out;

    if (ngx_http_myservice_status_pools(r, &last) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = 0;
    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    b = NULL;

    for (cl = out; cl; cl = cl->next) {
        b = cl->buf;
        r->headers_out.content_length_n += b->last - b->pos;
    }

    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, out);
}


static ngx_int_t
ngx_http_myservice_status_pools(ngx_http_request_t *r, ngx_chain_t ***last)
{
    ngx_buf_t                   *b;
    ngx_uint_t                   i;
    ngx_array_t                 *zones;
    ngx_http_myservice_zone_t  **zone;

    b = ngx_http_myservice_status_buf(r, sizeof("{\"upstreams\":{"), last);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->last = ngx_sprintf(b->last, "{\"upstreams\":{");

    zones = ngx_http_myservice_sessions_zones(r);
    zone = zones->elts;

    for (i = 0; i < zones->nelts; i++) {

        if (i) {
            b = ngx_http_myservice_status_buf(r, 1, last);
            if (b == NULL) {
                return NGX_ERROR;
            }

            *b->last++ = ',';
        }

        if (ngx_http_myservice_status_pool(r, zone[i], last) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    b = ngx_http_myservice_status_buf(r, sizeof("},\"jwt\":}\n")
                                         + NGX_HTTP_MYSERVICE_JWT_JSON, last);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->last = ngx_sprintf(b->last, "},\"jwt\":");
    b->last = ngx_http_myservice_jwt_json(b->last, r);
    b->last = ngx_sprintf(b->last, "}\n");

    return NGX_OK;
}


static ngx_int_t
ngx_http_myservice_status_pool(ngx_http_request_t *r,
    ngx_http_myservice_zone_t *zone, ngx_chain_t ***last)
{
    uint32_t                          from;
    ngx_buf_t                        *b;
    ngx_log_t                        *log;
    ngx_uint_t                        i, n, first;
    ngx_http_myservice_member_t      *members;
    ngx_http_myservice_zone_stats_t   stats;

    log = r->connection->log;

    members = ngx_palloc(r->pool, NGX_HTTP_MYSERVICE_STATUS_BATCH
                                  * sizeof(ngx_http_myservice_member_t));
    if (members == NULL) {
        return NGX_ERROR;
    }

    ngx_http_myservice_zone_stats(zone, &stats, log);

    b = ngx_http_myservice_status_buf(r, NGX_HTTP_MYSERVICE_STATUS_POOL
                                         + 6 * zone->upstream->host.len
                                         + 6 * zone->shm_zone->shm.name.len,
                                      last);
    if (b == NULL) {
        return NGX_ERROR;
    }

    *b->last++ = '"';
    b->last = (u_char *) ngx_escape_json(b->last, zone->upstream->host.data,
                                         zone->upstream->host.len);
    b->last = ngx_cpymem(b->last, "\":{", 3);
    b->last = ngx_http_myservice_status_text(b->last, "zone",
                                             &zone->shm_zone->shm.name);
    b->last = ngx_http_myservice_status_totals(b->last, &stats);

    if (ngx_http_myservice_status_names(r, zone, last) != NGX_OK) {
        return NGX_ERROR;
    }

    first = 1;

    for (from = 0; from < stats.limit; /* void */) {

        n = ngx_http_myservice_zone_snapshot(zone, &from, members,
                                             NGX_HTTP_MYSERVICE_STATUS_BATCH,
                                             log);

        if (n == 0) {
            continue;
        }

        b = ngx_http_myservice_status_buf(r,
                 n * (NGX_HTTP_MYSERVICE_STATUS_MEMBER
                      + NGX_HTTP_MYSERVICE_NAME_MAX
                      + 6 * (MS_POOL_NAME_MAX + MS_POOL_SESSION_MAX)) + 1,
                 last);
        if (b == NULL) {
            return NGX_ERROR;
        }

        for (i = 0; i < n; i++) {

            if (!first) {
                *b->last++ = ',';
            }

            first = 0;
            b->last = ngx_http_myservice_status_member(b->last, zone,
                                                       &members[i]);
        }
    }

    b = ngx_http_myservice_status_buf(r, sizeof("]}"), last);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->last = ngx_sprintf(b->last, "]}");

    return NGX_OK;
}


static ngx_int_t
ngx_http_myservice_status_names(ngx_http_request_t *r,
    ngx_http_myservice_zone_t *zone, ngx_chain_t ***last)
{
    u_char                     *p;
    ngx_buf_t                  *b;
    ngx_uint_t                  i;
    ngx_http_myservice_slot_t   slot;

    b = ngx_http_myservice_status_buf(r, sizeof(",\"names\":[],\"instances\":[")
                                         + zone->nnames
                                           * (NGX_HTTP_MYSERVICE_STATUS_NAME
                                              + NGX_HTTP_MYSERVICE_NAME_MAX),
                                      last);
    if (b == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(b->last, ",\"names\":[");

    for (i = 0; i < zone->nnames; i++) {
        ngx_http_myservice_names_state(zone, i, &slot, r->connection->log);

        p = ngx_sprintf(p, i ? ",{" : "{");
        p = ngx_http_myservice_status_text(p, "name", &zone->names[i]->text);
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

    b->last = ngx_sprintf(p, "],\"instances\":[");

    return NGX_OK;
}


static u_char *
ngx_http_myservice_status_totals(u_char *p,
    ngx_http_myservice_zone_stats_t *stats)
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

    for (i = 0; i <= MS_CLAIM_FULL; i++) {
        p = ngx_sprintf(p, "%s\"%V\":%uL", i ? "," : "",
                        ngx_http_myservice_sessions_decision(i),
                        stats->decisions[i]);
    }

    return ngx_sprintf(p, "}");
}


static u_char *
ngx_http_myservice_status_member(u_char *p,
    ngx_http_myservice_zone_t *zone, ngx_http_myservice_member_t *member)
{
    ngx_uint_t  i;

    *p++ = '{';

    p = ngx_http_myservice_status_text(p, "address", &member->name);

    p = ngx_sprintf(p, ",\"state\":\"%s\",\"drain\":%s,\"removed\":%s,"
                       "\"failures\":%uD",
                    ms_instance_state_name(member->state),
                    member->drain ? "true" : "false",
                    member->removed ? "true" : "false", member->failures);

    if (zone->health) {
        p = ngx_sprintf(p, ",\"health\":\"%s\"",
                        ngx_http_myservice_status_health[member->health]);
    }

    if (member->retry) {
        p = ngx_sprintf(p, ",\"retry_ms\":%uL", member->retry);
    }

    for (i = 0; i < zone->nnames; i++) {

        if (member->names & (1 << i)) {
            *p++ = ',';
            p = ngx_http_myservice_status_text(p, "name",
                                               &zone->names[i]->text);
            break;
        }
    }

    if (member->leased) {
        *p++ = ',';
        p = ngx_http_myservice_status_text(p, "session", &member->session);
        p = ngx_sprintf(p, ",\"foreign\":%s,\"age_ms\":%uL,\"idle_ms\":%uL,"
                           "\"remaining_ms\":%uL",
                        member->foreign ? "true" : "false", member->age,
                        member->idle, member->remaining);
    }

    *p++ = '}';

    return p;
}


/* an escaped byte takes up to six */

static u_char *
ngx_http_myservice_status_text(u_char *p, const char *key, ngx_str_t *text)
{
    p = ngx_sprintf(p, "\"%s\":\"", key);
    p = (u_char *) ngx_escape_json(p, text->data, text->len);
    *p++ = '"';

    return p;
}


static ngx_buf_t *
ngx_http_myservice_status_buf(ngx_http_request_t *r, size_t size,
    ngx_chain_t ***last)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    b = ngx_create_temp_buf(r->pool, size);
    cl = ngx_alloc_chain_link(r->pool);

    if (b == NULL || cl == NULL) {
        return NULL;
    }

    cl->buf = b;
    cl->next = NULL;

    **last = cl;
    *last = &cl->next;

    return b;
}


static char *
ngx_http_myservice_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_myservice_status_handler;

    return NGX_CONF_OK;
}
