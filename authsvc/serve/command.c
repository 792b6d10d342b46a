/*
 * "authsvc serve": parses the options, makes the parts of the server, runs it,
 * and frees the parts.
 */

#include "authsvc/serve/command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <curl/curl.h>
#include <sodium.h>

#include "authsvc/core/version.h"
#include "authsvc/keys/ring.h"
#include "authsvc/login/backoff.h"
#include "authsvc/login/password.h"
#include "authsvc/revoke/courier.h"
#include "authsvc/serve/cores.h"
#include "authsvc/serve/keeper.h"
#include "authsvc/serve/service.h"
#include "authsvc/serve/workers.h"
#include "authsvc/store/store.h"
#include "rpc/health.h"
#include "rpc/log.h"
#include "rpc/options.h"
#include "rpc/reflection.h"
#include "rpc/run.h"
#include "rpc/tls.h"


#define SERVE_THREADS        64
#define SERVE_THREADS_ASKED  1000000
#define SERVE_MAX_MESSAGE    (64 * 1024)
#define SERVE_ERROR          512
#define SERVE_LOOK           1000       /* ms between two looks at files */
#define SERVE_SEND           2000       /* ms between attempts at gateways */


typedef struct {
    const char       *config;
    const char       *listen;
    const char       *store;
    const char       *issuer;
    const char       *proxies;
    keyring_options_t keys;
    audit_options_t   audit;
    gateways_tls_t    gateways;
    rpc_tls_files_t   tls;
    rpc_server_options_t  server;
    const char       *metrics;
    int64_t           token_ttl;        /* ms */
    int64_t           threads;
    int64_t           queue;
    int64_t           nice;
    int64_t           failures;
    int64_t           backoff;          /* ms */
    int64_t           backoff_max;      /* ms */
    int64_t           drain_timeout;    /* ms */
    log_options_t     log;
} serve_options_t;

typedef struct {
    issuer_t           issuer;
    address_nets_t     proxies;
    audit_t           *audit;           /* NULL: none */
    service_t          service;
    backoff_t         *backoff;         /* NULL: off */
    size_t             n;               /* open stores, one per thread */
    void              *stores[SERVE_THREADS];
    rpc_tls_t         *tls;             /* NULL: plaintext */
    rpc_server_t      *server;
    rpc_health_t      *health;
    rpc_reflection_t  *reflection;
    keeper_t          *keeper;
    courier_t         *courier;
} serve_t;


static serve_options_t  opts;
static char             serve_default_threads[12];

