/*
 * An entry of the list of revoked tokens: which tokens it refuses, as JSON and
 * as a key.
 */

#ifndef MS_TOKEN_REVOCATION_H
#define MS_TOKEN_REVOCATION_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <jansson.h>


#define MS_REVOCATION_KEY   16                  /* bytes */
#define MS_REVOCATION_TEXT  256                 /* bytes of each text */

/* seconds from now; a later end is refused */
#define MS_REVOCATION_MAX   31622400


typedef enum {
    MS_REVOKE_JTI = 0,                          /* one token */
    MS_REVOKE_USER,                             /* "iss" and "sub" */
    MS_REVOKE_SESSION,                          /* by the session claim */
    MS_REVOKE_KINDS
} ms_revoke_kind_e;


typedef struct {
    u_char            key[MS_REVOCATION_KEY];
    int64_t           before;                   /* refuses an "iat" up to it */
    int64_t           until;                    /* seconds since 1970 */
    uint16_t          kind;
    uint16_t          len[2];                   /* of the texts */
    u_char            text[2 * MS_REVOCATION_TEXT];
                                                /* without a gap */
} ms_revocation_t;


/* What the list knows a token by.  A key of zeros: the token has none. */

typedef struct {
    u_char            key[MS_REVOKE_KINDS][MS_REVOCATION_KEY];
    int64_t           issued;                   /* "iat", or INT64_MIN */
} ms_token_ids_t;


/* Fills key, kind and texts; "second" is used by MS_REVOKE_USER alone.
 * NGX_DECLINED if a text is too long, NGX_ERROR if the library failed. */
ngx_int_t ms_revocation_init(ms_revocation_t *entry, ms_revoke_kind_e kind,
    const ngx_str_t *first, const ngx_str_t *second);

/*
 * Reads the object of an entry.  "before" and "until" of "entry" are the
 * defaults, -1: the object must say it.  NGX_DECLINED with what is wrong in
 * "error", NGX_ERROR if the library failed.
 */
ngx_int_t ms_revocation_read(ms_revocation_t *entry, const json_t *json,
    const char **error);

/* Writes the object, at most MS_REVOCATION_JSON bytes; returns its end.
 * "shown": to people, a session as ms_session_shown() has it. */
#define MS_REVOCATION_JSON  (128 + 6 * 2 * MS_REVOCATION_TEXT                 \
                             + 2 * MS_REVOCATION_KEY + 2 * NGX_INT64_LEN)

u_char *ms_revocation_write(u_char *p, const ms_revocation_t *entry,
    ngx_uint_t shown);

/* For a line of a log: texts percent-encoded; at most MS_REVOCATION_JSON. */
u_char *ms_revocation_log(u_char *p, const ms_revocation_t *entry);

/*
 * The ids of a token of the session.  NGX_DECLINED if a claim has a type that
 * has no text, NGX_ERROR if the library failed.
 */
ngx_int_t ms_revocation_ids(ms_token_ids_t *ids, const json_t *claims,
    const ngx_str_t *session);


#endif /* MS_TOKEN_REVOCATION_H */
