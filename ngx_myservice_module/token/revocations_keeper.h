/*
 * What one worker does for the list of revoked tokens from time to time.
 */

#ifndef MS_TOKEN_REVOCATIONS_KEEPER_H
#define MS_TOKEN_REVOCATIONS_KEEPER_H


#include <ngx_config.h>
#include <ngx_core.h>


/* called in each worker with a list; the first one keeps it */
void ms_revocations_keep(ngx_cycle_t *cycle);


#endif /* MS_TOKEN_REVOCATIONS_KEEPER_H */
