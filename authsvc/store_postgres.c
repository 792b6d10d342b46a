/*
 * Users in PostgreSQL.  The store is there even while the server is not: what
 * needs it connects again.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "authsvc/pg.h"
#include "authsvc/store_backend.h"


#define POSTGRES_LOCK     "1836278133"     /* "msau", of migrations */
#define POSTGRES_EXISTS   "23505"
#define POSTGRES_NO_CHAR  "22P05"          /* not in the database's encoding */

#define POSTGRES_VERSION                                                      \
    "SELECT max(version) FROM authsvc_schema"
#define POSTGRES_MAKE_VERSION                                                 \
    "CREATE TABLE IF NOT EXISTS authsvc_schema ("                             \
    "    version integer NOT NULL PRIMARY KEY,"                               \
    "    since timestamptz NOT NULL DEFAULT now()"                            \
    ")"
#define POSTGRES_HAS_VERSION                                                  \
    "SELECT (to_regclass('authsvc_schema') IS NOT NULL)::integer"


typedef struct {
    store_t  store;
    pg_t    *pg;
    bool     create;
} store_postgres_t;

enum {
    POSTGRES_FIND = 0,
    POSTGRES_ADD,
    POSTGRES_SET_HASH,
    POSTGRES_RENEW_HASH,
    POSTGRES_SET_ROLE,
    POSTGRES_DELETE,
    POSTGRES_LIST,
    POSTGRES_STATEMENTS
};

static const char *const  postgres_statements[POSTGRES_STATEMENTS] = {
    [POSTGRES_FIND] = "SELECT hash, role FROM users WHERE name = $1::text",
    [POSTGRES_ADD] = "INSERT INTO users (name, hash, role) VALUES ($1, $2, $3)",
    [POSTGRES_SET_HASH] = "UPDATE users SET hash = $2::text,"
        " changed = extract(epoch FROM now())::bigint WHERE name = $1::text",
    [POSTGRES_RENEW_HASH] = "UPDATE users SET hash = $2::text"
        " WHERE name = $1::text AND hash = $3::text",
    [POSTGRES_SET_ROLE] = "UPDATE users SET role = $2::text"
        " WHERE name = $1::text",
    [POSTGRES_DELETE] = "DELETE FROM users WHERE name = $1::text",
    [POSTGRES_LIST] = "SELECT name, role FROM users ORDER BY name"
};

/* Number i makes version i + 1; what was released is never changed. */
static const char *const  postgres_migrations[STORE_VERSION] = {
    "CREATE TABLE users ("
    "    name text COLLATE \"C\" NOT NULL PRIMARY KEY,"
    "    hash text NOT NULL,"
    "    role text NOT NULL,"
    "    created bigint NOT NULL DEFAULT extract(epoch FROM now())::bigint"
    ")",
    "ALTER TABLE users ADD COLUMN changed bigint NOT NULL"
    "    DEFAULT extract(epoch FROM now())::bigint;"
    "UPDATE users SET changed = created"
};


static store_status_t
postgres_failed(store_postgres_t *s, pg_status_t status)
{
    snprintf(s->store.error, sizeof(s->store.error), "%s", pg_error(s->pg));

    return status == PG_DOWN ? STORE_DOWN : STORE_FAILED;
}


/* 0 if there is none. */
static pg_status_t
postgres_version(pg_t *pg, int *version)
{
    pg_status_t  status;

    status = pg_number(pg, POSTGRES_HAS_VERSION, 0, version);

    if (status == PG_OK && *version != 0) {
        status = pg_number(pg, POSTGRES_VERSION, 0, version);
    }

    return status;
}


/*
 * In a transaction, of which there is one at a time.  A server that waits for
 * an advisory lock does not learn of new tables then, but when it makes one.
 */
static int
postgres_migrate_locked(pg_t *pg)
{
    int   version;
    char  text[80];

    if (pg_exec(pg, "SELECT pg_advisory_xact_lock(" POSTGRES_LOCK ")")
        != PG_OK
        || pg_exec(pg, POSTGRES_MAKE_VERSION) != PG_OK
        || pg_number(pg, POSTGRES_VERSION, 0, &version) != PG_OK)
    {
        return -1;
    }

    for ( /* void */ ; version < STORE_VERSION; version++) {
        snprintf(text, sizeof(text),
                 "INSERT INTO authsvc_schema (version) VALUES (%d)",
                 version + 1);

        if (pg_exec(pg, postgres_migrations[version]) != PG_OK
            || pg_exec(pg, text) != PG_OK)
        {
            return -1;
        }
    }

    return 0;
}


/* Every new connection looks at the schema, and changes it if it is old. */
static int
postgres_ready(pg_t *pg, void *data)
{
    int                version;
    char               error[PG_ERROR];
    store_postgres_t  *s;

    s = data;

    if (postgres_version(pg, &version) != PG_OK) {
        return -1;
    }

    if (version == 0 && !s->create) {
        pg_fail(pg, "has no tables of authsvc");
        return -1;
    }

    if (version > STORE_VERSION) {
        pg_fail(pg, STORE_NEWER, version, STORE_VERSION);
        return -1;
    }

    if (version < STORE_VERSION) {
        if (pg_begin(pg) != PG_OK) {
            return -1;
        }

        if (postgres_migrate_locked(pg) != 0) {
            snprintf(error, sizeof(error), "%s", pg_error(pg));
            pg_rollback(pg);
            pg_fail(pg, "%s", error);
            return -1;
        }

        if (pg_commit(pg) != PG_OK) {
            return -1;
        }
    }

    return 0;
}


static store_status_t
postgres_run(store_postgres_t *s, size_t i, const char *const *values, int n,
    bool again, PGresult **result)
{
    pg_status_t  status;

    status = pg_run(s->pg, i, values, n, again, result);

    return status == PG_OK ? STORE_OK : postgres_failed(s, status);
}


