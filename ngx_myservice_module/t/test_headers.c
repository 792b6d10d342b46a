/*
 * Headers that only the gateway may send to an instance, and headers of an
 * instance that are for the gateway alone.
 */

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "token.h"


#define CONF_WITH(http, sessions, location)                                   \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    myservice_jwt_secret_file %%DIR%%/secret;\n"                         \
    http                                                                      \
    "    upstream u {\n"                                                      \
    "        myservice_sessions " sessions ";\n"                              \
    "        server 127.0.0.1:8081;\n"                                        \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        large_client_header_buffers 8 64k;\n"                            \
    "        underscores_in_headers on;\n"                                    \
    "        ignore_invalid_headers off;\n"                                   \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / {\n"                                                  \
    location                                                                  \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define KEY           "$myservice_session zone=u:1m ttl=10m"
#define CONF(location)  CONF_WITH("", KEY, location)
#define JWT           "myservice_jwt on;\n"
#define MAX_HEADERS   64


static client_call_t *
begin(const char *path, const char *token, const client_header_t *more)
{
    size_t           n;
    client_header_t  headers[MAX_HEADERS] = {
        { "content-type", "application/grpc" }, { "te", "trailers" }
    };

    n = 2;

    if (token != NULL) {
        headers[n].name = "authorization";
        headers[n++].value = token;
    }

    while (more != NULL && more->name != NULL) {
        ck_assert_uint_lt(n, MAX_HEADERS - 1);
        headers[n++] = *more++;
    }

    headers[n].name = NULL;

    return client_request(client_open(harness_port(8080)), path, headers,
                          "\0\0\0\0\0", 5, false);
}


static client_call_t *
call(const char *token, const client_header_t *more)
{
    client_call_t  *c;

    c = begin(ECHO, token, more);
    client_wait(c);

    return c;
}


static bool
got(fake_t *fake, const char *line)
{
    char  text[600];

    snprintf(text, sizeof(text), "\n%s\n", line);

    return strstr(fake_metadata(fake), text) != NULL;
}


/* how many lines start with the text */
static unsigned
count(fake_t *fake, const char *name)
{
    char         text[64];
    unsigned     n;
    const char  *p;

    snprintf(text, sizeof(text), "\n%s", name);
    p = fake_metadata(fake);

    for (n = 0; (p = strstr(p, text)) != NULL; n++) {
        p++;
    }

    return n;
}


static const client_header_t  smuggled[] = {
    { "session-id", "s1" },
    { "session-ttl", "999999999" }, { "session_ttl", "evil" },
    { "session-ends", "999999999" }, { "session_ends", "evil" },
    { "session-subject", "evil" }, { "session_subject", "evil" },
    { "session-epoch", "evil" }, { "session_start", "evil" },
    { "session-start", "evil" }, { "session_epoch", "evil" },
    { "session-elsewhere", "evil" }, { "session_elsewhere", "evil" },
    { "session_id", "evil" },
    { "x-myservice-role", "evil" }, { "x_myservice_role", "evil" },
    { "x-myservice-any", "evil" },
    { "session-mine", "1" }, { "x-myservice", "1" }, { "x-mine", "1" },
    { NULL, NULL }
};


/* a client cannot set its lease's time or its subject */
static void
not_smuggled(const char *conf, bool tokens)
{
    int          i;
    fake_t      *fake;
    const char  *token;

    fake = fake_start(8081, "one", fake_ok);
    gateway_start(conf);
    token = tokens ? token_make("s1", 60) : NULL;

    for (i = 0; i < 2; i++) {
        client_assert(call(token, smuggled), 0, "");

        ck_assert_ptr_null(strstr(fake_metadata(fake), "evil"));
        ck_assert_ptr_null(strstr(fake_metadata(fake), "999999999"));
        ck_assert(got(fake, "session-ttl: 600000"));
        ck_assert_uint_eq(count(fake, "session-ttl"), 1);
        ck_assert_uint_eq(count(fake, "session-ends"), 0);
        ck_assert(got(fake, "session-id: s1"));
        ck_assert_uint_eq(count(fake, "session-id"), 1);
        ck_assert_uint_eq(count(fake, "x-myservice-"), tokens);

        /* the control: other names pass */
        ck_assert(got(fake, "session-mine: 1"));
        ck_assert(got(fake, "x-myservice: 1"));
        ck_assert(got(fake, "x-mine: 1"));
    }
}


START_TEST(headers_smuggled)
{
    not_smuggled(CONF(""), false);
}
END_TEST


START_TEST(headers_smuggled_jwt)
{
    not_smuggled(CONF(JWT), true);
}
END_TEST


START_TEST(headers_smuggled_jwt_only)
{
    not_smuggled(CONF(JWT "myservice_jwt_forward off;\n"), true);
}
END_TEST


