/*
 * What a scenario runs in: its settings, its deadline, and checks that print
 * what they check as lines of TAP on standard output:
 *
 *     ok - client 1: Login: code OK, token not empty, ...
 *     not ok - client 1: Login: role: got "", want a value
 */

#ifndef ITESTS_CHECK_H
#define ITESTS_CHECK_H


#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/tls.h"


typedef struct {
    const char  *gateway;
    const char  *username;
    const char  *password;
    const char  *instances;         /* "host:port,host:port", or NULL */
    const char  *stack;             /* the script of our stack, or NULL */
    int64_t      timeout;           /* of a scenario, ms */
    int64_t      token_ttl;         /* ms; 0: unknown */
    int64_t      soak;              /* ms: how long "survive_" scenarios do
                                       harm */
    int          no_resume;         /* of the gateway: without resume */
    rpc_tls_t   *tls;               /* NULL: plaintext */
    const char  *tls_server_name;   /* of the gateway, or NULL: its host */
    const void  *data;              /* of the program that runs scenarios */
} settings_t;

typedef struct {
    const char        *scenario;
    const settings_t  *settings;
    int64_t            deadline;    /* rpc_now() milliseconds */
    unsigned           failed;
} test_t;

/* One check of many fields. Each mismatch is a line of its own; check_done()
 * prints all matches in one line. */
typedef struct {
    test_t    *test;
    char       what[192];
    char       matches[2048];
    unsigned   failed;
} check_t;


/* All checks return whether they hold. */
bool check(test_t *test, bool holds, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Prints what is not run and why. This is neither a success nor a failure. */
void check_skip(test_t *test, const char *reason, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* A line that is not a check. */
void check_note(test_t *test, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

void check_begin(check_t *check, test_t *test, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
bool check_equal(check_t *check, const char *field, const char *got,
    const char *want);
bool check_not_empty(check_t *check, const char *field, const char *got);
bool check_number(check_t *check, const char *field, int64_t got,
    int64_t want);
bool check_code(check_t *check, int got, int want);
bool check_that(check_t *check, bool holds, const char *field,
    const char *got, const char *want);
bool check_done(check_t *check);

/* "UNAVAILABLE" */
const char *check_code_name(int code);

/* Pauses between two calls or two acts of harm. To wait for something, poll
 * with a deadline instead. */
void check_pace(int64_t ms);

/* Milliseconds left for the scenario, at least 1, at most "most". */
int64_t check_time_left(const test_t *test, int64_t most);


#endif /* ITESTS_CHECK_H */
