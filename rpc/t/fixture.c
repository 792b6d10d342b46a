/*
 * A server with the methods of my_service.proto and a client, in one process.
 */

#include "rpc/t/fixture.h"
#include "rpc/t/lasted.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include <check.h>


static void fixture_method(rpc_server_t *server, const char *name,
    rpc_handler_pt handler, void *data, int stream);


void
fixture_start(fixture_t *f, const fixture_methods_t *methods)
{
    char  target[64];

    f->server = rpc_server_create(&methods->options);
    ck_assert_ptr_nonnull(f->server);

    fixture_method(f->server, "MyServiceEcho", methods->echo, methods->data,
                   0);
    fixture_method(f->server, "MyServiceSubscribe", methods->subscribe,
                   methods->data, 1);
    fixture_method(f->server, "Login", methods->login, methods->data, 0);

    f->port = rpc_server_listen(f->server, "127.0.0.1:0", NULL);
    ck_assert_int_gt(f->port, 0);
    ck_assert_int_eq(rpc_server_start(f->server), 0);

    snprintf(target, sizeof(target), "127.0.0.1:%d", f->port);
    f->client = rpc_client_create(target, NULL);
    ck_assert_ptr_nonnull(f->client);
}


static void
fixture_method(rpc_server_t *server, const char *name, rpc_handler_pt handler,
    void *data, int stream)
{
    int  rc;

    if (handler == NULL) {
        return;
    }

    if (stream) {
        rc = rpc_server_stream(server, &my_service__my_service_api__descriptor,
                               name, handler, data);

    } else {
        rc = rpc_server_unary(server, &my_service__my_service_api__descriptor,
                              name, handler, data);
    }

    ck_assert_int_eq(rc, 0);
}


int
fixture_stop(fixture_t *f, int64_t grace)
{
    int  rc;

    rc = rpc_server_stop(f->server, grace);

    rpc_client_free(f->client);
    rpc_server_free(f->server);

    return rc;
}


MyService__EchoResponse *
fixture_echo(fixture_t *f, const char *value, int64_t timeout,
    rpc_result_t *result)
{
    MyService__EchoRequest  request = MY_SERVICE__ECHO_REQUEST__INIT;

    request.value = (char *) value;

    return (MyService__EchoResponse *)
           rpc_client_unary(f->client, FIXTURE_ECHO, NULL, 0, timeout,
                            &request.base,
                            &my_service__echo_response__descriptor, result);
}


void
fixture_response_free(MyService__EchoResponse *response)
{
    my_service__echo_response__free_unpacked(response, NULL);
}


rpc_stream_t *
fixture_subscribe(fixture_t *f, const char *value, int64_t timeout)
{
    rpc_stream_t            *stream;
    MyService__EchoRequest   request = MY_SERVICE__ECHO_REQUEST__INIT;

    request.value = (char *) value;

    stream = rpc_client_stream(f->client, FIXTURE_SUBSCRIBE, NULL, 0, timeout,
                               &request.base,
                               &my_service__echo_response__descriptor);
    ck_assert_ptr_nonnull(stream);

    return stream;
}


void
fixture_wait(_Atomic int *flag, int value)
{
    int64_t  end;

    end = rpc_now() + LASTED_DEADLINE;

    while (atomic_load(flag) != value) {
        ck_assert_msg(rpc_now() < end, "%d instead of %d",
                      atomic_load(flag), value);
        usleep(1000);
    }
}
