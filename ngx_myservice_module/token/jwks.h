/*
 * JWK Sets of an issuer, fetched by each worker through nginx itself.
 */

#ifndef MS_TOKEN_JWKS_H
#define MS_TOKEN_JWKS_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "token/keyring.h"


/* From now on this worker fetches what the keyring has URIs for. */
ngx_int_t ms_jwks_init(ngx_cycle_t *cycle, ms_keyring_t *keyring);
void ms_jwks_exit(void);

/* Whether a set that was never fetched is being fetched now. "missing" is
 * set to whether a source has no keys. */
ngx_uint_t ms_jwks_awaited(ms_keyring_t *keyring, ngx_uint_t *missing);

/* A token has an unknown "kid": starts fetches if "start" is set, at a
 * bounded rate. Returns whether a fetch is under way. */
ngx_uint_t ms_jwks_unknown(ms_keyring_t *keyring, ngx_uint_t start);


#endif /* MS_TOKEN_JWKS_H */
