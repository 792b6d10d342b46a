/*
 * Checks names, passwords and roles.
 */

#include "authsvc/core/limits.h"

#include <string.h>

#include "rpc/message.h"


/* C0, DEL, and C1, which is C2 80 .. C2 9F in UTF-8. */
static bool
limits_control(const unsigned char *p)
{
    return *p < 0x20 || *p == 0x7f
           || (p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f);
}


bool
limits_username(const char *text)
{
    size_t                len;
    const unsigned char  *p;

    len = strlen(text);

    if (len == 0 || len > LIMIT_USERNAME
        || !rpc_utf8_valid((const uint8_t *) text, len))
    {
        return false;
    }

    for (p = (const unsigned char *) text; *p != '\0'; p++) {
        if (limits_control(p)) {
            return false;
        }
    }

    return true;
}


bool
limits_password(const char *text)
{
    size_t  len;

    len = strnlen(text, LIMIT_PASSWORD + 1);

    return len > 0 && len <= LIMIT_PASSWORD;
}


bool
limits_role(const char *text)
{
    size_t  len;

    for (len = 0; text[len] != '\0'; len++) {
        if (len == LIMIT_ROLE || text[len] < 0x21 || text[len] > 0x7e) {
            return false;
        }
    }

    return len > 0;
}
