/*
 * Gateways that shall refuse a user's tokens.  What a gateway has not
 * acknowledged stays in the store, and is sent again until it has.
 */

#ifndef AUTHSVC_REVOKE_GATEWAYS_H
#define AUTHSVC_REVOKE_GATEWAYS_H


#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "authsvc/store/store.h"


/* Files; NULL: none, or the system's certificates. */
typedef struct {
    const char  *ca;
    const char  *cert;
    const char  *key;
} gateways_tls_t;

/* Rows of an options table (rpc/options.h). */
#define GATEWAYS_TLS_OPTIONS(tls)                                             \
    { "gateway-ca FILE", "AUTHSVC_GATEWAY_CA", OPTION_STRING, &(tls)->ca,     \
      NULL, 1, 4095, "certificates that those of the gateways' APIs must be " \
      "signed by" },                                                          \
    { "gateway-cert FILE", "AUTHSVC_GATEWAY_CERT", OPTION_STRING,             \
      &(tls)->cert, NULL, 1, 4095, "certificate of authsvc for these APIs" }, \
    { "gateway-key FILE", "AUTHSVC_GATEWAY_KEY", OPTION_STRING, &(tls)->key,  \
      NULL, 1, 4095, "its key, if it is not in the same file" }


/* -1 with one line in "error" if "urls", separated by commas, has one that is
 * neither https:// nor http:// of this machine. */
int gateways_check(const char *urls, char *error, size_t size)
    __attribute__((warn_unused_result));

/* Notes in the store that each of "urls" shall refuse the tokens of "issuer"
 * for the user that were issued at "before" or earlier. */
store_status_t gateways_owe(store_t *store, const char *urls,
    const char *issuer, const char *user, int64_t before)
    __attribute__((warn_unused_result));

/*
 * Sends what the store has, and removes what was acknowledged.  Returns how
 * many requests are left, or -1 if the store failed, with the first cause in
 * "error".  Ends early when "stop" (may be NULL) becomes true.
 */
int gateways_send(store_t *store, const gateways_tls_t *tls,
    const atomic_bool *stop, char *error, size_t size);


#endif /* AUTHSVC_REVOKE_GATEWAYS_H */
