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


#define PORT_FIRST   8080
#define PORT_COUNT   40
#define ALLOW_MAX    4
#define WORKERS_MAX  64


/* of the program */
static char        harness_root[PATH_MAX];

/* of the test, that is of one process */
static char        harness_dir[PATH_MAX];
static int         harness_ports[PORT_COUNT];
static bool        harness_listens[PORT_COUNT];
static pid_t       gateway_pid;
static const char *gateway_allowed[ALLOW_MAX];
static size_t      gateway_nallowed;


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

    i = number - PORT_FIRST;
    ck_assert_msg(i >= 0 && i < PORT_COUNT, "port %d", number);

    if (harness_ports[i] == 0) {
        harness_ports[i] = process_free_port();
        ck_assert_msg(harness_ports[i] != 0, "no free port");
    }

    return harness_ports[i];
}


/* The directory of the test, made when it is first asked for: Check knows the
 * name of a test only once it runs. */
static const char *
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


static const char *
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


/* The content of a file of the test, "" if there is none.  free() it.
 * Called outside of tests too, where Check's assertions cannot be. */
static char *
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


/* The first line that must not be in a log, NULL if there is none. */
static char *
harness_complaint(char *text)
{
    char    *line, *save;
    size_t   i;

    for (line = strtok_r(text, "\n", &save);
         line != NULL;
         line = strtok_r(NULL, "\n", &save))
    {
        if (strstr(line, "[alert]") == NULL && strstr(line, "[emerg]") == NULL
            && strstr(line, "Sanitizer") == NULL
            && strstr(line, "runtime error:") == NULL)
        {
            continue;
        }

        /* a sanitizer's view of nginx's own sources */
        if (strncmp(line, "src/", 4) == 0) {
            continue;
        }

        for (i = 0; i < gateway_nallowed; i++) {
            if (strstr(line, gateway_allowed[i]) != NULL) {
                break;
            }
        }

        if (i == gateway_nallowed) {
            return line;
        }
    }

    return NULL;
}


static void
harness_check_log(const char *name)
{
    char  *text, *line;

    text = harness_read(name);
    line = harness_complaint(text);
    ck_assert_msg(line == NULL, "%s: %s", name, line);
    free(text);
}


static void
harness_teardown(void)
{
    gateway_stop();
    process_kill_all();
    harness_check_log("error.log");
    harness_check_log("output.log");
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


/* nginx */

static const char *
gateway_binary(bool *dynamic)
{
    const char  *nginx;

    nginx = getenv("NGINX");
    *dynamic = nginx == NULL || nginx[0] == '\0';

    return *dynamic ? "/usr/sbin/nginx" : nginx;
}


static void
gateway_globals(FILE *out)
{
    bool  dynamic;

    (void) gateway_binary(&dynamic);

    if (dynamic) {
        fprintf(out, "load_module %s/ngx_http_myservice_module.so;\n",
                process_build_dir());
    }

    fprintf(out, "daemon off;\npid %s/nginx.pid;\nerror_log %s/error.log %s;",
            harness_directory(), harness_dir,
            getenv("NGINX_DEBUG") != NULL ? "debug" : "info");
}


static void
gateway_globals_http(FILE *out)
{
    size_t                    i;
    static const char *const  names[] = {
        "client_body", "proxy", "fastcgi", "scgi", "uwsgi"
    };

    fprintf(out, "access_log %s/access.log;", harness_directory());

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        fprintf(out, "\n    %s_temp_path %s/%s;", names[i], harness_dir,
                names[i]);
    }
}


/* A free port for "127.0.0.1:80NN"; returns how much of "p" it took. */
static size_t
gateway_address(FILE *out, const char *conf, const char *p)
{
    int   number;
    bool  listens;

    if (strncmp(p, "127.0.0.1:", 10) != 0) {
        return 0;
    }

    number = atoi(p + 10);

    if (number < PORT_FIRST || number >= PORT_FIRST + PORT_COUNT) {
        return 0;
    }

    listens = p - conf >= 7 && strncmp(p - 7, "listen ", 7) == 0;
    harness_listens[number - PORT_FIRST] |= listens;
    fprintf(out, "127.0.0.1:%d", harness_port(number));

    return 14;
}


