/*
 * What is known of a call's token.
 */

#ifndef MS_TOKEN_CONTEXT_H
#define MS_TOKEN_CONTEXT_H


#include "core/context.h"
#include "token/conf.h"


typedef struct {
    ms_jwt_policy_t  *policy;                   /* decided by it, or NULL */
    ms_jwt_policy_t  *tried;                    /* the same before the wait */
    ngx_uint_t        version;                  /* of its keys then */
    ngx_uint_t        reason;
    ngx_str_t         token;                    /* borrowed from r->pool */
    ngx_uint_t        tokens;                   /* headers with one */
    u_char           *subject;                  /* of a good token, or NULL */
    ngx_uint_t        generation;               /* of the list of revoked ones,
                                                   when it was not there */
    u_char           *claims;                   /* packed; of a good token */
    time_t            expires;

    unsigned          waited:1;                 /* for new keys */
    unsigned          unknown:1;                /* its "kid", when tried */
    unsigned          cleaned:1;
    unsigned          forwarded:1;
} ms_jwt_ctx_t;


/*
 * The context of a request whose token was looked at, or NULL.  There is no
 * access phase for subrequests.
 */
#define ms_jwt_get_ctx(r)                                                     \
    (ms_jwt_ctx_t *) ms_context_find((r)->main,                               \
                                     &ngx_http_myservice_jwt_module)


#endif /* MS_TOKEN_CONTEXT_H */
