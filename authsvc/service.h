/*
 * The Login method on an rpc server: cheap checks on the server's thread, the
 * rest on the pool.
 */

#ifndef AUTHSVC_SERVICE_H
#define AUTHSVC_SERVICE_H


#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "authsvc/address.h"
#include "authsvc/audit.h"
#include "authsvc/backoff.h"
#include "authsvc/issue.h"
#include "authsvc/turns.h"
#include "authsvc/workers.h"
#include "rpc/server.h"


/* Borrowed until the server is freed.  The context of each worker is its
 * store_t. */
typedef struct {
    workers_t             *workers;
    const issuer_t        *issuer;
    const address_nets_t  *proxies;     /* whose x-real-ip is believed */
    audit_t               *audit;       /* NULL: none */
    backoff_t             *backoff;     /* NULL: none */
    turns_t                turns;       /* of the server's thread */
    int64_t                lead;        /* us; of the same */
    size_t                 max_suspects;
    rpc_server_t          *server;      /* set by service_register() */
    atomic_size_t          suspects;
} service_t;


/* Before the server starts. */
int service_register(rpc_server_t *server, service_t *service)
    __attribute__((warn_unused_result));


#endif /* AUTHSVC_SERVICE_H */
