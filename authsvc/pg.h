/*
 * One connection to PostgreSQL: prepared statements, a time limit for
 * everything, and a new connection when the old one is lost.  Belongs to one
 * thread at a time.  What it says never has the password.
 */

#ifndef AUTHSVC_PG_H
#define AUTHSVC_PG_H


#include <stdbool.h>
#include <stddef.h>

#include <libpq-fe.h>


#define PG_NAME        256
#define PG_ERROR       256
#define PG_STATEMENTS  32

typedef struct pg_s  pg_t;

/* Runs on every new connection; -1 with pg_fail(): it is closed again. */
typedef int (*pg_ready_pt)(pg_t *pg, void *data);

typedef enum {
    PG_OK = 0,
    PG_DOWN,                            /* no connection: may come back */
    PG_FAILED                           /* the server said no */
} pg_status_t;


/*
 * Nothing is connected yet.  "statements" has "n" texts, borrowed: they are
 * prepared when they are used first.  NULL with one line in "error".
 */
pg_t *pg_create(const char *url, const char *const *statements, size_t n,
    pg_ready_pt ready, void *data, char *error, size_t size);

/* NULL is fine. */
void pg_free(pg_t *pg);

/* "postgresql://user@host:port/database", borrowed. */
const char *pg_name(const pg_t *pg);

/* Connects unless it is.  After a failure there is a pause: until its end it
 * fails at once with the same error. */
pg_status_t pg_connect(pg_t *pg) __attribute__((warn_unused_result));

/* What failed last; one line.  SQLSTATE or "". */
const char *pg_error(const pg_t *pg);
const char *pg_state(const pg_t *pg);

/* Sets the error. */
void pg_fail(pg_t *pg, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Runs statement "i" with its parameters on the connection; connects first,
 * and again if "again" and the connection turns out to be lost, except within
 * pg_begin() and its end.  "*result" is to be freed with PQclear(); it is set
 * when PG_OK.
 */
pg_status_t pg_run(pg_t *pg, size_t i, const char *const *values, int n,
    bool again, PGresult **result) __attribute__((warn_unused_result));

/* SQL without parameters and rows, on a connection that is there. */
pg_status_t pg_exec(pg_t *pg, const char *sql)
    __attribute__((warn_unused_result));

/* The first column of the first row as a number, "none" when it is null. */
pg_status_t pg_number(pg_t *pg, const char *sql, int none, int *number)
    __attribute__((warn_unused_result));

/* A transaction; it is lost with its connection. */
pg_status_t pg_begin(pg_t *pg) __attribute__((warn_unused_result));
pg_status_t pg_commit(pg_t *pg) __attribute__((warn_unused_result));
void pg_rollback(pg_t *pg);


#endif /* AUTHSVC_PG_H */
