/*
 * The lease belongs to the verified session, wherever its id comes from, and
 * the instance gets this id and no other.
 */

#include <stdio.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "token.h"


#define CONF_WITH(key, http, location)                                        \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format from 'decision=$myservice_decision '\n"                   \
    "        'session=$myservice_session jwt=$myservice_jwt_status';\n"       \
    "    myservice_jwt_secret_file %%DIR%%/secret;\n"                         \
    http                                                                      \
    "    upstream u {\n"                                                      \
    "        myservice_sessions " key " zone=u:1m;\n"                         \
    "        server 127.0.0.1:8081;\n"                                        \
    "        server 127.0.0.1:8082;\n"                                        \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        underscores_in_headers on;\n"                                    \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log from;\n"                           \
    "        location / {\n"                                                  \
    location                                                                  \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define CONF(location)  CONF_WITH("$myservice_session", "", location)
#define JWT             "myservice_jwt on;\n"
#define METADATA        "myservice_session_from metadata=x-session;\n"
#define CLAIM           "myservice_session_from claim=sid;\n"


static fake_t  *one;
static fake_t  *two;


static void
start(const char *conf)
{
    one = fake_start(8081, "one", fake_ok);
    two = fake_start(8082, "two", fake_ok);
    gateway_start(conf);
}


/* A call with up to three fields; a NULL name ends them. */
static client_call_t *
call(const char *token, const char *a, const char *av, const char *b,
    const char *bv)
{
    size_t           n;
    client_call_t   *c;
    client_header_t  headers[8] = {
        { "content-type", "application/grpc" }, { "te", "trailers" }
    };

    n = 2;

    if (token != NULL) {
        headers[n++] = (client_header_t) { "authorization", token };
    }

    if (a != NULL) {
        headers[n++] = (client_header_t) { a, av };
    }

    if (b != NULL) {
        headers[n++] = (client_header_t) { b, bv };
    }

    c = client_request(client_open(harness_port(8080)), ECHO, headers,
                       "\0\0\0\0\0", 5, false);
    client_wait(c);

    return c;
}


static const char *
token_of(const char *claim, const char *session)
{
    char  claims[512];

    snprintf(claims, sizeof(claims), "{\"%s\":\"%s\",\"exp\":32503680000}",
             claim, session);

    return token_sign(claims, "HS256", TOKEN_SECRET);
}


static char *
pod(client_call_t *c)
{
    static char  names[8][16];
    static int   n;

    client_assert(c, 0, "");
    n = (n + 1) % 8;
    snprintf(names[n], sizeof(names[n]), "%s", client_pod(c, 0));

    return names[n];
}


/* the session id that the answering instance got */
static void
told(client_call_t *c, const char *session)
{
    char         line[300];
    const char  *metadata, *p;

    metadata = fake_metadata(strcmp(pod(c), "one") == 0 ? one : two);
    snprintf(line, sizeof(line), "\nsession-id: %s\n", session);
    p = strstr(metadata, line);
    ck_assert_msg(p != NULL, "no \"%s\" in: %s", line + 1, metadata);
    ck_assert_ptr_null(strstr(p + 1, "\nsession-id:"));
    ck_assert_ptr_eq(strstr(metadata, "\nsession-id:"), p);
    ck_assert_ptr_null(strstr(metadata, "\nsession_id:"));
}


static void
refused(const char *conf, const char *text)
{
    int          code;
    const char  *output;

    code = gateway_test(conf, &output);
    ck_assert_int_eq(code, 1);
    ck_assert_msg(strstr(output, "[emerg]") != NULL
                  && strstr(output, text) != NULL, "no \"%s\" in: %s", text,
                  output);
}


static void
accepted(const char *conf)
{
    int          code;
    const char  *output;

    code = gateway_test(conf, &output);
    ck_assert_msg(code == 0, "%s", output);
}