static const option_t  serve_table[] = {
    { "config FILE", "AUTHSVC_CONFIG", OPTION_CONFIG, &opts.config, NULL, 0,
      0, "NAME=value lines; the names are those below" },
    { "listen ADDRESS", "AUTHSVC_LISTEN", OPTION_STRING, &opts.listen,
      "127.0.0.1:5001", 1, 255, "address to serve gRPC on" },
    { "store STORE", "AUTHSVC_STORE", OPTION_STRING, &opts.store, NULL, 1,
      4095, "users: SQLite file, made if missing, or postgresql:// URL; "
      "required" },
    KEYRING_OPTIONS(&opts.keys),
    { "token-ttl", "AUTHSVC_TOKEN_TTL", OPTION_TIME, &opts.token_ttl, "1h",
      1000, INT64_C(366) * 86400 * 1000, "life of a token" },
    { "issuer NAME", "AUTHSVC_ISSUER", OPTION_STRING, &opts.issuer,
      "myservice", 1, 255, "claim \"iss\" of tokens" },
    { "hash-threads", "AUTHSVC_HASH_THREADS", OPTION_NUMBER, &opts.threads,
      serve_default_threads, 1, SERVE_THREADS_ASKED,
      "threads that hash passwords, at most one per core (and 64)" },
    { "login-queue", "AUTHSVC_LOGIN_QUEUE", OPTION_NUMBER, &opts.queue, "128",
      1, 65536, "logins that may wait for such a thread" },
    { "hash-nice", "AUTHSVC_HASH_NICE", OPTION_NUMBER, &opts.nice, "10", 0,
      19, "how much nicer these threads are than the others" },
    { "login-failures", "AUTHSVC_LOGIN_FAILURES", OPTION_NUMBER,
      &opts.failures, "5", 0, 10000,
      "failures that hold a user at an address; 0: never" },
    { "login-backoff", "AUTHSVC_LOGIN_BACKOFF", OPTION_TIME, &opts.backoff,
      "1s", 1, 24 * 3600 * 1000,
      "how long the first hold lasts; every failure doubles it" },
    { "login-backoff-max", "AUTHSVC_LOGIN_BACKOFF_MAX", OPTION_TIME,
      &opts.backoff_max, "15m", 1, 24 * 3600 * 1000,
      "the longest hold; authsvc forgets one failure in this time" },
    { "drain-timeout", "AUTHSVC_DRAIN_TIMEOUT", OPTION_TIME,
      &opts.drain_timeout, "10s", 0, 3600 * 1000,
      "time for running calls at SIGTERM" },
    { "trusted-proxy LIST", "AUTHSVC_TRUSTED_PROXY", OPTION_STRING,
      &opts.proxies, "127.0.0.0/8,::1,unix", 0, 1023,
      "networks whose x-real-ip names the client" },
    AUDIT_OPTIONS(&opts.audit),
    GATEWAYS_TLS_OPTIONS(&opts.gateways),
    RPC_TLS_SERVER_OPTIONS("AUTHSVC", &opts.tls),
    RPC_SERVER_OPTIONS("AUTHSVC", &opts.server),
    RPC_METRICS_OPTION("AUTHSVC", &opts.metrics),
    LOG_OPTIONS("AUTHSVC", &opts.log),
    { NULL, NULL, OPTION_FLAG, NULL, NULL, 0, 0, NULL }
};


/* Hashing needs the processor: more threads than cores would only wait. */
static int64_t
serve_cores(void)
{
    int  n;

    n = cores_usable("");

    return n > SERVE_THREADS ? SERVE_THREADS : n;
}


/* The environment may be that of a bigger machine. */
static void
serve_threads(void)
{
    int64_t  cores;

    cores = serve_cores();

    if (opts.threads > cores) {
        log_warn("--hash-threads: %" PRId64 " instead of %" PRId64 ": at most "
                 "one per core that authsvc may use, and %d in all (lower the "
                 "option)", cores, opts.threads, SERVE_THREADS);
        opts.threads = cores;
    }
}


/* Everything but the hashes gets one core. */
static const option_t *
serve_options_table(void)
{
    snprintf(serve_default_threads, sizeof(serve_default_threads), "%d",
             serve_cores() > 1 ? (int) serve_cores() - 1 : 1);

    return serve_table;
}


void
serve_help(FILE *out)
{
    options_help(serve_options_table(), out);
}


static int
serve_proxies(serve_t *s, char *error, size_t size)
{
    char  text[SERVE_ERROR / 2];

    if (address_nets_parse(opts.proxies, &s->proxies, text, sizeof(text))
        != 0)
    {
        snprintf(error, size, "--trusted-proxy: %s", text);
        return -1;
    }

    return 0;
}


/* 0, or the exit code plus one when the program ends here. */
static int
serve_parse(serve_t *s, int argc, char **argv)
{
    int   n;
    char  error[SERVE_ERROR];

    n = options_parse(serve_options_table(), argc, argv, error, sizeof(error));

    if (n == -2) {
        printf("usage: authsvc serve [options]\n");
        serve_help(stdout);
        return 1;
    }

    if (n == -3) {
        version_print();
        return 1;
    }

    if (n >= 0 && n < argc) {
        snprintf(error, sizeof(error), "unexpected argument \"%.80s\"",
                 argv[n]);

    } else if (n >= 0 && opts.store == NULL) {
        snprintf(error, sizeof(error), "--store (AUTHSVC_STORE) is required");

    } else if (n >= 0
               && keyring_usage(&opts.keys, error, sizeof(error)) == 0
               && rpc_tls_usage(&opts.tls, RPC_TLS_SERVER, error, sizeof(error))
                  == 0
               && audit_usage(&opts.audit, error, sizeof(error)) == 0
               && serve_proxies(s, error, sizeof(error)) == 0)
    {
        return 0;
    }

    fprintf(stderr, "authsvc: %s\n", error);

    return 3;
}


