/*
 * Many users at once: all of a file, or none.
 */

#ifndef AUTHSVC_IMPORT_H
#define AUTHSVC_IMPORT_H


#include <stddef.h>

#include "authsvc/store.h"


/* What becomes of users who are in the store already. */
typedef enum {
    IMPORT_NEW = 0,                     /* an error */
    IMPORT_UPDATE,                      /* password, and role if given */
    IMPORT_SKIP
} import_policy_t;

typedef struct {
    size_t  added;
    size_t  updated;
    size_t  skipped;
} import_count_t;


/*
 * Reads "path" ("-": standard input) and changes the store.  "role" is that of
 * users of which the file says none; NULL: "user", and what it is for users
 * that are there.  -1 with one line in "error": then nothing was changed.
 */
int import_users(store_t *store, const char *path, const char *role,
    import_policy_t policy, import_count_t *count, char *error, size_t size)
    __attribute__((warn_unused_result));


#endif /* AUTHSVC_IMPORT_H */
