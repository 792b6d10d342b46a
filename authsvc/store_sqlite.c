/*
 * Users in an SQLite file: WAL, so that a login never waits for a change.
 * The file carries an application id, so that the file of another program is
 * refused and not changed.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <sqlite3.h>

#include "authsvc/store_backend.h"


#define SQLITE_BUSY_MS         5000
#define SQLITE_RENEW_MS        50
#define SQLITE_RETRY_MS        10
#define SQLITE_APPLICATION     0x6d736175       /* "msau" */


typedef struct {
    store_t        store;
    sqlite3       *db;
    sqlite3_stmt  *find;
    dev_t          wal_device;          /* of the log that "db" has open */
    ino_t          wal_inode;           /* 0: unknown */
    char           path[];
} store_sqlite_t;


/* Number i makes version i + 1; what was released is never changed. */
static const char *const  sqlite_migrations[STORE_VERSION] = {
    "CREATE TABLE users ("
    "    name TEXT NOT NULL PRIMARY KEY,"
    "    hash TEXT NOT NULL,"
    "    role TEXT NOT NULL,"
    "    created INTEGER NOT NULL DEFAULT (unixepoch())"
    ") STRICT, WITHOUT ROWID",

    /* a column is added with a constant only */
    "ALTER TABLE users ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;"
    "UPDATE users SET changed = created"
};


static store_status_t sqlite_reopen(store_sqlite_t *s);


static store_status_t
sqlite_failed(store_sqlite_t *s)
{
    snprintf(s->store.error, sizeof(s->store.error), "%s",
             s->db != NULL ? sqlite3_errmsg(s->db) : "out of memory");

    return STORE_FAILED;
}


/* The first column of the first row of "sql" as a number. */
static int
sqlite_number(store_sqlite_t *s, const char *sql, int *number)
{
    int            rc;
    sqlite3_stmt  *stmt;

    if (sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        return -1;
    }

    rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        *number = sqlite3_column_int(stmt, 0);
    }
    sqlite3_finalize(stmt);

    return rc == SQLITE_ROW ? 0 : -1;
}


static int
sqlite_exec(store_sqlite_t *s, const char *sql)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : -1;
}


/* Runs "sql" with up to three texts bound; says how many rows changed. */
static store_status_t
sqlite_change(store_sqlite_t *s, const char *sql, const char *a,
    const char *b, const char *c)
{
    int            i, n, rc;
    const char    *texts[3] = { a, b, c };
    sqlite3_stmt  *stmt;

    if (sqlite_reopen(s) != STORE_OK) {
        return STORE_DOWN;
    }

    if (sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        return sqlite_failed(s);
    }

    n = sqlite3_bind_parameter_count(stmt);
    rc = SQLITE_OK;

    for (i = 0; i < n && rc == SQLITE_OK; i++) {
        rc = sqlite3_bind_text(stmt, i + 1, texts[i], -1, SQLITE_STATIC);
    }

    if (rc == SQLITE_OK) {
        rc = sqlite3_step(stmt);
    }
    sqlite3_finalize(stmt);

    if (rc == SQLITE_DONE) {
        return sqlite3_changes(s->db) > 0 ? STORE_OK : STORE_MISSING;
    }

    if (sqlite3_extended_errcode(s->db) == SQLITE_CONSTRAINT_PRIMARYKEY) {
        return STORE_EXISTS;
    }

    return sqlite_failed(s);
}


static store_status_t
sqlite_copy(store_sqlite_t *s, int column, char *out, size_t size)
{
    const char  *text;

    text = (const char *) sqlite3_column_text(s->find, column);
    if (text == NULL) {
        return sqlite_failed(s);
    }

    if (strlen(text) >= size) {
        snprintf(s->store.error, sizeof(s->store.error),
                 STORE_TOO_LONG);
        return STORE_FAILED;
    }

    strcpy(out, text);

    return STORE_OK;
}


