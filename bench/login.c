/*
 * What the time of a Login reveals, and what logins cost other calls.
 * bench/logins runs it against an authsvc of its own.
 *
 *     login times TARGET N      unknown users, wrong passwords of users and
 *                               logins that are held, in turn
 *     login load TARGET SECONDS CLIENTS
 *                               good logins without a pause; meanwhile health
 *                               checks every few milliseconds.  Prints logins
 *                               per second, and p50, p99, maximum in ms
 *     login flood TARGET SECONDS CLIENTS
 *                               held logins without a pause; meanwhile good
 *                               ones of another user
 */

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "health.pb-c.h"
#include "my_service.pb-c.h"
#include "rpc/client.h"


#define LOGIN_PATH      "/my_service.MyServiceAPI/Login"
#define CHECK_PATH      "/grpc.health.v1.Health/Check"
#define LOGIN_TIMEOUT   60000           /* ms */
#define LOGIN_USERS     30              /* user0, user1, ... of bench/logins */
#define LOGIN_PROBE     5               /* ms between health checks */
#define LOGIN_PROBES    200000
#define LOGIN_FAILURES  40              /* --login-failures of bench/logins */
#define LOGIN_HOLD      100             /* failures that hold an address */
#define LOGIN_ADDRESS   "192.0.2.1"     /* the one that is held */

typedef enum {
    LOGIN_UNKNOWN = 0,
    LOGIN_WRONG,
    LOGIN_HELD,
    LOGIN_KINDS
} login_kind_t;

static const char *const  login_names[LOGIN_KINDS] = {
    "unknown user", "wrong password", "held"
};

typedef struct {
    pthread_t      thread;
    const char    *target;
    atomic_bool   *stop;
    long           done;
    long           full;
} login_client_t;


static double
login_now(void)
{
    struct timespec  now;

    clock_gettime(CLOCK_MONOTONIC, &now);

    return (double) now.tv_sec * 1e3 + (double) now.tv_nsec / 1e6;
}


/* "address" NULL: that of this machine. */
static int
login_from(rpc_client_t *client, const char *address, const char *user,
    const char *password)
{
    int                       code;
    rpc_metadata_t            from = { "x-real-ip", address };
    rpc_result_t              result;
    ProtobufCMessage         *response;
    MyService__LoginRequest   request = MY_SERVICE__LOGIN_REQUEST__INIT;

    request.username = (char *) user;
    request.password = (char *) password;
    request.session_id = (char *) "bench";

    response = rpc_client_unary(client, LOGIN_PATH, &from, address != NULL,
                                LOGIN_TIMEOUT, &request.base,
                                &my_service__login_response__descriptor,
                                &result);
    if (response != NULL) {
        protobuf_c_message_free_unpacked(response, NULL);
    }

    code = (int) result.code;
    rpc_result_free(&result);

    return code;
}


static int
login_call(rpc_client_t *client, const char *user, const char *password)
{
    return login_from(client, NULL, user, password);
}


static void
login_expect(int code, int expected, const char *what)
{
    if (code != expected) {
        fprintf(stderr, "login: %s: code %d instead of %d\n", what, code,
                expected);
        exit(1);
    }
}


static int
login_compare(const void *a, const void *b)
{
    const double  *x, *y;

    x = a;
    y = b;

    return *x < *y ? -1 : *x > *y;
}


static void
login_row(const char *name, double *ms, size_t n)
{
    size_t  i;

    static const unsigned  quantiles[] = { 5, 25, 50, 75, 95, 99 };

    qsort(ms, n, sizeof(double), login_compare);
    printf("%-16s", name);
    for (i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
        printf(" %8.2f", ms[(n - 1) * quantiles[i] / 100]);
    }
    printf(" %8.2f\n", ms[n - 1]);
}


/*
 * Mann-Whitney: how often one of "a" takes longer than one of "b"; 0.5 is
 * "cannot be told apart".  "z" is how many standard deviations chance would
 * have to explain.  Both are sorted.
 */
static void
login_test(const char *what, const double *a, const double *b, size_t n)
{
    double  u, sigma;
    size_t  i, below, same;

    u = 0;

    for (i = 0, below = 0; i < n; i++) {
        while (below < n && b[below] < a[i]) {
            below++;
        }
        for (same = below; same < n && b[same] <= a[i]; same++) {
            /* void */
        }
        u += (double) below + (double) (same - below) / 2;
    }

    sigma = sqrt((double) n * (double) n * (double) (2 * n + 1) / 12);
    printf("%-34s takes longer with probability %.3f, z = %+.1f\n", what,
           u / ((double) n * (double) n),
           (u - (double) n * (double) n / 2) / sigma);
}


