/*
 * A module's data of a request, its context, also behind internal redirects.
 */

#ifndef MS_CORE_CONTEXT_H
#define MS_CORE_CONTEXT_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * The context of "module" for this request, NULL if it has none.  nginx zeroes
 * r->ctx on internal redirects; the list of pool cleanups keeps the context.
 * A subrequest has a context of its own.
 */
static ngx_inline void *ms_context_find(ngx_http_request_t *r,
    ngx_module_t *module);

/*
 * The same; makes a zeroed one of "size" bytes from r->pool if there is none.
 * NULL if out of memory.  nginx calls "cleanup", which may be NULL, with the
 * context when the request ends.
 */
void *ms_context_make(ngx_http_request_t *r, ngx_module_t *module,
    size_t size, ngx_pool_cleanup_pt cleanup);

/* the same for a request whose r->ctx nginx may have zeroed */
void *ms_context_search(ngx_http_request_t *r, ngx_module_t *module);


static ngx_inline void *
ms_context_find(ngx_http_request_t *r, ngx_module_t *module)
{
    void  *ctx;

    ctx = r->ctx[module->ctx_index];

    return ctx || !(r->internal || r->filter_finalize)
           ? ctx : ms_context_search(r, module);
}


#endif /* MS_CORE_CONTEXT_H */
