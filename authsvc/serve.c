#include "authsvc/serve.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sodium.h>

#include "authsvc/backoff.h"
#include "authsvc/keeper.h"
#include "authsvc/password.h"
#include "authsvc/serve_keys.h"
#include "authsvc/service.h"
#include "authsvc/store.h"
#include "authsvc/version.h"
#include "authsvc/workers.h"
#include "rpc/health.h"
#include "rpc/log.h"
#include "rpc/options.h"
#include "rpc/reflection.h"
#include "rpc/run.h"
#include "rpc/tls.h"


#define SERVE_THREADS      TURNS_THREADS
#define SERVE_MAX_MESSAGE  (64 * 1024)
#define SERVE_ERROR        512
#define SERVE_LOOK         1000         /* ms between two looks at files */


typedef struct {
    const char       *listen;
    const char       *store;
    const char       *issuer;
    const char       *proxies;
    serve_keys_t      keys;
    audit_options_t   audit;
    rpc_tls_files_t   tls;
    int64_t           token_ttl;        /* ms */
    int64_t           threads;
    int64_t           queue;
    int64_t           nice;
    int64_t           failures;
    int64_t           backoff;          /* ms */
    int64_t           backoff_max;      /* ms */
    int64_t           drain_timeout;    /* ms */
    int               log_level;
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
} serve_t;


/* Hashing is work of the processor: more threads than cores only wait. */
static int64_t
serve_cores(void)
{
    long  n;

    n = sysconf(_SC_NPROCESSORS_ONLN);

    return n < 1 ? 1 : n > SERVE_THREADS ? SERVE_THREADS : n;
}


static void
serve_options(serve_options_t *o, const option_t **table)
{
    static char      threads[8];
    static option_t  rows[32];

    const option_t  all[] = {
        { "listen", "AUTHSVC_LISTEN", OPTION_STRING, &o->listen,
          "127.0.0.1:5001", 1, 255, "address to serve gRPC on" },
        { "store", "AUTHSVC_STORE", OPTION_STRING, &o->store, NULL, 1, 4095,
          "users: SQLite file, made if missing, or postgresql:// URL; "
          "required" },
        SERVE_KEYS_OPTIONS(&o->keys),
        { "token-ttl", "AUTHSVC_TOKEN_TTL", OPTION_TIME, &o->token_ttl, "1h",
          1000, INT64_C(366) * 86400 * 1000, "life of a token" },
        { "issuer", "AUTHSVC_ISSUER", OPTION_STRING, &o->issuer, "myservice",
          1, 255, "claim \"iss\" of tokens" },
        { "hash-threads", "AUTHSVC_HASH_THREADS", OPTION_NUMBER, &o->threads,
          threads, 1, serve_cores(),
          "threads that hash passwords, at most one per core" },
        { "login-queue", "AUTHSVC_LOGIN_QUEUE", OPTION_NUMBER, &o->queue,
          "128", 1, 65536, "logins that may wait for a thread" },
        { "hash-nice", "AUTHSVC_HASH_NICE", OPTION_NUMBER, &o->nice, "10", 0,
          19, "how far these threads stand back behind others" },
        { "login-failures", "AUTHSVC_LOGIN_FAILURES", OPTION_NUMBER,
          &o->failures, "5", 0, 10000,
          "failed logins of a user from an address that are free; 0: all" },
        { "login-backoff", "AUTHSVC_LOGIN_BACKOFF", OPTION_TIME, &o->backoff,
          "1s", 1, 24 * 3600 * 1000,
          "how long they are refused then, doubled by every failure" },
        { "login-backoff-max", "AUTHSVC_LOGIN_BACKOFF_MAX", OPTION_TIME,
          &o->backoff_max, "15m", 1, 24 * 3600 * 1000,
          "the longest such time; one failure is forgotten in it" },
        { "drain-timeout", "AUTHSVC_DRAIN_TIMEOUT", OPTION_TIME,
          &o->drain_timeout, "10s", 0, 3600 * 1000,
          "time for running calls when stopping" },
        { "trusted-proxy", "AUTHSVC_TRUSTED_PROXY", OPTION_STRING,
          &o->proxies, "127.0.0.0/8,::1,unix", 0, 1023,
          "networks whose x-real-ip is the client's address" },
        AUDIT_OPTIONS(&o->audit),
        RPC_TLS_SERVER_OPTIONS("AUTHSVC", &o->tls),
        { "log-level", "AUTHSVC_LOG_LEVEL", OPTION_LOG_LEVEL, &o->log_level,
          "info", 0, 0, "what to log" },
        { NULL, NULL, OPTION_FLAG, NULL, NULL, 0, 0, NULL }
    };

    /* one core is for everything else */
    snprintf(threads, sizeof(threads), "%d",
             serve_cores() > 1 ? (int) serve_cores() - 1 : 1);
    memcpy(rows, all, sizeof(all));
    *table = rows;
}


