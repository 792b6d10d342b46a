/*
 * Places from which a JWK Set can come: proxies of all kinds, TLS, files,
 * nginx's cache.
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
#include "status.h"
#include "tls_front.h"


#define CACHE  "proxy_cache_path %%DIR%%/cache keys_zone=keys:1m;\n"


/* a long answer, in parts, chunked, with and without buffers of nginx */
static void
long_answer(const char *conf)
{
    int          fd;
    char         head[64];
    size_t       i, n;
    static char  body[128 * 1024];

    /* the gateway ignores members of the set that it does not know */
    n = (size_t) snprintf(body, sizeof(body), "{\"x\":\"");
    memset(body + n, 'x', 100000);
    n += 100000;
    n += (size_t) snprintf(body + n, sizeof(body) - n, "\",%s", SET_A + 1);

    issuer_listen();
    keyed_start(conf);
    fd = issuer_accept();
    (void) issuer_read(fd);
    issuer_write(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                 47);

    for (i = 0; i < n; i += 10000) {
        (void) client_poll(1);
        snprintf(head, sizeof(head), "%zx\r\n", n - i < 10000 ? n - i : 10000);
        issuer_write(fd, head, strlen(head));
        issuer_write(fd, body + i, n - i < 10000 ? n - i : 10000);
        issuer_write(fd, "\r\n", 2);
    }

    issuer_write(fd, "0\r\n\r\n", 5);
    client_assert(keyed_call(keyed_token("a", SECRET_A)), 0, "");
    close(fd);
}


START_TEST(fetch_long_answer)
{
    long_answer(KEYED_CONF_WITH("", "/keys", "",
                                KEYED_PROXY "proxy_http_version 1.1;\n"));
}
END_TEST


START_TEST(fetch_unbuffered)
{
    long_answer(KEYED_CONF_WITH("", "/keys", "",
                                KEYED_PROXY "proxy_http_version 1.1;\n"
                                "proxy_buffering off;\n"));
}
END_TEST


/* a location need not be a proxy; arguments; nothing is there */
START_TEST(fetch_other_locations)
{
    (void) harness_file("jwks.json", SET_A, strlen(SET_A));

    keyed_start(KEYED_CONF_WITH("", "/keys?x=1", "",
                                "if ($args != x=1) { return 404; }\n"
                                "alias %%DIR%%/jwks.json;\n"));
    client_assert(keyed_call(keyed_token("a", SECRET_A)), 0, "");

    gateway_reload(KEYED_CONF_WITH("", "/keys", "", "return 200 '{}';\n"));
    keyed_open();
    client_assert_refused(keyed_call(keyed_token("a", SECRET_A)), 14,
                          "service unavailable");

    gateway_reload(KEYED_CONF_WITH("", "/keys", "",
                                   "error_page 403 /x; deny all;\n"));
    keyed_open();
    client_assert_refused(keyed_call(keyed_token("a", SECRET_A)), 14,
                          "service unavailable");

    gateway_reload(KEYED_CONF_WITH("", "/keys", "", "rewrite ^ /keys last;\n"));
    keyed_open();
    client_assert_refused(keyed_call(keyed_token("a", SECRET_A)), 14,
                          "service unavailable");
}
END_TEST


/* TLS and names are checked as the location says */
#define TLS(name)                                                             \
    KEYED_CONF_WITH("", "/keys",                                              \
        "server {\n"                                                          \
        "    listen 127.0.0.1:8082 ssl;\n"                                    \
        "    access_log off;\n"                                               \
        "    ssl_certificate %%DIR%%/tls/server.crt;\n"                       \
        "    ssl_certificate_key %%DIR%%/tls/server.key;\n"                   \
        "    location = /jwks.json { root %%DIR%%; }\n"                       \
        "}\n",                                                                \
        "proxy_pass https://127.0.0.1:8082/jwks.json;\n"                      \
        "proxy_ssl_verify on;\n"                                              \
        "proxy_ssl_trusted_certificate %%DIR%%/tls/ca.crt;\n"                 \
        "proxy_ssl_name " name ";\n")

START_TEST(fetch_tls)
{
    tls_front_certs("tls");
    (void) harness_file("jwks.json", SET_A, strlen(SET_A));

    keyed_start(TLS("localhost"));
    client_assert(keyed_call(keyed_token("a", SECRET_A)), 0, "");

    gateway_reload(TLS("other"));
    keyed_open();
    client_assert_refused(keyed_call(keyed_token("a", SECRET_A)), 14,
                          "service unavailable");
}
END_TEST


