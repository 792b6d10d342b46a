/*
 * Between gRPC and login.h: unpacks a Login, sends it to a worker, holds what
 * the back-off says, writes the audit line, and answers.
 */

#include "authsvc/serve/service.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sodium.h>

#include "authsvc/login/login.h"
#include "my_service.pb-c.h"
#include "rpc/log.h"


typedef struct {
    workers_job_t     job;
    rpc_call_t       *call;
    service_t        *service;
    login_request_t   request;
    char             *password;         /* of the request; wiped after use */
    char              address[ADDRESS_TEXT];
    int64_t           refuse_at;        /* ms; not before */
    rpc_timer_t       timer;            /* of the refusal */
} service_login_t;


/* What the client and the audit log learn of each outcome. */
static const struct {
    grpc_status_code   code;
    const char        *outcome;
    const char        *reason;
} service_results[LOGIN_STATUSES] = {
    [LOGIN_OK] = { GRPC_STATUS_OK, "ok", "ok" },
    [LOGIN_NO_USERNAME] = { GRPC_STATUS_INVALID_ARGUMENT, "refused",
                            "no_username" },
    [LOGIN_NO_SESSION] = { GRPC_STATUS_INVALID_ARGUMENT, "refused",
                           "no_session" },
    [LOGIN_BAD_SESSION] = { GRPC_STATUS_INVALID_ARGUMENT, "refused",
                            "bad_session" },
    [LOGIN_DENIED] = { GRPC_STATUS_PERMISSION_DENIED, "refused", "denied" },
    [LOGIN_HELD] = { GRPC_STATUS_PERMISSION_DENIED, "refused", "held" },
    [LOGIN_STORE] = { GRPC_STATUS_INTERNAL, "failed", "store" },
    [LOGIN_SIGN] = { GRPC_STATUS_INTERNAL, "failed", "sign" },
    [LOGIN_QUEUE_FULL] = { GRPC_STATUS_RESOURCE_EXHAUSTED, "failed",
                           "queue_full" },
    [LOGIN_CANCELLED] = { GRPC_STATUS_CANCELLED, "failed", "cancelled" }
};


/* Comes before the answer: a client that has the answer finds the line. */
static void
service_audit(const service_login_t *login, login_status_t status,
    const login_answer_t *answer)
{
    char           session[LOG_SESSION_ID];
    audit_event_t  event;

    memset(&event, 0, sizeof(event));
    event.outcome = service_results[status].outcome;
    event.reason = status == LOGIN_DENIED && answer != NULL && answer->disabled
                   ? "disabled" : service_results[status].reason;
    event.user = login->request.username;
    event.session = log_session_id(login->request.session, session);
    event.address = login->address;

    if (status == LOGIN_OK) {
        event.role = answer->role;
        event.kid = answer->token.kid[0] != '\0' ? answer->token.kid : NULL;
        event.jti = answer->token.jti;
    }

    atomic_fetch_add(&login->service->logins[status], 1);
    audit_write(login->service->audit, &event);
    log_debug("login of \"%s\" for session \"%s\" from %s: %s", event.user,
              event.session, event.address, event.reason);
}


