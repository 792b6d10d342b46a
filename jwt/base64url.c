/*
 * Strict base64url.
 */

#include "jwt/base64url.h"

#include <stdint.h>


static int
ms_base64url_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }

    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }

    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }

    return c == '-' ? 62 : c == '_' ? 63 : -1;
}


int
ms_base64url_decode(unsigned char *out, size_t *out_len, const char *text,
    size_t len)
{
    int       value;
    size_t    i, n;
    uint32_t  bits;
    unsigned  left;

    bits = 0;
    left = 0;
    n = 0;

    for (i = 0; i < len; i++) {
        value = ms_base64url_value(text[i]);
        if (value < 0) {
            return -1;
        }

        bits = (bits << 6 | (uint32_t) value) & 0xffff;
        left += 6;

        if (left >= 8) {
            left -= 8;
            out[n++] = (unsigned char) (bits >> left);
        }
    }

    /* 6 bits left: a lone character; 2 or 4 bits left must be zero */
    if (left == 6 || (bits & ((1U << left) - 1)) != 0) {
        return -1;
    }

    *out_len = n;

    return 0;
}