/* a key that the token does not have */
START_TEST(from_key_refused)
{
    refused(CONF_WITH("$http_x_session", "", JWT),
            "\"myservice_jwt\" and passes to upstream \"u\"");
    refused(CONF_WITH("$http_x_session", JWT, ""), "upstream \"u\"");
    refused(CONF_WITH("$myservice_session$http_x", "", JWT), "upstream \"u\"");
    refused(CONF_WITH("$myservice_jwt_claim_sub", "", JWT), "upstream \"u\"");
    refused(CONF_WITH("one", "", JWT), "upstream \"u\"");

    accepted(CONF_WITH("$http_x_session", "", ""));
    accepted(CONF_WITH("$http_x_session", JWT, "myservice_jwt off;\n"));
    accepted(CONF_WITH("$myservice_session", JWT, ""));
    accepted(CONF_WITH("${myservice_session}", "", JWT));
}
END_TEST


START_TEST(from_conf)
{
    refused(CONF("myservice_session_from x-session;\n"),
            "expected \"metadata=name\" or \"claim=name\"");
    refused(CONF("myservice_session_from metadata=;\n"), "invalid");
    refused(CONF("myservice_session_from claim=;\n"), "invalid");
    refused(CONF("myservice_session_from 'metadata=a b';\n"), "invalid");
    refused(CONF("myservice_session_from metadata=:path;\n"), "invalid");
    refused(CONF("myservice_session_from metadata=authorization;\n"),
            "something else");
    refused(CONF("myservice_session_from metadata=session-ttl;\n"),
            "something else");
    refused(CONF("myservice_session_from metadata=session_subject;\n"),
            "something else");
    refused(CONF("myservice_session_from metadata=x-myservice-a;\n"),
            "something else");
    refused(CONF("myservice_session_from metadata=grpc-timeout;\n"),
            "something else");
    refused(CONF(METADATA METADATA), "is duplicate");
    refused(CONF(CLAIM), "needs \"myservice_jwt\"");
    refused(CONF_WITH("$myservice_session", CLAIM, ""),
            "needs \"myservice_jwt\"");

    accepted(CONF(METADATA));
    accepted(CONF("myservice_session_from metadata=session-id;\n"));
    accepted(CONF("myservice_session_from metadata=X-Session.Id_2;\n"));
    accepted(CONF(CLAIM JWT));
    accepted(CONF_WITH("$myservice_session", CLAIM,
                       "myservice_session_from metadata=session-id;\n"));
}
END_TEST


START_TEST(from_session_id)
{
    client_call_t  *c;

    start(CONF(JWT));

    told(call(token_of("session_id", "alice"), "session-id", "alice", NULL,
              NULL), "alice");
    c = call(token_of("session_id", "mallory"), "session-id", "mallory",
             "x-session", "alice");
    told(c, "mallory");
    ck_assert_str_ne(pod(c), pod(call(token_of("session_id", "alice"),
                                      "session-id", "alice", NULL, NULL)));
    client_assert_refused(call(token_of("session_id", "mallory"),
                               "session-id", "alice", NULL, NULL), 16,
                          "session-id mismatch");
}
END_TEST


START_TEST(from_metadata)
{
    const char     *alice, *mallory;
    client_call_t  *c;

    alice = token_of("session_id", "alice");
    mallory = token_of("session_id", "mallory");
    start(CONF(JWT METADATA));

    c = call(alice, "x-session", "alice", NULL, NULL);
    told(c, "alice");
    gateway_await_access("decision=NEW session=alice jwt=OK");

    /* "session-id" is metadata as any other now, and dropped */
    told(call(alice, "x-session", "alice", "session-id", "mallory"), "alice");
    told(call(alice, "x-session", "alice", "session_id", "mallory"), "alice");
    told(call(mallory, "x-session", "mallory", "session-id", "alice"),
         "mallory");
    ck_assert_str_ne(pod(call(mallory, "x-session", "mallory", NULL, NULL)),
                     pod(c));

    client_assert_refused(call(mallory, "x-session", "alice", NULL, NULL), 16,
                          "session-id mismatch");
    client_assert_refused(call(mallory, "session-id", "mallory", NULL, NULL),
                          16, "missing session-id");
    client_assert_refused(call(mallory, "x-session", "", NULL, NULL), 16,
                          "missing session-id");
    client_assert_refused(call(alice, "x-session", "alice", "x-session",
                               "alice"), 3, "invalid session-id");
    client_assert_refused(call(alice, "x-session", "a b", NULL, NULL), 3,
                          "invalid session-id");
}
END_TEST


