/*
 * Keys of every kind, and files of keys that change while nginx runs: old keys
 * stay when the new ones are broken, retired ones are refused, and no good
 * token is refused meanwhile.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "fake.h"
#include "harness.h"
#include "jwt/t/signer.h"
#include "process.h"


#define CHECK  100                      /* milliseconds */

#define CONF(main, http, directives)                                          \
    "%%GLOBALS%%\n"                                                           \
    main                                                                      \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    http                                                                      \
    "    log_format jwt 'jwt=$myservice_jwt_status';\n"                       \
    "    upstream one { server 127.0.0.1:8081; keepalive 64; }\n"             \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        large_client_header_buffers 4 16k;\n"                            \
    "        keepalive_requests 1000000;\n"                                   \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log jwt;\n"                            \
    "        location / {\n"                                                  \
    "            myservice_jwt on;\n"                                         \
    directives                                                                \
    "            grpc_pass grpc://one;\n"                                     \
    "        }\n"                                                             \
    "        location = /status { myservice_status; }\n"                      \
    "    }\n"                                                                 \
    "}\n"

#define CHECKED   "myservice_jwt_key_check 100ms;\n"
#define SET       "myservice_jwt_key_file %%DIR%%/jwks;\n"

#define INVALID   "missing or invalid token"
#define CLAIMS    "{\"session_id\":\"s1\",\"iat\":1,\"exp\":32503680000}"

#define SECRET_A  "a secret that is as long as it must be"
#define SECRET_B  "b secret that is as long as it must be"

#define SET_A   token_set(token_jwk("a", SECRET_A), NULL)
#define SET_B   token_set(token_jwk("b", SECRET_B), NULL)
#define SET_AB  token_set(token_jwk("a", SECRET_A), token_jwk("b", SECRET_B))


static client_t  *client;


static void
start(const char *conf)
{
    (void) fake_start(8081, "one", fake_ok);
    gateway_start(conf);
    client = client_open(harness_port(8080));
}


static client_call_t *
call(const char *token)
{
    client_call_t  *c;

    c = client_grpc(client, ECHO, token, "s1", "", 0);
    client_wait(c);

    return c;
}


/* The file appears as a whole. */
static void
put(const char *name, const char *text)
{
    char  path[4096];

    snprintf(path, sizeof(path), "%s",
             harness_file("new", text, strlen(text)));
    ck_assert_int_eq(rename(path, harness_path(name)), 0);
}


static const char *
token(const char *kid, const char *secret)
{
    return token_sign_kid(CLAIMS, "HS256", secret, kid);
}


/* Waits until a token is answered so. */
static void
await(const char *text, int status)
{
    long long  since;

    since = harness_now();

    while (call(text)->grpc != status) {
        harness_pause(since, "the keys change");
    }
}


static unsigned
logged(const char *text)
{
    char      *log, *p;
    unsigned   n;

    log = harness_read("error.log");

    for (n = 0, p = log; (p = strstr(p, text)) != NULL; n++) {
        p += strlen(text);
    }

    free(log);

    return n;
}


/* Line number "n" of the access log. */
static void
await_line(size_t n, const char *text)
{
    char       *log, *p;
    size_t      i;
    long long   since;

    since = harness_now();

    for ( ;; ) {
        log = harness_read("access.log");

        for (i = 1, p = log; i < n && p != NULL; i++) {
            p = strchr(p, '\n');
            p = p != NULL ? p + 1 : NULL;
        }

        if (p != NULL && strchr(p, '\n') != NULL) {
            ck_assert_msg(strncmp(p, text, strlen(text)) == 0, "%s", p);
            free(log);
            return;
        }

        free(log);
        harness_pause(since, text);
    }
}


/* Several looks at the files have passed. */
static void
let_check(void)
{
    unsigned   n;
    long long  since;

    /* another file that changes tells when */

    since = harness_now();
    n = logged("/witness\" has changed");
    put("witness", n % 2 ? SECRET_B : SECRET_A);

    while (logged("/witness\" has changed") == n) {
        harness_pause(since, "the witness is read");
    }
}


