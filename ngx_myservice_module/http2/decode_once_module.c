/*
 * Clients that take their token for a secret send it Huffman-coded with every
 * call, and nginx decodes it with every call: a fifth of all that a small call
 * costs.  Here a layer below HTTP/2 decodes what a connection repeats once, and
 * gives nginx the value as it is, which it only copies.
 *
 * Nothing is kept back: what is read goes on to HTTP/2 at once.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "core/counts.h"
#include "wire/repeated.h"


typedef struct {
    ngx_flag_t                      enable;
} ms_once_srv_conf_t;


#if (NGX_HTTP_V2)

/* of a client's connection, in its pool */

typedef struct {
    ms_repeated_t                   repeated;
    ngx_recv_pt                     recv;       /* of the layer below */
    ngx_uint_t                      known;      /* where frames begin */
} ms_once_t;


static ngx_int_t ms_once_handler(ngx_http_request_t *r);
static void ms_once_install(ngx_http_v2_connection_t *h2c);
static void ms_once_cleanup(void *data);
static ms_once_t *ms_once_get(ngx_connection_t *c);
static ssize_t ms_once_recv(ngx_connection_t *c, u_char *buf, size_t size);
static void *ms_once_alloc(void *data, size_t size);
static void ms_once_free(void *p);

#endif

static void *ms_once_create_srv_conf(ngx_conf_t *cf);
static char *ms_once_merge_srv_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ms_once_init(ngx_conf_t *cf);


static ngx_command_t  ms_once_commands[] = {

    { ngx_string("myservice_decode_once"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ms_once_srv_conf_t, enable),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_myservice_decode_once_module_ctx = {
    NULL,                                  /* preconfiguration */
    ms_once_init,                          /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ms_once_create_srv_conf,               /* create server configuration */
    ms_once_merge_srv_conf,                /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_decode_once_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_decode_once_module_ctx,
                                           /* module context */
    ms_once_commands,                      /* module directives */
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


#if (NGX_HTTP_V2)

static ngx_int_t
ms_once_handler(ngx_http_request_t *r)
{
    ms_once_srv_conf_t  *oscf;

    if (r->stream == NULL || r != r->main
        || r->stream->connection->connection->recv == ms_once_recv)
    {
        return NGX_DECLINED;
    }

    oscf = ngx_http_get_module_srv_conf(r,
                                       ngx_http_myservice_decode_once_module);

    if (oscf->enable) {
        ms_once_install(r->stream->connection);
    }

    return NGX_DECLINED;
}


/* without memory the connection goes on without this layer */

static void
ms_once_install(ngx_http_v2_connection_t *h2c)
{
    ms_once_t                 *once;
    ngx_connection_t          *c;
    ngx_pool_cleanup_t        *cln;
    ngx_http_core_srv_conf_t  *cscf;

    c = h2c->connection;

    cln = ngx_pool_cleanup_add(c->pool, sizeof(ms_once_t));
    if (cln == NULL) {
        return;
    }

    once = cln->data;

    ngx_memzero(once, sizeof(ms_once_t));

    /* HTTP/2 compares the length of a value, as it came, with this one */

    cscf = ngx_http_get_module_srv_conf(h2c->http_connection->conf_ctx,
                                        ngx_http_core_module);

    once->repeated.limit = cscf->large_client_header_buffers.size;
    once->repeated.alloc = ms_once_alloc;
    once->repeated.free = ms_once_free;
    once->repeated.data = c->log;
    once->recv = c->recv;

    cln->handler = ms_once_cleanup;
    c->recv = ms_once_recv;
}


static void
ms_once_cleanup(void *data)
{
    ms_once_t  *once = data;

    ms_repeated_free(&once->repeated);
}


/* a connection has a handful of cleanups */

static ms_once_t *
ms_once_get(ngx_connection_t *c)
{
    ngx_pool_cleanup_t  *cln;

    cln = c->pool->cleanup;

    while (cln->handler != ms_once_cleanup) {
        cln = cln->next;
    }

    return cln->data;
}


/*
 * HTTP/2 has nothing left of the last read, and no header block is open: the
 * next byte begins a frame.  Else it is known since the last such read.
 */

static ssize_t
ms_once_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    ssize_t                    n;
    ms_once_t                 *once;
    ngx_http_v2_connection_t  *h2c;

    once = ms_once_get(c);
    h2c = c->data;

    if (!h2c->state.incomplete && h2c->state.pool == NULL) {
        ms_repeated_begin(&once->repeated);
        once->known = 1;
    }

    if (!once->known || ms_repeated_part(size) == 0) {
        once->known = 0;
        return once->recv(c, buf, size);
    }

    n = once->recv(c, buf, ms_repeated_part(size));

    if (n > 0) {
        n = ms_repeated_read(&once->repeated, buf, n, size);

        if (once->repeated.replaced) {
            ms_counts_add(&ms_gateway_counts->decoded_once,
                          once->repeated.replaced);

            ngx_log_debug1(NGX_LOG_DEBUG_HTTP, c->log, 0,
                           "myservice decode once: %ui values",
                           once->repeated.replaced);
        }
    }

    return n;
}


static void *
ms_once_alloc(void *data, size_t size)
{
    ngx_log_t  *log = data;

    return ngx_alloc(size, log);
}


/* ngx_free() may be a macro */

static void
ms_once_free(void *p)
{
    ngx_free(p);
}

#endif


static void *
ms_once_create_srv_conf(ngx_conf_t *cf)
{
    ms_once_srv_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ms_once_srv_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->enable = NGX_CONF_UNSET;

    return conf;
}


static char *
ms_once_merge_srv_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ms_once_srv_conf_t  *prev = parent;
    ms_once_srv_conf_t  *conf = child;

    ngx_conf_merge_value(conf->enable, prev->enable, 0);

    return NGX_CONF_OK;
}


static ngx_int_t
ms_once_init(ngx_conf_t *cf)
{
#if (NGX_HTTP_V2)

    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_POST_READ_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ms_once_handler;

#endif

    return NGX_OK;
}