START_TEST(from_claim)
{
    char            text[300], claims[600];
    const char     *alice, *mallory;
    client_call_t  *c;

    alice = token_of("sid", "alice");
    mallory = token_of("sid", "mallory");
    start(CONF(JWT CLAIM));

    c = call(alice, NULL, NULL, NULL, NULL);
    told(c, "alice");
    gateway_await_access("decision=NEW session=alice jwt=OK");

    /* from the cache of tokens, too, and whatever the client says */
    told(call(alice, NULL, NULL, NULL, NULL), "alice");
    gateway_await_access("decision=HIT session=alice jwt=OK");
    told(call(mallory, "session-id", "alice", NULL, NULL), "mallory");
    told(call(mallory, "session-id", "alice", "session_id", "alice"),
         "mallory");
    ck_assert_str_ne(pod(call(mallory, NULL, NULL, NULL, NULL)), pod(c));

    /* a token with another claim has no session */
    client_assert_refused(call(token_of("session_id", "alice"), "session-id",
                               "alice", NULL, NULL), 16,
                          "missing or invalid token");
    client_assert_refused(call(NULL, "session-id", "alice", NULL, NULL), 16,
                          "missing or invalid token");

    /* a text that is not a session id is not one in a token, either */
    client_assert_refused(call(token_of("sid", "a b"), NULL, NULL, NULL,
                               NULL), 3, "invalid session-id");
    memset(text, 'a', 257);
    text[257] = '\0';
    snprintf(claims, sizeof(claims), "{\"sid\":\"%s\",\"exp\":32503680000}",
             text);
    client_assert_refused(call(token_sign(claims, "HS256", TOKEN_SECRET),
                               NULL, NULL, NULL, NULL), 3,
                          "invalid session-id");
    client_assert_refused(call(token_sign("{\"sid\":7,\"exp\":32503680000}",
                                          "HS256", TOKEN_SECRET), NULL, NULL,
                               NULL, NULL), 16, "missing or invalid token");
}
END_TEST


/* without tokens the operator sets the key, and the instance gets it */
START_TEST(from_key_without_tokens)
{
    start(CONF_WITH("$http_x_session", "", ""));

    told(call(NULL, "x-session", "alice", NULL, NULL), "alice");
    told(call(NULL, "x-session", "alice", "session-id", "mallory"), "alice");
    client_assert_refused(call(NULL, "session-id", "alice", NULL, NULL), 16,
                          "missing session-id");
}
END_TEST


START_TEST(from_metadata_without_tokens)
{
    start(CONF(METADATA));

    told(call(NULL, "x-session", "alice", "session-id", "mallory"), "alice");
    client_assert_refused(call(NULL, "session-id", "alice", NULL, NULL), 16,
                          "missing session-id");
}
END_TEST


/* each location has its own rule */
START_TEST(from_locations)
{
    const char  *token;

    start(CONF(JWT CLAIM
               "error_page 502 = @other;\n"
               "grpc_pass grpc://127.0.0.1:8083;\n"
               "}\n"
               "location @other {\n"
               JWT METADATA));

    token = token_sign("{\"session_id\":\"s1\",\"sid\":\"s2\","
                       "\"exp\":32503680000}", "HS256", TOKEN_SECRET);
    told(call(token, "x-session", "s1", NULL, NULL), "s1");
    client_assert_refused(call(token, NULL, NULL, NULL, NULL), 16,
                          "missing session-id");
    client_assert_refused(call(token, "x-session", "s2", NULL, NULL), 16,
                          "session-id mismatch");
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("session_from");

    harness_add(suite, from_key_refused);
    harness_add(suite, from_conf);
    harness_add(suite, from_session_id);
    harness_add(suite, from_metadata);
    harness_add(suite, from_claim);
    harness_add(suite, from_key_without_tokens);
    harness_add(suite, from_metadata_without_tokens);
    harness_add(suite, from_locations);

    return harness_run(suite, argv[0]);
}