START_TEST(keys_of_all_kinds)
{
    size_t       i;
    char         header[128];
    EVP_PKEY    *key;
    const char  *rsa, *type;

    static const char *const  algs[] = {
        "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256",
        "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
    };

    rsa = token_keep(signer_pem(signer_key("RSA")));

    put("rsa.pem", rsa);
    put("ec.crt", token_keep(signer_certificate(signer_key("P-256"))));
    put("jwks", token_set(token_keep(signer_jwk(signer_key("P-384"),
                                                ",\"kid\":\"ec384\"")),
                          token_keep(signer_jwk(signer_key("P-521"), ""))));
    put("jwk", token_keep(signer_jwk(signer_key("ED25519"), "")));
    put("hmac", SIGNER_SECRET);

    start(CONF("", "",
               "myservice_jwt_key_file %%DIR%%/rsa.pem %%DIR%%/ec.crt;\n"
               "myservice_jwt_key_file %%DIR%%/jwks %%DIR%%/jwk;\n"
               "myservice_jwt_secret_file %%DIR%%/hmac;\n"
               "myservice_jwt_algorithms HS256 HS384 HS512 RS256 RS384 RS512\n"
               "    PS256 PS384 PS512 ES256 ES384 ES512 EdDSA;\n"));

    for (i = 0; i < sizeof(algs) / sizeof(algs[0]); i++) {
        type = signer_type(algs[i]);
        snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", algs[i]);
        key = type != NULL ? signer_key(type) : NULL;
        client_assert(call(token_keep(signer_token(algs[i], key, header,
                                                   CLAIMS))), 0, "");
    }

    /* the public key as a secret */
    client_assert_refused(call(token_sign(CLAIMS, "HS256", rsa)), 16,
                          INVALID);
    gateway_await_access("jwt=SIGNATURE");
}
END_TEST


START_TEST(keys_algorithms)
{
    put("hmac", SIGNER_SECRET);
    start(CONF("", "", "myservice_jwt_secret_file %%DIR%%/hmac;\n"
                       "myservice_jwt_algorithms HS512;\n"));

    client_assert(call(token_sign(CLAIMS, "HS512", SIGNER_SECRET)), 0, "");
    client_assert_refused(call(token_sign(CLAIMS, "HS256", SIGNER_SECRET)),
                          16, INVALID);
    gateway_await_access("jwt=ALGORITHM");
}
END_TEST


START_TEST(keys_kid)
{
    put("jwks", SET_AB);
    start(CONF("", "", SET));

    client_assert(call(token("a", SECRET_A)), 0, "");
    client_assert(call(token("b", SECRET_B)), 0, "");
    client_assert(call(token(NULL, SECRET_B)), 0, "");
    client_assert_refused(call(token("a", SECRET_B)), 16, INVALID);
    gateway_await_access("jwt=SIGNATURE");
    client_assert_refused(call(token("c", SECRET_A)), 16, INVALID);
    client_assert_refused(call(token("../jwks", SECRET_A)), 16, INVALID);
    gateway_await_access("jwt=KEY");
}
END_TEST


/* iss, aud and required claims */
START_TEST(keys_rules)
{
    size_t  i;

    static const struct {
        const char  *claims;
        const char  *status;
    } cases[] = {
        { "\"iss\":\"me\",\"aud\":\"us\",\"role\":\"r\",\"x\":1", "OK" },
        { "\"iss\":\"me\",\"aud\":[\"a\",\"us\"],\"role\":[\"q\",\"r\"],"
          "\"x\":[]", "OK" },
        { "\"aud\":\"us\",\"role\":\"r\",\"x\":1", "ISSUER" },
        { "\"iss\":\"m\",\"aud\":\"us\",\"role\":\"r\",\"x\":1", "ISSUER" },
        { "\"iss\":\"me\",\"role\":\"r\",\"x\":1", "AUDIENCE" },
        { "\"iss\":\"me\",\"aud\":\"u\",\"role\":\"r\",\"x\":1", "AUDIENCE" },
        { "\"iss\":\"me\",\"aud\":\"us\",\"x\":1", "CLAIM" },
        { "\"iss\":\"me\",\"aud\":\"us\",\"role\":\"R\",\"x\":1", "CLAIM" },
        { "\"iss\":\"me\",\"aud\":\"us\",\"role\":\"r\"", "CLAIM" },
    };

    char    claims[256], status[32];

    start(CONF("", "", "myservice_jwt_secret_file %%DIR%%/secret;\n"
                       "myservice_jwt_issuer me;\n"
                       "myservice_jwt_audience us;\n"
                       "myservice_jwt_require role=r x;\n"));

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(claims, sizeof(claims),
                 "{\"session_id\":\"s1\",\"exp\":32503680000,%s}",
                 cases[i].claims);
        snprintf(status, sizeof(status), "jwt=%s\n", cases[i].status);

        if (strcmp(cases[i].status, "OK") == 0) {
            client_assert(call(token_sign(claims, "HS256", HARNESS_SECRET)),
                          0, "");
        } else {
            client_assert_refused(call(token_sign(claims, "HS256",
                                                  HARNESS_SECRET)), 16,
                                  INVALID);
        }

        await_line(i + 1, status);
    }
}
END_TEST


