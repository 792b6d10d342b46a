/*
 * What an instance says in the trailers of a call that it refuses:
 * "session-owner", whom it serves, and "session-leaving", that it goes.  The
 * texts that say the same are in test_conflict.c and test_leaving.c.
 */

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "token.h"


#define CONF                                                                  \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format trailers 'decision=$myservice_decision '\n"               \
    "        'session=$myservice_session';\n"                                 \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        server 127.0.0.1:8081;\n"                                        \
    "        server 127.0.0.1:8082;\n"                                        \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log trailers;\n"                       \
    "        location / { grpc_pass grpc://u;\n"                              \
    "            myservice_resume MyServiceSubscribe; }\n"                    \
    "        location = " ECHO " { grpc_pass grpc://u; }\n"                   \
    "    }\n"                                                                 \
    "}\n"

#define BUSY  "all instances are busy"

/* where the trailer stands */
#define ONLY    0                       /* in a Trailers-Only answer */
#define BEHIND  1                       /* behind a header */
#define LATE    2                       /* behind a header and a message */


typedef struct {
    int          where;
    int          code;
    const char  *text;
    const char  *name;
    const char  *value;
} refusal_t;


static fake_t             *fakes[2];
static const refusal_t    *_Atomic refusal;
static const char         *_Atomic owner;   /* gets its answers */
static _Atomic(fake_t *)   first;       /* the instance that was asked: it
                                           refuses */
static atomic_uint         refused;


static void
serve(fake_call_t *call)
{
    fake_t           *none;
    const refusal_t  *r;

    none = NULL;
    r = atomic_load(&refusal);
    (void) atomic_compare_exchange_strong(&first, &none, call->fake);

    if (call->fake != atomic_load(&first) || r == NULL
        || (atomic_load(&owner) != NULL
            && strcmp(atomic_load(&owner), call->session) == 0))
    {
        fake_ok(call);
        return;
    }

    atomic_fetch_add(&refused, 1);
    call->trailer[0] = r->name;
    call->trailer[1] = r->value;

    if (r->where == ONLY) {
        fake_refuse(call, r->code, r->text);
        return;
    }

    fake_headers(call);

    if (r->where == LATE) {
        fake_message(call, 0);
    }

    fake_trailers(call, r->code, r->text);
}


static void
start(void)
{
    fakes[0] = fake_start(8081, "one", serve);
    fakes[1] = fake_start(8082, "two", serve);
    gateway_start(CONF);
}


static bool
by_first(const client_call_t *call)
{
    return strcmp(client_pod(call, 0),
                  atomic_load(&first) == fakes[0] ? "one" : "two") == 0;
}


/* The instance is leased to the one that it names, and the call moves. */
static void
owned(const refusal_t *r)
{
    client_call_t  *call;

    atomic_store(&refusal, r);
    atomic_store(&owner, "old");
    start();

    call = echo_once("s1");
    client_assert(call, 0, "");
    ck_assert_uint_eq(client_messages(call), 1);
    ck_assert(!by_first(call));
    ck_assert(strstr(call->fields, "session-owner") == NULL);

    client_assert_refused(echo_once("s2"), 8, BUSY);
    call = echo_once("old");
    client_assert(call, 0, "");
    ck_assert(by_first(call));
    gateway_await_access("decision=REBUILT session=old");
    ck_assert_uint_eq(atomic_load(&refused), 1);
}


START_TEST(trailers_owner)
{
    static const refusal_t  refusals[] = {
        { ONLY, 9, "", "session-owner", "old" },
        { ONLY, 13, "Session conflict: was=x, now=s1", "session-owner",
          "old" },
        { ONLY, 14, "instance is shutting down", "session-owner", "old" },
        { ONLY, 1, "CANCELLED", "session-owner", "old" },
        { ONLY, 16, NULL, "session-owner", "old" },
        { BEHIND, 9, "", "session-owner", "old" },
        { BEHIND, 13, "any text", "session-owner", "old" }
    };

    owned(&refusals[_i]);
}
END_TEST


