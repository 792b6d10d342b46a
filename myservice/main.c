/*
 * myservice: one instance, which serves one session at a time.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "myservice/service.h"
#include "myservice/session.h"
#include "rpc/log.h"
#include "rpc/options.h"
#include "rpc/run.h"
#include "rpc/tls.h"
#include "version.h"


#define EXIT_USAGE  2
#define MAIN_AGAIN  -1                  /* run the program anew */
#define MAIN_ID     16                  /* random bytes */

#define DAY  ((int64_t) 86400 * 1000)


typedef struct {
    const char       *file;
    const char       *listen;
    const char       *name;
    int64_t           interval;
    int64_t           session_ttl;
    int64_t           session_grace;
    auth_options_t    jwt;
    int64_t           jwt_leeway;
    int               insecure;
    rpc_tls_files_t   tls;
    rpc_server_options_t  server;
    const char       *metrics;
    int64_t           grace;
    const char       *after_shutdown;
    bool              stay;
    log_options_t     log;
} config_t;

/* What runs; "auth" and "tls" may be NULL. */
typedef struct {
    rpc_server_t     *server;
    service_t        *service;
    auth_t           *auth;
    rpc_tls_t        *tls;
} main_t;


static int config_parse(config_t *config, int argc, char **argv);
static void config_help(const option_t *table);
static int config_stay(config_t *config, char *error, size_t size);
static int config_tokens(config_t *config, char *error, size_t size);
static int config_open(const config_t *config, char *error, size_t size);
static bool config_unchecked(const config_t *config);
static bool config_local(const char *listen);
static int config_name(config_t *config);
static int main_serve(const config_t *config);
static int main_again(char **argv);
static int main_run(rpc_run_t *run, rpc_server_t *server,
    const config_t *config, auth_t *auth, rpc_tls_t *tls);
static int main_id(char id[2 * MAIN_ID + 1]);
static void main_retire(void *data);
static void main_drain(void *data);
static void main_reload(void *data);
static void main_reload_keys(void *data);
static void main_metrics(FILE *out, void *data);
static void main_quit(void *data);


static const char  main_unchecked[] =
    "serving every client that can connect: no --jwt-keys, "
    "--jwt-secret-file or --tls-client-ca is set";


int
main(int argc, char **argv)
{
    int       code;
    config_t  config;

    code = config_parse(&config, argc, argv);
    if (code != -1) {
        return code;
    }

    log_start("myservice", &config.log);

    code = main_serve(&config);

    return code == MAIN_AGAIN ? main_again(argv) : code;
}


/* -1 to go on, or the exit code. */

