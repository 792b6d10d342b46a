/*
 * Slows down guessing.  Counts failed logins per user and address, and, with a
 * limit BACKOFF_SOFT times as high, per user alone (one user, many addresses)
 * and per address alone (one address, many users).  From the limit on, every
 * failure doubles the time in which a login is held: refused whatever its
 * password is.
 *
 * A user who logged in from an address is known there: only failures at that
 * address hold him there, so that nobody else can shut him out.
 *
 * The memory is fixed: a table of sets with keyed hashes.  A full set drops
 * its oldest entry that is neither held nor known; if more than half of the
 * set is known, the oldest known one.  Counts leak away with time, so that a
 * slip now and then never adds up.
 *
 * Thread-safe.  All times are monotonic milliseconds of the caller's.
 */

#ifndef AUTHSVC_LOGIN_BACKOFF_H
#define AUTHSVC_LOGIN_BACKOFF_H


#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


#define BACKOFF_SOFT     20
#define BACKOFF_KEY      16             /* random bytes */
#define BACKOFF_ENTRIES  65536          /* 2.5 MiB */

typedef struct backoff_s  backoff_t;

typedef struct {
    unsigned  failures;                 /* before the first hold, from 1 */
    int64_t   base;                     /* ms of the first hold, from 1 */
    int64_t   max;                      /* ms of the longest hold */
    size_t    entries;                  /* a multiple of 8 */
} backoff_options_t;


/* NULL when out of memory. */
backoff_t *backoff_create(const backoff_options_t *options,
    const unsigned char key[BACKOFF_KEY]);

/* NULL is fine. */
void backoff_free(backoff_t *backoff);

/* Whether a login must be refused.  Asking does not count as a login. */
bool backoff_held(backoff_t *backoff, const char *user, const char *address,
    int64_t now);

/* The result of a login that was not held.  backoff_failed() returns whether
 * new users of the whole address are held from now on. */
bool backoff_failed(backoff_t *backoff, const char *user,
    const char *address, int64_t now);
void backoff_passed(backoff_t *backoff, const char *user,
    const char *address, int64_t now);

/*
 * The floor: no refusal is answered faster, so that a held login, which is not
 * hashed, takes the time of a failed one.  It is a high percentile of the last
 * times that backoff_took() measured, 0 before the first one.
 */
void backoff_took(backoff_t *backoff, int64_t ms);
int64_t backoff_floor(backoff_t *backoff);


#endif /* AUTHSVC_LOGIN_BACKOFF_H */
