/*
 * The service of the tests: handlers that do what the value of the request
 * says, a server with them, and a client.
 */

#ifndef RPC_T_SERVICE_H
#define RPC_T_SERVICE_H


#include <stdatomic.h>

#include "rpc/t/fixture.h"


#define FAR  60000              /* ms: never within a test */

/* What the handlers saw. */
typedef struct {
    _Atomic int    opened;
    _Atomic int    cancelled;
    _Atomic int    done;
    _Atomic int    fired;
    _Atomic int    release;         /* worker threads wait for it */
    rpc_server_t  *server;
} probe_t;


void service_start(void);
void service_start_with(const rpc_server_options_t *options);
void service_stop(void);

/* The handler of MyServiceEcho; "data" is not used. */
void service_echo(rpc_call_t *call, const ProtobufCMessage *message,
    void *data);

/* So that the time of a connect is not the test's. */
void service_connect(void);


extern probe_t    service_probe;
extern fixture_t  service;


#endif /* RPC_T_SERVICE_H */
