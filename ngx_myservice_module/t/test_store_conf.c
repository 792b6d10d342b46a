/*
 * What nginx -t says of myservice_store.
 */

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "gateway.h"
#include "harness.h"
#include "tls_front.h"
#include "verdict.h"


#define HEAD       "%%GLOBALS%%\nevents {}\nhttp {\n    %%GLOBALS_HTTP%%\n"
#define SESSIONS   "myservice_sessions $myservice_session zone=u:1m;\n"
#define SERVER     "server 127.0.0.1:8081;\n"
#define RESOLVER   "resolver 127.0.0.1:8119;\n"
#define CA         " ca=%%DIR%%/certs/ca.crt"
#define CERT(file)  " cert=%%DIR%%/" file ".crt"
#define KEY(file)   " key=%%DIR%%/" file ".key"
#define FILES      " password_file=%%DIR%%/"

#define COUNT(array)  (sizeof(array) / sizeof(array[0]))


static const char *
store_conf(const char *http, const char *store)
{
    static char  conf[2048];

    snprintf(conf, sizeof(conf), "%s%supstream u {\n%smyservice_store %s;\n}\n"
             "}\n", HEAD, http, SESSIONS SERVER, store);

    return conf;
}


static void
all_accepted(const char *http, const char *const *stores, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        accepted(store_conf(http, stores[i]));
    }
}


static void
all_refused(const char *http, const char *const (*stores)[2], size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        refused(store_conf(http, stores[i][0]), stores[i][1]);
    }
}


START_TEST(conf_store)
{
    static const char *const  good[] = {
        "redis://127.0.0.1", "redis://127.0.0.1:6379", "redis://[::1]:6379/3",
        "redis://127.0.0.1:1 redis://127.0.0.1:2/ failure=local",
        "redis://127.0.0.1 prefix=games timeout=50ms failure=refuse",
        "redis://127.0.0.1 user=gateway" FILES "secret"
    };

    static const char *const  bad[][2] = {
        { "", "myservice_store" },
        { "127.0.0.1:6379", "expected \"redis://\"" },
        { "http://127.0.0.1", "expected \"redis://\"" },
        { "redis://", "expected an address" },
        { "redis://127.0.0.1:x", "expected an address" },
        { "redis://127.0.0.1/x", "database 0-1023" },
        { "redis://127.0.0.1/9999", "database 0-1023" },
        { "redis://me:secret@127.0.0.1", "\"password_file=\"" },
        { "redis://127.0.0.1 timeout=1ms", "timeout=1ms" },
        { "redis://127.0.0.1 timeout=1m", "timeout=1m" },
        { "redis://127.0.0.1 failure=x", "\"refuse\" or \"local\"" },
        { "redis://127.0.0.1 prefix=", "prefix=" },
        { "redis://127.0.0.1 'prefix={a}'", "without braces" },
        { "redis://127.0.0.1 user=a", "\"user=\" needs" },
        { "redis://127.0.0.1 x=1", "x=1" },
        { "redis://127.0.0.1 timeout=1s timeout=2s", "duplicate" }
    };

    (void) harness_file("secret", "a password\n", 11);

    all_accepted("", good, COUNT(good));
    all_refused("", bad, COUNT(bad));
    refused(HEAD "upstream u {\nmyservice_store redis://127.0.0.1;\n" SERVER
            "}\n}\n", "no effect without \"myservice_sessions\"");
    refused(store_conf("", "redis://127.0.0.1;\n"
                           "myservice_store redis://127.0.0.1"), "duplicate");
}
END_TEST


/* the password goes to all of them: none may get it without TLS */