/* the instance serves an unknown session: it is taken */
START_TEST(trailers_owner_unknown)
{
    static const refusal_t  refusals[] = {
        { ONLY, 9, "", "session-owner", "" },
        { ONLY, 9, "", "session-owner", "a b" },
        { BEHIND, 9, "", "session-owner", "\xc3\xa4" }
    };

    atomic_store(&refusal, &refusals[_i]);
    start();

    client_assert(echo_once("s1"), 0, "");
    client_assert_refused(echo_once("s2"), 8, BUSY);
    client_assert(echo_once("s1"), 0, "");
    ck_assert_uint_eq(atomic_load(&refused), 1);
}
END_TEST


/* the instance names the caller: one more try, as with the text */
START_TEST(trailers_owner_is_caller)
{
    static const refusal_t  r = { ONLY, 9, "", "session-owner", "s1" };

    atomic_store(&refusal, &r);
    start();

    client_assert(echo_once("s1"), 0, "");
    ck_assert_uint_eq(atomic_load(&refused), 2);
    ck_assert(gateway_logged("refuses its own session"));
}
END_TEST


/* The answer is the application's: the client gets it, without the trailer. */
START_TEST(trailers_of_an_answer)
{
    size_t          i;
    client_call_t  *call;

    static const refusal_t  answers[] = {
        { BEHIND, 0, NULL, "session-owner", "old" },
        { LATE, 0, NULL, "session-owner", "old" },
        { LATE, 9, "no", "session-owner", "old" },
        { ONLY, 13, "no", "session-leaving", "1" },
        { ONLY, 14, "no", "session-leaving", "0" },
        { ONLY, 14, "no", "session-leaving", "" },
        { LATE, 14, "no", "session-leaving", "1" }
    };

    start();
    client_assert(echo_once("s1"), 0, "");

    for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        atomic_store(&refusal, &answers[i]);
        call = echo_once("s1");
        client_assert(call, answers[i].code,
                      answers[i].text != NULL ? answers[i].text : "");
        ck_assert_uint_eq(client_messages(call), answers[i].where == LATE);
        ck_assert(strstr(call->fields, "session-owner") == NULL);
        ck_assert(strstr(call->fields, "session-leaving") == NULL);
        ck_assert_uint_eq(atomic_load(&refused), i + 1);
    }

    atomic_store(&refusal, NULL);
    call = echo_once("s1");
    client_assert(call, 0, "");
    ck_assert(by_first(call));
}
END_TEST


/* a method that is not listed goes elsewhere, too, and the session with it */
START_TEST(trailers_leaving)
{
    client_call_t  *call;

    static const refusal_t  refusals[] = {
        { ONLY, 14, "", "session-leaving", "1" },
        { ONLY, 14, "any text", "session-leaving", "1" },
        { BEHIND, 14, NULL, "session-leaving", "1" }
    };

    start();
    client_assert(echo_once("s1"), 0, "");
    atomic_store(&refusal, &refusals[_i]);

    call = echo_once("s1");
    client_assert(call, 0, "");
    ck_assert_uint_eq(client_messages(call), 1);
    ck_assert(!by_first(call));
    gateway_await_access("decision=MOVED session=s1");
    ck_assert(gateway_logged("is shutting down"));
    client_assert_refused(echo_once("s2"), 8, BUSY);
}
END_TEST


/* a stream that may be resumed goes on elsewhere, also behind messages */
START_TEST(trailers_leaving_stream)
{
    client_call_t  *stream;

    static const refusal_t  r = { LATE, 14, "", "session-leaving", "1" };

    atomic_store(&refusal, &r);
    start();

    stream = client_grpc(client_open(harness_port(8080)), SUBSCRIBE,
                         token_make("s1", 3600), "s1", "", 0);
    client_wait(stream);
    client_assert(stream, 0, "");
    ck_assert_uint_eq(client_messages(stream), 2);
    ck_assert(strstr(stream->fields, "session-leaving") == NULL);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("trailers");

    harness_add_loop(suite, trailers_owner, 7);
    harness_add_loop(suite, trailers_owner_unknown, 3);
    harness_add(suite, trailers_owner_is_caller);
    harness_add(suite, trailers_of_an_answer);
    harness_add_loop(suite, trailers_leaving, 3);
    harness_add(suite, trailers_leaving_stream);

    return harness_run(suite, argv[0]);
}
