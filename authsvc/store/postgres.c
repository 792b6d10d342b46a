/*
 * Users in PostgreSQL.  A store is one connection, with prepared statements
 * and a time limit for everything.  The store is there even while the server
 * is not: it connects when it is used, and again when the connection is lost.
 * Errors and the name of the store never have the password.
 */

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <libpq-fe.h>

#include "authsvc/store/backend.h"


/* The server gives up a statement before the client gives up the server. */
#define PG_CONNECT_S     "3"
#define PG_STATEMENT_MS  "4000"
#define PG_LIMIT_MS      5000
#define PG_PAUSE_MS      500

#define PG_NAME          256
#define PG_EXISTS        "23505"        /* SQLSTATE */
#define PG_NO_CHAR       "22P05"        /* not in the database's encoding */
#define PG_LOCK          "1836278133"   /* "msau", of migrations */

#define PG_VERSION       "SELECT max(version) FROM authsvc_schema"
#define PG_HAS_VERSION                                                        \
    "SELECT (to_regclass('authsvc_schema') IS NOT NULL)::integer"
#define PG_MAKE_VERSION                                                       \
    "CREATE TABLE IF NOT EXISTS authsvc_schema ("                             \
    "    version integer NOT NULL PRIMARY KEY,"                               \
    "    since timestamptz NOT NULL DEFAULT now()"                            \
    ")"


typedef struct {
    store_t          store;
    bool             create;            /* makes missing tables */
    PGconn          *conn;              /* NULL: not connected */
    uint32_t         prepared;          /* bits of statements */
    bool             transaction;
    store_status_t   refused;           /* why it is not connected */
    int64_t          retry;             /* ms; no attempt before that */
    char             state[6];          /* SQLSTATE of the last error, or "" */
    char             name[PG_NAME];     /* postgresql://user@host:port/db */
    char             url[];
} store_pg_t;

enum {
    PG_FIND = STORE_CHANGES,
    PG_LIST,                            /* one for each store_rows_t */
    PG_STATEMENTS = PG_LIST + STORE_ROWS
};

static const char *const  pg_statements[PG_STATEMENTS] = {
    [STORE_ADD] = "INSERT INTO users (name, hash, role) VALUES ($1, $2, $3)",
    [STORE_SET_HASH] = "UPDATE users SET hash = $2::text,"
        " changed = extract(epoch FROM now())::bigint WHERE name = $1::text",
    [STORE_RENEW_HASH] = "UPDATE users SET hash = $2::text"
        " WHERE name = $1::text AND hash = $3::text",
    [STORE_SET_ROLE] = "UPDATE users SET role = $2::text"
        " WHERE name = $1::text",
    [STORE_DELETE] = "DELETE FROM users WHERE name = $1::text",
    [STORE_DISABLE] = "UPDATE users SET disabled = true"
        " WHERE name = $1::text",
    [STORE_ENABLE] = "UPDATE users SET disabled = false"
        " WHERE name = $1::text",
    [STORE_OWE] = "INSERT INTO revocations (gateway, request)"
        " VALUES ($1, $2) ON CONFLICT DO NOTHING",
    [STORE_PAID] = "DELETE FROM revocations"
        " WHERE gateway = $1::text AND request = $2::text",
    [PG_FIND] = "SELECT hash, role, disabled FROM users"
        " WHERE name = $1::text",
    [PG_LIST + STORE_USERS] = "SELECT name, role || CASE WHEN disabled"
        " THEN chr(9) || 'disabled' ELSE '' END FROM users ORDER BY name",
    [PG_LIST + STORE_OWED] = "SELECT gateway, request FROM revocations"
        " ORDER BY gateway, request"
};

