/*
 * What the directives of the token check say.
 */

#ifndef MS_TOKEN_CONF_H
#define MS_TOKEN_CONF_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "core/metadata.h"
#include "jwt/cache.h"
#include "jwt/token.h"
#include "token/keyring.h"
#include "token/revocation.h"


/* what is kept of a good token: the subject, its ids, the packed claims */

#define MS_JWT_IDS     MS_SUBJECT_SIZE
#define MS_JWT_PACKED  (MS_JWT_IDS + sizeof(ms_token_ids_t))


/* what a decision depends on, shared by the locations that agree */

typedef struct {
    ms_keyring_t     *keyring;
    ms_token_rules_t  rules;
    ms_from_t        *from;
    const char       *subject;                  /* claim, NULL: off */
    ngx_uint_t        entries;

    ms_cache_t       *cache;                    /* of this worker */
    ngx_uint_t        version;                  /* of the keys it is for */
    uint64_t          evictions;                /* counted so far */
} ms_jwt_policy_t;


typedef struct {
    ngx_array_t                 policies;
                                     /* ms_jwt_policy_t * */
    ngx_array_t                 keyrings;
                                     /* ms_keyring_t * */
    ngx_uint_t                  fetched;        /* any of a URI */
    ngx_msec_t                  key_check;      /* 0: off */
    ngx_array_t                 claims;         /* of ngx_str_t, with NUL */
    ngx_shm_zone_t             *zone;
    ngx_shm_zone_t             *revocations;    /* NULL: off */
    ngx_str_t                   revocations_file;
    time_t                      revocations_keep;
    time_t                      leeway;         /* the longest */
} ms_jwt_main_conf_t;


typedef struct {
    ngx_flag_t        enable;
    ngx_flag_t        forward;
    ngx_array_t      *sources;
                                     /* ms_key_source_t */
    uint32_t          algorithms;               /* MS_ALG_BIT()s, 0: all */
    time_t            leeway;
    ngx_str_t         session_claim;
    ngx_str_t         subject;                  /* claim, empty: off */
    ngx_str_t         issuer;
    ngx_str_t         audience;
    ngx_array_t      *require;                  /* ms_token_claim_t */
    ngx_int_t         cache;
    ms_jwt_policy_t  *policy;
} ms_jwt_loc_conf_t;


void *ms_jwt_create_loc_conf(ngx_conf_t *cf);
char *ms_jwt_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child);
char *ms_jwt_files(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ms_jwt_keys_uri(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ms_jwt_algorithms(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ms_jwt_require(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ms_jwt_subject_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ms_jwt_cache_size(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ms_jwt_key_check(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ms_jwt_revocations(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


extern ngx_module_t  ngx_http_myservice_jwt_module;


#endif /* MS_TOKEN_CONF_H */
