/*
 * JWK Sets that the gateway fetches from an issuer.  The test is the issuer,
 * one connection after the other, and decides what it answers and when.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "gateway.h"
#include "harness.h"
#include "issuer.h"
#include "keyed.h"
#include "token.h"


#define PEM_1                                                                 \
    "-----BEGIN PUBLIC KEY-----\n"                                            \
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE2VzB07EGWLahUgU4uOdIIQZyadvr\n"      \
    "7VfYa4Gedgs0oYiUpJ9dd4TzTVpzikaHHXZXvVNDe7XJtOeVx7Z2qAi/zg==\n"          \
    "-----END PUBLIC KEY-----\n"

#define PEM_2                                                                 \
    "-----BEGIN PUBLIC KEY-----\n"                                            \
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAET5ZarcTJfrWp9oCTArgltnOMZPdg\n"      \
    "reDmmpGnRV/U5ykFXdM7QRUw+FCf7i10ioKn1OHpZBbsh8Bt7L4uKsTVyw==\n"          \
    "-----END PUBLIC KEY-----\n"


/* The issuer answers all requests until the call is over. */
static client_call_t *
call_meanwhile(const char *text, const char *body)
{
    int             fd;
    long long       since;
    client_call_t  *c;

    since = harness_now();
    c = keyed_begin(text);

    while (!c->done) {
        fd = issuer_try();

        if (fd != -1) {
            issuer_answer(fd, "200 OK", body);
        }

        harness_pause(since, "the end of a call");
    }

    return c;
}