/* Number i makes version i + 1; a released one is never changed. */
static const char *const  pg_migrations[STORE_VERSION] = {
    "CREATE TABLE users ("
    "    name text COLLATE \"C\" NOT NULL PRIMARY KEY,"
    "    hash text NOT NULL,"
    "    role text NOT NULL,"
    "    created bigint NOT NULL DEFAULT extract(epoch FROM now())::bigint"
    ")",
    "ALTER TABLE users ADD COLUMN changed bigint NOT NULL"
    "    DEFAULT extract(epoch FROM now())::bigint;"
    "UPDATE users SET changed = created",
    "ALTER TABLE users ADD COLUMN disabled boolean NOT NULL DEFAULT false;"
    "CREATE TABLE revocations ("
    "    gateway text NOT NULL,"
    "    request text NOT NULL,"
    "    PRIMARY KEY (gateway, request)"
    ")"
};


static int64_t
pg_now(void)
{
    struct timespec  now;

    clock_gettime(CLOCK_MONOTONIC, &now);

    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}


/* Makes one line of libpq's lines. */
static store_status_t
pg_failed(store_pg_t *s, store_status_t status, const char *text)
{
    size_t   len;
    char    *error;

    error = s->store.error;

    for (len = 0; *text != '\0' && len < STORE_ERROR - 1; text++) {
        if (strchr(" \t\n", *text) == NULL) {
            error[len++] = *text;

        } else if (len > 0 && error[len - 1] != ' ') {
            error[len++] = ' ';
        }
    }

    error[len > 0 && error[len - 1] == ' ' ? len - 1 : len] = '\0';

    return status;
}


static void
pg_close(store_pg_t *s)
{
    PQfinish(s->conn);
    s->conn = NULL;
    s->prepared = 0;
}


/* Sends and reads until there is an answer; -1: too late or lost. */
static int
pg_wait(store_pg_t *s)
{
    int            flush;
    int64_t        end, left;
    struct pollfd  pfd;

    end = pg_now() + PG_LIMIT_MS;

    for ( ;; ) {
        flush = PQflush(s->conn);

        if (flush == 0 && !PQisBusy(s->conn)) {
            return 0;
        }

        left = end - pg_now();
        if (left <= 0) {
            (void) store_fail(&s->store, STORE_DOWN, "no answer within %d ms",
                              PG_LIMIT_MS);
            return -1;
        }

        pfd.fd = PQsocket(s->conn);
        pfd.events = (short) (POLLIN | (flush > 0 ? POLLOUT : 0));

        if (flush < 0 || (poll(&pfd, 1, (int) left) < 0 && errno != EINTR)
            || PQconsumeInput(s->conn) == 0)
        {
            (void) pg_failed(s, STORE_DOWN, PQerrorMessage(s->conn));
            return -1;
        }
    }
}


/* The status of a result, which is freed unless it is good. */
static store_status_t
pg_judge(store_pg_t *s, PGresult *result)
{
    ExecStatusType   status;
    const char      *state, *text;

    status = PQresultStatus(result);

    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
        return STORE_OK;
    }

    /* without the detail, which may have values of users */
    state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    (void) pg_failed(s, STORE_FAILED, text != NULL
                                      ? text : PQresultErrorMessage(result));
    snprintf(s->state, sizeof(s->state), "%s", state != NULL ? state : "");
    PQclear(result);

    /* 57P01 to 57P03: the server ends or is not ready */
    if (PQstatus(s->conn) != CONNECTION_OK
        || strncmp(s->state, "57P", 3) == 0)
    {
        pg_close(s);
        return STORE_DOWN;
    }

    return STORE_FAILED;
}


/* The last result of what was sent; "*result" is set when STORE_OK. */
static store_status_t
pg_result(store_pg_t *s, int sent, PGresult **result)
{
    PGresult  *next;

    *result = NULL;

    if (!sent) {
        (void) pg_failed(s, STORE_DOWN, PQerrorMessage(s->conn));
        pg_close(s);
        return STORE_DOWN;
    }

    for ( ;; ) {
        if (pg_wait(s) != 0) {
            PQclear(*result);
            pg_close(s);
            return STORE_DOWN;
        }

        next = PQgetResult(s->conn);
        if (next == NULL) {
            return pg_judge(s, *result);
        }

        PQclear(*result);
        *result = next;
    }
}


