/*
 * The life of a service: signals, listening, draining, the end.  The main
 * thread waits here; calls run on the server's thread.
 */

#include "rpc/run.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "rpc/core.h"
#include "rpc/log.h"
#include "rpc/notify.h"


/* Milliseconds from NOT_SERVING to the stop. */
#define RUN_LINGER  100


struct rpc_run_s {
    int   signals;              /* signalfd */
    int   quit;                 /* eventfd */
    bool  signalled;            /* a signal asked for the stop */
};

typedef struct {
    const rpc_run_options_t  *options;
    sem_t                     done;
} run_drain_t;


static void run_raise_limit(void);
static int run_signals(rpc_run_t *run, bool reload);
static int run_listen(rpc_server_t *server, const rpc_run_options_t *options);
static int run_metrics(rpc_server_t *server, const rpc_run_options_t *options,
    rpc_metrics_t **metrics);
static bool run_address_valid(const char *address);
static void run_address(char *out, size_t size, const char *listen, int port);
static bool run_wait(rpc_run_t *run, const rpc_run_options_t *options);
static void run_leave(const rpc_run_t *run, rpc_server_t *server,
    const rpc_run_options_t *options);
static void run_end_at_signal(void);
static void run_end(int signo);
static void run_drain(rpc_server_t *server, const rpc_run_options_t *options);
static void run_drain_post(void *data);


rpc_run_t *
rpc_run_create(void)
{
    int               saved;
    sigset_t          set;
    rpc_run_t        *run;
    struct sigaction  ignore;

    run_raise_limit();

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);

    memset(&ignore, 0, sizeof(ignore));
    ignore.sa_handler = SIG_IGN;

    run = malloc(sizeof(rpc_run_t));
    if (run == NULL) {
        return NULL;
    }

    run->signals = -1;
    run->quit = -1;
    run->signalled = false;

    /* the threads of the core inherit the mask */

    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0
        || sigaction(SIGPIPE, &ignore, NULL) != 0)
    {
        goto failed;
    }

    run->quit = eventfd(0, EFD_CLOEXEC|EFD_NONBLOCK);

    if (run->quit == -1 || run_signals(run, false) != 0) {
        goto failed;
    }

    return run;

failed:

    saved = errno;
    rpc_run_free(run);
    errno = saved;

    return NULL;
}


/* Each connection takes a descriptor. */

static void
run_raise_limit(void)
{
    struct rlimit  limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0
        && limit.rlim_cur < limit.rlim_max)
    {
        limit.rlim_cur = limit.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &limit);
    }
}


static int
run_signals(rpc_run_t *run, bool reload)
{
    sigset_t  set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);

    if (reload) {
        sigaddset(&set, SIGHUP);
        sigaddset(&set, SIGUSR1);
    }

    run->signals = signalfd(run->signals, &set, SFD_CLOEXEC|SFD_NONBLOCK);

    return run->signals != -1 ? 0 : -1;
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
    int             port;
    char            address[256];
    rpc_metrics_t  *metrics;

    if (run_signals(run, options->reload != NULL) != 0) {
        log_error("signalfd() failed: %s", strerror(errno));
        grpc_server_credentials_release(options->credentials);
        return -1;
    }

    port = run_listen(server, options);

    if (port == 0) {
        return -1;
    }

    if (run_metrics(server, options, &metrics) != 0) {
        return -1;
    }

    if (options->health != NULL) {
        rpc_health_set(options->health, true);
    }

    rpc_core_log(run->quit);

    if (rpc_server_start(server) != 0) {
        log_error("cannot start the server");
        rpc_metrics_stop(metrics);
        return -1;
    }

    run_address(address, sizeof(address), options->listen, port);
    log_info("listening on %s", address);
    rpc_notify("READY=1");

    if (options->warning != NULL) {
        log_warn("%s", options->warning);
    }

    run->signalled = run_wait(run, options);

    if (run->signalled) {
        rpc_notify("STOPPING=1");
    }

    if (rpc_core_accept_failed()) {
        log_error("listener %s is dead: accept() failed; ending with status "
                  "1, to be started again", address);
    }

    run_end_at_signal();

    if (run->signalled && options->leave != NULL) {
        run_leave(run, server, options);
    }

    run_drain(server, options);
    rpc_metrics_stop(metrics);

    if (rpc_server_stop(server, options->grace) != 0) {
        log_warn("cancelled the calls that still ran after %" PRId64 " ms",
                 options->grace);
    }

    log_info("stopped");

    return rpc_core_accept_failed() ? -1 : 0;
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


