/*
 * A directory of keys and a keyring that reads it, for tests: ring_setup() and
 * ring_teardown() are the fixture.  What fails, fails the test.
 */

#ifndef AUTHSVC_T_RING_H
#define AUTHSVC_T_RING_H


#include <stdbool.h>

#include "authsvc/keys/ring.h"


#define NOW    INT64_C(1700000000)
#define TTL    100
#define GRACE  10


extern char                ring_error[KEYDIR_ERROR];
extern const char         *ring_published;
extern keydir_list_t       ring_list;
extern keyring_options_t   ring_options;


void ring_setup(void);
void ring_teardown(void);

/* With its lock, until it is closed. */
keydir_t *ring_dir(bool create);

keyring_t *ring_open(void);

/* The entry of the key, NULL: of the active one; in ring_list. */
keydir_entry_t *ring_find(const char *kid);

void ring_generate(signkey_alg_t alg, char *kid);
void ring_retire(const char *kid, int64_t until);
void ring_remove(const char *kid);

/* As the command does it. */
void ring_activate(const char *kid, int64_t now);

/* Others than the owner may read the directory, and are authsvc then: what
 * root may not write does not exist. */
void ring_read_only(bool on);

/* Whether the keyring signs with the key; whether the set has it. */
bool ring_signs(keyring_t *ring, const char *kid);
bool ring_publishes(const char *kid);


#endif /* AUTHSVC_T_RING_H */
