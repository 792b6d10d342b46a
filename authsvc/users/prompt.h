/*
 * Reads a password: from a terminal twice and without echo, otherwise one line
 * of standard input.
 */

#ifndef AUTHSVC_USERS_PROMPT_H
#define AUTHSVC_USERS_PROMPT_H


#include <stddef.h>

#include "authsvc/core/limits.h"


/* One byte more than a password may have: a longer one is cut to a bad one. */
#define PROMPT_PASSWORD  (LIMIT_PASSWORD + 2)


/* -1 with one line in "error"; "password" is empty then. */
int prompt_password(char password[PROMPT_PASSWORD], char *error, size_t size)
    __attribute__((warn_unused_result));


#endif /* AUTHSVC_USERS_PROMPT_H */
