/* Calls of the checker and what came back. */

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backendcheck/peer.h"
#include "google/protobuf/empty.pb-c.h"
#include "health.pb-c.h"
#include "rpc/server.h"


#define HEALTH_STATUS(name)                                                   \
    GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

#define METADATA_MAX  6


static rpc_stream_t *peer_begin(peer_t *peer, const target_t *target,
    const lease_t *lease, int64_t timeout);
static size_t lease_metadata(const peer_t *peer, const lease_t *lease,
    char numbers[3][24], rpc_metadata_t *metadata);
static void answer_words(answer_t *answer, const target_t *target,
    const lease_t *lease);
static void health_words(health_t *health, const char *elsewhere);
static void words_add(char *out, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void words_value(char *out, size_t size, const char *name,
    const value_t *value);
static void value_read(value_t *value, const grpc_metadata_array *array,
    const char *name);
static void peer_give_back(peer_t *peer);


const char  rule_stranger[] =
    "a call of another session gets any status but OK, no response message, "
    "and the trailer session-owner with the session that has the instance "
    "(or 13 with the text \"Session conflict: was=OWNER, now=CALLER\")";

const char  rule_forget[] =
    "the instance forgets the session when no call has used it for "
    "session-ttl, or session-ends after the call that said so; the values "
    "of the last call count";


bool
peer_open(peer_t *peer, test_t *test)
{
    health_t           health;
    const settings_t  *settings;

    settings = test->settings;

    peer->test = test;
    peer->plan = duty_plan(test);
    peer->board = peer->plan->board;

    if (settings->tls == NULL) {
        peer->rpc = rpc_client_create(settings->gateway, NULL);

    } else {
        peer->rpc = rpc_client_create_tls(settings->gateway, settings->tls,
                                          settings->tls_server_name);
    }

    if (peer->rpc == NULL) {
        return check(test, false, "a channel to %s", settings->gateway);
    }

    /* the time of a connect is not that of a call */
    peer_health(peer, NULL, &health);

    return true;
}


void
peer_close(peer_t *peer)
{
    rpc_client_free(peer->rpc);
    peer->rpc = NULL;
}


void
lease_new(lease_t *lease, const peer_t *peer)
{
    snprintf(lease->session, sizeof(lease->session), "backendcheck-%x-%u",
             peer->plan->run, ++peer->board->sessions);
    lease->ttl = peer->plan->ttl;
    lease->ends = 0;
    lease->epoch = 0;
}


void
peer_ask(peer_t *peer, const lease_t *lease, answer_t *answer)
{
    peer_call(peer, &peer->board->targets[0], lease, answer);
}


void
peer_call(peer_t *peer, const target_t *target, const lease_t *lease,
    answer_t *answer)
{
    rpc_result_t       result;
    rpc_stream_t      *stream;
    ProtobufCMessage  *message;

    memset(answer, 0, sizeof(answer_t));
    answer->begin = rpc_now();

    stream = peer_begin(peer, target, lease, peer->plan->timeout);

    if (target->kind == KIND_BIDI) {
        rpc_stream_close(stream);
    }

    while ((message = rpc_stream_next(stream)) != NULL) {
        protobuf_c_message_free_unpacked(message, NULL);
        answer->messages++;

        if (target->kind == KIND_STREAM || target->kind == KIND_BIDI) {
            break;
        }
    }

    rpc_stream_finish(stream, &result);

    answer->end = rpc_now();
    answer->code = (int) result.code;

    if (message != NULL && result.code == GRPC_STATUS_CANCELLED) {
        answer->code = GRPC_STATUS_OK;

    } else {
        snprintf(answer->text, sizeof(answer->text), "%s", result.message);
    }

    value_read(&answer->owner, &result.trailing, "session-owner");
    value_read(&answer->leaving, &result.trailing, "session-leaving");
    value_read(&answer->epoch, &result.trailing, "session-epoch");
    rpc_result_free(&result);

    answer_words(answer, target, lease);
}


rpc_stream_t *
peer_hold(peer_t *peer, const target_t *target, const lease_t *lease)
{
    rpc_result_t       result;
    rpc_stream_t      *stream;
    ProtobufCMessage  *message;

    stream = peer_begin(peer, target, lease,
                        peer->plan->timeout + 4 * peer->plan->ttl);
    message = rpc_stream_next(stream);

    if (message == NULL) {
        rpc_stream_finish(stream, &result);
        rpc_result_free(&result);
        return NULL;
    }

    protobuf_c_message_free_unpacked(message, NULL);

    return stream;
}


bool
peer_drop(rpc_stream_t *stream)
{
    bool          open;
    rpc_result_t  result;

    rpc_stream_finish(stream, &result);
    open = result.code == GRPC_STATUS_CANCELLED;
    rpc_result_free(&result);

    return open;
}


static rpc_stream_t *
peer_begin(peer_t *peer, const target_t *target, const lease_t *lease,
    int64_t timeout)
{
    char                     numbers[3][24];
    size_t                   n;
    rpc_stream_t            *stream;
    rpc_metadata_t           metadata[METADATA_MAX];
    Google__Protobuf__Empty  empty = GOOGLE__PROTOBUF__EMPTY__INIT;

    n = lease_metadata(peer, lease, numbers, metadata);
    timeout = check_time_left(peer->test, timeout);

    if (target->kind == KIND_BIDI) {
        stream = rpc_client_bidi(peer->rpc, target->path, metadata, n,
                                 timeout,
                                 &google__protobuf__empty__descriptor);
    } else {
        stream = rpc_client_stream(peer->rpc, target->path, metadata, n,
                                   timeout, &empty.base,
                                   &google__protobuf__empty__descriptor);
    }

    if (stream == NULL) {
        abort();                        /* the metadata is legal */
    }

    if (target->kind == KIND_BIDI) {
        (void) rpc_stream_send(stream, &empty.base);
    }

    return stream;
}


static size_t
lease_metadata(const peer_t *peer, const lease_t *lease,
    char numbers[3][24], rpc_metadata_t *metadata)
{
    size_t  n;

    if (lease->session[0] == '\0') {
        return 0;
    }

    n = 0;
    snprintf(numbers[0], sizeof(numbers[0]), "%" PRId64, lease->ttl);
    snprintf(numbers[1], sizeof(numbers[1]), "%" PRId64, lease->ends);

    metadata[n].key = "session-id";
    metadata[n++].value = lease->session;
    metadata[n].key = "session-ttl";
    metadata[n++].value = numbers[0];

    if (lease->ends > 0) {
        metadata[n].key = "session-ends";
        metadata[n++].value = numbers[1];
    }

    if (lease->epoch > 0) {
        snprintf(numbers[2], sizeof(numbers[2]), "%" PRIu64, lease->epoch);
        metadata[n].key = "session-epoch";
        metadata[n++].value = numbers[2];
    }

    if (strcmp(lease->session, peer->board->held) != 0) {
        metadata[n].key = "session-start";
        metadata[n++].value = "new";
    }

    metadata[n].key = "session-subject";
    metadata[n++].value = PEER_SUBJECT;

    return n;
}


/*
 * A session of an earlier duty ends when it is idle, or sooner: its last call
 * says a short session-ttl.  An instance that does not forget it is told that
 * another one serves it.  The pauses are longer than session-ttl: an instance
 * may take a refused call for one that uses the session.
 */

bool
peer_take(peer_t *peer, const lease_t *lease, answer_t *answer)
{
    int       i;
    health_t  health;
    board_t  *board;

    board = peer->board;
    peer_give_back(peer);

    for (i = 0; i < 4; i++) {
        peer_ask(peer, lease, answer);

        if (answer_served(answer)) {
            peer_held(peer, lease, answer->end);
            return true;
        }

        if (!answer_busy(answer)) {
            break;
        }

        peer_wait(rpc_now() + peer->plan->ttl * 5 / 4);

        if (i == 1) {
            peer_health(peer, board->held, &health);
        }
    }

    if (answer_busy(answer)) {
        duty_not_checked(peer->test, "the instance still has a session of an "
                         "earlier duty: sent %s, got %s", answer->words.sent,
                         answer->words.came);
        return false;
    }

    (void) expect(peer, false, &answer->words, "the first session that calls "
                  "a free instance owns it; its id is 1 to 256 bytes of "
                  "visible ASCII", "a new session is served");

    return false;
}


bool
peer_open_taken(peer_t *peer, test_t *test, lease_t *lease,
    answer_t *answer)
{
    if (!peer_open(peer, test)) {
        return false;
    }

    lease_new(lease, peer);

    if (!peer_take(peer, lease, answer)) {
        peer_close(peer);
        return false;
    }

    return true;
}


static void
peer_give_back(peer_t *peer)
{
    board_t   *board;
    lease_t    lease;
    answer_t   answer;

    board = peer->board;

    if (rpc_now() >= board->until) {
        return;
    }

    peer_same(&lease, peer);
    lease.ttl = 20;

    peer_ask(peer, &lease, &answer);
    board->until = answer.end + lease.ttl;
    peer_wait(board->until + lease.ttl);
}


void
peer_same(lease_t *lease, const peer_t *peer)
{
    snprintf(lease->session, sizeof(lease->session), "%s", peer->board->held);
    lease->ttl = peer->plan->ttl;
    lease->ends = 0;
    lease->epoch = 0;
}


void
peer_held(peer_t *peer, const lease_t *lease, int64_t now)
{
    board_t  *board;

    board = peer->board;

    snprintf(board->held, sizeof(board->held), "%s", lease->session);
    board->until = now + lease->ttl;
}


void
peer_health(peer_t *peer, const char *elsewhere, health_t *health)
{
    rpc_result_t                            result;
    rpc_metadata_t                          metadata;
    Grpc__Health__V1__HealthCheckRequest    request =
        GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    Grpc__Health__V1__HealthCheckResponse  *response;

    memset(health, 0, sizeof(health_t));
    health->begin = rpc_now();

    metadata.key = "session-elsewhere";
    metadata.value = elsewhere;

    response = (Grpc__Health__V1__HealthCheckResponse *)
               rpc_client_unary(peer->rpc, "/grpc.health.v1.Health/Check",
                         &metadata, elsewhere != NULL,
                         check_time_left(peer->test, peer->plan->timeout),
                         &request.base,
                         &grpc__health__v1__health_check_response__descriptor,
                         &result);

    health->end = rpc_now();
    health->code = (int) result.code;

    if (response != NULL) {
        health->status = (int) response->status;
        protobuf_c_message_free_unpacked(&response->base, NULL);
    }

    value_read(&health->session, &result.initial, "session-id");
    value_read(&health->left, &result.initial, "session-left");
    value_read(&health->calls, &result.initial, "session-calls");
    value_read(&health->subject, &result.initial, "session-subject");
    value_read(&health->drain, &result.initial, "session-drain");
    value_read(&health->instance, &result.initial, "instance-id");
    value_read(&health->epoch, &result.initial, "session-epoch");

    health_words(health, elsewhere);

    if (result.code != GRPC_STATUS_OK) {
        words_add(health->words.came, sizeof(health->words.came), " \"%s\"",
                  result.message);
    }

    rpc_result_free(&result);
}


bool
answer_served(const answer_t *answer)
{
    return answer->code == GRPC_STATUS_OK;
}


bool
answer_busy(const answer_t *answer)
{
    return answer->code != GRPC_STATUS_OK
           && (answer->owner.n > 0
               || strncmp(answer->text, "Session conflict: was=", 22) == 0);
}


bool
answer_names(const answer_t *answer, const char *owner, const char *caller)
{
    char  text[2 * SESSION_MAX + 64];

    if (answer->code == GRPC_STATUS_OK || answer->messages > 0
        || answer->leaving.n > 0)
    {
        return false;
    }

    if (answer->owner.n > 0) {
        return value_is(&answer->owner, owner);
    }

    snprintf(text, sizeof(text), "Session conflict: was=%s, now=%s", owner,
             caller);

    return answer->code == GRPC_STATUS_INTERNAL
           && strcmp(answer->text, text) == 0;
}


bool
answer_leaving(const answer_t *answer)
{
    if (answer->code != GRPC_STATUS_UNAVAILABLE || answer->messages > 0
        || answer->owner.n > 0)
    {
        return false;
    }

    if (answer->leaving.n > 0) {
        return value_is(&answer->leaving, "1");
    }

    return strcmp(answer->text, "instance is shutting down") == 0;
}


bool
health_serving(const health_t *health)
{
    return health->code == GRPC_STATUS_OK
           && health->status == HEALTH_STATUS(SERVING);
}


bool
value_number(const value_t *value, int64_t *number)
{
    size_t  len;

    len = strlen(value->text);

    if (value->n != 1 || len == 0 || len > 16
        || strspn(value->text, "0123456789") != len)
    {
        return false;
    }

    *number = strtoll(value->text, NULL, 10);

    return true;
}


bool
value_is(const value_t *value, const char *text)
{
    return value->n == 1 && strcmp(value->text, text) == 0;
}


static void
value_read(value_t *value, const grpc_metadata_array *array, const char *name)
{
    char    *text;
    size_t   i;

    for (i = 0; i < array->count; i++) {
        value->n += grpc_slice_str_cmp(array->metadata[i].key, name) == 0;
    }

    text = rpc_metadata_find(array, name);

    if (text != NULL) {
        snprintf(value->text, sizeof(value->text), "%s", text);
        free(text);
    }
}


static void
answer_words(answer_t *answer, const target_t *target, const lease_t *lease)
{
    char        *sent, *came;
    const size_t size = sizeof(answer->words.sent);

    sent = answer->words.sent;
    came = answer->words.came;

    words_add(sent, size, "%s", target->path);

    if (lease->session[0] == '\0') {
        words_add(sent, size, " without session-id");

    } else {
        words_add(sent, size, " session-id \"%.64s%s\" session-ttl %" PRId64,
                  lease->session, strlen(lease->session) > 64 ? "..." : "",
                  lease->ttl);
    }

    if (lease->ends > 0) {
        words_add(sent, size, " session-ends %" PRId64, lease->ends);
    }

    if (lease->epoch > 0) {
        words_add(sent, size, " session-epoch %" PRIu64, lease->epoch);
    }

    words_add(came, size, "%d %s", answer->code,
              check_code_name(answer->code));

    if (answer->text[0] != '\0') {
        words_add(came, size, " \"%s\"", answer->text);
    }

    if (answer->messages > 0) {
        words_add(came, size, " after %u message%s", answer->messages,
                  answer->messages > 1 ? "s" : "");
    }

    words_value(came, size, "trailer session-owner", &answer->owner);
    words_value(came, size, "trailer session-leaving", &answer->leaving);
    words_value(came, size, "trailer session-epoch", &answer->epoch);
}


static void
health_words(health_t *health, const char *elsewhere)
{
    char               *came;
    const size_t        size = sizeof(health->words.came);
    static const char  *names[] = {
        "UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"
    };

    words_add(health->words.sent, size, "Health/Check");

    if (elsewhere != NULL) {
        words_add(health->words.sent, size, " session-elsewhere \"%.64s%s\"",
                  elsewhere, strlen(elsewhere) > 64 ? "..." : "");
    }

    came = health->words.came;
    words_add(came, size, "%d %s", health->code,
              check_code_name(health->code));

    if (health->code == GRPC_STATUS_OK) {
        words_add(came, size, " %s",
                  (unsigned) health->status < 4 ? names[health->status] : "?");
    }

    words_value(came, size, "session-id", &health->session);
    words_value(came, size, "session-left", &health->left);
    words_value(came, size, "session-calls", &health->calls);
    words_value(came, size, "session-subject", &health->subject);
    words_value(came, size, "session-drain", &health->drain);
    words_value(came, size, "instance-id", &health->instance);
    words_value(came, size, "session-epoch", &health->epoch);
}


static void
words_value(char *out, size_t size, const char *name, const value_t *value)
{
    if (value->n > 0) {
        words_add(out, size, ", %s \"%.64s%s\"", name, value->text,
                  strlen(value->text) > 64 ? "..." : "");
    }

    if (value->n > 1) {
        words_add(out, size, " and %zu more", value->n - 1);
    }
}


static void
words_add(char *out, size_t size, const char *fmt, ...)
{
    size_t   used;
    va_list  args;

    used = strlen(out);

    va_start(args, fmt);
    vsnprintf(out + used, size - used, fmt, args);
    va_end(args);
}


bool
expect(peer_t *peer, bool holds, const exchange_t *words, const char *rule,
    const char *fmt, ...)
{
    char     what[256];
    va_list  args;

    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);

    return check(peer->test, holds, "%s: sent %s; got %s%s%s", what,
                 words->sent, words->came,
                 holds ? "" : "; the contract says: ", holds ? "" : rule);
}


void
peer_wait(int64_t when)
{
    int64_t  left;

    left = when - rpc_now();

    if (left > 0) {
        check_pace(left);
    }
}