static void
login_one(rpc_client_t *client, login_kind_t kind, size_t i)
{
    char  user[32];

    snprintf(user, sizeof(user), kind == LOGIN_UNKNOWN ? "nobody%d"
             : "user%d", kind == LOGIN_UNKNOWN ? (int) i
                                               : (int) (i % LOGIN_USERS));

    login_expect(login_call(client, kind == LOGIN_HELD ? "victim" : user,
                            kind == LOGIN_HELD ? "secret" : "wrong"),
                 7, login_names[kind]);
}


/* The order within a round is by chance, so that none follows another. */
static int
login_times(const char *target, size_t n)
{
    double         *ms[LOGIN_KINDS], start;
    size_t          i, k, first;
    rpc_client_t   *client;
    login_kind_t    kind;

    client = rpc_client_create(target, NULL);
    login_expect(login_call(client, "user0", "secret"), 0, "good");

    for (i = 0; i < LOGIN_FAILURES; i++) {
        login_expect(login_call(client, "victim", "wrong"), 7, "victim");
    }

    for (kind = LOGIN_UNKNOWN; kind < LOGIN_KINDS; kind++) {
        ms[kind] = calloc(n, sizeof(double));
        if (ms[kind] == NULL) {
            return 1;
        }
    }

    for (i = 0; i < n; i++) {
        first = (size_t) rand();
        for (k = 0; k < LOGIN_KINDS; k++) {
            kind = (login_kind_t) ((first + (first / 8 % 2 ? k : 2 * k))
                                   % LOGIN_KINDS);
            start = login_now();
            login_one(client, kind, i);
            ms[kind][i] = login_now() - start;
        }
    }

    printf("ms of %zu each         p5      p25      p50      p75      p95"
           "      p99      max\n", n);
    for (kind = LOGIN_UNKNOWN; kind < LOGIN_KINDS; kind++) {
        login_row(login_names[kind], ms[kind], n);
    }

    login_test("an unknown user, not a wrong password", ms[LOGIN_UNKNOWN],
               ms[LOGIN_WRONG], n);
    login_test("a held login, not a wrong password", ms[LOGIN_HELD],
               ms[LOGIN_WRONG], n);

    for (kind = LOGIN_UNKNOWN; kind < LOGIN_KINDS; kind++) {
        free(ms[kind]);
    }
    rpc_client_free(client);

    return 0;
}


static void *
login_thread(void *data)
{
    rpc_client_t    *client;
    login_client_t  *c;

    c = data;
    client = rpc_client_create(c->target, NULL);

    while (!atomic_load(c->stop)) {
        login_expect(login_call(client, "user0", "secret"), 0, "good");
        c->done++;
    }

    rpc_client_free(client);

    return NULL;
}


static double
login_probe(rpc_client_t *client)
{
    double                                start;
    rpc_result_t                          result;
    ProtobufCMessage                     *response;
    Grpc__Health__V1__HealthCheckRequest  request
        = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;

    start = login_now();
    response = rpc_client_unary(client, CHECK_PATH, NULL, 0, LOGIN_TIMEOUT,
                   &request.base,
                   &grpc__health__v1__health_check_response__descriptor,
                   &result);
    login_expect((int) result.code, 0, "health");
    protobuf_c_message_free_unpacked(response, NULL);
    rpc_result_free(&result);

    return login_now() - start;
}


static int
login_load(const char *target, double seconds, size_t clients)
{
    long               done;
    double            *ms, start;
    size_t             i, n;
    atomic_bool        stop;
    rpc_client_t      *client;
    login_client_t    *c;
    struct timespec    pause = { 0, LOGIN_PROBE * 1000000 };

    atomic_init(&stop, false);
    c = calloc(clients + 1, sizeof(login_client_t));
    ms = calloc(LOGIN_PROBES, sizeof(double));
    if (c == NULL || ms == NULL) {
        return 1;
    }

    for (i = 0; i < clients; i++) {
        c[i].target = target;
        c[i].stop = &stop;
        if (pthread_create(&c[i].thread, NULL, login_thread, &c[i]) != 0) {
            return 1;
        }
    }

    client = rpc_client_create(target, NULL);
    start = login_now();

    for (n = 0; n < LOGIN_PROBES && login_now() < start + seconds * 1e3; n++) {
        ms[n] = login_probe(client);
        (void) nanosleep(&pause, NULL);
    }

    seconds = (login_now() - start) / 1e3;
    atomic_store(&stop, true);
    done = 0;

    for (i = 0; i < clients; i++) {
        pthread_join(c[i].thread, NULL);
        done += c[i].done;
    }

    qsort(ms, n, sizeof(double), login_compare);
    printf("%.1f %.2f %.2f %.2f\n", (double) done / seconds, ms[n / 2],
           ms[n * 99 / 100], ms[n - 1]);

    rpc_client_free(client);
    free(ms);
    free(c);

    return 0;
}