static int
serve_key(serve_t *s)
{
    char  error[KEYDIR_ERROR];

    s->issuer.issuer = opts.issuer;
    s->issuer.ttl = opts.token_ttl / 1000;
    s->issuer.keys = keyring_open(&opts.keys, s->issuer.ttl, time(NULL), error,
                                  sizeof(error));
    if (s->issuer.keys == NULL) {
        log_error("%s", error);
        return -1;
    }

    return 0;
}


static int
serve_tls(serve_t *s)
{
    char  error[SERVE_ERROR];

    if (opts.tls.cert == NULL) {
        return 0;
    }

    s->tls = rpc_tls_create(&opts.tls, RPC_TLS_SERVER, error, sizeof(error));
    if (s->tls == NULL) {
        log_error("%s", error);
        return -1;
    }

    return 0;
}


/* A database that is down now may come back: logins fail until then. */
static int
serve_stores(serve_t *s)
{
    bool            fresh;
    char            error[SERVE_ERROR];
    store_t        *store;
    store_status_t  status;

    fresh = strstr(opts.store, "://") == NULL && access(opts.store, F_OK) != 0;

    while (s->n < (size_t) opts.threads) {

        store = store_open(opts.store, true, error, sizeof(error));
        if (store == NULL) {
            log_error("%s", error);
            return -1;
        }

        s->stores[s->n++] = store;
    }

    store = s->stores[0];

    if (fresh) {
        log_info("created a store without users, store=\"%s\" (authsvc user "
                 "add)", store_name(store));
    }

    status = store_check(store);

    if (status == STORE_DOWN) {
        log_error("store is down: %s, store=\"%s\" (logins fail until it is "
                  "back)", store_error(store), store_name(store));

    } else if (status != STORE_OK) {
        log_error("store cannot be used: %s, store=\"%s\"",
                  store_error(store), store_name(store));
        return -1;
    }

    return 0;
}


/* Measures a wrong password before the first login: the floor of refusals. */
static int
serve_backoff(serve_t *s)
{
    int64_t            start;
    unsigned char      key[BACKOFF_KEY];
    backoff_options_t  options;

    if (opts.failures == 0) {
        return 0;
    }

    options.failures = (unsigned) opts.failures;
    options.base = opts.backoff;
    options.max = opts.backoff_max;
    options.entries = BACKOFF_ENTRIES;

    randombytes_buf(key, sizeof(key));
    s->backoff = backoff_create(&options, key);
    start = rpc_now();

    if (s->backoff == NULL
        || password_check(NULL, "nobody") == PASSWORD_UNCHECKED)
    {
        log_error("out of memory");
        return -1;
    }

    backoff_took(s->backoff, rpc_now() - start + 1);

    return 0;
}


static int
serve_server(serve_t *s)
{
    rpc_server_options_t  options;

    options = opts.server;
    options.max_message = SERVE_MAX_MESSAGE;

    s->service.issuer = &s->issuer;
    s->service.proxies = &s->proxies;
    s->service.audit = s->audit;
    s->service.backoff = s->backoff;
    s->service.workers = workers_create(s->n, (size_t) opts.queue,
                                        (int) opts.nice, s->stores);
    if (s->service.workers == NULL) {
        log_error("cannot start threads: %s", strerror(errno));
        return -1;
    }

    s->server = rpc_server_create(&options);
    if (s->server != NULL) {
        s->health = rpc_health_create(s->server, "my_service.MyServiceAPI",
                                      NULL, NULL);
        s->reflection = rpc_reflection_create(s->server, rpc_protos,
                                              rpc_protos_len);
    }

    if (s->health == NULL || s->reflection == NULL
        || service_register(s->server, &s->service) != 0)
    {
        log_error("cannot create the server");
        return -1;
    }

    return 0;
}


