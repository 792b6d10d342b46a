/*
 * Outcomes of the token check, each with its gRPC status and its names.
 */

#ifndef MS_TOKEN_REASONS_H
#define MS_TOKEN_REASONS_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "jwt/token.h"


/* Outcomes: ms_token_reason_t, and these. */

typedef enum {
    MS_JWT_SESSION_MISSING = MS_TOKEN_REASONS,
    MS_JWT_SESSION_INVALID,
    MS_JWT_SESSION_MISMATCH,
    MS_JWT_TOKENS,                              /* more than one */
    MS_JWT_NO_KEYS,                             /* a source has no keys */
    MS_JWT_REVOKED,
    MS_JWT_REASONS
} ms_jwt_reason_e;


typedef struct {
    ngx_uint_t                  code;           /* of gRPC */
    const char                 *name;           /* log, variable, counter */
    const char                 *message;
} ms_reason_t;


ms_reason_t ms_reason(ngx_uint_t reason);


#endif /* MS_TOKEN_REASONS_H */
