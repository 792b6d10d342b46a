/*
 * "authsvc key" in the folder of a test: runs the commands, and reads the
 * directory that they have left.
 */

#ifndef AUTHSVC_T_KEY_H
#define AUTHSVC_T_KEY_H


#include "authsvc/keys/dir.h"
#include "authsvc/t/process.h"


/* The last command. */
extern process_t  key_process;


/* The fixture: a folder, where the directory of keys does not exist yet. */
void key_setup(void);
void key_teardown(void);

const char *key_directory(void);

/* "authsvc key ..." with up to four more words; the exit code. */
int key_run(const char *a, const char *b, const char *c, const char *d);

/* What a command that must succeed has printed, without the newline; the
 * caller's. */
char *key_output(const char *a, const char *b, const char *c, const char *d);

/* The list as it is now. */
void key_load(keydir_list_t *list);

/* The name of the key's state now, or "gone". */
const char *key_state(const char *kid);


#endif /* AUTHSVC_T_KEY_H */
