/*
 * Streams of requests: the server reads them one by one, the client writes
 * them one by one.
 */

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>
#include <grpc/grpc.h>

#include "rpc/t/fixture.h"
#include "rpc/t/lasted.h"


#define MAX_MESSAGE  10000

/* What the handler saw. */
typedef struct {
    _Atomic int  messages;
    _Atomic int  ends;              /* NULL instead of a message */
    _Atomic int  cancelled;
    _Atomic int  done;
} probe_t;

/* One call, in its memory. */
typedef struct {
    MyService__EchoResponse  response;
    int                      mute;
} talk_t;


static void talk(rpc_call_t *call, const ProtobufCMessage *message,
    void *data);
static void talk_sent(rpc_call_t *call, void *data);
static void talk_last(rpc_call_t *call, void *data);
static void count(rpc_call_t *call, void *data);


static probe_t    probe;
static fixture_t  f;


static void
start(void)
{
    char                  target[64];
    rpc_server_options_t  options = { .max_message = MAX_MESSAGE };

    memset(&probe, 0, sizeof(probe));

    f.server = rpc_server_create(&options);
    ck_assert_int_eq(rpc_server_bidi(f.server,
                         &my_service__my_service_api__descriptor,
                         "MyServiceSubscribe", talk, NULL), 0);
    f.port = rpc_server_listen(f.server, "127.0.0.1:0", NULL);
    ck_assert_int_gt(f.port, 0);
    ck_assert_int_eq(rpc_server_start(f.server), 0);

    snprintf(target, sizeof(target), "127.0.0.1:%d", f.port);
    f.client = rpc_client_create(target, NULL);
}


static void
stop(void)
{
    ck_assert_int_eq(fixture_stop(&f, 5000), 0);
}


/*
 * Echoes every message before it reads the next one.  "end" ends the call
 * with a status; "mute" has it read on without an answer up to the client's
 * last message, which it answers with their number.
 */

static void
talk(rpc_call_t *call, const ProtobufCMessage *message, void *data)
{
    const char                    *value;
    static talk_t                  t;
    const MyService__EchoRequest  *request;

    (void) data;

    if (message == NULL) {
        atomic_fetch_add(&probe.ends, 1);
        ck_assert_int_eq(rpc_call_next(call), -1);

        if (t.mute) {
            t.response.index = atomic_load(&probe.messages);
            ck_assert_int_eq(rpc_call_send(call, &t.response.base, talk_last,
                                           NULL), 0);
            return;
        }

        rpc_call_fail(call, GRPC_STATUS_OK, NULL);
        return;
    }

    request = (const MyService__EchoRequest *) message;
    value = request->value;

    if (atomic_fetch_add(&probe.messages, 1) == 0) {
        memset(&t, 0, sizeof(t));
        my_service__echo_response__init(&t.response);
        rpc_call_on_done(call, count, &probe.done);
        rpc_call_on_cancel(call, count, &probe.cancelled);
    }

    if (strcmp(value, "end") == 0) {
        rpc_call_fail(call, GRPC_STATUS_ABORTED, "enough");
        return;
    }

    if (strcmp(value, "mute") == 0 || t.mute) {
        t.mute = 1;
        ck_assert_int_eq(rpc_call_next(call), 0);
        ck_assert_int_eq(rpc_call_next(call), -1);
        return;
    }

    t.response.index = atomic_load(&probe.messages);
    t.response.client_value = request->value;
    ck_assert_int_eq(rpc_call_send(call, &t.response.base, talk_sent, NULL),
                     0);
}


static void
talk_sent(rpc_call_t *call, void *data)
{
    (void) data;

    ck_assert_int_eq(rpc_call_next(call), 0);
}


static void
talk_last(rpc_call_t *call, void *data)
{
    (void) data;

    rpc_call_fail(call, GRPC_STATUS_OK, NULL);
}


static void
count(rpc_call_t *call, void *data)
{
    (void) call;

    atomic_fetch_add((_Atomic int *) data, 1);
}


/* the client's side */


static rpc_stream_t *
open_stream_for(int64_t timeout)
{
    rpc_stream_t  *s;

    s = rpc_client_bidi(f.client, FIXTURE_SUBSCRIBE, NULL, 0, timeout,
                        &my_service__echo_response__descriptor);
    ck_assert_ptr_nonnull(s);

    return s;
}


