/*
 * A text answer of unknown length, in buffers of the request's pool.
 */

#ifndef MS_OPERATOR_PAGE_H
#define MS_OPERATOR_PAGE_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


typedef struct {
    ngx_http_request_t  *request;
    ngx_chain_t         *out;
    ngx_chain_t        **last;
    ngx_buf_t           *buf;                   /* the last one */
} ms_page_t;


void ms_page_init(ms_page_t *page, ngx_http_request_t *r);

/*
 * Begins the answer to a GET or HEAD.  NGX_OK, else what the content handler
 * returns.
 */
ngx_int_t ms_page_begin(ms_page_t *page, ngx_http_request_t *r);

/*
 * Where the next "size" bytes go, NULL if out of memory.  The caller moves
 * page->buf->last behind what it wrote.
 */
u_char *ms_page_room(ms_page_t *page, size_t size);

/* appends the text */
ngx_int_t ms_page_puts(ms_page_t *page, const char *text);

/* Sends what was written, at least a byte; the content handler returns what
 * this returns. */
ngx_int_t ms_page_send(ms_page_t *page, ngx_uint_t status, ngx_str_t *type);


#endif /* MS_OPERATOR_PAGE_H */
