#ifndef AUTHSVC_VERSION_H
#define AUTHSVC_VERSION_H


#include <stdio.h>


#ifndef VERSION
#define VERSION  "0.1.0"
#endif


static inline void
version_print(void)
{
    printf("authsvc %s\n", VERSION);
}


#endif /* AUTHSVC_VERSION_H */
