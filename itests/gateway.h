/*
 * The gateway that the scenarios call when none is named: that of the stack of
 * this tree, never one that happens to listen on a usual port.
 */

#ifndef ITESTS_GATEWAY_H
#define ITESTS_GATEWAY_H


#include <stddef.h>


/* "host:port" of the stack whose state is in the folder "run" (scripts/stack);
 * -1 when none runs there. */
int gateway_find(const char *run, char *address, size_t size)
    __attribute__((warn_unused_result));

/* The folder of that state beside this program, as "build/run"; -1 when it
 * cannot be told. */
int gateway_folder(char *run, size_t size) __attribute__((warn_unused_result));


#endif /* ITESTS_GATEWAY_H */
