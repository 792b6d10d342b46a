/*
 * The methods of MyServiceAPI and what goes with them in metadata: the session
 * of a call, its token, what the gateway says about the lease, and the answer
 * of the health check, which says who owns the instance.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "jwt/token.h"
#include "my_service.pb-c.h"
#include "myservice/service.h"
#include "myservice/session.h"
#include "myservice/terms.h"
#include "rpc/log.h"
#include "rpc/reflection.h"


#define SUBJECT_LEN  32                 /* a hash in hexadecimal */


/* MyServiceSubscribe; lives in the call's memory, linked while it runs. */

typedef struct stream_s  stream_t;

struct stream_s {
    service_t                *service;
    rpc_call_t               *call;
    stream_t                 *prev;
    stream_t                 *next;
    int64_t                   due;      /* of the next message */
    MyService__EchoResponse   message;
};

struct service_s {
    service_options_t   options;
    rpc_server_t       *server;
    rpc_health_t       *health;
    rpc_reflection_t   *reflection;
    session_t           session;
    char                subject[SUBJECT_LEN + 1];
                                        /* owner of the session, or "" */
    rpc_timer_t         expiry;
    stream_t            streams;        /* head of the ring */
};


static void service_echo(rpc_call_t *call, const ProtobufCMessage *request,
    void *data);
static void service_subscribe(rpc_call_t *call,
    const ProtobufCMessage *request, void *data);
static void service_shutdown(rpc_call_t *call,
    const ProtobufCMessage *request, void *data);

static char *service_caller(service_t *service, rpc_call_t *call);
static int service_enter(service_t *service, rpc_call_t *call,
    const char *id);
static void service_leave(rpc_call_t *call, void *data);
static void service_refuse(service_t *service, rpc_call_t *call,
    const char *id, session_result_t result);
static void service_trailer(rpc_call_t *call, const char *name,
    const char *value);
static void service_take_subject(service_t *service, const rpc_call_t *call);
static void service_trailer_epoch(const service_t *service, rpc_call_t *call);
static void service_expire(void *data);
static void service_quit_if_last(service_t *service);
static void service_forget_moved(rpc_call_t *call, service_t *service,
    int64_t now);
static void service_health_answer(rpc_call_t *call, void *data);
static void service_exit(rpc_call_t *call, void *data);

static void stream_send(rpc_call_t *call, void *data);
static void stream_sent(rpc_call_t *call, void *data);
static void stream_done(rpc_call_t *call, void *data);


static const char  service_value[] = "my_service";
static const char  service_closing[] = "instance is shutting down";


service_t *
service_create(rpc_server_t *server, const service_options_t *options)
{
    service_t                         *service;
    const ProtobufCServiceDescriptor  *api;

    service = calloc(1, sizeof(service_t));
    if (service == NULL) {
        return NULL;
    }

    api = &my_service__my_service_api__descriptor;

    service->options = *options;
    service->server = server;
    service->streams.next = &service->streams;
    service->streams.prev = &service->streams;

    session_init(&service->session, options->session_ttl);

    service->expiry.fire = service_expire;
    service->expiry.data = service;

    if (rpc_server_unary(server, api, "MyServiceEcho", service_echo, service)
        || rpc_server_stream(server, api, "MyServiceSubscribe",
                             service_subscribe, service)
        || rpc_server_unary(server, api, "MyServiceShutdown",
                            service_shutdown, service))
    {
        free(service);
        return NULL;
    }

    service->health = rpc_health_create(server, SERVICE_NAME,
                                        service_health_answer, service);
    service->reflection = rpc_reflection_create(server, rpc_protos,
                                                rpc_protos_len);

    if (service->health == NULL || service->reflection == NULL) {
        service_free(service);
        return NULL;
    }

    return service;
}


rpc_health_t *
service_health(const service_t *service)
{
    return service->health;
}


const session_t *
service_session(const service_t *service)
{
    return &service->session;
}


void
service_retire(void *data)
{
    service_t  *service = data;

    if (!session_last(&service->session, rpc_now())) {
        log_session(service->session.id, "the last one, served until it ends");
    }

    service_quit_if_last(service);
}


void
service_drain(void *data)
{
    stream_t   *stream, *next;
    service_t  *service = data;

    rpc_reflection_drain(service->reflection);
    session_drain(&service->session);
    rpc_timer_clear(service->server, &service->expiry);

    for (stream = service->streams.next;
         stream != &service->streams;
         stream = next)
    {
        next = stream->next;
        service_trailer(stream->call, "session-leaving", "1");
        rpc_call_fail(stream->call, GRPC_STATUS_UNAVAILABLE,
                      service_closing);
    }
}


