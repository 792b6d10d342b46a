
/*
 * What the API shows: the gateway, its upstreams, instances and sessions.
 */

#include "operator/api.h"
#include "operator/status.h"

#include "core/session_text.h"
#include "sessions/sessions.h"
#include "version.h"
#include "zone/operator.h"


/* instances of one answer */
#define MS_API_LIMIT      100
#define MS_API_LIMIT_MAX  1000

/* records that one answer looks at, so that calls do not wait for it */
#define MS_API_RECORDS    4096


static ngx_int_t ms_api_write_upstream(ms_page_t *page, ms_zone_t *zone);
static ngx_int_t ms_api_argument(ms_api_t *api, const char *name,
    ngx_int_t max, ngx_int_t *n);
static ngx_int_t ms_api_state(ms_api_t *api, ngx_uint_t *state);
static ngx_int_t ms_api_write_instances(ms_api_t *api, uint32_t from,
    ngx_uint_t limit, ngx_uint_t state);


/* of the master; workers inherit them */
static ngx_uint_t  ms_api_generation;
static time_t      ms_api_started;


void
ms_api_loaded(ngx_cycle_t *cycle)
{
    if (ms_api_started == 0) {
        ms_api_started = ngx_time();
    }

    ms_api_generation++;
}


ngx_int_t
ms_api_gateway(ms_api_t *api, json_t *body)
{
    u_char           *p;
    ngx_core_conf_t  *ccf;

    ccf = (ngx_core_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                           ngx_core_module);

    p = ms_page_room(&api->page, 256);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    api->page.buf->last = ngx_sprintf(p, "{\"version\":\"%s\","
        "\"nginx\":\"%s\",\"generation\":%ui,\"workers\":%i,"
        "\"uptime_s\":%T,\"write\":%s,\"session_ids\":\"%s\"}", MS_VERSION, NGINX_VERSION,
        ms_api_generation, ccf->worker_processes,
        ngx_time() - ms_api_started, api->conf->write ? "true" : "false",
        ms_session_hidden() ? "hash" : "plain");

    return ms_api_send(api, NGX_HTTP_OK, NGX_OK);
}


ngx_int_t
ms_api_upstreams(ms_api_t *api, json_t *body)
{
    ngx_int_t     rc;
    ngx_uint_t    i;
    ngx_array_t  *zones;
    ms_zone_t   **zone;

    zones = ms_sessions_zones(api->request);
    zone = zones->elts;
    rc = ms_page_puts(&api->page, "{\"upstreams\":[");

    for (i = 0; rc == NGX_OK && i < zones->nelts; i++) {
        rc = i ? ms_page_puts(&api->page, ",") : NGX_OK;

        if (rc == NGX_OK) {
            rc = ms_api_write_upstream(&api->page, zone[i]);
        }
    }

    return ms_api_send(api, NGX_HTTP_OK,
                       rc == NGX_OK ? ms_page_puts(&api->page, "]}") : rc);
}


ngx_int_t
ms_api_upstream(ms_api_t *api, json_t *body)
{
    return ms_api_send(api, NGX_HTTP_OK,
                       ms_api_write_upstream(&api->page, api->zone));
}


static ngx_int_t
ms_api_write_upstream(ms_page_t *page, ms_zone_t *zone)
{
    ms_zone_stats_t  stats;

    ms_zone_stats(zone, &stats, page->request->connection->log);

    return ms_page_puts(page, "{\"name\":") == NGX_OK
           && ms_status_string(page, &zone->upstream->host) == NGX_OK
           && ms_page_puts(page, ",") == NGX_OK
           && ms_status_upstream(page, zone, &stats) == NGX_OK
           ? ms_page_puts(page, "}") : NGX_ERROR;
}


ngx_int_t
ms_api_instances(ms_api_t *api, json_t *body)
{
    ngx_int_t   after, limit;
    ngx_str_t   value;
    ngx_uint_t  state;

    after = 0;
    limit = MS_API_LIMIT;

    if (ms_api_argument(api, "after", NGX_MAX_INT32_VALUE, &after) != NGX_OK) {
        return ms_api_problem(api, NGX_HTTP_BAD_REQUEST, "\"after\" must be "
                              "the \"next\" of the page before, not \"%V\"",
                              ms_api_sent(api, "after", &value));
    }

    if (ms_api_argument(api, "limit", MS_API_LIMIT_MAX, &limit) != NGX_OK
        || limit == 0)
    {
        return ms_api_problem(api, NGX_HTTP_BAD_REQUEST, "\"limit\" must be "
                              "1 to %d, not \"%V\"", MS_API_LIMIT_MAX,
                              ms_api_sent(api, "limit", &value));
    }

    if (ms_api_state(api, &state) != NGX_OK) {
        return ms_api_problem(api, NGX_HTTP_BAD_REQUEST, "\"state\" must be "
                              "a state such as \"free\", not \"%V\"",
                              ms_api_sent(api, "state", &value));
    }

    return ms_api_send(api, NGX_HTTP_OK,
                       ms_api_write_instances(api, (uint32_t) after, limit,
                                              state));
}


