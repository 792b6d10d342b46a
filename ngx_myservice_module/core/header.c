
/*
 * Lists of header fields and trailers.
 */

#include "core/header.h"


ngx_table_elt_t *
ms_header_find(ngx_list_t *headers, const char *name, size_t len)
{
    u_char           *key;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &headers->part; part; part = part->next) {

        h = part->elts;

        if (h == NULL) {
            return NULL;
        }

        for (i = 0; i < part->nelts; i++) {

            key = h[i].key.data;

            /* in lower case already, but for clients of HTTP/1 */

            if (h[i].key.len == len && h[i].hash
                && (key[0] | 0x20) == (name[0] | 0x20)
                && (ngx_memcmp(key, name, len) == 0
                    || ngx_strncasecmp(key, (u_char *) name, len) == 0))
            {
                return &h[i];
            }
        }
    }

    return NULL;
}


ngx_int_t
ms_header_add(ngx_list_t *headers, const char *key, ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    /* there is h->next since 1.23.0 */

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key.data = (u_char *) key;
    h->key.len = ngx_strlen(key);
    h->lowcase_key = h->key.data;
    h->value = *value;

    return NGX_OK;
}