/* Runs SQL without parameters on the connection.  "number" may be NULL, or
 * gets the first column of the first row, 0 for null. */
static store_status_t
pg_exec(store_pg_t *s, const char *sql, int *number)
{
    PGresult        *result;
    store_status_t   status;

    if (s->conn == NULL) {
        return STORE_DOWN;
    }

    status = pg_result(s, PQsendQuery(s->conn, sql), &result);

    if (status == STORE_OK) {
        if (number != NULL) {
            *number = PQntuples(result) > 0
                      ? atoi(PQgetvalue(result, 0, 0)) : 0;
        }
        PQclear(result);
    }

    return status;
}


/*
 * In a transaction, one at a time.  A server that waits for an advisory lock
 * does not learn of new tables then, but when it makes one.
 */
static store_status_t
pg_migrate_locked(store_pg_t *s)
{
    int             version;
    char            text[80];
    store_status_t  status;

    version = 0;
    status = pg_exec(s, "SELECT pg_advisory_xact_lock(" PG_LOCK ")", NULL);

    if (status == STORE_OK) {
        status = pg_exec(s, PG_MAKE_VERSION, NULL);
    }

    if (status == STORE_OK) {
        status = pg_exec(s, PG_VERSION, &version);
    }

    for ( /* void */ ; status == STORE_OK && version < STORE_VERSION;
         version++)
    {
        snprintf(text, sizeof(text),
                 "INSERT INTO authsvc_schema (version) VALUES (%d)",
                 version + 1);

        status = pg_exec(s, pg_migrations[version], NULL);
        if (status == STORE_OK) {
            status = pg_exec(s, text, NULL);
        }
    }

    return status;
}


/* Every new connection looks at the schema, and changes an old one.  The
 * caller closes the connection when this fails. */
static store_status_t
pg_prepare_schema(store_pg_t *s)
{
    int             version;
    store_status_t  status;

    status = pg_exec(s, PG_HAS_VERSION, &version);

    if (status == STORE_OK && version != 0) {
        status = pg_exec(s, PG_VERSION, &version);
    }

    if (status != STORE_OK || version == STORE_VERSION) {
        return status;
    }

    if (version == 0 && !s->create) {
        return store_fail(&s->store, STORE_FAILED, STORE_EMPTY);
    }

    if (version > STORE_VERSION) {
        return store_fail(&s->store, STORE_FAILED, STORE_NEWER, version,
                          STORE_VERSION);
    }

    status = pg_exec(s, "BEGIN", NULL);
    if (status == STORE_OK) {
        status = pg_migrate_locked(s);
    }

    return status == STORE_OK ? pg_exec(s, "COMMIT", NULL) : status;
}


static void
pg_no_notice(void *data, const PGresult *result)
{
    (void) data;
    (void) result;
}


/* The URL ("dbname") may change the values before it, not those after it. */
static store_status_t
pg_dial(store_pg_t *s)
{
    const char *const  keywords[] = {
        "connect_timeout", "fallback_application_name", "keepalives_idle",
        "keepalives_interval", "keepalives_count", "tcp_user_timeout",
        "dbname", "client_encoding", NULL
    };
    const char *const  values[] = {
        PG_CONNECT_S, "authsvc", "30", "5", "3", "10000", s->url, "UTF8",
        NULL
    };
    store_status_t     status;

    s->conn = PQconnectdbParams(keywords, values, 1);

    if (PQstatus(s->conn) != CONNECTION_OK) {
        return pg_failed(s, STORE_DOWN, PQerrorMessage(s->conn));
    }

    PQsetNoticeReceiver(s->conn, pg_no_notice, NULL);

    if (PQsetnonblocking(s->conn, 1) != 0) {
        return pg_failed(s, STORE_DOWN, PQerrorMessage(s->conn));
    }

    status = pg_exec(s, "SET statement_timeout = " PG_STATEMENT_MS, NULL);

    return status == STORE_OK ? pg_prepare_schema(s) : status;
}