/* Writes nginx.conf with everything put in. */
static void
gateway_write(const char *conf)
{
    FILE        *out;
    size_t       n;
    const char  *p;

    out = fopen(harness_path("nginx.conf"), "w");
    ck_assert_ptr_nonnull(out);
    memset(harness_listens, 0, sizeof(harness_listens));

    for (p = conf; *p != '\0'; p += n) {
        if (strncmp(p, "%%GLOBALS%%", 11) == 0) {
            gateway_globals(out);
            n = 11;

        } else if (strncmp(p, "%%GLOBALS_HTTP%%", 16) == 0) {
            gateway_globals_http(out);
            n = 16;

        } else if (strncmp(p, "%%DIR%%", 7) == 0) {
            fputs(harness_directory(), out);
            n = 7;

        } else {
            n = gateway_address(out, conf, p);
            if (n == 0) {
                fputc(*p, out);
                n = 1;
            }
        }
    }

    ck_assert_int_eq(fclose(out), 0);
}


static pid_t
gateway_run(const char *log, const char *option, const char *output)
{
    bool         dynamic;
    char         prefix[PATH_MAX + 8], conf[PATH_MAX + 16], error[PATH_MAX + 64];
    const char  *argv[9];

    snprintf(prefix, sizeof(prefix), "%s/", harness_directory());
    snprintf(conf, sizeof(conf), "%s/nginx.conf", harness_dir);
    snprintf(error, sizeof(error), "%s/%s", harness_dir, log);

    argv[0] = gateway_binary(&dynamic);
    argv[1] = "-p";
    argv[2] = prefix;
    argv[3] = "-c";
    argv[4] = conf;
    argv[5] = "-e";
    argv[6] = error;
    argv[7] = option;
    argv[8] = NULL;

    return process_start(argv, harness_path(output));
}


static void
gateway_await_ports(void)
{
    int        i, status;
    char      *text;
    long long  since;

    since = harness_now();

    for (i = 0; i < PORT_COUNT; i++) {
        while (harness_listens[i] && !process_answers(harness_ports[i])) {
            if (process_ended(gateway_pid, &status)) {
                gateway_pid = 0;
                text = harness_read("output.log");
                ck_abort_msg("nginx did not start: %s", text);
            }

            harness_pause(since, "nginx listens");
        }
    }
}


void
gateway_start(const char *conf)
{
    gateway_write(conf);
    gateway_pid = gateway_run("error.log", NULL, "output.log");
    gateway_await_ports();
}


int
gateway_test(const char *conf, const char **output)
{
    int           status;
    pid_t         pid;
    long long     since;
    static char  *text;

    gateway_write(conf);
    pid = gateway_run("test.log", "-t", "test.out");

    since = harness_now();

    while (!process_ended(pid, &status)) {
        harness_pause(since, "nginx -t ends");
    }

    free(text);
    text = harness_read("test.out");
    *output = text;

    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}


size_t
gateway_workers(pid_t *pids, size_t max)
{
    return process_children(gateway_pid, pids, max);
}


void
gateway_reload(const char *conf)
{
    pid_t      old[WORKERS_MAX], pids[WORKERS_MAX];
    size_t     i, j, n, m, fresh;
    long long  since;

    if (conf != NULL) {
        gateway_write(conf);
    }

    n = gateway_workers(old, WORKERS_MAX);
    ck_assert_int_eq(kill(gateway_pid, SIGHUP), 0);
    since = harness_now();

    for ( ;; ) {
        m = gateway_workers(pids, WORKERS_MAX);
        fresh = m;

        for (i = 0; i < n; i++) {
            for (j = 0; j < m; j++) {
                if (pids[j] == old[i]) {
                    fresh--;
                }
            }

            if (!process_title_has(old[i], "shutting down")) {
                fresh = 0;
                break;
            }
        }

        if (fresh > 0) {
            break;
        }

        harness_pause(since, "reload: old workers go");
    }

    gateway_await_ports();
}


void
gateway_stop(void)
{
    int        status;
    long long  since;

    if (gateway_pid == 0) {
        return;
    }

    kill(gateway_pid, SIGTERM);
    since = harness_now();

    while (!process_ended(gateway_pid, &status)) {
        harness_pause(since, "nginx stops");
    }

    gateway_pid = 0;
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
                  "nginx ended with status 0x%x", status);
}


static bool
harness_contains(const char *name, const char *needle)
{
    bool   found;
    char  *text;

    text = harness_read(name);
    found = strstr(text, needle) != NULL;
    free(text);

    return found;
}


bool
gateway_logged(const char *text)
{
    return harness_contains("error.log", text);
}


void
gateway_await_access(const char *text)
{
    long long  since;

    since = harness_now();

    while (!harness_contains("access.log", text)) {
        harness_pause(since, text);
    }
}


void
gateway_allow(const char *text)
{
    ck_assert_uint_lt(gateway_nallowed, ALLOW_MAX);
    gateway_allowed[gateway_nallowed++] = text;
}


/* myservice */

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
