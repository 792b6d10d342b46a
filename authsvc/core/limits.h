/*
 * Names, passwords and roles that authsvc accepts.
 */

#ifndef AUTHSVC_CORE_LIMITS_H
#define AUTHSVC_CORE_LIMITS_H


#include <stdbool.h>


#define LIMIT_USERNAME  128             /* bytes of UTF-8 */
#define LIMIT_PASSWORD  1024
#define LIMIT_ROLE      64

/* What to say when one is refused. */
#define LIMIT_USERNAME_TEXT  "a user name must be 1 to 128 bytes of UTF-8 "   \
                             "without control characters"
#define LIMIT_PASSWORD_TEXT  "the password must have 1 to 1024 bytes"
#define LIMIT_ROLE_TEXT      "a role must be 1 to 64 visible ASCII characters"


/* 1..LIMIT_USERNAME bytes of UTF-8 without control characters. */
bool limits_username(const char *text);

/* 1..LIMIT_PASSWORD bytes. */
bool limits_password(const char *text);

/* 1..LIMIT_ROLE bytes of visible ASCII. */
bool limits_role(const char *text);


#endif /* AUTHSVC_CORE_LIMITS_H */