static rpc_stream_t *
open_stream(void)
{
    return open_stream_for(30000);
}


static int
say(rpc_stream_t *s, const char *value)
{
    MyService__EchoRequest  request = MY_SERVICE__ECHO_REQUEST__INIT;

    request.value = (char *) value;

    return rpc_stream_send(s, &request.base);
}


static void
hear(rpc_stream_t *s, const char *value, int index)
{
    MyService__EchoResponse  *response;

    response = (MyService__EchoResponse *) rpc_stream_next(s);
    ck_assert_ptr_nonnull(response);
    ck_assert_str_eq(response->client_value, value);
    ck_assert_int_eq(response->index, index);
    fixture_response_free(response);
}


static void
ends(rpc_stream_t *s, grpc_status_code code, const char *message)
{
    rpc_result_t  result;

    ck_assert_ptr_null(rpc_stream_next(s));
    rpc_stream_finish(s, &result);
    ck_assert_int_eq(result.code, code);

    if (message != NULL) {
        ck_assert_str_eq(result.message, message);
    }

    rpc_result_free(&result);
}


START_TEST(turns)
{
    rpc_stream_t  *s;

    start();
    s = open_stream();

    ck_assert_int_eq(say(s, "one"), 0);
    hear(s, "one", 1);
    ck_assert_int_eq(say(s, "two"), 0);
    ck_assert_int_eq(say(s, "three"), 0);
    hear(s, "two", 2);
    hear(s, "three", 3);

    rpc_stream_close(s);
    ends(s, GRPC_STATUS_OK, "");

    fixture_wait(&probe.done, 1);
    ck_assert_int_eq(probe.ends, 1);
    ck_assert_int_eq(probe.cancelled, 0);
    stop();
}
END_TEST


START_TEST(only_requests)
{
    int            i;
    rpc_stream_t  *s;

    start();
    s = open_stream();

    for (i = 0; i < 100; i++) {
        ck_assert_int_eq(say(s, "mute"), 0);
    }

    rpc_stream_close(s);
    hear(s, "", 100);
    ends(s, GRPC_STATUS_OK, "");

    stop();
}
END_TEST


START_TEST(no_request)
{
    rpc_stream_t  *s;

    start();

    s = open_stream();
    rpc_stream_close(s);
    ends(s, GRPC_STATUS_OK, "");
    ck_assert_int_eq(probe.ends, 1);

    stop();
}
END_TEST


/* In all far more than the memory of a call. */

START_TEST(long_stream)
{
    int            i;
    char           value[MAX_MESSAGE / 2];
    rpc_stream_t  *s;

    start();
    s = open_stream();

    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';

    for (i = 1; i <= 1000; i++) {
        ck_assert_int_eq(say(s, value), 0);
        hear(s, value, i);
    }

    rpc_stream_close(s);
    ends(s, GRPC_STATUS_OK, "");

    stop();
}
END_TEST


START_TEST(end_by_server)
{
    int64_t        end;
    rpc_stream_t  *s;

    start();
    s = open_stream();

    ck_assert_int_eq(say(s, "one"), 0);
    hear(s, "one", 1);
    ck_assert_int_eq(say(s, "end"), 0);

    for (end = rpc_now() + LASTED_DEADLINE; say(s, "more") == 0; usleep(1000)) {
        ck_assert_int_lt(rpc_now(), end);
    }

    rpc_stream_close(s);
    ends(s, GRPC_STATUS_ABORTED, "enough");
    fixture_wait(&probe.done, 1);
    ck_assert_int_eq(probe.messages, 2);

    stop();
}
END_TEST


START_TEST(bad_message)
{
    rpc_stream_t  *s;

    start();
    s = open_stream();

    ck_assert_int_eq(say(s, "one"), 0);
    hear(s, "one", 1);
    ck_assert_int_eq(say(s, "\xff"), 0);
    ends(s, GRPC_STATUS_INTERNAL,
         "request message has a string that is not UTF-8");
    ck_assert_int_eq(probe.messages, 1);
    ck_assert_int_eq(probe.ends, 0);

    stop();
}
END_TEST