/* nginx's cache keeps the set over a reload while the issuer is down */
START_TEST(fetch_cached)
{
    int  fd;

    const char  *conf = KEYED_CONF_WITH("", "/keys", CACHE,
        KEYED_PROXY
        "proxy_cache keys;\n"
        "proxy_cache_use_stale error timeout http_500;\n");

    issuer_listen();
    keyed_start(conf);
    fd = issuer_accept();
    issuer_answer(fd, "200 OK", SET_A);
    client_assert(keyed_call(keyed_token("a", SECRET_A)), 0, "");
    issuer_gone();

    gateway_reload(NULL);
    keyed_open();
    client_assert(keyed_call(keyed_token("a", SECRET_A)), 0, "");
    client_assert_refused(keyed_call(keyed_token("a", SECRET_B)), 16, INVALID);
}
END_TEST


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
        harness_pause(since, text);
    }
}


/* a stale answer of the cache is used, and does not end its update */
START_TEST(fetch_cached_background)
{
    int          fd;
    long long    since;
    const char  *a, *b;

    issuer_listen();
    keyed_start(KEYED_CONF_WITH("", "/keys interval=100ms timeout=1s", CACHE,
                                KEYED_PROXY
                                "proxy_cache keys;\n"
                                "proxy_cache_background_update on;\n"
                                "proxy_cache_use_stale updating error;\n"));
    a = keyed_token("a", SECRET_A);
    b = keyed_token("b", SECRET_B);

    fd = issuer_accept();
    issuer_answer(fd, "200 OK", SET_A);
    client_assert(keyed_call(a), 0, "");

    fd = issuer_accept();
    client_assert(keyed_call(a), 0, "");
    issuer_answer(fd, "200 OK", SET_B);
    since = harness_now();

    while (keyed_call(b)->grpc != 0) {
        harness_pause(since, "the new set is used");
    }

    client_assert_refused(keyed_call(a), 16, INVALID);

    /* a fetch that never ends is stopped, and started again */
    fd = issuer_accept();
    await_logged("came from a cache: its update timed out", 1);
    close(fd);
    fd = issuer_accept();
    issuer_answer(fd, "200 OK", SET_A);

    while (keyed_call(a)->grpc != 0) {
        harness_pause(since, "the next set is used");
    }
}
END_TEST


/* a thread may read the file when the answer is found to be too big: the
 * request stays until the thread is done */

#define THREADS  "aio threads;\n sendfile off;\n"

#define BIG      900000                 /* bytes */


static char *
big_set(void)
{
    char        *big;
    const char  *set;

    big = malloc(BIG);
    ck_assert_ptr_nonnull(big);
    set = SET_A;
    memset(big, ' ', BIG);
    memcpy(big, set, strlen(set));

    return big;
}


START_TEST(fetch_threads_file)
{
    char   *big;
    pid_t   before, after;

    big = big_set();
    (void) harness_file("big.json", big, BIG);
    free(big);

    keyed_start(KEYED_CONF_WITH("", "/keys interval=100ms", THREADS,
                                "alias %%DIR%%/big.json;\n"));
    ck_assert_uint_eq(gateway_workers(&before, 1), 1);

    await_logged("the answer is over 256 kB", 8);
    ck_assert_uint_eq(gateway_workers(&after, 1), 1);
    ck_assert_int_eq(before, after);
}
END_TEST


START_TEST(fetch_threads_cached)
{
    int         fd;
    char       *big;
    pid_t       before, after;
    long long   since;

    big = big_set();
    issuer_listen();
    keyed_start(KEYED_CONF_WITH("", "/keys interval=100ms", THREADS CACHE,
                                KEYED_PROXY
                                "proxy_cache keys;\n"
                                "proxy_cache_valid 1h;\n"));
    ck_assert_uint_eq(gateway_workers(&before, 1), 1);

    since = harness_now();

    /* until nginx has it in its cache */

    while (logged("the answer is over 256 kB") < 16) {
        harness_pause(since, "the answer is read");
        fd = issuer_try();

        if (fd != -1) {
            (void) issuer_read(fd);
            issuer_write(fd, "HTTP/1.1 200 OK\r\n\r\n", 19);
            (void) send(fd, big, BIG, MSG_NOSIGNAL);
            close(fd);
        }
    }

    ck_assert_uint_eq(gateway_workers(&after, 1), 1);
    ck_assert_int_eq(before, after);
    free(big);
}
END_TEST


/* a fetch that waits for the cache, which a client's call updates, gives up in
 * time */
START_TEST(fetch_cache_locked)
{
    int        fd, held;
    client_t  *client;

    issuer_listen();
    keyed_start(KEYED_CONF_WITH("", "/keys interval=1h timeout=300ms", CACHE,
                                KEYED_PROXY
                                "proxy_cache keys;\n"
                                "proxy_cache_key k;\n"
                                "proxy_cache_lock on;\n"
                                "proxy_cache_lock_timeout 1h;\n"
                                "proxy_cache_lock_age 1h;\n"
                                "}\n"
                                "location = /held {\n"
                                KEYED_PROXY
                                "proxy_cache keys;\n"
                                "proxy_cache_key k;\n"
                                "proxy_cache_lock on;\n"
                                "proxy_cache_lock_age 1h;\n"
                                "proxy_cache_methods POST;\n"));
    client = client_open(harness_port(8080));
    fd = issuer_accept();
    await_logged("timed out, no keys have been loaded yet", 1);
    close(fd);

    (void) client_grpc(client, "/held", NULL, NULL, "", 0);
    held = issuer_accept();
    await_logged("timed out, no keys have been loaded yet", 2);
    ck_assert_int_eq(issuer_try(), -1);
    close(held);
}
END_TEST