/* headers that our documents once recommended: accepted, without effect */
/* Fields that go to the instance once, and all of them that are too long for
 * that, some of either kind. */
START_TEST(headers_lengths)
{
    int              i, k;
    char             value[4][4000], line[4100];
    fake_t          *fake;
    client_header_t  fields[] = {
        { "session-id", "s1" },
        { "user-agent", value[0] },
        { "grpc-accept-encoding", value[1] },
        { "x-other", value[2] },
        { "accept-encoding", value[3] },
        { "user-agent", "another" },
        { NULL, NULL }
    };

    static const size_t  lengths[] = { 1, 300, 400, 700, 900, 1900, 3000 };

    fake = fake_start(8081, "one", fake_ok);
    gateway_start(CONF(""));

    for (i = 0; i < 7 * 7; i++) {

        for (k = 0; k < 4; k++) {
            memset(value[k], 'a' + k, sizeof(value[k]));
            value[k][lengths[k % 2 ? i / 7 : i % 7]] = '\0';
        }

        client_assert(call(NULL, fields), 0, "");

        for (k = 0; fields[k].name; k++) {
            snprintf(line, sizeof(line), "\n%s: %s\n", fields[k].name,
                     fields[k].value);
            ck_assert_msg(strstr(fake_metadata(fake), line),
                          "no %.30s in %s", line, fake_metadata(fake));
        }

        ck_assert(got(fake, "te: trailers"));
        ck_assert(got(fake, "session-ttl: 600000"));
    }
}
END_TEST


START_TEST(headers_set_header)
{
    int          code;
    fake_t      *fake;
    const char  *output;
    const char  *conf = CONF_WITH(
        "grpc_set_header session-ends $http_session_ends;\n", KEY,
        "grpc_set_header Session-TTL $http_session_ttl;\n"
        "grpc_set_header session-id $http_x_session;\n"
        "grpc_set_header x-myservice-any $http_x_mine;\n"
        "grpc_set_header session_subject $http_x_mine;\n"
        "grpc_set_header session-ends $http_x_mine;\n"
        "grpc_set_header x-other $http_x_mine;\n"
        "grpc_set_header x-mine '';\n");

    fake = fake_start(8081, "one", fake_ok);
    code = gateway_test(conf, &output);
    ck_assert_int_eq(code, 0);
    ck_assert_ptr_nonnull(strstr(output, "[warn] \"grpc_set_header "
                                 "Session-TTL\" in location \"/\" is ignored"));
    ck_assert_ptr_nonnull(strstr(output, "\"grpc_set_header session-id\""));
    ck_assert_ptr_nonnull(strstr(output, "\"grpc_set_header session-ends\""));
    ck_assert_ptr_nonnull(strstr(output,
                                 "\"grpc_set_header x-myservice-any\""));
    ck_assert_ptr_nonnull(strstr(output,
                                 "\"grpc_set_header session_subject\""));
    ck_assert_ptr_null(strstr(output, "x-other"));
    ck_assert_ptr_null(strstr(output, "x-mine"));

    gateway_start(conf);
    client_assert(call(NULL, smuggled), 0, "");
    ck_assert_ptr_null(strstr(fake_metadata(fake), "evil"));
    ck_assert(got(fake, "session-id: s1"));
    ck_assert(got(fake, "session-ttl: 600000"));
    ck_assert_uint_eq(count(fake, "session-ttl"), 1);
    ck_assert_uint_eq(count(fake, "session-ends"), 0);
    ck_assert_uint_eq(count(fake, "x-myservice-"), 0);

    /* the controls: a name of the operator's, and one that is dropped */
    ck_assert(got(fake, "x-other: 1"));
    ck_assert_uint_eq(count(fake, "x-mine"), 0);
}
END_TEST


/* also in a location that only inherits */
START_TEST(headers_set_header_inherited)
{
    int          code;
    fake_t      *fake;
    const char  *output;
    const char  *conf = CONF_WITH(
        "grpc_set_header session-ttl $http_session_ttl;\n"
        "grpc_set_header x-other kept;\n", KEY, "");

    fake = fake_start(8081, "one", fake_ok);
    code = gateway_test(conf, &output);
    ck_assert_int_eq(code, 0);
    ck_assert_ptr_nonnull(strstr(output, "[warn] \"grpc_set_header "
                                 "session-ttl\""));

    gateway_start(conf);
    client_assert(call(NULL, smuggled), 0, "");
    ck_assert(got(fake, "session-ttl: 600000"));
    ck_assert_uint_eq(count(fake, "session-ttl"), 1);
    ck_assert(got(fake, "x-other: kept"));
}
END_TEST