/* The same until a call has that status. */
static void
await(const char *text, int status, const char *body)
{
    long long  since;

    since = harness_now();

    while (call_meanwhile(text, body)->grpc != status) {
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


static void
await_logged(const char *text, unsigned n)
{
    long long  since;

    since = harness_now();

    while (logged(text) < n) {
        client_poll(2);
        harness_pause(since, text);
    }
}


/* calls wait for the first set; nothing of theirs goes to the issuer */
START_TEST(fetch_first)
{
    int             i, fd;
    const char     *request;
    client_call_t  *good[5], *bad, *none;

    issuer_listen();
    keyed_start(KEYED_CONF("/keys"));

    for (i = 0; i < 5; i++) {
        good[i] = keyed_begin(keyed_token("a", SECRET_A));
    }

    bad = keyed_begin(keyed_token("a", SECRET_B));
    none = keyed_begin(NULL);
    client_wait(none);
    client_assert_refused(none, 16, INVALID);

    fd = issuer_accept();
    for (i = 0; i < 20; i++) {
        ck_assert_int_eq(issuer_try(), -1);
        ck_assert(!good[0]->done && !bad->done);
    }

    request = issuer_read(fd);

    /* "proxy_http_version" is 1.0 by default, and 1.1 since 1.29.7 */

    ck_assert_msg(strncmp(request, "GET /jwks.json HTTP/1.0\r\n", 25) == 0
                  || strncmp(request, "GET /jwks.json HTTP/1.1\r\n", 25) == 0,
                  "%s", request);
    ck_assert_ptr_null(strstr(request, "authorization"));
    ck_assert_ptr_null(strstr(request, "session-id"));
    ck_assert_ptr_null(strstr(request, "application/grpc"));
    issuer_write(fd, "HTTP/1.0 200 OK\r\n\r\n", 19);
    issuer_write(fd, SET_A, strlen(SET_A));
    close(fd);

    client_wait_all();

    for (i = 0; i < 5; i++) {
        client_assert(good[i], 0, "");
    }

    client_assert_refused(bad, 16, INVALID);
    ck_assert_uint_eq(logged("keys were fetched: there are "), 1);
    ck_assert(!harness_contains("access.log", "/keys"));
}
END_TEST


/* no call passes, and the client may try again */
START_TEST(fetch_unreachable)
{
    keyed_start(KEYED_CONF("/keys"));

    client_assert_refused(keyed_call(keyed_token("a", SECRET_A)), 14,
                          "service unavailable");
    gateway_await_access("jwt=NO_KEYS");
    client_assert_refused(keyed_call(NULL), 16, INVALID);
    client_assert_refused(keyed_call("x"), 14, "service unavailable");

    issuer_listen();
    await(keyed_token("a", SECRET_A), 0, SET_A);
    client_assert_refused(keyed_call(keyed_token("a", SECRET_B)), 16, INVALID);
    ck_assert_uint_ge(logged("no keys have been loaded yet, uri="), 1);
}
END_TEST


START_TEST(fetch_timeout)
{
    int             fd;
    client_call_t  *c;

    issuer_listen();
    keyed_start(KEYED_CONF("/keys interval=1h timeout=300ms"));

    c = keyed_begin(keyed_token("a", SECRET_A));
    fd = issuer_accept();
    client_wait(c);
    client_assert_refused(c, 14, "service unavailable");
    ck_assert_uint_eq(logged("timed out, no keys have been loaded yet"), 1);
    close(fd);

    await(keyed_token("a", SECRET_A), 0, SET_A);
}
END_TEST


/* the gateway uses the set that it has, whatever the issuer answers, until it
 * gets a better one */
START_TEST(fetch_outage)
{
    int          fd;
    char        *big;
    size_t       i;
    const char  *a;

    static const struct {
        const char  *answer;
        const char  *log;
    } bad[] = {
        { "HTTP/1.1 503 Unavailable\r\n\r\n", "HTTP status 503" },
        { "HTTP/1.1 404 Not Found\r\n\r\nno", "HTTP status 404" },
        { "HTTP/1.1 204 No Content\r\n\r\n", "HTTP status 204" },
        { "HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", "HTTP status 302" },
        { "HTTP/1.1 200 OK\r\n\r\n<html>", "" },
        { "HTTP/1.1 200 OK\r\n\r\n{\"keys\":[]}", "" },
        { "HTTP/1.1 200 OK\r\n\r\n", "" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"keys\":[", "" },
        { "HTTP/1.1 200 OK\r\n\r\n" PEM_1 PEM_2, "not a JSON object" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" PEM_1,
          "not a JSON object" },
        { "no http at all", "" },
        { "", "HTTP status 502" },
    };

    issuer_listen();
    keyed_start(KEYED_CONF("/keys interval=100ms"));
    a = keyed_token("a", SECRET_A);
    await(a, 0, SET_A);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        fd = issuer_accept();
        client_assert(keyed_call(a), 0, "");
        (void) issuer_read(fd);
        issuer_write(fd, bad[i].answer, strlen(bad[i].answer));
        close(fd);

        await_logged("the previous keys stay, uri=\"/keys\"",
                     (unsigned) i + 1);
        ck_assert_msg(gateway_logged(bad[i].log), "%s", bad[i].log);
        client_assert(keyed_call(a), 0, "");
    }

    /* more than a set may have */
    big = malloc(300000);
    memset(big, ' ', 300000);
    fd = issuer_accept();
    (void) issuer_read(fd);
    issuer_write(fd, "HTTP/1.1 200 OK\r\n\r\n", 19);
    (void) send(fd, big, 300000, MSG_NOSIGNAL);
    close(fd);
    await_logged("the answer is over 256 kB", 1);
    client_assert(keyed_call(a), 0, "");
    free(big);

    /* no issuer listens */
    issuer_gone();
    i = logged("keys could not be fetched");
    await_logged("keys could not be fetched", (unsigned) i + 1);
    client_assert(keyed_call(a), 0, "");

    /* the operator gets one line at this level, and one at the end */
    ck_assert_uint_eq(logged("[error] ")
                      - logged("upstream: \"http://127.0.0.1:"), 1);
    issuer_listen();
    fd = issuer_accept();
    issuer_answer(fd, "200 OK", SET_A);
    await_logged("keys can be fetched again, uri=\"/keys\"", 1);

    await(a, 16, SET_B);
    client_assert(keyed_call(keyed_token("b", SECRET_B)), 0, "");
}
END_TEST


/* retired and new keys at the next refresh */
START_TEST(fetch_refresh)
{
    const char  *a, *b;

    issuer_listen();
    keyed_start(KEYED_CONF("/keys interval=200ms"));
    a = keyed_token("a", SECRET_A);
    b = keyed_token("b", SECRET_B);

    await(a, 0, SET_A);
    client_assert_refused(call_meanwhile(b, SET_A), 16, INVALID);
    await(b, 0, SET_AB);
    client_assert(keyed_call(a), 0, "");
    await(a, 16, SET_B);
    client_assert(keyed_call(b), 0, "");
}
END_TEST


/* an unknown key may be new: the gateway fetches again, not for each call */
START_TEST(fetch_unknown_kid)
{
    int             i, fd, fetches;
    char            kid[16];
    const char     *b;
    long long       since;
    client_call_t  *c[50], *again;

    issuer_listen();
    keyed_start(KEYED_CONF("/keys interval=30s"));
    b = keyed_token("b", SECRET_B);
    await(keyed_token("a", SECRET_A), 0, SET_A);

    /* too soon */
    client_assert_refused(keyed_call(b), 16, INVALID);

    since = harness_now();

    for (fd = -1; fd == -1; fd = issuer_try()) {
        harness_pause(since, "a fetch for a kid");
        again = keyed_begin(b);
        client_poll(20);
    }

    /* only these wait */
    client_assert(keyed_call(keyed_token("a", SECRET_A)), 0, "");
    ck_assert(!again->done);
    issuer_answer(fd, "200 OK", SET_AB);
    client_wait(again);
    client_assert(again, 0, "");

    /* a flood of invented key names: at most one fetch for all of them */
    fetches = 0;
    since = harness_now();

    for (i = 0; i < 50; i++) {
        snprintf(kid, sizeof(kid), "x%d", i);
        c[i] = keyed_begin(keyed_token(kid, SECRET_A));
        fd = issuer_try();

        if (fd != -1) {
            issuer_answer(fd, "200 OK", SET_A);
            fetches++;
        }
    }

    for (i = 0; i < 50; i++) {
        while (!c[i]->done) {
            fd = issuer_try();

            if (fd != -1) {
                issuer_answer(fd, "200 OK", SET_A);
                fetches++;
            }
        }

        client_assert_refused(c[i], 16, INVALID);
    }

    ck_assert_int_le(fetches, 2 + (int) (harness_now() - since) / 1000);
}
END_TEST


/* the same when there are keys without a name, which are tried */
START_TEST(fetch_unknown_kid_tried)
{
    int             fd;
    const char     *b, *nameless;
    long long       since;
    client_call_t  *c;

    (void) harness_file("nameless", SECRET_A, strlen(SECRET_A));
    issuer_listen();
    keyed_start(KEYED_CONF("/keys interval=30s;\n"
                           "myservice_jwt_secret_file %%DIR%%/nameless"));
    nameless = keyed_token(NULL, SECRET_A);
    b = keyed_token("b", SECRET_B);
    fd = issuer_accept();
    issuer_answer(fd, "200 OK", SET_A);
    await_logged("were fetched", 1);

    client_assert(keyed_call(nameless), 0, "");
    client_assert_refused(keyed_call(b), 16, INVALID);

    since = harness_now();

    for (fd = -1; fd == -1; fd = issuer_try()) {
        harness_pause(since, "a fetch for a kid");
        c = keyed_begin(b);
        client_poll(20);
    }

    issuer_answer(fd, "200 OK", SET_AB);
    client_wait(c);
    client_assert(c, 0, "");

    /* a forged token that names a known key does not wait */
    client_assert_refused(keyed_call(keyed_token("a", SECRET_B)), 16, INVALID);
    client_assert(keyed_call(nameless), 0, "");
}
END_TEST


/* a client that goes while its call waits; a gateway that stops meanwhile */
START_TEST(fetch_abandoned)
{
    int             fd;
    client_call_t  *c, *other;

    issuer_listen();
    keyed_start(KEYED_CONF("/keys"));

    c = keyed_begin(keyed_token("a", SECRET_A));
    other = keyed_begin(keyed_token("a", SECRET_A));
    fd = issuer_accept();
    client_cancel(c);
    client_poll(10);
    client_close(client_open(harness_port(8080)));
    issuer_answer(fd, "200 OK", SET_A);
    client_wait(other);
    client_assert(other, 0, "");

    /* the next one's fetch is under way when all ends */
    gateway_reload(KEYED_CONF("/keys timeout=1h"));
    fd = issuer_accept();
    keyed_open();
    (void) keyed_begin(keyed_token("a", SECRET_A));
    client_poll(10);
    gateway_stop();
    close(fd);
}
END_TEST


/* old workers end although their issuer never answers */
START_TEST(fetch_reload)
{
    int  old, fd;

    issuer_listen();
    keyed_start(KEYED_CONF("/keys timeout=5s"));
    old = issuer_accept();

    gateway_reload(NULL);
    keyed_open();
    fd = issuer_accept();
    issuer_answer(fd, "200 OK", SET_A);
    client_assert(keyed_call(keyed_token("a", SECRET_A)), 0, "");
    gateway_await_workers(1);
    close(old);
}
END_TEST


/* each worker has its own */
START_TEST(fetch_workers)
{
    int        i, fd;
    long long  since;

    issuer_listen();
    keyed_start(KEYED_CONF_WITH("worker_processes 3;\n", "/keys", "",
                                KEYED_PROXY));

    for (i = 0; i < 3; i++) {
        fd = issuer_accept();
        issuer_answer(fd, "200 OK", SET_A);
    }

    since = harness_now();

    while (logged("were fetched: there are 1 keys now") < 3) {
        harness_pause(since, "all have keys");
    }

    for (i = 0; i < 10; i++) {
        keyed_open();
        client_assert(keyed_call(keyed_token("a", SECRET_A)), 0, "");
    }

    ck_assert_int_eq(issuer_try(), -1);
}
END_TEST


/* many fetches leave no memory and no connections */
START_TEST(fetch_again_and_again)
{
    int    i, fd;
    pid_t  pid;
    char   path[64], line[128];
    long   first, last;
    FILE  *file;

    issuer_listen();
    keyed_start(KEYED_CONF("/keys interval=100ms"));
    gateway_await_workers(1);
    ck_assert_uint_eq(gateway_workers(&pid, 1), 1);
    snprintf(path, sizeof(path), "/proc/%d/status", (int) pid);
    first = 0;
    last = 0;

    for (i = 0; i < 60; i++) {
        fd = issuer_accept();
        issuer_answer(fd, "200 OK",
                      token_set(token_jwk(i % 2 ? "a" : "b", SECRET_A), NULL));

        file = fopen(path, "r");
        ck_assert_ptr_nonnull(file);

        while (fgets(line, sizeof(line), file) != NULL) {
            (void) sscanf(line, "VmData: %ld", &last);
        }

        fclose(file);
        first = i == 10 ? last : first;
    }

    /* a sanitizer keeps what was freed */
    ck_assert_msg(last - first <= 512 || getenv("NGINX_BINARY") != NULL,
                  "%ld kB more", last - first);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("jwt fetch");

    harness_add(suite, fetch_first);
    harness_add(suite, fetch_unreachable);
    harness_add(suite, fetch_timeout);
    harness_add(suite, fetch_outage);
    harness_add(suite, fetch_refresh);
    harness_add(suite, fetch_unknown_kid);
    harness_add(suite, fetch_unknown_kid_tried);
    harness_add(suite, fetch_abandoned);
    harness_add(suite, fetch_reload);
    harness_add(suite, fetch_workers);
    harness_add(suite, fetch_again_and_again);

    return harness_run(suite, argv[0]);
}
