/* "myservice_limit": how many sessions one user may have, and wait for. */

#include <stdio.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "status.h"


#define CONF_WITH(sessions, upstream, http, location)                         \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format limit 'decision=$myservice_decision '\n"                  \
    "        'grpc=$myservice_grpc_status session=$myservice_session';\n"     \
    http                                                                      \
    STATUS_SERVER                                                             \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m " sessions ";\n" \
    "        myservice_release MyServiceShutdown;\n"                          \
    "        myservice_health interval=100ms;\n"                              \
    upstream                                                                  \
    "        server 127.0.0.1:8081;\n"                                        \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log limit;\n"                          \
    "        location / {\n"                                                  \
    location                                                                  \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define CONF(upstream)  CONF_WITH("", upstream, "", RETRY)

#define RETRY  "myservice_retry MyServiceEcho;\n"
#define TWO    "server 127.0.0.1:8082;\n"
#define FOUR   TWO "server 127.0.0.1:8083;\nserver 127.0.0.1:8084;\n"
#define LIMIT  "myservice_limit $http_user max=2;\n"
#define MANY   "too many sessions"

#define CALLS  8


static fake_t  *fakes[4];


static void
serve(fake_call_t *call)
{
    if (strcmp(call->path, "/grpc.health.v1.Health/Check") == 0) {
        fake_health(call, 1);
        return;
    }

    fake_headers(call);
    fake_message(call, 0);
    fake_trailers(call, 0, "");
}


static void
start(const char *conf, int instances)
{
    int  i;

    static const char *const  names[] = { "0", "1", "2", "3" };

    for (i = 0; i < instances; i++) {
        fakes[i] = fake_start(8081 + i, names[i], serve);
    }

    gateway_start(conf);
}


/* "user" NULL: a call without a key */
static client_call_t *
begin(const char *path, const char *user, const char *session)
{
    client_header_t  headers[] = {
        { "session-id", session }, { "content-type", "application/grpc" },
        { "te", "trailers" }, { user ? "user" : NULL, user }, { NULL, NULL }
    };

    return client_request(client_open(harness_port(8080)), path, headers,
                          "\0\0\0\0\0", 5, false);
}


static client_call_t *
call(const char *user, const char *session)
{
    client_call_t  *c;

    c = begin(ECHO, user, session);
    client_wait(c);

    return c;
}


static void
leave(const char *user, const char *session)
{
    client_call_t  *c;

    c = begin(SHUTDOWN, user, session);
    client_wait(c);
    client_assert(c, 0, "");
}


/* The user has two sessions, "a" and "b", and gets no third one. */
static void
has_two(const char *user, const char *a, const char *b)
{
    client_assert(call(user, a), 0, "");
    client_assert(call(user, b), 0, "");
    client_assert_refused(call(user, "third"), 8, MANY);
}


START_TEST(limit_sessions)
{
    client_call_t  *c;

    start(CONF(LIMIT FOUR), 4);
    has_two("alice", "s1", "s2");
    gateway_await_access("decision=TOO_MANY grpc=8 session=third");
    status_await("\"TOO_MANY\":1,");

    /* nothing says that it may come again */

    c = call("alice", "s3");
    client_assert_refused(c, 8, MANY);
    ck_assert_ptr_nonnull(strstr(c->fields, "grpc-status-details-bin: "));
    ck_assert_ptr_null(strstr(c->fields, "grpc-retry-pushback-ms"));

    /* other users, and calls without a key */

    client_assert(call("bob", "s4"), 0, "");
    client_assert(call(NULL, "s5"), 0, "");
    client_assert_refused(call("alice", "s6"), 8, MANY);
    client_assert(call("bob", "s6"), 8, "all instances are busy");

    leave("alice", "s1");
    status_await("\"free\":1");
    client_assert(call("alice", "s7"), 0, "");
}
END_TEST


/* Both workers give leases at once. */
START_TEST(limit_race)
{
    int             i, n, round, good;
    char            session[16];
    client_call_t  *c[CALLS];

    start(CONF(LIMIT FOUR), 4);

    for (round = 0; round < 5; round++) {

        for (i = 0; i < CALLS; i++) {
            snprintf(session, sizeof(session), "s%d-%d", round, i);
            c[i] = begin(ECHO, "alice", session);
        }

        client_wait_all();

        for (good = i = 0; i < CALLS; i++) {
            if (c[i]->grpc == 0) {
                good++;

            } else {
                client_assert_refused(c[i], 8, MANY);
            }
        }

        ck_assert_int_eq(good, 2);

        for (i = n = 0; i < CALLS; i++) {
            if (c[i]->grpc == 0) {
                snprintf(session, sizeof(session), "s%d-%d", round, i);
                leave("alice", session);
                n++;
            }
        }

        ck_assert_int_eq(n, 2);
        status_await("\"free\":4");
    }
}
END_TEST


/* its idle time is over */
START_TEST(limit_expired)
{
    start(CONF_WITH("ttl=1s grace=1s", LIMIT FOUR, "", RETRY), 4);
    client_assert(call("alice", "s1"), 0, "");
    client_assert(call("alice", "s2"), 0, "");
    status_await("\"free\":4");
    client_assert(call("alice", "s3"), 0, "");
    client_assert(call("alice", "s4"), 0, "");
}
END_TEST


