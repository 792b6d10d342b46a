/*
 * The program "authsvc" from outside: its usage, what keeps "authsvc serve"
 * from starting, and what it starts with.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "authsvc/t/folder.h"
#include "authsvc/t/process.h"
#include "authsvc/t/server.h"
#include "authsvc/t/suite.h"


static process_t  other;


/* One line, and the exit code. */
static void
assert_fails(const char *const *argv, int code, const char *text)
{
    ck_assert_int_eq(process_run(&other, argv, ""), code);
    ck_assert_msg(strstr(other.error, text) != NULL, "no \"%s\" in: %s", text,
                  other.error);
    ck_assert_ptr_eq(strchr(other.error, '\n'),
                     other.error + strlen(other.error) - 1);
    ck_assert_str_eq(other.output, "");
}


START_TEST(test_usage)
{
    size_t  i;

    static const struct {
        const char  *argv[8];
        const char  *text;
    } cases[] = {
        { { NULL }, "authsvc: a command is missing" },
        { { "nope", NULL }, "authsvc: unknown command \"nope\"" },
        { { "serve", "--nope", NULL }, "authsvc: unknown option --nope" },
        { { "serve", "x", NULL }, "authsvc: unexpected argument \"x\"" },
        { { "serve", NULL }, "authsvc: --store (AUTHSVC_STORE) is required" },
        { { "serve", "--store", "s", NULL },
          "authsvc: --key-file (AUTHSVC_KEY_FILE) or --keys (AUTHSVC_KEYS) "
          "is required" },
        { { "serve", "--store", "s", "--key-file", "k", "--keys", "d", NULL },
          "authsvc: --key-file and --keys exclude each other" },
        { { "serve", "--store", "s", "--key-file", "k", "--jwks-file", "j",
            NULL },
          "authsvc: --jwks-file needs --keys" },
        { { "serve", "--token-ttl", "0s", NULL },
          "authsvc: --token-ttl: bad value \"0s\": must be a time from 1s to "
          "366d" },
        { { "serve", "--hash-threads", "0", NULL },
          "authsvc: --hash-threads: bad value \"0\": must be a number from 1 "
          "to " },
        { { "serve", "--log-level", "loud", NULL },
          "authsvc: --log-level: bad value \"loud\": must be error, warn, "
          "info or debug" },
        { { "serve", "--issuer", "", NULL },
          "authsvc: --issuer: bad value \"\": must be 1 to 255 bytes" },
        { { "serve", "--store", "s", "--key-file", "k", "--tls-key", "t",
            NULL },
          "authsvc: --tls-key needs --tls-cert" }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_fails(cases[i].argv, 2, cases[i].text);
    }
}
END_TEST


START_TEST(test_help)
{
    size_t             i;
    const char *const  help[] = { "--help", NULL };
    const char *const  words[][3] = {
        { "help" }, { "-h" }, { "user", "help" }, { "key", "-h" }
    };
    const char *const  serve[] = { "serve", "--help", NULL };
    const char *const  version[] = { "--version", NULL };

    static const char *const  texts[] = {
        "--listen", "AUTHSVC_LISTEN", "127.0.0.1:5001", "--store",
        "--key-file", "--create-key", "--token-ttl", "1h", "--issuer",
        "--hash-threads", "--login-queue", "--log-level", "--drain-timeout"
    };

    ck_assert_int_eq(process_run(&other, help, ""), 0);
    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ck_assert_ptr_nonnull(strstr(other.output, texts[i]));
    }
    ck_assert_ptr_nonnull(strstr(other.output, "user role NAME ROLE"));

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        ck_assert_int_eq(process_run(&other, words[i], ""), 0);
        ck_assert_ptr_nonnull(strstr(other.output, "-h, --help"));
    }

    ck_assert_int_eq(process_run(&other, serve, ""), 0);
    ck_assert_ptr_nonnull(strstr(other.output, "--login-queue"));
    ck_assert_int_eq(process_run(&other, version, ""), 0);
    ck_assert_int_eq(strncmp(other.output, "authsvc ", 8), 0);
}
END_TEST


START_TEST(test_config)
{
    char               text[1024];
    const char *const  argv[] = {
        "serve", "--config", folder_path("conf"), NULL
    };

    snprintf(text, sizeof(text), "AUTHSVC_STORE=\"%s\"\n"
             "# the key is missing\nAUTHSVC_KEY_FILE=%s\n",
             folder_path("s.db"), folder_path("key"));
    folder_write("conf", text, strlen(text), 0600);
    assert_fails(argv, 1, "/key\": No such file or directory");

    folder_write("conf", "AUTHSVC_KEY=x\n", 14, 0600);
    assert_fails(argv, 2, "/conf:1: unknown name AUTHSVC_KEY,");
}
END_TEST


