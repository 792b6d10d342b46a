/*
 * The health service: Check answers at once, Watch keeps a list of calls and
 * sends each change to all of them.
 */

#include "rpc/health.h"

#include <stdlib.h>
#include <string.h>

#include "health.pb-c.h"


/* calls of Watch stay open; there is no reason for many of them */
#define HEALTH_WATCHERS  256


typedef Grpc__Health__V1__HealthCheckRequest   health_request_t;
typedef Grpc__Health__V1__HealthCheckResponse  health_response_t;
typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus  health_status_t;

#define HEALTH_STATUS(name)                                                   \
    GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

typedef struct health_watcher_s  health_watcher_t;

/* In the memory of its call. */
struct health_watcher_s {
    health_watcher_t  *next;
    health_watcher_t  *prev;
    rpc_call_t        *call;
    rpc_health_t      *health;
    health_status_t    sent;
    bool               known;           /* the service's name is ours */
};

struct rpc_health_s {
    const char        *service;
    void             (*annotate)(rpc_call_t *call, void *data);
    void              *data;
    bool               serving;
    bool               draining;
    health_watcher_t  *watchers;
    size_t             n;
};


static void health_check(rpc_call_t *call, const ProtobufCMessage *message,
    void *data);
static void health_watch(rpc_call_t *call, const ProtobufCMessage *message,
    void *data);
static void health_tell(rpc_health_t *health);
static bool health_known(const rpc_health_t *health, const char *service);
static health_status_t health_status(const rpc_health_t *health);
static void watcher_update(health_watcher_t *watcher);
static void watcher_sent(rpc_call_t *call, void *data);
static void watcher_done(rpc_call_t *call, void *data);


rpc_health_t *
rpc_health_create(rpc_server_t *server, const char *service,
    void (*annotate)(rpc_call_t *call, void *data), void *data)
{
    rpc_health_t                      *health;
    const ProtobufCServiceDescriptor  *descriptor;

    health = calloc(1, sizeof(rpc_health_t));
    if (health == NULL) {
        return NULL;
    }

    health->service = service;
    health->annotate = annotate;
    health->data = data;

    descriptor = &grpc__health__v1__health__descriptor;

    if (rpc_server_unary(server, descriptor, "Check", health_check, health)
        != 0
        || rpc_server_stream(server, descriptor, "Watch", health_watch, health)
           != 0)
    {
        /* "Check" may know it, but a server without "Watch" is not started */
        free(health);
        return NULL;
    }

    return health;
}


void
rpc_health_free(rpc_health_t *health)
{
    free(health);
}


void
rpc_health_set(rpc_health_t *health, bool serving)
{
    if (!health->draining) {
        health->serving = serving;
        health_tell(health);
    }
}


void
rpc_health_drain(rpc_health_t *health)
{
    health->serving = false;
    health->draining = true;
    health_tell(health);
}


static void
health_tell(rpc_health_t *health)
{
    health_watcher_t  *watcher;

    /* no call is done, and no watcher goes, before the next event */

    for (watcher = health->watchers; watcher != NULL; watcher = watcher->next)
    {
        watcher_update(watcher);
    }
}


static void
health_check(rpc_call_t *call, const ProtobufCMessage *message, void *data)
{
    rpc_health_t            *health = data;
    health_response_t        response;
    const health_request_t  *request;

    request = (const health_request_t *) message;

    if (!health_known(health, request->service)) {
        rpc_call_fail(call, GRPC_STATUS_NOT_FOUND, "unknown service");
        return;
    }

    if (health->annotate != NULL) {
        health->annotate(call, health->data);
    }

    grpc__health__v1__health_check_response__init(&response);
    response.status = health_status(health);

    rpc_call_reply(call, &response.base);
}


static bool
health_known(const rpc_health_t *health, const char *service)
{
    return service[0] == '\0' || strcmp(service, health->service) == 0;
}


static health_status_t
health_status(const rpc_health_t *health)
{
    return health->serving ? HEALTH_STATUS(SERVING)
                           : HEALTH_STATUS(NOT_SERVING);
}


static void
health_watch(rpc_call_t *call, const ProtobufCMessage *message, void *data)
{
    rpc_health_t            *health = data;
    health_watcher_t        *watcher;
    const health_request_t  *request;

    request = (const health_request_t *) message;

    if (health->n == HEALTH_WATCHERS) {
        rpc_call_fail(call, GRPC_STATUS_RESOURCE_EXHAUSTED,
                      "too many watchers");
        return;
    }

    watcher = rpc_call_alloc(call, sizeof(health_watcher_t));
    if (watcher == NULL) {
        rpc_call_fail(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }

    watcher->call = call;
    watcher->health = health;
    watcher->known = health_known(health, request->service);
    watcher->sent = HEALTH_STATUS(UNKNOWN);

    watcher->prev = NULL;
    watcher->next = health->watchers;

    if (watcher->next != NULL) {
        watcher->next->prev = watcher;
    }

    health->watchers = watcher;
    health->n++;

    rpc_call_on_done(call, watcher_done, watcher);
    watcher_update(watcher);
}


/* Sends what the watcher does not know yet; afterwards it comes again. */

static void
watcher_update(health_watcher_t *watcher)
{
    rpc_health_t       *health;
    health_status_t     status;
    health_response_t   response;

    health = watcher->health;
    status = watcher->known ? health_status(health)
                            : HEALTH_STATUS(SERVICE_UNKNOWN);

    if (status != watcher->sent) {
        grpc__health__v1__health_check_response__init(&response);
        response.status = status;

        /* refused while the last one is on its way: then watcher_sent() */

        if (rpc_call_send(watcher->call, &response.base, watcher_sent,
                          watcher)
            == 0)
        {
            watcher->sent = status;
        }

    } else if (health->draining) {
        rpc_call_fail(watcher->call, GRPC_STATUS_UNAVAILABLE,
                      "server is shutting down");
    }
}


static void
watcher_sent(rpc_call_t *call, void *data)
{
    (void) call;

    watcher_update(data);
}


static void
watcher_done(rpc_call_t *call, void *data)
{
    health_watcher_t  *watcher = data;

    (void) call;

    if (watcher->prev != NULL) {
        watcher->prev->next = watcher->next;

    } else {
        watcher->health->watchers = watcher->next;
    }

    if (watcher->next != NULL) {
        watcher->next->prev = watcher->prev;
    }

    watcher->health->n--;
}
