/*
 * Tokens an attacker without the key can make from a good one.
 */

#ifndef ITESTS_FORGE_H
#define ITESTS_FORGE_H


#include <stdbool.h>


typedef struct {
    const char  *name;

    /* A new string.  "token" is good; "session" is one to break into. */
    char      *(*make)(const char *token, const char *session);

    bool         steals;        /* it names "session", not the token's own */
} forgery_t;


/* Ended by a row without a name. */
extern const forgery_t  forgeries[];


#endif /* ITESTS_FORGE_H */