/* Logs every user in at the address, then has the address held. */
static void
login_hold(rpc_client_t *client)
{
    int   i;
    char  user[32];

    for (i = 0; i < LOGIN_USERS; i++) {
        snprintf(user, sizeof(user), "user%d", i);
        login_expect(login_from(client, LOGIN_ADDRESS, user, "secret"), 0,
                     "good");
    }

    for (i = 0; i < LOGIN_HOLD; i++) {
        snprintf(user, sizeof(user), "hold%d", i);
        login_expect(login_from(client, LOGIN_ADDRESS, user, "wrong"), 7,
                     "hold");
    }
}


static void *
login_flooder(void *data)
{
    int              code;
    char             user[32];
    rpc_client_t    *client;
    login_client_t  *c;

    c = data;
    client = rpc_client_create(c->target, NULL);

    while (!atomic_load(c->stop)) {
        snprintf(user, sizeof(user), "nobody%ld", c->done + c->full);
        code = login_from(client, LOGIN_ADDRESS, user, "wrong");
        if (code == 8) {
            c->full++;
        } else {
            login_expect(code, 7, "flood");
            c->done++;
        }
    }

    rpc_client_free(client);

    return NULL;
}


static int
login_flood(const char *target, double seconds, size_t clients)
{
    int                code;
    long               done, full, refused;
    double            *ms, start, begin;
    size_t             i, n;
    atomic_bool        stop;
    rpc_client_t      *client;
    login_client_t    *c;
    struct timespec    pause = { 0, LOGIN_PROBE * 1000000 };

    atomic_init(&stop, false);
    c = calloc(clients + 1, sizeof(login_client_t));
    ms = calloc(LOGIN_PROBES, sizeof(double));
    client = rpc_client_create(target, NULL);
    if (c == NULL || ms == NULL) {
        return 1;
    }

    login_hold(client);

    for (i = 0; i < clients; i++) {
        c[i].target = target;
        c[i].stop = &stop;
        if (pthread_create(&c[i].thread, NULL, login_flooder, &c[i]) != 0) {
            return 1;
        }
    }

    begin = login_now();
    refused = 0;

    for (n = 0; n < LOGIN_PROBES && login_now() < begin + seconds * 1e3; ) {
        start = login_now();
        code = login_call(client, "user0", "secret");
        if (code == 8) {
            refused++;
        } else {
            login_expect(code, 0, "good");
            ms[n++] = login_now() - start;
        }
        (void) nanosleep(&pause, NULL);
    }

    seconds = (login_now() - begin) / 1e3;
    atomic_store(&stop, true);
    done = 0;
    full = 0;

    for (i = 0; i < clients; i++) {
        pthread_join(c[i].thread, NULL);
        done += c[i].done;
        full += c[i].full;
    }

    printf("beside %.0f refused and %.0f too many per second: %ld good logins "
           "too many\n", (double) done / seconds, (double) full / seconds,
           refused);
    if (n > 0) {
        login_row("good logins, ms", ms, n);
    }

    rpc_client_free(client);
    free(ms);
    free(c);

    return 0;
}


int
main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "times") == 0) {
        return login_times(argv[2], (size_t) atol(argv[3]));
    }

    if (argc == 5 && strcmp(argv[1], "load") == 0) {
        return login_load(argv[2], atof(argv[3]), (size_t) atol(argv[4]));
    }

    if (argc == 5 && strcmp(argv[1], "flood") == 0) {
        return login_flood(argv[2], atof(argv[3]), (size_t) atol(argv[4]));
    }

    fprintf(stderr, "usage: login times TARGET N\n"
            "       login load|flood TARGET SECONDS CLIENTS\n");

    return 2;
}
