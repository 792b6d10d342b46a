/*
 * Tokens an attacker without the key can make from a good one.
 */

#ifndef ITESTS_FORGE_H
#define ITESTS_FORGE_H


#include <stdbool.h>


typedef struct {
    const char  *name;

    /* Returns a new string. "token" is good, "session" belongs to another
     * user. */
    char      *(*make)(const char *token, const char *session);

    bool         steals;        /* the result names "session", not the
                                   token's own */
} forgery_t;


/* Ended by a row without a name. */
extern const forgery_t  forgeries[];


#endif /* ITESTS_FORGE_H */
