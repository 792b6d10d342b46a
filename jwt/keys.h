/*
 * Verification keys, parsed once, each pinned to the algorithms it is for.  A
 * key set holds prepared OpenSSL contexts: it belongs to one thread.
 *
 * Constructors return NULL with one line in "error" when something is wrong;
 * then nothing is kept.  "options" may be NULL: all algorithms.
 */

#ifndef JWT_KEYS_H
#define JWT_KEYS_H


#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>


#define MS_SECRET_MIN      32           /* bytes; RFC 7518 section 3.2 */
#define MS_SECRET_MAX      4096

#define MS_KEYS_MAX        256          /* keys of a set */
#define MS_KEYS_TEXT_MAX   1048576      /* bytes of a key file */
#define MS_KEYS_TRIED      8            /* for a token that names no key */
#define MS_KID_MAX         256          /* bytes of a "kid" */


/* RFC 7518 section 3.1, RFC 8037 */
typedef enum {
    MS_ALG_HS256 = 0,
    MS_ALG_HS384,
    MS_ALG_HS512,
    MS_ALG_RS256,
    MS_ALG_RS384,
    MS_ALG_RS512,
    MS_ALG_PS256,
    MS_ALG_PS384,
    MS_ALG_PS512,
    MS_ALG_ES256,
    MS_ALG_ES384,
    MS_ALG_ES512,
    MS_ALG_EDDSA,                       /* Ed25519 only */
    MS_ALGS
} ms_alg_t;

#define MS_ALG_BIT(alg)    (UINT32_C(1) << (alg))

#define MS_ALG_ALL         (MS_ALG_BIT(MS_ALGS) - 1)

#define MS_ALG_HS                                                             \
    (MS_ALG_BIT(MS_ALG_HS256) | MS_ALG_BIT(MS_ALG_HS384)                      \
     | MS_ALG_BIT(MS_ALG_HS512))

typedef struct ms_keys_s  ms_keys_t;

typedef struct {
    uint32_t  algorithms;               /* MS_ALG_BIT()s; 0: all */
} ms_keys_options_t;


/* The "alg" of a token: "HS256". */
const char *ms_alg_name(ms_alg_t alg);

/* An ms_alg_t, or -1: unknown, as "none" is. */
int ms_alg_find(const char *name, size_t len);

/*
 * A secret of 32 to 4096 bytes for HS256, or for those of HS256, HS384 and
 * HS512 that the options name; not shorter than the hash of any of them.  The
 * bytes are copied; the copy is wiped by ms_keys_free().
 */
ms_keys_t *ms_keys_from_secret(const void *secret, size_t len,
    const ms_keys_options_t *options, char *error, size_t size);

/* From a file: its content without one trailing newline is the secret.
 * The error names the file and the limit. */
ms_keys_t *ms_keys_from_secret_file(const char *path,
    const ms_keys_options_t *options, char *error, size_t size);

/*
 * Public keys from text: a JWK or a JWK Set (RFC 7517) when it begins with
 * '{', else PEM blocks, which are public keys (SubjectPublicKeyInfo) or
 * certificates, of which only the key is used.
 *
 * A key is for the algorithms that its type allows (RSA: RS* and PS*), less
 * those that its JWK's "alg" or the options exclude.  JWKs that are of unknown
 * type, curve or algorithm, or not for verifying, are passed over.  Broken,
 * weak and private keys are errors, which name the key; a set without a usable
 * key is one, too.
 */
ms_keys_t *ms_keys_parse(const void *text, size_t len,
    const ms_keys_options_t *options, char *error, size_t size);

/* The same, but only a JWK or a JWK Set, which shows when it was cut short; PEM
 * does not. */
ms_keys_t *ms_keys_parse_jwks(const void *text, size_t len,
    const ms_keys_options_t *options, char *error, size_t size);

/* The same as ms_keys_parse() from a file of up to 1 MB; the error names the
 * file. */
ms_keys_t *ms_keys_from_file(const char *path,
    const ms_keys_options_t *options, char *error, size_t size);

/* Up to "len" bytes of a regular file; -1 with one line in "error", which names
 * the file. */
ssize_t ms_keys_read_file(const char *path, char *buf, size_t len, char *error,
    size_t size);

/* Adds the keys of "more", which is gone afterwards in any case, to "*keys",
 * which may be NULL.  -1 if those are too many or memory is out; "*keys" is
 * as it was then. */
int ms_keys_join(ms_keys_t **keys, ms_keys_t *more, char *error, size_t size)
    __attribute__((warn_unused_result));

/* The number of keys; one for several algorithms counts once for each. */
size_t ms_keys_count(const ms_keys_t *keys);

int ms_keys_has_kid(const ms_keys_t *keys, const char *kid, size_t len);

void ms_keys_free(ms_keys_t *keys);


#endif /* JWT_KEYS_H */