static store_status_t
postgres_change(store_t *store, size_t i, const char *a, const char *b,
    const char *c)
{
    int                n;
    PGresult          *result;
    const char        *values[3] = { a, b, c };
    store_status_t     status;
    store_postgres_t  *s;

    s = (store_postgres_t *) store;
    n = c != NULL ? 3 : b != NULL ? 2 : 1;

    status = postgres_run(s, i, values, n, false, &result);

    if (status == STORE_OK) {
        status = strcmp(PQcmdTuples(result), "0") != 0
                 ? STORE_OK : STORE_MISSING;
        PQclear(result);

    } else if (status == STORE_FAILED
               && strcmp(pg_state(s->pg), POSTGRES_EXISTS) == 0)
    {
        status = STORE_EXISTS;
    }

    return status;
}


static store_status_t
postgres_copy(store_postgres_t *s, const PGresult *result, int column,
    char *out, size_t size)
{
    if ((size_t) PQgetlength(result, 0, column) >= size) {
        snprintf(s->store.error, sizeof(s->store.error), STORE_TOO_LONG);
        return STORE_FAILED;
    }

    strcpy(out, PQgetvalue(result, 0, column));

    return STORE_OK;
}


static store_status_t
store_postgres_find(store_t *store, const char *name, store_user_t *user)
{
    PGresult          *result;
    store_status_t     status;
    store_postgres_t  *s;

    s = (store_postgres_t *) store;

    status = postgres_run(s, POSTGRES_FIND, &name, 1, true, &result);

    if (status == STORE_FAILED
        && strcmp(pg_state(s->pg), POSTGRES_NO_CHAR) == 0)
    {
        return STORE_MISSING;
    }

    if (status != STORE_OK) {
        return status;
    }

    status = STORE_MISSING;

    if (PQntuples(result) == 1) {
        status = postgres_copy(s, result, 0, user->hash, sizeof(user->hash));
        if (status == STORE_OK) {
            status = postgres_copy(s, result, 1, user->role,
                                   sizeof(user->role));
        }
    }

    PQclear(result);

    return status;
}


static store_status_t
store_postgres_add(store_t *store, const char *name, const char *hash,
    const char *role)
{
    return postgres_change(store, POSTGRES_ADD, name, hash, role);
}


static store_status_t
store_postgres_set_hash(store_t *store, const char *name, const char *old,
    const char *hash)
{
    return postgres_change(store, old != NULL ? POSTGRES_RENEW_HASH
                                              : POSTGRES_SET_HASH,
                           name, hash, old);
}


static store_status_t
store_postgres_set_role(store_t *store, const char *name, const char *role)
{
    return postgres_change(store, POSTGRES_SET_ROLE, name, role, NULL);
}


static store_status_t
store_postgres_delete(store_t *store, const char *name)
{
    return postgres_change(store, POSTGRES_DELETE, name, NULL, NULL);
}


static store_status_t
store_postgres_list(store_t *store, store_list_pt list, void *data)
{
    int                i, n;
    PGresult          *result;
    store_status_t     status;

    status = postgres_run((store_postgres_t *) store, POSTGRES_LIST, NULL, 0,
                          true, &result);
    if (status != STORE_OK) {
        return status;
    }

    n = PQntuples(result);

    for (i = 0; i < n; i++) {
        list(PQgetvalue(result, i, 0), PQgetvalue(result, i, 1), data);
    }

    PQclear(result);

    return STORE_OK;
}


static store_status_t
store_postgres_check(store_t *store)
{
    pg_status_t        status;
    store_postgres_t  *s;

    s = (store_postgres_t *) store;
    status = pg_connect(s->pg);

    return status == PG_OK ? STORE_OK : postgres_failed(s, status);
}


static store_status_t
store_postgres_begin(store_t *store)
{
    pg_status_t        status;
    store_postgres_t  *s;

    s = (store_postgres_t *) store;
    status = pg_begin(s->pg);

    return status == PG_OK ? STORE_OK : postgres_failed(s, status);
}


static store_status_t
store_postgres_commit(store_t *store)
{
    pg_status_t        status;
    store_postgres_t  *s;

    s = (store_postgres_t *) store;
    status = pg_commit(s->pg);

    return status == PG_OK ? STORE_OK : postgres_failed(s, status);
}


static void
store_postgres_rollback(store_t *store)
{
    pg_rollback(((store_postgres_t *) store)->pg);
}


static void
store_postgres_close(store_t *store)
{
    pg_free(((store_postgres_t *) store)->pg);
    free(store);
}


static const store_backend_t  store_postgres = {
    .close = store_postgres_close,
    .check = store_postgres_check,
    .find = store_postgres_find,
    .add = store_postgres_add,
    .set_hash = store_postgres_set_hash,
    .set_role = store_postgres_set_role,
    .delete = store_postgres_delete,
    .list = store_postgres_list,
    .begin = store_postgres_begin,
    .commit = store_postgres_commit,
    .rollback = store_postgres_rollback
};


store_t *
store_postgres_open(const char *url, bool create, char *error, size_t size)
{
    store_postgres_t  *s;

    s = calloc(1, sizeof(store_postgres_t));
    if (s == NULL) {
        snprintf(error, size, "out of memory");
        return NULL;
    }

    s->store.backend = &store_postgres;
    s->create = create;
    s->pg = pg_create(url, postgres_statements, POSTGRES_STATEMENTS,
                      postgres_ready, s, error, size);
    if (s->pg == NULL) {
        free(s);
        return NULL;
    }

    s->store.name = pg_name(s->pg);

    return &s->store;
}
