/*
 * Lists of header fields and trailers.
 */

#ifndef MS_CORE_HEADER_H
#define MS_CORE_HEADER_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* first header of that name (lower case), NULL if none */
ngx_table_elt_t *ms_header_find(ngx_list_t *headers, const char *name,
    size_t len);

/* "key" is a static string; "value" is borrowed from r->pool */
ngx_int_t ms_header_add(ngx_list_t *headers, const char *key,
    ngx_str_t *value);


#endif /* MS_CORE_HEADER_H */
