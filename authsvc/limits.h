/*
 * What may be stored and asked for.
 */

#ifndef AUTHSVC_LIMITS_H
#define AUTHSVC_LIMITS_H


#include <stdbool.h>


#define LIMIT_USERNAME  128             /* bytes of UTF-8 */
#define LIMIT_PASSWORD  1024
#define LIMIT_ROLE      64


/* 1..LIMIT_USERNAME bytes of UTF-8 without control characters. */
bool limits_username(const char *text);

/* 1..LIMIT_PASSWORD bytes. */
bool limits_password(const char *text);

/* 1..LIMIT_ROLE bytes of visible ASCII. */
bool limits_role(const char *text);


#endif /* AUTHSVC_LIMITS_H */
