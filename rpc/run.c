#include "rpc/run.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "rpc/log.h"


/* Milliseconds from NOT_SERVING to the stop. */
#define RUN_LINGER  100


struct rpc_run_s {
    int  signals;               /* signalfd */
    int  quit;                  /* eventfd */
};

typedef struct {
    const rpc_run_options_t  *options;
    sem_t                     done;
} run_drain_t;


static int run_listen(rpc_server_t *server, const rpc_run_options_t *options);
static bool run_address_valid(const char *address);
static void run_log_address(const char *listen, int port);
static void run_wait(rpc_run_t *run);
static void run_drain(rpc_server_t *server, const rpc_run_options_t *options);
static void run_drain_post(void *data);


rpc_run_t *
rpc_run_create(void)
{
    int               saved;
    sigset_t          set;
    rpc_run_t        *run;
    struct sigaction  ignore;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);

    memset(&ignore, 0, sizeof(ignore));
    ignore.sa_handler = SIG_IGN;

    run = malloc(sizeof(rpc_run_t));
    if (run == NULL) {
        return NULL;
    }

    run->signals = -1;
    run->quit = -1;

    /* the threads of the core inherit the mask */

    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0
        || sigaction(SIGPIPE, &ignore, NULL) != 0)
    {
        goto failed;
    }

    run->signals = signalfd(-1, &set, SFD_CLOEXEC|SFD_NONBLOCK);
    run->quit = eventfd(0, EFD_CLOEXEC|EFD_NONBLOCK);

    if (run->signals == -1 || run->quit == -1) {
        goto failed;
    }

    return run;

failed:

    saved = errno;
    rpc_run_free(run);
    errno = saved;

    return NULL;
}


void
rpc_run_free(rpc_run_t *run)
{
    if (run == NULL) {
        return;
    }

    if (run->signals != -1) {
        close(run->signals);
    }

    if (run->quit != -1) {
        close(run->quit);
    }

    free(run);
}


int
rpc_run(rpc_run_t *run, rpc_server_t *server,
    const rpc_run_options_t *options)
{
    int  port;

    port = run_listen(server, options);

    if (port == 0) {
        return -1;
    }

    if (options->health != NULL) {
        rpc_health_set(options->health, true);
    }

    if (rpc_server_start(server) != 0) {
        log_error("cannot start the server");
        return -1;
    }

    run_log_address(options->listen, port);
    run_wait(run);
    run_drain(server, options);

    if (rpc_server_stop(server, options->grace) != 0) {
        log_warn("cancelled the calls that still ran after %" PRId64 " ms",
                 options->grace);
    }

    log_info("stopped");

    return 0;
}


static int
run_listen(rpc_server_t *server, const rpc_run_options_t *options)
{
    int  port;

    if (!run_address_valid(options->listen)) {
        log_error("cannot listen on %s: expected host:port with a port from "
                  "0 to 65535, or unix:/path", options->listen);
        grpc_server_credentials_release(options->credentials);
        return 0;
    }

    port = rpc_server_listen(server, options->listen, options->credentials);

    if (port == 0) {
        log_error("cannot listen on %s: not an address of this host, "
                  "in use, or not permitted", options->listen);
    }

    return port;
}


/* The core takes the lower 16 bits of any number for a port. */

static bool
run_address_valid(const char *address)
{
    char           *end;
    const char     *colon;
    unsigned long   port;

    if (strncmp(address, "unix:", 5) == 0) {
        return address[5] != '\0';
    }

    colon = strrchr(address, ':');

    if (colon == NULL || colon == address || colon[1] < '0' || colon[1] > '9')
    {
        return false;
    }

    port = strtoul(colon + 1, &end, 10);

    return *end == '\0' && port <= 65535;
}


/* With the port that port 0 has become. */

static void
run_log_address(const char *listen, int port)
{
    const char  *colon;

    colon = strrchr(listen, ':');

    if (colon != NULL && strcmp(colon, ":0") == 0) {
        log_info("listening on %.*s:%d", (int) (colon - listen), listen, port);

    } else {
        log_info("listening on %s", listen);
    }
}


static void
run_wait(rpc_run_t *run)
{
    struct pollfd            fds[2];
    struct signalfd_siginfo  info;

    fds[0].fd = run->signals;
    fds[0].events = POLLIN;
    fds[1].fd = run->quit;
    fds[1].events = POLLIN;

    while (poll(fds, 2, -1) == -1) {
        if (errno != EINTR) {
            log_error("poll() failed: %s", strerror(errno));
            return;
        }
    }

    if (read(run->signals, &info, sizeof(info)) == (ssize_t) sizeof(info)) {
        log_info("draining on signal %" PRIu32, info.ssi_signo);

    } else {
        log_info("draining");
    }
}


/*
 * Health first, then a moment in which calls that were on their way are still
 * answered: the core cancels those that come after its stop has begun.
 */

static void
run_drain(rpc_server_t *server, const rpc_run_options_t *options)
{
    run_drain_t  drain;

    drain.options = options;

    if (sem_init(&drain.done, 0, 0) != 0) {
        return;
    }

    if (rpc_server_post(server, run_drain_post, &drain) == 0) {
        while (sem_wait(&drain.done) == -1 && errno == EINTR) { /* void */ }
        (void) poll(NULL, 0, RUN_LINGER);
    }

    sem_destroy(&drain.done);
}


static void
run_drain_post(void *data)
{
    run_drain_t              *drain = data;
    const rpc_run_options_t  *options;

    options = drain->options;

    if (options->health != NULL) {
        rpc_health_drain(options->health);
    }

    if (options->drain != NULL) {
        options->drain(options->data);
    }

    sem_post(&drain->done);
}


void
rpc_run_quit(rpc_run_t *run)
{
    (void) eventfd_write(run->quit, 1);
}
