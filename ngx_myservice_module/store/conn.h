/*
 * A connection of this worker to a store: it connects, and connects again,
 * without ever blocking.
 */

#ifndef MS_STORE_CONN_H
#define MS_STORE_CONN_H


#include "store/store.h"


/* "sc" has its store and name; "up" is called whenever it is ready */
void ms_store_conn_start(ms_store_conn_t *sc);

/* for good, or until it is started again */
void ms_store_conn_stop(ms_store_conn_t *sc);

/* and connects again; "why" is for the log */
void ms_store_conn_close(ms_store_conn_t *sc, const char *why);

/* the store has other addresses: a connection to one that it has no more ends,
 * and one that is not made yet tries them at once */
void ms_store_conn_moved(ms_store_conn_t *sc);

/* the store's name was not found, and it has no address yet */
void ms_store_conn_nowhere(ms_store_conn_t *sc);

/*
 * A question for the script: the verb and "args" more texts follow.
 * ms_store_conn_ask() sends it.
 */
void ms_store_conn_begin(ms_store_conn_t *sc, const char *verb,
    unsigned args);

/* The same for a verb that needs all keys. */
void ms_store_conn_begin_all(ms_store_conn_t *sc, const char *verb,
    unsigned args);

ngx_int_t ms_store_conn_ask(ms_store_conn_t *sc, ms_resp_pt handler,
    void *data);

/*
 * 1 if the answer is an error, which is logged; the connection may be closed
 * then: when this server cannot answer, but another may.
 */
ngx_uint_t ms_store_conn_error(ms_store_conn_t *sc, redisReply *reply);

/* whether a question is worth to be asked: it is connected, or about to be for
 * the first time */
ngx_uint_t ms_store_conn_usable(ms_store_conn_t *sc);


#endif /* MS_STORE_CONN_H */