static void
service_refuse(rpc_call_t *call, login_status_t status)
{
    rpc_call_fail(call, service_results[status].code, login_messages[status]);
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


static bool
service_held(const service_login_t *login)
{
    return login->service->backoff != NULL
           && backoff_held(login->service->backoff, login->request.username,
                           login->address, rpc_now());
}


static void
service_deny_now(void *data)
{
    service_login_t  *login = data;

    service_refuse(login->call, LOGIN_DENIED);
}


/* On the server's thread. */
static void
service_deny_later(void *data)
{
    int64_t           left;
    service_login_t  *login = data;

    left = login->refuse_at - rpc_now();
    login->timer.fire = service_deny_now;
    login->timer.data = login;
    rpc_timer_set(login->service->server, &login->timer, left > 0 ? left : 0);
}


/* On a worker's thread.  Held, unknown and wrong go the same way. */
static void
service_deny(service_login_t *login, int64_t start)
{
    backoff_t  *backoff;

    backoff = login->service->backoff;
    login->refuse_at = backoff != NULL ? start + backoff_floor(backoff) : 0;

    if (rpc_server_post(login->service->server, service_deny_later, login)
        != 0)
    {
        service_deny_now(login);
    }
}


/* Reports the result of a login that was not held to the back-off. */
static void
service_count(const service_login_t *login, login_status_t status,
    int64_t start)
{
    int64_t     now;
    backoff_t  *backoff;

    now = rpc_now();
    backoff = login->service->backoff;

    if (backoff != NULL && status == LOGIN_OK) {
        backoff_passed(backoff, login->request.username, login->address, now);

    } else if (backoff != NULL && status == LOGIN_DENIED) {
        /* the clock has whole milliseconds */
        backoff_took(backoff, now - start + 1);

        if (backoff_failed(backoff, login->request.username, login->address,
                           now))
        {
            log_warn("address is held: too many failed logins, "
                     "address=\"%s\"", login->address);
        }
    }
}


/* On a worker's thread.  The call, and "login" in it, may be gone as soon as
 * the call has an answer. */
static void
service_login_run(workers_job_t *job, void *context)
{
    int64_t           start;
    rpc_call_t       *call;
    login_answer_t    answer;
    login_status_t    status;
    service_login_t  *login;

    login = (service_login_t *) job;
    call = login->call;
    start = rpc_now();

    if (rpc_call_cancelled(call)) {
        status = LOGIN_CANCELLED;

    } else if (service_held(login)) {
        status = LOGIN_HELD;

    } else {
        status = login_run(context, login->service->issuer, &login->request,
                           time(NULL), &answer);
        rpc_times_add(&login->service->hash, rpc_now() - start);
        service_count(login, status, start);
    }

    sodium_memzero(login->password, strlen(login->password));
    service_audit(login, status, &answer);

    if (status == LOGIN_OK) {
        service_answer(call, &answer);

    } else if (status == LOGIN_DENIED || status == LOGIN_HELD) {
        service_deny(login, start);

    } else {
        service_refuse(call, status);
    }
}


/* A trusted proxy replaces the header: two values come from a client. */
static void
service_address(rpc_call_t *call, const service_t *service, char *out)
{
    size_t       len;
    const char  *forwarded;

    forwarded = rpc_call_metadata(call, "x-real-ip", &len);

    if (rpc_call_metadata_count(call, "x-real-ip") != 1) {
        forwarded = NULL;
    }

    address_client(service->proxies, rpc_call_peer(call), forwarded, len, out);
}


/* A login that is held now takes no place in the queue.  The worker asks the
 * back-off again: others may fail while this one waits. */
static login_status_t
service_submit(service_login_t *login)
{
    login_status_t  status;

    status = login_check(&login->request);

    if (status == LOGIN_OK && service_held(login)) {
        status = LOGIN_HELD;
    }

    if (status == LOGIN_OK || status == LOGIN_HELD) {
        rpc_call_defer(login->call);
    }

    if (status == LOGIN_OK
        && workers_submit(login->service->workers, &login->job) != 0)
    {
        status = LOGIN_QUEUE_FULL;
    }

    return status;
}


/* The request lives in the call's memory until the call is answered. */
static void
service_login(rpc_call_t *call, const ProtobufCMessage *message, void *data)
{
    login_status_t            status;
    service_login_t          *login;
    MyService__LoginRequest  *request;

    request = (MyService__LoginRequest *) message;

    login = rpc_call_alloc(call, sizeof(service_login_t));
    if (login == NULL) {
        rpc_call_fail(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }

    memset(login, 0, sizeof(service_login_t));
    login->job.run = service_login_run;
    login->call = call;
    login->service = data;
    login->request.username = request->username;
    login->request.password = request->password;
    login->request.session = request->session_id;
    login->password = request->password;
    service_address(call, data, login->address);

    status = service_submit(login);
    if (status == LOGIN_OK) {
        return;
    }

    sodium_memzero(login->password, strlen(login->password));
    service_audit(login, status, NULL);

    if (status == LOGIN_HELD) {
        login->refuse_at = rpc_now() + backoff_floor(login->service->backoff);
        service_deny_later(login);
        return;
    }

    service_refuse(call, status);
}


void
service_metrics(service_t *service, FILE *out)
{
    size_t  i;

    rpc_metrics_family(out, "authsvc_logins_total", "counter",
                       "logins by outcome");

    for (i = 0; i < LOGIN_STATUSES; i++) {
        fprintf(out, "authsvc_logins_total{outcome=\"%s\"} %llu\n",
                service_results[i].reason,
                (unsigned long long) atomic_load(&service->logins[i]));
    }

    rpc_metrics_times(out, "authsvc_hash_seconds",
                      "how long a login took in its thread: user, hash, token",
                      &service->hash);
    rpc_metrics_family(out, "authsvc_login_queue", "gauge",
                       "logins that wait for a thread");
    fprintf(out, "authsvc_login_queue %zu\n",
            workers_waiting(service->workers));
}


int
service_register(rpc_server_t *server, service_t *service)
{
    service->server = server;

    return rpc_server_unary(server, &my_service__my_service_api__descriptor,
                            "Login", service_login, service);
}
