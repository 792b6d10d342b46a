
/*
 * myservice_dashboard: one page that shows what the API says.  The page is
 * operator/dashboard.html, which "config" turns into the array included here.
 * Its style and script are inline: the policy that is sent with it allows these
 * two by their hashes, and requests to this server alone.
 */

#include "core/values.h"
#include "operator/page.h"

#include <openssl/sha.h>


typedef struct {
    ngx_str_t  api;                             /* path of the API */
} ms_dashboard_loc_conf_t;


static ngx_int_t ms_dashboard_handler(ngx_http_request_t *r);
static ngx_int_t ms_dashboard_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);
static void *ms_dashboard_create_loc_conf(ngx_conf_t *cf);
static char *ms_dashboard(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ms_dashboard_api(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf);
static ngx_int_t ms_dashboard_policy(ngx_conf_t *cf);
static void ms_dashboard_hash(u_char *p, const char *begin, const char *end);


static const u_char  ms_dashboard_page[] = {
#include <ngx_http_myservice_dashboard.h>
    0
};

/* the rest of the page stands behind a line with the path of the API */
#define MS_DASHBOARD_SPLIT  "<meta charset=\"utf-8\">\n"
#define MS_DASHBOARD_META   "<meta name=\"api\" content=\"%V\">\n"

#define MS_DASHBOARD_HASH   ngx_base64_encoded_length(SHA256_DIGEST_LENGTH)

#define MS_DASHBOARD_POLICY                                                   \
    "default-src 'none'; base-uri 'none'; form-action 'none'; "               \
    "frame-ancestors 'none'; connect-src 'self'; img-src data:; "             \
    "style-src 'sha256-%*s'; script-src 'sha256-%*s'"


static ngx_str_t  ms_dashboard_type = ngx_string("text/html; charset=utf-8");
static ngx_str_t  ms_dashboard_nosniff = ngx_string("nosniff");
static ngx_str_t  ms_dashboard_no_referrer = ngx_string("no-referrer");
static ngx_str_t  ms_dashboard_no_cache = ngx_string("no-cache");

/* of this configuration and of all others: the page is compiled in */
static ngx_str_t  ms_dashboard_csp;
static u_char     ms_dashboard_csp_buf[sizeof(MS_DASHBOARD_POLICY)
                                       + 2 * MS_DASHBOARD_HASH];


static const ms_value_t  ms_dashboard_parameters[] = {

    { ngx_string("api="), ms_dashboard_api, 0, 0, 0, NULL, 0 },

      ms_null_value
};


static ngx_command_t  ms_dashboard_commands[] = {

    { ngx_string("myservice_dashboard"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ms_dashboard,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_myservice_dashboard_module_ctx = {
    NULL,                                  /* preconfiguration */
    ms_dashboard_policy,                   /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ms_dashboard_create_loc_conf,          /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_dashboard_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_dashboard_module_ctx, /* module context */
    ms_dashboard_commands,                 /* module directives */
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
ms_dashboard_handler(ngx_http_request_t *r)
{
    size_t                    head;
    u_char                   *p;
    ngx_int_t                 rc;
    ms_page_t                 page;
    const char               *text, *rest;
    ms_dashboard_loc_conf_t  *dlcf;

    rc = ms_page_begin(&page, r);

    if (rc != NGX_OK) {
        return rc;
    }

    dlcf = ngx_http_get_module_loc_conf(r,
                                        ngx_http_myservice_dashboard_module);

    text = (const char *) ms_dashboard_page;
    rest = ngx_strstr(text, MS_DASHBOARD_SPLIT) + sizeof(MS_DASHBOARD_SPLIT)
           - 1;
    head = rest - text;

    p = ms_page_room(&page, sizeof(ms_dashboard_page)
                            + sizeof(MS_DASHBOARD_META) + dlcf->api.len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_cpymem(p, text, head);
    p = ngx_sprintf(p, MS_DASHBOARD_META, &dlcf->api);
    page.buf->last = ngx_cpymem(p, rest, sizeof(ms_dashboard_page) - 1 - head);

    if (ms_dashboard_header(r, "Content-Security-Policy", &ms_dashboard_csp)
        != NGX_OK
        || ms_dashboard_header(r, "X-Content-Type-Options",
                               &ms_dashboard_nosniff) != NGX_OK
        || ms_dashboard_header(r, "Referrer-Policy",
                               &ms_dashboard_no_referrer) != NGX_OK
        || ms_dashboard_header(r, "Cache-Control", &ms_dashboard_no_cache)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ms_page_send(&page, NGX_HTTP_OK, &ms_dashboard_type);
}


static ngx_int_t
ms_dashboard_header(ngx_http_request_t *r, const char *name, ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));
    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value = *value;

    return NGX_OK;
}


static void *
ms_dashboard_create_loc_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ms_dashboard_loc_conf_t));
}


static char *
ms_dashboard(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ms_dashboard_loc_conf_t  *dlcf = conf;

    ngx_http_core_loc_conf_t  *clcf;

    if (dlcf->api.len) {
        return "is duplicate";
    }

    ngx_str_set(&dlcf->api, "/api/");

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ms_dashboard_handler;

    return ms_values_parse(cf, ms_dashboard_parameters, 1, dlcf);
}


/* it goes into the page as it is */

static char *
ms_dashboard_api(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf)
{
    ms_dashboard_loc_conf_t  *dlcf = conf;

    u_char      ch;
    ngx_uint_t  i;

    for (i = 0; i < value->len; i++) {
        ch = value->data[i];

        if (!(ch >= 'a' && ch <= 'z') && !(ch >= 'A' && ch <= 'Z')
            && !(ch >= '0' && ch <= '9') && ch != '/' && ch != '_'
            && ch != '-' && ch != '.')
        {
            break;
        }
    }

    if (i < value->len || value->len == 0 || value->data[0] != '/'
        || value->data[value->len - 1] != '/')
    {
        return ms_value_invalid(cf, parameter, value, "the path of a location "
                                "with myservice_api, such as \"/api/\"");
    }

    dlcf->api = *value;

    return NGX_CONF_OK;
}


static ngx_int_t
ms_dashboard_policy(ngx_conf_t *cf)
{
    u_char  style[MS_DASHBOARD_HASH], script[MS_DASHBOARD_HASH];

    ms_dashboard_hash(style, "<style>", "</style>");
    ms_dashboard_hash(script, "<script>", "</script>");

    ms_dashboard_csp.data = ms_dashboard_csp_buf;
    ms_dashboard_csp.len = ngx_sprintf(ms_dashboard_csp_buf,
                                       MS_DASHBOARD_POLICY,
                                       sizeof(style), style,
                                       sizeof(script), script)
                           - ms_dashboard_csp_buf;

    return NGX_OK;
}


/* of what stands between the two, https://www.w3.org/TR/CSP3/ */

static void
ms_dashboard_hash(u_char *p, const char *begin, const char *end)
{
    u_char       digest[SHA256_DIGEST_LENGTH];
    ngx_str_t    from, to;
    const char  *text, *last;

    text = ngx_strstr(ms_dashboard_page, begin) + ngx_strlen(begin);
    last = ngx_strstr(text, end);

    SHA256((u_char *) text, last - text, digest);

    from.data = digest;
    from.len = sizeof(digest);
    to.data = p;
    ngx_encode_base64(&to, &from);
}
