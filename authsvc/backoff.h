/*
 * Guessing is slow.  Failed logins are counted per user and address, and with
 * a limit BACKOFF_SOFT times as high per address and per user alone: one
 * address that tries many users, one user that is tried from many addresses.
 * From the limit on every failure doubles the time in which a login is held,
 * that is refused whatever its password is.
 *
 * A user who passed from an address is known there: only what fails there
 * counts against him there, so that nobody else can shut him out.
 *
 * The memory is fixed: a table of sets with keyed hashes.  A full set loses
 * what matters least: first what is neither held nor known, the oldest first;
 * but when more than half of it is known, the oldest of that.  Counts leak
 * away, so that a slip now and then never adds up.
 *
 * Thread-safe.  All times are monotonic milliseconds of the caller's.
 */

#ifndef AUTHSVC_BACKOFF_H
#define AUTHSVC_BACKOFF_H


#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


#define BACKOFF_SOFT     20
#define BACKOFF_KEY      16             /* random bytes */
#define BACKOFF_ENTRIES  65536          /* 2.5 MiB */

typedef struct backoff_s  backoff_t;

typedef struct {
    unsigned  failures;                 /* that are free, from 1 */
    int64_t   base;                     /* ms of the first hold, from 1 */
    int64_t   max;                      /* ms of the longest one */
    size_t    entries;                  /* a multiple of 8 */
} backoff_options_t;


/* NULL when out of memory. */
backoff_t *backoff_create(const backoff_options_t *options,
    const unsigned char key[BACKOFF_KEY]);

/* NULL is fine. */
void backoff_free(backoff_t *backoff);

/* Whether a login is to be refused; does not count as one. */
bool backoff_held(backoff_t *backoff, const char *user, const char *address,
    int64_t now);

/* Whether it would be, were the user not known at the address. */
bool backoff_suspect(backoff_t *backoff, const char *user,
    const char *address, int64_t now);

/* What became of one that was not held.  True: all of the address are held
 * from now on. */
bool backoff_failed(backoff_t *backoff, const char *user,
    const char *address, int64_t now);
void backoff_passed(backoff_t *backoff, const char *user,
    const char *address, int64_t now);

/*
 * A held login takes the time of a failed one: one of the last that were
 * measured, in microseconds, "random" chooses which.  Before the first
 * measurement it is 0.
 */
void backoff_took(backoff_t *backoff, int64_t us);
int64_t backoff_delay(backoff_t *backoff, uint32_t random);


#endif /* AUTHSVC_BACKOFF_H */
