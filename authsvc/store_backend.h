/*
 * What a kind of store implements; a kind extends store_s.
 */

#ifndef AUTHSVC_STORE_BACKEND_H
#define AUTHSVC_STORE_BACKEND_H


#include "authsvc/store.h"


#define STORE_ERROR    256
#define STORE_VERSION  2                /* of the schema, in all kinds */

#define STORE_TOO_LONG  "a value of the user is too long"
#define STORE_NEWER     "has schema version %d, this program knows %d"


typedef struct {
    void            (*close)(store_t *store);
    store_status_t  (*check)(store_t *store);
    store_status_t  (*find)(store_t *store, const char *name,
                            store_user_t *user);
    store_status_t  (*add)(store_t *store, const char *name, const char *hash,
                           const char *role);
    store_status_t  (*set_hash)(store_t *store, const char *name,
                                const char *old, const char *hash);
    store_status_t  (*set_role)(store_t *store, const char *name,
                                const char *role);
    store_status_t  (*delete)(store_t *store, const char *name);
    store_status_t  (*list)(store_t *store, store_list_pt list, void *data);
    store_status_t  (*begin)(store_t *store);
    store_status_t  (*commit)(store_t *store);
    void            (*rollback)(store_t *store);
} store_backend_t;

struct store_s {
    const store_backend_t  *backend;
    const char             *name;       /* without a password; owned by it */
    bool                    down;       /* see store_changed() */
    char                    error[STORE_ERROR];
};


store_t *store_sqlite_open(const char *path, bool create, char *error,
    size_t size);

/* Does not connect yet. */
store_t *store_postgres_open(const char *url, bool create, char *error,
    size_t size);


#endif /* AUTHSVC_STORE_BACKEND_H */
