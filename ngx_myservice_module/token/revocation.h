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

/* the stamp of an entry that was written without one */
#define MS_REVOCATION_OLDEST  1

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
    uint64_t          stamp;                    /* of an operator's last word
                                                   on it, microseconds: of two
                                                   gateways the later counts */
    uint32_t          changed;                  /* of the list, see
                                                   ms_revocations_changed() */
    uint16_t          kind;
    uint16_t          ended;                    /* by an operator: refuses
                                                   nothing */
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
 * defaults, -1: the object must say it.  So is "stamp", 0: the object is an
 * operator's, and has neither that nor "ended".  NGX_DECLINED with what is wrong
 * in "error", NGX_ERROR if the library failed.
 */
ngx_int_t ms_revocation_read(ms_revocation_t *entry, const json_t *json,
    const char **error);

/* Writes the object, at most MS_REVOCATION_JSON bytes; returns its end.
 * "shown": to people, a session as ms_session_shown() has it.  Else for
 * ms_revocation_read(), with "stamp" and "ended". */
#define MS_REVOCATION_JSON  (192 + 6 * 2 * MS_REVOCATION_TEXT                 \
                             + 2 * MS_REVOCATION_KEY + 2 * NGX_INT64_LEN)

u_char *ms_revocation_write(u_char *p, const ms_revocation_t *entry,
    ngx_uint_t shown);

/* For a line of a log: texts percent-encoded; at most MS_REVOCATION_JSON. */
u_char *ms_revocation_log(u_char *p, const ms_revocation_t *entry);

/* The stamp of an operator's word: the time, and above the last one that this
 * gateway knows. */
uint64_t ms_revocation_stamp(uint64_t last);

/* An operator's word extends an entry: the later times of both count, of one
 * that has ended those of the word; they are in both afterwards.  1 if a time
 * of "old" changed. */
ngx_uint_t ms_revocation_extend(ms_revocation_t *old,
    ms_revocation_t *entry);

/*
 * The same for another gateway's word, which may be older than "old", or end
 * it: the later one counts.  Two words that revoke are one with the later times
 * of both; where no gateway has told that one yet, it is a new word.  1 if
 * "old" changed.
 */
ngx_uint_t ms_revocation_merge(ms_revocation_t *old, ms_revocation_t *entry);

/*
 * The ids of a token of the session.  NGX_DECLINED if a claim has a type that
 * has no text, NGX_ERROR if the library failed.
 */
ngx_int_t ms_revocation_ids(ms_token_ids_t *ids, const json_t *claims,
    const ngx_str_t *session);


#endif /* MS_TOKEN_REVOCATION_H */
