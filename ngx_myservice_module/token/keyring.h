/*
 * The keys of some locations, joined from their sources.
 */

#ifndef MS_TOKEN_KEYRING_H
#define MS_TOKEN_KEYRING_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "jwt/keys.h"
#include "token/key_store.h"


/*
 * The keys of some locations.  Made when the configuration is read; each
 * worker goes on with its copy.
 */

typedef struct {
    ngx_array_t               *sources;
                                     /* ms_key_source_t */
    ms_keys_options_t          options;
    ngx_http_core_srv_conf_t  *server;          /* of URIs, else NULL */
    ms_key_store_t            *stores;          /* one for each source */
    ngx_shm_t                  shm;             /* for what they share */
    ms_keys_t                 *keys;            /* NULL: none came yet */
    ngx_uint_t                 version;         /* of keys */
    ngx_uint_t                 used;            /* by a policy */
} ms_keyring_t;


/*
 * The keyring of the sources among "keyrings", added with the keys of its files
 * if there is none.  NULL if a key file is unusable, which is logged.
 */
ms_keyring_t *ms_keyring(ngx_conf_t *cf, ngx_array_t *keyrings,
    ngx_array_t *sources, uint32_t algorithms);

/* Puts another text into a store. Takes "text", which is from malloc().
 * NGX_ERROR if the text is broken: the keyring keeps the previous keys,
 * "error" says why. */
ngx_int_t ms_keyring_put(ms_keyring_t *keyring, ms_key_store_t *store,
    u_char *text, size_t len, char *error, size_t size);

/* Drops the keys of a store. */
void ms_keyring_drop(ms_keyring_t *keyring, ms_key_store_t *store);

/* Of a store; it may be a secret. */
void ms_keyring_free_text(u_char *text, size_t len);


#endif /* MS_TOKEN_KEYRING_H */
