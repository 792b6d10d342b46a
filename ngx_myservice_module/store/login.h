
/*
 * Who the gateway and the store are for each other, as configured: the password,
 * and TLS.
 */

#ifndef MS_STORE_LOGIN_H
#define MS_STORE_LOGIN_H


#include "core/values.h"
#include "store/store.h"


/* sets "password_file=" */
char *ms_store_password(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf);

/* when all parameters are known */
char *ms_store_login(ngx_conf_t *cf, ms_store_t *store);


#endif /* MS_STORE_LOGIN_H */
