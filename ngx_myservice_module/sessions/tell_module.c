
/*
 * Tells clients what the gateway decided about the session: "session-decision"
 * in the initial metadata of an instance's answer.
 */

#include "answers/errors.h"
#include "core/header.h"
#include "sessions/call_context.h"


typedef struct {
    ngx_uint_t  on;                                 /* in some location */
} ms_tell_main_conf_t;

typedef struct {
    ngx_flag_t  tell;
} ms_tell_loc_conf_t;


static ngx_int_t ms_tell_header_filter(ngx_http_request_t *r);

static void *ms_tell_create_main_conf(ngx_conf_t *cf);
static void *ms_tell_create_loc_conf(ngx_conf_t *cf);
static char *ms_tell_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child);
static char *ms_tell(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static ngx_int_t ms_tell_init(ngx_conf_t *cf);


static ngx_command_t  ms_tell_commands[] = {

    { ngx_string("myservice_tell"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ms_tell,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ms_tell_loc_conf_t, tell),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_myservice_tell_module_ctx = {
    NULL,                                  /* preconfiguration */
    ms_tell_init,                          /* postconfiguration */

    ms_tell_create_main_conf,              /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ms_tell_create_loc_conf,               /* create location configuration */
    ms_tell_merge_loc_conf                 /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_tell_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_tell_module_ctx,   /* module context */
    ms_tell_commands,                      /* module directives */
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


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


/* an answer of the gateway itself has no instance to tell of */

static ngx_int_t
ms_tell_header_filter(ngx_http_request_t *r)
{
    ngx_uint_t               decision;
    ms_call_t               *call;
    ms_tell_loc_conf_t      *tlcf;
    ms_sessions_loc_conf_t  *slcf;

    tlcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_tell_module);

    if (!tlcf->tell || r != r->main || r->upstream == NULL
        || ms_errors_refused(r))
    {
        return ngx_http_next_header_filter(r);
    }

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_sessions_module);
    call = ms_call_get(r);

    if (call == NULL || slcf->balancer == NULL
        || call->decision >= MS_CLAIM_BUSY)
    {
        return ngx_http_next_header_filter(r);
    }

    /* that it had to wait is no news for the client */

    decision = call->decision == MS_CLAIM_QUEUED ? MS_CLAIM_NEW
                                                 : call->decision;

    if (ms_header_add(&r->headers_out.headers, "session-decision",
                      ms_sessions_decision(decision))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);
}


static void *
ms_tell_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ms_tell_main_conf_t));
}


static void *
ms_tell_create_loc_conf(ngx_conf_t *cf)
{
    ms_tell_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ms_tell_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->tell = NGX_CONF_UNSET;

    return conf;
}


static char *
ms_tell_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ms_tell_loc_conf_t  *prev = parent;
    ms_tell_loc_conf_t  *conf = child;

    ngx_conf_merge_value(conf->tell, prev->tell, 0);

    return NGX_CONF_OK;
}


static char *
ms_tell(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ms_tell_loc_conf_t *tlcf = conf;

    char                 *rv;
    ms_tell_main_conf_t  *tmcf;

    rv = ngx_conf_set_flag_slot(cf, cmd, conf);

    if (rv == NGX_CONF_OK && tlcf->tell) {
        tmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_myservice_tell_module);
        tmcf->on = 1;
    }

    return rv;
}


static ngx_int_t
ms_tell_init(ngx_conf_t *cf)
{
    ms_tell_main_conf_t  *tmcf;

    tmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_myservice_tell_module);
    if (!tmcf->on) {
        return NGX_OK;
    }

    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ms_tell_header_filter;

    return NGX_OK;
}
