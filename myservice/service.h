/*
 * my_service.MyServiceAPI of one instance, without Login: the edge between
 * gRPC and the session.  Everything runs on the server's thread.
 */

#ifndef MYSERVICE_SERVICE_H
#define MYSERVICE_SERVICE_H


#include <stdint.h>

#include "myservice/auth.h"
#include "myservice/session.h"
#include "rpc/health.h"
#include "rpc/server.h"


#define SERVICE_NAME  "my_service.MyServiceAPI"


typedef struct service_s  service_t;

typedef struct {
    const char    *name;                /* borrowed: "pod_name" */
    const char    *id;                  /* borrowed: of this process, random */
    int64_t        interval;            /* of MyServiceSubscribe, ms */
    int64_t        session_ttl;         /* ms */
    auth_t        *auth;                /* borrowed; NULL: no token check */
    void         (*exit)(void *data);   /* a Shutdown has been answered, or the
                                           last session has ended */
    void          *exit_data;
} service_options_t;


/* Adds the methods and the health service to "server", before it starts. */
service_t *service_create(rpc_server_t *server,
    const service_options_t *options);

rpc_health_t *service_health(const service_t *service);

/* On the server's thread. */
const session_t *service_session(const service_t *service);

/* No new session from now on; options.exit runs when the one that is set has
 * ended.  On the server's thread. */
void service_retire(void *service);

/* New calls are refused and streams end from now on; on the server's
 * thread. */
void service_drain(void *service);

/* After rpc_server_stop(). */
void service_free(service_t *service);


#endif /* MYSERVICE_SERVICE_H */
