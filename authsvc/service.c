#include "authsvc/service.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sodium.h>

#include "authsvc/login.h"
#include "my_service.pb-c.h"
#include "rpc/log.h"


#define SERVICE_FULL  "login queue is full"


typedef struct {
    workers_job_t     job;
    rpc_call_t       *call;
    service_t        *service;
    login_request_t   request;
    char             *password;         /* of the request; wiped after use */
    char              address[ADDRESS_TEXT];
    rpc_timer_t       timer;            /* of the answer, when it is held */
} service_login_t;


static const grpc_status_code  service_codes[LOGIN_STATUSES] = {
    [LOGIN_OK] = GRPC_STATUS_OK,
    [LOGIN_NO_USERNAME] = GRPC_STATUS_INVALID_ARGUMENT,
    [LOGIN_NO_SESSION] = GRPC_STATUS_INVALID_ARGUMENT,
    [LOGIN_BAD_SESSION] = GRPC_STATUS_INVALID_ARGUMENT,
    [LOGIN_DENIED] = GRPC_STATUS_PERMISSION_DENIED,
    [LOGIN_HELD] = GRPC_STATUS_PERMISSION_DENIED,
    [LOGIN_STORE] = GRPC_STATUS_INTERNAL,
    [LOGIN_SIGN] = GRPC_STATUS_INTERNAL
};


static const char *const  service_reasons[LOGIN_STATUSES] = {
    [LOGIN_OK] = "ok",
    [LOGIN_NO_USERNAME] = "no_username",
    [LOGIN_NO_SESSION] = "no_session",
    [LOGIN_BAD_SESSION] = "bad_session",
    [LOGIN_DENIED] = "denied",
    [LOGIN_HELD] = "held",
    [LOGIN_STORE] = "store",
    [LOGIN_SIGN] = "sign"
};


/* "token" and "role" may be NULL. */
static void
service_audit(const service_login_t *login, const char *outcome,
    const char *reason, const issue_t *token, const char *role)
{
    audit_event_t  event;

    memset(&event, 0, sizeof(event));
    event.outcome = outcome;
    event.reason = reason;
    event.user = login->request.username;
    event.session = login->request.session;
    event.address = login->address;
    event.role = role;

    if (token != NULL) {
        event.kid = token->kid[0] != '\0' ? token->kid : NULL;
        event.jti = token->jti;
    }

    audit_write(login->service->audit, &event);
}


/* Before the answer, so that who has it finds the line. */
static void
service_audit_login(const service_login_t *login, login_status_t status,
    const login_answer_t *answer)
{
    bool  failed;

    failed = status == LOGIN_STORE || status == LOGIN_SIGN;

    service_audit(login, status == LOGIN_OK ? "ok"
                         : failed ? "failed" : "refused",
                  service_reasons[status],
                  status == LOGIN_OK ? &answer->token : NULL,
                  status == LOGIN_OK ? answer->role : NULL);
}


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
    expires.seconds = answer->token.expires;

    my_service__login_response__init(&response);
    response.token = answer->token.text;
    response.expires_at = &expires;
    response.role = answer->role;

    rpc_call_reply(call, &response.base);
    free(answer->token.text);
}


static int64_t
service_us(void)
{
    struct timespec  now;

    clock_gettime(CLOCK_MONOTONIC, &now);

    return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}


/* login_run(), unless there were too many failures. */
static login_status_t
service_try(service_login_t *login, store_t *store, login_answer_t *answer)
{
    int64_t           start;
    backoff_t        *backoff;
    login_status_t    status;
    login_request_t  *request;

    request = &login->request;
    backoff = login->service->backoff;

    if (backoff != NULL
        && backoff_held(backoff, request->username, request->address,
                        rpc_now()))
    {
        return LOGIN_HELD;
    }

    start = service_us();
    status = login_run(store, login->service->issuer, request, time(NULL),
                       answer);

    if (backoff == NULL) {
        return status;
    }

    if (status == LOGIN_OK) {
        backoff_passed(backoff, request->username, request->address,
                       rpc_now());

    } else if (status == LOGIN_DENIED) {
        backoff_took(backoff, service_us() - start);

        if (backoff_failed(backoff, request->username, request->address,
                           rpc_now()))
        {
            log_warn("too many failed logins from %s: it is held",
                     request->address);
        }
    }

    return status;
}


