/*
 * Users in an SQLite file, with a write-ahead log, so that a login never waits
 * for a change.  The file carries an application id: the file of another
 * program is refused and not changed.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sqlite3.h>

#include "authsvc/core/files.h"
#include "authsvc/store/backend.h"


#define SQLITE_BUSY_MS      5000
#define SQLITE_RENEW_MS     50
#define SQLITE_RETRY_MS     10
#define SQLITE_APPLICATION  0x6d736175  /* "msau" */


typedef struct {
    store_t        store;
    sqlite3       *db;
    sqlite3_stmt  *find;
    bool           create;              /* makes missing tables */
    char           path[];
} store_sqlite_t;


static const char *const  sqlite_changes[STORE_CHANGES] = {
    [STORE_ADD] = "INSERT INTO users (name, hash, role, changed)"
                  " VALUES (?1, ?2, ?3, unixepoch())",
    [STORE_SET_HASH] = "UPDATE users SET hash = ?2, changed = unixepoch()"
                       " WHERE name = ?1",
    [STORE_RENEW_HASH] = "UPDATE users SET hash = ?2"
                         " WHERE name = ?1 AND hash = ?3",
    [STORE_SET_ROLE] = "UPDATE users SET role = ?2 WHERE name = ?1",
    [STORE_DELETE] = "DELETE FROM users WHERE name = ?1",
    [STORE_DISABLE] = "UPDATE users SET disabled = 1 WHERE name = ?1",
    [STORE_ENABLE] = "UPDATE users SET disabled = 0 WHERE name = ?1",
    [STORE_OWE] = "INSERT INTO revocations (gateway, request)"
                  " VALUES (?1, ?2) ON CONFLICT DO NOTHING",
    [STORE_PAID] = "DELETE FROM revocations"
                   " WHERE gateway = ?1 AND request = ?2"
};

static const char *const  sqlite_lists[STORE_ROWS] = {
    [STORE_USERS] = "SELECT name, role || CASE WHEN disabled"
                    " THEN char(9) || 'disabled' ELSE '' END"
                    " FROM users ORDER BY name",
    [STORE_OWED] = "SELECT gateway, request FROM revocations"
                   " ORDER BY gateway, request"
};

/* Number i makes version i + 1; a released one is never changed. */
static const char *const  sqlite_migrations[STORE_VERSION] = {
    "CREATE TABLE users ("
    "    name TEXT NOT NULL PRIMARY KEY,"
    "    hash TEXT NOT NULL,"
    "    role TEXT NOT NULL,"
    "    created INTEGER NOT NULL DEFAULT (unixepoch())"
    ") STRICT, WITHOUT ROWID",

    /* SQLite adds a column only with a constant as its default */
    "ALTER TABLE users ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;"
    "UPDATE users SET changed = created",

    "ALTER TABLE users ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE revocations ("
    "    gateway TEXT NOT NULL,"
    "    request TEXT NOT NULL,"
    "    PRIMARY KEY (gateway, request)"
    ") STRICT, WITHOUT ROWID"
};


static store_status_t
sqlite_failed(store_sqlite_t *s)
{
    return store_fail(&s->store, STORE_FAILED, "%s",
                      s->db != NULL ? sqlite3_errmsg(s->db) : "out of memory");
}


static store_status_t
sqlite_exec(store_sqlite_t *s, const char *sql)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK
           ? STORE_OK : sqlite_failed(s);
}


/* The first column of the first row of "sql" as a number. */
static store_status_t
sqlite_number(store_sqlite_t *s, const char *sql, int *number)
{
    int            rc;
    sqlite3_stmt  *stmt;

    *number = 0;

    if (sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        return sqlite_failed(s);
    }

    rc = sqlite3_step(stmt);
    *number = sqlite3_column_int(stmt, 0);
    sqlite3_finalize(stmt);

    return rc == SQLITE_ROW ? STORE_OK : sqlite_failed(s);
}


static store_status_t
store_sqlite_find(store_t *store, const char *name, store_user_t *user)
{
    int              rc;
    const char      *hash, *role;
    store_status_t   status;
    store_sqlite_t  *s = (store_sqlite_t *) store;

    rc = sqlite3_bind_text(s->find, 1, name, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(s->find);
    }

    hash = NULL;
    role = NULL;

    if (rc == SQLITE_ROW) {
        hash = (const char *) sqlite3_column_text(s->find, 0);
        role = (const char *) sqlite3_column_text(s->find, 1);
    }

    status = rc == SQLITE_DONE ? STORE_MISSING
             : hash == NULL || role == NULL ? sqlite_failed(s)
             : store_copy(store, hash, role, user);

    if (status == STORE_OK) {
        user->disabled = sqlite3_column_int(s->find, 2) != 0;
    }

    /* also ends the read transaction */
    sqlite3_reset(s->find);
    sqlite3_clear_bindings(s->find);

    return status;
}


