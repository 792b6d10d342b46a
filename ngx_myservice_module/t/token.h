/*
 * Tokens and keys, signed by libjwt.  The texts are valid until the test ends.
 */

#ifndef MODULE_T_TOKEN_H
#define MODULE_T_TOKEN_H


#define TOKEN_SECRET  "a secret for module tests, long enough"


/* With HS256, TOKEN_SECRET and all claims of authsvc; it expires "lifetime"
 * seconds from now. */
const char *token_make(const char *session, long lifetime);

/* With any claims and secret; "alg" is libjwt's name, "kid" may be NULL. */
const char *token_sign(const char *claims, const char *alg,
    const char *secret);
const char *token_sign_kid(const char *claims, const char *alg,
    const char *secret, const char *kid);

/* A secret as a JWK for HS256, and a JWK Set of one or (NULL) two JWKs. */
const char *token_jwk(const char *kid, const char *secret);
const char *token_set(const char *one, const char *two);

/* Keeps a text from malloc() until the test ends. */
const char *token_keep(char *text);


#endif /* MODULE_T_TOKEN_H */
