#include "authsvc/pg.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>


/* The server gives up a statement before the client gives up the server. */
#define PG_CONNECT_S     "3"
#define PG_STATEMENT_MS  "4000"
#define PG_LIMIT_MS      5000
#define PG_PAUSE_MS      500


struct pg_s {
    char                *url;
    char                 name[PG_NAME];
    const char *const   *statements;
    size_t               n;
    pg_ready_pt          ready;
    void                *data;

    PGconn              *conn;          /* NULL: none */
    uint32_t             prepared;      /* bits of statements */
    bool                 transaction;
    pg_status_t          refused;       /* why there is none */
    int64_t              retry;         /* not connected before that */
    char                 error[PG_ERROR];
    char                 state[6];
};


static int64_t
pg_now(void)
{
    struct timespec  now;

    clock_gettime(CLOCK_MONOTONIC, &now);

    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}


/* libpq's messages have lines. */
static void
pg_set_error(pg_t *pg, const char *text)
{
    size_t  len;

    len = 0;
    text += strspn(text, " \t\n");

    for ( /* void */ ; *text != '\0' && len < PG_ERROR - 1; text++) {
        if (*text != '\n' && *text != '\t') {
            pg->error[len++] = *text;

        } else if (len > 0 && pg->error[len - 1] != ' ') {
            pg->error[len++] = ' ';
        }
    }

    while (len > 0 && pg->error[len - 1] == ' ') {
        len--;
    }

    pg->error[len] = '\0';
    pg->state[0] = '\0';
}


void
pg_fail(pg_t *pg, const char *fmt, ...)
{
    char     text[PG_ERROR];
    va_list  args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    pg_set_error(pg, text);
}


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


/* The message of libpq for a bad URL has the URL, password included. */
static int
pg_set_name(pg_t *pg)
{
    PQconninfoOption  *options;

    options = PQconninfoParse(pg->url, NULL);
    if (options == NULL) {
        return -1;
    }

    snprintf(pg->name, sizeof(pg->name), "postgresql://%s%s%s:%s/%s",
             pg_option(options, "user", ""),
             pg_option(options, "user", NULL) != NULL ? "@" : "",
             pg_option(options, "host", ""),
             pg_option(options, "port", "5432"),
             pg_option(options, "dbname", ""));
    PQconninfoFree(options);

    return 0;
}


pg_t *
pg_create(const char *url, const char *const *statements, size_t n,
    pg_ready_pt ready, void *data, char *error, size_t size)
{
    pg_t  *pg;

    pg = calloc(1, sizeof(pg_t));
    if (pg == NULL || (pg->url = strdup(url)) == NULL) {
        snprintf(error, size, "out of memory");
        free(pg);
        return NULL;
    }

    if (pg_set_name(pg) != 0) {
        snprintf(error, size, "store \"postgresql://...\": the URL is not "
                 "one that libpq knows");
        pg_free(pg);
        return NULL;
    }

    pg->statements = statements;
    pg->n = n;
    pg->ready = ready;
    pg->data = data;

    return pg;
}


static void
pg_close(pg_t *pg)
{
    PQfinish(pg->conn);
    pg->conn = NULL;
    pg->prepared = 0;
}


void
pg_free(pg_t *pg)
{
    if (pg != NULL) {
        pg_close(pg);
        free(pg->url);
        free(pg);
    }
}


const char *
pg_name(const pg_t *pg)
{
    return pg->name;
}


const char *
pg_error(const pg_t *pg)
{
    return pg->error;
}


const char *
pg_state(const pg_t *pg)
{
    return pg->state;
}


static void
pg_no_notice(void *data, const PGresult *result)
{
    (void) data;
    (void) result;
}


/* What stands before "dbname", the URL, may be changed by it. */
static void
pg_dial(pg_t *pg)
{
    const char *const  keywords[] = {
        "connect_timeout", "fallback_application_name", "keepalives_idle",
        "keepalives_interval", "keepalives_count", "tcp_user_timeout",
        "dbname", "client_encoding", NULL
    };
    const char *const  values[] = {
        PG_CONNECT_S, "authsvc", "30", "5", "3", "10000", pg->url, "UTF8",
        NULL
    };

    pg->conn = PQconnectdbParams(keywords, values, 1);
}


