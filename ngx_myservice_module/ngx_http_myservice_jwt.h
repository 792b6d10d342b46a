/*
 * Access control by token: what the files of this concern share.
 *
 *   jwt_module   commands, variables, life of a worker
 *   jwt_conf     what the directives say
 *   jwt_access   the order of the checks, the cache of verified tokens
 *   jwt_claims   claims that the configuration names, packed once per token
 *   jwt_headers  the metadata that the instance gets
 *   jwt_keys     the keys of all sources
 *   jwt_file     key files, read again when they change
 *   jwt_fetch    JWK Sets of an issuer, through nginx itself
 *   jwt_stats    counters of all workers
 */

#ifndef NGX_HTTP_MYSERVICE_JWT_H
#define NGX_HTTP_MYSERVICE_JWT_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "jwt/cache.h"
#include "jwt/keys.h"
#include "jwt/token.h"


#define NGX_HTTP_MYSERVICE_JWT_CLAIMS     32      /* names */
#define NGX_HTTP_MYSERVICE_JWT_CLAIM_MAX  256     /* bytes of a value */

#define NGX_HTTP_MYSERVICE_JWT_ROLE       0       /* the first of the names */


/* Outcomes: ms_token_reason_t, and these. */

typedef enum {
    NGX_HTTP_MYSERVICE_JWT_SESSION_MISSING = MS_TOKEN_REASONS,
    NGX_HTTP_MYSERVICE_JWT_SESSION_INVALID,
    NGX_HTTP_MYSERVICE_JWT_SESSION_MISMATCH,
    NGX_HTTP_MYSERVICE_JWT_TOKENS,              /* more than one */
    NGX_HTTP_MYSERVICE_JWT_NO_KEYS,             /* those of a source lack */
    NGX_HTTP_MYSERVICE_JWT_REASONS
} ngx_http_myservice_jwt_reason_e;


typedef struct {
    ngx_uint_t                  code;           /* of gRPC */
    const char                 *name;           /* log, variable, counter */
    const char                 *message;
} ngx_http_myservice_jwt_answer_t;


/* where keys come from, as configured */

typedef enum {
    NGX_HTTP_MYSERVICE_JWT_SECRET = 0,
    NGX_HTTP_MYSERVICE_JWT_FILE,
    NGX_HTTP_MYSERVICE_JWT_URI
} ngx_http_myservice_jwt_source_e;


typedef struct {
    ngx_http_myservice_jwt_source_e  type;
    ngx_str_t                   name;           /* path or URI, with NUL */
    ngx_msec_t                  interval;       /* of a URI */
    ngx_msec_t                  timeout;
} ngx_http_myservice_jwt_source_t;


/* what a file was when it was looked at; all zero: it was not there */

typedef struct {
    dev_t                       device;
    ino_t                       inode;
    off_t                       size;
    struct timespec             changed;
} ngx_http_myservice_jwt_stamp_t;


typedef struct ngx_http_myservice_jwt_fetch_s  ngx_http_myservice_jwt_fetch_t;


/* what a source holds, in this process */

typedef struct {
    ngx_http_myservice_jwt_source_t  *source;
    u_char                     *text;           /* the last that was good */
    size_t                      len;
    ngx_atomic_t               *updated;        /* shared: by some worker */

    ngx_http_myservice_jwt_stamp_t  stamp;      /* of a file */
    ngx_err_t                   err;            /* why it was not read */
    unsigned                    fresh:1;        /* may change unnoticed */
    unsigned                    failed:1;       /* to be read again */

    ngx_http_myservice_jwt_fetch_t  *fetch;     /* of a URI, in a worker */
} ngx_http_myservice_jwt_store_t;


/*
 * The keys of some locations.  Made when the configuration is read; each
 * worker goes on with its copy.
 */

typedef struct {
    ngx_array_t                *sources;
                                     /* ngx_http_myservice_jwt_source_t */
    ms_keys_options_t           options;
    ngx_http_core_srv_conf_t   *server;         /* of URIs, else NULL */
    ngx_http_myservice_jwt_store_t  *stores;    /* one for each source */
    ngx_shm_t                   shm;            /* for "updated" of them */
    ms_keys_t                  *keys;           /* NULL: none came yet */
    ngx_uint_t                  version;        /* of keys */
    ngx_uint_t                  used;           /* by a policy */
} ngx_http_myservice_jwt_keyring_t;


/* what a decision depends on, shared by the locations that agree */

