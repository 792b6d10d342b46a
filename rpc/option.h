/*
 * One value of an option; private to rpc/options.c.
 */

#ifndef RPC_OPTION_H
#define RPC_OPTION_H


#include <stddef.h>

#include "rpc/options.h"


#define OPTION_RANGE  80


/* Sets option->value; -1 if "text" is not allowed. */
int option_set(const option_t *option, const char *text)
    __attribute__((warn_unused_result));

/* "1s to 1d"; "" when anything is allowed. */
void option_range(const option_t *option, char *out, size_t size);

/* The same for an error: "a time from 1s to 1d, as 500ms, ...". */
void option_allowed(const option_t *option, char *out, size_t size);


#endif /* RPC_OPTION_H */