/* Connects unless the store is connected.  After a failure there is a pause:
 * until its end this fails at once with the previous error. */
static store_status_t
pg_connect(store_pg_t *s)
{
    store_status_t  status;

    if (s->conn != NULL && PQstatus(s->conn) == CONNECTION_OK) {
        return STORE_OK;
    }

    if (s->transaction) {
        return store_fail(&s->store, STORE_DOWN,
                          "the connection was lost in a transaction");
    }

    if (s->conn == NULL && pg_now() < s->retry) {
        return s->refused;
    }

    pg_close(s);
    status = pg_dial(s);

    if (status != STORE_OK) {
        pg_close(s);
        s->refused = status;
        s->retry = pg_now() + PG_PAUSE_MS;
    }

    return status;
}


static store_status_t
pg_run_once(store_pg_t *s, int i, const char *const *values, int n,
    PGresult **result)
{
    char            name[16];
    store_status_t  status;

    s->state[0] = '\0';

    status = pg_connect(s);
    if (status != STORE_OK) {
        return status;
    }

    snprintf(name, sizeof(name), "authsvc%d", i);

    if ((s->prepared & 1u << i) == 0) {
        status = pg_result(s, PQsendPrepare(s->conn, name, pg_statements[i],
                                            n, NULL), result);
        if (status != STORE_OK) {
            return status;
        }

        PQclear(*result);
        s->prepared |= 1u << i;
    }

    return pg_result(s, PQsendQueryPrepared(s->conn, name, n, values, NULL,
                                            NULL, 0), result);
}


/* Reads once more if an idle connection turns out to be lost. */
static store_status_t
pg_read(store_pg_t *s, int i, const char *const *values, int n,
    PGresult **result)
{
    bool            idle;
    store_status_t  status;

    idle = s->conn != NULL && !s->transaction;
    status = pg_run_once(s, i, values, n, result);

    return status == STORE_DOWN && idle && s->conn == NULL
           ? pg_run_once(s, i, values, n, result) : status;
}


static store_status_t
store_pg_find(store_t *store, const char *name, store_user_t *user)
{
    PGresult        *result;
    store_pg_t      *s = (store_pg_t *) store;
    store_status_t   status;

    status = pg_read(s, PG_FIND, &name, 1, &result);

    if (status != STORE_OK) {
        return strcmp(s->state, PG_NO_CHAR) == 0 ? STORE_MISSING : status;
    }

    status = PQntuples(result) == 1
             ? store_copy(store, PQgetvalue(result, 0, 0),
                          PQgetvalue(result, 0, 1), user)
             : STORE_MISSING;

    if (status == STORE_OK) {
        user->disabled = strcmp(PQgetvalue(result, 0, 2), "t") == 0;
    }

    PQclear(result);

    return status;
}


static store_status_t
store_pg_change(store_t *store, store_change_t change,
    const char *const values[3])
{
    int              n;
    PGresult        *result;
    store_pg_t      *s = (store_pg_t *) store;
    store_status_t   status;

    for (n = 0; n < 3 && values[n] != NULL; n++) { /* void */ }

    status = pg_run_once(s, (int) change, values, n, &result);

    if (status == STORE_OK) {
        status = strcmp(PQcmdTuples(result), "0") != 0
                 ? STORE_OK : STORE_MISSING;
        PQclear(result);
        return status;
    }

    return strcmp(s->state, PG_EXISTS) == 0 ? STORE_EXISTS : status;
}


