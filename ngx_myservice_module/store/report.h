/*
 * What the log says of a store.
 */

#ifndef MS_STORE_REPORT_H
#define MS_STORE_REPORT_H


#include "store/store.h"


/* when a configuration begins: what was said is of other addresses, or not */
void ms_store_report_begin(ms_store_t *store);

/* the log of a connection that is made */
ngx_log_t *ms_store_report_log(ms_store_conn_t *sc);

/* why it ends when the server has closed it */
const char *ms_store_report_closed(ms_store_conn_t *sc);

/* the connection is ready */
void ms_store_report_up(ms_store_conn_t *sc);

/* it ends, or could not be made: "why"; before it is closed */
void ms_store_report_failed(ms_store_conn_t *sc, const char *why);

/* an answer of the store was an error */
void ms_store_report_error(ms_store_conn_t *sc, const char *error);

/* the record of an instance is not one */
void ms_store_report_record(ms_store_t *store, const redisReply *name);


#endif /* MS_STORE_REPORT_H */
