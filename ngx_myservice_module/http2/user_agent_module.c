/*
 * nginx looks for the names of six browsers in every "user-agent", to treat some
 * of them in another way.  What begins as gRPC prescribes it is none of them.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


static ngx_int_t ms_agent_process(ngx_http_request_t *r, ngx_table_elt_t *h,
    ngx_uint_t offset);
static ngx_hash_elt_t *ms_agent_elt(ngx_hash_t *hash, ngx_str_t *name);
static ngx_int_t ms_agent_init(ngx_conf_t *cf);


static ngx_http_module_t  ngx_http_myservice_user_agent_module_ctx = {
    NULL,                                  /* preconfiguration */
    ms_agent_init,                         /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_user_agent_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_user_agent_module_ctx,
                                           /* module context */
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


/* of nginx: for "user-agent", and for a field that it only notes */

static ngx_http_header_handler_pt  ms_agent_browser;
static ngx_http_header_handler_pt  ms_agent_note;


static ngx_int_t
ms_agent_process(ngx_http_request_t *r, ngx_table_elt_t *h, ngx_uint_t offset)
{
    if (h->value.len >= 5 && ngx_strncmp(h->value.data, "grpc-", 5) == 0) {
        return ms_agent_note(r, h, offset);
    }

    return ms_agent_browser(r, h, offset);
}


static ngx_hash_elt_t *
ms_agent_elt(ngx_hash_t *hash, ngx_str_t *name)
{
    ngx_hash_elt_t  *elt;

    elt = hash->buckets[ngx_hash_key(name->data, name->len) % hash->size];

    while (elt && elt->value) {

        if (elt->len == name->len
            && ngx_strncmp(elt->name, name->data, name->len) == 0)
        {
            return elt;
        }

        elt = (ngx_hash_elt_t *) ngx_align_ptr(&elt->name[0] + elt->len,
                                               sizeof(void *));
    }

    return NULL;
}


/* the hash is that of this configuration; what it points to is nginx's own */

static ngx_int_t
ms_agent_init(ngx_conf_t *cf)
{
    ngx_hash_elt_t             *agent, *plain;
    ngx_http_header_t          *header, *ours;
    ngx_http_core_main_conf_t  *cmcf;

    static ngx_str_t  user_agent = ngx_string("user-agent");
    static ngx_str_t  referer = ngx_string("referer");

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    agent = ms_agent_elt(&cmcf->headers_in_hash, &user_agent);
    plain = ms_agent_elt(&cmcf->headers_in_hash, &referer);

    if (agent == NULL || plain == NULL) {
        return NGX_OK;
    }

    ours = ngx_palloc(cf->pool, sizeof(ngx_http_header_t));
    if (ours == NULL) {
        return NGX_ERROR;
    }

    header = plain->value;
    ms_agent_note = header->handler;

    header = agent->value;
    ms_agent_browser = header->handler;

    *ours = *header;
    ours->handler = ms_agent_process;
    agent->value = ours;

    return NGX_OK;
}