typedef struct {
    ngx_http_myservice_jwt_keyring_t  *keyring;
    ms_token_rules_t            rules;
    ngx_uint_t                  entries;

    ms_cache_t                 *cache;          /* of this worker */
    ngx_uint_t                  version;        /* of the keys it is for */
    uint64_t                    evictions;      /* counted so far */
} ngx_http_myservice_jwt_policy_t;


typedef struct {
    ngx_array_t                 policies;
                                     /* ngx_http_myservice_jwt_policy_t * */
    ngx_array_t                 keyrings;
                                     /* ngx_http_myservice_jwt_keyring_t * */
    ngx_uint_t                  fetched;        /* any of a URI */
    ngx_msec_t                  key_check;      /* 0: off */
    ngx_array_t                 claims;         /* of ngx_str_t, with NUL */
    ngx_shm_zone_t             *zone;
} ngx_http_myservice_jwt_main_conf_t;


typedef struct {
    ngx_flag_t                  enable;
    ngx_flag_t                  forward;
    ngx_array_t                *sources;
                                     /* ngx_http_myservice_jwt_source_t */
    uint32_t                    algorithms;     /* MS_ALG_BIT()s, 0: all */
    time_t                      leeway;
    ngx_str_t                   session_claim;
    ngx_str_t                   issuer;
    ngx_str_t                   audience;
    ngx_array_t                *require;        /* ms_token_claim_t */
    ngx_int_t                   cache;
    ngx_http_myservice_jwt_policy_t  *policy;
} ngx_http_myservice_jwt_loc_conf_t;


typedef struct {
    ngx_http_myservice_jwt_policy_t  *policy;   /* decided by it, or NULL */
    ngx_http_myservice_jwt_policy_t  *tried;    /* the same before the wait */
    ngx_uint_t                  version;        /* of its keys then */
    ngx_uint_t                  reason;
    ngx_str_t                   token;          /* borrowed from r->pool */
    ngx_uint_t                  tokens;         /* headers with one */
    u_char                     *claims;         /* packed; of a good token */
    time_t                      expires;

    unsigned                    waited:1;       /* for new keys */
    unsigned                    unknown:1;      /* its "kid", when tried */
    unsigned                    cleaned:1;
    unsigned                    forwarded:1;
} ngx_http_myservice_jwt_ctx_t;


/* jwt_conf */

