/*
 * "authsvc serve": from arguments to a running server and back.
 */

#ifndef AUTHSVC_SERVE_COMMAND_H
#define AUTHSVC_SERVE_COMMAND_H


#include <stdio.h>


/* argv[0] is "serve".  Returns the exit code. */
int serve_main(int argc, char **argv);

void serve_help(FILE *out);


#endif /* AUTHSVC_SERVE_COMMAND_H */
