/*
 * The module in the real nginx binary. A test writes a whole configuration
 * inline, with addresses 127.0.0.1:8080 to 127.0.0.1:8119 for which free ports
 * are put, and these words:
 *
 *     %%GLOBALS%%       load_module, pid, error_log, daemon off
 *     %%GLOBALS_HTTP%%  access_log, temporary paths
 *     %%DIR%%           the directory of the test
 *     %%PORT_8081%%     the port that is put for 127.0.0.1:8081, alone
 *
 * The secret of the tokens is in %%DIR%%/secret. Check runs every test in a
 * process group of its own and kills what is left of it. A test fails when the
 * error log has an [alert], an [emerg] or a line of a sanitizer, or a log a
 * token. NGINX_BINARY in the environment names another nginx that has the
 * module compiled in, NGINX_HTTP has directives for all %%GLOBALS_HTTP%%,
 * NGINX_DEBUG turns the debug log on.
 */

#ifndef MODULE_T_HARNESS_H
#define MODULE_T_HARNESS_H


#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <check.h>


#define HARNESS_SECRET    "a secret for module tests, long enough"
#define HARNESS_DEADLINE  15000         /* milliseconds */

#define HARNESS_PORT_FIRST  8080
#define HARNESS_PORT_LAST   8119


/* Adds one test function as a test case of its own name. */
#define harness_add(suite, test)                                              \
    harness_add_test(suite, #test, test)

void harness_add_test(Suite *suite, const char *name, const TTest *test);

/* Runs the suite; the exit code of main().  Shows the logs of failures. */
int harness_run(Suite *suite, const char *program);

/* Milliseconds of the monotonic clock. */
long long harness_now(void);

/* Waits a moment within a poll loop; fails the test with "what" when
 * "since" is more than HARNESS_DEADLINE ago. */
void harness_pause(long long since, const char *what);

/* The port behind 127.0.0.1:"number" in configurations. */
int harness_port(int number);

/* The directory of the test, made when it is first asked for: Check knows the
 * name of a test only once it runs. */
const char *harness_directory(void);

/* The path of a file there, static. */
const char *harness_path(const char *name);

/* The content of a file there, "" if there is none; free() it. Called outside
 * of tests too, where Check's assertions cannot be. */
char *harness_read(const char *name);
bool harness_contains(const char *name, const char *text);

/* Writes a file there; returns its path, static. */
const char *harness_file(const char *name, const void *data, size_t len);


/* nginx */

/* Starts it and waits until it listens and all of its workers are there. */
void gateway_start(const char *conf);

/* Runs nginx -t; returns its exit code and what it said, static. */
int gateway_test(const char *conf, const char **output);

/* Puts another configuration (NULL: the same) and waits until its workers
 * have taken over; calls in flight may still run in the old ones. */
void gateway_reload(const char *conf);

/* The same for one that nginx must not take; waits for "text" in the error
 * log. */
void gateway_reload_refused(const char *conf, const char *text);

/* SIGTERM, and wait. */
void gateway_stop(void);

/* Process ids of the workers; returns how many. */
size_t gateway_workers(pid_t *pids, size_t max);

/* Waits until there are "n": those of an old cycle are gone. */
void gateway_await_workers(size_t n);

/* SIGKILL to "n" of the workers, whichever they are; waits until others have
 * taken their places. The test must allow "exited on signal 9". */
void gateway_kill_workers(size_t n);

/* System calls of the workers that write, so far ("syscw" of proc(5)). */
unsigned long gateway_writes(void);

/* Stops the workers, so that what is sent to them meanwhile comes at once. */
void gateway_freeze(bool freeze);

bool gateway_logged(const char *text);

/* Waits until the access log has the text: lines are written after the end
 * of a call. */
void gateway_await_access(const char *text);

/* Fails the test for lines that must not be in its logs. */
void gateway_check_logs(void);

/* An [alert] or [emerg] line with "text" is expected by this test. */
void gateway_allow(const char *text);


/* build/myservice on 127.0.0.1:harness_port(number), ready to answer.
 * "args" is NULL or more of its command line, separated by spaces. */
pid_t instance_start(int number, const char *name, const char *args);
void instance_signal(pid_t pid, int signo);
bool instance_running(pid_t pid);


/* A token signed by libjwt with HS256 and all claims of authsvc, "exp" at
 * "lifetime" seconds from now. Valid until the test ends. */
const char *token_make(const char *session, long lifetime);

/* Any claims and key; "alg" is libjwt's name. */
const char *token_sign(const char *claims, const char *alg,
    const char *secret);
const char *token_sign_kid(const char *claims, const char *alg,
    const char *secret, const char *kid);

/* A secret as a JWK for HS256, and a JWK Set of one or (NULL) two JWKs. */
/* Keeps a text from malloc() until the test ends. */
const char *token_keep(char *text);

const char *token_jwk(const char *kid, const char *secret);
const char *token_set(const char *one, const char *two);


#endif /* MODULE_T_HARNESS_H */
