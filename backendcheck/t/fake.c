/*
 * The instance: a session, its calls and their times in plain variables, which
 * belong to the server's thread.  "fault(NAME)" is where one goes wrong.
 */

#include <inttypes.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backendcheck/t/fake.h"
#include "backendcheck/t/describe.h"
#include "google/protobuf/empty.pb-c.h"
#include "health.pb-c.h"
#include "rpc/reflection.h"
#include "rpc/server.h"


#define FAKE_ID      512
#define FAKE_LINGER  300                /* ms from the end of the session */

#define STATUS(name)                                                          \
    GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name


typedef struct {
    char     owner[FAKE_ID];            /* "": none */
    char     subject[64];
    bool     nameless;                  /* a call without session-id has it */
    int      running;
    int64_t  ttl;
    int64_t  since;                     /* the last call ended */
    int64_t  ends;                      /* 0: not said */
    int64_t  epoch;                     /* the highest that was accepted */
    bool     refused;                   /* a stranger was, since it took */
    bool     draining;
    bool     leaving;
} fake_t;


static void fake_call(rpc_call_t *call, const ProtobufCMessage *request,
    void *data);
static void fake_watch(rpc_call_t *call, const ProtobufCMessage *request,
    void *data);
static void fake_talk(rpc_call_t *call, const ProtobufCMessage *request,
    void *data);
static void fake_end(rpc_call_t *call, const ProtobufCMessage *request,
    void *data);
static void fake_check(rpc_call_t *call, const ProtobufCMessage *request,
    void *data);

static bool enter(rpc_call_t *call, bool stream);
static bool stale(rpc_call_t *call);
static void refuse(rpc_call_t *call, const char *id, bool stream);
static void refuse_leaving(rpc_call_t *call);
static void take(rpc_call_t *call, const char *id);
static void leave(rpc_call_t *call, void *data);
static void forget_in_time(int64_t now);
static int64_t session_end(int64_t now);
static void forget(void);
static void tell_session(rpc_call_t *call, int64_t now);
static void drain(void *data);
static void drain_look(void *data);
static void drain_end(void *data);
static void text_of(rpc_call_t *call, const char *name, char *out,
    size_t size);
static int64_t number_of(rpc_call_t *call, const char *name);


static const char    *fault_name = "";
static fake_t         fake;
static rpc_server_t  *server;
static rpc_timer_t    look;
static sem_t          gone;


/* Several are separated by commas. */

static bool
fault(const char *name)
{
    size_t       len;
    const char  *p;

    for (p = fault_name; *p != '\0'; p += len + (p[len] == ',')) {
        len = strcspn(p, ",");

        if (strlen(name) == len && strncmp(p, name, len) == 0) {
            return true;
        }
    }

    return false;
}


int
fake_main(const char *name)
{
    int                port, signo;
    size_t             len;
    uint8_t           *set;
    sigset_t           signals;
    rpc_reflection_t  *reflection;

    fault_name = name;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    sem_init(&gone, 0, 0);

    server = rpc_server_create(NULL);
    set = describe(&len);
    reflection = fault("no-reflection")
                 ? NULL : rpc_reflection_create(server, set, len);

    if (rpc_server_unary(server, &describe_fake, "Call", fake_call, NULL) != 0
        || rpc_server_stream(server, &describe_fake, "Watch", fake_watch,
                             NULL) != 0
        || rpc_server_bidi(server, &describe_fake, "Talk", fake_talk, NULL)
           != 0
        || rpc_server_unary(server, &describe_fake, "End", fake_end, NULL)
           != 0
        || (!fault("health-none")
            && rpc_server_unary(server, &grpc__health__v1__health__descriptor,
                                "Check", fake_check, NULL) != 0))
    {
        return 1;
    }

    port = rpc_server_listen(server, "127.0.0.1:0", NULL);

    if (port == 0 || rpc_server_start(server) != 0) {
        return 1;
    }

    printf("listening on 127.0.0.1:%d\n", port);
    fflush(stdout);

    sigwait(&signals, &signo);

    if (!fault("level-0") && !fault("level-1") && !fault("exits-at-once")) {
        if (rpc_server_post(server, drain, NULL) != 0) {
            return 1;
        }

        sem_wait(&gone);
    }

    rpc_server_stop(server, 0);
    rpc_server_free(server);
    rpc_reflection_free(reflection);
    free(set);

    return 0;
}


/* methods */


