
/*
 * Subject and user of a session as a text of the store.
 */

#include "store/who.h"


size_t
ms_store_who(ms_store_t *store, u_char *text, const uint8_t *subject,
    uint64_t user)
{
    u_char  *p;

    p = text;

    if (subject) {
        p = ngx_hex_dump(p, (u_char *) subject, MS_POOL_SUBJECT);

    } else {
        *p++ = '-';
    }

    if (store->limits && user) {
        p = ngx_sprintf(p, ":%016xL", user);

    } else if (store->limits && subject) {
        *p++ = ':';
        *p++ = '~';
    }

    return p - text;
}


void
ms_store_who_of(const ngx_str_t *text, uint8_t subject[MS_POOL_SUBJECT],
    ms_pool_terms_t *terms)
{
    u_char      *p, *last;
    ngx_int_t    n;
    ngx_uint_t   i;

    terms->subject = NULL;
    terms->user = 0;

    if (text->len == 0) {
        return;
    }

    last = text->data + text->len;
    p = ngx_strlchr(text->data, last, ':');
    p = p ? p : last;

    if (p - text->data == MS_STORE_SUBJECT) {

        for (i = 0; i < MS_POOL_SUBJECT; i++) {
            n = ngx_hextoi(text->data + 2 * i, 2);

            if (n == NGX_ERROR) {
                return;
            }

            subject[i] = (uint8_t) n;
        }

        terms->subject = subject;
    }

    if (last - p != MS_STORE_WHO - MS_STORE_SUBJECT) {
        return;
    }

    for (i = 0, p++; i < sizeof(uint64_t); i++, p += 2) {
        n = ngx_hextoi(p, 2);

        if (n == NGX_ERROR) {
            terms->user = 0;
            return;
        }

        terms->user = terms->user << 8 | (uint64_t) n;
    }
}
