/*
 * Percent-encoding of grpc-message: bytes 0x20-0x7e but "%" stand for
 * themselves, all others are written %XX.
 */

#include "wire/percent.h"


size_t
ms_percent_encode(uint8_t *dst, const uint8_t *src, size_t len)
{
    static const char  hex[] = "0123456789ABCDEF";

    size_t    i;
    uint8_t  *p;

    p = dst;

    for (i = 0; i < len; i++) {

        if (src[i] >= 0x20 && src[i] <= 0x7e && src[i] != '%') {
            *p++ = src[i];
            continue;
        }

        *p++ = '%';
        *p++ = (uint8_t) hex[src[i] >> 4];
        *p++ = (uint8_t) hex[src[i] & 15];
    }

    return (size_t) (p - dst);
}


static int
ms_hex(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }

    return -1;
}


size_t
ms_percent_decode(uint8_t *dst, const uint8_t *src, size_t len)
{
    int       hi, lo;
    size_t    i;
    uint8_t  *p;

    p = dst;

    for (i = 0; i < len; i++) {

        if (src[i] == '%' && len - i > 2) {
            hi = ms_hex(src[i + 1]);
            lo = ms_hex(src[i + 2]);

            if (hi >= 0 && lo >= 0) {
                *p++ = (uint8_t) (hi << 4 | lo);
                i += 2;
                continue;
            }
        }

        *p++ = src[i];
    }

    return (size_t) (p - dst);
}
