/*
 * Start of the gRPC library and its log lines, which go to ours.  A line of its
 * listener that says why it gives up ends the service (rpc/run.c).
 */

#include "rpc/core.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>

#include <grpc/grpc.h>
#include <grpc/support/log.h>

#include "rpc/log.h"
#include "rpc/server.h"


/* so many errors are logged in a period of so many ms */
#define CORE_ERRORS  10
#define CORE_PERIOD  10000

/* the source file of the listener */
#define CORE_LISTENER  "/tcp_server_posix.cc"


static void core_quiet(void);
static void core_log(gpr_log_func_args *args);
static bool core_is_death(const gpr_log_func_args *args);
static void core_error(const char *message);


static bool         core_asked;         /* by GRPC_VERBOSITY */
static int          core_event;
static atomic_bool  core_accept_failed;


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
    const char  *verbosity;

    verbosity = getenv("GRPC_VERBOSITY");

    /* without its errors a listener could die unnoticed */
    core_asked = verbosity != NULL && strcasecmp(verbosity, "NONE") != 0;
    (void) setenv("GRPC_VERBOSITY", "NONE", 0);
}


void
rpc_core_log(int accept_failed)
{
    core_event = accept_failed;
    gpr_set_log_function(core_log);

    if (!core_asked) {
        gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
    }
}


bool
rpc_core_accept_failed(void)
{
    return atomic_load(&core_accept_failed);
}


/* On any thread of the core. */

static void
core_log(gpr_log_func_args *args)
{
    switch (args->severity) {

    case GPR_LOG_SEVERITY_ERROR:
        if (core_is_death(args)) {
            atomic_store(&core_accept_failed, true);
            (void) eventfd_write(core_event, 1);
        }

        core_error(args->message);
        break;

    case GPR_LOG_SEVERITY_INFO:
        log_info("grpc: %s", args->message);
        break;

    case GPR_LOG_SEVERITY_DEBUG:
        log_debug("grpc: %s", args->message);
        break;
    }
}


/*
 * The file decides, which no client chooses: other lines can hold a client's
 * text, as the server name of its TLS.
 */

static bool
core_is_death(const gpr_log_func_args *args)
{
    size_t  i, len;

    static const char  *deaths[] = {
        "Failed accept4: ", "Failed getsockname: ", "Invalid address: "
    };

    len = strlen(args->file);

    if (len < strlen(CORE_LISTENER)
        || strcmp(args->file + len - strlen(CORE_LISTENER), CORE_LISTENER)
           != 0)
    {
        return false;
    }

    for (i = 0; i < sizeof(deaths) / sizeof(deaths[0]); i++) {
        if (strncmp(args->message, deaths[i], strlen(deaths[i])) == 0) {
            return true;
        }
    }

    return false;
}


/* Clients can cause them. */

static void
core_error(const char *message)
{
    bool                    shown;
    int64_t                 now;
    uint64_t                more;
    static int64_t          end;
    static uint64_t         n;          /* in the period up to "end" */
    static pthread_mutex_t  mutex = PTHREAD_MUTEX_INITIALIZER;

    now = rpc_now();
    more = 0;

    pthread_mutex_lock(&mutex);

    if (now >= end) {
        more = n > CORE_ERRORS ? n - CORE_ERRORS : 0;
        n = 0;
        end = now + CORE_PERIOD;
    }

    shown = ++n <= CORE_ERRORS;

    pthread_mutex_unlock(&mutex);

    if (more > 0) {
        log_error("grpc: %" PRIu64 " more errors were left out", more);
    }

    if (shown) {
        log_error("grpc: %s", message);
    }
}
