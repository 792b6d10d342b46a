/*
 * Keys of every kind, and files of keys that change while nginx runs: the
 * gateway keeps the previous keys when it cannot use the new ones.
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
#include "gateway.h"
#include "harness.h"
#include "keyed.h"
#include "process.h"
#include "token.h"
#include "jwt/t/signer.h"


#define CLAIMS  "{\"session_id\":\"s1\",\"iat\":1,\"exp\":32503680000}"


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


/* Waits until the gateway has read the files again. */
static void
let_check(void)
{
    unsigned   n;
    long long  since;

    /* the log says when it has read another file, which changes */

    since = harness_now();
    n = keyed_logged("has changed", "witness");
    keyed_put("witness", n % 2 ? SECRET_B : SECRET_A);

    while (keyed_logged("has changed", "witness") == n) {
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

    keyed_put("rsa.pem", rsa);
    keyed_put("ec.crt", token_keep(signer_certificate(signer_key("P-256"))));
    keyed_put("jwks",
              token_set(token_keep(signer_jwk(signer_key("P-384"),
                                              ",\"kid\":\"ec384\"")),
                        token_keep(signer_jwk(signer_key("P-521"), ""))));
    keyed_put("jwk", token_keep(signer_jwk(signer_key("ED25519"), "")));
    keyed_put("hmac", SIGNER_SECRET);

    keyed_start(KEYED_FILES("", "",
                            "myservice_jwt_key_file %%DIR%%/rsa.pem\n"
                            "    %%DIR%%/ec.crt;\n"
                            "myservice_jwt_key_file %%DIR%%/jwks %%DIR%%/jwk;\n"
                            "myservice_jwt_secret_file %%DIR%%/hmac;\n"
                            "myservice_jwt_algorithms HS256 HS384 HS512 RS256\n"
                            "    RS384 RS512 PS256 PS384 PS512 ES256 ES384\n"
                            "    ES512 EdDSA;\n"));

    for (i = 0; i < sizeof(algs) / sizeof(algs[0]); i++) {
        type = signer_type(algs[i]);
        snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", algs[i]);
        key = type != NULL ? signer_key(type) : NULL;
        client_assert(keyed_call(token_keep(signer_token(algs[i], key, header,
                                                         CLAIMS))), 0, "");
    }

    /* the public key as a secret */
    client_assert_refused(keyed_call(token_sign(CLAIMS, "HS256", rsa)), 16,
                          INVALID);
    gateway_await_access("jwt=SIGNATURE");
}
END_TEST


START_TEST(keys_algorithms)
{
    keyed_put("hmac", SIGNER_SECRET);
    keyed_start(KEYED_FILES("", "",
                            "myservice_jwt_secret_file %%DIR%%/hmac;\n"
                            "myservice_jwt_algorithms HS512;\n"));

    client_assert(keyed_call(token_sign(CLAIMS, "HS512", SIGNER_SECRET)), 0,
                  "");
    client_assert_refused(keyed_call(token_sign(CLAIMS, "HS256",
                                                SIGNER_SECRET)), 16, INVALID);
    gateway_await_access("jwt=ALGORITHM");
}
END_TEST


START_TEST(keys_kid)
{
    keyed_put("jwks", SET_AB);
    keyed_start(KEYED_FILES("", "", KEYED_SET));

    client_assert(keyed_call(keyed_token("a", SECRET_A)), 0, "");
    client_assert(keyed_call(keyed_token("b", SECRET_B)), 0, "");
    client_assert(keyed_call(keyed_token(NULL, SECRET_B)), 0, "");
    client_assert_refused(keyed_call(keyed_token("a", SECRET_B)), 16, INVALID);
    gateway_await_access("jwt=SIGNATURE");
    client_assert_refused(keyed_call(keyed_token("c", SECRET_A)), 16, INVALID);
    client_assert_refused(keyed_call(keyed_token("../jwks", SECRET_A)), 16,
                          INVALID);
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

    keyed_start(KEYED_FILES("", "",
                            "myservice_jwt_secret_file %%DIR%%/secret;\n"
                            "myservice_jwt_issuer me;\n"
                            "myservice_jwt_audience us;\n"
                            "myservice_jwt_require role=r x;\n"));

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(claims, sizeof(claims),
                 "{\"session_id\":\"s1\",\"exp\":32503680000,%s}",
                 cases[i].claims);
        snprintf(status, sizeof(status), "jwt=%s\n", cases[i].status);

        if (strcmp(cases[i].status, "OK") == 0) {
            client_assert(keyed_call(token_sign(claims, "HS256", TOKEN_SECRET)),
                          0, "");
        } else {
            client_assert_refused(keyed_call(token_sign(claims, "HS256",
                                                        TOKEN_SECRET)), 16,
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

    a = keyed_token("a", SECRET_A);
    b = keyed_token("b", SECRET_B);

    keyed_put("jwks", SET_A);
    keyed_start(KEYED_FILES("", KEYED_CHECKED, KEYED_SET));
    client_assert(keyed_call(a), 0, "");
    client_assert_refused(keyed_call(b), 16, INVALID);

    keyed_put("jwks", SET_AB);
    keyed_await(b, 0);
    client_assert(keyed_call(a), 0, "");

    keyed_put("jwks", SET_B);
    keyed_await(a, 16);
    client_assert(keyed_call(b), 0, "");
    ck_assert_uint_eq(keyed_logged("has changed: there are 2 keys now", "jwks"),
                      1);
    ck_assert_uint_eq(keyed_logged("has changed: there are 1 keys now", "jwks"),
                      1);
}
END_TEST


/* written in place and of the same size, the inode stays */
START_TEST(keys_change_in_place)
{
    (void) harness_file("hmac", SECRET_A, strlen(SECRET_A));
    keyed_start(KEYED_FILES("", KEYED_CHECKED,
                            "myservice_jwt_secret_file %%DIR%%/hmac;\n"));
    client_assert(keyed_call(keyed_token(NULL, SECRET_A)), 0, "");

    (void) harness_file("hmac", SECRET_B, strlen(SECRET_B));
    keyed_await(keyed_token(NULL, SECRET_B), 0);
    client_assert_refused(keyed_call(keyed_token(NULL, SECRET_A)), 16, INVALID);
}
END_TEST


START_TEST(keys_broken)
{
    size_t       i;
    const char  *a;

    static const char *const  bad[] = {
        "", "{", "{\"keys\":[]}", "not a key", "[1,2]"
    };

    a = keyed_token("a", SECRET_A);
    keyed_put("witness", SECRET_B);
    keyed_put("jwks", SET_A);
    keyed_start(KEYED_WITNESSED);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        keyed_put("jwks", bad[i]);
        let_check();
        let_check();
        client_assert(keyed_call(a), 0, "");
        ck_assert_uint_eq(keyed_logged("has changed and is not used", "jwks"),
                          i + 1);
    }

    keyed_put("jwks", SET_B);
    keyed_await(a, 16);
    client_assert(keyed_call(keyed_token("b", SECRET_B)), 0, "");
}
END_TEST


START_TEST(keys_missing)
{
    const char  *a;

    a = keyed_token("a", SECRET_A);
    keyed_put("witness", SECRET_B);
    keyed_put("jwks", SET_A);
    keyed_start(KEYED_WITNESSED);

    ck_assert_int_eq(remove(harness_path("jwks")), 0);
    let_check();
    let_check();
    client_assert(keyed_call(a), 0, "");
    ck_assert_uint_eq(keyed_logged("has changed and cannot be read", "jwks"),
                      1);

    /* not a file */
    ck_assert_int_eq(mkdir(harness_path("jwks"), 0700), 0);
    let_check();
    let_check();
    client_assert(keyed_call(a), 0, "");
    ck_assert_uint_eq(keyed_logged("has changed and cannot be read", "jwks"),
                      2);

    /* the same text again is nothing new */
    ck_assert_int_eq(rmdir(harness_path("jwks")), 0);
    keyed_put("jwks", SET_A);
    let_check();
    client_assert(keyed_call(a), 0, "");
    ck_assert_uint_eq(keyed_logged("has changed: there", "jwks"), 0);
    ck_assert_uint_le(keyed_logged("cannot be read", NULL), 3);
}
END_TEST


/* the master has read a file that the workers may not read: the file has not
 * changed */
START_TEST(keys_unreadable)
{
    const char  *a;

    if (geteuid() != 0) {
        return;
    }

    a = keyed_token("a", SECRET_A);
    harness_file("jwks", SET_A, strlen(SET_A));
    ck_assert_int_eq(chmod(harness_path("jwks"), 0600), 0);
    gateway_user("www-data");
    keyed_start(KEYED_FILES("worker_processes 2;\n", KEYED_CHECKED, KEYED_SET));
    client_assert(keyed_call(a), 0, "");
    gateway_reload(NULL);
    keyed_open();
    client_assert(keyed_call(a), 0, "");
    ck_assert_uint_eq(keyed_logged("is not readable for the worker", "jwks"),
                      2);
    ck_assert_uint_eq(keyed_logged("has changed", "jwks"), 0);

    /* now the file changes */
    harness_file("new", SET_B, strlen(SET_B));
    ck_assert_int_eq(chmod(harness_path("new"), 0600), 0);
    keyed_rename("jwks");
    keyed_await_logged("has changed and cannot be read", "jwks");
    client_assert(keyed_call(a), 0, "");
    ck_assert_int_eq(chmod(harness_path("jwks"), 0644), 0);
    keyed_await(a, 16);
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
    a = keyed_token("a", SECRET_A);
    b = keyed_token("b", SECRET_B);
    keyed_put("jwks", SET_A);
    keyed_start(KEYED_FILES("worker_rlimit_nofile 40;\n", KEYED_CHECKED,
                            KEYED_SET));
    client_assert(keyed_call(a), 0, "");

    /* so that the file does not look new */
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

    while (keyed_logged("accept4() failed (24:", NULL) == 0) {
        harness_pause(since, "all descriptors are taken");
    }

    keyed_put("jwks", SET_B);

    while (keyed_logged("has changed and cannot be read", "jwks") == 0) {
        harness_pause(since, "the change is seen");
    }

    for (i = 0; i < 64; i++) {
        close(fd[i]);
    }

    keyed_await(a, 16);
    client_assert(keyed_call(b), 0, "");
    ck_assert_uint_eq(keyed_logged("has changed and cannot be read", "jwks"),
                      1);
    ck_assert_uint_eq(keyed_logged("has changed: there are 1 keys now", "jwks"),
                      1);
}
END_TEST


START_TEST(keys_check_off)
{
    keyed_put("hmac", SECRET_A);
    keyed_start(KEYED_FILES("", "myservice_jwt_key_check off;\n",
                            "myservice_jwt_secret_file %%DIR%%/hmac;\n"));
    keyed_put("hmac", SECRET_B);
    client_assert(keyed_call(keyed_token(NULL, SECRET_A)), 0, "");

    gateway_reload(NULL);
    keyed_open();
    client_assert(keyed_call(keyed_token(NULL, SECRET_B)), 0, "");
    client_assert_refused(keyed_call(keyed_token(NULL, SECRET_A)), 16, INVALID);
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
    harness_add(suite, keys_unreadable);
    harness_add(suite, keys_no_descriptors);
    harness_add(suite, keys_check_off);

    return harness_run(suite, argv[0]);
}