static void
fake_call(rpc_call_t *call, const ProtobufCMessage *request, void *data)
{
    Google__Protobuf__Empty  empty = GOOGLE__PROTOBUF__EMPTY__INIT;

    (void) request;
    (void) data;

    if (fault("all-fail")) {
        rpc_call_fail(call, GRPC_STATUS_INVALID_ARGUMENT, "name is required");

    } else if (enter(call, false)) {
        rpc_call_reply(call, &empty.base);
    }
}


static void
fake_watch(rpc_call_t *call, const ProtobufCMessage *request, void *data)
{
    Google__Protobuf__Empty  empty = GOOGLE__PROTOBUF__EMPTY__INIT;

    (void) request;
    (void) data;

    if (fault("all-fail")) {
        rpc_call_fail(call, GRPC_STATUS_INVALID_ARGUMENT, "name is required");

    } else if (enter(call, true)) {
        (void) rpc_call_send(call, &empty.base, NULL, NULL);
    }
}


static void
fake_talk(rpc_call_t *call, const ProtobufCMessage *request, void *data)
{
    Google__Protobuf__Empty  empty = GOOGLE__PROTOBUF__EMPTY__INIT;

    (void) data;

    if (fault("all-fail") || request == NULL) {
        rpc_call_fail(call, fault("all-fail") ? GRPC_STATUS_INVALID_ARGUMENT
                                              : GRPC_STATUS_OK, NULL);

    } else if (rpc_call_data(call) != NULL || enter(call, true)) {
        rpc_call_set_data(call, &fake);
        (void) rpc_call_send(call, &empty.base, NULL, NULL);
        (void) rpc_call_next(call);
    }
}


static void
fake_end(rpc_call_t *call, const ProtobufCMessage *request, void *data)
{
    Google__Protobuf__Empty  empty = GOOGLE__PROTOBUF__EMPTY__INIT;

    (void) request;
    (void) data;

    if (fault("release-fails")) {
        rpc_call_fail(call, GRPC_STATUS_UNKNOWN, "not now");

    } else if (enter(call, false)) {
        rpc_call_reply(call, &empty.base);

        if (fault("release-exits")) {
            fake.leaving = true;
            sem_post(&gone);
            kill(getpid(), SIGTERM);

        } else if (!fault("release-keeps")) {
            forget();
        }
    }
}


/* the session */


/* False: the call was refused. */

static bool
enter(rpc_call_t *call, bool stream)
{
    char     id[FAKE_ID];
    bool     open;
    int64_t  now;

    now = rpc_now();
    forget_in_time(now);
    text_of(call, "session-id", id, sizeof(id));

    if (fault("cuts-id")) {
        id[128] = '\0';
    }

    if (id[0] == '\0' && !fault("level-0") && !fault("none-served")) {
        fake.nameless = fake.nameless || fault("none-takes");
        rpc_call_fail(call, GRPC_STATUS_INVALID_ARGUMENT, "no session-id");
        return false;
    }

    if (fault("refuses-long") && strlen(id) > 64) {
        rpc_call_fail(call, GRPC_STATUS_INVALID_ARGUMENT, "id too long");
        return false;
    }

    open = fault("level-0") || (stream && fault("streams-open"))
           || (fault("none-served") && id[0] == '\0');

    if (fake.leaving && !fault("end-serves")) {
        refuse_leaving(call);
        return false;
    }

    if (open) {
        fake.running++;
        rpc_call_on_done(call, leave, NULL);
        return true;
    }

    if (fake.nameless
        || (fake.owner[0] != '\0' && strcmp(fake.owner, id) != 0)
        || (fault("owner-once") && fake.owner[0] != '\0')
        || (fault("drain-serves-nobody") && fake.draining))
    {
        if (fault("epoch-seen")
            && number_of(call, "session-epoch") > fake.epoch)
        {
            fake.epoch = number_of(call, "session-epoch");
        }

        refuse(call, id, stream);
        return false;
    }

    if (stale(call)) {
        return false;
    }

    if (fault("owner-fails-after") && fake.owner[0] != '\0'
        && fake.refused)
    {
        fake.refused = false;
        rpc_call_fail(call, GRPC_STATUS_UNKNOWN, "confused");
        return false;
    }

    take(call, id);

    return true;
}


/* True: the call is of an older lease, and was refused. */