void
serve_help(FILE *out)
{
    const option_t   *table;
    serve_options_t   options;

    serve_options(&options, &table);
    options_help(table, out);
}


static int
serve_proxies(const serve_options_t *o, address_nets_t *proxies, char *error,
    size_t size)
{
    char  text[SERVE_ERROR / 2];

    if (address_nets_parse(o->proxies, proxies, text, sizeof(text)) != 0) {
        snprintf(error, size, "--trusted-proxy: %s", text);
        return -1;
    }

    return 0;
}


/* 0, or the exit code plus one of a program that is done already. */
static int
serve_parse(serve_t *s, serve_options_t *o, int argc, char **argv)
{
    int              n;
    char             error[SERVE_ERROR];
    const option_t  *table;

    serve_options(o, &table);

    n = options_parse(table, argc, argv, error, sizeof(error));

    if (n == -2) {
        printf("usage: authsvc serve [options]\n");
        options_help(table, stdout);
        return 1;
    }

    if (n == -3) {
        version_print();
        return 1;
    }

    if (n >= 0 && n < argc) {
        snprintf(error, sizeof(error), "unexpected argument \"%.80s\"",
                 argv[n]);

    } else if (n >= 0 && o->store == NULL) {
        snprintf(error, sizeof(error), "--store (AUTHSVC_STORE) is required");

    } else if (n >= 0
               && serve_keys_usage(&o->keys, error, sizeof(error)) == 0
               && rpc_tls_usage(&o->tls, RPC_TLS_SERVER, error, sizeof(error))
                  == 0
               && audit_usage(&o->audit, error, sizeof(error)) == 0
               && serve_proxies(o, &s->proxies, error, sizeof(error)) == 0)
    {
        return 0;
    }

    fprintf(stderr, "authsvc: %s\n", error);

    return 3;
}


static int
serve_key(serve_t *s, const serve_options_t *o)
{
    s->issuer.issuer = o->issuer;
    s->issuer.ttl = o->token_ttl / 1000;
    s->issuer.keys = serve_keys_open(&o->keys, s->issuer.ttl);

    return s->issuer.keys != NULL ? 0 : -1;
}


static int
serve_tls(serve_t *s, const serve_options_t *o)
{
    char  error[SERVE_ERROR];

    if (o->tls.cert == NULL) {
        return 0;
    }

    s->tls = rpc_tls_create(&o->tls, RPC_TLS_SERVER, error, sizeof(error));
    if (s->tls == NULL) {
        log_error("%s", error);
        return -1;
    }

    return 0;
}


/* A server that is down now may come back: logins fail until then. */
static int
serve_stores(serve_t *s, const serve_options_t *o)
{
    char            error[SERVE_ERROR];
    store_t        *store;
    store_status_t  status;

    while (s->n < (size_t) o->threads) {

        store = store_open(o->store, true, error, sizeof(error));
        if (store == NULL) {
            log_error("%s", error);
            return -1;
        }

        s->stores[s->n++] = store;
    }

    store = s->stores[0];
    status = store_check(store);

    if (status == STORE_DOWN) {
        log_error("store \"%s\": %s; no login until it is there",
                  store_name(store), store_error(store));

    } else if (status != STORE_OK) {
        log_error("store \"%s\": %s", store_name(store),
                  store_error(store));
        return -1;
    }

    return 0;
}