/* elsewhere all names are the operator's and the client's */
START_TEST(headers_other_upstream)
{
    int          code;
    fake_t      *fake;
    const char  *output;
    const char  *conf = CONF(
        "grpc_pass grpc://127.0.0.1:8082;\n"
        "grpc_set_header session-ends 5;\n"
        "}\n"
        "location = /none {\n");

    (void) fake_start(8081, "one", fake_ok);
    fake = fake_start(8082, "two", fake_ok);
    code = gateway_test(conf, &output);
    ck_assert_int_eq(code, 0);
    ck_assert_ptr_null(strstr(output, "is ignored"));

    gateway_start(conf);
    client_assert(call(NULL, smuggled), 0, "");
    ck_assert(got(fake, "session-ends: 5"));
    ck_assert(got(fake, "session-ttl: 999999999"));
    ck_assert(got(fake, "x-myservice-any: evil"));
}
END_TEST


START_TEST(headers_ends)
{
    long         ends, ttl;
    fake_t      *fake;
    const char  *p;

    static const client_header_t  greedy[] = {
        { "session-id", "s1" }, { "session-ends", "999999999" },
        { "session-ttl", "999999999" }, { NULL, NULL }
    };

    fake = fake_start(8081, "one", fake_ok);
    gateway_start(CONF_WITH("", KEY " expires=$myservice_jwt_expires", JWT));
    client_assert(call(token_make("s1", 60), greedy), 0, "");

    ck_assert_uint_eq(count(fake, "session-ends: "), 1);
    ck_assert_uint_eq(count(fake, "session-ttl: "), 1);
    p = strstr(fake_metadata(fake), "\nsession-ends: ");
    ends = strtol(p + 15, NULL, 10);
    ck_assert(ends > 30000 && ends <= 60000);
    p = strstr(fake_metadata(fake), "\nsession-ttl: ");
    ttl = strtol(p + 14, NULL, 10);
    ck_assert(ttl > 30000 && ttl <= 60000);
}
END_TEST


/* an attempt that follows another gets the same, once */

static unsigned  failures;


static void
refuse_first(fake_call_t *c)
{
    if (c->number <= failures) {
        fake_reset(c, 7);               /* REFUSED_STREAM */

    } else {
        fake_ok(c);
    }
}


static void
headers_again(size_t filler)
{
    char             text[40000];
    fake_t          *fake;
    client_header_t  more[] = {
        { "session-id", "s1" }, { "filler", text }, { NULL, NULL }
    };

    memset(text, '!', filler);          /* Huffman does not shorten it much */
    text[filler] = '\0';

    failures = 1;
    fake = fake_start(8081, "one", refuse_first);
    gateway_start(CONF(""));

    /* on a fresh connection, and on a kept one */
    client_assert(call(NULL, more), 0, "");
    client_assert(call(NULL, more), 0, "");
    ck_assert_uint_eq(fake_requests(fake), 3);
    ck_assert_uint_eq(count(fake, "session-ttl: 600000\n"), 1);
    ck_assert_uint_eq(count(fake, "session-id: s1\n"), 1);
}


START_TEST(headers_each_attempt)
{
    headers_again(1);
}
END_TEST


/* with "session-owner" a refusal is no answer for the client */
#define OWNER  { "session-owner", "alice" }

#define ONLY_GATEWAY                                                          \
    { "session-leaving", "1" }, { "session-subject", "alice" },               \
    { "session-left", "alice" }, { "session-calls", "alice" },                \
    { "session-drain", "alice" }, { "session-decision", "HIT" },              \
    { "session-start", "new" }

#define X_ACCEL                                                               \
    { "x-accel-redirect", "/internal" }, { "x-accel-buffering", "no" },       \
    { "x-accel-charset", "koi8-r" }, { "x-accel-expires", "1" },              \
    { "x-accel-limit-rate", "1" }


static const char *const  refusal[][2] = {
    { ":status", "200" }, { "content-type", "application/grpc" },
    ONLY_GATEWAY, X_ACCEL, { "mine", "1" }, { "grpc-status", "5" },
    { "grpc-message", "not here" }, { NULL, NULL }
};

static const char *const  header[][2] = {
    { ":status", "200" }, { "content-type", "application/grpc" },
    OWNER, ONLY_GATEWAY, X_ACCEL, { "mine", "1" }, { NULL, NULL }
};

static const char *const  trailer[][2] = {
    OWNER, ONLY_GATEWAY, X_ACCEL, { "mine-too", "1" },
    { "grpc-status", "0" }, { NULL, NULL }
};


static void
talkative(fake_call_t *c)
{
    if (strcmp(c->path, SHUTDOWN) == 0) {
        fake_block(c, 0x05, refusal);
        return;
    }

    fake_block(c, 0x04, header);
    fake_message(c, 0);
    fake_block(c, 0x05, trailer);
}