START_TEST(oversize)
{
    char           value[MAX_MESSAGE + 100];
    rpc_stream_t  *s;

    start();
    s = open_stream();

    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';

    ck_assert_int_eq(say(s, "one"), 0);
    hear(s, "one", 1);
    ck_assert_int_eq(say(s, value), 0);
    ends(s, GRPC_STATUS_RESOURCE_EXHAUSTED, NULL);
    fixture_wait(&probe.done, 1);
    ck_assert_int_eq(probe.messages, 1);

    stop();
}
END_TEST


/* The handler never takes a client that goes for one that is done. */

START_TEST(cancel)
{
    int            i;
    rpc_stream_t  *s;
    rpc_result_t   result;

    start();

    for (i = 1; i <= 50; i++) {
        s = open_stream();
        atomic_store(&probe.messages, 0);

        ck_assert_int_eq(say(s, i & 1 ? "mute" : "one"), 0);

        if (i & 1) {
            fixture_wait(&probe.messages, 1);
        } else {
            hear(s, "one", 1);
        }

        rpc_stream_cancel(s);
        rpc_stream_finish(s, &result);
        ck_assert_int_eq(result.code, GRPC_STATUS_CANCELLED);
        rpc_result_free(&result);

        fixture_wait(&probe.done, i);
        ck_assert_int_eq(probe.cancelled, i);
        ck_assert_int_eq(probe.ends, 0);
    }

    stop();
}
END_TEST


START_TEST(deadline)
{
    int            i;
    rpc_stream_t  *s;

    start();

    s = open_stream();                  /* the time of a connect */
    rpc_stream_close(s);
    ends(s, GRPC_STATUS_OK, "");

    for (i = 1; i <= 10; i++) {
        atomic_store(&probe.messages, 0);
        atomic_store(&probe.ends, 0);

        s = open_stream_for(200);
        ck_assert_int_eq(say(s, "one"), 0);
        hear(s, "one", 1);
        ends(s, GRPC_STATUS_DEADLINE_EXCEEDED, NULL);

        fixture_wait(&probe.done, i);
        ck_assert_int_eq(probe.cancelled, i);
        ck_assert_int_eq(probe.ends, 0);
    }

    stop();
}
END_TEST


START_TEST(cancel_by_stop)
{
    rpc_stream_t  *s;

    start();
    s = open_stream();

    ck_assert_int_eq(say(s, "one"), 0);
    hear(s, "one", 1);

    ck_assert_int_eq(rpc_server_stop(f.server, 200), 1);
    ck_assert_int_eq(probe.done, 1);
    ck_assert_int_eq(probe.cancelled, 1);
    ends(s, GRPC_STATUS_UNAVAILABLE, NULL);

    fixture_stop(&f, 0);
}
END_TEST


START_TEST(parallel)
{
    int            i, turn;
    char           value[16];
    rpc_stream_t  *s[50];

    start();

    for (i = 0; i < 50; i++) {
        s[i] = open_stream();
    }

    for (turn = 0; turn < 10; turn++) {
        for (i = 0; i < 50; i++) {
            snprintf(value, sizeof(value), "%d %d", i, turn);
            ck_assert_int_eq(say(s[i], value), 0);
            hear(s[i], value, 50 * turn + i + 1);
        }
    }

    for (i = 0; i < 50; i++) {
        rpc_stream_close(s[i]);
        ends(s[i], GRPC_STATUS_OK, "");
    }

    stop();
}
END_TEST


int
main(void)
{
    int       failed;
    TCase    *tc;
    Suite    *suite;
    SRunner  *runner;

    suite = suite_create("bidi");
    tc = tcase_create("bidi");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, turns);
    tcase_add_test(tc, only_requests);
    tcase_add_test(tc, no_request);
    tcase_add_test(tc, long_stream);
    tcase_add_test(tc, end_by_server);
    tcase_add_test(tc, bad_message);
    tcase_add_test(tc, oversize);
    tcase_add_test(tc, cancel);
    tcase_add_test(tc, deadline);
    tcase_add_test(tc, cancel_by_stop);
    tcase_add_test(tc, parallel);
    suite_add_tcase(suite, tc);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
