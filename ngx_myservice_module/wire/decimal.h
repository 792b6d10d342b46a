/*
 * Numbers as text.
 */

#ifndef MS_WIRE_DECIMAL_H
#define MS_WIRE_DECIMAL_H


#include <stdint.h>
#include <string.h>


#define MS_DECIMAL_LEN  20              /* of the greatest number */


/* Writes a number, which ngx_sprintf() takes three times as long for; returns
 * its end. */
static inline uint8_t *
ms_decimal_write(uint8_t *p, uint64_t n)
{
    uint8_t  text[MS_DECIMAL_LEN], *digit;

    digit = text + MS_DECIMAL_LEN;

    do {
        *--digit = (uint8_t) ('0' + n % 10);
        n /= 10;
    } while (n);

    memcpy(p, digit, (size_t) (text + MS_DECIMAL_LEN - digit));

    return p + (text + MS_DECIMAL_LEN - digit);
}


#endif /* MS_WIRE_DECIMAL_H */