static void
service_held_end(void *data)
{
    service_login_t  *login;

    login = data;

    atomic_fetch_sub(&login->service->held, 1);
    service_refuse(login->call, LOGIN_HELD);
}


/* On the server's thread. */
static void
service_held_start(void *data)
{
    int64_t           us;
    uint32_t          random;
    service_login_t  *login;

    login = data;
    random = randombytes_random();

    /* the fraction of a millisecond is a chance: the mean is right */
    us = backoff_delay(login->service->backoff, random % 4096);
    us += random / 4096 % 1000;

    login->timer.fire = service_held_end;
    login->timer.data = login;
    rpc_timer_set(login->service->server, &login->timer, us / 1000);
}


/* The answer of a held login takes no thread, but as long as that of another
 * one, and may not wait with any number of others. */
static void
service_hold(service_login_t *login)
{
    service_t  *service;

    service = login->service;

    if (atomic_fetch_add(&service->held, 1) >= service->max_held) {
        atomic_fetch_sub(&service->held, 1);
        rpc_call_fail(login->call, GRPC_STATUS_RESOURCE_EXHAUSTED,
                      SERVICE_FULL);

    } else if (rpc_server_post(service->server, service_held_start, login)
               != 0)
    {
        service_held_end(login);
    }
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
        service_audit(login, "failed", "cancelled", NULL, NULL);
        rpc_call_fail(call, GRPC_STATUS_CANCELLED, NULL);
        return;
    }

    status = service_try(login, context, &answer);

    log_debug("login of \"%s\" for session \"%s\" from %s: %s",
              login->request.username, login->request.session, login->address,
              status == LOGIN_OK ? "ok"
              : status == LOGIN_HELD ? "held" : login_messages[status]);

    sodium_memzero(login->password, strlen(login->password));
    service_audit_login(login, status, &answer);

    if (status == LOGIN_OK) {
        service_answer(call, &answer);

    } else if (status == LOGIN_HELD) {
        service_hold(login);

    } else {
        service_refuse(call, status);
    }
}


/* A proxy replaces what the client sent: two values come from nobody who is to
 * be believed. */
static void
service_address(rpc_call_t *call, const service_t *service, char *out)
{
    size_t       len;
    const char  *said;

    said = rpc_call_metadata(call, "x-real-ip", &len);

    if (rpc_call_metadata_count(call, "x-real-ip") != 1) {
        said = NULL;
    }

    address_client(service->proxies, rpc_call_peer(call), said, len, out);
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

    memset(login, 0, sizeof(service_login_t));
    login->job.run = service_login_run;
    login->call = call;
    login->service = service;
    login->request.username = request->username;
    login->request.password = request->password;
    login->request.session = request->session_id;
    login->request.address = login->address;
    login->password = request->password;
    service_address(call, service, login->address);

    status = login_check(&login->request);
    if (status != LOGIN_OK) {
        service_audit_login(login, status, NULL);
        service_refuse(call, status);
        return;
    }

    rpc_call_defer(call);

    if (workers_submit(service->workers, &login->job) != 0) {
        service_audit(login, "failed", "queue_full", NULL, NULL);
        rpc_call_fail(call, GRPC_STATUS_RESOURCE_EXHAUSTED,
                      SERVICE_FULL);
    }
}


int
service_register(rpc_server_t *server, service_t *service)
{
    service->server = server;

    return rpc_server_unary(server, &my_service__my_service_api__descriptor,
                            "Login", service_login, service);
}
