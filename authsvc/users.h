/*
 * "authsvc user add|passwd|role|del|list": administration of the store.
 */

#ifndef AUTHSVC_USERS_H
#define AUTHSVC_USERS_H


#include <stdio.h>


/* argv[0] is "user".  Returns the exit code. */
int users_main(int argc, char **argv);

void users_help(FILE *out);


#endif /* AUTHSVC_USERS_H */
