/*
 * A server with the methods of my_service.proto and a client, in one process.
 */

#ifndef RPC_T_FIXTURE_H
#define RPC_T_FIXTURE_H


#include "my_service.pb-c.h"

#include "rpc/client.h"
#include "rpc/server.h"


#define FIXTURE_ECHO       "/my_service.MyServiceAPI/MyServiceEcho"
#define FIXTURE_SUBSCRIBE  "/my_service.MyServiceAPI/MyServiceSubscribe"
#define FIXTURE_LOGIN      "/my_service.MyServiceAPI/Login"

typedef struct {
    rpc_server_t  *server;
    rpc_client_t  *client;
    int            port;
} fixture_t;


/* A NULL handler leaves its method out. */
typedef struct {
    rpc_handler_pt         echo;
    rpc_handler_pt         subscribe;
    rpc_handler_pt         login;
    void                  *data;
    rpc_server_options_t   options;
} fixture_methods_t;


void fixture_start(fixture_t *f, const fixture_methods_t *methods);

/* What rpc_server_stop() returned. */
int fixture_stop(fixture_t *f, int64_t grace);

/* An Echo; the response is to be freed by fixture_response_free(). */
MyService__EchoResponse *fixture_echo(fixture_t *f, const char *value,
    int64_t timeout, rpc_result_t *result);
void fixture_response_free(MyService__EchoResponse *response);

rpc_stream_t *fixture_subscribe(fixture_t *f, const char *value,
    int64_t timeout);

/* Fails the test if "flag" is not set within five seconds. */
void fixture_wait(_Atomic int *flag, int value);


#endif /* RPC_T_FIXTURE_H */
