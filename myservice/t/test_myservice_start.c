/*
 * How the program starts: options that it refuses, its environment, and where
 * it listens.
 */

#include <check.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "instance.h"
#include "rpc/server.h"
#include "rpc/t/lasted.h"
#include "rpc/t/scrape.h"


static instance_t  instance;
static char        directory[64];


/* The directory has a "key"; programs are named from where the test was. */

static void
setup(void)
{
    char         path[PATH_MAX];
    FILE        *file;
    const char  *build;

    build = getenv("BUILD");
    ck_assert_ptr_nonnull(realpath(build != NULL ? build : "build", path));
    setenv("BUILD", path, 1);
    strcpy(directory, "/tmp/test_myservice.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(chdir(directory), 0);

    file = fopen("key", "w");
    ck_assert_ptr_nonnull(file);
    fprintf(file, "0123456789abcdef0123456789abcdef\n");
    fclose(file);
}


static void
teardown(void)
{
    unlink("key");
    rmdir(directory);
}


/* With exactly these arguments; waits until it listens. */

static void
start_args(const char *const *args)
{
    instance_spawn(&instance, args);
    instance_log_wait(&instance, "listening on ");
}


START_TEST(test_metrics)
{
    int          port;
    int64_t      since;
    const char  *text, *start;

    static const char *const  args[] = {
        "--metrics", "127.0.0.1:0", NULL
    };

    instance_start(&instance, args);
    start = strstr(instance.text, "serving metrics on 127.0.0.1:");
    ck_assert_ptr_nonnull(start);
    port = atoi(strchr(start, ':') + 1);

    text = scrape(port, NULL);
    scrape_has(text, "\nmyservice_session_held 0\n");
    scrape_has(text, "\nmyservice_session_age_seconds 0\n");

    assert_answer(call_echo(&instance, NULL, "s1"), GRPC_STATUS_OK, "");

    /* a call ends a moment after its answer */

    since = rpc_now();

    do {
        text = scrape(port, NULL);
    } while (strstr(text, "\nmyservice_session_calls 1\n") != NULL
             && rpc_now() - since < 10000);

    scrape_has(text, "grpc_method=\"MyServiceEcho\",grpc_code=\"OK\"} 1\n");
    scrape_has(text, "\nmyservice_session_held 1\n");
    scrape_has(text, "\nmyservice_session_calls 0\n");
    ck_assert_ptr_null(strstr(text, "s1"));

    ck_assert_int_eq(instance_stop(&instance), 0);
}
END_TEST


/* One clear line and the right exit code. */

START_TEST(test_bad_start)
{
    int         i;
    char       *newline;
    instance_t  first;
    const char *busy[] = { "--listen", NULL, NULL };
    const char *plain[] = { "--name", "pod-1", NULL };

    static const struct {
        const char  *args[6];
        int          code;
        const char  *text;
    } cases[] = {
        { { "--bogus" }, 2, "--bogus" },
        { { "extra" }, 2, "extra" },
        { { "--session-ttl", "soon" }, 2, "--session-ttl" },
        { { "--session-ttl", "0" }, 2, "--session-ttl" },
        { { "--subscribe-interval" }, 2, "--subscribe-interval" },
        { { "--log-level", "loud" }, 2, "--log-level" },
        { { "--name", "a b" }, 2, "--name" },
        { { "--jwt-secret-file", "/nonexistent/key" }, 1, "/nonexistent/key" },
        { { "--listen", "127.0.0.1:0", "--jwt-secret-file", "/dev/null" }, 1,
          "/dev/null" },
        { { "--jwt-keys", "/dev/null" }, 1, "/dev/null" },
        { { "--jwt-secret-file", "/dev/null", "--jwt-algorithms", "HS1" }, 2,
          "--jwt-algorithms" },
        { { "--jwt-issuer", "i" }, 2,
          "--jwt-issuer needs --jwt-keys or --jwt-secret-file" },
        { { "--listen", "nonsense" }, 1, "nonsense" },
        { { "--tls-cert", "/dev/null" }, 2, "--tls-cert needs --tls-key" },
        { { "--tls-client-ca", "/dev/null" }, 2,
          "--tls-client-ca needs --tls-cert" },
        { { "--tls-cert", "/nonexistent/cert", "--tls-key", "/dev/null" }, 1,
          "--tls-cert: cannot read \"/nonexistent/cert\"" },
        { { "--socket-mode", "0888" }, 2, "--socket-mode" },
        { { "--socket-mode", "01000" }, 2, "--socket-mode" },
        { { "--max-calls", "0" }, 2, "--max-calls" },
        { { "--after-shutdown", "now" }, 2, "expected exit or stay" },
        { { "--listen", "0.0.0.0:0" }, 2, "--insecure" },
        { { "--listen", "[::]:0" }, 2, "--insecure" },
        { { "--listen", "[::ffff:10.0.0.1]:0" }, 2, "--insecure" },
        { { "--listen", "128.0.0.1:0" }, 2, "--insecure" },
        { { "--listen", "localhost.example:0" }, 2, "--insecure" },
    };

    for (i = 0; i < (int) (sizeof(cases) / sizeof(cases[0])); i++) {
        instance_spawn(&instance, cases[i].args);
        ck_assert_int_eq(instance_wait(&instance), cases[i].code);
        ck_assert_msg(strstr(instance.text, cases[i].text) != NULL,
                      "\"%s\" not in: %s", cases[i].text, instance.text);
        newline = strchr(instance.text, '\n');
        ck_assert_msg(newline != NULL && newline[1] == '\0',
                      "not one line: %s", instance.text);
    }

    instance_start(&first, plain);
    busy[1] = first.address;
    instance_spawn(&instance, busy);
    ck_assert_int_eq(instance_wait(&instance), 1);
    newline = strchr(instance.text, '\n');
    ck_assert_msg(strstr(instance.text, first.address) != NULL
                  && newline != NULL && newline[1] == '\0',
                  "not one clear line: %s", instance.text);
    ck_assert_int_eq(instance_stop(&first), 0);
}
END_TEST


/* Without a key everybody is served: with a warning, and not other hosts. */

START_TEST(test_everybody)
{
    size_t  i;

    static const struct {
        const char  *args[4];
        bool         warned;
    } cases[] = {
        { { "--listen", "127.0.0.1:0" }, true },
        { { "--listen", "127.9.9.9:0" }, true },
        { { "--listen", "localhost:0" }, true },
        { { "--listen", "0.0.0.0:0", "--insecure" }, true },
        { { "--listen", "0.0.0.0:0", "--jwt-secret-file", "key" }, false },
        { { "--listen", "127.0.0.1:0", "--jwt-secret-file", "key" }, false }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        start_args(cases[i].args);
        ck_assert_int_eq(instance_stop(&instance), 0);
        ck_assert_msg((strstr(instance.text, " warn ") != NULL)
                      == cases[i].warned, "case %zu: %s", i, instance.text);
    }
}
END_TEST


static const char *const  plain_args[] = {
    "--listen", "127.0.0.1:0", NULL
};


/* They would end a process that knows nothing of them. */

START_TEST(test_reload_signals)
{
    size_t             i;
    static const char *const  keys[] = {
        "--listen", "127.0.0.1:0", "--jwt-secret-file", "key", NULL
    };
    static const int   signals[] = { SIGHUP, SIGUSR1 };

    for (i = 0; i < 2; i++) {
        start_args(plain_args);
        kill(instance.pid, signals[i]);
        instance_log_wait(&instance, "SIGHUP is ignored");
        ck_assert_int_eq(instance_stop(&instance), 0);
        ck_assert_ptr_nonnull(strstr(instance.text, "draining"));

        start_args(keys);
        kill(instance.pid, signals[i]);
        instance_log_wait(&instance, "keys of tokens read again: 1");
        ck_assert_int_eq(instance_stop(&instance), 0);
        ck_assert_ptr_nonnull(strstr(instance.text, "draining"));
    }
}
END_TEST


/* A reader that does not read holds the drain, until the core of the client
 * looks at its connections: every five seconds. */

START_TEST(test_second_signal)
{
    char                     *value;
    int64_t                   began;
    rpc_stream_t             *stream;
    ProtobufCMessage         *message;
    rpc_metadata_t            metadata[1] = { { "session-id", "s1" } };
    MyService__EchoRequest    request = MY_SERVICE__ECHO_REQUEST__INIT;
    static const char *const  args[] = {
        "--subscribe-interval", "1ms", "--drain-timeout", "1h", NULL
    };

    instance_start(&instance, args);

    value = malloc(1024 * 1024 + 1);
    memset(value, 'x', 1024 * 1024);
    value[1024 * 1024] = '\0';
    request.value = value;

    stream = rpc_client_stream(instance.client,
                               "/my_service.MyServiceAPI/MyServiceSubscribe",
                               metadata, 1, -1, &request.base,
                               &my_service__echo_response__descriptor);
    ck_assert_ptr_nonnull(stream);

    message = rpc_stream_next(stream);
    ck_assert_ptr_nonnull(message);
    protobuf_c_message_free_unpacked(message, NULL);

    kill(instance.pid, SIGTERM);
    instance_log_wait(&instance, "draining on signal 15");
    ck_assert_int_eq(waitpid(instance.pid, NULL, WNOHANG), 0);

    began = rpc_now();
    kill(instance.pid, _i == 0 ? SIGTERM : SIGINT);
    instance_log_end(&instance);
    lasted_within(began, 1000);

    (void) stream_end(stream);
    ck_assert_int_eq(instance_wait(&instance), 0);
    free(value);
}
END_TEST


START_TEST(test_environment)
{
    answer_t           answer;
    const char *const  none[] = { NULL };

    setenv("POD_NAME", "pod-from-env", 1);
    setenv("MYSERVICE_LISTEN", "unix:/nonexistent/never/used", 1);
    instance_start(&instance, none);

    answer = call_echo(&instance, NULL, "s1");
    assert_answer(answer, 0, "");
    ck_assert_str_eq(((MyService__EchoResponse *) answer.response)->pod_name,
                     "pod-from-env");

    ck_assert_int_eq(instance_stop(&instance), 0);
}
END_TEST


START_TEST(test_config)
{
    FILE               *file;
    answer_t            answer;
    const char *const   args[] = { "--config", "conf", NULL };

    file = fopen("conf", "w");
    ck_assert_ptr_nonnull(file);
    fprintf(file, "MYSERVICE_NAME='pod-from-file'\nMYSERVICE_TTL=5s\n");
    fclose(file);

    instance_spawn(&instance, args);
    ck_assert_int_eq(instance_wait(&instance), 2);
    ck_assert_str_eq(instance.text, "myservice: conf:2: unknown name "
                     "MYSERVICE_TTL, see --help\n");

    ck_assert_int_eq(truncate("conf", 31), 0);
    instance_start(&instance, args);
    answer = call_echo(&instance, NULL, "s1");
    assert_answer(answer, 0, "");
    ck_assert_str_eq(((MyService__EchoResponse *) answer.response)->pod_name,
                     "pod-from-file");
    ck_assert_int_eq(instance_stop(&instance), 0);
    unlink("conf");
}
END_TEST


/* The old names of this release. */

START_TEST(test_old_names)
{
    size_t  i;

    static const struct {
        const char  *args[8];
        const char  *text;
    } cases[] = {
        { { "--jwt-key", "key" },
          "--jwt-key is an old name that will go: use --jwt-secret-file or "
          "MYSERVICE_JWT_SECRET_FILE" },
        { { "--jwt-key", "key", "--jwt-issuer", "i" },
          "--jwt-key is an old name" }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        instance_start(&instance, cases[i].args);
        assert_answer(call_echo(&instance, NULL, "s1"), 16,
                      "missing or invalid token");
        ck_assert_int_eq(instance_stop(&instance), 0);
        ck_assert_msg(strstr(instance.text, cases[i].text) != NULL, "%s",
                      instance.text);
    }

    setenv("MYSERVICE_JWT_KEY_FILE", "/dev/null", 1);
    instance_spawn(&instance, plain_args);
    ck_assert_int_eq(instance_wait(&instance), 1);
    ck_assert_ptr_nonnull(strstr(instance.text, "environment variable "
                                 "MYSERVICE_JWT_KEY_FILE is an old name"));
    ck_assert_ptr_nonnull(strstr(instance.text, "--jwt-keys: key file "
                                 "\"/dev/null\": not a regular file"));
    unsetenv("MYSERVICE_JWT_KEY_FILE");
}
END_TEST


START_TEST(test_unix_socket)
{
    char        path[64], address[80];
    const char *args[] = { "--name", "pod-1", "--listen", NULL, NULL };

    snprintf(path, sizeof(path), "/tmp/test_myservice.%d.sock",
             (int) getpid());
    snprintf(address, sizeof(address), "unix:%s", path);
    args[3] = address;

    instance_start(&instance, args);
    ck_assert_str_eq(instance.address, address);
    assert_served(call_echo(&instance, NULL, "s1"), "s1");
    ck_assert_int_eq(instance_stop(&instance), 0);
    unlink(path);
}
END_TEST


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("myservice start");
    tcase = tcase_create("start");
    tcase_set_timeout(tcase, 60);

    tcase_add_test(tcase, test_bad_start);
    tcase_add_test(tcase, test_metrics);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_everybody);
    tcase_add_test(tcase, test_reload_signals);
    tcase_add_loop_test(tcase, test_second_signal, 0, 2);
    tcase_add_test(tcase, test_environment);
    tcase_add_test(tcase, test_config);
    tcase_add_test(tcase, test_old_names);
    tcase_add_test(tcase, test_unix_socket);

    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