START_TEST(conf_store_mixed)
{
    static const char *const  http[] = { "", RESOLVER };

    static const char *const  good[] = {
        "redis://store.test:6379 redis://other.test",
        "redis://store.test/1 redis://127.0.0.1/1 redis://other.test/1",
        "redis://127.0.0.1 redis://store.test/0",
        ("rediss://store.test rediss://127.0.0.1 rediss://localhost" CA)
    };

    static const char *const  bad[][2] = {
        { "redis://127.0.0.1/1 redis://127.0.0.1/2", "same scheme" },
        { "redis://host.a/1 redis://host.b/2", "same scheme" },
        { "redis://host.a redis://host.b/2", "same scheme" },
        { "redis://host.a/1 redis://127.0.0.1/2", "same scheme" },
        { "redis://127.0.0.1/1 redis://host.a/2", "same scheme" },
        { "redis://host.a/1 redis://host.b/1 redis://host.c", "same scheme" },
        { "rediss://store-a:6391 redis://store-b:6391" FILES "secret",
          "same scheme" },
        { "rediss://store-a:6391 redis://store-b:6391" CA, "same scheme" },
        { "redis://host.a rediss://host.b" CA, "same scheme" },
        { "redis://localhost rediss://localhost" CA, "same scheme" },
        { "redis://host.a rediss://127.0.0.1" CA, "same scheme" },
        { "rediss://127.0.0.1 redis://host.a" CA, "same scheme" },
        { "rediss://host.a rediss://host.b redis://host.c" CA, "same scheme" },
        { "redis://host.a rediss://host.b", "same scheme" },
        { "rediss://host.a rediss://127.0.0.1", "needs \"ca=\"" },
        { "rediss://127.0.0.1 rediss://host.a", "needs \"ca=\"" },
        { "rediss://host.a rediss://host.b", "needs \"ca=\"" },
        { "redis://host.a redis://127.0.0.1" CA, "\"ca=\" needs" }
    };

    (void) harness_file("secret", "a password\n", 11);
    tls_front_certs("certs");

    all_accepted(http[_i], good, COUNT(good));
    all_refused(http[_i], bad, COUNT(bad));
}
END_TEST


static size_t
read_file(const char *name, char *text, size_t size)
{
    FILE    *file;
    size_t   n;

    file = fopen(harness_path(name), "r");
    ck_assert_ptr_nonnull(file);
    n = fread(text, 1, size, file);
    fclose(file);

    return n;
}


START_TEST(conf_store_tls)
{
    char    text[8192];
    size_t  n;

    static const char *const  good[] = {
        "rediss://127.0.0.1" CA,
        "rediss://127.0.0.1 name=store.test" CA,
        "rediss://127.0.0.1" CA CERT("certs/client") KEY("certs/client"),
        "rediss://127.0.0.1" CA CERT("chain") KEY("certs/client")
    };

    static const char *const  bad[][2] = {
        { "redis://127.0.0.1 ca=x", "\"ca=\" needs" },
        { "redis://127.0.0.1 name=store.test", "\"name=\" needs" },
        { "rediss://127.0.0.1", "needs \"ca=\"" },
        { "rediss://127.0.0.1 ca=none", "none" },
        { "redis://127.0.0.1" CERT("certs/client") KEY("certs/client"),
          "\"cert=\" needs a store with TLS" },
        { "redis://127.0.0.1" KEY("certs/client"), "\"key=\" needs a store" },
        { "rediss://127.0.0.1" CA CERT("certs/client"),
          "\"cert=\" needs \"key=\"" },
        { "rediss://127.0.0.1" CA KEY("certs/client"),
          "\"key=\" needs \"cert=\"" },
        { "rediss://127.0.0.1" CERT("certs/client") KEY("certs/client"),
          "needs \"ca=\"" },
        { "rediss://127.0.0.1" CA CERT("none") KEY("certs/client"), "none" },
        { "rediss://127.0.0.1" CA CERT("certs/client") KEY("none"), "none" },
        { "rediss://127.0.0.1" CA CERT("certs/client") KEY("certs/server"),
          "key values mismatch" },
        { "rediss://127.0.0.1" CA " cert= key=x", "cert=" }
    };

    tls_front_certs("certs");
    n = read_file("certs/client.crt", text, sizeof(text));
    n += read_file("certs/ca.crt", text + n, sizeof(text) - n);
    (void) harness_file("chain.crt", text, n);

    all_accepted("", good, COUNT(good));
    all_refused("", bad, COUNT(bad));
}
END_TEST


