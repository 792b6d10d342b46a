/*
 * Makes tokens for tests, good and bad ones.  Results are from malloc().
 */

#ifndef JWT_T_FORGE_H
#define JWT_T_FORGE_H


#include <stddef.h>


char *forge_base64url(const void *data, size_t len);

/* Any header and payload text, signed with HMAC-SHA256. */
char *forge_bytes(const void *header, size_t header_len, const void *payload,
    size_t payload_len, const char *secret);
char *forge(const char *header, const char *payload, const char *secret);

/* The oracle: libjwt encodes claims given as JSON, HS256. */
char *forge_libjwt(const char *claims, const char *secret);


#endif /* JWT_T_FORGE_H */
