
/*
 * The claims that the configuration names, role among them.  A token's values
 * are packed when it is verified and kept in the cache in that form, so that
 * a call needs no JSON:
 *
 *     uint16_t  length, or NONE
 *     bytes
 *
 * for each name.  Values are percent-encoded (percent.h): what a claim says
 * cannot end a header or a line of a log.
 */

#include "core/metadata.h"
#include "jwt/token.h"
#include "token/claims.h"

#include "core/metadata.h"
#include "jwt/token.h"
#include "wire/percent.h"

#include <openssl/evp.h>


#define MS_JWT_NONE  0xffff


static ngx_int_t ms_jwt_claim_text(const json_t *value, u_char *buf,
    ngx_str_t *text);


ngx_int_t
ms_jwt_add_claim(ngx_conf_t *cf, ngx_array_t *names, ngx_str_t *name)
{
    u_char      *p;
    ngx_str_t   *claim;
    ngx_uint_t   i;

    claim = names->elts;

    for (i = 0; i < names->nelts; i++) {
        if (claim[i].len == name->len
            && ngx_strncmp(claim[i].data, name->data, name->len) == 0)
        {
            return i;
        }
    }

    if (i == MS_JWT_CLAIMS) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "the configuration uses more than %d claims, \"%V\" is "
                      "one too many", MS_JWT_CLAIMS, name);
        return NGX_ERROR;
    }

    p = ngx_pnalloc(cf->pool, name->len + 1);
    claim = ngx_array_push(names);

    if (p == NULL || claim == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_cpystrn(p, name->data, name->len + 1);

    claim->data = p;
    claim->len = name->len;

    return i;
}


size_t
ms_jwt_pack_claims(u_char *buf, ngx_array_t *names, const json_t *claims)
{
    u_char      number[MS_JWT_CLAIM_MAX];
    u_char      encoded[3 * MS_JWT_CLAIM_MAX], *p;
    size_t      n;
    uint16_t    len;
    ngx_str_t  *name, text;
    ngx_uint_t  i;

    p = buf;
    name = names->elts;

    for (i = 0; i < names->nelts; i++) {

        n = 0;
        len = MS_JWT_NONE;

        if (ms_jwt_claim_text(
                              json_object_get(claims, (char *) name[i].data),
                              number, &text)
            == NGX_OK)
        {
            n = ms_percent_encode(encoded, text.data, text.len);

            if (n <= MS_JWT_CLAIM_MAX) {
                len = (uint16_t) n;
            }
        }

        p = ngx_cpymem(p, &len, sizeof(uint16_t));

        if (len != MS_JWT_NONE) {
            p = ngx_cpymem(p, encoded, n);
        }
    }

    return p - buf;
}


ngx_int_t
ms_jwt_subject(u_char *subject, const json_t *claims, const char *name)
{
    u_char     *p, number[MS_JWT_CLAIM_MAX];
    u_char      text[2 * MS_TOKEN_MAX], md[EVP_MAX_MD_SIZE];
    json_t     *value;
    ngx_str_t   part;
    ngx_uint_t  i;

    const char  *names[] = { "iss", name };

    p = text;

    for (i = 0; i < 2; i++) {

        value = json_object_get(claims, names[i]);

        if (value) {

            if (ms_jwt_text(value, number, &part) != NGX_OK
                || part.len > MS_TOKEN_MAX - 1)
            {
                return NGX_DECLINED;
            }

            p = ngx_cpymem(p, part.data, part.len);
        }

        if (i == 0) {
            *p++ = '\0';
        }
    }

    if (EVP_Digest(text, p - text, md, NULL, EVP_sha256(), NULL) != 1) {
        return NGX_ERROR;
    }

    ngx_memcpy(subject, md, MS_SUBJECT_SIZE);

    return NGX_OK;
}


static ngx_int_t
ms_jwt_claim_text(const json_t *value, u_char *buf, ngx_str_t *text)
{
    return ms_jwt_text(value, buf, text) == NGX_OK
           && text->len <= MS_JWT_CLAIM_MAX ? NGX_OK
                                                            : NGX_DECLINED;
}


ngx_int_t
ms_jwt_text(const json_t *value, u_char *buf, ngx_str_t *text)
{
    int  n;

    if (json_is_string(value)) {
        text->data = (u_char *) json_string_value(value);
        text->len = json_string_length(value);

        return NGX_OK;
    }

    if (json_is_boolean(value)) {
        n = snprintf((char *) buf, MS_JWT_CLAIM_MAX, "%s",
                     json_is_true(value) ? "true" : "false");

    } else if (json_is_integer(value)) {
        n = snprintf((char *) buf, MS_JWT_CLAIM_MAX,
                     "%" JSON_INTEGER_FORMAT, json_integer_value(value));

    } else if (json_is_real(value)) {
        n = snprintf((char *) buf, MS_JWT_CLAIM_MAX, "%.17g",
                     json_real_value(value));

    } else {
        return NGX_DECLINED;
    }

    text->data = buf;
    text->len = n;

    return NGX_OK;
}


ngx_int_t
ms_jwt_claim(u_char *packed, ngx_uint_t n, ngx_str_t *value)
{
    u_char    *p;
    uint16_t   len;

    for (p = packed; /* void */; n--) {

        ngx_memcpy(&len, p, sizeof(uint16_t));
        p += sizeof(uint16_t);

        if (n == 0) {
            break;
        }

        if (len != MS_JWT_NONE) {
            p += len;
        }
    }

    if (len == MS_JWT_NONE) {
        return NGX_DECLINED;
    }

    value->data = p;
    value->len = len;

    return NGX_OK;
}