static store_status_t
store_pg_list(store_t *store, store_rows_t rows, store_list_pt list,
    void *data)
{
    int              i;
    PGresult        *result;
    store_status_t   status;

    status = pg_read((store_pg_t *) store, PG_LIST + (int) rows, NULL, 0,
                     &result);
    if (status != STORE_OK) {
        return status;
    }

    for (i = 0; i < PQntuples(result); i++) {
        list(PQgetvalue(result, i, 0), PQgetvalue(result, i, 1), data);
    }

    PQclear(result);

    return STORE_OK;
}


static store_status_t
store_pg_check(store_t *store)
{
    return pg_connect((store_pg_t *) store);
}


static store_status_t
store_pg_begin(store_t *store)
{
    store_pg_t      *s = (store_pg_t *) store;
    store_status_t   status;

    status = pg_connect(s);
    if (status == STORE_OK) {
        status = pg_exec(s, "BEGIN", NULL);
        s->transaction = (status == STORE_OK);
    }

    return status;
}


/* A commit of a transaction that has failed is answered as a rollback. */
static store_status_t
store_pg_commit(store_t *store)
{
    PGresult        *result;
    store_pg_t      *s = (store_pg_t *) store;
    store_status_t   status;

    s->transaction = false;

    if (s->conn == NULL) {
        return STORE_DOWN;
    }

    status = pg_result(s, PQsendQuery(s->conn, "COMMIT"), &result);
    if (status != STORE_OK) {
        return status;
    }

    if (strcmp(PQcmdStatus(result), "COMMIT") != 0) {
        status = store_fail(store, STORE_FAILED,
                            "the transaction was rolled back");
    }

    PQclear(result);

    return status;
}


static void
store_pg_rollback(store_t *store)
{
    store_pg_t  *s = (store_pg_t *) store;

    s->transaction = false;

    if (pg_exec(s, "ROLLBACK", NULL) != STORE_OK) {
        pg_close(s);
    }
}


static void
store_pg_close(store_t *store)
{
    pg_close((store_pg_t *) store);
    free(store);
}


static const store_backend_t  store_pg = {
    .close = store_pg_close,
    .check = store_pg_check,
    .find = store_pg_find,
    .change = store_pg_change,
    .list = store_pg_list,
    .begin = store_pg_begin,
    .commit = store_pg_commit,
    .rollback = store_pg_rollback
};


static const char *
pg_option(const PQconninfoOption *options, const char *keyword,
    const char *deflt)
{
    for ( /* void */ ; options->keyword != NULL; options++) {
        if (strcmp(options->keyword, keyword) == 0 && options->val != NULL) {
            return options->val;
        }
    }

    return deflt;
}


/* libpq's own message about a bad URL would have the password. */
static int
pg_set_name(store_pg_t *s)
{
    PQconninfoOption  *options;

    options = PQconninfoParse(s->url, NULL);
    if (options == NULL) {
        return -1;
    }

    snprintf(s->name, sizeof(s->name), "postgresql://%s%s%s:%s/%s",
             pg_option(options, "user", ""),
             pg_option(options, "user", NULL) != NULL ? "@" : "",
             pg_option(options, "host", ""),
             pg_option(options, "port", "5432"),
             pg_option(options, "dbname", ""));
    PQconninfoFree(options);

    return 0;
}


store_t *
store_postgres_open(const char *url, bool create, char *error, size_t size)
{
    store_pg_t  *s;

    s = calloc(1, sizeof(store_pg_t) + strlen(url) + 1);
    if (s == NULL) {
        snprintf(error, size, "out of memory");
        return NULL;
    }

    s->store.backend = &store_pg;
    s->store.name = s->name;
    s->create = create;
    strcpy(s->url, url);

    if (pg_set_name(s) != 0) {
        snprintf(error, size, "store \"postgresql://...\": the URL is not "
                 "one that libpq knows");
        free(s);
        return NULL;
    }

    return &s->store;
}