static store_status_t
store_sqlite_find(store_t *store, const char *name, store_user_t *user)
{
    int              rc;
    store_sqlite_t  *s;
    store_status_t   status;

    s = (store_sqlite_t *) store;

    if (sqlite_reopen(s) != STORE_OK) {
        return STORE_DOWN;
    }

    rc = sqlite3_bind_text(s->find, 1, name, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(s->find);
    }

    if (rc == SQLITE_DONE) {
        status = STORE_MISSING;

    } else if (rc != SQLITE_ROW) {
        status = sqlite_failed(s);

    } else {
        status = sqlite_copy(s, 0, user->hash, sizeof(user->hash));
        if (status == STORE_OK) {
            status = sqlite_copy(s, 1, user->role, sizeof(user->role));
        }
    }

    /* also ends the read transaction */
    sqlite3_reset(s->find);
    sqlite3_clear_bindings(s->find);

    return status;
}


static store_status_t
store_sqlite_add(store_t *store, const char *name, const char *hash,
    const char *role)
{
    return sqlite_change((store_sqlite_t *) store,
                         "INSERT INTO users (name, hash, role, changed)"
                         " VALUES (?, ?, ?, unixepoch())", name, hash, role);
}


/* A login renews a hash: it is not worth to wait for a writer, the next one
 * does it, too. */
static store_status_t
sqlite_renew_hash(store_sqlite_t *s, const char *name, const char *old,
    const char *hash)
{
    store_status_t  status;

    if (sqlite_reopen(s) != STORE_OK) {
        return STORE_DOWN;
    }

    (void) sqlite3_busy_timeout(s->db, SQLITE_RENEW_MS);
    status = sqlite_change(s, "UPDATE users SET hash = ?"
                              " WHERE name = ? AND hash = ?",
                           hash, name, old);
    (void) sqlite3_busy_timeout(s->db, SQLITE_BUSY_MS);

    return status;
}


static store_status_t
store_sqlite_set_hash(store_t *store, const char *name, const char *old,
    const char *hash)
{
    if (old != NULL) {
        return sqlite_renew_hash((store_sqlite_t *) store, name, old, hash);
    }

    return sqlite_change((store_sqlite_t *) store,
                         "UPDATE users SET hash = ?, changed = unixepoch()"
                         " WHERE name = ?", hash, name, NULL);
}


static store_status_t
store_sqlite_set_role(store_t *store, const char *name, const char *role)
{
    return sqlite_change((store_sqlite_t *) store,
                         "UPDATE users SET role = ? WHERE name = ?",
                         role, name, NULL);
}


static store_status_t
store_sqlite_delete(store_t *store, const char *name)
{
    return sqlite_change((store_sqlite_t *) store,
                         "DELETE FROM users WHERE name = ?", name, NULL, NULL);
}


