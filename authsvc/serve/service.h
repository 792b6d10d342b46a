/*
 * The Login method on an rpc server: the server's thread does the cheap checks,
 * a worker looks up the user and hashes the password.
 */

#ifndef AUTHSVC_SERVE_SERVICE_H
#define AUTHSVC_SERVE_SERVICE_H


#include "authsvc/audit/audit.h"
#include "authsvc/keys/issue.h"
#include "authsvc/login/backoff.h"
#include "authsvc/login/login.h"
#include "authsvc/serve/address.h"
#include "authsvc/serve/workers.h"
#include "rpc/metrics.h"
#include "rpc/server.h"


/* Borrowed until the server is freed.  The context of each worker is its
 * store_t. */
typedef struct {
    workers_t             *workers;
    const issuer_t        *issuer;
    const address_nets_t  *proxies;     /* whose x-real-ip counts */
    audit_t               *audit;       /* NULL: none */
    backoff_t             *backoff;     /* NULL: none */
    rpc_server_t          *server;      /* set by service_register() */

    /* for metrics, zero at first */
    atomic_ullong          logins[LOGIN_STATUSES];
    rpc_times_t            hash;
} service_t;


/* Before the server starts. */
int service_register(rpc_server_t *server, service_t *service)
    __attribute__((warn_unused_result));

/* Writes families of metrics. */
void service_metrics(service_t *service, FILE *out);


#endif /* AUTHSVC_SERVE_SERVICE_H */