/* How long a wrong password takes is measured once before anybody asks. */
static int
serve_backoff(serve_t *s, const serve_options_t *o)
{
    int64_t            start;
    unsigned char      key[BACKOFF_KEY];
    backoff_options_t  options;

    if (o->failures == 0) {
        return 0;
    }

    options.failures = (unsigned) o->failures;
    options.base = o->backoff;
    options.max = o->backoff_max;
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

    backoff_took(s->backoff, (rpc_now() - start) * 1000);

    return 0;
}


static int
serve_server(serve_t *s, const serve_options_t *o)
{
    rpc_server_options_t  options;

    memset(&options, 0, sizeof(options));
    options.max_message = SERVE_MAX_MESSAGE;

    s->service.issuer = &s->issuer;
    s->service.proxies = &s->proxies;
    s->service.audit = s->audit;
    s->service.backoff = s->backoff;
    turns_init(&s->service.turns, s->n, (size_t) o->queue);
    s->service.max_suspects = ((size_t) o->queue + 1) / 2;
    s->service.workers = workers_create(s->n, (size_t) o->queue,
                                        (int) o->nice, s->stores);
    if (s->service.workers == NULL) {
        log_error("cannot start threads: %s", strerror(errno));
        return -1;
    }

    s->server = rpc_server_create(&options);
    if (s->server == NULL
        || service_register(s->server, &s->service) != 0)
    {
        log_error("cannot make the server");
        return -1;
    }

    s->health = rpc_health_create(s->server, "my_service.MyServiceAPI", NULL,
                                  NULL);
    if (s->health == NULL) {
        log_error("cannot make the health service");
        return -1;
    }

    s->reflection = rpc_reflection_create(s->server, rpc_protos,
                                          rpc_protos_len);
    if (s->reflection == NULL) {
        log_error("cannot make the reflection service");
        return -1;
    }

    return 0;
}


static int
serve_audit(serve_t *s, const serve_options_t *o)
{
    char  error[SERVE_ERROR];

    if (o->audit.path == NULL) {
        return 0;
    }

    s->audit = audit_open(&o->audit, error, sizeof(error));
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


static void
serve_drain(void *data)
{
    rpc_reflection_drain(data);
}


static int
serve_run(rpc_run_t *run, serve_t *s, const serve_options_t *o)
{
    rpc_run_options_t  options;

    if (serve_key(s, o) != 0 || serve_tls(s, o) != 0
        || serve_stores(s, o) != 0 || serve_backoff(s, o) != 0
        || serve_audit(s, o) != 0 || serve_server(s, o) != 0
        || serve_keeper(s) != 0)
    {
        return -1;
    }

    memset(&options, 0, sizeof(options));
    options.listen = o->listen;
    options.credentials = s->tls != NULL ? rpc_tls_server(s->tls) : NULL;
    options.health = s->health;
    options.grace = o->drain_timeout;
    options.drain = serve_drain;
    options.data = s->reflection;

    return rpc_run(run, s->server, &options);
}


/* A stopped server has answered all its calls: no worker has a job. */
static void
serve_free(serve_t *s)
{
    keeper_stop(s->keeper);

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
    int                    rc;
    rpc_run_t             *run;
    static serve_t         serve;
    static serve_options_t options;

    rc = serve_parse(&serve, &options, argc, argv);
    if (rc != 0) {
        return rc - 1;
    }

    log_open("authsvc", options.log_level);

    run = keeper_prepare() == 0 ? rpc_run_create() : NULL;
    if (run == NULL) {
        log_error("cannot prepare signals: %s", strerror(errno));
        return 1;
    }

    rc = serve_run(run, &serve, &options);

    serve_free(&serve);
    rpc_run_free(run);

    return rc == 0 ? 0 : 1;
}
