/*
 * healthcheck HOST:PORT [SERVICE]: asks grpc.health.v1.Health/Check and exits
 * 0 if the answer is SERVING, else 1 with one line that says why.  For images
 * that have no other gRPC client.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "health.pb-c.h"
#include "rpc/client.h"
#include "version.h"


#define EXIT_USAGE  2

#define TIMEOUT     2000                /* ms */

#define SERVING                                                               \
    GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING

typedef Grpc__Health__V1__HealthCheckRequest   request_t;
typedef Grpc__Health__V1__HealthCheckResponse  response_t;


static int healthcheck_ask(rpc_client_t *client, const char *service);
static const char *healthcheck_name(const response_t *response);


static const char  healthcheck_usage[] =
    "usage: healthcheck HOST:PORT [SERVICE]\n"
    "       healthcheck --help | --version\n"
    "\n"
    "Asks a gRPC server for its health. Prints the answer; exit 0 if it is "
    "SERVING.\n";


int
main(int argc, char **argv)
{
    int            code;
    rpc_client_t  *client;

    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("healthcheck " MS_VERSION "\n");
        return EXIT_SUCCESS;
    }

    if (argc == 2
        && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
    {
        fputs(healthcheck_usage, stdout);
        return EXIT_SUCCESS;
    }

    if (argc < 2 || argc > 3 || argv[1][0] == '-') {
        fputs(healthcheck_usage, stderr);
        return EXIT_USAGE;
    }

    client = rpc_client_create(argv[1], NULL);
    if (client == NULL) {
        fprintf(stderr, "healthcheck: bad address \"%s\"\n", argv[1]);
        return EXIT_USAGE;
    }

    code = healthcheck_ask(client, argc == 3 ? argv[2] : "");

    rpc_client_free(client);

    return code;
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
