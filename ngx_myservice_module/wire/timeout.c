/* The value of "grpc-timeout": one to eight digits and a unit. */

#include "wire/timeout.h"


#define MS_TIMEOUT_DIGITS  8


int64_t
ms_timeout_parse(const void *text, size_t len)
{
    size_t          i;
    int64_t         n;
    const uint8_t  *p;

    p = text;

    if (len < 2 || len > MS_TIMEOUT_DIGITS + 1) {
        return -1;
    }

    n = 0;

    for (i = 0; i < len - 1; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return -1;
        }

        n = n * 10 + (p[i] - '0');
    }

    switch (p[i]) {

    case 'H':
        return n * 3600000;

    case 'M':
        return n * 60000;

    case 'S':
        return n * 1000;

    case 'm':
        return n;

    case 'u':
        return (n + 999) / 1000;

    case 'n':
        return (n + 999999) / 1000000;

    default:
        return -1;
    }
}