static bool
stale(rpc_call_t *call)
{
    char     text[24];
    int64_t  epoch;

    epoch = number_of(call, "session-epoch");

    if (epoch == 0 || fault("epoch-none") || fault("level-0")) {
        return false;
    }

    if (epoch > fake.epoch || (epoch == fake.epoch && !fault("epoch-same"))) {
        fake.epoch = epoch;
        return false;
    }

    snprintf(text, sizeof(text), "%" PRId64,
             fault("epoch-wrong") ? epoch : fake.epoch);

    if (!fault("epoch-no-trailer")) {
        (void) rpc_call_add_trailing(call, "session-epoch", text);
    }

    if (fake.owner[0] != '\0' && !fault("epoch-no-owner")) {
        (void) rpc_call_add_trailing(call, "session-owner", fake.owner);
    }

    rpc_call_fail(call, GRPC_STATUS_FAILED_PRECONDITION, NULL);

    return true;
}


static void
refuse(rpc_call_t *call, const char *id, bool stream)
{
    char                     text[2 * FAKE_ID + 64];
    const char              *owner;
    Google__Protobuf__Empty  empty = GOOGLE__PROTOBUF__EMPTY__INIT;

    fake.refused = true;
    owner = fake.owner;

    if (fault("stranger-renews")) {
        fake.since = rpc_now();
    }

    if (stream && fault("message-first")) {
        (void) rpc_call_send(call, &empty.base, NULL, NULL);
    }

    if (fault("drain-refuses-owner-less") && fake.draining) {
        refuse_leaving(call);
        return;
    }

    if (fault("refused-by-text") || fault("refused-by-text-code")) {
        snprintf(text, sizeof(text), "Session conflict: was=%s, now=%s", owner,
                 id);
        rpc_call_fail(call, fault("refused-by-text")
                            ? GRPC_STATUS_INTERNAL : GRPC_STATUS_UNAVAILABLE,
                      text);
        return;
    }

    if (fault("wrong-owner")) {
        owner = id;
    }

    if (fault("owner-initial")) {
        (void) rpc_call_add_initial(call, "session-owner", owner);

    } else if (!fault("no-owner")) {
        (void) rpc_call_add_trailing(call, "session-owner", owner);
    }

    rpc_call_fail(call, GRPC_STATUS_FAILED_PRECONDITION, NULL);
}


static void
refuse_leaving(rpc_call_t *call)
{
    if (!fault("end-without-trailer")) {
        (void) rpc_call_add_trailing(call, "session-leaving", "1");
    }

    rpc_call_fail(call, GRPC_STATUS_UNAVAILABLE, NULL);
}


static void
take(rpc_call_t *call, const char *id)
{
    bool     first;
    int64_t  now, ttl, ends;

    now = rpc_now();
    first = fake.owner[0] == '\0';

    snprintf(fake.owner, sizeof(fake.owner), "%s", id);
    fake.refused = fake.refused && !first;

    if (first || !fault("subject-wrong")) {
        text_of(call, "session-subject", fake.subject, sizeof(fake.subject));
    }

    ttl = number_of(call, "session-ttl");

    if (ttl > 0 && (first || !fault("first-ttl"))) {
        fake.ttl = fault("forgets-early") ? ttl / 4 : ttl;
    }

    if (first || !fault("no-renewal")) {
        fake.since = now;
    }

    ends = number_of(call, "session-ends");
    ends = fault("ends-early") ? ends / 4 : ends;

    if (ends > 0 && now + ends > fake.ends && !fault("ends-ignored")) {
        fake.ends = now + ends;
    }

    fake.running++;
    rpc_call_on_done(call, leave, NULL);
}


static void
leave(rpc_call_t *call, void *data)
{
    (void) data;

    if (fault("cancel-leaks") && rpc_call_cancelled(call)) {
        return;
    }

    fake.running--;

    if (!fault("no-renewal")) {
        fake.since = rpc_now();
    }
}


static void
forget_in_time(int64_t now)
{
    if (fake.owner[0] != '\0' && !fault("never-forgets")
        && (fake.running == 0 || fault("busy-forgets"))
        && now >= session_end(now))
    {
        forget();
    }
}


static int64_t
session_end(int64_t now)
{
    int64_t  end;

    end = (fake.running > 0 && !fault("busy-forgets") ? now : fake.since)
          + fake.ttl;

    return fake.ends > 0 && fake.ends < end ? fake.ends : end;
}


static void
forget(void)
{
    fake.owner[0] = '\0';
    fake.ends = 0;
    fake.leaving = fake.draining;

    if (fault("epoch-ends")) {
        fake.epoch = 0;
    }
}


