/*
 * The users.  A store is one connection: it belongs to one thread at a time,
 * and each thread of the login pool has its own.
 */

#ifndef AUTHSVC_STORE_STORE_H
#define AUTHSVC_STORE_STORE_H


#include <stdbool.h>
#include <stddef.h>

#include "authsvc/core/limits.h"


#define STORE_HASH  255


typedef enum {
    STORE_OK = 0,
    STORE_MISSING,                      /* no such user */
    STORE_EXISTS,
    STORE_FAILED,                       /* see store_error() */
    STORE_DOWN                          /* the same, but it may come back */
} store_status_t;

typedef struct {
    char  hash[STORE_HASH + 1];
    char  role[LIMIT_ROLE + 1];
    bool  disabled;                     /* may not log in */
} store_user_t;

typedef struct store_s  store_t;

typedef void (*store_list_pt)(const char *name, const char *role, void *data);


/*
 * Opens the store at "location": the path of an SQLite file, or the URL of a
 * PostgreSQL database, to which the store connects when it is used.  "create"
 * makes a missing file, mode 0600, or missing tables.  An old schema becomes
 * today's.  NULL with one line in "error".
 */
store_t *store_open(const char *location, bool create, char *error,
    size_t size);
void store_close(store_t *store);

/* The location, without a password. */
const char *store_name(const store_t *store);

/* Checks the file or the connection; slow. */
store_status_t store_check(store_t *store)
    __attribute__((warn_unused_result));

/* The last failure in one line, valid until the next operation. */
const char *store_error(const store_t *store);

/* Whether the store went down with "status", or is back with it. */
bool store_changed(store_t *store, store_status_t status);

store_status_t store_find(store_t *store, const char *name,
    store_user_t *user) __attribute__((warn_unused_result));
store_status_t store_add(store_t *store, const char *name, const char *hash,
    const char *role) __attribute__((warn_unused_result));

/* A new password. */
store_status_t store_set_hash(store_t *store, const char *name,
    const char *hash) __attribute__((warn_unused_result));

/* Another hash of the same password, only if the hash is still "old".  Does
 * not wait long for other writers. */
store_status_t store_renew_hash(store_t *store, const char *name,
    const char *old, const char *hash) __attribute__((warn_unused_result));

store_status_t store_set_role(store_t *store, const char *name,
    const char *role) __attribute__((warn_unused_result));
store_status_t store_delete(store_t *store, const char *name)
    __attribute__((warn_unused_result));

store_status_t store_disable(store_t *store, const char *name, bool disabled)
    __attribute__((warn_unused_result));

/* A request that a gateway has not acknowledged, and that it has; the same
 * request twice is one. */
store_status_t store_owe(store_t *store, const char *gateway,
    const char *request) __attribute__((warn_unused_result));
store_status_t store_paid(store_t *store, const char *gateway,
    const char *request) __attribute__((warn_unused_result));

/* Calls "list" with the gateway and the request of each. */
store_status_t store_list_owed(store_t *store, store_list_pt list, void *data)
    __attribute__((warn_unused_result));

/* In the order of the names' bytes; the role of a disabled user is followed by
 * a tab and "disabled". */
store_status_t store_list(store_t *store, store_list_pt list, void *data)
    __attribute__((warn_unused_result));

/* The store takes all changes up to store_commit(), or none.  When one fails
 * the caller calls store_rollback(). */
store_status_t store_begin(store_t *store)
    __attribute__((warn_unused_result));
store_status_t store_commit(store_t *store)
    __attribute__((warn_unused_result));
void store_rollback(store_t *store);


#endif /* AUTHSVC_STORE_STORE_H */
