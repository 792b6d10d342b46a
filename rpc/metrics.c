/*
 * The listener of a service's metrics.
 */

#include "rpc/metrics.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc/call.h"


#define METRICS_TIMEOUT  5000           /* ms for one client */
#define METRICS_PAUSE    100            /* ms after accept() has failed */
#define METRICS_REQUEST  8192           /* bytes of its header */
#define METRICS_HEAD     256


struct rpc_metrics_s {
    rpc_server_t    *server;
    rpc_metrics_pt   write;
    void            *data;
    int              listener;
    int              quit;              /* eventfd */
    pthread_t        thread;
};

/* A page, written on the server's thread. */
typedef struct {
    rpc_metrics_t   *metrics;
    char            *text;              /* NULL: out of memory */
    size_t           len;
    sem_t            done;
} metrics_page_t;


static int metrics_listen(const char *address, char *error, size_t size);
static struct addrinfo *metrics_resolve(const char *address);
static int metrics_thread_start(rpc_metrics_t *metrics);
static void *metrics_thread(void *data);
static void metrics_serve(rpc_metrics_t *metrics, int fd);
static bool metrics_wait(const rpc_metrics_t *metrics, int fd, short events,
    int64_t until);
static int metrics_read(const rpc_metrics_t *metrics, int fd,
    char request[METRICS_REQUEST], int64_t until);
static void metrics_answer(rpc_metrics_t *metrics, int fd,
    const char *request, int64_t until);
static void metrics_send(const rpc_metrics_t *metrics, int fd,
    const char *text, size_t len, int64_t until);
static void metrics_page(rpc_metrics_t *metrics, metrics_page_t *page);
static void metrics_page_write(void *data);
static void metrics_calls(const rpc_server_t *server, FILE *out);


static const int  metrics_bounds[RPC_TIMES_BOUNDS] = {
    5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000
};

static const char *const  metrics_codes[RPC_CODES] = {
    "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded",
    "NotFound", "AlreadyExists", "PermissionDenied", "ResourceExhausted",
    "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented",
    "Internal", "Unavailable", "DataLoss", "Unauthenticated"
};


rpc_metrics_t *
rpc_metrics_start(rpc_server_t *server, const char *address,
    rpc_metrics_pt write, void *data, char *error, size_t size)
{
    int             rc;
    rpc_metrics_t  *metrics;

    metrics = calloc(1, sizeof(rpc_metrics_t));
    if (metrics == NULL) {
        snprintf(error, size, "out of memory");
        return NULL;
    }

    metrics->server = server;
    metrics->write = write;
    metrics->data = data;
    metrics->quit = -1;
    metrics->listener = metrics_listen(address, error, size);

    if (metrics->listener == -1) {
        free(metrics);
        return NULL;
    }

    metrics->quit = eventfd(0, EFD_CLOEXEC|EFD_NONBLOCK);

    rc = metrics->quit == -1 ? errno : metrics_thread_start(metrics);

    if (rc == 0) {
        return metrics;
    }

    snprintf(error, size, "cannot start the thread of the metrics: %s",
             strerror(rc));

    close(metrics->listener);

    if (metrics->quit != -1) {
        close(metrics->quit);
    }

    free(metrics);

    return NULL;
}


static int
metrics_listen(const char *address, char *error, size_t size)
{
    int               fd, saved;
    const int         on = 1;
    struct addrinfo  *found;

    found = metrics_resolve(address);

    if (found == NULL) {
        snprintf(error, size, "cannot serve metrics on %.256s: expected "
                 "host:port with a port from 0 to 65535", address);
        return -1;
    }

    fd = socket(found->ai_family, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0);

    if (fd == -1
        || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1
        || bind(fd, found->ai_addr, found->ai_addrlen) == -1
        || listen(fd, 16) == -1)
    {
        saved = errno;
        snprintf(error, size, "cannot serve metrics on %.256s: %s", address,
                 strerror(saved));

        if (fd != -1) {
            close(fd);
            fd = -1;
        }
    }

    freeaddrinfo(found);

    return fd;
}


/* NULL if it is no address. */

static struct addrinfo *
metrics_resolve(const char *address)
{
    char              host[256], *end;
    size_t            len;
    const char       *colon;
    struct addrinfo   hints, *found;

    colon = strrchr(address, ':');

    if (colon == NULL || colon == address || colon[1] < '0' || colon[1] > '9'
        || strtoul(colon + 1, &end, 10) > 65535 || *end != '\0')
    {
        return NULL;
    }

    len = (size_t) (colon - address);

    if (len > 2 && address[0] == '[' && colon[-1] == ']') {
        address++;
        len -= 2;
    }

    if (len >= sizeof(host)) {
        return NULL;
    }

    memcpy(host, address, len);
    host[len] = '\0';

    memset(&hints, 0, sizeof(hints));
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE|AI_NUMERICSERV;

    return getaddrinfo(host, colon + 1, &hints, &found) == 0 ? found : NULL;
}


