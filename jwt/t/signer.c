/* Signs tokens for tests, with every algorithm. */

#include "jwt/t/signer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "jwt/t/forge.h"


#define must(condition)                                                       \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);   \
            abort();                                                          \
        }                                                                     \
    } while (0)


static const struct {
    const char  *alg;
    const char  *type;
    const char  *digest;
    size_t       field;
} algs[] = {
    { "HS256", NULL, "SHA256", 0 },
    { "HS384", NULL, "SHA384", 0 },
    { "HS512", NULL, "SHA512", 0 },
    { "RS256", "RSA", "SHA256", 0 },
    { "RS384", "RSA", "SHA384", 0 },
    { "RS512", "RSA", "SHA512", 0 },
    { "PS256", "RSA", "SHA256", 0 },
    { "PS384", "RSA", "SHA384", 0 },
    { "PS512", "RSA", "SHA512", 0 },
    { "ES256", "P-256", "SHA256", 32 },
    { "ES384", "P-384", "SHA384", 48 },
    { "ES512", "P-521", "SHA512", 66 },
    { "EdDSA", "ED25519", NULL, 0 }
};


static size_t
find(const char *alg)
{
    size_t  i;

    for (i = 0; strcmp(algs[i].alg, alg) != 0; i++) {
        must(i + 1 < sizeof(algs) / sizeof(algs[0]));
    }

    return i;
}


const char *
signer_type(const char *alg)
{
    return algs[find(alg)].type;
}


EVP_PKEY *
signer_key(const char *type)
{
    int        i;
    EVP_PKEY  *pkey;

    static struct {
        char       type[16];
        EVP_PKEY  *pkey;
    } made[16];

    for (i = 0; made[i].pkey != NULL; i++) {
        if (strcmp(made[i].type, type) == 0) {
            return made[i].pkey;
        }
    }

    if (strncmp(type, "RSA", 3) == 0) {
        pkey = EVP_RSA_gen(type[3] == '\0' ? 2048 : atoi(type + 4));
    } else if (strstr(type, "25519") != NULL) {
        pkey = EVP_PKEY_Q_keygen(NULL, NULL, type);
    } else {
        pkey = EVP_EC_gen(type);
    }

    must(pkey != NULL && i < 15);
    snprintf(made[i].type, sizeof(made[i].type), "%s", type);
    made[i].pkey = pkey;

    return pkey;
}


static char *
bio_text(BIO *bio)
{
    char  *text, *data;
    long   len;

    len = BIO_get_mem_data(bio, &data);
    text = strndup(data, (size_t) len);
    must(text != NULL);
    BIO_free(bio);

    return text;
}


char *
signer_pem(EVP_PKEY *pkey)
{
    BIO  *bio;

    bio = BIO_new(BIO_s_mem());
    must(PEM_write_bio_PUBKEY(bio, pkey) == 1);

    return bio_text(bio);
}


char *
signer_private_pem(EVP_PKEY *pkey)
{
    BIO  *bio;

    bio = BIO_new(BIO_s_mem());
    must(PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) == 1);

    return bio_text(bio);
}


char *
signer_certificate(EVP_PKEY *pkey)
{
    BIO   *bio;
    X509  *x509;

    x509 = X509_new();
    must(X509_set_version(x509, 2) == 1
         && ASN1_INTEGER_set(X509_get_serialNumber(x509), 1) == 1
         && X509_gmtime_adj(X509_getm_notBefore(x509), 0) != NULL
         && X509_gmtime_adj(X509_getm_notAfter(x509), 3600) != NULL
         && X509_set_pubkey(x509, pkey) == 1
         && X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN",
                                       MBSTRING_ASC,
                                       (const unsigned char *) "issuer", -1,
                                       -1, 0) == 1);
    must(X509_sign(x509, pkey, EVP_PKEY_is_a(pkey, "ED25519") ? NULL
                                                              : EVP_sha256())
         > 0);

    bio = BIO_new(BIO_s_mem());
    must(PEM_write_bio_X509(bio, x509) == 1);
    X509_free(x509);

    return bio_text(bio);
}


static char *
bn_param(EVP_PKEY *pkey, const char *name, size_t size)
{
    int             len;
    char           *text;
    BIGNUM         *bn;
    unsigned char   bytes[2048];

    bn = NULL;
    must(EVP_PKEY_get_bn_param(pkey, name, &bn) == 1);
    len = size > 0 ? (int) size : BN_num_bytes(bn);
    must(BN_bn2binpad(bn, bytes, len) == len);
    text = forge_base64url(bytes, (size_t) len);
    BN_free(bn);

    return text;
}