/* A session that moves counts once; workers die, and are replaced. */
START_TEST(limit_survives)
{
    client_call_t  *c;

    start(CONF(LIMIT FOUR), 4);
    has_two("alice", "s1", "s2");

    c = call("alice", "s1");
    client_assert(c, 0, "");
    fake_stop(fakes[client_pod(c, 0)[0] - '0']);
    has_two("alice", "s1", "s2");
    gateway_kill_workers(2);
    has_two("alice", "s1", "s2");
    gateway_reload(CONF("myservice_limit $http_user max=3;\n" FOUR));
    client_assert(call("alice", "s3"), 0, "");
    client_assert_refused(call("alice", "s4"), 8, MANY);
    gateway_reload(CONF(LIMIT FOUR));
    client_assert(call("alice", "s3"), 0, "");
    leave("alice", "s3");
    has_two("alice", "s1", "s2");
}
END_TEST


/* a session that waits counts, too */
START_TEST(limit_queue)
{
    client_call_t  *first, *again, *second, *third;

    start(CONF(LIMIT "myservice_queue length=8 timeout=60s;\n"), 1);
    client_assert(call("bob", "s0"), 0, "");

    first = begin(ECHO, "alice", "s1");
    client_poll(0);
    status_await("\"waiting\":1,");
    second = begin(ECHO, "alice", "s2");
    client_poll(0);
    status_await("\"waiting\":2,");
    again = begin(ECHO, "alice", "s1");
    client_assert_refused(call("alice", "s3"), 8, MANY);

    client_cancel(second);
    status_await("\"waiting\":1,");
    third = begin(ECHO, "alice", "s3");
    client_poll(0);
    status_await("\"waiting\":2,");
    client_assert_refused(call("alice", "s4"), 8, MANY);

    /* one that waited has an instance now */

    leave("bob", "s0");
    client_wait(first);
    client_wait(again);
    client_assert(first, 0, "");
    client_assert(again, 0, "");
    client_assert_refused(call("alice", "s4"), 8, MANY);
    ck_assert(!third->done);
    leave("alice", "s1");
    client_wait(third);
    client_assert(third, 0, "");
}
END_TEST


/* The gateway starts anew: instances name their sessions, and whose they are. */

/* first 16 bytes of SHA-256 over "i", NUL, "alice" */
#define ALICE_HEX  "543e1765a821596f0c6a04a7359bf640"


static void
serve_learned(fake_call_t *call)
{
    if (strcmp(call->path, "/grpc.health.v1.Health/Check") == 0
        && call->fake == fakes[0])
    {
        call->more[0][0] = "session-id";
        call->more[0][1] = "before";
        call->more[1][0] = "session-subject";
        call->more[1][1] = ALICE_HEX;
    }

    serve(call);
}


static client_call_t *
call_token(const char *user, const char *session)
{
    client_call_t  *c;

    c = echo_start_as(client_open(harness_port(8080)), user, session);
    client_wait(c);

    return c;
}


START_TEST(limit_learned)
{
    fakes[0] = fake_start(8081, "0", serve_learned);
    fakes[1] = fake_start(8082, "1", serve_learned);
    gateway_start(CONF_WITH("",
                            "myservice_limit $myservice_jwt_claim_sub max=1;\n"
                            TWO,
                            "myservice_jwt_secret_file %%DIR%%/secret;\n",
                            "myservice_jwt on;\n"));
    status_await("\"session\":\"before\"");

    client_assert_refused(call_token("alice", "s1"), 8, MANY);
    client_assert(call_token("bob", "s2"), 0, "");
    client_assert(call_token("alice", "before"), 0, "");
    client_assert_refused(call_token("alice", "s1"), 8, MANY);
}
END_TEST


START_TEST(limit_conf)
{
    unsigned     i;
    const char  *output;

    static const struct {
        const char  *conf;
        const char  *error;
    } bad[] = {
        { CONF("myservice_limit $http_user;\n"), "number of arguments" },
        { CONF("myservice_limit $http_user max=0;\n"), "max=" },
        { CONF("myservice_limit $http_user max=1000001;\n"), "max=" },
        { CONF("myservice_limit $http_user x=1;\n"), "x=1" },
        { CONF("myservice_limit $nothing max=1;\n"), "unknown" },
        { CONF("myservice_limit '' max=1;\n"),
          "\"myservice_limit\": invalid key \"\"" },
        { CONF("myservice_limit max=3 max=3;\n"),
          "\"myservice_limit\": invalid key \"max=3\"" },
        { CONF("myservice_limit max=1 $http_user;\n"), "invalid key" },
        { CONF("myservice_limit everybody max=1;\n"), "invalid key" },
        { CONF(LIMIT LIMIT), "is duplicate" },
        { CONF_WITH("", "", "upstream v { " LIMIT "server 127.0.0.1:8082; }\n",
                    ""),
          "has no effect without" },
    };

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_ne(gateway_test(bad[i].conf, &output), 0);
        ck_assert_msg(strstr(output, bad[i].error) != NULL, "%s", output);
    }

    ck_assert_int_eq(gateway_test(CONF(LIMIT), &output), 0);
    ck_assert_int_eq(gateway_test(CONF(LIMIT "myservice_store "
                                       "redis://127.0.0.1:6379;\n"),
                                  &output), 0);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("limit");
    harness_add(suite, limit_sessions);
    harness_add(suite, limit_race);
    harness_add(suite, limit_expired);
    harness_add(suite, limit_survives);
    harness_add(suite, limit_queue);
    harness_add(suite, limit_learned);
    harness_add(suite, limit_conf);

    return harness_run(suite, "test_limit");
}
