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


#define PORT_COUNT  (HARNESS_PORT_LAST - HARNESS_PORT_FIRST + 1)


/* of the program */
static char  harness_root[PATH_MAX];

/* of the test, that is of one process */
static char  harness_dir[PATH_MAX];
static int   harness_ports[PORT_COUNT];


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
        harness_file("secret", HARNESS_SECRET "\n", sizeof(HARNESS_SECRET));
    }

    return harness_dir;
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


static void
harness_teardown(void)
{
    gateway_stop();
    process_kill_all();
    gateway_check_logs();
    harness_remove(harness_directory());
}


void
harness_add_test(Suite *suite, const char *name, const TTest *test)
{
    TCase  *tc;

    tc = tcase_create(name);
    tcase_add_checked_fixture(tc, harness_setup, harness_teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, test);
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
harness_run(Suite *suite, const char *program)
{
    int          failed;
    SRunner     *runner;
    const char  *build, *slash;

    build = process_build_dir();
    slash = strrchr(program, '/');

    snprintf(harness_root, sizeof(harness_root), "%.3000s/t/run/%.200s", build,
             slash != NULL ? slash + 1 : program);
    harness_remove(harness_root);
    harness_mkdir(harness_root);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    if (failed != 0) {
        harness_show_failures();
    }

    return failed == 0 ? 0 : 1;
}


pid_t
instance_start(int number, const char *name, const char *args)
{
    int          n, status;
    char         binary[PATH_MAX], address[32], log[64], copy[512], *p, *save;
    pid_t        pid;
    long long    since;
    const char  *argv[32];

    snprintf(binary, sizeof(binary), "%.3000s/myservice", process_build_dir());
    snprintf(address, sizeof(address), "127.0.0.1:%d", harness_port(number));
    snprintf(log, sizeof(log), "instance-%d.log", number);
    snprintf(copy, sizeof(copy), "%s", args != NULL ? args : "");

    n = 0;
    argv[n++] = binary;
    argv[n++] = "--listen";
    argv[n++] = address;
    argv[n++] = "--name";
    argv[n++] = name;

    for (p = strtok_r(copy, " ", &save);
         p != NULL && n < 31;
         p = strtok_r(NULL, " ", &save))
    {
        argv[n++] = p;
    }

    argv[n] = NULL;

    pid = process_start(argv, harness_path(log));
    since = harness_now();

    while (!process_answers(harness_port(number))) {
        ck_assert_msg(!process_ended(pid, &status), "%s did not start: %s",
                      binary, harness_read(log));
        harness_pause(since, "myservice listens");
    }

    return pid;
}


void
instance_signal(pid_t pid, int signo)
{
    int        status;
    long long  since;

    ck_assert_int_eq(kill(pid, signo), 0);
    since = harness_now();

    while (!process_ended(pid, &status)) {
        harness_pause(since, "instance ends");
    }
}


bool
instance_running(pid_t pid)
{
    int  status;

    return !process_ended(pid, &status);
}
