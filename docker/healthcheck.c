/*
 * healthcheck [OPTION...] HOST:PORT [SERVICE]: asks for the health of a gRPC
 * server (grpc.health.v1.Health/Check) and exits 0 if the answer is SERVING,
 * else 1 with one line that says why.  For images without another gRPC client.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "health.pb-c.h"
#include "itests/settings.h"
#include "rpc/client.h"
#include "rpc/options.h"
#include "rpc/tls.h"
#include "version.h"


#define EXIT_USAGE  2

#define TIMEOUT     2000                /* ms */

#define SERVING                                                               \
    GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING

typedef Grpc__Health__V1__HealthCheckRequest   request_t;
typedef Grpc__Health__V1__HealthCheckResponse  response_t;


static void healthcheck_help(const option_t *table);
static int healthcheck_ask(rpc_client_t *client, const char *service);
static const char *healthcheck_name(const response_t *response);


int
main(int argc, char **argv)
{
    int               code, first, tls;
    char              error[512];
    settings_t        settings;
    rpc_client_t     *client;
    rpc_tls_files_t   files;

    const option_t  options[] = {
        SETTINGS_TLS_OPTIONS("HEALTHCHECK", &settings, &tls, &files),
        { NULL, NULL, OPTION_FLAG, NULL, NULL, 0, 0, NULL }
    };

    memset(&settings, 0, sizeof(settings_t));
    memset(&files, 0, sizeof(rpc_tls_files_t));

    first = options_parse(options, argc, argv, error, sizeof(error));

    if (first == OPTIONS_VERSION) {
        printf("healthcheck " MS_VERSION "\n");
        return EXIT_SUCCESS;
    }

    if (first == OPTIONS_HELP) {
        healthcheck_help(options);
        return EXIT_SUCCESS;
    }

    if (first == OPTIONS_ERROR) {
        fprintf(stderr, "healthcheck: %s\n", error);
        return EXIT_USAGE;
    }

    if (argc - first < 1 || argc - first > 2) {
        fprintf(stderr, "healthcheck: expected HOST:PORT and perhaps a "
                "service, see healthcheck --help\n");
        return EXIT_USAGE;
    }

    if (settings_tls(&settings, "healthcheck", tls, &files) != 0) {
        return EXIT_USAGE;
    }

    client = tls ? rpc_client_create_tls(argv[first], settings.tls,
                                         settings.tls_server_name)
                 : rpc_client_create(argv[first], NULL);

    if (client == NULL) {
        fprintf(stderr, "healthcheck: bad address \"%s\"\n", argv[first]);
        rpc_tls_free(settings.tls);
        return EXIT_USAGE;
    }

    code = healthcheck_ask(client, argc - first == 2 ? argv[first + 1] : "");

    rpc_client_free(client);
    rpc_tls_free(settings.tls);

    return code;
}


static void
healthcheck_help(const option_t *table)
{
    printf("usage: healthcheck [option...] HOST:PORT [SERVICE]\n\n"
           "Asks a gRPC server for its health. Prints the answer; exit 0 if it "
           "is SERVING.\n\n");
    options_help(table, stdout);
}


static int
healthcheck_ask(rpc_client_t *client, const char *service)
{
    int                code;
    request_t          request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    response_t        *response;
    rpc_result_t       result;
    ProtobufCMessage  *message;

    request.service = (char *) service;

    message = rpc_client_unary(client, "/grpc.health.v1.Health/Check", NULL,
                  0, TIMEOUT, &request.base,
                  &grpc__health__v1__health_check_response__descriptor,
                  &result);

    if (message == NULL) {
        printf("%s\n", result.message);
        code = EXIT_FAILURE;

    } else {
        response = (response_t *) message;
        printf("%s\n", healthcheck_name(response));

        code = response->status == SERVING ? EXIT_SUCCESS : EXIT_FAILURE;

        protobuf_c_message_free_unpacked(message, NULL);
    }

    rpc_result_free(&result);

    return code;
}


static const char *
healthcheck_name(const response_t *response)
{
    const ProtobufCEnumValue  *value;

    value = protobuf_c_enum_descriptor_get_value(
        &grpc__health__v1__health_check_response__serving_status__descriptor,
        response->status);

    return value == NULL ? "unknown status" : value->name;
}