/* a retired key's token is refused, also when it was in the cache */
START_TEST(keys_change)
{
    const char  *a, *b;

    a = token("a", SECRET_A);
    b = token("b", SECRET_B);

    put("jwks", SET_A);
    start(CONF("", CHECKED, SET));
    client_assert(call(a), 0, "");
    client_assert_refused(call(b), 16, INVALID);

    put("jwks", SET_AB);
    await(b, 0);
    client_assert(call(a), 0, "");

    put("jwks", SET_B);
    await(a, 16);
    client_assert(call(b), 0, "");
    ck_assert_uint_eq(logged("jwks\" has changed, there are 2 keys now"), 1);
    ck_assert_uint_eq(logged("jwks\" has changed, there are 1 keys now"), 1);
}
END_TEST


/* written in place and of the same size, the inode stays */
START_TEST(keys_change_in_place)
{
    (void) harness_file("hmac", SECRET_A, strlen(SECRET_A));
    start(CONF("", CHECKED, "myservice_jwt_secret_file %%DIR%%/hmac;\n"));
    client_assert(call(token(NULL, SECRET_A)), 0, "");

    (void) harness_file("hmac", SECRET_B, strlen(SECRET_B));
    await(token(NULL, SECRET_B), 0);
    client_assert_refused(call(token(NULL, SECRET_A)), 16, INVALID);
}
END_TEST


#define WITNESSED                                                             \
    CONF("", CHECKED,                                                         \
         SET "myservice_jwt_secret_file %%DIR%%/witness;\n")


START_TEST(keys_broken)
{
    size_t       i;
    const char  *a;

    static const char *const  bad[] = {
        "", "{", "{\"keys\":[]}", "not a key", "[1,2]"
    };

    a = token("a", SECRET_A);
    put("witness", SECRET_B);
    put("jwks", SET_A);
    start(WITNESSED);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        put("jwks", bad[i]);
        let_check();
        let_check();
        client_assert(call(a), 0, "");
        ck_assert_uint_eq(logged("jwks\" has changed and is not used"), i + 1);
    }

    put("jwks", SET_B);
    await(a, 16);
    client_assert(call(token("b", SECRET_B)), 0, "");
}
END_TEST


START_TEST(keys_missing)
{
    const char  *a;

    a = token("a", SECRET_A);
    put("witness", SECRET_B);
    put("jwks", SET_A);
    start(WITNESSED);

    ck_assert_int_eq(remove(harness_path("jwks")), 0);
    let_check();
    let_check();
    client_assert(call(a), 0, "");
    ck_assert_uint_eq(logged("jwks\" has changed and cannot be read"), 1);

    /* not a file */
    ck_assert_int_eq(mkdir(harness_path("jwks"), 0700), 0);
    let_check();
    let_check();
    client_assert(call(a), 0, "");
    ck_assert_uint_eq(logged("jwks\" has changed and cannot be read"), 2);

    /* the same text again is nothing new */
    ck_assert_int_eq(rmdir(harness_path("jwks")), 0);
    put("jwks", SET_A);
    let_check();
    client_assert(call(a), 0, "");
    ck_assert_uint_eq(logged("jwks\" has changed, there"), 0);
    ck_assert_uint_le(logged("cannot be read"), 3);
}
END_TEST