static store_status_t
store_sqlite_change(store_t *store, store_change_t change,
    const char *const values[3])
{
    int              i, n, rc;
    sqlite3_stmt    *stmt;
    store_sqlite_t  *s = (store_sqlite_t *) store;

    /* a login does not wait for a writer: the next login renews the hash */
    (void) sqlite3_busy_timeout(s->db, change == STORE_RENEW_HASH
                                       ? SQLITE_RENEW_MS : SQLITE_BUSY_MS);

    if (sqlite3_prepare_v2(s->db, sqlite_changes[change], -1, &stmt, NULL)
        != SQLITE_OK)
    {
        return sqlite_failed(s);
    }

    n = sqlite3_bind_parameter_count(stmt);
    rc = SQLITE_OK;

    for (i = 0; i < n && rc == SQLITE_OK; i++) {
        rc = sqlite3_bind_text(stmt, i + 1, values[i], -1, SQLITE_STATIC);
    }

    if (rc == SQLITE_OK) {
        rc = sqlite3_step(stmt);
    }
    sqlite3_finalize(stmt);

    if (rc == SQLITE_DONE) {
        return sqlite3_changes(s->db) > 0 ? STORE_OK : STORE_MISSING;
    }

    return sqlite3_extended_errcode(s->db) == SQLITE_CONSTRAINT_PRIMARYKEY
           ? STORE_EXISTS : sqlite_failed(s);
}


static store_status_t
store_sqlite_list(store_t *store, store_rows_t rows, store_list_pt list,
    void *data)
{
    int              rc;
    sqlite3_stmt    *stmt;
    store_sqlite_t  *s = (store_sqlite_t *) store;

    if (sqlite3_prepare_v2(s->db, sqlite_lists[rows], -1, &stmt, NULL)
        != SQLITE_OK)
    {
        return sqlite_failed(s);
    }

    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        list((const char *) sqlite3_column_text(stmt, 0),
             (const char *) sqlite3_column_text(stmt, 1), data);
    }

    sqlite3_finalize(stmt);

    return rc == SQLITE_DONE ? STORE_OK : sqlite_failed(s);
}


static store_status_t
store_sqlite_check(store_t *store)
{
    const char      *text;
    sqlite3_stmt    *stmt;
    store_status_t   status;
    store_sqlite_t  *s = (store_sqlite_t *) store;

    if (sqlite3_prepare_v2(s->db, "PRAGMA quick_check(1)", -1, &stmt, NULL)
        != SQLITE_OK
        || sqlite3_step(stmt) != SQLITE_ROW)
    {
        status = sqlite_failed(s);
        sqlite3_finalize(stmt);
        return status;
    }

    status = STORE_OK;
    text = (const char *) sqlite3_column_text(stmt, 0);

    if (text == NULL || strcmp(text, "ok") != 0) {
        /* the first line says which database of the connection */
        text = text != NULL ? text : "";
        text = strchr(text, '\n') != NULL ? strchr(text, '\n') + 1 : text;
        status = store_fail(store, STORE_FAILED, "damaged: %.*s",
                            (int) strcspn(text, "\n"), text);
    }

    sqlite3_finalize(stmt);

    return status;
}


static store_status_t
store_sqlite_begin(store_t *store)
{
    return sqlite_exec((store_sqlite_t *) store, "BEGIN IMMEDIATE");
}


static store_status_t
store_sqlite_commit(store_t *store)
{
    return sqlite_exec((store_sqlite_t *) store, "COMMIT");
}


/* After some failures SQLite has done it already. */
static void
store_sqlite_rollback(store_t *store)
{
    (void) sqlite3_exec(((store_sqlite_t *) store)->db, "ROLLBACK", NULL,
                        NULL, NULL);
}


static void
store_sqlite_close(store_t *store)
{
    store_sqlite_t  *s = (store_sqlite_t *) store;

    sqlite3_finalize(s->find);
    sqlite3_close(s->db);
    free(s);
}


static const store_backend_t  store_sqlite = {
    .close = store_sqlite_close,
    .check = store_sqlite_check,
    .find = store_sqlite_find,
    .change = store_sqlite_change,
    .list = store_sqlite_list,
    .begin = store_sqlite_begin,
    .commit = store_sqlite_commit,
    .rollback = store_sqlite_rollback
};


/* SQLite would make the file with the mode of the umask. */
static int
sqlite_create_file(const char *path)
{
    int  fd;

    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return errno == EEXIST ? 0 : -1;
    }

    close(fd);

    return 0;
}