static int
config_parse(config_t *config, int argc, char **argv)
{
    int   first;
    char  error[512];

    const option_t  table[] = {
        { "config FILE", "MYSERVICE_CONFIG", OPTION_CONFIG, &config->file,
          NULL, 0, 0, "NAME=value lines; the names are those below" },
        { "listen HOST:PORT", "MYSERVICE_LISTEN", OPTION_STRING,
          &config->listen, "127.0.0.1:5101", 0, 0,
          "address to serve on, or unix:/path" },
        { "name NAME", "MYSERVICE_NAME", OPTION_STRING, &config->name, NULL, 0,
          0, "pod_name in the answers; else $POD_NAME, else the host's name" },
        { "subscribe-interval", "MYSERVICE_SUBSCRIBE_INTERVAL", OPTION_TIME,
          &config->interval, "5s", 1, DAY,
          "time between the messages of MyServiceSubscribe" },
        { "session-ttl", "MYSERVICE_SESSION_TTL", OPTION_TIME,
          &config->session_ttl, "30m", 1, SESSION_TTL_MAX,
          "end the session when it is idle for this time" },
        { "jwt-keys FILE", "MYSERVICE_JWT_KEYS", OPTION_STRING,
          &config->jwt.keys_file, NULL, 0, 0,
          "check tokens with these public keys: PEM, JWK or JWK Set" },
        { "jwt-secret-file FILE", "MYSERVICE_JWT_SECRET_FILE", OPTION_STRING,
          &config->jwt.secret_file, NULL, 0, 0,
          "check tokens with the secret in this file" },
        { "jwt-key-file", "MYSERVICE_JWT_KEY_FILE", OPTION_RENAMED, NULL,
          "jwt-keys", 0, 0, NULL },
        { "jwt-key", "MYSERVICE_JWT_KEY", OPTION_RENAMED, NULL,
          "jwt-secret-file", 0, 0, NULL },
        { "jwt-algorithms LIST", "MYSERVICE_JWT_ALGORITHMS", OPTION_STRING,
          &config->jwt.algorithms, NULL, 0, 0,
          "only these, separated by commas; else what the keys are for" },
        { "jwt-issuer TEXT", "MYSERVICE_JWT_ISSUER", OPTION_STRING,
          &config->jwt.issuer, NULL, 0, 0, "what \"iss\" must be" },
        { "jwt-audience TEXT", "MYSERVICE_JWT_AUDIENCE", OPTION_STRING,
          &config->jwt.audience, NULL, 0, 0,
          "what \"aud\" must be or contain" },
        { "jwt-session-claim NAME", "MYSERVICE_JWT_SESSION_CLAIM",
          OPTION_STRING, &config->jwt.session_claim, "session_id", 0, 0,
          "the claim with the session id" },
        { "jwt-leeway", "MYSERVICE_JWT_LEEWAY", OPTION_TIME,
          &config->jwt_leeway, "5s", 0, DAY, "how far the clocks may differ" },
        { "insecure", "MYSERVICE_INSECURE", OPTION_FLAG, &config->insecure,
          NULL, 0, 0, "serve other hosts without checking anybody" },
        RPC_TLS_SERVER_OPTIONS("MYSERVICE", &config->tls),
        RPC_SERVER_OPTIONS("MYSERVICE", &config->server),
        RPC_METRICS_OPTION("MYSERVICE", &config->metrics),
        { "session-grace", "MYSERVICE_SESSION_GRACE", OPTION_TIME,
          &config->session_grace, "0", 0, DAY,
          "after SIGTERM serve the session for so long, if it does not end" },
        { "drain-timeout", "MYSERVICE_DRAIN_TIMEOUT", OPTION_TIME,
          &config->grace, "10s", 0, DAY,
          "how long running calls may take when the instance stops" },
        { "after-shutdown HOW", "MYSERVICE_AFTER_SHUTDOWN", OPTION_STRING,
          &config->after_shutdown, "exit", 0, 0,
          "exit or stay, which begins anew in the same process" },
        LOG_OPTIONS("MYSERVICE", &config->log),
        { NULL, NULL, OPTION_FLAG, NULL, NULL, 0, 0, NULL }
    };

    memset(config, 0, sizeof(config_t));

    first = options_parse(table, argc, argv, error, sizeof(error));

    if (first >= 0
        && (rpc_tls_usage(&config->tls, RPC_TLS_SERVER, error, sizeof(error))
            != 0
            || config_tokens(config, error, sizeof(error)) != 0
            || config_open(config, error, sizeof(error)) != 0
            || config_stay(config, error, sizeof(error)) != 0))
    {
        first = OPTIONS_ERROR;
    }

    if (first == OPTIONS_HELP) {
        config_help(table);
        return EXIT_SUCCESS;
    }

    if (first == OPTIONS_VERSION) {
        printf("myservice " MS_VERSION "\n");
        return EXIT_SUCCESS;
    }

    if (first == OPTIONS_ERROR) {
        fprintf(stderr, "myservice: %s\n", error);
        return EXIT_USAGE;
    }

    if (first < argc) {
        fprintf(stderr, "myservice: unexpected argument \"%s\"\n",
                argv[first]);
        return EXIT_USAGE;
    }

    return config_name(config);
}


static void
config_help(const option_t *table)
{
    printf("usage: myservice [option...]\n\n"
           "An instance of MyService, for one session at a time. An option is "
           "taken from the\ncommand line, else from the environment, else from "
           "the file of --config.\n\n");
    options_help(table, stdout);
}


static int
config_stay(config_t *config, char *error, size_t size)
{
    config->stay = strcmp(config->after_shutdown, "stay") == 0;

    if (config->stay || strcmp(config->after_shutdown, "exit") == 0) {
        return 0;
    }

    snprintf(error, size, "--after-shutdown: invalid value \"%.80s\", expected "
             "exit or stay", config->after_shutdown);
    return -1;
}


/* Rules for tokens without a key would not be checked: an error. */

