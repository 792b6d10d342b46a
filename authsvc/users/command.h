/*
 * "authsvc user": changes the users of a store.
 */

#ifndef AUTHSVC_USERS_COMMAND_H
#define AUTHSVC_USERS_COMMAND_H


#include <stdio.h>


/* argv[0] is "user".  Returns the exit code. */
int users_main(int argc, char **argv);

void users_help(FILE *out);


#endif /* AUTHSVC_USERS_COMMAND_H */
