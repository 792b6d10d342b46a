#include "authsvc/service.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sodium.h>

#include "authsvc/login.h"
#include "my_service.pb-c.h"
#include "rpc/log.h"


typedef struct {
    workers_job_t     job;
    rpc_call_t       *call;
    const issuer_t   *issuer;
    login_request_t   request;
    char             *password;         /* of the request; wiped after use */
} service_login_t;


static const grpc_status_code  service_codes[LOGIN_STATUSES] = {
    [LOGIN_OK] = GRPC_STATUS_OK,
    [LOGIN_NO_USERNAME] = GRPC_STATUS_INVALID_ARGUMENT,
    [LOGIN_NO_SESSION] = GRPC_STATUS_INVALID_ARGUMENT,
    [LOGIN_BAD_SESSION] = GRPC_STATUS_INVALID_ARGUMENT,
    [LOGIN_DENIED] = GRPC_STATUS_PERMISSION_DENIED,
    [LOGIN_STORE] = GRPC_STATUS_INTERNAL,
    [LOGIN_SIGN] = GRPC_STATUS_INTERNAL
};


static void
service_refuse(rpc_call_t *call, login_status_t status)
{
    rpc_call_fail(call, service_codes[status], login_messages[status]);
}


static void
service_answer(rpc_call_t *call, login_answer_t *answer)
{
    MyService__LoginResponse     response;
    Google__Protobuf__Timestamp  expires;

    google__protobuf__timestamp__init(&expires);
    expires.seconds = answer->expires;

    my_service__login_response__init(&response);
    response.token = answer->token;
    response.expires_at = &expires;
    response.role = answer->role;

    rpc_call_reply(call, &response.base);
    free(answer->token);
}


/* On a worker's thread.  The call, and "login" in it, may be gone as soon as
 * it has an answer. */
static void
service_login_run(workers_job_t *job, void *context)
{
    rpc_call_t       *call;
    login_answer_t    answer;
    login_status_t    status;
    service_login_t  *login;

    login = (service_login_t *) job;
    call = login->call;

    if (rpc_call_cancelled(call)) {
        sodium_memzero(login->password, strlen(login->password));
        rpc_call_fail(call, GRPC_STATUS_CANCELLED, NULL);
        return;
    }

    status = login_run(context, login->issuer, &login->request, time(NULL),
                       &answer);

    log_debug("login of \"%s\" for session \"%s\": %s",
              login->request.username, login->request.session,
              status == LOGIN_OK ? "ok" : login_messages[status]);

    sodium_memzero(login->password, strlen(login->password));

    if (status == LOGIN_OK) {
        service_answer(call, &answer);
    } else {
        service_refuse(call, status);
    }
}


/* The request lives in the call's memory, until the call is answered. */
static void
service_login(rpc_call_t *call, const ProtobufCMessage *message, void *data)
{
    service_t                *service;
    login_status_t            status;
    service_login_t          *login;
    MyService__LoginRequest  *request;

    service = data;
    request = (MyService__LoginRequest *) message;

    login = rpc_call_alloc(call, sizeof(service_login_t));
    if (login == NULL) {
        rpc_call_fail(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }

    login->job.run = service_login_run;
    login->call = call;
    login->issuer = service->issuer;
    login->request.username = request->username;
    login->request.password = request->password;
    login->request.session = request->session_id;
    login->password = request->password;

    status = login_check(&login->request);
    if (status != LOGIN_OK) {
        service_refuse(call, status);
        return;
    }

    rpc_call_defer(call);

    if (workers_submit(service->workers, &login->job) != 0) {
        rpc_call_fail(call, GRPC_STATUS_RESOURCE_EXHAUSTED,
                      "login queue is full");
    }
}


int
service_register(rpc_server_t *server, service_t *service)
{
    return rpc_server_unary(server, &my_service__my_service_api__descriptor,
                            "Login", service_login, service);
}
