#include "authsvc/serve.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sodium.h>

#include "authsvc/keyfile.h"
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


#define SERVE_THREADS      64
#define SERVE_MAX_MESSAGE  (64 * 1024)
#define SERVE_ERROR        512


typedef struct {
    const char       *listen;
    const char       *store;
    const char       *key_file;
    const char       *issuer;
    rpc_tls_files_t   tls;
    int64_t           token_ttl;        /* ms */
    int64_t           threads;
    int64_t           queue;
    int64_t           drain_timeout;    /* ms */
    int               create_key;
    int               log_level;
} serve_options_t;

typedef struct {
    secret_t       secret;
    issuer_t       issuer;
    service_t      service;
    size_t             n;               /* open stores, one per thread */
    void              *stores[SERVE_THREADS];
    rpc_tls_t         *tls;             /* NULL: plaintext */
    rpc_server_t      *server;
    rpc_health_t      *health;
    rpc_reflection_t  *reflection;
} serve_t;


static int64_t
serve_cores(void)
{
    long  n;

    n = sysconf(_SC_NPROCESSORS_ONLN);

    return n < 1 ? 1 : n > SERVE_THREADS ? SERVE_THREADS : n;
}


/* Hashing is work of the processor: more threads than cores only wait. */
static void
serve_options(serve_options_t *o, const option_t **table)
{
    static char      threads[8];
    static option_t  rows[16];

    const option_t  all[] = {
        { "listen", "AUTHSVC_LISTEN", OPTION_STRING, &o->listen,
          "127.0.0.1:5001", 1, 255, "address to serve gRPC on" },
        { "store", "AUTHSVC_STORE", OPTION_STRING, &o->store, NULL, 1, 4095,
          "SQLite file of the users, created if missing; required" },
        { "key-file", "AUTHSVC_KEY_FILE", OPTION_STRING, &o->key_file, NULL,
          1, 4095, "file with the secret that signs tokens; required" },
        { "create-key", "AUTHSVC_CREATE_KEY", OPTION_FLAG, &o->create_key,
          NULL, 0, 0, "make the key file, mode 0600, if it is missing" },
        { "token-ttl", "AUTHSVC_TOKEN_TTL", OPTION_TIME, &o->token_ttl, "1h",
          1000, INT64_C(366) * 86400 * 1000, "life of a token" },
        { "issuer", "AUTHSVC_ISSUER", OPTION_STRING, &o->issuer, "myservice",
          1, 255, "claim \"iss\" of tokens" },
        { "hash-threads", "AUTHSVC_HASH_THREADS", OPTION_NUMBER, &o->threads,
          threads, 1, serve_cores(),
          "threads that hash passwords, at most one per core" },
        { "login-queue", "AUTHSVC_LOGIN_QUEUE", OPTION_NUMBER, &o->queue,
          "128", 1, 65536, "logins that may wait for a thread" },
        { "drain-timeout", "AUTHSVC_DRAIN_TIMEOUT", OPTION_TIME,
          &o->drain_timeout, "10s", 0, 3600 * 1000,
          "time for running calls when stopping" },
        RPC_TLS_SERVER_OPTIONS("AUTHSVC", &o->tls),
        { "log-level", "AUTHSVC_LOG_LEVEL", OPTION_LOG_LEVEL, &o->log_level,
          "info", 0, 0, "what to log" },
        { NULL, NULL, OPTION_FLAG, NULL, NULL, 0, 0, NULL }
    };

    snprintf(threads, sizeof(threads), "%d", (int) serve_cores());
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


/* 0, or the exit code plus one of a program that is done already. */
static int
serve_parse(serve_options_t *o, int argc, char **argv)
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

    } else if (n >= 0 && o->key_file == NULL) {
        snprintf(error, sizeof(error),
                 "--key-file (AUTHSVC_KEY_FILE) is required");

    } else if (n >= 0
               && rpc_tls_usage(&o->tls, RPC_TLS_SERVER, error, sizeof(error))
                  == 0)
    {
        return 0;
    }

    fprintf(stderr, "authsvc: %s\n", error);

    return 3;
}


static int
serve_key(serve_t *s, const serve_options_t *o)
{
    char  error[SERVE_ERROR];

    if ((o->create_key
         && keyfile_create(o->key_file, error, sizeof(error)) != 0)
        || keyfile_load(o->key_file, &s->secret, error, sizeof(error)) != 0)
    {
        log_error("%s", error);
        return -1;
    }

    s->issuer.secret = s->secret.bytes;
    s->issuer.secret_len = s->secret.len;
    s->issuer.issuer = o->issuer;
    s->issuer.ttl = o->token_ttl / 1000;

    return 0;
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


static int
serve_stores(serve_t *s, const serve_options_t *o)
{
    char      error[SERVE_ERROR];
    store_t  *store;

    while (s->n < (size_t) o->threads) {

        store = store_open(o->store, true, error, sizeof(error));
        if (store == NULL) {
            log_error("%s", error);
            return -1;
        }

        s->stores[s->n++] = store;
    }

    if (store_check(s->stores[0]) != STORE_OK) {
        log_error("store \"%s\": %s", o->store, store_error(s->stores[0]));
        return -1;
    }

    return 0;
}


static int
serve_server(serve_t *s, const serve_options_t *o)
{
    rpc_server_options_t  options;

    memset(&options, 0, sizeof(options));
    options.max_message = SERVE_MAX_MESSAGE;

    s->service.issuer = &s->issuer;
    s->service.workers = workers_create(s->n, (size_t) o->queue, s->stores);
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
        || serve_stores(s, o) != 0 || serve_server(s, o) != 0)
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
    if (s->server != NULL) {
        (void) rpc_server_stop(s->server, 0);
    }

    workers_free(s->service.workers);

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

    sodium_memzero(&s->secret, sizeof(s->secret));
}


int
serve_main(int argc, char **argv)
{
    int                    rc;
    rpc_run_t             *run;
    static serve_t         serve;
    static serve_options_t options;

    rc = serve_parse(&options, argc, argv);
    if (rc != 0) {
        return rc - 1;
    }

    log_open("authsvc", options.log_level);

    run = rpc_run_create();
    if (run == NULL) {
        log_error("cannot prepare signals: %s", strerror(errno));
        return 1;
    }

    rc = serve_run(run, &serve, &options);

    serve_free(&serve);
    rpc_run_free(run);

    return rc == 0 ? 0 : 1;
}