void
service_free(service_t *service)
{
    if (service == NULL) {
        return;
    }

    rpc_reflection_free(service->reflection);
    rpc_health_free(service->health);
    free(service);
}


static void
service_echo(rpc_call_t *call, const ProtobufCMessage *request, void *data)
{
    char                          *id;
    service_t                     *service = data;
    MyService__EchoResponse        answer = MY_SERVICE__ECHO_RESPONSE__INIT;
    const MyService__EchoRequest  *echo;

    id = service_caller(service, call);

    if (id == NULL || service_enter(service, call, id) == -1) {
        return;
    }

    rpc_call_on_done(call, service_leave, service);

    echo = (const MyService__EchoRequest *) request;

    answer.client_value = echo->value;
    answer.server_value = (char *) service_value;
    answer.pod_name = (char *) service->options.name;
    answer.server_session_id = service->session.id;
    answer.client_session_id = id;
    answer.server_method = (char *) "MyServiceEcho";

    rpc_call_reply(call, &answer.base);
}


static void
service_subscribe(rpc_call_t *call, const ProtobufCMessage *request,
    void *data)
{
    char                          *id, *value;
    size_t                         len;
    stream_t                      *stream;
    service_t                     *service = data;
    const MyService__EchoRequest  *echo;

    id = service_caller(service, call);
    if (id == NULL) {
        return;
    }

    echo = (const MyService__EchoRequest *) request;
    len = strlen(echo->value) + 1;

    stream = rpc_call_alloc(call, sizeof(stream_t));
    value = rpc_call_alloc(call, len);

    if (stream == NULL || value == NULL) {
        rpc_call_fail(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }

    if (service_enter(service, call, id) == -1) {
        return;
    }

    memcpy(value, echo->value, len);

    my_service__echo_response__init(&stream->message);

    stream->message.client_value = value;
    stream->message.server_value = (char *) service_value;
    stream->message.pod_name = (char *) service->options.name;
    stream->message.server_session_id = service->session.id;
    stream->message.client_session_id = id;
    stream->message.server_method = (char *) "MyServiceSubscribe";

    stream->service = service;
    stream->call = call;
    stream->due = rpc_now();
    stream->prev = service->streams.prev;
    stream->next = &service->streams;
    stream->prev->next = stream;
    stream->next->prev = stream;

    log_session(service->session.id, "stream started");

    rpc_call_on_done(call, stream_done, stream);
    stream_send(call, stream);
}


static void
service_shutdown(rpc_call_t *call, const ProtobufCMessage *request,
    void *data)
{
    char                         *id;
    service_t                    *service = data;
    session_result_t              result;
    MyService__ShutdownResponse   answer = MY_SERVICE__SHUTDOWN_RESPONSE__INIT;

    (void) request;

    id = service_caller(service, call);
    if (id == NULL) {
        return;
    }

    result = session_shutdown(&service->session, id, terms_epoch(call),
                              rpc_now());

    if (result != SESSION_OK) {
        service_refuse(service, call, id, result);
        return;
    }

    log_session(id, "shutdown");

    rpc_health_set(service->health, false);
    rpc_timer_clear(service->server, &service->expiry);
    rpc_call_on_done(call, service_exit, service);

    answer.pod_name = (char *) service->options.name;
    answer.server_session_id = service->session.id;
    answer.client_session_id = id;
    answer.server_method = (char *) "MyServiceShutdown";

    rpc_call_reply(call, &answer.base);
}


/*
 * The session id of a call as a string in the call's memory, or NULL when the
 * call was refused.  The token is judged first, so that a caller without one
 * learns nothing else.
 */

static char *
service_caller(service_t *service, rpc_call_t *call)
{
    char           *id;
    size_t          len, token_len;
    const char     *value, *token, *message;
    auth_t         *auth;

    id = NULL;
    message = NULL;
    auth = service->options.auth;

    value = rpc_call_metadata(call, "session-id", &len);

    if (value != NULL && len > 0) {
        id = rpc_call_alloc(call, len + 1);
        if (id == NULL) {
            rpc_call_fail(call, GRPC_STATUS_RESOURCE_EXHAUSTED,
                          "out of memory");
            return NULL;
        }

        memcpy(id, value, len);
        id[len] = '\0';
    }

    if (auth != NULL) {
        token = rpc_call_metadata(call, "authorization", &token_len);

        if (token == NULL
            || rpc_call_metadata_count(call, "authorization") > 1)
        {
            message = auth_invalid();

        } else {
            message = auth_check(auth, token, token_len, id,
                                 (int64_t) time(NULL));
        }

        if (message != NULL) {
            log_info("call from %s refused: %s", rpc_call_peer(call),
                     message);
            rpc_call_fail(call, GRPC_STATUS_UNAUTHENTICATED, message);
            return NULL;
        }
    }

    if (id == NULL) {
        message = "session-id header is required";

    } else if (rpc_call_metadata_count(call, "session-id") > 1) {
        message = "more than one session-id header";

    } else if (!ms_session_valid(id, len)) {
        message = "invalid session-id";
    }

    if (message != NULL) {
        rpc_call_fail(call, GRPC_STATUS_INVALID_ARGUMENT, message);
        return NULL;
    }

    return id;
}


static int
service_enter(service_t *service, rpc_call_t *call, const char *id)
{
    int64_t            ttl, ends;
    session_state_t    before;
    session_result_t   result;

    before = service->session.state;
    result = session_enter(&service->session, id, terms_epoch(call),
                           rpc_now());

    if (result != SESSION_OK) {
        service_refuse(service, call, id, result);
        return -1;
    }

    if (before == SESSION_UNSET) {
        log_session(id, "set");
        service_take_subject(service, call);
    }

    ttl = terms_ms(call, "session-ttl");
    if (ttl > 0) {
        session_ttl(&service->session, ttl);
    }

    ends = terms_ms(call, "session-ends");
    if (ends > 0) {
        session_ends(&service->session, rpc_now() + ends);
    }

    rpc_timer_clear(service->server, &service->expiry);

    return 0;
}


/* The gateway sends the owner of the session; after its restart it learns it
 * from our health answer. */

static void
service_take_subject(service_t *service, const rpc_call_t *call)
{
    size_t       len;
    const char  *value;

    value = rpc_call_metadata(call, "session-subject", &len);
    service->subject[0] = '\0';

    if (value != NULL && len == SUBJECT_LEN) {
        memcpy(service->subject, value, len);
        service->subject[len] = '\0';
    }
}


static void
service_leave(rpc_call_t *call, void *data)
{
    int64_t     left;
    service_t  *service = data;

    (void) call;

    session_leave(&service->session, rpc_now());

    if (service->session.state != SESSION_IDLE) {
        return;
    }

    left = service->session.deadline - rpc_now();
    rpc_timer_set(service->server, &service->expiry, left > 0 ? left : 0);
}


static void
service_refuse(service_t *service, rpc_call_t *call, const char *id,
    session_result_t result)
{
    char               message[2 * SESSION_ID_MAX + 64];
    const char        *owner;
    grpc_status_code   code;

    owner = service->session.id;
    code = GRPC_STATUS_PERMISSION_DENIED;

    switch (result) {

    case SESSION_REFUSE_CONFLICT:
        code = GRPC_STATUS_INTERNAL;
        service_trailer(call, "session-owner", owner);
        service_trailer_epoch(service, call);
        snprintf(message, sizeof(message),
                 "Session conflict: was=%s, now=%s", owner, id);
        break;

    case SESSION_REFUSE_STALE:
        code = GRPC_STATUS_FAILED_PRECONDITION;

        if (owner[0] != '\0') {
            service_trailer(call, "session-owner", owner);
        }

        service_trailer_epoch(service, call);
        snprintf(message, sizeof(message), "session-epoch is too old");
        break;

    case SESSION_REFUSE_NOT_SET:
        snprintf(message, sizeof(message), "Server session is not set");
        break;

    case SESSION_REFUSE_MISMATCH:
        service_trailer(call, "session-owner", owner);
        snprintf(message, sizeof(message),
                 "Client session mismatch: client=%s, server=%s", id, owner);
        break;

    case SESSION_REFUSE_CLOSED:
    case SESSION_OK:
        code = GRPC_STATUS_UNAVAILABLE;
        service_trailer(call, "session-leaving", "1");
        snprintf(message, sizeof(message), "%s", service_closing);
        break;
    }

    log_info("call from %s refused: %s", rpc_call_peer(call), message);

    rpc_call_fail(call, code, message);
}


/* The text of the answer says the same. */

static void
service_trailer(rpc_call_t *call, const char *name, const char *value)
{
    if (rpc_call_add_trailing(call, name, value) == -1) {
        log_error("cannot add %s to an answer", name);
    }
}


/* The epoch that the next call must have at least. */

static void
service_trailer_epoch(const service_t *service, rpc_call_t *call)
{
    char  text[24];

    if (service->session.epoch != 0) {
        snprintf(text, sizeof(text), "%" PRIu64, service->session.epoch);
        service_trailer(call, "session-epoch", text);
    }
}


static void
service_expire(void *data)
{
    char        id[SESSION_ID_MAX + 1];
    service_t  *service = data;

    memcpy(id, service->session.id, sizeof(id));

    if (session_expire(&service->session, rpc_now())) {
        log_session(id, "expired");
    }

    service_quit_if_last(service);
}


/* From here on calls and health answers say the same: it leaves. */

static void
service_quit_if_last(service_t *service)
{
    if (service->session.last && service->session.state == SESSION_UNSET) {
        session_drain(&service->session);
        rpc_health_set(service->health, false);
        service->options.exit(service->options.exit_data);
    }
}


/* The gateway says that another instance serves the session: the gateway moved
 * it while it did not reach this instance. */

static void
service_forget_moved(rpc_call_t *call, service_t *service, int64_t now)
{
    char         id[SESSION_ID_MAX + 1];
    size_t       len;
    const char  *value;

    value = rpc_call_metadata(call, "session-elsewhere", &len);

    if (value == NULL || len == 0 || len > SESSION_ID_MAX
        || rpc_call_metadata_count(call, "session-elsewhere") > 1)
    {
        return;
    }

    memcpy(id, value, len);
    id[len] = '\0';

    if (session_forget(&service->session, id, now)) {
        log_session(id, "another instance serves it");
    }
}


/* A health answer has the id of this process, the number of calls in flight and
 * the highest epoch; with a session also its id, its owner and how many
 * milliseconds it lasts.  Without a session the instance is free.  After the
 * signal it drains. */

static void
service_health_answer(rpc_call_t *call, void *data)
{
    char        calls[16], left[24], epoch[24];
    int64_t     now;
    service_t  *service = data;

    now = rpc_now();
    (void) session_expire(&service->session, now);
    service_forget_moved(call, service, now);
    service_quit_if_last(service);

    snprintf(calls, sizeof(calls), "%u", service->session.calls);
    snprintf(left, sizeof(left), "%" PRId64,
             session_left(&service->session, now));
    snprintf(epoch, sizeof(epoch), "%" PRIu64, service->session.epoch);

    if (rpc_call_add_initial(call, "instance-id", service->options.id) == -1
        || rpc_call_add_initial(call, "session-calls", calls) == -1
        || (service->session.epoch != 0
            && rpc_call_add_initial(call, "session-epoch", epoch) == -1)
        || (service->session.last && service->session.state != SESSION_CLOSED
            && rpc_call_add_initial(call, "session-drain", "1") == -1)
        || (service->session.id[0] != '\0'
            && (rpc_call_add_initial(call, "session-id", service->session.id)
                == -1
                || rpc_call_add_initial(call, "session-left", left) == -1
                || (service->subject[0] != '\0'
                    && rpc_call_add_initial(call, "session-subject",
                                            service->subject)
                       == -1))))
    {
        log_error("cannot add the session to a health answer");
    }
}


/* The answer of Shutdown is on the wire, or its caller is gone. */

static void
service_exit(rpc_call_t *call, void *data)
{
    service_t  *service = data;

    (void) call;

    service->options.exit(service->options.exit_data);
}


static void
stream_send(rpc_call_t *call, void *data)
{
    stream_t  *stream = data;

    if (rpc_call_send(call, &stream->message.base, stream_sent, stream)
        == -1)
    {
        rpc_call_fail(call, GRPC_STATUS_INTERNAL, "cannot send");
    }
}


/* The schedule does not drift with the time a write takes; a reader slower
 * than the interval gets its messages late, without a burst. */

static void
stream_sent(rpc_call_t *call, void *data)
{
    int64_t    now;
    stream_t  *stream = data;

    now = rpc_now();

    stream->message.index++;
    stream->due += stream->service->options.interval;

    if (stream->due < now) {
        stream->due = now;
    }

    rpc_call_timer(call, stream->due - now, stream_send, stream);
}


static void
stream_done(rpc_call_t *call, void *data)
{
    stream_t   *stream = data;
    service_t  *service = stream->service;

    stream->prev->next = stream->next;
    stream->next->prev = stream->prev;

    log_session(service->session.id, "stream ended after %d messages",
                stream->message.index);

    service_leave(call, service);
}
