/*
 * A session belongs to the user whose token made its lease, whoever else has a
 * token for a session of that name.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "instance.h"
#include "token.h"


#define CONF_WITH(upstream, http, location, more)                             \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format subject 'decision=$myservice_decision '\n"                \
    "        'grpc=$myservice_grpc_status session=$myservice_session';\n"     \
    "    myservice_jwt_secret_file %%DIR%%/secret;\n"                         \
    http                                                                      \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        myservice_release MyServiceShutdown;\n"                          \
    upstream                                                                  \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log subject;\n"                        \
    "        location / {\n"                                                  \
    "            myservice_jwt on;\n"                                         \
    location                                                                  \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    more                                                                      \
    "        location = /status { myservice_status; }\n"                      \
    "    }\n"                                                                 \
    "}\n"

#define ONE             "server 127.0.0.1:8081;\n"
#define TWO             ONE "server 127.0.0.1:8082;\n"
#define HEALTH          "myservice_health interval=100ms;\n"
#define CONF(location)  CONF_WITH(ONE, "", location, "")
#define OPEN            "location = " SUBSCRIBE " { grpc_pass grpc://u; }\n"

#define DENIED   "session belongs to another user"
#define INVALID  "missing or invalid token"
#define BUSY     "all instances are busy"


/* A token of session "s1"; "who" is the part of it that names the user. */
static const char *
token(const char *who)
{
    char  claims[512];

    snprintf(claims, sizeof(claims),
             "{\"session_id\":\"s1\",\"exp\":32503680000%s%s}",
             who[0] ? "," : "", who);

    return token_sign(claims, "HS256", TOKEN_SECRET);
}

#define ALICE  "\"iss\":\"i\",\"sub\":\"alice\""
#define BOB    "\"iss\":\"i\",\"sub\":\"bob\""

/* first 16 bytes of SHA-256 over "i", NUL, "alice"; "", NUL, "" */
#define ALICE_HEX  "543e1765a821596f0c6a04a7359bf640"
#define NIL_HEX    "6e340b9cffb37a989ca544e6bb780a2c"


static client_call_t *
call_of(const char *path, const char *text)
{
    client_call_t  *c;

    c = client_grpc(client_open(harness_port(8080)), path, text, "s1", "", 0);
    client_wait(c);

    return c;
}


static client_call_t *
call(const char *who)
{
    return call_of(ECHO, token(who));
}


static bool
got(fake_t *fake, const char *line)
{
    char  text[300];

    snprintf(text, sizeof(text), "\n%s\n", line);

    return strstr(fake_metadata(fake), text) != NULL;
}


START_TEST(subject_denied)
{
    fake_t  *fake;

    fake = fake_start(8081, "one", fake_ok);
    gateway_start(CONF(""));

    client_assert(call(ALICE), 0, "");
    ck_assert(got(fake, "session-subject: " ALICE_HEX));
    client_assert_refused(call(BOB), 7, DENIED);
    gateway_await_access("decision=DENIED grpc=7 session=s1");
    client_assert_refused(call(""), 7, DENIED);
    client_assert_refused(call("\"iss\":\"j\",\"sub\":\"alice\""), 7, DENIED);
    client_assert_refused(call("\"sub\":\"alice\""), 7, DENIED);
    client_assert_refused(call("\"iss\":\"i\""), 7, DENIED);
    ck_assert_uint_eq(fake_requests(fake), 1);

    /* the controls: another token of hers, more claims, and from the cache */
    client_assert(call(ALICE ",\"jti\":\"2\""), 0, "");
    client_assert(call(ALICE), 0, "");
    ck_assert(got(fake, "session-subject: " ALICE_HEX));
    client_assert(call_of(SHUTDOWN, token(ALICE)), 0, "");
    ck_assert_uint_eq(fake_requests(fake), 4);
}
END_TEST


