/*
 * How the program starts: options that it refuses, its environment, and where
 * it listens.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "instance.h"


static instance_t  instance;


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
        { { "--jwt-key", "/nonexistent/key" }, 1, "/nonexistent/key" },
        { { "--listen", "127.0.0.1:0", "--jwt-key", "/dev/null" }, 1,
          "/dev/null" },
        { { "--jwt-key-file", "/dev/null" }, 1, "/dev/null" },
        { { "--jwt-key", "/dev/null", "--jwt-algorithms", "HS1" }, 2,
          "--jwt-algorithms" },
        { { "--jwt-issuer", "i" }, 2,
          "--jwt-issuer needs --jwt-key or --jwt-key-file" },
        { { "--listen", "nonsense" }, 1, "nonsense" },
        { { "--tls-cert", "/dev/null" }, 2, "--tls-cert needs --tls-key" },
        { { "--tls-client-ca", "/dev/null" }, 2,
          "--tls-client-ca needs --tls-cert" },
        { { "--tls-cert", "/nonexistent/cert", "--tls-key", "/dev/null" }, 1,
          "--tls-cert: cannot read \"/nonexistent/cert\"" },
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
    tcase_add_test(tcase, test_environment);
    tcase_add_test(tcase, test_unix_socket);

    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
