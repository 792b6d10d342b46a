/* Makes tokens that a good signer would not. */

#include "jwt/t/forge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jwt.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>


char *
forge_base64url(const void *data, size_t len)
{
    char    *text;
    size_t   i;

    text = malloc(len / 3 * 4 + 5);
    if (text == NULL) {
        abort();
    }

    EVP_EncodeBlock((unsigned char *) text, data, (int) len);

    for (i = 0; text[i] != '\0' && text[i] != '='; i++) {
        text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
    }
    text[i] = '\0';

    return text;
}


char *
forge_bytes(const void *header, size_t header_len, const void *payload,
    size_t payload_len, const char *secret)
{
    char           *h, *p, *s, *token;
    unsigned        mac_len;
    unsigned char   mac[EVP_MAX_MD_SIZE];

    h = forge_base64url(header, header_len);
    p = forge_base64url(payload, payload_len);

    if (asprintf(&token, "%s.%s", h, p) < 0) {
        abort();
    }

    HMAC(EVP_sha256(), secret, (int) strlen(secret), (unsigned char *) token,
         strlen(token), mac, &mac_len);
    free(token);

    s = forge_base64url(mac, mac_len);
    if (asprintf(&token, "%s.%s.%s", h, p, s) < 0) {
        abort();
    }

    free(h);
    free(p);
    free(s);

    return token;
}


char *
forge(const char *header, const char *payload, const char *secret)
{
    return forge_bytes(header, strlen(header), payload, strlen(payload),
                       secret);
}


char *
forge_libjwt(const char *claims, const char *secret)
{
    char   *token;
    jwt_t  *jwt;

    if (jwt_new(&jwt) != 0 || jwt_add_grants_json(jwt, claims) != 0
        || jwt_set_alg(jwt, JWT_ALG_HS256, (const unsigned char *) secret,
                       (int) strlen(secret))
           != 0)
    {
        abort();
    }

    token = jwt_encode_str(jwt);
    jwt_free(jwt);

    return token;
}