/* a session of a token without "sub" is bound, too */
START_TEST(subject_nil)
{
    fake_t  *fake;

    fake = fake_start(8081, "one", fake_ok);
    gateway_start(CONF(""));

    client_assert(call(""), 0, "");
    ck_assert(got(fake, "session-subject: " NIL_HEX));
    client_assert_refused(call(ALICE), 7, DENIED);
    client_assert(call("\"jti\":\"2\""), 0, "");
}
END_TEST


/* a client cannot name its subject */
START_TEST(subject_smuggled)
{
    fake_t          *fake;
    client_call_t   *c;
    client_header_t  headers[] = {
        { "content-type", "application/grpc" }, { "session-id", "s1" },
        { "session-subject", ALICE_HEX }, { "authorization", NULL },
        { NULL, NULL }
    };

    fake = fake_start(8081, "one", fake_ok);
    gateway_start(CONF(""));
    headers[3].value = token(BOB);
    c = client_request(client_open(harness_port(8080)), ECHO, headers,
                       "\0\0\0\0\0", 5, false);
    client_wait(c);
    client_assert(c, 0, "");
    ck_assert(!got(fake, "session-subject: " ALICE_HEX));
    client_assert_refused(call(ALICE), 7, DENIED);
}
END_TEST


START_TEST(subject_off)
{
    fake_t  *fake;

    fake = fake_start(8081, "one", fake_ok);
    gateway_start(CONF("myservice_session_subject off;\n"));

    client_assert(call(ALICE), 0, "");
    client_assert(call(BOB), 0, "");
    ck_assert_ptr_null(strstr(fake_metadata(fake), "session-subject"));
}
END_TEST


START_TEST(subject_claim)
{
    fake_t  *fake;

    fake = fake_start(8081, "one", fake_ok);
    gateway_start(CONF("myservice_session_subject claim=uid;\n"));

    client_assert(call(ALICE ",\"uid\":7"), 0, "");
    client_assert(call(BOB ",\"uid\":7"), 0, "");
    client_assert_refused(call(ALICE ",\"uid\":8"), 7, DENIED);
    client_assert_refused(call(ALICE), 7, DENIED);
    client_assert_refused(call(ALICE ",\"uid\":[7]"), 16, INVALID);
    client_assert_refused(call(ALICE ",\"uid\":null"), 16, INVALID);
    ck_assert_uint_eq(fake_requests(fake), 2);
}
END_TEST


START_TEST(subject_conf)
{
    int          code;
    const char  *output;

    code = gateway_test(CONF("myservice_session_subject claim=;\n"), &output);
    ck_assert_int_eq(code, 1);
    ck_assert_ptr_nonnull(strstr(output, "\"claim=name\""));
    code = gateway_test(CONF("myservice_session_subject off;\n"
                             "myservice_session_subject uid;\n"), &output);
    ck_assert_int_eq(code, 1);
    ck_assert_ptr_nonnull(strstr(output, "is duplicate"));
    code = gateway_test(CONF("myservice_session_subject uid;\n"), &output);
    ck_assert_int_eq(code, 0);
}
END_TEST


/* without tokens there is no binding: what a token has bound stays so */
START_TEST(subject_without_tokens)
{
    fake_t  *fake;

    fake = fake_start(8081, "one", fake_ok);
    gateway_start(CONF_WITH(ONE, "", "", OPEN));

    client_assert(call_of(SUBSCRIBE, NULL), 0, "");
    ck_assert_ptr_null(strstr(fake_metadata(fake), "session-subject"));
    client_assert(call(ALICE), 0, "");
    client_assert_refused(call(BOB), 7, DENIED);
    client_assert(call_of(SUBSCRIBE, NULL), 0, "");
    client_assert_refused(call(BOB), 7, DENIED);
}
END_TEST


/* nothing of the lease changes: neither its idle time nor its instance */
static bool
has(const client_call_t *c, const char *text)
{
    return memmem(c->body, c->len, text, strlen(text)) != NULL;
}


