/*
 * A real redis-server in the directory of the test, and one blocking
 * connection to it.
 */

#ifndef MODULE_T_STORE_SERVER_H
#define MODULE_T_STORE_SERVER_H


#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>


#define STORE_ARGS  64                  /* of one command */


/* Starts the server with a unix socket, and on "port" unless that is 0; "more"
 * ends with NULL, or is NULL.  It is killed with the test.  Returns its pid
 * when it answers. */
pid_t store_server_start(int port, const char *const *more);

/* The clock of servers that are started from now on is the machine's, and so many
 * seconds; those that run follow. */
void store_server_clock(int64_t moved);

/* SIGKILL, and waits until it is gone: its port is free then. */
void store_server_kill(pid_t pid);

/* The next server may refuse a client that has not told who it is: it has
 * started when it answers at all. */
void store_server_any_answer(void);

/* A connection by the unix socket of the last server; the test fails if there
 * is none. */
redisContext *store_server_connect(void);

/* Waits until the last server has the leases of "n" sessions of upstream "u". */
void store_server_await(int n);

/* the same of any server */
void store_server_await_at(redisContext *c, int n);

/* The script as the gateway has it, with "find" replaced by "by" wherever it
 * stands; the test fails if it stands nowhere.  NULL: nothing is replaced.  The
 * caller frees it. */
char *store_server_script(const char *find, const char *by);

/* All "find" of "text", which this frees, replaced. */
char *store_server_replace(char *text, const char *find, const char *by);

/* Loads a script; "sha" gets 40 digits and a zero. */
void store_server_load(redisContext *c, const char *script, char sha[41]);

/* A command; the texts end with NULL.  The test fails if the server answers
 * with an error.  The caller frees the reply. */
redisReply *store_server_ask(redisContext *c, const char *const *texts);

/* EVALSHA with the keys of upstream "u"; "texts" begins with the verb. */
redisReply *store_server_eval(redisContext *c, const char *sha,
    const char *const *texts);


#endif /* MODULE_T_STORE_SERVER_H */