void *ngx_http_myservice_jwt_create_loc_conf(ngx_conf_t *cf);
char *ngx_http_myservice_jwt_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
char *ngx_http_myservice_jwt_files(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_myservice_jwt_keys_uri(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
char *ngx_http_myservice_jwt_algorithms(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
char *ngx_http_myservice_jwt_require(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
char *ngx_http_myservice_jwt_cache_size(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
char *ngx_http_myservice_jwt_key_check(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);


/* jwt_access */

ngx_int_t ngx_http_myservice_jwt_handler(ngx_http_request_t *r);

/* The context of a request whose token was looked at, or NULL. */
ngx_http_myservice_jwt_ctx_t *ngx_http_myservice_jwt_get_ctx(
    ngx_http_request_t *r);

ngx_http_myservice_jwt_answer_t ngx_http_myservice_jwt_answer(
    ngx_uint_t reason);


/* jwt_claims */

/* The place of a claim among the names, added if it is new; NGX_ERROR if there
 * are too many, which is logged.  "name" must live as long as "cf". */
ngx_int_t ngx_http_myservice_jwt_add_claim(ngx_conf_t *cf,
    ngx_http_myservice_jwt_main_conf_t *jmcf, ngx_str_t *name);

/* How much ngx_http_myservice_jwt_pack_claims() writes at most. */
#define ngx_http_myservice_jwt_claims_size(n)                                 \
    ((n) * (sizeof(uint16_t) + NGX_HTTP_MYSERVICE_JWT_CLAIM_MAX))

/* Strings, numbers and booleans of a token, percent-encoded, in the order of
 * the names; returns the bytes written. */
size_t ngx_http_myservice_jwt_pack_claims(u_char *buf, ngx_array_t *names,
    const json_t *claims);

/* Claim number "n" of what was packed; NGX_DECLINED if it has no value. */
ngx_int_t ngx_http_myservice_jwt_claim(u_char *packed, ngx_uint_t n,
    ngx_str_t *value);


/* jwt_headers */

/* Drops what only the gateway may send, and counts the tokens.  Once. */
ngx_int_t ngx_http_myservice_jwt_clean_headers(ngx_http_request_t *r,
    ngx_http_myservice_jwt_ctx_t *ctx);

/* Adds what the gateway tells the instance; without "token" the token is not
 * among it. */
ngx_int_t ngx_http_myservice_jwt_forward(ngx_http_request_t *r,
    ngx_http_myservice_jwt_ctx_t *ctx, ngx_flag_t token);


/* jwt_keys */

/* The keys of the sources, with those of files; NULL, logged, if they are not
 * what they should be. */
ngx_http_myservice_jwt_keyring_t *ngx_http_myservice_jwt_keyring(
    ngx_conf_t *cf, ngx_array_t *sources, uint32_t algorithms);

/* Puts another text into a store.  Takes "text", which is from malloc().
 * NGX_ERROR: it is broken, the keys are as they were; "error" says why. */
ngx_int_t ngx_http_myservice_jwt_put_keys(
    ngx_http_myservice_jwt_keyring_t *keyring,
    ngx_http_myservice_jwt_store_t *store, u_char *text, size_t len,
    char *error, size_t size);

/* Goes on without the keys of a store. */
void ngx_http_myservice_jwt_drop_keys(
    ngx_http_myservice_jwt_keyring_t *keyring,
    ngx_http_myservice_jwt_store_t *store);

/* Of a store; it may be a secret. */
void ngx_http_myservice_jwt_free_text(u_char *text, size_t len);


/* jwt_file */

/* Reads a file of at most MS_KEYS_TEXT_MAX bytes into "text", from malloc();
 * NGX_ERROR with ngx_errno.  The stamp is set in any case. */
ngx_int_t ngx_http_myservice_jwt_read(ngx_http_myservice_jwt_store_t *store,
    u_char **text, size_t *len);

/* From now on this worker looks for files that changed. */
void ngx_http_myservice_jwt_watch_keys(ngx_cycle_t *cycle,
    ngx_http_myservice_jwt_main_conf_t *jmcf);


/* jwt_fetch */

/* From the configuration: takes what fetches answer. */
void ngx_http_myservice_jwt_fetch_filters(void);

/* From now on this worker fetches what the keyring has URIs for. */
ngx_int_t ngx_http_myservice_jwt_fetch_init(ngx_cycle_t *cycle,
    ngx_http_myservice_jwt_keyring_t *keyring);
void ngx_http_myservice_jwt_fetch_exit(void);

/* Whether a set that never came is being fetched; "missing": whether there
 * are no keys of a source. */
ngx_uint_t ngx_http_myservice_jwt_fetch_awaited(
    ngx_http_myservice_jwt_keyring_t *keyring, ngx_uint_t *missing);

/* There is a token of an unknown "kid": with "start" fetches, at a bounded
 * rate.  Whether a fetch is under way. */
ngx_uint_t ngx_http_myservice_jwt_fetch_unknown(
    ngx_http_myservice_jwt_keyring_t *keyring, ngx_uint_t start);


/* jwt_stats */

typedef enum {
    NGX_HTTP_MYSERVICE_JWT_HITS = NGX_HTTP_MYSERVICE_JWT_REASONS,
    NGX_HTTP_MYSERVICE_JWT_MISSES,
    NGX_HTTP_MYSERVICE_JWT_EVICTIONS,
    NGX_HTTP_MYSERVICE_JWT_UPDATES,
    NGX_HTTP_MYSERVICE_JWT_FAILURES,
    NGX_HTTP_MYSERVICE_JWT_COUNTERS
} ngx_http_myservice_jwt_counter_e;

/* "n" is an outcome or a counter; counted for this worker. */
void ngx_http_myservice_jwt_count(ngx_uint_t n, ngx_uint_t times);

ngx_int_t ngx_http_myservice_jwt_add_zone(ngx_conf_t *cf,
    ngx_http_myservice_jwt_main_conf_t *jmcf);
void ngx_http_myservice_jwt_open_stats(
    ngx_http_myservice_jwt_main_conf_t *jmcf);

/* The counters of all workers as a JSON object, without a name; at most
 * NGX_HTTP_MYSERVICE_JWT_JSON bytes. */
#define NGX_HTTP_MYSERVICE_JWT_JSON                                           \
    (256 + NGX_HTTP_MYSERVICE_JWT_COUNTERS * (24 + NGX_INT64_LEN))

u_char *ngx_http_myservice_jwt_json(u_char *p, ngx_http_request_t *r);


extern ngx_module_t  ngx_http_myservice_jwt_module;


#endif /* NGX_HTTP_MYSERVICE_JWT_H */
