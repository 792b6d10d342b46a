
/*
 * Session ids as logs, variables and the API show them.
 */

#include "core/session_text.h"

#include <openssl/sha.h>


static ngx_uint_t  ms_session_hides;


void
ms_session_hide(ngx_uint_t hide)
{
    ms_session_hides = hide;
}


ngx_uint_t
ms_session_hidden(void)
{
    return ms_session_hides;
}


void
ms_session_hash(ngx_str_t *session, u_char *out)
{
    u_char  digest[SHA256_DIGEST_LENGTH];

    (void) SHA256(session->data, session->len, digest);

    out = ngx_cpymem(out, MS_SESSION_HASH_PREFIX,
                     sizeof(MS_SESSION_HASH_PREFIX) - 1);
    (void) ngx_hex_dump(out, digest, 8);
}


ngx_str_t *
ms_session_shown(ngx_str_t *session, ngx_str_t *hash, u_char *out)
{
    /* one that is not known stays empty */

    if (!ms_session_hides || session->len == 0) {
        return session;
    }

    ms_session_hash(session, out);
    hash->data = out;
    hash->len = MS_SESSION_HASH;

    return hash;
}


ngx_str_t *
ms_session_log(ngx_str_t *session, ms_session_log_t *log)
{
    u_char     out[MS_SESSION_HASH];
    ngx_str_t  hash;

    log->text.data = log->buf;
    log->text.len = ms_session_escape(log->buf, MS_SESSION_LOG,
                                      ms_session_shown(session, &hash, out), 0)
                    - log->buf;

    return &log->text;
}


u_char *
ms_session_escape(u_char *p, size_t size, ngx_str_t *text, ngx_uint_t spaces)
{
    u_char   c, *end;
    size_t   i;

    static u_char  hex[] = "0123456789ABCDEF";

    end = p + size;

    for (i = 0; i < text->len && end - p >= 3; i++) {
        c = text->data[i];

        if ((c > ' ' || (spaces && c == ' ')) && c <= '~' && c != '"'
            && c != '%' && c != '\\')
        {
            *p++ = c;
            continue;
        }

        *p++ = '%';
        *p++ = hex[c >> 4];
        *p++ = hex[c & 0xf];
    }

    return p;
}