/* the client does not get what an instance tells the gateway, and nginx does
 * not obey it */
static void
instance_talks(const char *conf)
{
    fake_t         *fake;
    client_call_t  *c;

    static const client_header_t  session[] = {
        { "session-id", "s1" }, { NULL, NULL }
    };

    fake = fake_start(8081, "one", talkative);
    gateway_start(conf);

    c = call(NULL, session);
    client_assert(c, 0, "");
    ck_assert_uint_eq(client_messages(c), 1);
    ck_assert_ptr_null(strstr(c->fields, "session-"));
    ck_assert_ptr_null(strstr(c->fields, "x-accel"));
    ck_assert(client_has(c, "mine: 1"));
    ck_assert(client_has(c, "mine-too: 1"));

    c = begin(SHUTDOWN, NULL, session);
    client_wait(c);
    client_assert_refused(c, 5, "not here");
    ck_assert_ptr_null(strstr(c->fields, "session-"));
    ck_assert_ptr_null(strstr(c->fields, "x-accel"));
    ck_assert(client_has(c, "mine: 1"));
    ck_assert_uint_eq(fake_requests(fake), 2);
}


#define INTERNAL                                                              \
    "grpc_pass grpc://u;\n"                                                   \
    "}\n"                                                                     \
    "location = /internal {\n"                                                \
    "    internal;\n"                                                         \
    "    return 200 stolen;\n"                                                \
    "}\n"                                                                     \
    "location = /none {\n"


START_TEST(headers_by_instance)
{
    instance_talks(CONF(INTERNAL));
}
END_TEST


/* whatever the configuration says */
START_TEST(headers_by_instance_passed)
{
    instance_talks(CONF("grpc_pass_header X-Accel-Redirect;\n"
                        "grpc_pass_header x-accel-limit-rate;\n"
                        "grpc_pass_header session-owner;\n"
                        "grpc_hide_header hidden;\n"
                        "grpc_ignore_headers Expires;\n" INTERNAL));
}
END_TEST


/* the operator's own lists count */
START_TEST(headers_by_instance_hidden)
{
    client_call_t  *c;

    static const client_header_t  session[] = {
        { "session-id", "s1" }, { NULL, NULL }
    };

    (void) fake_start(8081, "one", talkative);
    gateway_start(CONF_WITH("grpc_hide_header mine;\n", KEY, ""));
    c = call(NULL, session);
    client_assert(c, 0, "");
    ck_assert(!client_has(c, "mine: 1"));
    ck_assert(client_has(c, "mine-too: 1"));
    ck_assert_ptr_null(strstr(c->fields, "session-"));
}
END_TEST


/* Once: "ghost" lives here for eleven days. */
static void
haunted(fake_call_t *c)
{
    static atomic_uint  checks;

    if (strcmp(c->path, "/grpc.health.v1.Health/Check") != 0) {
        fake_ok(c);
        return;
    }

    if (atomic_fetch_add(&checks, 1) > 0) {
        fake_refuse(c, 12, "");
        return;
    }

    c->more[0][0] = "session-id";
    c->more[0][1] = "ghost";
    c->more[1][0] = "session-left";
    c->more[1][1] = "999999999";
    fake_health(c, 1);
}


/* nor can an instance make a lease longer than all others */
START_TEST(headers_left)
{
    client_t   *client;
    long long   since;

    static const client_header_t  session[] = {
        { "session-id", "s1" }, { NULL, NULL }
    };

    (void) fake_start(8081, "one", haunted);
    gateway_start(CONF_WITH("", "$myservice_session zone=u:1m ttl=1s;\n"
                            "myservice_health interval=100ms", ""));
    since = harness_now();

    /* the control: it was believed */
    client_assert_refused(call(NULL, session), 8, "all instances are busy");

    client = client_open(harness_port(8080));

    while (echo_get(client, "s1")->grpc != 0) {
        harness_pause(since, "the end of a lease");
    }
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("headers");

    harness_add(suite, headers_smuggled);
    harness_add(suite, headers_smuggled_jwt);
    harness_add(suite, headers_smuggled_jwt_only);
    harness_add(suite, headers_lengths);
    harness_add(suite, headers_set_header);
    harness_add(suite, headers_set_header_inherited);
    harness_add(suite, headers_other_upstream);
    harness_add(suite, headers_ends);
    harness_add(suite, headers_each_attempt);
    harness_add(suite, headers_by_instance);
    harness_add(suite, headers_by_instance_passed);
    harness_add(suite, headers_by_instance_hidden);
    harness_add(suite, headers_left);

    return harness_run(suite, argv[0]);
}
