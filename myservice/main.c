/*
 * myservice: one instance, which serves one session at a time.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "myservice/service.h"
#include "myservice/session.h"
#include "rpc/log.h"
#include "rpc/options.h"
#include "rpc/run.h"
#include "rpc/tls.h"


#define EXIT_USAGE  2

#define DAY  ((int64_t) 86400 * 1000)

#ifndef VERSION
#define VERSION  "1.0"
#endif


typedef struct {
    const char       *listen;
    const char       *name;
    int64_t           interval;
    int64_t           session_ttl;
    auth_options_t    jwt;
    int64_t           jwt_leeway;
    rpc_tls_files_t   tls;
    int64_t           grace;
    int               log_level;
} config_t;


static int config_parse(config_t *config, int argc, char **argv);
static void config_help(const option_t *table);
static int config_tokens(config_t *config, char *error, size_t size);
static int config_name(config_t *config);
static int main_serve(const config_t *config);
static int main_run(rpc_run_t *run, rpc_server_t *server,
    const config_t *config, auth_t *auth, rpc_tls_t *tls);
static void main_quit(void *data);


int
main(int argc, char **argv)
{
    int       code;
    config_t  config;

    code = config_parse(&config, argc, argv);
    if (code != -1) {
        return code;
    }

    log_open("myservice", config.log_level);

    return main_serve(&config);
}


/* -1 to go on, else the exit code. */

static int
config_parse(config_t *config, int argc, char **argv)
{
    int   first;
    char  error[512];

    const option_t  table[] = {
        { "listen", "MYSERVICE_LISTEN", OPTION_STRING, &config->listen,
          "127.0.0.1:5101", 0, 0, "host:port or unix:/path" },
        { "name", "MYSERVICE_NAME", OPTION_STRING, &config->name, NULL, 0, 0,
          "pod_name in the answers; else $POD_NAME, else the host's name" },
        { "subscribe-interval", "MYSERVICE_SUBSCRIBE_INTERVAL", OPTION_TIME,
          &config->interval, "5s", 1, DAY,
          "between the messages of MyServiceSubscribe" },
        { "session-ttl", "MYSERVICE_SESSION_TTL", OPTION_TIME,
          &config->session_ttl, "30m", 1, SESSION_TTL_MAX,
          "a session that is idle for so long ends" },
        { "jwt-key", "MYSERVICE_JWT_KEY", OPTION_STRING,
          &config->jwt.secret_file, NULL, 0, 0,
          "file with the secret of the tokens" },
        { "jwt-key-file", "MYSERVICE_JWT_KEY_FILE", OPTION_STRING,
          &config->jwt.key_file, NULL, 0, 0,
          "file with public keys: PEM or JWK Set; no key: no check" },
        { "jwt-algorithms", "MYSERVICE_JWT_ALGORITHMS", OPTION_STRING,
          &config->jwt.algorithms, NULL, 0, 0,
          "only these, separated by commas; else what the keys are for" },
        { "jwt-issuer", "MYSERVICE_JWT_ISSUER", OPTION_STRING,
          &config->jwt.issuer, NULL, 0, 0, "what \"iss\" must be" },
        { "jwt-audience", "MYSERVICE_JWT_AUDIENCE", OPTION_STRING,
          &config->jwt.audience, NULL, 0, 0,
          "what \"aud\" must be, or be one of" },
        { "jwt-session-claim", "MYSERVICE_JWT_SESSION_CLAIM", OPTION_STRING,
          &config->jwt.session_claim, "session_id", 0, 0,
          "the claim with the session id" },
        { "jwt-leeway", "MYSERVICE_JWT_LEEWAY", OPTION_TIME,
          &config->jwt_leeway, "5s", 0, DAY,
          "difference of the clocks that is allowed" },
        RPC_TLS_SERVER_OPTIONS("MYSERVICE", &config->tls),
        { "drain-timeout", "MYSERVICE_DRAIN_TIMEOUT", OPTION_TIME,
          &config->grace, "10s", 0, DAY,
          "for calls that still run at the end" },
        { "log-level", "MYSERVICE_LOG_LEVEL", OPTION_LOG_LEVEL,
          &config->log_level, "info", 0, 0, "how much is logged" },
        { NULL, NULL, OPTION_FLAG, NULL, NULL, 0, 0, NULL }
    };

    memset(config, 0, sizeof(config_t));

    first = options_parse(table, argc, argv, error, sizeof(error));

    if (first >= 0
        && (rpc_tls_usage(&config->tls, RPC_TLS_SERVER, error, sizeof(error))
            != 0
            || config_tokens(config, error, sizeof(error)) != 0))
    {
        first = -1;
    }

    if (first == -2) {
        config_help(table);
        return EXIT_SUCCESS;
    }

    if (first == -3) {
        printf("myservice " VERSION "\n");
        return EXIT_SUCCESS;
    }

    if (first == -1) {
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
           "An instance of MyService, for one session at a time. Options may "
           "come from the\nenvironment; the command line wins.\n\n");
    options_help(table, stdout);
}


/* Who gives rules for tokens believes that they are checked. */

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

    if (option != NULL && jwt->secret_file == NULL && jwt->key_file == NULL) {
        snprintf(error, size, "%s needs --jwt-key or --jwt-key-file", option);
        return -1;
    }

    return jwt->algorithms == NULL
           ? 0 : auth_algorithms(jwt->algorithms, &algorithms, error, size);
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

    if (config->jwt.secret_file != NULL || config->jwt.key_file != NULL) {
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

    server = rpc_server_create(NULL);
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


/* Takes "server". */

static int
main_run(rpc_run_t *run, rpc_server_t *server, const config_t *config,
    auth_t *auth, rpc_tls_t *tls)
{
    int                code;
    service_t         *service;
    rpc_run_options_t  running = { 0 };
    service_options_t  options = { 0 };

    options.name = config->name;
    options.interval = config->interval;
    options.session_ttl = config->session_ttl;
    options.auth = auth;
    options.exit = main_quit;
    options.exit_data = run;

    code = EXIT_FAILURE;

    service = service_create(server, &options);

    if (service == NULL) {
        log_error("cannot create the service");
        goto done;
    }

    running.listen = config->listen;
    running.credentials = tls != NULL ? rpc_tls_server(tls) : NULL;
    running.health = service_health(service);
    running.grace = config->grace;
    running.drain = service_drain;
    running.data = service;

    if (rpc_run(run, server, &running) == 0) {
        code = EXIT_SUCCESS;
    }

done:

    rpc_server_free(server);
    service_free(service);

    return code;
}


static void
main_quit(void *data)
{
    rpc_run_quit(data);
}
