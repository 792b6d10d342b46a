/*
 * Clients leave a worker that exits.  nginx sends GOAWAY once, when it is told
 * to exit, on connections that have begun to speak HTTP/2.  One that was
 * accepted and begins later would be served for as long as its client keeps
 * it, and would keep the worker, with an old configuration, for days.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


static ngx_int_t ms_goaway_handler(ngx_http_request_t *r);
static ngx_int_t ms_goaway_init(ngx_conf_t *cf);


static ngx_http_module_t  ngx_http_myservice_goaway_module_ctx = {
    NULL,                                  /* preconfiguration */
    ms_goaway_init,                        /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_goaway_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_goaway_module_ctx, /* module context */
    NULL,                                  /* module directives */
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


/*
 * As nginx does it for the others: with "close" the read handler sends GOAWAY,
 * and this request and those beside it go on.  That call reads nothing, so it
 * must not be one that announces data.
 */

static ngx_int_t
ms_goaway_handler(ngx_http_request_t *r)
{
#if (NGX_HTTP_V2)

    ngx_connection_t  *c;

    if (!ngx_exiting || r->stream == NULL || r != r->main) {
        return NGX_DECLINED;
    }

    c = r->stream->connection->connection;

    if (!r->stream->connection->goaway && !c->read->posted) {
        c->close = 1;
        ngx_post_event(c->read, &ngx_posted_events);
    }

#endif

    return NGX_DECLINED;
}


static ngx_int_t
ms_goaway_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_POST_READ_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ms_goaway_handler;

    return NGX_OK;
}
