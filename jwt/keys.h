/*
 * Verification keys, parsed once, each pinned to one algorithm.  A key set
 * holds prepared OpenSSL contexts: it belongs to one thread.
 */

#ifndef JWT_KEYS_H
#define JWT_KEYS_H


#include <stddef.h>


#define MS_SECRET_MIN  32               /* bytes; RFC 7518 section 3.2 */
#define MS_SECRET_MAX  4096


typedef struct ms_keys_s  ms_keys_t;


/*
 * An HS256 key set of one secret.  "error" gets one line on failure.  The
 * bytes are copied; the copy is wiped by ms_keys_free().
 */
ms_keys_t *ms_keys_from_secret(const void *secret, size_t len, char *error,
    size_t size);

/* From a file: its content without one trailing newline is the secret.
 * The error names the file and the limit. */
ms_keys_t *ms_keys_from_secret_file(const char *path, char *error,
    size_t size);

void ms_keys_free(ms_keys_t *keys);


#endif /* JWT_KEYS_H */
