/*
 * What comes before the first question of a new connection.
 */

#ifndef MS_STORE_SHAKE_H
#define MS_STORE_SHAKE_H


#include "store/store.h"


/* The connection is made: TLS, and the questions whose answers say whether this
 * server is the store.  Ends with "sc->shaken". */
void ms_store_shake(ms_store_conn_t *sc);


/* why a server that is none fails */
extern const char  ms_store_shake_replica[];


#endif /* MS_STORE_SHAKE_H */
