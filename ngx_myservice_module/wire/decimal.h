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

    static const char  pairs[] =
        "00010203040506070809101112131415161718192021222324"
        "25262728293031323334353637383940414243444546474849"
        "50515253545556575859606162636465666768697071727374"
        "75767778798081828384858687888990919293949596979899";

    digit = text + MS_DECIMAL_LEN;

    for ( /* void */ ; n >= 100; n /= 100) {
        digit -= 2;
        memcpy(digit, pairs + n % 100 * 2, 2);
    }

    *--digit = (uint8_t) ('0' + n % 10);

    if (n >= 10) {
        *--digit = (uint8_t) ('0' + n / 10);
    }

    memcpy(p, digit, (size_t) (text + MS_DECIMAL_LEN - digit));

    return p + (text + MS_DECIMAL_LEN - digit);
}


#endif /* MS_WIRE_DECIMAL_H */
