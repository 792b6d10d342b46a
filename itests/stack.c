/*
 * Finds and controls the instances and the gateway by the commands of the
 * stack's script.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "health.pb-c.h"
#include "itests/client.h"
#include "itests/stack.h"


#define INSTANCES_MAX   64
#define ADDRESS_MAX     STACK_ADDRESS
#define HEALTH_TIMEOUT  10000


typedef struct {
    int   number;                       /* for the commands of the stack */
    char  address[ADDRESS_MAX];
} instance_t;


static rpc_client_t *stack_search(const test_t *test, const char *session,
    int *number, const char **why);
static size_t stack_instances(const test_t *test, instance_t *instances);
static size_t stack_ask(const char *script, instance_t *instances);
static bool stack_command(test_t *test, const char *command, int instance);
static int stack_script(const test_t *test, const char *command,
    int instance);
static bool stack_gateway(test_t *test, const char *command);
static size_t stack_numbers(const test_t *test, const char *command,
    long *numbers, size_t max);
static bool stack_number(test_t *test, const char *command, int number,
    const char *action);
static int stack_health(rpc_client_t *instance, rpc_result_t *result);


bool
stack_known(const test_t *test)
{
    return test->settings->instances != NULL || test->settings->stack != NULL;
}


int
stack_size(const test_t *test, const char **why)
{
    int          n;
    instance_t  *instances;

    *why = "the stack cannot be stopped from here (--stack)";

    if (test->settings->stack == NULL) {
        return 0;
    }

    instances = calloc(INSTANCES_MAX, sizeof(instance_t));
    if (instances == NULL) {
        abort();
    }

    n = (int) stack_ask(test->settings->stack, instances);
    *why = "the stack names no instances";

    free(instances);

    return n;
}


int
stack_find(const test_t *test, const char *session)
{
    int            number;
    const char    *why;
    rpc_client_t  *instance;

    instance = stack_search(test, session, &number, &why);

    if (instance == NULL) {
        return 0;
    }

    rpc_client_free(instance);

    return number;
}


rpc_client_t *
stack_owner(const test_t *test, const char *session, const char **why)
{
    int  number;

    return stack_search(test, session, &number, why);
}


bool
stack_kill(test_t *test, int instance)
{
    return stack_command(test, "kill", instance);
}


bool
stack_halt(test_t *test, int instance)
{
    return stack_command(test, "halt", instance);
}


bool
stack_restart(test_t *test, int instance)
{
    return stack_command(test, "restart", instance);
}


bool
stack_retire(test_t *test, int instance)
{
    return stack_command(test, "retire", instance);
}


bool
stack_kill_if_running(const test_t *test, int instance)
{
    return stack_script(test, "kill", instance) == 0;
}


bool
stack_reload(test_t *test)
{
    return stack_gateway(test, "reload");
}


bool
stack_upgrade(test_t *test)
{
    return stack_gateway(test, "upgrade");
}


bool
stack_regateway(test_t *test)
{
    return stack_gateway(test, "regateway");
}


bool
stack_part(const test_t *test, const char *part, char *rest, size_t size)
{
    int    n;
    bool   found;
    char   line[512], name[64];
    FILE  *out;

    if (test->settings->stack == NULL) {
        return false;
    }

    snprintf(line, sizeof(line), "'%s' addresses", test->settings->stack);

    out = popen(line, "re");
    found = false;

    while (out != NULL && fgets(line, sizeof(line), out) != NULL) {
        if (sscanf(line, "%63s %n", name, &n) == 1 && strcmp(name, part) == 0) {
            snprintf(rest, size, "%s", line + n);
            found = true;
        }
    }

    return out != NULL && pclose(out) == 0 && found;
}


bool
stack_address(const test_t *test, const char *part, char *address,
    size_t size)
{
    char  rest[512], value[STACK_ADDRESS];

    if (!stack_part(test, part, rest, sizeof(rest))
        || sscanf(rest, "%255s", value) != 1)
    {
        return false;
    }

    snprintf(address, size, "%s", value);

    return true;
}


