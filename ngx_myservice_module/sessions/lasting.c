
/* Fields for the instance that are the same for all calls of a session. */

#include "sessions/lasting.h"


static ngx_int_t ms_lasting_find(ms_lasting_conf_t *conf, ngx_table_elt_t *h);

ngx_str_t  ms_lasting_names[] = {
    ngx_string("te"),
    ngx_string("authorization"),
    ngx_string("content-type"),
    ngx_string("user-agent"),
    ngx_string("grpc-encoding"),
    ngx_string("grpc-accept-encoding"),
    ngx_string("accept-encoding"),
    ngx_string("x-myservice-role"),
    ngx_null_string
};


void
ms_lasting_take(ms_lasting_conf_t *conf, ngx_uint_t name)
{
    conf->names |= (ngx_uint_t) 1 << name;
    conf->lens[ms_lasting_names[name].len] |= (ngx_uint_t) 1 << name;
}


/*
 * All fields of the client are counted, as to find out which of them are lasting
 * takes longer; and as in a table, where they take more.
 */

void
ms_lasting_room(ngx_http_request_t *r, ms_lasting_t *to)
{
    size_t            size;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    size = 0;

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            size += ms_hpack_size(h[i].key.len, h[i].value.len);
        }
    }

    if (size <= to->left) {
        to->lasting->size += size;
        return;
    }

    to->lasting->size += to->left;
    to->fields->size += size;
}


void
ms_lasting_put(ms_lasting_t *to, ngx_str_t *name, const u_char *value,
    size_t len)
{
    size_t        size;
    ms_fields_t  *fields;

    size = ms_hpack_size(name->len, len);
    fields = to->fields;

    if (size <= to->left) {
        to->left -= size;
        fields = to->lasting;
    }

    fields->len = ms_field_write(fields->data + fields->len, name->data,
                                 name->len, value, len)
                  - fields->data;
}


void
ms_lasting_client(ngx_http_request_t *r, ms_lasting_conf_t *conf,
    ms_lasting_t *to)
{
    ngx_str_t         value;
    ngx_int_t         n;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    static ngx_str_t  trailers = ngx_string("trailers");

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            n = ms_lasting_find(conf, &h[i]);

            if (n == NGX_DECLINED) {
                continue;
            }

            value = h[i].value;

            if (n == 0) {

                /* "te", as the grpc module sends it */

                if ((value.len != trailers.len
                     || ngx_memcmp(value.data, trailers.data, value.len) != 0)
                    && ngx_strlcasestrn(value.data, value.data + value.len,
                                        trailers.data, trailers.len - 1)
                       == NULL)
                {
                    continue;
                }

                value = trailers;
            }

            ms_lasting_put(to, &ms_lasting_names[n], value.data, value.len);
        }
    }
}


static ngx_int_t
ms_lasting_find(ms_lasting_conf_t *conf, ngx_table_elt_t *h)
{
    ngx_int_t   i;
    ngx_uint_t  names;

    names = h->key.len < MS_LASTING_LEN ? conf->lens[h->key.len] : 0;

    for (i = 0; names; i++, names >>= 1) {

        if (names & 1
            && ngx_memcmp(ms_lasting_names[i].data, h->lowcase_key, h->key.len)
               == 0)
        {
            return i;
        }
    }

    return NGX_DECLINED;
}
