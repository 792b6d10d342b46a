#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "health.pb-c.h"
#include "itests/stack.h"


#define INSTANCES_MAX   64
#define ADDRESS_MAX     256
#define HEALTH_TIMEOUT  2000


static size_t stack_addresses(const test_t *test,
    char addresses[][ADDRESS_MAX]);
static size_t stack_ask(const char *script, char addresses[][ADDRESS_MAX]);
static int stack_health(rpc_client_t *instance, rpc_result_t *result);


bool
stack_known(const test_t *test)
{
    return test->settings->instances != NULL || test->settings->stack != NULL;
}


rpc_client_t *
stack_owner(const test_t *test, const char *session, const char **why)
{
    char          (*addresses)[ADDRESS_MAX];
    size_t          i, n;
    rpc_client_t   *instance;

    addresses = calloc(INSTANCES_MAX, ADDRESS_MAX);
    if (addresses == NULL) {
        abort();
    }

    instance = NULL;
    n = stack_addresses(test, addresses);

    *why = n == 0 ? "the addresses of the instances are not known "
                    "(--instances or --stack)"
                  : "no instance says that it has the session";

    for (i = 0; i < n && instance == NULL; i++) {
        instance = rpc_client_create(addresses[i], NULL);

        if (instance != NULL && stack_calls(instance, session) == -1) {
            rpc_client_free(instance);
            instance = NULL;
        }
    }

    free(addresses);

    return instance;
}


int
stack_calls(rpc_client_t *instance, const char *session)
{
    int            n;
    char          *owner, *calls;
    rpc_result_t   result;

    n = -1;

    if (stack_health(instance, &result) == 0) {
        owner = rpc_metadata_find(&result.initial, "session-id");
        calls = rpc_metadata_find(&result.initial, "session-calls");

        if (owner != NULL && calls != NULL && strcmp(owner, session) == 0) {
            n = atoi(calls);
        }

        free(owner);
        free(calls);
    }

    rpc_result_free(&result);

    return n;
}


static size_t
stack_addresses(const test_t *test, char addresses[][ADDRESS_MAX])
{
    size_t       n, len;
    const char  *p;

    if (test->settings->instances == NULL) {
        return test->settings->stack != NULL
               ? stack_ask(test->settings->stack, addresses) : 0;
    }

    n = 0;

    for (p = test->settings->instances; *p != '\0' && n < INSTANCES_MAX;
         p += len + (p[len] == ','))
    {
        len = strcspn(p, ",");

        if (len > 0 && len < ADDRESS_MAX) {
            memcpy(addresses[n], p, len);
            addresses[n++][len] = '\0';
        }
    }

    return n;
}


/* "<script> addresses" prints "<name> <address> ..." for every part. */

static size_t
stack_ask(const char *script, char addresses[][ADDRESS_MAX])
{
    char     line[512], name[ADDRESS_MAX], command[512];
    FILE    *out;
    size_t   n;

    snprintf(command, sizeof(command), "'%s' addresses", script);

    out = popen(command, "re");
    if (out == NULL) {
        return 0;
    }

    n = 0;

    while (n < INSTANCES_MAX && fgets(line, sizeof(line), out) != NULL) {
        if (sscanf(line, "%255s %255s", name, addresses[n]) == 2
            && strncmp(name, "myservice-", 10) == 0)
        {
            n++;
        }
    }

    return pclose(out) == 0 ? n : 0;
}


static int
stack_health(rpc_client_t *instance, rpc_result_t *result)
{
    ProtobufCMessage                      *response;
    Grpc__Health__V1__HealthCheckRequest   request
        = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;

    response = rpc_client_unary(instance, "/grpc.health.v1.Health/Check",
                   NULL, 0, HEALTH_TIMEOUT, &request.base,
                   &grpc__health__v1__health_check_response__descriptor,
                   result);

    if (response == NULL) {
        return -1;
    }

    protobuf_c_message_free_unpacked(response, NULL);

    return 0;
}