void
stack_gateways(const test_t *test, stack_gateways_t *gateways)
{
    char  name[32];

    gateways->n = 0;
    snprintf(name, sizeof(name), "gateway");

    while (gateways->n < STACK_GATEWAYS
           && stack_address(test, name, gateways->address[gateways->n],
                            STACK_ADDRESS))
    {
        gateways->n++;
        snprintf(name, sizeof(name), "gateway-%zu", gateways->n + 1);
    }
}


bool
stack_act(test_t *test, int gateway, const char *action)
{
    return stack_number(test, "gateway", gateway, action);
}


bool
stack_store(test_t *test, const char *action)
{
    char  command[64];

    snprintf(command, sizeof(command), "store %s", action);

    return stack_gateway(test, command)
           && (check_note(test, "the stack has done \"%s\"", command), true);
}


long
stack_store_leases(const test_t *test)
{
    long  n;

    return stack_numbers(test, "store leases", &n, 1) == 1 ? n : -1;
}


bool
stack_session(const test_t *test, int instance, char *session, size_t size)
{
    bool           ok;
    char           name[32], address[ADDRESS_MAX], *owner;
    rpc_client_t  *rpc;
    rpc_result_t   result;

    snprintf(name, sizeof(name), "myservice-%d", instance);

    if (!stack_address(test, name, address, sizeof(address))) {
        return false;
    }

    rpc = client_connect(test, address, false);
    if (rpc == NULL) {
        return false;
    }

    ok = stack_health(rpc, &result) == 0;
    owner = ok ? rpc_metadata_find(&result.initial, "session-id") : NULL;
    snprintf(session, size, "%s", owner != NULL ? owner : "");

    free(owner);
    rpc_result_free(&result);
    rpc_client_free(rpc);

    return ok;
}


/* "authsvc SET ARGUMENTS" by the script of the stack */

static bool
stack_authsvc(const test_t *test, const char *set, const char *arguments,
    char *line, size_t size)
{
    char   command[512];
    FILE  *out;

    line[0] = '\0';

    if (test->settings->stack == NULL) {
        return false;
    }

    snprintf(command, sizeof(command), "'%s' %s %s", test->settings->stack, set,
             arguments);

    out = popen(command, "re");
    if (out == NULL) {
        return false;
    }

    if (fgets(line, (int) size, out) != NULL) {
        line[strcspn(line, "\n")] = '\0';

        while (fgetc(out) != EOF) { /* the rest of it */ }
    }

    return pclose(out) == 0;
}


bool
stack_key(const test_t *test, const char *arguments, char *line, size_t size)
{
    return stack_authsvc(test, "key", arguments, line, size);
}


bool
stack_user(const test_t *test, const char *arguments)
{
    char  line[256];

    return stack_authsvc(test, "user", arguments, line, sizeof(line));
}


size_t
stack_workers(const test_t *test, pid_t *pids, size_t max)
{
    long    numbers[INSTANCES_MAX];
    size_t  i, n;

    n = stack_numbers(test, "workers", numbers,
                      max < INSTANCES_MAX ? max : INSTANCES_MAX);

    for (i = 0; i < n; i++) {
        pids[i] = (pid_t) numbers[i];
    }

    return n;
}


bool
stack_kill_worker(test_t *test, pid_t pid)
{
    return stack_command(test, "kill-worker", (int) pid);
}


