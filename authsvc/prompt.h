/*
 * Reads a password: from a terminal twice and without echo, else one line of
 * standard input.
 */

#ifndef AUTHSVC_PROMPT_H
#define AUTHSVC_PROMPT_H


#include <stddef.h>


/* -1 with one line in "error". */
int prompt_password(char *password, size_t size, char *error,
    size_t error_size) __attribute__((warn_unused_result));


#endif /* AUTHSVC_PROMPT_H */
