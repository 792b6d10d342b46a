#ifndef AUTHSVC_CORE_VERSION_H
#define AUTHSVC_CORE_VERSION_H


#include <stdio.h>

#include "../../version.h"


static inline void
version_print(void)
{
    printf("authsvc %s\n", MS_VERSION);
}


#endif /* AUTHSVC_CORE_VERSION_H */
