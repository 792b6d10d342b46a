#include <pthread.h>
#include <stdlib.h>

#include <grpc/grpc.h>

#include "rpc/core.h"


static void core_quiet(void);


void
rpc_core_init(void)
{
    static pthread_once_t  once = PTHREAD_ONCE_INIT;

    pthread_once(&once, core_quiet);
    grpc_init();
}


static void
core_quiet(void)
{
    (void) setenv("GRPC_VERBOSITY", "NONE", 0);
}
