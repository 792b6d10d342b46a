
/*
 * myservice_api: upstreams, instances and sessions as resources of an HTTP
 * API.  This file has the directive, finds the handler of a request, and keeps
 * off what a web page of somebody else could make a browser send.
 */

#include "operator/api.h"

#include "core/values.h"
#include "sessions/sessions.h"
#include "zone/events.h"


typedef struct {
    ngx_uint_t          method;
    ngx_uint_t          n;                      /* parts of its path */
    const char         *parts[MS_API_PARTS];    /* NULL: any */
    ms_api_handler_pt   handler;
    const char         *arguments[MS_API_ARGUMENTS];    /* up to NULL */
} ms_api_route_t;


static ngx_int_t ms_api_request_handler(ngx_http_request_t *r);
static const ms_api_route_t *ms_api_route(ms_api_t *api, ngx_uint_t *methods);
static ngx_int_t ms_api_not_allowed(ms_api_t *api, ngx_uint_t methods);
static ngx_int_t ms_api_find_zone(ms_api_t *api);
static ngx_uint_t ms_api_host(ms_api_t *api);
static const char *ms_api_foreign(ms_api_t *api, ngx_uint_t *status);
static ngx_uint_t ms_api_own_origin(ms_api_t *api, ngx_table_elt_t *origin);
static ngx_table_elt_t *ms_api_header(ngx_http_request_t *r,
    const char *name);
static void ms_api_body_handler(ngx_http_request_t *r);
static ngx_int_t ms_api_act(ms_api_t *api);
static size_t ms_api_body(ngx_http_request_t *r, u_char *text);

static ngx_int_t ms_api_init_module(ngx_cycle_t *cycle);
static void *ms_api_create_loc_conf(ngx_conf_t *cf);
static char *ms_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ms_api_host_name(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf);


static const char  *ms_api_switch[] = { "off", "on", NULL };

static const ms_value_t  ms_api_parameters[] = {

    { ngx_string("write="), ms_value_word,
      offsetof(ms_api_loc_conf_t, write), 0, 0, ms_api_switch, 0 },

    { ngx_string("host="), ms_api_host_name, 0, 0, 0, NULL, 0 },

      ms_null_value
};