/* a change is not lost when it cannot be read at the time */
START_TEST(keys_no_descriptors)
{
    int                 i, fd[64];
    const char         *a, *b;
    long long           since;
    struct sockaddr_in  sin = { .sin_family = AF_INET };

    sin.sin_port = htons((uint16_t) harness_port(8080));
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a = token("a", SECRET_A);
    b = token("b", SECRET_B);
    put("jwks", SET_A);
    start(CONF("worker_rlimit_nofile 40;\n", CHECKED, SET));
    client_assert(call(a), 0, "");

    /* it was not changed just now */
    since = harness_now();

    while (harness_now() - since < 2500) {
        client_poll(10);
    }

    for (i = 0; i < 64; i++) {
        fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(connect(fd[i], (struct sockaddr *) &sin,
                                 sizeof(sin)), 0);
    }

    since = harness_now();

    while (logged("accept4() failed (24:") == 0) {
        harness_pause(since, "all descriptors are taken");
    }

    put("jwks", SET_B);

    while (logged("jwks\" has changed and cannot be read") == 0) {
        harness_pause(since, "the change is seen");
    }

    for (i = 0; i < 64; i++) {
        close(fd[i]);
    }

    await(a, 16);
    client_assert(call(b), 0, "");
    ck_assert_uint_eq(logged("jwks\" has changed and cannot be read"), 1);
    ck_assert_uint_eq(logged("jwks\" has changed, there are 1 keys now"), 1);
}
END_TEST


/* a new worker does not begin with keys that were retired before */
START_TEST(keys_new_worker)
{
    put("jwks", SET_A);
    start(CONF("", "myservice_jwt_key_check 1d;\n", SET));
    client_assert(call(token("a", SECRET_A)), 0, "");

    put("jwks", SET_B);
    client_assert(call(token("a", SECRET_A)), 0, "");

    gateway_allow("exited on signal 9");
    gateway_kill_workers(1);

    client = client_open(harness_port(8080));
    client_assert_refused(call(token("a", SECRET_A)), 16, INVALID);
    client_assert(call(token("b", SECRET_B)), 0, "");
}
END_TEST


/* and not with them either when it cannot know the new ones; the keys of other
 * files are not concerned */
START_TEST(keys_new_worker_without)
{
    put("jwks", SET_A);
    put("witness", SECRET_B);
    start(WITNESSED);
    client_assert(call(token("a", SECRET_A)), 0, "");

    put("jwks", SET_B);
    await(token("b", SECRET_B), 0);
    await(token("a", SECRET_A), 16);
    ck_assert_int_eq(remove(harness_path("jwks")), 0);

    gateway_allow("exited on signal 9");
    gateway_kill_workers(1);

    client = client_open(harness_port(8080));
    client_assert_refused(call(token("a", SECRET_A)), 14,
                          "service unavailable");
    client_assert(call(token(NULL, SECRET_B)), 0, "");
    ck_assert_uint_eq(logged("this new worker has none of it"), 1);

    put("jwks", SET_B);
    await(token("a", SECRET_A), 16);
    client_assert(call(token("b", SECRET_B)), 0, "");
}
END_TEST


/* what was loaded is good as long as nobody has anything newer */
START_TEST(keys_new_worker_loaded)
{
    put("jwks", SET_A);
    start(CONF("", CHECKED, SET));
    ck_assert_int_eq(remove(harness_path("jwks")), 0);

    gateway_allow("exited on signal 9");
    gateway_kill_workers(1);

    client = client_open(harness_port(8080));
    client_assert(call(token("a", SECRET_A)), 0, "");
}
END_TEST


START_TEST(keys_check_off)
{
    put("hmac", SECRET_A);
    start(CONF("", "myservice_jwt_key_check off;\n",
               "myservice_jwt_secret_file %%DIR%%/hmac;\n"));
    put("hmac", SECRET_B);
    client_assert(call(token(NULL, SECRET_A)), 0, "");

    gateway_reload(NULL);
    client = client_open(harness_port(8080));
    client_assert(call(token(NULL, SECRET_B)), 0, "");
    client_assert_refused(call(token(NULL, SECRET_A)), 16, INVALID);
}
END_TEST


