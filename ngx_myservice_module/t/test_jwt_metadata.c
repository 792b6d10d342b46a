/*
 * What an instance gets with a call that passed, and what variables say of its
 * token: claims of verified tokens only, whatever a client sends.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "token.h"


#define CONF(directives)                                                      \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format jwt 'jwt=$myservice_jwt_status '\n"                       \
    "                   'role=$myservice_jwt_role '\n"                        \
    "                   'sub=$myservice_jwt_claim_sub '\n"                    \
    "                   'level=$myservice_jwt_claim_level '\n"                \
    "                   'score=$myservice_jwt_claim_score '\n"                \
    "                   'vip=$myservice_jwt_claim_vip '\n"                    \
    "                   'tags=$myservice_jwt_claim_tags.';\n"                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        large_client_header_buffers 4 16k;\n"                            \
    "        underscores_in_headers on;\n"                                    \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log jwt;\n"                            \
    "        myservice_jwt_secret_file %%DIR%%/secret;\n"                     \
    "        location / {\n"                                                  \
    "            myservice_jwt on;\n"                                         \
    directives                                                                \
    "            grpc_pass grpc://127.0.0.1:8081;\n"                          \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define OFF  "myservice_jwt_forward off;\n"

#define CLAIMS(more)                                                          \
    "{\"session_id\":\"s1\",\"iat\":1,\"exp\":32503680000" more "}"


static fake_t *
start(const char *conf)
{
    fake_t  *fake;

    fake = fake_start(8081, "one", fake_ok);
    gateway_start(conf);

    return fake;
}


/* A call with more headers; "more" ends with a NULL name. */
static client_call_t *
call_with(const char *token, const client_header_t *more)
{
    size_t           n;
    client_call_t   *c;
    client_header_t  headers[64] = {
        { "content-type", "application/grpc" }, { "session-id", "s1" }
    };

    n = 2;

    if (token != NULL) {
        headers[n].name = "authorization";
        headers[n++].value = token;
    }

    while (more != NULL && more->name != NULL) {
        ck_assert_uint_lt(n, 63);
        headers[n++] = *more++;
    }

    headers[n].name = NULL;
    c = client_request(client_open(harness_port(8080)), ECHO, headers,
                       "\0\0\0\0\0", 5, false);
    client_wait(c);

    return c;
}


static client_call_t *
call(const char *claims)
{
    return call_with(token_sign(claims, "HS256", TOKEN_SECRET), NULL);
}


static bool
got(fake_t *fake, const char *line)
{
    return strstr(fake_metadata(fake), line) != NULL;
}


static unsigned
count(const char *text, const char *part)
{
    unsigned  n;

    for (n = 0; (text = strstr(text, part)) != NULL; n++) {
        text += strlen(part);
    }

    return n;
}


START_TEST(metadata_forward)
{
    char         line[1024];
    fake_t      *fake;
    const char  *token;

    fake = start(CONF(""));
    token = token_make("s1", 60);
    snprintf(line, sizeof(line), "authorization: %s\n", token);

    client_assert(call_with(token, NULL), 0, "");
    ck_assert(got(fake, line));
    ck_assert(got(fake, "\nx-myservice-role: admin\n"));

    /* from the cache */
    client_assert(call_with(token, NULL), 0, "");
    ck_assert(got(fake, line));
    ck_assert(got(fake, "\nx-myservice-role: admin\n"));
}
END_TEST


START_TEST(metadata_forward_off)
{
    int              i;
    fake_t          *fake;
    const char      *token;
    client_header_t  more[] = {
        { "before", "1" }, { "x-a", "1" }, { "x-a", "2" }, { NULL, NULL }
    };

    fake = start(CONF(OFF));
    token = token_make("s1", 60);

    for (i = 0; i < 3; i++) {
        client_assert(call_with(token, more), 0, "");
        ck_assert(!got(fake, "authorization"));
        ck_assert(!got(fake, token));
        ck_assert(got(fake, "\nx-myservice-role: admin\n"));
        ck_assert(got(fake, "\nsession-id: s1\n"));
        ck_assert(got(fake, "\nbefore: 1\n"));
        ck_assert(got(fake, "\nx-a: 1\nx-a: 2\n"));
    }

    client_assert_refused(call_with(NULL, more), 16,
                          "missing or invalid token");
    ck_assert_uint_eq(fake_requests(fake), 3);
}
END_TEST