static store_status_t
store_sqlite_list(store_t *store, store_list_pt list, void *data)
{
    int              rc;
    sqlite3_stmt    *stmt;
    store_sqlite_t  *s;

    s = (store_sqlite_t *) store;

    if (sqlite_reopen(s) != STORE_OK) {
        return STORE_DOWN;
    }

    if (sqlite3_prepare_v2(s->db, "SELECT name, role FROM users ORDER BY name",
                           -1, &stmt, NULL)
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
    int              rc;
    const char      *text;
    sqlite3_stmt    *stmt;
    store_status_t   status;
    store_sqlite_t  *s;

    s = (store_sqlite_t *) store;

    if (sqlite3_prepare_v2(s->db, "PRAGMA quick_check(1)", -1, &stmt, NULL)
        != SQLITE_OK)
    {
        return sqlite_failed(s);
    }

    rc = sqlite3_step(stmt);
    text = rc == SQLITE_ROW ? (const char *) sqlite3_column_text(stmt, 0)
                            : NULL;

    if (text == NULL) {
        status = sqlite_failed(s);

    } else if (strcmp(text, "ok") != 0) {
        text = strchr(text, '\n') != NULL ? strchr(text, '\n') + 1 : text;
        snprintf(s->store.error, sizeof(s->store.error), "damaged: %.*s",
                 (int) strcspn(text, "\n"), text);
        status = STORE_FAILED;

    } else {
        status = STORE_OK;
    }

    sqlite3_finalize(stmt);

    return status;
}


static store_status_t
store_sqlite_begin(store_t *store)
{
    store_sqlite_t  *s;

    s = (store_sqlite_t *) store;

    return sqlite_exec(s, "BEGIN IMMEDIATE") == 0 ? STORE_OK
                                                  : sqlite_failed(s);
}


static store_status_t
store_sqlite_commit(store_t *store)
{
    store_sqlite_t  *s;

    s = (store_sqlite_t *) store;

    return sqlite_exec(s, "COMMIT") == 0 ? STORE_OK : sqlite_failed(s);
}


/* Some failures have done it already. */
static void
store_sqlite_rollback(store_t *store)
{
    (void) sqlite_exec((store_sqlite_t *) store, "ROLLBACK");
}


static void
store_sqlite_close(store_t *store)
{
    store_sqlite_t  *s;

    s = (store_sqlite_t *) store;

    sqlite3_finalize(s->find);
    sqlite3_close(s->db);
    free(s);
}


static const store_backend_t  store_sqlite = {
    .close = store_sqlite_close,
    .check = store_sqlite_check,
    .find = store_sqlite_find,
    .add = store_sqlite_add,
    .set_hash = store_sqlite_set_hash,
    .set_role = store_sqlite_set_role,
    .delete = store_sqlite_delete,
    .list = store_sqlite_list,
    .begin = store_sqlite_begin,
    .commit = store_sqlite_commit,
    .rollback = store_sqlite_rollback
};


/* SQLite would make it with the mode of the umask. */
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
static int
sqlite_migrate(store_sqlite_t *s, int version)
{
    char  text[100];

    for ( /* void */ ; version < STORE_VERSION; version++) {
        snprintf(text, sizeof(text),
                 "PRAGMA application_id = %d; PRAGMA user_version = %d",
                 SQLITE_APPLICATION, version + 1);

        if (sqlite_exec(s, sqlite_migrations[version]) != 0
            || sqlite_exec(s, text) != 0)
        {
            return -1;
        }
    }

    return 0;
}


/*
 * An empty file gets the schema, an old one what it lacks; two programs may
 * try at the same time.  A file with tables of its own, or of a later version,
 * is refused.
 */
static store_status_t
sqlite_prepare_schema(store_sqlite_t *s)
{
    bool  ours;
    int   version, application, tables;

    if (sqlite_exec(s, "BEGIN IMMEDIATE") != 0
        || sqlite_number(s, "PRAGMA user_version", &version) != 0
        || sqlite_number(s, "PRAGMA application_id", &application) != 0
        || sqlite_number(s, "SELECT count(*) FROM sqlite_schema", &tables) != 0)
    {
        return sqlite_failed(s);
    }

    ours = application == SQLITE_APPLICATION ? version > 0
           : tables == 0 && version == 0 && application == 0;

    if ((ours && sqlite_migrate(s, version) != 0)
        || sqlite_exec(s, "COMMIT") != 0)
    {
        return sqlite_failed(s);
    }

    if (!ours) {
        snprintf(s->store.error, sizeof(s->store.error),
                 "is the SQLite file of another program");
        return STORE_FAILED;
    }

    if (version > STORE_VERSION) {
        snprintf(s->store.error, sizeof(s->store.error), STORE_NEWER,
                 version, STORE_VERSION);
        return STORE_FAILED;
    }

    return STORE_OK;
}


static int
sqlite_wal(const store_sqlite_t *s, struct stat *st)
{
    int    rc;
    char  *path;

    if (asprintf(&path, "%s-wal", s->path) < 0) {
        return -1;
    }

    rc = stat(path, st);
    free(path);

    return rc;
}


/* The first reading after the change to WAL makes the log. */
static int
sqlite_note_wal(store_sqlite_t *s)
{
    int          version;
    struct stat  st;

    s->wal_inode = 0;

    if (sqlite_number(s, "PRAGMA schema_version", &version) != 0) {
        return -1;
    }

    if (sqlite_wal(s, &st) == 0) {
        s->wal_device = st.st_dev;
        s->wal_inode = st.st_ino;
    }

    return 0;
}


static store_status_t
sqlite_connect_once(store_sqlite_t *s)
{
    store_status_t  status;

    if (sqlite3_open_v2(s->path, &s->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL)
        != SQLITE_OK
        || sqlite3_extended_result_codes(s->db, 1) != SQLITE_OK
        || sqlite3_busy_timeout(s->db, SQLITE_BUSY_MS) != SQLITE_OK)
    {
        return sqlite_failed(s);
    }

    status = sqlite_prepare_schema(s);
    if (status != STORE_OK) {
        return status;
    }

    if (sqlite_exec(s, "PRAGMA journal_mode = WAL;"
                       "PRAGMA secure_delete = ON") != 0
        || sqlite3_prepare_v3(s->db,
                              "SELECT hash, role FROM users WHERE name = ?",
                              -1, SQLITE_PREPARE_PERSISTENT, &s->find, NULL)
           != SQLITE_OK
        || sqlite_note_wal(s) != 0)
    {
        return sqlite_failed(s);
    }

    return STORE_OK;
}


static int64_t
sqlite_now(void)
{
    struct timespec  now;

    clock_gettime(CLOCK_MONOTONIC, &now);

    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}


static void
sqlite_disconnect(store_sqlite_t *s)
{
    sqlite3_finalize(s->find);
    sqlite3_close(s->db);
    s->find = NULL;
    s->db = NULL;
}


/*
 * The change to WAL wants the file alone and does not wait for it: programs
 * that start at the same time meet here.
 */
static store_status_t
sqlite_connect(store_sqlite_t *s)
{
    int64_t          end;
    store_status_t   status;
    struct timespec  pause;

    end = sqlite_now() + SQLITE_BUSY_MS;
    pause.tv_sec = 0;
    pause.tv_nsec = SQLITE_RETRY_MS * 1000000;

    for ( ;; ) {
        status = sqlite_connect_once(s);

        if (status == STORE_OK || s->db == NULL
            || (sqlite3_errcode(s->db) & 0xff) != SQLITE_BUSY
            || sqlite_now() > end)
        {
            return status;
        }

        sqlite_disconnect(s);
        (void) nanosleep(&pause, NULL);
    }
}


/*
 * Whether the log beside the file is that of the one before: SQLite would play
 * it into any file.  While it is open its inode is no other's.
 */
static bool
sqlite_wal_left(const store_sqlite_t *s)
{
    struct stat  st;

    return s->db != NULL && s->wal_inode != 0 && sqlite_wal(s, &st) == 0
           && st.st_dev == s->wal_device && st.st_ino == s->wal_inode;
}


/*
 * A file that was removed or replaced would be served for ever as it was: look
 * for the new one, which is never made here.  In a transaction there is only
 * the old one.
 */
static store_status_t
sqlite_reopen(store_sqlite_t *s)
{
    int  moved;

    moved = 0;

    if (s->find != NULL
        && (sqlite3_get_autocommit(s->db) == 0
            || sqlite3_file_control(s->db, "main", SQLITE_FCNTL_HAS_MOVED,
                                    &moved) != SQLITE_OK
            || !moved))
    {
        return STORE_OK;
    }

    if (access(s->path, R_OK | W_OK) != 0) {
        snprintf(s->store.error, sizeof(s->store.error), "%s",
                 strerror(errno));
        return STORE_DOWN;
    }

    if (sqlite_wal_left(s)) {
        snprintf(s->store.error, sizeof(s->store.error),
                 "was replaced, but its -wal is still the old one");
        return STORE_DOWN;
    }

    sqlite_disconnect(s);

    if (sqlite_connect(s) != STORE_OK) {
        sqlite_disconnect(s);
        return STORE_DOWN;
    }

    return STORE_OK;
}


store_t *
store_sqlite_open(const char *path, bool create, char *error, size_t size)
{
    store_sqlite_t  *s;

    /* names that SQLite takes for databases in memory */
    if (*path == '\0' || *path == ':') {
        snprintf(error, size, "store \"%s\": not the path of a file", path);
        return NULL;
    }

    if ((create && sqlite_create_file(path) != 0)
        || access(path, R_OK | W_OK) != 0)
    {
        snprintf(error, size, "store \"%s\": %s", path, strerror(errno));
        return NULL;
    }

    s = calloc(1, sizeof(store_sqlite_t) + strlen(path) + 1);
    if (s == NULL) {
        snprintf(error, size, "out of memory");
        return NULL;
    }

    s->store.backend = &store_sqlite;
    s->store.name = s->path;
    strcpy(s->path, path);

    if (sqlite_connect(s) != STORE_OK) {
        snprintf(error, size, "store \"%s\": %s", path, s->store.error);
        store_sqlite_close(&s->store);
        return NULL;
    }

    return &s->store;
}
