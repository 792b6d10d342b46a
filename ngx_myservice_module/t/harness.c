/*
 * What every module test has: a directory, free ports, deadlines, and a suite
 * that shows the logs of the tests that fail.
 */

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "process.h"


#define HANDLERS_MAX  4
#define PORT_COUNT    (HARNESS_PORT_LAST - HARNESS_PORT_FIRST + 1)


/* of the program */
static char  harness_root[PATH_MAX];

/* of the test, that is of one process */
static char  harness_dir[PATH_MAX];
static int   harness_ports[PORT_COUNT];
static void (*harness_handlers[HANDLERS_MAX])(void);
static size_t  harness_nhandlers;


static int
harness_remove_entry(const char *path, const struct stat *st, int type,
    struct FTW *ftw)
{
    (void) st;
    (void) type;
    (void) ftw;

    return remove(path);
}


static void
harness_remove(const char *path)
{
    (void) nftw(path, harness_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}


/* mkdir -p */
static void
harness_mkdir(const char *path)
{
    char   buffer[PATH_MAX];
    char  *p;

    snprintf(buffer, sizeof(buffer), "%s", path);

    for (p = buffer + 1; *p != '\0'; p++) {
        if (*p == '/') {
            *p = '\0';
            (void) mkdir(buffer, 0755);
            *p = '/';
        }
    }

    if (mkdir(buffer, 0755) == -1 && errno != EEXIST) {
        perror(buffer);
        exit(1);
    }
}


long long
harness_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}


void
harness_pause(long long since, const char *what)
{
    struct timespec  moment = { 0, 5000000 };

    if (harness_now() - since > HARNESS_DEADLINE) {
        ck_abort_msg("deadline: %s", what);
    }

    nanosleep(&moment, NULL);
}


int
harness_port(int number)
{
    int  i;

    i = number - HARNESS_PORT_FIRST;
    ck_assert_msg(i >= 0 && i < PORT_COUNT, "port %d", number);

    if (harness_ports[i] == 0) {
        harness_ports[i] = process_free_port();
        ck_assert_msg(harness_ports[i] != 0, "no free port");
    }

    return harness_ports[i];
}


const char *
harness_directory(void)
{
    if (harness_dir[0] == '\0') {
        snprintf(harness_dir, sizeof(harness_dir), "%.3000s/%s.XXXXXX",
                 harness_root, tcase_name());
        ck_assert_msg(mkdtemp(harness_dir) != NULL, "%s: %s", harness_dir,
                      strerror(errno));
        ck_assert_int_eq(chmod(harness_dir, 0755), 0);
            }

    return harness_dir;
}


size_t
harness_count(const char *name, const char *text)
{
    char        *content;
    size_t       n;
    const char  *p;

    content = harness_read(name);
    n = 0;

    for (p = content; (p = strstr(p, text)) != NULL; p++) {
        n++;
    }

    free(content);

    return n;
}


bool
harness_contains(const char *name, const char *text)
{
    bool   found;
    char  *content;

    content = harness_read(name);
    found = strstr(content, text) != NULL;

    free(content);

    return found;
}


const char *
harness_path(const char *name)
{
    static char  path[2 * PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", harness_directory(), name);

    return path;
}


const char *
harness_file(const char *name, const void *data, size_t len)
{
    FILE        *f;
    const char  *path;

    path = harness_path(name);

    f = fopen(path, "w");
    ck_assert_msg(f != NULL, "%s: %s", path, strerror(errno));
    ck_assert_uint_eq(fwrite(data, 1, len, f), len);
    ck_assert_int_eq(fclose(f), 0);

    return path;
}


char *
harness_read(const char *name)
{
    FILE    *f;
    char    *text;
    size_t   len, size;

    size = 1 << 22;
    text = malloc(size);
    if (text == NULL) {
        abort();
    }

    len = 0;
    f = fopen(harness_path(name), "r");

    if (f != NULL) {
        len = fread(text, 1, size - 1, f);
        fclose(f);
    }

    text[len] = '\0';

    return text;
}


static void
harness_setup(void)
{
    signal(SIGPIPE, SIG_IGN);
}


void
harness_at_end(void (*handler)(void))
{
    size_t  i;

    for (i = 0; i < harness_nhandlers; i++) {
        if (harness_handlers[i] == handler) {
            return;
        }
    }

    ck_assert_uint_lt(harness_nhandlers, HANDLERS_MAX);
    harness_handlers[harness_nhandlers++] = handler;
}


static void
harness_teardown(void)
{
    size_t  i;

    for (i = 0; i < harness_nhandlers; i++) {
        harness_handlers[i]();
    }

    process_kill_all();
    harness_remove(harness_directory());
}


void
harness_add_test(Suite *suite, const char *name, const TTest *test)
{
    harness_add_tests(suite, name, test, 1);
}


void
harness_add_tests(Suite *suite, const char *name, const TTest *test, int n)
{
    TCase  *tc;

    tc = tcase_create(name);
    tcase_add_checked_fixture(tc, harness_setup, harness_teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test, 0, n);
    suite_add_tcase(suite, tc);
}


/* Directories that are left belong to tests that failed. */
static void
harness_show_failures(void)
{
    DIR            *dir;
    char           *text;
    size_t          len;
    struct dirent  *entry;

    dir = opendir(harness_root);
    if (dir == NULL) {
        return;
    }

    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.') {
            continue;
        }

        snprintf(harness_dir, sizeof(harness_dir), "%.3000s/%s",
                 harness_root, entry->d_name);

        text = harness_read("error.log");
        len = strlen(text);
        printf("--- %s/error.log\n%s\n", harness_dir,
               len > 6000 ? text + len - 6000 : text);
        free(text);
    }

    closedir(dir);
}


int
harness_run_units(Suite *suite)
{
    int       failed;
    SRunner  *runner;

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? 0 : 1;
}


int
harness_run(Suite *suite, const char *program)
{
    int          failed;
    const char  *build, *slash;

    build = process_build_dir();
    slash = strrchr(program, '/');

    snprintf(harness_root, sizeof(harness_root), "%.3000s/t/run/%.200s", build,
             slash != NULL ? slash + 1 : program);
    harness_remove(harness_root);
    harness_mkdir(harness_root);

    failed = harness_run_units(suite);

    if (failed != 0) {
        harness_show_failures();
    }

    return failed;
}