START_TEST(subject_touches_nothing)
{
    int              i;
    long long        since;
    client_call_t   *c;
    client_header_t  get[] = { { ":method", "GET" }, { NULL, NULL } };

    (void) fake_start(8081, "one", fake_ok);
    gateway_start(CONF_WITH(ONE, "", "", ""));
    client_assert(call(ALICE), 0, "");

    since = harness_now();

    for (i = 0; i < 20 || harness_now() - since < 300; i++) {
        client_assert_refused(call(BOB), 7, DENIED);
        harness_pause(since, "never");
    }

    c = client_request(client_open(harness_port(8080)), "/status", get, NULL,
                       0, false);
    client_wait(c);
    ck_assert_int_eq(c->http, 200);
    ck_assert(has(c, "\"HIT\":0,\"NEW\":1,"));
    ck_assert(has(c, "\"failures\":0"));
    ck_assert(!has(c, "\"idle_ms\":0,"));
}
END_TEST


/* moved, reloaded, with a worker killed */
START_TEST(subject_survives)
{
    char     pod[32];
    fake_t  *one, *two;
    const char *conf = CONF_WITH(TWO, "", "", "");

    one = fake_start(8081, "one", fake_ok);
    two = fake_start(8082, "two", fake_ok);
    gateway_start(conf);

    snprintf(pod, sizeof(pod), "%s", client_pod(call(ALICE), 0));
    gateway_reload(NULL);
    client_assert_refused(call(BOB), 7, DENIED);
    gateway_kill_workers(2);
    client_assert_refused(call(BOB), 7, DENIED);

    fake_stop(strcmp(pod, "one") == 0 ? one : two);
    client_assert_refused(call(BOB), 7, DENIED);
    ck_assert_str_ne(client_pod(call(ALICE), 0), pod);
    gateway_await_access("decision=MOVED grpc=0 session=s1");
    client_assert_refused(call(BOB), 7, DENIED);
    client_assert(call(ALICE), 0, "");

    /* a session that has ended has no owner */
    client_assert(call_of(SHUTDOWN, token(ALICE)), 0, "");
    client_assert_refused(call(BOB), 14, "backend service unavailable");
}
END_TEST


/* an instance reports the subject after a restart of the gateway */
START_TEST(subject_told_back)
{
    const char *conf = CONF_WITH(HEALTH ONE, "", "", "");

    (void) instance_start(8081, "one", NULL);
    gateway_start(conf);
    client_assert(call(ALICE), 0, "");
    gateway_stop();

    gateway_start(conf);
    client_assert_refused(call(BOB), 7, DENIED);
    client_assert(call(ALICE), 0, "");
    gateway_await_access("decision=REBUILT grpc=0 session=s1");
}
END_TEST


/* an instance that does not name the subject: the first caller gets the
 * session */
static void
forgetful(fake_call_t *c)
{
    if (strcmp(c->path, "/grpc.health.v1.Health/Check") != 0) {
        fake_ok(c);
        return;
    }

    c->more[0][0] = "session-id";
    c->more[0][1] = "s1";
    fake_health(c, 1);
}


START_TEST(subject_first_caller)
{
    (void) fake_start(8081, "one", forgetful);
    gateway_start(CONF_WITH(HEALTH ONE, "", "", ""));

    client_assert(call(BOB), 0, "");
    gateway_await_access("decision=REBUILT grpc=0 session=s1");
    client_assert_refused(call(ALICE), 7, DENIED);
    client_assert(call(BOB), 0, "");
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("subject");

    harness_add(suite, subject_denied);
    harness_add(suite, subject_nil);
    harness_add(suite, subject_smuggled);
    harness_add(suite, subject_off);
    harness_add(suite, subject_claim);
    harness_add(suite, subject_conf);
    harness_add(suite, subject_without_tokens);
    harness_add(suite, subject_touches_nothing);
    harness_add(suite, subject_survives);
    harness_add(suite, subject_told_back);
    harness_add(suite, subject_first_caller);

    return harness_run(suite, argv[0]);
}