/* The main thread handles signals.  0 or an errno. */

static int
metrics_thread_start(rpc_metrics_t *metrics)
{
    int       rc;
    sigset_t  all, old;

    sigfillset(&all);
    rc = pthread_sigmask(SIG_SETMASK, &all, &old);

    if (rc == 0) {
        rc = pthread_create(&metrics->thread, NULL, metrics_thread, metrics);
        (void) pthread_sigmask(SIG_SETMASK, &old, NULL);
    }

    return rc;
}


void
rpc_metrics_stop(rpc_metrics_t *metrics)
{
    if (metrics == NULL) {
        return;
    }

    (void) eventfd_write(metrics->quit, 1);
    pthread_join(metrics->thread, NULL);

    close(metrics->listener);
    close(metrics->quit);
    free(metrics);
}


int
rpc_metrics_port(const rpc_metrics_t *metrics)
{
    char                      port[NI_MAXSERV];
    socklen_t                 len;
    struct sockaddr_storage   address;

    len = sizeof(address);

    if (getsockname(metrics->listener, (struct sockaddr *) &address, &len)
        == -1
        || getnameinfo((struct sockaddr *) &address, len, NULL, 0, port,
                       sizeof(port), NI_NUMERICSERV)
           != 0)
    {
        return 0;
    }

    return atoi(port);
}


static void *
metrics_thread(void *data)
{
    int             fd;
    rpc_metrics_t  *metrics = data;

    while (metrics_wait(metrics, metrics->listener, POLLIN, INT64_MAX)) {
        fd = accept4(metrics->listener, NULL, NULL,
                     SOCK_CLOEXEC|SOCK_NONBLOCK);

        if (fd != -1) {
            metrics_serve(metrics, fd);
            close(fd);

        } else if (errno != EAGAIN && errno != EINTR
                   && errno != ECONNABORTED)
        {
            /* no descriptor is free */

            (void) metrics_wait(metrics, -1, 0, rpc_now() + METRICS_PAUSE);
        }
    }

    return NULL;
}


/* False at rpc_metrics_stop() and after "until". */

static bool
metrics_wait(const rpc_metrics_t *metrics, int fd, short events,
    int64_t until)
{
    int            n;
    int64_t        left;
    struct pollfd  fds[2];

    fds[0].fd = metrics->quit;
    fds[0].events = POLLIN;
    fds[1].fd = fd;                     /* poll() ignores -1 */
    fds[1].events = events;

    do {
        left = until == INT64_MAX ? -1 : until - rpc_now();

        if (until != INT64_MAX && left <= 0) {
            return false;
        }

        n = poll(fds, 2, (int) left);
    } while (n == -1 && errno == EINTR);

    return n > 0 && fds[0].revents == 0;
}


static void
metrics_serve(rpc_metrics_t *metrics, int fd)
{
    char     request[METRICS_REQUEST];
    int64_t  until;

    until = rpc_now() + METRICS_TIMEOUT;

    if (metrics_read(metrics, fd, request, until) == 0) {
        metrics_answer(metrics, fd, request, until);
        (void) shutdown(fd, SHUT_WR);
    }
}


/* The header as a string; -1: it does not come, or is too long. */

static int
metrics_read(const rpc_metrics_t *metrics, int fd,
    char request[METRICS_REQUEST], int64_t until)
{
    size_t   len;
    ssize_t  n;

    len = 0;

    while (len < METRICS_REQUEST - 1
           && metrics_wait(metrics, fd, POLLIN, until))
    {
        n = recv(fd, request + len, METRICS_REQUEST - 1 - len, 0);

        if (n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR)) {
            return -1;
        }

        len += n > 0 ? (size_t) n : 0;
        request[len] = '\0';

        if (strstr(request, "\r\n\r\n") != NULL) {
            return 0;
        }
    }

    return -1;
}


