/*
 * "authsvc serve" for one test, with a store in the test's folder, where
 * TestUser with TestPassword is an admin, and a secret that signs.
 */

#ifndef AUTHSVC_T_SERVER_H
#define AUTHSVC_T_SERVER_H


#include "authsvc/t/process.h"


#define SERVER_KEY  "0123456789abcdef0123456789abcdef"


extern process_t  server_process;
extern char       server_target[64];    /* its address, once it listens */


/* The fixture: a folder. */
void server_setup(void);
void server_teardown(void);

/* With a user, a key, and up to four more arguments. */
void server_start(const char *a, const char *b, const char *c, const char *d);

/* It must end well, and say so. */
void server_stop(void);


#endif /* AUTHSVC_T_SERVER_H */
