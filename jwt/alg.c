/*
 * The table of algorithms (RFC 7518 section 3.1, RFC 8037).
 */

#include <string.h>

#include "jwt/key.h"


#define HMAC(name, digest, size)                                              \
    { name, MS_FAMILY_HMAC, digest, size, NULL, NULL, 0 }
#define RSA(name, digest, size)                                               \
    { name, MS_FAMILY_RSA, digest, size, NULL, NULL, 0 }
#define PSS(name, digest, size)                                               \
    { name, MS_FAMILY_PSS, digest, size, NULL, NULL, 0 }


const ms_alg_info_t  ms_algs[MS_ALGS] = {
    [MS_ALG_HS256] = HMAC("HS256", "SHA256", 32),
    [MS_ALG_HS384] = HMAC("HS384", "SHA384", 48),
    [MS_ALG_HS512] = HMAC("HS512", "SHA512", 64),
    [MS_ALG_RS256] = RSA("RS256", "SHA256", 32),
    [MS_ALG_RS384] = RSA("RS384", "SHA384", 48),
    [MS_ALG_RS512] = RSA("RS512", "SHA512", 64),
    [MS_ALG_PS256] = PSS("PS256", "SHA256", 32),
    [MS_ALG_PS384] = PSS("PS384", "SHA384", 48),
    [MS_ALG_PS512] = PSS("PS512", "SHA512", 64),
    [MS_ALG_ES256] = { "ES256", MS_FAMILY_EC, "SHA256", 32, "P-256",
                       "prime256v1", 32 },
    [MS_ALG_ES384] = { "ES384", MS_FAMILY_EC, "SHA384", 48, "P-384",
                       "secp384r1", 48 },
    [MS_ALG_ES512] = { "ES512", MS_FAMILY_EC, "SHA512", 64, "P-521",
                       "secp521r1", 66 },
    [MS_ALG_EDDSA] = { "EdDSA", MS_FAMILY_ED25519, NULL, 0, "Ed25519", NULL,
                       32 }
};


const char *
ms_alg_name(ms_alg_t alg)
{
    return ms_algs[alg].name;
}


int
ms_alg_find(const char *name, size_t len)
{
    int  i;

    for (i = 0; i < MS_ALGS; i++) {
        if (strlen(ms_algs[i].name) == len
            && memcmp(ms_algs[i].name, name, len) == 0)
        {
            return i;
        }
    }

    return -1;
}