static int
serve_audit(serve_t *s)
{
    char  error[SERVE_ERROR];

    if (opts.audit.format != NULL) {
        log_warn("--audit-format is obsolete: the audit log is always JSON "
                 "(remove the option)");
    }

    if (opts.audit.path == NULL) {
        return 0;
    }

    s->audit = audit_open(&opts.audit, error, sizeof(error));
    if (s->audit == NULL) {
        log_error("%s", error);
        return -1;
    }

    return 0;
}


/* On the keeper's thread. */
static void
serve_look(void *data, bool signalled)
{
    serve_t  *s = data;

    keyring_check(s->issuer.keys, time(NULL), signalled);

    if (signalled) {
        audit_reopen(s->audit);
    }
}


static int
serve_keeper(serve_t *s)
{
    s->keeper = keeper_start(SERVE_LOOK, serve_look, s);
    if (s->keeper == NULL) {
        log_error("cannot start a thread: %s", strerror(errno));
        return -1;
    }

    return 0;
}


static int
serve_courier(serve_t *s)
{
    char      error[SERVE_ERROR];
    store_t  *store;

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        log_error("libcurl does not start");
        return -1;
    }

    store = store_open(opts.store, true, error, sizeof(error));
    if (store == NULL) {
        log_error("%s", error);
        return -1;
    }

    s->courier = courier_start(store, &opts.gateways, SERVE_SEND);
    if (s->courier == NULL) {
        log_error("cannot start a thread: %s", strerror(errno));
        store_close(store);
        return -1;
    }

    return 0;
}


static void
serve_drain(void *data)
{
    serve_t  *s = data;

    rpc_reflection_drain(s->reflection);
}


static void
serve_metrics(FILE *out, void *data)
{
    serve_t  *s = data;

    service_metrics(&s->service, out);
    keyring_metrics(s->issuer.keys, out, time(NULL));
}


static int
serve_run(rpc_run_t *run, serve_t *s)
{
    rpc_run_options_t  options;

    if (serve_key(s) != 0 || serve_tls(s) != 0 || serve_stores(s) != 0
        || serve_backoff(s) != 0 || serve_audit(s) != 0
        || serve_server(s) != 0 || serve_keeper(s) != 0
        || serve_courier(s) != 0)
    {
        return -1;
    }

    memset(&options, 0, sizeof(options));
    options.listen = opts.listen;
    options.credentials = s->tls != NULL ? rpc_tls_server(s->tls) : NULL;
    options.health = s->health;
    options.grace = opts.drain_timeout;
    options.drain = serve_drain;
    options.metrics = opts.metrics;
    options.write = serve_metrics;
    options.data = s;

    return rpc_run(run, s->server, &options);
}


/* A stopped server has answered all its calls: no worker has a job. */
static void
serve_free(serve_t *s)
{
    keeper_stop(s->keeper);
    courier_stop(s->courier);

    if (s->server != NULL) {
        (void) rpc_server_stop(s->server, 0);
    }

    workers_free(s->service.workers);
    backoff_free(s->backoff);

    rpc_reflection_free(s->reflection);

    if (s->health != NULL) {
        rpc_health_free(s->health);
    }

    if (s->server != NULL) {
        rpc_server_free(s->server);
    }

    rpc_tls_free(s->tls);

    while (s->n > 0) {
        store_close(s->stores[--s->n]);
    }

    audit_close(s->audit);
    keyring_free(s->issuer.keys);
}


int
serve_main(int argc, char **argv)
{
    int             rc;
    rpc_run_t      *run;
    static serve_t  serve;

    rc = serve_parse(&serve, argc, argv);
    if (rc != 0) {
        return rc - 1;
    }

    log_start("authsvc", &opts.log);
    serve_threads();

    run = keeper_prepare() == 0 ? rpc_run_create() : NULL;
    if (run == NULL) {
        log_error("cannot prepare signals: %s", strerror(errno));
        return 1;
    }

    rc = serve_run(run, &serve);

    serve_free(&serve);
    rpc_run_free(run);

    return rc == 0 ? 0 : 1;
}