/* a limit that delays the fetch of one worker after that of the other */
START_TEST(fetch_limited)
{
    (void) harness_file("jwks.json", SET_A, strlen(SET_A));

    keyed_start(KEYED_CONF_WITH("worker_processes 2;\n", "/keys",
                                "limit_req_zone $uri zone=z:1m "
                                "rate=2r/s;\n"
                                "limit_req zone=z burst=100;\n",
                                "alias %%DIR%%/jwks.json;\n"));

    await_logged("were fetched: there are 1 keys now", 2);
    ck_assert_uint_eq(logged("could not be fetched"), 0);
    ck_assert_uint_ge(logged("delaying request"), 1);
}
END_TEST


/* file keys work at once; a token that they do not fit waits */
START_TEST(fetch_and_file)
{
    int             fd;
    client_call_t  *c;

    (void) harness_file("b", SECRET_B, strlen(SECRET_B));
    issuer_listen();
    keyed_start(KEYED_CONF("/keys timeout=2s;\n"
                           "myservice_jwt_secret_file %%DIR%%/b"));

    c = keyed_begin(keyed_token("a", SECRET_A));
    client_assert(keyed_call(keyed_token(NULL, SECRET_B)), 0, "");
    fd = issuer_accept();
    ck_assert(!c->done);
    issuer_answer(fd, "200 OK", SET_A);
    client_wait(c);
    client_assert(c, 0, "");
    client_assert(keyed_call(keyed_token(NULL, SECRET_B)), 0, "");
}
END_TEST


/* where tokens are not verified nothing is fetched for it */
START_TEST(fetch_unused)
{
    int        i, fd;
    long long  since;

    issuer_listen();
    keyed_start(KEYED_CONF_WITH("", "/keys interval=1s",
                                "myservice_jwt_keys_uri /keys interval=1s;\n"
                                "server {\n"
                                "    listen 127.0.0.1:8083;\n"
                                "    server_name other;\n"
                                "    location / { return 404; }\n"
                                "}\n", KEYED_PROXY));

    for (i = 0; i < 2; i++) {
        fd = issuer_accept();
        issuer_answer(fd, "200 OK", SET_A);
    }

    client_assert(keyed_call(keyed_token("a", SECRET_A)), 0, "");
    ck_assert_uint_eq(logged("could not be fetched"), 0);
    ck_assert_uint_eq(logged("were fetched"), 1);

    since = harness_now();

    while (harness_now() - since < 500) {
        ck_assert_int_eq(issuer_try(), -1);
    }
}
END_TEST


/* a call that waits is looked at again when there are other keys, and costs
 * nothing before */
START_TEST(fetch_waits_idle)
{
    int             fd;
    long long       since;
    client_call_t  *good, *bad;

    (void) harness_file("b", SECRET_B, strlen(SECRET_B));
    issuer_listen();
    keyed_start(KEYED_CONF_WITH("", "/keys;\n"
                                "myservice_jwt_secret_file %%DIR%%/b",
                                STATUS_SERVER, KEYED_PROXY));
    fd = issuer_accept();

    bad = keyed_begin(keyed_token("x", SECRET_A));
    since = harness_now();

    while (harness_now() - since < 1000) {
        client_poll(10);
    }

    status_await("\"hits\":0,\"misses\":1,");
    ck_assert(!bad->done);

    /* once more with the set that came */
    good = keyed_begin(keyed_token("a", SECRET_A));
    client_poll(10);
    issuer_answer(fd, "200 OK", SET_A);
    client_wait(good);
    client_wait(bad);
    client_assert(good, 0, "");
    client_assert_refused(bad, 16, INVALID);
    status_await("\"hits\":0,\"misses\":4,");
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("jwt fetch places");

    harness_add(suite, fetch_long_answer);
    harness_add(suite, fetch_unbuffered);
    harness_add(suite, fetch_other_locations);
    harness_add(suite, fetch_tls);
    harness_add(suite, fetch_cached);
    harness_add(suite, fetch_cached_background);
    harness_add(suite, fetch_threads_file);
    harness_add(suite, fetch_threads_cached);
    harness_add(suite, fetch_cache_locked);
    harness_add(suite, fetch_limited);
    harness_add(suite, fetch_and_file);
    harness_add(suite, fetch_unused);
    harness_add(suite, fetch_waits_idle);

    return harness_run(suite, argv[0]);
}