static int
config_tokens(config_t *config, char *error, size_t size)
{
    uint32_t         algorithms;
    const char      *option;
    auth_options_t  *jwt;

    jwt = &config->jwt;
    jwt->leeway = config->jwt_leeway / 1000;

    option = jwt->algorithms != NULL ? "--jwt-algorithms"
             : jwt->issuer != NULL ? "--jwt-issuer"
             : jwt->audience != NULL ? "--jwt-audience" : NULL;

    if (option != NULL && jwt->secret_file == NULL && jwt->keys_file == NULL) {
        snprintf(error, size, "%s needs --jwt-keys or --jwt-secret-file",
                 option);
        return -1;
    }

    return jwt->algorithms == NULL
           ? 0 : auth_algorithms(jwt->algorithms, &algorithms, error, size);
}


/* An instance without a key serves other hosts only if --insecure says so. */

static int
config_open(const config_t *config, char *error, size_t size)
{
    if (config->insecure || !config_unchecked(config)
        || config_local(config->listen))
    {
        return 0;
    }

    snprintf(error, size, "--listen %.256s: other hosts can connect, and "
             "no client would be checked: give --jwt-keys, --jwt-secret-file "
             "or --tls-client-ca, or allow it with --insecure", config->listen);
    return -1;
}


static bool
config_unchecked(const config_t *config)
{
    return config->jwt.secret_file == NULL && config->jwt.keys_file == NULL
           && config->tls.ca == NULL;
}


/* rpc_run() refuses what is no address at all. */

static bool
config_local(const char *listen)
{
    char              host[INET6_ADDRSTRLEN];
    size_t            len;
    const char       *colon;
    struct in_addr    v4;
    struct in6_addr   v6;

    colon = strrchr(listen, ':');

    if (colon == NULL || strncmp(listen, "unix:", 5) == 0) {
        return true;
    }

    len = (size_t) (colon - listen);

    if (len > 2 && listen[0] == '[' && colon[-1] == ']') {
        listen++;
        len -= 2;
    }

    if (len >= sizeof(host)) {
        return false;
    }

    memcpy(host, listen, len);
    host[len] = '\0';

    if (inet_pton(AF_INET, host, &v4) == 1) {
        return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
    }

    if (inet_pton(AF_INET6, host, &v6) == 1) {
        return IN6_IS_ADDR_LOOPBACK(&v6)
               || (IN6_IS_ADDR_V4MAPPED(&v6)
                   && v6.s6_addr[12] == IN_LOOPBACKNET);
    }

    return strcasecmp(host, "localhost") == 0;
}


/* Visible ASCII, because it is a string of protobuf and of logs. */

static int
config_name(config_t *config)
{
    size_t       i;
    static char  host[256];

    if (config->name == NULL) {
        config->name = getenv("POD_NAME");
    }

    if (config->name == NULL || config->name[0] == '\0') {
        if (gethostname(host, sizeof(host) - 1) == -1) {
            fprintf(stderr, "myservice: gethostname() failed: %s\n",
                    strerror(errno));
            return EXIT_FAILURE;
        }

        config->name = host;
    }

    for (i = 0; config->name[i] > 0x20 && config->name[i] < 0x7f; i++) {
        /* visible */
    }

    if (i == 0 || i > 253 || config->name[i] != '\0') {
        fprintf(stderr, "myservice: --name \"%s\" is not 1..253 visible "
                "ASCII characters\n", config->name);
        return EXIT_USAGE;
    }

    return -1;
}


/* The exit code, or MAIN_AGAIN after a Shutdown. */

static int
main_serve(const config_t *config)
{
    int            code;
    char           error[512];
    auth_t        *auth;
    rpc_run_t     *run;
    rpc_tls_t     *tls;
    rpc_server_t  *server;

    auth = NULL;
    tls = NULL;
    code = EXIT_FAILURE;

    run = rpc_run_create();
    if (run == NULL) {
        log_error("cannot handle signals: %s", strerror(errno));
        return EXIT_FAILURE;
    }

    if (config->jwt.secret_file != NULL || config->jwt.keys_file != NULL) {
        auth = auth_create(&config->jwt, (int64_t) time(NULL), error,
                           sizeof(error));
        if (auth == NULL) {
            log_error("%s", error);
            goto done;
        }
    }

    if (config->tls.cert != NULL) {
        tls = rpc_tls_create(&config->tls, RPC_TLS_SERVER, error,
                             sizeof(error));
        if (tls == NULL) {
            log_error("%s", error);
            goto done;
        }
    }

    server = rpc_server_create(&config->server);
    if (server == NULL) {
        log_error("cannot create the server");
        goto done;
    }

    code = main_run(run, server, config, auth, tls);

done:

    rpc_tls_free(tls);
    auth_free(auth);
    rpc_run_free(run);

    return code;
}