#define CONNECTIONS  8
#define IN_FLIGHT    4                  /* on each */
#define ROTATIONS    5


/* Calls until the workers have read keys "changes" times: none is refused. */
static unsigned
run_load(client_t **clients, const char *text, unsigned changes)
{
    size_t          i, j;
    unsigned        calls;
    client_call_t  *c[CONNECTIONS][IN_FLIGHT];

    calls = 0;

    do {
        for (i = 0; i < CONNECTIONS; i++) {
            for (j = 0; j < IN_FLIGHT; j++) {
                c[i][j] = client_grpc(clients[i], ECHO, text, "s1", "", 0);
            }
        }

        client_wait_all();

        for (i = 0; i < CONNECTIONS; i++) {
            for (j = 0; j < IN_FLIGHT; j++) {
                client_assert(c[i][j], 0, "");
                calls++;
            }
        }

    } while (logged("jwks\" has changed") < changes);

    return calls;
}


/* Two workers read each set: the old key, both, the new one. No good token is
 * refused, and none of a retired key accepted once both have read it. */
START_TEST(keys_rotation_under_load)
{
    char         kid[2][8];
    size_t       i, n;
    unsigned     calls, changes;
    client_t    *clients[CONNECTIONS];
    const char  *keys[2], *tokens[2];

    strcpy(kid[0], "k0");
    keys[0] = token_jwk(kid[0], SECRET_A);
    tokens[0] = token(kid[0], SECRET_A);
    put("jwks", token_set(keys[0], NULL));
    start(CONF("worker_processes 2;\n", CHECKED, SET));

    for (i = 0; i < CONNECTIONS; i++) {
        clients[i] = client_open(harness_port(8080));
    }

    calls = 0;
    changes = 0;

    for (n = 1; n <= ROTATIONS; n++) {
        snprintf(kid[1], sizeof(kid[1]), "k%zu", n);
        keys[1] = token_jwk(kid[1], n % 2 ? SECRET_B : SECRET_A);
        tokens[1] = token(kid[1], n % 2 ? SECRET_B : SECRET_A);

        put("jwks", token_set(keys[0], keys[1]));
        calls += run_load(clients, tokens[0], changes += 2);

        put("jwks", token_set(keys[1], NULL));
        calls += run_load(clients, tokens[1], changes += 2);

        for (i = 0; i < CONNECTIONS; i++) {
            client = clients[i];
            client_assert_refused(call(tokens[0]), 16, INVALID);
            client_assert(call(tokens[1]), 0, "");
        }

        keys[0] = keys[1];
        tokens[0] = tokens[1];
    }

    printf("%u calls in %d rotations, none refused\n", calls, ROTATIONS);
}
END_TEST


/* a retired key is good for one interval at most */
START_TEST(keys_retired_soon)
{
    size_t      i;
    unsigned    late;
    long long   since, longest;

    const char  *a = token("a", SECRET_A);

    put("jwks", SET_B);
    start(CONF("", CHECKED, SET));
    late = 0;
    longest = 0;

    for (i = 0; i < 10; i++) {
        put("jwks", SET_AB);
        await(a, 0);
        put("jwks", SET_B);
        since = harness_now();
        await(a, 16);
        since = harness_now() - since;
        late += since > 2 * CHECK;
        longest = since > longest ? since : longest;
    }

    /* a machine under load may be late, a missing check always is */
    ck_assert_uint_le(late, 5);
    printf("retired within %lld ms of %d\n", longest, CHECK);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("jwt keys");

    harness_add(suite, keys_of_all_kinds);
    harness_add(suite, keys_algorithms);
    harness_add(suite, keys_kid);
    harness_add(suite, keys_rules);
    harness_add(suite, keys_change);
    harness_add(suite, keys_change_in_place);
    harness_add(suite, keys_broken);
    harness_add(suite, keys_missing);
    harness_add(suite, keys_no_descriptors);
    harness_add(suite, keys_new_worker);
    harness_add(suite, keys_new_worker_without);
    harness_add(suite, keys_new_worker_loaded);
    harness_add(suite, keys_check_off);
    harness_add(suite, keys_rotation_under_load);
    harness_add(suite, keys_retired_soon);

    return harness_run(suite, argv[0]);
}