START_TEST(conf_store_password)
{
    char    text[1200];
    size_t  i;

    static const char *const  good[] = {
        "redis://127.0.0.1" FILES "lf", "redis://127.0.0.1" FILES "crlf",
        "redis://127.0.0.1" FILES "bare", "redis://127.0.0.1" FILES "blank",
        "redis://127.0.0.1" FILES "long", "redis://127.0.0.1" FILES "utf8"
    };

    static const char *const  bad[][2] = {
        { "redis://127.0.0.1 password_file=none", "cannot be opened" },
        { "redis://127.0.0.1 password_file=/dev/null", "no password" },
        { "redis://127.0.0.1 password_file=.", "cannot be read" },
        { "redis://127.0.0.1" FILES "newlines", "no password" },
        { "redis://127.0.0.1" FILES "longer", "1-512 bytes" },
        { "redis://127.0.0.1" FILES "two", "/two\" has more than one line" },
        { "redis://127.0.0.1" FILES "comment", "more than one line" },
        { "redis://127.0.0.1" FILES "first", "more than one line" },
        { "redis://127.0.0.1" FILES "mac", "more than one line" },
        { "redis://127.0.0.1" FILES "behind", "more than one line" },
        { "redis://127.0.0.1" FILES "nul", "/nul\" has a zero byte" },
        { "redis://127.0.0.1" FILES "end", "/end\" has a zero byte" }
    };

    static const struct {
        const char  *name;
        const char  *text;
        size_t       len;
    } files[] = {
        { "lf", "a password\n", 11 },
        { "crlf", "a password\r\n", 12 },
        { "bare", "a password", 10 },
        { "blank", "a password\n\n", 12 },
        { "utf8", "gr\xc3\xbc\xc3\x9f\t!\n", 9 },
        { "newlines", "\n\r\n", 3 },
        { "two", "one\ntwo\n", 8 },
        { "comment", "one\n# of the store", 18 },
        { "first", "\none\n", 5 },
        { "mac", "one\rtwo", 7 },
        { "nul", "on\0e\n", 5 },
        { "end", "one\n\0", 5 }
    };

    for (i = 0; i < COUNT(files); i++) {
        (void) harness_file(files[i].name, files[i].text, files[i].len);
    }

    memset(text, 'x', sizeof(text));
    (void) harness_file("longer", text, 513);
    memcpy(text + 512, "\r\n", 2);
    (void) harness_file("long", text, 514);
    (void) harness_file("behind", text, sizeof(text));

    all_accepted("", good, COUNT(good));
    all_refused("", bad, COUNT(bad));
}
END_TEST


/* what stands there is taken as it stands: "$x" is a mistake */

START_TEST(conf_store_literal)
{
    static const char *const  bad[][2] = {
        { "redis://$x", "\"redis://$x\" has a \"$\", and the directive takes "
                        "no variables" },
        { "redis://127.0.0.1:$port", "takes no variables" },
        { "redis://127.0.0.1/$db", "takes no variables" },
        { "redis://127.0.0.1 redis://${x}", "takes no variables" },
        { "$x", "takes no variables" },
        { "redis://127.0.0.1 prefix=$x", "takes no variables" },
        { "redis://127.0.0.1 prefix=a${x}", "takes no variables" },
        { "redis://127.0.0.1 user=$x" FILES "secret", "takes no variables" },
        { "redis://127.0.0.1 password_file=$x", "takes no variables" },
        { "rediss://127.0.0.1 ca=$x", "takes no variables" },
        { "rediss://127.0.0.1 name=$host" CA, "takes no variables" }
    };

    (void) harness_file("secret", "a password\n", 11);
    tls_front_certs("certs");

    all_refused("", bad, COUNT(bad));
}
END_TEST


START_TEST(conf_store_host)
{
    size_t  i;
    char    store[512];

#define L63  "abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz-012345678"

    /* "_": names of containers have it */

    static const char *const  good[] = {
        "a", "a.", "1a", "4.test", "my_store-1.example.com", "xn--4ca.test",
        L63 ".test", "[::1]", "127.0.0.1", "A.Test:6379/1"
    };

    static const char *const  bad[] = {
        "a..b", ".", ".a", "a..", "-a", "a-", "a.-b", "a-.b", "a,b", "a%b",
        "a*", "*", "'a b'", "a\\\\b", "10.0.0.300", "10.0.1", "123", "a.1",
        "[::1", "[x]", L63 "x.test", L63 "." L63 "." L63 "." L63, "\xc3\xa4"
    };

    for (i = 0; i < COUNT(good); i++) {
        snprintf(store, sizeof(store), "redis://%s", good[i]);
        accepted(store_conf("", store));
    }

    for (i = 0; i < COUNT(bad); i++) {
        snprintf(store, sizeof(store), bad[i][0] == '\'' ? "'redis://%s"
                                                         : "redis://%s",
                 bad[i] + (bad[i][0] == '\''));
        refused(store_conf("", store), "expected an address or a name");
    }
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_conf");
    harness_add(suite, conf_store);
    harness_add_loop(suite, conf_store_mixed, 2);
    harness_add(suite, conf_store_tls);
    harness_add(suite, conf_store_password);
    harness_add(suite, conf_store_literal);
    harness_add(suite, conf_store_host);

    return harness_run(suite, "test_store_conf");
}
