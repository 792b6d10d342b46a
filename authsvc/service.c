#include "authsvc/service.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sodium.h>

#include "authsvc/login.h"
#include "my_service.pb-c.h"
#include "rpc/log.h"


#define SERVICE_LEAD  5000              /* us: more is no timer's fault */


typedef struct {
    workers_job_t     job;
    rpc_call_t       *call;
    service_t        *service;
    login_request_t   request;
    char             *password;         /* of the request; wiped after use */
    char              address[ADDRESS_TEXT];
    bool              suspect;          /* counted as such */
    int64_t           turn;             /* us: when it would begin */
    int64_t           took;             /* us: its hash, or what it would */
    rpc_timer_t       timer;            /* of the refusal */
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
        login->took = service_us() - start;
        backoff_took(backoff, login->took);

        if (backoff_failed(backoff, request->username, request->address,
                           rpc_now()))
        {
            log_warn("too many failed logins from %s: it is held",
                     request->address);
        }
    }

    return status;
}


/*
 * At most so many are here that may be held, and half of the queue is always
 * for others.  Who is known would not be held: he is counted nevertheless, or
 * he could be told by that.
 */
static int
service_enter(service_login_t *login)
{
    service_t  *service;

    service = login->service;

    if (service->backoff == NULL) {
        return 0;
    }

    if (backoff_suspect(service->backoff, login->request.username,
                        login->request.address, rpc_now()))
    {
        if (atomic_fetch_add(&service->suspects, 1) >= service->max_suspects) {
            atomic_fetch_sub(&service->suspects, 1);
            return -1;
        }

        login->suspect = true;
    }

    login->took = backoff_delay(service->backoff, randombytes_random());
    login->turn = turns_take(&service->turns, service_us(), login->took);

    return 0;
}


/* Before the answer: the login may be gone after it. */
static void
service_leave(service_login_t *login)
{
    if (login->suspect) {
        atomic_fetch_sub(&login->service->suspects, 1);
    }
}


static void
service_deny_now(service_login_t *login)
{
    service_leave(login);
    service_refuse(login->call, LOGIN_DENIED);
}


static int64_t
service_left(const service_login_t *login)
{
    return login->turn + login->took - service_us();
}


/* Timers fire about a millisecond late, which would tell what was not hashed:
 * how late is learnt. */
static void
service_wait_end(void *data)
{
    int64_t           early, lead;
    service_login_t  *login;

    login = data;

    early = service_left(login);
    early = early < -SERVICE_LEAD ? -SERVICE_LEAD : early;
    lead = login->service->lead - early / 16;
    login->service->lead = lead < 0 ? 0
                           : lead > SERVICE_LEAD ? SERVICE_LEAD : lead;

    service_deny_now(login);
}


/* On the server's thread, as its end. */
static void
service_wait(void *data)
{
    int64_t           us;
    service_login_t  *login;

    login = data;

    /* the fraction of a millisecond is a chance: the mean is right */
    us = service_left(login) - login->service->lead
         + randombytes_random() % 1000;

    login->timer.fire = service_wait_end;
    login->timer.data = login;
    rpc_timer_set(login->service->server, &login->timer,
                  us > 0 ? us / 1000 : 0);
}


/*
 * A held login takes no thread, and its answer comes when it would if it did,
 * behind those that came before.  So does that of one that was hashed while
 * others were not: any number at once take as long, whoever is known.
 */
static void
service_deny(service_login_t *login)
{
    if (service_left(login) <= 0
        || rpc_server_post(login->service->server, service_wait, login) != 0)
    {
        service_deny_now(login);
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
        service_leave(login);
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

    if (status == LOGIN_DENIED || status == LOGIN_HELD) {
        service_deny(login);
        return;
    }

    service_leave(login);

    if (status == LOGIN_OK) {
        service_answer(call, &answer);

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


static void
service_full(service_login_t *login)
{
    service_audit(login, "failed", "queue_full", NULL, NULL);
    rpc_call_fail(login->call, GRPC_STATUS_RESOURCE_EXHAUSTED,
                  "login queue is full");
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

    if (service_enter(login) != 0) {
        service_full(login);
        return;
    }

    rpc_call_defer(call);

    if (workers_submit(service->workers, &login->job) != 0) {
        service_leave(login);
        service_full(login);
    }
}


int
service_register(rpc_server_t *server, service_t *service)
{
    service->server = server;

    return rpc_server_unary(server, &my_service__my_service_api__descriptor,
                            "Login", service_login, service);
}
