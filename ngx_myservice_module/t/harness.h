/*
 * What every module test has: a directory, free ports, deadlines, and a suite
 * that shows the logs of the tests that fail.  Check runs every test in a
 * process group of its own and kills what is left of it.
 */

#ifndef MODULE_T_HARNESS_H
#define MODULE_T_HARNESS_H


#include <stdbool.h>
#include <stddef.h>
#include <check.h>


#define HARNESS_SECRET    "a secret for module tests, long enough"
#define HARNESS_DEADLINE  60000         /* milliseconds */
#define HARNESS_PATIENCE  10

#define HARNESS_PORT_FIRST  8080
#define HARNESS_PORT_LAST   8119


/* Adds a test function as a test case of its own name. */
#define harness_add(suite, test)                                              \
    harness_add_test(suite, #test, test)

void harness_add_test(Suite *suite, const char *name, const TTest *test);

/* The same for a test that runs "n" times, each in a process of its own, with
 * _i from 0 on. */
#define harness_add_loop(suite, test, n)                                      \
    harness_add_tests(suite, #test, test, n)

void harness_add_tests(Suite *suite, const char *name, const TTest *test,
    int n);

/* Runs the suite and shows the logs of tests that fail; returns the exit code
 * for main(). */
int harness_run(Suite *suite, const char *program);

/* The same for tests without a directory. */
int harness_run_units(Suite *suite);

/* Calls the handler when the test ends, before its processes are killed; a
 * handler that is there already is not added again. */
void harness_at_end(void (*handler)(void));

/* Milliseconds of the monotonic clock. */
long long harness_now(void);

/* The two assertions about a duration.  The machine of a test may be busy, and
 * its sanitizers slow; what matters is order and state.  Where a time has to be
 * asserted, "ms" is what a quiet machine takes.
 *
 * harness_lasted(): it took "ms" at least.  A quarter less passes: nginx's timers
 * count from the time when its worker last woke up. */
#define harness_lasted(since, ms)                                             \
    ck_assert_int_ge(harness_now() - (since), (ms) - (ms) / 4)

/* It took HARNESS_PATIENCE times "ms" at most.  What would have taken longer
 * without the thing under test must be well beyond that. */
#define harness_within(since, ms)                                             \
    ck_assert_int_lt(harness_now() - (since), HARNESS_PATIENCE * (ms))

/* Sleeps for 5 ms in a loop that polls; fails the test with "what" when "since"
 * is more than HARNESS_DEADLINE ago. */
void harness_pause(long long since, const char *what);

/* The free port that stands for 127.0.0.1:"number" in configurations, "number"
 * from HARNESS_PORT_FIRST to HARNESS_PORT_LAST. */
int harness_port(int number);

/* The directory of the test, static.  The first call makes it: Check knows the
 * name of a test only once the test runs. */
const char *harness_directory(void);

/* The path of a file there, static. */
const char *harness_path(const char *name);

/* The content of a file there, "" if there is none; the caller frees it.  It
 * may be called outside of tests, so it makes no assertion of Check. */
char *harness_read(const char *name);
bool harness_contains(const char *name, const char *text);
size_t harness_count(const char *name, const char *text);

/* Writes a file there; returns its path, static. */
const char *harness_file(const char *name, const void *data, size_t len);


#endif /* MODULE_T_HARNESS_H */
