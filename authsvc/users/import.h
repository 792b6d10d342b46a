/*
 * Many users at once: all users of a file, or none.  The file is CSV with a
 * header line, or has user:hash per line, as htpasswd writes it.
 */

#ifndef AUTHSVC_USERS_IMPORT_H
#define AUTHSVC_USERS_IMPORT_H


#include <stddef.h>

#include "authsvc/store/store.h"


/* What happens to users who are in the store already. */
typedef enum {
    IMPORT_NEW = 0,                     /* an error */
    IMPORT_UPDATE,                      /* new password, and role if given */
    IMPORT_SKIP
} import_policy_t;

typedef struct {
    size_t  added;
    size_t  updated;
    size_t  skipped;
} import_count_t;


/*
 * Reads "path" ("-": standard input) and changes the store.  "role" is for
 * users without a role in the file; NULL: new ones get "user", others keep
 * theirs.  -1 with one line in "error", without secrets: nothing was changed.
 */
int import_users(store_t *store, const char *path, const char *role,
    import_policy_t policy, import_count_t *count, char *error, size_t size)
    __attribute__((warn_unused_result));


#endif /* AUTHSVC_USERS_IMPORT_H */