/* always there: it shows an instance that the gateway sent the call */
static void
no_role(const char *conf)
{
    fake_t  *fake;

    fake = start(conf);

    client_assert(call(CLAIMS("")), 0, "");
    ck_assert(got(fake, "\nx-myservice-role: \n"));
    client_assert(call(CLAIMS(",\"role\":[\"admin\"]")), 0, "");
    ck_assert(got(fake, "\nx-myservice-role: \n"));
    client_assert(call(CLAIMS(",\"role\":null")), 0, "");
    ck_assert(got(fake, "\nx-myservice-role: \n"));
    client_assert(call(CLAIMS(",\"role\":\"user\"")), 0, "");
    ck_assert(got(fake, "\nx-myservice-role: user\n"));
}


START_TEST(metadata_no_role)
{
    no_role(CONF(""));
}
END_TEST


START_TEST(metadata_no_role_off)
{
    no_role(CONF(OFF));
}
END_TEST


/* a client cannot send the metadata that only the gateway sends */
static void
smuggled(const char *conf, bool forwarded)
{
    size_t           i, n;
    char             filler[40][8];
    fake_t          *fake;
    const char      *text, *token;
    client_header_t  more[48] = {
        { "x-myservice-role", "root" }, { "x-keep", "1" },
        { "x-myservice-role", "root2" }, { "x_myservice_role", "root3" },
        { "x-myservice_sub", "root4" }, { "x-keep", "2" },
        { "x-myservice-", "root5" }, { "x-myservice", "mine" },
        { NULL, NULL }
    };

    fake = start(conf);
    token = token_make("s1", 60);

    for (n = 0; more[n].name != NULL; n++) { /* void */ }

    /* also when the list of headers has more than one part */
    for (i = 0; i < 30; i++) {
        client_assert(call_with(token, more), 0, "");
        text = fake_metadata(fake);

        ck_assert_ptr_null(strstr(text, "root"));
        ck_assert_uint_eq(count(text, "x-myservice-"), 1);
        ck_assert_uint_eq(count(text, "\nx-myservice-role: admin\n"), 1);
        ck_assert_uint_eq(count(text, "\nx-keep: 1\nx-keep: 2\n"), 1);
        ck_assert_uint_eq(count(text, "\nx-myservice: mine\n"), 1);
        ck_assert_uint_eq(count(text, "\nsession-id: s1\n"), 1);
        ck_assert_uint_eq(count(text, "\nauthorization: "), forwarded);
        ck_assert_uint_eq(count(text, "\nfiller-"), i);

        snprintf(filler[i], sizeof(filler[i]), "f%zu", i);
        more[n + i].name = "filler-";
        more[n + i].value = filler[i];
        more[n + i + 1].name = NULL;
    }
}


START_TEST(metadata_smuggled)
{
    smuggled(CONF(""), true);
}
END_TEST


START_TEST(metadata_smuggled_off)
{
    smuggled(CONF(OFF), false);
}
END_TEST


/* grpc_set_header has the last word, and may name the role otherwise */
START_TEST(metadata_set_header)
{
    fake_t           *fake;
    client_header_t   more[] = {
        { "x-role", "root" }, { "x-user", "root" }, { NULL, NULL }
    };

    fake = start(CONF(OFF
        "grpc_set_header x-myservice-role '';\n"
        "grpc_set_header x-role $myservice_jwt_role;\n"
        "grpc_set_header x-user $myservice_jwt_claim_sub;\n"));

    client_assert(call_with(token_make("s1", 60), more), 0, "");
    ck_assert(!got(fake, "x-myservice-"));
    ck_assert(!got(fake, "root"));
    ck_assert(got(fake, "\nx-role: admin\n"));
    ck_assert(got(fake, "\nx-user: tester\n"));
}
END_TEST


