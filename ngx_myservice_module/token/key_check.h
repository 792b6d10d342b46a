/*
 * Key files that change are read again, by each worker on a timer.
 */

#ifndef MS_TOKEN_KEY_CHECK_H
#define MS_TOKEN_KEY_CHECK_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * From now on this worker looks at the key files of the cycle, every
 * "myservice_jwt_key_check".
 */
void ms_key_check_start(ngx_cycle_t *cycle);


#endif /* MS_TOKEN_KEY_CHECK_H */
