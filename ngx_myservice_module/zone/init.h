#ifndef MS_ZONE_INIT_H
#define MS_ZONE_INIT_H


#include "zone/shared.h"


/* at configuration; NULL after an error was logged */
ms_zone_t *ms_zone_add(ngx_conf_t *cf, ngx_str_t *name, ssize_t size,
    void *tag);


#endif /* MS_ZONE_INIT_H */