START_TEST(metadata_variables)
{
    fake_t  *fake;

    fake = start(CONF(""));

    client_assert(call(CLAIMS(",\"sub\":\"a b\",\"role\":\"r\",\"level\":7,"
                              "\"score\":0.5,\"vip\":true,\"tags\":[]")),
                  0, "");
    gateway_await_access("jwt=OK role=r sub=a b level=7 score=0.5 vip=true "
                         "tags=-.");

    client_assert(call(CLAIMS(",\"sub\":\"\",\"level\":-1,\"score\":null,"
                              "\"vip\":false,\"tags\":{\"a\":1}")), 0, "");
    gateway_await_access("jwt=OK role=- sub= level=-1 score=- vip=false "
                         "tags=-.");

    /* nothing that could end a line or a header */
    client_assert(call(CLAIMS(",\"sub\":\"a\\r\\nx: y%\\u00e4\"")), 0, "");
    gateway_await_access("sub=a%0D%0Ax: y%25%C3%A4 ");
    ck_assert_uint_eq(fake_requests(fake), 3);
}
END_TEST


START_TEST(metadata_long_claims)
{
    char     claims[1024], value[300], line[400];
    size_t   i;
    fake_t  *fake;

    static const struct {
        int   len;
        char  byte;
        bool  there;
    } cases[] = {
        { 256, 'r', true }, { 257, 'r', false }, { 85, '%', true },
        { 86, '%', false }
    };

    fake = start(CONF(""));

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memset(value, cases[i].byte, sizeof(value));
        value[cases[i].len] = '\0';
        snprintf(claims, sizeof(claims), CLAIMS(",\"role\":\"%s\""), value);

        client_assert(call(claims), 0, "");

        if (!cases[i].there) {
            ck_assert(got(fake, "\nx-myservice-role: \n"));

        } else if (cases[i].byte == 'r') {
            snprintf(line, sizeof(line), "\nx-myservice-role: %s\n", value);
            ck_assert(got(fake, line));

        } else {
            ck_assert(got(fake, "\nx-myservice-role: %25%25%25"));
        }
    }
}
END_TEST


/* a refused token has no claims, whatever the one before it had */
START_TEST(metadata_refused)
{
    (void) start(CONF(""));

    client_assert(call(CLAIMS(",\"sub\":\"good\",\"role\":\"r\"")), 0, "");
    gateway_await_access("jwt=OK role=r sub=good");

    client_assert_refused(call("{\"session_id\":\"s1\",\"exp\":1,"
                               "\"sub\":\"old\",\"role\":\"r\"}"), 16,
                          "token expired");
    gateway_await_access("jwt=EXPIRED role=- sub=- ");

    client_assert_refused(call_with(token_sign(CLAIMS(",\"sub\":\"bad\""),
                                               "HS256",
                                     "another secret that is long enough"),
                                    NULL), 16, "missing or invalid token");
    gateway_await_access("jwt=SIGNATURE role=- sub=- ");

    client_assert_refused(call("{\"session_id\":\"s2\",\"exp\":32503680000,"
                               "\"sub\":\"other\"}"), 16,
                          "session-id mismatch");
    gateway_await_access("jwt=SESSION_MISMATCH role=- sub=- ");
}
END_TEST


#define REDIRECT(directives)                                                  \
    CONF("error_page 502 = @second;\n"                                        \
         "grpc_pass grpc://127.0.0.1:8082;\n"                                 \
         "}\n"                                                                \
         "location @second {\n"                                               \
         "    myservice_jwt on;\n"                                            \
         directives)


