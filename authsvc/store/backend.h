/*
 * What a kind of store implements; a kind extends store_s.
 */

#ifndef AUTHSVC_STORE_BACKEND_H
#define AUTHSVC_STORE_BACKEND_H


#include "authsvc/store/store.h"


#define STORE_ERROR    256
#define STORE_VERSION  3                /* of the schema, in all kinds */

#define STORE_TOO_LONG  "a value of the user is too long"
#define STORE_EMPTY     "has no tables of authsvc"
#define STORE_NEWER     "has schema version %d, this program knows %d"


/* Changes of one row, with their values. */
typedef enum {
    STORE_ADD = 0,                      /* name, hash, role */
    STORE_SET_HASH,                     /* name, hash */
    STORE_RENEW_HASH,                   /* name, hash, old hash */
    STORE_SET_ROLE,                     /* name, role */
    STORE_DELETE,                       /* name */
    STORE_DISABLE,                      /* name */
    STORE_ENABLE,                       /* name */
    STORE_OWE,                          /* gateway, request */
    STORE_PAID,                         /* gateway, request */
    STORE_CHANGES
} store_change_t;

/* What is listed, as two texts each. */
typedef enum {
    STORE_USERS = 0,                    /* name, role */
    STORE_OWED,                         /* gateway, request */
    STORE_ROWS
} store_rows_t;

typedef struct {
    void            (*close)(store_t *store);
    store_status_t  (*check)(store_t *store);
    store_status_t  (*find)(store_t *store, const char *name,
                            store_user_t *user);
    store_status_t  (*change)(store_t *store, store_change_t change,
                              const char *const values[3]);
    store_status_t  (*list)(store_t *store, store_rows_t rows,
                            store_list_pt list, void *data);
    store_status_t  (*begin)(store_t *store);
    store_status_t  (*commit)(store_t *store);
    void            (*rollback)(store_t *store);
} store_backend_t;

struct store_s {
    const store_backend_t  *backend;
    const char             *name;       /* without a password; borrowed */
    bool                    down;       /* see store_changed() */
    char                    error[STORE_ERROR];
};


/* For a backend: fills store_s.error, returns "status". */
store_status_t store_fail(store_t *store, store_status_t status,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* For a backend: STORE_OK, or a failure if the texts are too long. */
store_status_t store_copy(store_t *store, const char *hash, const char *role,
    store_user_t *user) __attribute__((warn_unused_result));

store_t *store_sqlite_open(const char *path, bool create, char *error,
    size_t size);

/* Does not connect yet. */
store_t *store_postgres_open(const char *url, bool create, char *error,
    size_t size);


#endif /* AUTHSVC_STORE_BACKEND_H */
