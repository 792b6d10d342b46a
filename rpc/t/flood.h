/*
 * Many connections to a service, each with an HTTP/2 preface and, perhaps, the
 * headers of a call that never goes on.
 */

#ifndef RPC_T_FLOOD_H
#define RPC_T_FLOOD_H


#include <stddef.h>


/* So many connections to "address" (127.0.0.1:PORT); "path" NULL: no call.
 * Takes a free array.  Fails the test when one cannot be made. */
void flood_open(const char *address, const char *path, int *fds, size_t n);

/* Waits until the server has closed all of them; fails the test after 20 s. */
void flood_wait(const int *fds, size_t n);

void flood_close(const int *fds, size_t n);


#endif /* RPC_T_FLOOD_H */
