/*
 * A PostgreSQL of the tests' own: a new cluster in a temporary folder, on a
 * free port of the loopback interface, run by the user "postgres" if the tests
 * are root's.  It ends with the process that started it.  The system's
 * clusters are not touched.
 */

#ifndef AUTHSVC_T_POSTGRES_H
#define AUTHSVC_T_POSTGRES_H


#define POSTGRES_PASSWORD  "geheim-42"


/* Makes a cluster and starts it; all abort when something is missing. */
void postgres_start(void);

/* Ends the server at once, as a crash would; starts it again. */
void postgres_kill(void);
void postgres_restart(void);

/* Stops the processes of the server, and lets them go on: a server that says
 * nothing. */
void postgres_freeze(void);
void postgres_thaw(void);

/* Stops it, removes the cluster. */
void postgres_stop(void);

/* The file with the certificate of the server, which has TLS. */
const char *postgres_ca(void);

/* A new database; its URL, with the password, valid until the next call. */
const char *postgres_database(const char *name);

/* Statements in that database, as its owner. */
void postgres_sql(const char *url, const char *sql);

/* The first column of the first row, valid until the next call. */
const char *postgres_value(const char *url, const char *sql);


#endif /* AUTHSVC_T_POSTGRES_H */