/* A new connection is used only when it is ready. */
static pg_status_t
pg_prepare(pg_t *pg)
{
    if (pg->conn == NULL) {
        pg_fail(pg, "out of memory");
        return PG_DOWN;
    }

    if (PQstatus(pg->conn) != CONNECTION_OK) {
        pg_set_error(pg, PQerrorMessage(pg->conn));
        return PG_DOWN;
    }

    PQsetNoticeReceiver(pg->conn, pg_no_notice, NULL);

    if (PQsetnonblocking(pg->conn, 1) == 0
        && pg_exec(pg, "SET statement_timeout = " PG_STATEMENT_MS) == PG_OK
        && pg->ready(pg, pg->data) == 0)
    {
        return PG_OK;
    }

    return pg->conn != NULL ? PG_FAILED : PG_DOWN;
}


pg_status_t
pg_connect(pg_t *pg)
{
    pg_status_t  status;

    if (pg->conn != NULL && PQstatus(pg->conn) == CONNECTION_OK) {
        return PG_OK;
    }

    if (pg->transaction) {
        pg_fail(pg, "the connection was lost in a transaction");
        return PG_DOWN;
    }

    if (pg->conn == NULL && pg_now() < pg->retry) {
        return pg->refused;
    }

    pg_close(pg);
    pg_dial(pg);

    status = pg_prepare(pg);
    if (status != PG_OK) {
        pg_close(pg);
        pg->transaction = false;
        pg->refused = status;
        pg->retry = pg_now() + PG_PAUSE_MS;
    }

    return status;
}


/* Sends and reads until there is an answer; -1: too late or lost. */
static int
pg_wait(pg_t *pg)
{
    int            flush;
    int64_t        end, left;
    struct pollfd  pfd;

    end = pg_now() + PG_LIMIT_MS;

    for ( ;; ) {
        flush = PQflush(pg->conn);
        if (flush < 0) {
            break;
        }

        if (flush == 0 && !PQisBusy(pg->conn)) {
            return 0;
        }

        left = end - pg_now();
        if (left <= 0) {
            pg_fail(pg, "no answer within %d ms", PG_LIMIT_MS);
            return -1;
        }

        pfd.fd = PQsocket(pg->conn);
        pfd.events = (short) (POLLIN | (flush > 0 ? POLLOUT : 0));

        if (poll(&pfd, 1, (int) left) < 0 && errno != EINTR) {
            pg_fail(pg, "poll: %s", strerror(errno));
            return -1;
        }

        if (PQconsumeInput(pg->conn) == 0) {
            break;
        }
    }

    pg_set_error(pg, PQerrorMessage(pg->conn));

    return -1;
}


/* The last result of what was sent; NULL: the connection is closed. */
static PGresult *
pg_result(pg_t *pg, int sent)
{
    PGresult  *result, *last;

    last = NULL;

    if (!sent) {
        pg_set_error(pg, PQerrorMessage(pg->conn));
        pg_close(pg);
        return NULL;
    }

    for ( ;; ) {
        if (pg_wait(pg) != 0) {
            PQclear(last);
            pg_close(pg);
            return NULL;
        }

        result = PQgetResult(pg->conn);
        if (result == NULL) {
            return last;
        }

        PQclear(last);
        last = result;
    }
}


/* Takes a result that is not to be had. */
static pg_status_t
pg_refuse(pg_t *pg, PGresult *result)
{
    const char  *state;

    if (result == NULL) {
        return PG_DOWN;
    }

    /* without the detail, which may have values */
    state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    pg_set_error(pg, PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)
                     != NULL
                     ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)
                     : PQresultErrorMessage(result));
    snprintf(pg->state, sizeof(pg->state), "%s", state != NULL ? state : "");
    PQclear(result);

    /* 57P01 to 57P03: the server ends or is not ready */
    if (PQstatus(pg->conn) != CONNECTION_OK
        || strncmp(pg->state, "57P", 3) == 0)
    {
        pg_close(pg);
        return PG_DOWN;
    }

    return PG_FAILED;
}