/* NGX_OK also without the argument: "n" stays */

static ngx_int_t
ms_api_argument(ms_api_t *api, const char *name, ngx_int_t max, ngx_int_t *n)
{
    ngx_str_t  value;

    if (ngx_http_arg(api->request, (u_char *) name, ngx_strlen(name), &value)
        != NGX_OK)
    {
        return NGX_OK;
    }

    *n = ngx_atoi(value.data, value.len);

    return *n == NGX_ERROR || *n > max ? NGX_ERROR : NGX_OK;
}


/* 0: any */

static ngx_int_t
ms_api_state(ms_api_t *api, ngx_uint_t *state)
{
    ngx_str_t    value;
    const char  *name;

    *state = 0;

    if (ngx_http_arg(api->request, (u_char *) "state", 5, &value) != NGX_OK) {
        return NGX_OK;
    }

    while (++*state < MS_INSTANCE_STATES) {
        name = ms_instance_state_name(*state);

        if (ngx_strlen(name) == value.len
            && ngx_strncmp(name, value.data, value.len) == 0)
        {
            return NGX_OK;
        }
    }

    return NGX_ERROR;
}


/*
 * Records do not move: a page begins behind the last record of the one before,
 * and no member is in two of them.
 */

static ngx_int_t
ms_api_write_instances(ms_api_t *api, uint32_t from, ngx_uint_t limit,
    ngx_uint_t state)
{
    u_char           *p;
    uint32_t          end;
    ngx_log_t        *log;
    ngx_uint_t        i, n, found;
    ms_member_t      *members;
    ms_zone_stats_t   stats;

    log = api->request->connection->log;
    ms_zone_stats(api->zone, &stats, log);
    end = ngx_min(stats.limit, from + MS_API_RECORDS);

    members = ngx_palloc(api->request->pool,
                         MS_STATUS_BATCH * sizeof(ms_member_t));

    if (members == NULL
        || ms_page_puts(&api->page, "{\"instances\":[") != NGX_OK)
    {
        return NGX_ERROR;
    }

    found = 0;

    while (from < end && found < limit) {
        n = ms_zone_snapshot(api->zone, &from, members, MS_STATUS_BATCH, log);

        for (i = 0; i < n && found < limit; i++) {

            if (state && members[i].state != state) {
                continue;
            }

            if ((found++ && ms_page_puts(&api->page, ",") != NGX_OK)
                || ms_status_instance(&api->page, api->zone, &members[i])
                   != NGX_OK)
            {
                return NGX_ERROR;
            }
        }

        if (i < n) {
            from = members[i].instance;
        }
    }

    p = ms_page_room(&api->page, 64);
    if (p == NULL) {
        return NGX_ERROR;
    }

    api->page.buf->last = from < stats.limit
                          ? ngx_sprintf(p, "],\"next\":%uD}", from)
                          : ngx_sprintf(p, "],\"next\":null}");

    return NGX_OK;
}


ngx_int_t
ms_api_instance(ms_api_t *api, json_t *body)
{
    ms_member_t  member;

    if (ms_zone_member(api->zone, &api->parts[3], &member,
                       api->request->connection->log)
        != NGX_OK)
    {
        return ms_api_problem(api, NGX_HTTP_NOT_FOUND, "\"%V\" is no member "
                              "of \"%V\"", &api->parts[3], &api->parts[1]);
    }

    return ms_api_send_instance(api, &member);
}


ngx_int_t
ms_api_session(ms_api_t *api, json_t *body)
{
    ngx_int_t    rc;
    ms_member_t  member;

    if (!ms_api_session_id(api, &rc)) {
        return rc;
    }

    if (ms_zone_session_member(api->zone, &api->session, &member,
                               api->request->connection->log)
        != NGX_OK)
    {
        return ms_api_no_session(api);
    }

    return ms_api_send_instance(api, &member);
}
