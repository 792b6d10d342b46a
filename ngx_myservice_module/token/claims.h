/*
 * Claims that the configuration names, packed once per token.
 */

#ifndef MS_TOKEN_CLAIMS_H
#define MS_TOKEN_CLAIMS_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <jansson.h>

#include "core/metadata.h"


#define MS_JWT_CLAIMS     32                      /* names */
#define MS_JWT_CLAIM_MAX  256                     /* bytes of a value */

#define MS_JWT_ROLE       0                       /* the first of the names */


/* The place of a claim among the names, added if it is new; NGX_ERROR if there
 * are too many, which is logged.  "name" must live as long as "cf". */
ngx_int_t ms_jwt_add_claim(ngx_conf_t *cf, ngx_array_t *names,
    ngx_str_t *name);

/* How much ms_jwt_pack_claims() writes at most. */
#define ms_jwt_claims_size(n)                                                 \
    ((n) * (sizeof(uint16_t) + MS_JWT_CLAIM_MAX))

/* Strings, numbers and booleans of a token, percent-encoded, in the order of
 * the names; returns the bytes written. */
size_t ms_jwt_pack_claims(u_char *buf, ngx_array_t *names,
    const json_t *claims);

/*
 * The first MS_SUBJECT_SIZE bytes of SHA-256 over "iss", NUL and the
 * claim; without a key, so that it is the same everywhere.  NGX_DECLINED if one
 * of them has a type that has no text, NGX_ERROR if the library failed.
 */
ngx_int_t ms_jwt_subject(u_char *subject, const json_t *claims,
    const char *name);

/* The text of a string, number or boolean, borrowed from "value" or written to
 * "buf" of MS_JWT_CLAIM_MAX bytes; NGX_DECLINED for other types. */
ngx_int_t ms_jwt_text(const json_t *value, u_char *buf, ngx_str_t *text);

/* Claim number "n" of what was packed; NGX_DECLINED if it has no value. */
ngx_int_t ms_jwt_claim(u_char *packed, ngx_uint_t n, ngx_str_t *value);


#endif /* MS_TOKEN_CLAIMS_H */