static char *
jwk_ec(EVP_PKEY *pkey, const char *members)
{
    int     size;
    char   *x, *y, *jwk;
    size_t  field;

    field = ((size_t) EVP_PKEY_get_bits(pkey) + 7) / 8;
    x = bn_param(pkey, OSSL_PKEY_PARAM_EC_PUB_X, field);
    y = bn_param(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, field);
    size = asprintf(&jwk, "{\"kty\":\"EC\",\"crv\":\"%s\",\"x\":\"%s\","
                    "\"y\":\"%s\"%s}", field == 32 ? "P-256"
                    : field == 48 ? "P-384" : "P-521", x, y, members);
    must(size > 0);
    free(x);
    free(y);

    return jwk;
}


char *
signer_jwk(EVP_PKEY *pkey, const char *members)
{
    int            size;
    char          *a, *b, *jwk;
    size_t         len;
    unsigned char  raw[32];

    if (EVP_PKEY_is_a(pkey, "EC")) {
        return jwk_ec(pkey, members);
    }

    if (EVP_PKEY_is_a(pkey, "RSA")) {
        a = bn_param(pkey, OSSL_PKEY_PARAM_RSA_N, 0);
        b = bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, 0);
        size = asprintf(&jwk, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"%s}",
                        a, b, members);
        must(size > 0);
        free(a);
        free(b);
        return jwk;
    }

    len = sizeof(raw);
    must(EVP_PKEY_get_raw_public_key(pkey, raw, &len) == 1);
    a = forge_base64url(raw, len);
    size = asprintf(&jwk, "{\"kty\":\"OKP\",\"crv\":\"%s\",\"x\":\"%s\"%s}",
                    EVP_PKEY_is_a(pkey, "X25519") ? "X25519" : "Ed25519", a,
                    members);
    must(size > 0);
    free(a);

    return jwk;
}


char *
signer_jwk_secret(const void *secret, size_t len, const char *members)
{
    char  *k, *jwk;

    k = forge_base64url(secret, len);
    must(asprintf(&jwk, "{\"kty\":\"oct\",\"k\":\"%s\"%s}", k, members) > 0);
    free(k);

    return jwk;
}


/* RFC 7518 section 3.4: r || s */
static unsigned char *
ecdsa_raw(unsigned char *der, size_t *len, size_t field)
{
    ECDSA_SIG            *sig;
    unsigned char        *raw;
    const unsigned char  *p;

    p = der;
    sig = d2i_ECDSA_SIG(NULL, &p, (long) *len);
    raw = malloc(2 * field);
    must(sig != NULL && raw != NULL
         && BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, (int) field) > 0
         && BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + field, (int) field)
            > 0);
    ECDSA_SIG_free(sig);
    free(der);
    *len = 2 * field;

    return raw;
}


unsigned char *
signer_sign(const char *alg, EVP_PKEY *pkey, const char *text, size_t *len)
{
    size_t          i;
    unsigned        n;
    EVP_MD_CTX     *ctx;
    EVP_PKEY_CTX   *pctx;
    unsigned char  *signature;

    i = find(alg);
    signature = malloc(4096);
    must(signature != NULL);
    *len = 4096;

    if (pkey == NULL) {
        must(HMAC(EVP_get_digestbyname(algs[i].digest), SIGNER_SECRET,
                  (int) strlen(SIGNER_SECRET), (const unsigned char *) text,
                  strlen(text), signature, &n) != NULL);
        *len = n;
        return signature;
    }

    ctx = EVP_MD_CTX_new();
    must(EVP_DigestSignInit_ex(ctx, &pctx, algs[i].digest, NULL, NULL, pkey,
                               NULL) == 1);

    if (alg[0] == 'P') {
        must(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1
             && EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx,
                                                 RSA_PSS_SALTLEN_DIGEST)
                == 1);
    }

    must(EVP_DigestSign(ctx, signature, len, (const unsigned char *) text,
                        strlen(text)) == 1);
    EVP_MD_CTX_free(ctx);

    return EVP_PKEY_is_a(pkey, "EC")
           ? ecdsa_raw(signature, len,
                       ((size_t) EVP_PKEY_get_bits(pkey) + 7) / 8)
           : signature;
}


char *
signer_token(const char *alg, EVP_PKEY *pkey, const char *header,
    const char *claims)
{
    char           *h, *c, *s, *text, *token;
    size_t          len;
    unsigned char  *signature;

    h = forge_base64url(header, strlen(header));
    c = forge_base64url(claims, strlen(claims));
    must(asprintf(&text, "%s.%s", h, c) > 0);

    signature = signer_sign(alg, pkey, text, &len);
    s = forge_base64url(signature, len);
    must(asprintf(&token, "%s.%s", text, s) > 0);

    free(h);
    free(c);
    free(s);
    free(text);
    free(signature);

    return token;
}
