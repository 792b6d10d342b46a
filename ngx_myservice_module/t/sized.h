/*
 * Echoes of any size with a content that shows what is lost or out of order.
 */

#ifndef MODULE_T_SIZED_H
#define MODULE_T_SIZED_H


#include <stddef.h>

#include "client.h"


/* A call of the session with "size" bytes of value, 0: of all defaults. */
client_call_t *sized_start(client_t *client, const char *path,
    const char *session, size_t size);

/* An echo of the session with "size" bytes of body, over: the last byte came
 * when the gateway had done all that it could without it. */
client_call_t *sized_late(const char *session, size_t size);

/* Every whole message has that value; returns how many there are. */
unsigned sized_check(const client_call_t *call, size_t size);

/* The same for a call that must be over and well, with one message. */
void sized_ok(const client_call_t *call, size_t size);


#endif /* MODULE_T_SIZED_H */
