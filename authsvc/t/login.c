/* A Login without a server, for tests. */

#include "authsvc/t/login.h"

#include <stdio.h>

#include "my_service.pb-c.h"


int
login_code(rpc_client_t *client, const char *address, const char *user,
    const char *password, char message[256])
{
    int                       code;
    rpc_result_t              result;
    rpc_metadata_t            from = { "x-real-ip", address };
    ProtobufCMessage         *response;
    MyService__LoginRequest   request = MY_SERVICE__LOGIN_REQUEST__INIT;

    request.username = (char *) user;
    request.password = (char *) password;
    request.session_id = (char *) "s";

    response = rpc_client_unary(client, "/my_service.MyServiceAPI/Login",
                                &from, address != NULL, LOGIN_TIMEOUT,
                                &request.base,
                                &my_service__login_response__descriptor,
                                &result);
    if (response != NULL) {
        protobuf_c_message_free_unpacked(response, NULL);
    }

    code = (int) result.code;
    if (message != NULL) {
        snprintf(message, 256, "%s", result.message);
    }
    rpc_result_free(&result);

    return code;
}