static ngx_command_t  ms_api_commands[] = {

    { ngx_string("myservice_api"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE12,
      ms_api,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_myservice_api_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ms_api_create_loc_conf,                /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_api_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_api_module_ctx,    /* module context */
    ms_api_commands,                       /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ms_api_init_module,                    /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static const ms_api_route_t  ms_api_routes[] = {

    { NGX_HTTP_GET, 0, { NULL }, ms_api_gateway, { NULL } },
    { NGX_HTTP_GET, 1, { "upstreams" }, ms_api_upstreams, { NULL } },
    { NGX_HTTP_GET, 1, { "events" }, ms_api_events,
      { "after", "wait" } },
    { NGX_HTTP_GET, 2, { "upstreams", NULL }, ms_api_upstream, { NULL } },
    { NGX_HTTP_GET, 3, { "upstreams", NULL, "instances" },
      ms_api_instances, { "state", "limit", "after" } },
    { NGX_HTTP_POST, 3, { "upstreams", NULL, "instances" }, ms_api_add,
      { NULL } },
    { NGX_HTTP_GET, 4, { "upstreams", NULL, "instances", NULL },
      ms_api_instance, { NULL } },
    { NGX_HTTP_PATCH, 4, { "upstreams", NULL, "instances", NULL },
      ms_api_drain, { NULL } },
    { NGX_HTTP_DELETE, 4, { "upstreams", NULL, "instances", NULL },
      ms_api_remove, { "force" } },
    { NGX_HTTP_GET, 4, { "upstreams", NULL, "sessions", NULL },
      ms_api_session, { NULL } },
    { NGX_HTTP_DELETE, 4, { "upstreams", NULL, "sessions", NULL },
      ms_api_release, { "revoke" } },
    { NGX_HTTP_POST, 5, { "upstreams", NULL, "sessions", NULL, "move" },
      ms_api_move, { NULL } },

    /* the session is an argument: docs/api.md */

    { NGX_HTTP_GET, 3, { "upstreams", NULL, "sessions" }, ms_api_session,
      { "session" } },
    { NGX_HTTP_DELETE, 3, { "upstreams", NULL, "sessions" },
      ms_api_release, { "session", "revoke" } },
    { NGX_HTTP_POST, 4, { "upstreams", NULL, "sessions", "move" },
      ms_api_move, { "session" } },
    { NGX_HTTP_GET, 1, { "revocations" }, ms_api_revocations,
      { "limit", "after" } },
    { NGX_HTTP_POST, 1, { "revocations" }, ms_api_revoke, { NULL } },
    { NGX_HTTP_DELETE, 2, { "revocations", NULL }, ms_api_revocation_end,
      { NULL } },
    { 0, 0, { NULL }, NULL, { NULL } }
};


static ngx_int_t
ms_api_request_handler(ngx_http_request_t *r)
{
    ms_api_t              *api;
    ngx_int_t              rc;
    ngx_uint_t             methods, status;
    const char            *why;
    const ms_api_route_t  *route;

    api = ngx_pcalloc(r->pool, sizeof(ms_api_t));
    if (api == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    api->request = r;
    api->conf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_api_module);
    ms_page_init(&api->page, r);
    ngx_http_set_ctx(r, api, ngx_http_myservice_api_module);

    if (!ms_api_host(api)) {
        return ms_api_problem(api, 421, "the name \"%V\" in Host is neither "
                              "an address nor localhost: name it in "
                              "\"host=\" of myservice_api",
                              &r->headers_in.server);
    }

    rc = ms_api_path(api);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    methods = 0;
    route = rc == NGX_OK ? ms_api_route(api, &methods) : NULL;

    if (methods == 0) {
        return ms_api_problem(api, NGX_HTTP_NOT_FOUND, "no such resource: "
                              "docs/api.md has the list");
    }

    if (route == NULL) {
        return ms_api_not_allowed(api, methods);
    }

    if (route->method == NGX_HTTP_GET) {
        rc = ngx_http_discard_request_body(r);
        return rc == NGX_OK ? ms_api_act(api) : rc;
    }

    if (!api->conf->write) {
        return ms_api_problem(api, NGX_HTTP_NOT_ALLOWED, "this API only "
                              "reads: \"myservice_api write=on\" changes "
                              "that");
    }

    why = ms_api_foreign(api, &status);

    if (why) {
        return ms_api_problem(api, status, "%s", why);
    }

    if (r->headers_in.content_length_n > MS_API_BODY) {
        return ms_api_problem(api, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                              "the body has %O bytes, at most %d are taken",
                              r->headers_in.content_length_n, MS_API_BODY);
    }

    rc = ngx_http_read_client_request_body(r, ms_api_body_handler);

    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}


/* "methods": those that the path has */

static const ms_api_route_t *
ms_api_route(ms_api_t *api, ngx_uint_t *methods)
{
    ngx_uint_t             i, method;
    const ms_api_route_t  *route, *found;

    method = api->request->method == NGX_HTTP_HEAD ? NGX_HTTP_GET
                                                   : api->request->method;
    found = NULL;

    for (route = ms_api_routes; route->handler; route++) {

        if (route->n != api->n) {
            continue;
        }

        for (i = 0; i < route->n; i++) {
            if (route->parts[i]
                && (ngx_strlen(route->parts[i]) != api->parts[i].len
                    || ngx_memcmp(route->parts[i], api->parts[i].data,
                                  api->parts[i].len)
                       != 0))
            {
                break;
            }
        }

        if (i < route->n) {
            continue;
        }

        *methods |= route->method;

        if (route->method == method) {
            found = route;
        }
    }

    return found;
}


static ngx_int_t
ms_api_not_allowed(ms_api_t *api, ngx_uint_t methods)
{
    u_char           *p;
    ngx_uint_t        i;
    ngx_table_elt_t  *h;

    static struct {
        ngx_uint_t    method;
        const char   *name;
    } names[] = {
        { NGX_HTTP_GET, "GET, HEAD" },
        { NGX_HTTP_POST, "POST" },
        { NGX_HTTP_PATCH, "PATCH" },
        { NGX_HTTP_DELETE, "DELETE" }
    };

    h = ngx_list_push(&api->request->headers_out.headers);
    p = ngx_pnalloc(api->request->pool, 64);

    if (h == NULL || p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));
    h->hash = 1;
    ngx_str_set(&h->key, "Allow");
    h->value.data = p;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (methods & names[i].method) {
            p = ngx_sprintf(p, p == h->value.data ? "%s" : ", %s",
                            names[i].name);
        }
    }

    h->value.len = p - h->value.data;

    return ms_api_problem(api, NGX_HTTP_NOT_ALLOWED, "%V is not possible "
                          "here: %V", &api->request->method_name, &h->value);
}


/* after the route: the path has an upstream, or none */

static ngx_int_t
ms_api_find_zone(ms_api_t *api)
{
    ngx_str_t    *host;
    ngx_uint_t    i;
    ngx_array_t  *zones;
    ms_zone_t   **zone;

    if (api->n < 2 || api->parts[0].data[0] != 'u') {
        return NGX_OK;
    }

    zones = ms_sessions_zones(api->request);
    zone = zones->elts;

    for (i = 0; i < zones->nelts; i++) {
        host = &zone[i]->upstream->host;

        if (host->len == api->parts[1].len
            && ngx_memcmp(host->data, api->parts[1].data, host->len) == 0)
        {
            api->zone = zone[i];
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


/*
 * A page of somebody else may have a name that it lets resolve to this
 * machine; then the browser takes the API for a part of that page's site.
 */

static ngx_uint_t
ms_api_host(ms_api_t *api)
{
    ngx_str_t  *name;

    name = &api->request->headers_in.server;

    if (name->len == 0 || name->data[0] == '['
        || ngx_inet_addr(name->data, name->len) != INADDR_NONE
        || (name->len == sizeof("localhost") - 1
            && ngx_strncmp(name->data, "localhost", name->len) == 0))
    {
        return 1;
    }

    return name->len == api->conf->host.len
           && ngx_strncmp(name->data, api->conf->host.data, name->len) == 0;
}


/*
 * Why this may be a change that a page of another site made the browser send,
 * NULL if it is not.  Browsers ask first before they send this content type to
 * another site, and say where the page is from.
 */

static const char *
ms_api_foreign(ms_api_t *api, ngx_uint_t *status)
{
    ngx_table_elt_t  *h;

    static const char  json[] = "application/json";

    h = api->request->headers_in.content_type;

    if (h == NULL || h->value.len < sizeof(json) - 1
        || ngx_strncasecmp(h->value.data, (u_char *) json, sizeof(json) - 1)
           != 0
        || (h->value.len > sizeof(json) - 1
            && h->value.data[sizeof(json) - 1] != ';'
            && h->value.data[sizeof(json) - 1] != ' '))
    {
        *status = NGX_HTTP_UNSUPPORTED_MEDIA_TYPE;
        return "a change needs \"Content-Type: application/json\"";
    }

    *status = NGX_HTTP_FORBIDDEN;
    h = ms_api_header(api->request, "sec-fetch-site");

    if (h && (h->value.len != sizeof("same-origin") - 1
              || ngx_strncmp(h->value.data, "same-origin", h->value.len)
                 != 0)
        && (h->value.len != sizeof("none") - 1
            || ngx_strncmp(h->value.data, "none", h->value.len) != 0))
    {
        return "a page of another site sends this (Sec-Fetch-Site)";
    }

    h = ms_api_header(api->request, "origin");

    return h == NULL || ms_api_own_origin(api, h)
           ? NULL : "a page of another site sends this (Origin)";
}


/* the scheme and the Host of this request, RFC 6454 */

static ngx_uint_t
ms_api_own_origin(ms_api_t *api, ngx_table_elt_t *origin)
{
    size_t               len;
    const char          *scheme;
    ngx_table_elt_t     *host;
    ngx_http_request_t  *r;

    r = api->request;
    host = r->headers_in.host;
    scheme = "http://";

#if (NGX_HTTP_SSL)

    if (r->connection->ssl) {
        scheme = "https://";
    }

#endif

    len = ngx_strlen(scheme);

    return host && origin->value.len == len + host->value.len
           && ngx_strncmp(origin->value.data, scheme, len) == 0
           && ngx_strncasecmp(origin->value.data + len, host->value.data,
                              host->value.len)
              == 0;
}


static ngx_table_elt_t *
ms_api_header(ngx_http_request_t *r, const char *name)
{
    size_t            len;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    len = ngx_strlen(name);

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.len == len
                && ngx_strncasecmp(h[i].key.data, (u_char *) name, len) == 0)
            {
                return &h[i];
            }
        }
    }

    return NULL;
}


static void
ms_api_body_handler(ngx_http_request_t *r)
{
    ngx_http_finalize_request(r,
        ms_api_act(ngx_http_get_module_ctx(r, ngx_http_myservice_api_module)));
}


/* the body is there, or there is none */

static ngx_int_t
ms_api_act(ms_api_t *api)
{
    json_t                *body;
    size_t                 len;
    u_char                 text[MS_API_BODY];
    ngx_int_t              rc;
    ngx_uint_t             methods;
    json_error_t           error;
    ngx_http_request_t    *r;
    const ms_api_route_t  *route;

    r = api->request;
    body = NULL;
    methods = 0;
    route = ms_api_route(api, &methods);

    if (ms_api_find_zone(api) != NGX_OK) {
        return ms_api_problem(api, NGX_HTTP_NOT_FOUND, "no upstream \"%V\" "
                              "has myservice_sessions", &api->parts[1]);
    }

    if (!ms_api_arguments_known(api, route->arguments, &rc)) {
        return rc;
    }

    if (route->method == NGX_HTTP_POST || route->method == NGX_HTTP_PATCH) {
        len = ms_api_body(r, text);

        if (len == 0) {
            return ms_api_problem(api, NGX_HTTP_BAD_REQUEST, "the body is "
                                  "missing: a JSON object");
        }

        if (len > MS_API_BODY) {
            return ms_api_problem(api, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                  "the body is over %d bytes", MS_API_BODY);
        }

        body = json_loadb((char *) text, len, JSON_REJECT_DUPLICATES, &error);

        if (!json_is_object(body)) {
            json_decref(body);
            return ms_api_problem(api, NGX_HTTP_BAD_REQUEST, "the body is no "
                                  "JSON object: %s", error.text);
        }
    }

    /* this handler was found when the request began */

    rc = route->handler(api, body);
    json_decref(body);

    return rc;
}


/*
 * Bytes of the body, more than MS_API_BODY if it is too long.  It comes in as
 * many buffers as the client has sent pieces, or in a file.
 */

static size_t
ms_api_body(ngx_http_request_t *r, u_char *text)
{
    size_t        len, n;
    ngx_chain_t  *cl;

    len = 0;

    for (cl = r->request_body ? r->request_body->bufs : NULL;
         cl;
         cl = cl->next)
    {
        n = cl->buf->last - cl->buf->pos;

        if (cl->buf->in_file || n > MS_API_BODY - len) {
            return MS_API_BODY + 1;
        }

        ngx_memcpy(text + len, cl->buf->pos, n);
        len += n;
    }

    return len;
}


static ngx_int_t
ms_api_init_module(ngx_cycle_t *cycle)
{
    ms_api_loaded(cycle);

    return NGX_OK;
}


static void *
ms_api_create_loc_conf(ngx_conf_t *cf)
{
    /* no write, no host */

    return ngx_pcalloc(cf->pool, sizeof(ms_api_loc_conf_t));
}


static char *
ms_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ms_api_loc_conf_t  *alcf = conf;

    ngx_http_core_loc_conf_t  *clcf;

    if (alcf->prefix.len) {
        return "is duplicate";
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->exact_match || clcf->named || clcf->noname || clcf->name.len == 0
        || clcf->name.data[0] != '/'
        || clcf->name.data[clcf->name.len - 1] != '/'
#if (NGX_PCRE)
        || clcf->regex
#endif
        )
    {
        return "needs a location such as \"/api/\": a prefix that ends with "
               "\"/\"";
    }

    if (ms_events_zone(cf, &ngx_http_myservice_api_module) == NULL) {
        return NGX_CONF_ERROR;
    }

    alcf->prefix = clcf->name;
    clcf->handler = ms_api_request_handler;

    return ms_values_parse(cf, ms_api_parameters, 1, alcf);
}


static char *
ms_api_host_name(ngx_conf_t *cf, const ms_value_t *parameter, ngx_str_t *value,
    void *conf)
{
    ms_api_loc_conf_t  *alcf = conf;

    if (value->len == 0) {
        return ms_value_invalid(cf, parameter, value, "a name");
    }

    alcf->host = *value;
    ngx_strlow(alcf->host.data, alcf->host.data, alcf->host.len);

    return NGX_CONF_OK;
}