START_TEST(test_bad_files)
{
    char               garbage[9000];
    const char *const  argv[] = {
        "serve", "--listen", "127.0.0.1:0", "--store", folder_path("s.db"),
        "--key-file", folder_path("key"), NULL
    };

    assert_fails(argv, 1, "/key\": No such file or directory");

    folder_write("key", "short\n", 6, 0600);
    assert_fails(argv, 1, "/key\": the secret must have 32 to 4096 bytes, "
                 "has 5");

    folder_write("key", SERVER_KEY, strlen(SERVER_KEY), 0600);
    memset(garbage, '#', sizeof(garbage));
    folder_write("s.db", garbage, sizeof(garbage), 0600);
    assert_fails(argv, 1, "/s.db\": file is not a database");
}
END_TEST


START_TEST(test_port_in_use)
{
    const char *const  argv[] = {
        "serve", "--listen", server_target, "--store", folder_path("s.db"),
        "--key-file", folder_path("key"), NULL
    };

    server_start(NULL, NULL, NULL, NULL);
    assert_fails(argv, 1, "cannot listen on 127.0.0.1:");
    server_stop();
}
END_TEST


START_TEST(test_create_key)
{
    int                i;
    struct stat        st;
    const char *const  argv[] = {
        "serve", "--listen", "127.0.0.1:0", "--store", folder_path("s.db"),
        "--key-file", folder_path("key"), "--create-key", NULL
    };

    for (i = 0; i < 2; i++) {
        process_start(&server_process, argv, "");
        ck_assert_ptr_nonnull(process_expect(&server_process, "listening on "));
        server_stop();
        ck_assert_int_eq(strstr(server_process.error, "created the key")
                         != NULL, i == 0);
        ck_assert_ptr_null(strstr(server_process.error, "warn"));
    }

    ck_assert_int_eq(stat(folder_path("key"), &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
    ck_assert_int_eq(st.st_size, 65);
    ck_assert_int_eq(stat(folder_path("s.db"), &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);

    ck_assert_int_eq(chmod(folder_path("key"), 0640), 0);
    process_start(&server_process, argv, "");
    ck_assert_ptr_nonnull(process_expect(&server_process, "keys: mode 0640"));
    ck_assert_ptr_nonnull(process_expect(&server_process, "listening on "));
    server_stop();
}
END_TEST


/* One set of settings is for machines of all sizes: it starts. */
START_TEST(test_threads)
{
    size_t  i;

    static const char *const  many[] = { "65", "1000", "1000000" };

    for (i = 0; i < sizeof(many) / sizeof(many[0]); i++) {
        server_start("--hash-threads", many[i], NULL, NULL);
        ck_assert_ptr_nonnull(strstr(server_process.error,
                                     "warn authsvc: --hash-threads"));
        ck_assert_ptr_nonnull(strstr(server_process.error, many[i]));
        server_stop();
        ck_assert_int_eq(remove(folder_path("s.db")), 0);
    }

    server_start("--hash-threads", "1", NULL, NULL);
    ck_assert_ptr_null(strstr(server_process.error, "warn"));
    server_stop();
}
END_TEST


START_TEST(test_environment)
{
    const char *const  argv[] = { "serve", NULL };

    folder_write("key", SERVER_KEY, strlen(SERVER_KEY), 0600);
    setenv("AUTHSVC_LISTEN", "127.0.0.1:0", 1);
    setenv("AUTHSVC_STORE", folder_path("s.db"), 1);
    setenv("AUTHSVC_KEY_FILE", folder_path("key"), 1);

    process_start(&server_process, argv, "");
    ck_assert_ptr_nonnull(process_expect(&server_process,
                                         "listening on 127.0.0.1:"));
    server_stop();

    setenv("AUTHSVC_TOKEN_TTL", "never", 1);
    assert_fails(argv, 2, "authsvc: environment variable AUTHSVC_TOKEN_TTL: "
                 "bad value \"never\": must be a time from 1s to 366d");
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("authsvc_start");
    tcase = tcase_create("authsvc_start");
    tcase_set_timeout(tcase, 180);
    tcase_add_checked_fixture(tcase, server_setup, server_teardown);
    tcase_add_test(tcase, test_usage);
    tcase_add_test(tcase, test_help);
    tcase_add_test(tcase, test_config);
    tcase_add_test(tcase, test_bad_files);
    tcase_add_test(tcase, test_port_in_use);
    tcase_add_test(tcase, test_create_key);
    tcase_add_test(tcase, test_threads);
    tcase_add_test(tcase, test_environment);
    suite_add_tcase(suite, tcase);

    return suite_run(suite);
}