/* From "version" to today's. */
static store_status_t
sqlite_migrate(store_sqlite_t *s, int version)
{
    char            text[100];
    store_status_t  status;

    for (status = STORE_OK; status == STORE_OK && version < STORE_VERSION;
         version++)
    {
        snprintf(text, sizeof(text),
                 "PRAGMA application_id = %d; PRAGMA user_version = %d",
                 SQLITE_APPLICATION, version + 1);

        status = sqlite_exec(s, sqlite_migrations[version]);
        if (status == STORE_OK) {
            status = sqlite_exec(s, text);
        }
    }

    return status;
}


/* In a transaction: two programs may start at the same time.  An empty file
 * gets the schema, an old one what it lacks. */
static store_status_t
sqlite_prepare_schema(store_sqlite_t *s)
{
    int  version, application, tables;

    if (sqlite_number(s, "PRAGMA user_version", &version) != STORE_OK
        || sqlite_number(s, "PRAGMA application_id", &application) != STORE_OK
        || sqlite_number(s, "SELECT count(*) FROM sqlite_schema", &tables)
           != STORE_OK)
    {
        return STORE_FAILED;
    }

    if (application == SQLITE_APPLICATION ? version <= 0
        : tables != 0 || version != 0 || application != 0)
    {
        return store_fail(&s->store, STORE_FAILED,
                          "is the SQLite file of another program");
    }

    if (version == 0 && !s->create) {
        return store_fail(&s->store, STORE_FAILED, STORE_EMPTY
                          " (authsvc user add --create makes them)");
    }

    if (version > STORE_VERSION) {
        return store_fail(&s->store, STORE_FAILED, STORE_NEWER, version,
                          STORE_VERSION);
    }

    return sqlite_migrate(s, version);
}


/* The change to WAL needs the file alone and does not wait for it: programs
 * that start at the same time meet here. */
static store_status_t
sqlite_use_wal(store_sqlite_t *s)
{
    int  rc, tries;

    for (tries = SQLITE_BUSY_MS / SQLITE_RETRY_MS; /* void */ ; tries--) {
        rc = sqlite3_exec(s->db, "PRAGMA journal_mode = WAL", NULL, NULL,
                          NULL);

        if ((rc & 0xff) != SQLITE_BUSY || tries == 0) {
            return rc == SQLITE_OK ? STORE_OK : sqlite_failed(s);
        }

        (void) sqlite3_sleep(SQLITE_RETRY_MS);
    }
}


static store_status_t
sqlite_connect(store_sqlite_t *s)
{
    if (sqlite3_open_v2(s->path, &s->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL)
        != SQLITE_OK
        || sqlite3_extended_result_codes(s->db, 1) != SQLITE_OK
        || sqlite3_busy_timeout(s->db, SQLITE_BUSY_MS) != SQLITE_OK)
    {
        return sqlite_failed(s);
    }

    if (sqlite_exec(s, "BEGIN IMMEDIATE") != STORE_OK
        || sqlite_prepare_schema(s) != STORE_OK
        || sqlite_exec(s, "COMMIT") != STORE_OK
        || sqlite_use_wal(s) != STORE_OK
        || sqlite_exec(s, "PRAGMA secure_delete = ON") != STORE_OK)
    {
        return STORE_FAILED;
    }

    return sqlite3_prepare_v3(s->db,
                              "SELECT hash, role, disabled FROM users"
                              " WHERE name = ?",
                              -1, SQLITE_PREPARE_PERSISTENT, &s->find, NULL)
           == SQLITE_OK ? STORE_OK : sqlite_failed(s);
}


store_t *
store_sqlite_open(const char *path, bool create, char *error, size_t size)
{
    store_sqlite_t  *s;

    /* SQLite takes these names for databases in memory */
    if (*path == '\0' || *path == ':') {
        snprintf(error, size, "store \"%s\": not the path of a file", path);
        return NULL;
    }

    /* SQLite has its own words for a directory */
    if ((files_regular(path) != 0 && errno != EISDIR)
        || (create && sqlite_create_file(path) != 0)
        || access(path, R_OK | W_OK) != 0)
    {
        snprintf(error, size, "store \"%s\": %s%s", path,
                 files_strerror(errno), errno == ENOENT && !create
                 ? " (authsvc user add --create makes one)" : "");
        return NULL;
    }

    s = calloc(1, sizeof(store_sqlite_t) + strlen(path) + 1);
    if (s == NULL) {
        snprintf(error, size, "out of memory");
        return NULL;
    }

    s->store.backend = &store_sqlite;
    s->store.name = s->path;
    s->create = create;
    strcpy(s->path, path);

    if (sqlite_connect(s) != STORE_OK) {
        snprintf(error, size, "store \"%s\": %s", path, s->store.error);
        store_sqlite_close(&s->store);
        return NULL;
    }

    return &s->store;
}