long
stack_count(const test_t *test, const char *text)
{
    long  n;
    char  command[256];

    snprintf(command, sizeof(command), "count '%s'", text);

    return stack_numbers(test, command, &n, 1) == 1 ? n : -1;
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


bool
stack_joined(const test_t *test, int instance)
{
    return stack_is(test, instance, "free tentative leased");
}


bool
stack_is(const test_t *test, int instance, const char *states)
{
    bool   is;
    char   line[512], state[32];
    FILE  *out;

    snprintf(line, sizeof(line), "'%s' state %d", test->settings->stack,
             instance);

    is = false;
    out = popen(line, "re");

    while (out != NULL && fscanf(out, "%31s", state) == 1) {
        is = strstr(states, state) != NULL;

        if (!is) {
            break;
        }
    }

    return out != NULL && pclose(out) == 0 && is;
}


static rpc_client_t *
stack_search(const test_t *test, const char *session, int *number,
    const char **why)
{
    size_t         i, n;
    instance_t    *instances;
    rpc_client_t  *instance;

    instances = calloc(INSTANCES_MAX, sizeof(instance_t));
    if (instances == NULL) {
        abort();
    }

    instance = NULL;
    n = stack_instances(test, instances);

    *why = n == 0 ? "the addresses of the instances are not known "
                    "(--instances or --stack)"
                  : "no instance serves the session";

    for (i = 0; i < n && instance == NULL; i++) {
        instance = client_connect(test, instances[i].address, false);
        *number = instances[i].number;

        if (instance != NULL && stack_calls(instance, session) == -1) {
            rpc_client_free(instance);
            instance = NULL;
        }
    }

    free(instances);

    return instance;
}


static size_t
stack_instances(const test_t *test, instance_t *instances)
{
    size_t       n, len;
    const char  *p;

    if (test->settings->instances == NULL) {
        return test->settings->stack != NULL
               ? stack_ask(test->settings->stack, instances) : 0;
    }

    n = 0;

    for (p = test->settings->instances; *p != '\0' && n < INSTANCES_MAX;
         p += len + (p[len] == ','))
    {
        len = strcspn(p, ",");

        if (len > 0 && len < ADDRESS_MAX) {
            memcpy(instances[n].address, p, len);
            instances[n].address[len] = '\0';
            instances[n].number = (int) n + 1;
            n++;
        }
    }

    return n;
}


/* "<script> addresses" prints "<name> <address> ..." for every part; the
 * instances are "myservice-<number>". */

static size_t
stack_ask(const char *script, instance_t *instances)
{
    char     line[512], command[512];
    FILE    *out;
    size_t   n;

    snprintf(command, sizeof(command), "'%s' addresses", script);

    out = popen(command, "re");
    if (out == NULL) {
        return 0;
    }

    n = 0;

    while (n < INSTANCES_MAX && fgets(line, sizeof(line), out) != NULL) {
        if (sscanf(line, "myservice-%d %255s", &instances[n].number,
                   instances[n].address) == 2)
        {
            n++;
        }
    }

    return pclose(out) == 0 ? n : 0;
}


static bool
stack_command(test_t *test, const char *command, int instance)
{
    int  status;

    status = stack_script(test, command, instance);

    if (status != 0) {
        return check(test, false, "the stack does \"%s %d\": got status %d, "
                     "want 0", command, instance, status);
    }

    check_note(test, "the stack has done \"%s %d\"", command, instance);

    return true;
}


static bool
stack_number(test_t *test, const char *command, int number,
    const char *action)
{
    char  line[64];

    snprintf(line, sizeof(line), "%s %d %s", command, number, action);

    return stack_gateway(test, line)
           && (check_note(test, "the stack has done \"%s\"", line), true);
}


static bool
stack_gateway(test_t *test, const char *command)
{
    int  status;

    status = stack_script(test, command, 0);

    return status == 0
           || check(test, false, "the stack does \"%s\": got status %d, "
                    "want 0", command, status);
}


/* Output of the script goes to standard error: standard output is TAP. */

static int
stack_script(const test_t *test, const char *command, int instance)
{
    char  line[512], number[16];

    number[0] = '\0';

    if (instance != 0) {
        snprintf(number, sizeof(number), "%d", instance);
    }

    snprintf(line, sizeof(line), "'%s' %s %s >&2", test->settings->stack,
             command, number);

    return system(line);
}


static size_t
stack_numbers(const test_t *test, const char *command, long *numbers,
    size_t max)
{
    char     line[512];
    FILE    *out;
    size_t   n;

    snprintf(line, sizeof(line), "'%s' %s", test->settings->stack, command);

    out = popen(line, "re");
    if (out == NULL) {
        return 0;
    }

    n = 0;

    while (n < max && fscanf(out, "%ld", &numbers[n]) == 1) {
        n++;
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