/* health */


static void
fake_check(rpc_call_t *call, const ProtobufCMessage *request, void *data)
{
    char                                   id[FAKE_ID];
    int64_t                                now;
    Grpc__Health__V1__HealthCheckResponse  response =
        GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

    (void) request;
    (void) data;

    now = rpc_now();
    text_of(call, "session-elsewhere", id, sizeof(id));

    if (fault("health-needs-session")) {
        rpc_call_fail(call, GRPC_STATUS_INVALID_ARGUMENT, "no session-id");
        return;
    }

    response.status = fault("not-serving") || fake.leaving
                      || (fault("not-serving-busy") && fake.owner[0] != '\0')
                      ? STATUS(NOT_SERVING) : STATUS(SERVING);

    if (!fault("level-0") && !fault("level-1")) {
        if (!fault("names-after-end")) {
            forget_in_time(now);
        }

        if (fault("elsewhere-late")) {
            tell_session(call, now);
        }

        if (id[0] != '\0' && !fault("elsewhere-ignored")
            && (strcmp(id, fake.owner) == 0 || fault("elsewhere-any"))
            && (fake.running == 0 || fault("elsewhere-busy")))
        {
            forget();
        }

        if (!fault("elsewhere-late")) {
            tell_session(call, now);
        }
    }

    rpc_call_reply(call, &response.base);
}


static void
tell_session(rpc_call_t *call, int64_t now)
{
    char        calls[24], left[24], id[80], epoch[24];
    static int  n;

    snprintf(calls, sizeof(calls), "%d",
             fault("calls-constant") ? 0
             : fake.running + (fault("calls-count-check") ? 1 : 0));
    snprintf(left, sizeof(left), "%" PRId64,
             fault("left-constant") ? fake.ttl
             : fault("left-seconds") ? (session_end(now) - now) / 1000
             : session_end(now) - now + (fault("left-long") ? 500 : 0));
    snprintf(id, sizeof(id), "%s%d", fault("instance-blank") ? "a b"
             : fault("instance-long") ? "12345678901234567890123456789012345"
                                        "678901234567890123456789012345"
             : "fake", fault("instance-changes") ? n++ : 1);

    (void) rpc_call_add_initial(call, "session-calls",
                                fault("calls-word") ? "none" : calls);
    (void) rpc_call_add_initial(call, "instance-id", id);

    if (!fault("tells-no-epoch")) {
        snprintf(epoch, sizeof(epoch), "%" PRId64,
                 fake.epoch - (fault("tells-old-epoch") ? 1 : 0));
        (void) rpc_call_add_initial(call, "session-epoch", epoch);
    }

    if ((fake.draining && (!fake.leaving || fault("end-drains")))
        || fault("drains-always"))
    {
        (void) rpc_call_add_initial(call, "session-drain",
                                    fault("drain-word") ? "yes" : "1");
    }

    if (fake.owner[0] != '\0'
        && !(fault("drain-names-nobody") && fake.draining))
    {
        (void) rpc_call_add_initial(call, "session-id",
                                    fault("names-other") ? "other"
                                                         : fake.owner);
        (void) rpc_call_add_initial(call, "session-left", left);
        (void) rpc_call_add_initial(call, "session-subject",
                                    fault("subject-wrong") ? "nobody"
                                                           : fake.subject);
    }
}


/* leaving */


static void
drain(void *data)
{
    (void) data;

    fake.draining = true;
    look.fire = drain_look;
    drain_look(NULL);
}


static void
drain_look(void *data)
{
    (void) data;

    forget_in_time(rpc_now());
    fake.leaving = fake.leaving || fake.owner[0] == '\0';

    if (fake.leaving) {
        look.fire = drain_end;
    }

    rpc_timer_set(server, &look, fake.leaving ? FAKE_LINGER : 5);
}


static void
drain_end(void *data)
{
    (void) data;

    if (!fault("never-exits")) {
        sem_post(&gone);
    }
}


/* metadata */


static void
text_of(rpc_call_t *call, const char *name, char *out, size_t size)
{
    size_t       len;
    const char  *value;

    out[0] = '\0';
    value = rpc_call_metadata(call, name, &len);

    if (value != NULL) {
        snprintf(out, size, "%.*s", (int) len, value);
    }
}


static int64_t
number_of(rpc_call_t *call, const char *name)
{
    char  text[24];

    text_of(call, name, text, sizeof(text));

    return strtoll(text, NULL, 10);
}
