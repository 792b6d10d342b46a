/*
 * Strict base64url without padding (RFC 7515 section 2): one text for one
 * value.  Refused are other alphabets, padding, white space, impossible
 * lengths and unused bits that are not zero (RFC 4648 section 3.5).
 *
 * libsodium's sodium_base642bin() is no substitute: that of Debian 12 (1.0.18)
 * takes every byte above 127 for a digit.
 */

#ifndef JWT_BASE64URL_H
#define JWT_BASE64URL_H


#include <stddef.h>


/* Bytes that "n" characters can decode to, at most. */
#define MS_BASE64URL_DECODED(n)  ((n) / 4 * 3 + 2)


/* "out" has room for MS_BASE64URL_DECODED(len) bytes; returns -1 if "text"
 * is not canonical. */
int ms_base64url_decode(unsigned char *out, size_t *out_len, const char *text,
    size_t len) __attribute__((warn_unused_result));


#endif /* JWT_BASE64URL_H */
