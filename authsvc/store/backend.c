/*
 * What all kinds of stores need.
 */

#include "authsvc/store/backend.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>


store_status_t
store_fail(store_t *store, store_status_t status, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    vsnprintf(store->error, sizeof(store->error), fmt, args);
    va_end(args);

    return status;
}


store_status_t
store_copy(store_t *store, const char *hash, const char *role,
    store_user_t *user)
{
    if (strlen(hash) >= sizeof(user->hash)
        || strlen(role) >= sizeof(user->role))
    {
        return store_fail(store, STORE_FAILED, STORE_TOO_LONG);
    }

    strcpy(user->hash, hash);
    strcpy(user->role, role);

    return STORE_OK;
}