static void
metrics_answer(rpc_metrics_t *metrics, int fd, const char *request,
    int64_t until)
{
    char             head[METRICS_HEAD];
    bool             only_head;
    const char      *status, *path;
    metrics_page_t   page;

    page.text = NULL;
    page.len = 0;
    only_head = strncmp(request, "HEAD ", 5) == 0;
    path = request + (only_head ? 5 : 4);

    if (!only_head && strncmp(request, "GET ", 4) != 0) {
        status = "405 Method Not Allowed";

    } else if (strncmp(path, "/metrics", 8) != 0
               || (path[8] != ' ' && path[8] != '?'))
    {
        status = "404 Not Found";

    } else {
        metrics_page(metrics, &page);
        status = page.text != NULL ? "200 OK" : "503 Service Unavailable";
    }

    snprintf(head, sizeof(head),
             "HTTP/1.1 %s\r\n"
             "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
             "Content-Length: %zu\r\n"
             "Connection: close\r\n\r\n", status, page.len);

    metrics_send(metrics, fd, head, strlen(head), until);

    if (!only_head) {
        metrics_send(metrics, fd, page.text, page.len, until);
    }

    free(page.text);
}


static void
metrics_send(const rpc_metrics_t *metrics, int fd, const char *text,
    size_t len, int64_t until)
{
    ssize_t  n;

    while (len > 0 && metrics_wait(metrics, fd, POLLOUT, until)) {
        n = send(fd, text, len, MSG_NOSIGNAL);

        if (n == -1 && errno != EAGAIN && errno != EINTR) {
            return;
        }

        if (n > 0) {
            text += n;
            len -= (size_t) n;
        }
    }
}


/* The server's thread writes it: what calls change needs no lock. */

static void
metrics_page(rpc_metrics_t *metrics, metrics_page_t *page)
{
    page->metrics = metrics;

    if (sem_init(&page->done, 0, 0) != 0) {
        return;
    }

    if (rpc_server_post(metrics->server, metrics_page_write, page) == 0) {
        while (sem_wait(&page->done) == -1 && errno == EINTR) { /* void */ }
    }

    sem_destroy(&page->done);
}


static void
metrics_page_write(void *data)
{
    FILE            *out;
    metrics_page_t  *page = data;

    out = open_memstream(&page->text, &page->len);

    if (out != NULL) {
        metrics_calls(page->metrics->server, out);

        if (page->metrics->write != NULL) {
            page->metrics->write(out, page->metrics->data);
        }

        if (fclose(out) != 0) {
            free(page->text);
            page->text = NULL;
            page->len = 0;
        }
    }

    sem_post(&page->done);
}


/* With the names that interceptors of gRPC use. */

static void
metrics_calls(const rpc_server_t *server, FILE *out)
{
    size_t               i;
    const char          *slash;
    const rpc_method_t  *method;

    rpc_metrics_family(out, "grpc_server_handled_total", "counter",
                       "calls that ended, by method and status");

    for (method = server->methods; method != NULL; method = method->next) {
        slash = strrchr(method->path, '/');

        for (i = 0; i < RPC_CODES; i++) {

            if (i != 0 && method->ended[i] == 0) {
                continue;
            }

            fprintf(out, "grpc_server_handled_total{grpc_service=\"%.*s\","
                    "grpc_method=\"%s\",grpc_code=\"%s\"} %llu\n",
                    (int) (slash - method->path - 1), method->path + 1,
                    slash + 1, metrics_codes[i], method->ended[i]);
        }
    }
}


void
rpc_times_add(rpc_times_t *times, int64_t ms)
{
    size_t  i;

    for (i = 0; i < RPC_TIMES_BOUNDS && ms > metrics_bounds[i]; i++) {
        /* the first bound that is not below */
    }

    atomic_fetch_add(&times->buckets[i], 1);
    atomic_fetch_add(&times->sum, (unsigned long long) ms);
}


void
rpc_metrics_family(FILE *out, const char *name, const char *type,
    const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}


void
rpc_metrics_times(FILE *out, const char *name, const char *help,
    rpc_times_t *times)
{
    size_t              i;
    unsigned long long  count, sum;

    rpc_metrics_family(out, name, "histogram", help);
    count = 0;

    for (i = 0; i < RPC_TIMES_BOUNDS; i++) {
        count += atomic_load(&times->buckets[i]);
        fprintf(out, "%s_bucket{le=\"%d.%03d\"} %llu\n", name,
                metrics_bounds[i] / 1000, metrics_bounds[i] % 1000, count);
    }

    count += atomic_load(&times->buckets[RPC_TIMES_BOUNDS]);
    sum = atomic_load(&times->sum);

    fprintf(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %llu.%03llu\n"
            "%s_count %llu\n", name, count, name, sum / 1000, sum % 1000,
            name, count);
}
