/*
 * The names of a store: read from the configuration, and with a "resolver" in
 * "http" looked up again whenever the answer is no longer valid.
 */

#ifndef MS_STORE_NAMES_H
#define MS_STORE_NAMES_H


#include "store/store.h"


/* one URL of the directive; a name is looked up now, unless nginx only tests */
char *ms_store_names_add(ngx_conf_t *cf, ms_store_t *store, ngx_str_t *url);

/* when "http" has been read: finds its resolver; without one, a name that was
 * not found is an error */
char *ms_store_names_init(ngx_conf_t *cf, ms_store_t *store);

/* in a worker, once; the store's connection is started */
void ms_store_names_start(ms_store_t *store);
void ms_store_names_stop(ms_store_t *store);


#endif /* MS_STORE_NAMES_H */