static int
run_metrics(rpc_server_t *server, const rpc_run_options_t *options,
    rpc_metrics_t **metrics)
{
    char  error[512], address[256];

    *metrics = NULL;

    if (options->metrics == NULL) {
        return 0;
    }

    *metrics = rpc_metrics_start(server, options->metrics, options->write,
                                 options->data, error, sizeof(error));
    if (*metrics == NULL) {
        log_error("%s", error);
        return -1;
    }

    run_address(address, sizeof(address), options->metrics,
                rpc_metrics_port(*metrics));
    log_info("serving metrics on %s", address);

    return 0;
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
run_address(char *out, size_t size, const char *listen, int port)
{
    size_t  len;

    len = strlen(listen);

    if (strncmp(listen, "unix:", 5) != 0 && len > 2
        && strcmp(listen + len - 2, ":0") == 0)
    {
        snprintf(out, size, "%.*s:%d", (int) len - 2, listen, port);

    } else {
        snprintf(out, size, "%s", listen);
    }
}


/* True at a signal. */

static bool
run_wait(rpc_run_t *run, const rpc_run_options_t *options)
{
    struct pollfd            fds[2];
    struct signalfd_siginfo  info;

    fds[0].fd = run->signals;
    fds[0].events = POLLIN;
    fds[1].fd = run->quit;
    fds[1].events = POLLIN;

    for ( ;; ) {

        if (poll(fds, 2, -1) == -1) {
            if (errno == EINTR) {
                continue;
            }

            log_error("poll() failed: %s", strerror(errno));
            return false;
        }

        if (read(run->signals, &info, sizeof(info)) != (ssize_t) sizeof(info))
        {
            log_info("draining");
            return false;
        }

        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) {
            log_info("draining on signal %" PRIu32 ", one more ends it at "
                     "once", info.ssi_signo);
            return true;
        }

        /* SIGHUP, which is not taken without a function to reload */
        if (options->reload != NULL) {
            options->reload(options->data);
        }
    }
}


static void
run_leave(const rpc_run_t *run, rpc_server_t *server,
    const rpc_run_options_t *options)
{
    int64_t                  end, left;
    struct pollfd            fds[2];
    struct signalfd_siginfo  info;

    if (rpc_server_post(server, options->leave, options->data) != 0) {
        return;
    }

    fds[0].fd = run->signals;
    fds[0].events = POLLIN;
    fds[1].fd = run->quit;
    fds[1].events = POLLIN;
    end = rpc_now() + options->patience;

    while ((left = end - rpc_now()) > 0) {
        fds[1].revents = 0;
        (void) poll(fds, 2, left < INT_MAX ? (int) left : INT_MAX);

        if (fds[1].revents != 0) {
            return;
        }

        /* SIGHUP: the others have a handler by now */
        if (read(run->signals, &info, sizeof(info)) == (ssize_t) sizeof(info)
            && options->reload != NULL)
        {
            options->reload(options->data);
        }
    }
}


/* A handler is needed: the first process of a container ignores signals that
 * have none. */

static void
run_end_at_signal(void)
{
    sigset_t          set;
    struct sigaction  end;

    memset(&end, 0, sizeof(end));
    end.sa_handler = run_end;
    (void) sigaction(SIGTERM, &end, NULL);
    (void) sigaction(SIGINT, &end, NULL);

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    (void) pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}


static void
run_end(int signo)
{
    (void) signo;

    _exit(EXIT_SUCCESS);
}


/*
 * Health says NOT_SERVING first.  Then calls that are on their way are answered
 * for a moment: the core cancels those that come after its stop has begun.
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


bool
rpc_run_signalled(const rpc_run_t *run)
{
    return run->signalled;
}


void
rpc_run_quit(rpc_run_t *run)
{
    (void) eventfd_write(run->quit, 1);
}
