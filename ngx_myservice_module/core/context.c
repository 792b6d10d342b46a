
/*
 * A module's data of a request, its context, also behind internal redirects.
 */

#include "core/context.h"


/* subrequests share the pool, and have contexts of their own */

typedef struct {
    ngx_pool_cleanup_t   cln;           /* the context follows */
    ngx_module_t        *module;
    ngx_http_request_t  *request;
    ngx_pool_cleanup_pt  cleanup;       /* of the module, or NULL */
} ms_context_owner_t;


static void ms_context_cleanup(void *data);


void *
ms_context_search(ngx_http_request_t *r, ngx_module_t *module)
{
    void                *ctx;
    ngx_pool_cleanup_t  *cln;
    ms_context_owner_t  *owner;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {

        if (cln->handler != ms_context_cleanup) {
            continue;
        }

        owner = cln->data;

        if (owner->module == module && owner->request == r) {
            ctx = owner + 1;
            r->ctx[module->ctx_index] = ctx;
            return ctx;
        }
    }

    return NULL;
}


void *
ms_context_make(ngx_http_request_t *r, ngx_module_t *module, size_t size,
    ngx_pool_cleanup_pt cleanup)
{
    void                *ctx;
    ms_context_owner_t  *owner;

    ctx = ms_context_find(r, module);

    if (ctx) {
        return ctx;
    }

    /* ngx_pool_cleanup_add() allocates twice, and this is on every path */

    owner = ngx_palloc(r->pool, sizeof(ms_context_owner_t) + size);
    if (owner == NULL) {
        return NULL;
    }

    ctx = owner + 1;
    ngx_memzero(ctx, size);

    owner->module = module;
    owner->request = r;
    owner->cleanup = cleanup;
    owner->cln.handler = ms_context_cleanup;
    owner->cln.data = owner;
    owner->cln.next = r->pool->cleanup;
    r->pool->cleanup = &owner->cln;

    r->ctx[module->ctx_index] = ctx;

    return ctx;
}


static void
ms_context_cleanup(void *data)
{
    ms_context_owner_t *owner = data;

    if (owner->cleanup) {
        owner->cleanup(owner + 1);
    }
}