static bool
pg_good(const PGresult *result)
{
    ExecStatusType  status;

    status = PQresultStatus(result);

    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}


pg_status_t
pg_exec(pg_t *pg, const char *sql)
{
    PGresult  *result;

    if (pg->conn == NULL) {
        return PG_DOWN;
    }

    result = pg_result(pg, PQsendQuery(pg->conn, sql));
    if (!pg_good(result)) {
        return pg_refuse(pg, result);
    }

    PQclear(result);

    return PG_OK;
}


pg_status_t
pg_number(pg_t *pg, const char *sql, int none, int *number)
{
    PGresult  *result;

    if (pg->conn == NULL) {
        return PG_DOWN;
    }

    result = pg_result(pg, PQsendQuery(pg->conn, sql));
    if (!pg_good(result)) {
        return pg_refuse(pg, result);
    }

    *number = PQntuples(result) < 1 || PQgetisnull(result, 0, 0)
              ? none : atoi(PQgetvalue(result, 0, 0));
    PQclear(result);

    return PG_OK;
}


static pg_status_t
pg_run_once(pg_t *pg, size_t i, const char *const *values, int n,
    PGresult **result)
{
    char  name[16];

    if (pg->conn == NULL) {
        return PG_DOWN;
    }

    snprintf(name, sizeof(name), "authsvc%d", (int) i);

    if ((pg->prepared & 1u << i) == 0) {
        *result = pg_result(pg, PQsendPrepare(pg->conn, name,
                                              pg->statements[i], n, NULL));
        if (!pg_good(*result)) {
            return pg_refuse(pg, *result);
        }

        PQclear(*result);
        pg->prepared |= 1u << i;
    }

    *result = pg_result(pg, PQsendQueryPrepared(pg->conn, name, n, values,
                                                NULL, NULL, 0));

    return pg_good(*result) ? PG_OK : pg_refuse(pg, *result);
}


pg_status_t
pg_run(pg_t *pg, size_t i, const char *const *values, int n, bool again,
    PGresult **result)
{
    bool         old, transaction;
    pg_status_t  status;

    old = (pg->conn != NULL);
    transaction = pg->transaction;

    status = pg_connect(pg);
    if (status != PG_OK) {
        return status;
    }

    status = pg_run_once(pg, i, values, n, result);

    /* a connection that was idle when the server went */
    if (status == PG_DOWN && old && again && !transaction) {
        status = pg_connect(pg);
        if (status == PG_OK) {
            status = pg_run_once(pg, i, values, n, result);
        }
    }

    return status;
}


pg_status_t
pg_begin(pg_t *pg)
{
    pg_status_t  status;

    status = pg_connect(pg);
    if (status == PG_OK) {
        status = pg_exec(pg, "BEGIN");
        pg->transaction = (status == PG_OK);
    }

    return status;
}


/* A commit of a transaction that has failed is answered as a rollback. */
pg_status_t
pg_commit(pg_t *pg)
{
    PGresult  *result;

    pg->transaction = false;

    if (pg->conn == NULL) {
        return PG_DOWN;
    }

    result = pg_result(pg, PQsendQuery(pg->conn, "COMMIT"));
    if (!pg_good(result)) {
        return pg_refuse(pg, result);
    }

    if (strcmp(PQcmdStatus(result), "COMMIT") != 0) {
        pg_fail(pg, "the transaction was rolled back");
        PQclear(result);
        return PG_FAILED;
    }

    PQclear(result);

    return PG_OK;
}


void
pg_rollback(pg_t *pg)
{
    pg->transaction = false;

    if (pg->conn != NULL && pg_exec(pg, "ROLLBACK") != PG_OK
        && pg->conn != NULL)
    {
        pg_close(pg);
    }
}