/* a subrequest has no token of its own; its variables are those of the call */
START_TEST(metadata_subrequest)
{
    fake_t     *fake;
    long long   since;

    (void) fake_start(8082, "two", fake_ok);
    fake = start(CONF("mirror /shadow;\n"
                      "grpc_pass grpc://127.0.0.1:8082;\n"
                      "}\n"
                      "location = /shadow {\n"
                      "internal;\n"
                      "grpc_set_header x-user $myservice_jwt_claim_sub;\n"
                      "grpc_set_header x-session $myservice_session;\n"));

    client_assert(call(CLAIMS(",\"sub\":\"tester\"")), 0, "");
    since = harness_now();

    while (fake_requests(fake) == 0) {
        harness_pause(since, "the mirrored call");
    }

    ck_assert(got(fake, "\nx-user: tester\n"));
    ck_assert(got(fake, "\nx-session: s1\n"));
}
END_TEST


/* The decision holds in a second location that agrees, is made anew in one
 * that does not, and the stricter one keeps the token. */
START_TEST(metadata_internal_redirect)
{
    fake_t      *fake;
    const char  *token, *text;

    fake = fake_start(8081, "one", fake_ok);
    token = token_make("s1", 60);

    gateway_start(REDIRECT(""));
    client_assert(call_with(token, NULL), 0, "");
    text = fake_metadata(fake);
    ck_assert_ptr_nonnull(strstr(text, token));
    ck_assert_uint_eq(count(text, "x-myservice-"), 1);
    ck_assert_uint_eq(count(text, "x-myservice-role: admin"), 1);

    gateway_reload(REDIRECT(OFF));
    client_assert(call_with(token, NULL), 0, "");
    text = fake_metadata(fake);
    ck_assert_ptr_null(strstr(text, "authorization"));
    ck_assert_uint_eq(count(text, "x-myservice-"), 1);
    ck_assert_uint_eq(count(text, "x-myservice-role: admin"), 1);

    (void) harness_file("second", "another secret that is long enough", 34);
    gateway_reload(REDIRECT("myservice_jwt_secret_file %%DIR%%/second;\n"));
    client_assert_refused(call_with(token, NULL), 16,
                          "missing or invalid token");
    ck_assert_uint_eq(fake_requests(fake), 2);
}
END_TEST


static bool
has(const client_call_t *c, const char *text)
{
    return memmem(c->body, c->len, text, strlen(text)) != NULL;
}


START_TEST(metadata_counted)
{
    int             i;
    client_call_t  *c;
    client_header_t  get[] = { { ":method", "GET" }, { NULL, NULL } };

    (void) start(CONF("grpc_pass grpc://127.0.0.1:8081;\n"
        "}\n"
        "location = /status { myservice_status; }\n"
        "location /x {\n"));

    for (i = 0; i < 3; i++) {
        client_assert(call(CLAIMS("")), 0, "");
    }

    client_assert_refused(call_with("x", NULL), 16,
                          "missing or invalid token");
    client_assert_refused(call_with(NULL, NULL), 16,
                          "missing or invalid token");

    c = client_request(client_open(harness_port(8080)), "/status", get, NULL,
                       0, false);
    client_wait(c);
    ck_assert_int_eq(c->http, 200);
    ck_assert(has(c, "\"OK\":3,"));
    ck_assert(has(c, "\"MALFORMED\":1,"));
    ck_assert(has(c, "\"MISSING\":1,"));
    ck_assert(has(c, "\"cache\":{\"hits\":2,\"misses\":2,\"evictions\":0}"));
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("jwt metadata");

    harness_add(suite, metadata_forward);
    harness_add(suite, metadata_forward_off);
    harness_add(suite, metadata_no_role);
    harness_add(suite, metadata_no_role_off);
    harness_add(suite, metadata_smuggled);
    harness_add(suite, metadata_smuggled_off);
    harness_add(suite, metadata_set_header);
    harness_add(suite, metadata_variables);
    harness_add(suite, metadata_long_claims);
    harness_add(suite, metadata_refused);
    harness_add(suite, metadata_subrequest);
    harness_add(suite, metadata_internal_redirect);
    harness_add(suite, metadata_counted);

    return harness_run(suite, argv[0]);
}
