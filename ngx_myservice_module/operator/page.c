
/*
 * Text answers of the operator's locations: buffers are added as they fill, so
 * that a writer need not know the length of the whole.
 */

#include "operator/page.h"


#define MS_PAGE_BUFFER  8192


void
ms_page_init(ms_page_t *page, ngx_http_request_t *r)
{
    page->request = r;
    page->out = NULL;
    page->last = &page->out;
    page->buf = NULL;
}


ngx_int_t
ms_page_begin(ms_page_t *page, ngx_http_request_t *r)
{
    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    ms_page_init(page, r);

    return ngx_http_discard_request_body(r);
}


u_char *
ms_page_room(ms_page_t *page, size_t size)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    b = page->buf;

    if (b && (size_t) (b->end - b->last) >= size) {
        return b->last;
    }

    b = ngx_create_temp_buf(page->request->pool,
                            ngx_max(size, MS_PAGE_BUFFER));
    cl = ngx_alloc_chain_link(page->request->pool);

    if (b == NULL || cl == NULL) {
        return NULL;
    }

    cl->buf = b;
    cl->next = NULL;

    *page->last = cl;
    page->last = &cl->next;
    page->buf = b;

    return b->last;
}


ngx_int_t
ms_page_puts(ms_page_t *page, const char *text)
{
    size_t   len;
    u_char  *p;

    len = ngx_strlen(text);

    p = ms_page_room(page, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    page->buf->last = ngx_cpymem(p, text, len);

    return NGX_OK;
}


ngx_int_t
ms_page_send(ms_page_t *page, ngx_uint_t status, ngx_str_t *type)
{
    ngx_int_t            rc;
    ngx_chain_t         *cl;
    ngx_http_request_t  *r;

    r = page->request;

    r->headers_out.status = status;
    r->headers_out.content_length_n = 0;
    r->headers_out.content_type = *type;
    r->headers_out.content_type_len = type->len;
    r->headers_out.content_type_lowcase = NULL;

    for (cl = page->out; cl; cl = cl->next) {
        r->headers_out.content_length_n += cl->buf->last - cl->buf->pos;
    }

    page->buf->last_buf = (r == r->main) ? 1 : 0;
    page->buf->last_in_chain = 1;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, page->out);
}
