/*
 * Finds the kind of store for a location, and calls it.
 */

#include "authsvc/store/store.h"

#include <stdio.h>
#include <string.h>

#include "authsvc/store/backend.h"


store_t *
store_open(const char *location, bool create, char *error, size_t size)
{
    const char  *scheme;

    if (strncmp(location, "postgresql://", 13) == 0
        || strncmp(location, "postgres://", 11) == 0)
    {
        return store_postgres_open(location, create, error, size);
    }

    /* the rest may have a password */
    scheme = strstr(location, "://");
    if (scheme != NULL) {
        snprintf(error, size, "store \"%.*s...\": neither the path of an "
                 "SQLite file nor postgresql://",
                 (int) (scheme - location) + 3, location);
        return NULL;
    }

    return store_sqlite_open(location, create, error, size);
}


void
store_close(store_t *store)
{
    if (store != NULL) {
        store->backend->close(store);
    }
}


const char *
store_name(const store_t *store)
{
    return store->name;
}


const char *
store_error(const store_t *store)
{
    return store->error;
}


bool
store_changed(store_t *store, store_status_t status)
{
    bool  before;

    before = store->down;
    store->down = (status == STORE_DOWN);

    return store->down != before;
}


store_status_t
store_check(store_t *store)
{
    return store->backend->check(store);
}


store_status_t
store_find(store_t *store, const char *name, store_user_t *user)
{
    return store->backend->find(store, name, user);
}


static store_status_t
store_change(store_t *store, store_change_t change, const char *a,
    const char *b, const char *c)
{
    const char *const  values[3] = { a, b, c };

    return store->backend->change(store, change, values);
}


store_status_t
store_add(store_t *store, const char *name, const char *hash,
    const char *role)
{
    return store_change(store, STORE_ADD, name, hash, role);
}


store_status_t
store_set_hash(store_t *store, const char *name, const char *hash)
{
    return store_change(store, STORE_SET_HASH, name, hash, NULL);
}


store_status_t
store_renew_hash(store_t *store, const char *name, const char *old,
    const char *hash)
{
    return store_change(store, STORE_RENEW_HASH, name, hash, old);
}


store_status_t
store_set_role(store_t *store, const char *name, const char *role)
{
    return store_change(store, STORE_SET_ROLE, name, role, NULL);
}


store_status_t
store_delete(store_t *store, const char *name)
{
    return store_change(store, STORE_DELETE, name, NULL, NULL);
}


store_status_t
store_disable(store_t *store, const char *name, bool disabled)
{
    return store_change(store, disabled ? STORE_DISABLE : STORE_ENABLE, name,
                        NULL, NULL);
}


/* The kinds say "missing" when no row changed. */
store_status_t
store_owe(store_t *store, const char *gateway, const char *request)
{
    store_status_t  status;

    status = store_change(store, STORE_OWE, gateway, request, NULL);

    return status == STORE_MISSING ? STORE_OK : status;
}


store_status_t
store_paid(store_t *store, const char *gateway, const char *request)
{
    store_status_t  status;

    status = store_change(store, STORE_PAID, gateway, request, NULL);

    return status == STORE_MISSING ? STORE_OK : status;
}


store_status_t
store_list_owed(store_t *store, store_list_pt list, void *data)
{
    return store->backend->list(store, STORE_OWED, list, data);
}


store_status_t
store_list(store_t *store, store_list_pt list, void *data)
{
    return store->backend->list(store, STORE_USERS, list, data);
}


store_status_t
store_begin(store_t *store)
{
    return store->backend->begin(store);
}


store_status_t
store_commit(store_t *store)
{
    return store->backend->commit(store);
}


void
store_rollback(store_t *store)
{
    store->backend->rollback(store);
}