/* The process stays, but nothing in it: for the gateway it is another instance,
 * as after a restart.  A signal that comes now waits for the new program. */

static int
main_again(char **argv)
{
    sigset_t  set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    (void) pthread_sigmask(SIG_BLOCK, &set, NULL);

    log_info("beginning anew after Shutdown");
    (void) execv("/proc/self/exe", argv);

    log_error("cannot begin anew: %s (ending with status 1, to be started "
              "again)", strerror(errno));

    return EXIT_FAILURE;
}


/* Takes "server". */

static int
main_run(rpc_run_t *run, rpc_server_t *server, const config_t *config,
    auth_t *auth, rpc_tls_t *tls)
{
    int                code;
    char               id[2 * MAIN_ID + 1];
    main_t             all = { server, NULL, auth, tls };
    rpc_run_options_t  running = { 0 };
    service_options_t  options = { 0 };

    code = EXIT_FAILURE;

    if (main_id(id) == -1) {
        log_error("getrandom() failed: %s", strerror(errno));
        goto done;
    }

    options.name = config->name;
    options.id = id;
    options.interval = config->interval;
    options.session_ttl = config->session_ttl;
    options.auth = auth;
    options.exit = main_quit;
    options.exit_data = run;

    all.service = service_create(server, &options);

    if (all.service == NULL) {
        log_error("cannot create the service");
        goto done;
    }

    running.listen = config->listen;
    running.credentials = tls != NULL ? rpc_tls_server(tls) : NULL;
    running.health = service_health(all.service);
    running.grace = config->grace;
    running.warning = config_unchecked(config) ? main_unchecked : NULL;
    running.leave = config->session_grace > 0 ? main_retire : NULL;
    running.patience = config->session_grace;
    running.drain = main_drain;
    running.metrics = config->metrics;
    running.write = main_metrics;
    running.reload = main_reload;
    running.data = &all;

    if (rpc_run(run, server, &running) == 0) {
        code = config->stay && !rpc_run_signalled(run) ? MAIN_AGAIN
                                                       : EXIT_SUCCESS;
    }

done:

    rpc_server_free(server);
    service_free(all.service);

    return code;
}


/* Which process this is: another one has another id. */

static int
main_id(char id[2 * MAIN_ID + 1])
{
    size_t         i;
    unsigned char  bytes[MAIN_ID];

    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t) sizeof(bytes)) {
        return -1;
    }

    for (i = 0; i < sizeof(bytes); i++) {
        snprintf(id + 2 * i, 3, "%02x", (unsigned) bytes[i]);
    }

    return 0;
}


static void
main_retire(void *data)
{
    main_t  *all = data;

    service_retire(all->service);
}


static void
main_drain(void *data)
{
    main_t  *all = data;

    service_drain(all->service);
}


static void
main_reload(void *data)
{
    main_t  *all = data;

    if (all->auth == NULL && all->tls == NULL) {
        log_info("SIGHUP is ignored: there are no keys and no TLS files to "
                 "read again");
        return;
    }

    if (all->tls != NULL) {
        rpc_tls_reload(all->tls);
    }

    if (all->auth != NULL
        && rpc_server_post(all->server, main_reload_keys, all->auth) != 0)
    {
        log_error("out of memory");
    }
}


static void
main_reload_keys(void *data)
{
    auth_reload(data, (int64_t) time(NULL));
}


static void
main_metrics(FILE *out, void *data)
{
    bool              held;
    main_t           *all = data;
    const session_t  *session;

    session = service_session(all->service);
    held = session->state == SESSION_IDLE || session->state == SESSION_BUSY;

    rpc_metrics_family(out, "myservice_session_held", "gauge",
                       "1 while the instance has a session");
    fprintf(out, "myservice_session_held %d\n", held);

    rpc_metrics_family(out, "myservice_session_calls", "gauge",
                       "calls of the session in flight");
    fprintf(out, "myservice_session_calls %u\n", held ? session->calls : 0);

    rpc_metrics_family(out, "myservice_session_age_seconds", "gauge",
                       "time since the session was set, 0 without one");
    fprintf(out, "myservice_session_age_seconds %" PRId64 "\n",
            held ? (rpc_now() - session->since) / 1000 : 0);
}


static void
main_quit(void *data)
{
    rpc_run_quit(data);
}
