/*
 * An upgrade of the binary (USR2): two masters with a zone each share the
 * instances until the old one is gone.
 */

#ifndef MS_CORE_UPGRADE_H
#define MS_CORE_UPGRADE_H


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Whether another master of this gateway runs, in its workers and in those of
 * the other; looks once a second.  Not under a lock.
 */
ngx_uint_t ms_upgrading(void);


#endif /* MS_CORE_UPGRADE_H */
