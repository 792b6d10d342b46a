/*
 * "authsvc key generate|list|activate|retire|export": administration of the
 * keys, also while they are used.
 */

#ifndef AUTHSVC_KEYS_COMMAND_H
#define AUTHSVC_KEYS_COMMAND_H


#include <stdio.h>


/* argv[0] is "key".  Returns the exit code. */
int keys_main(int argc, char **argv);

void keys_help(FILE *out);


#endif /* AUTHSVC_KEYS_COMMAND_H */
