/* The module in the real nginx binary. */

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway.h"
#include "harness.h"
#include "process.h"
#include "token.h"


#define ALLOW_MAX    4
#define WORKERS_MAX  64
#define LISTEN_MAX   8


/* of the test, that is of one process */
static pid_t        gateway_pid;
static int          gateway_ports[LISTEN_MAX];
static size_t       gateway_nports;
static size_t       gateway_nworkers;
static const char  *gateway_worker = "root";
static const char  *gateway_allowed[ALLOW_MAX];
static size_t       gateway_nallowed;
static bool         gateway_killed;


static void gateway_end(void);


static const char *
gateway_binary(bool *dynamic)
{
    const char  *nginx;

    nginx = getenv("NGINX_BINARY");
    *dynamic = nginx == NULL || nginx[0] == '\0';

    return *dynamic ? "/usr/sbin/nginx" : nginx;
}


static void
gateway_globals(FILE *out, const char *log)
{
    bool  dynamic;

    (void) gateway_binary(&dynamic);

    if (dynamic) {
        fprintf(out, "load_module %s/ngx_http_myservice_module.so;\n",
                process_build_dir());
    }

    if (geteuid() == 0) {

        /* the tree may be below a directory that is root's alone */

        fprintf(out, "user %s;\n", gateway_worker);
    }

    /* a new binary, after USR2, gets the options of the sanitizer, too */

    fprintf(out, "daemon off;\nenv ASAN_OPTIONS;\n"
            "pid %s/nginx.pid;\nerror_log %s/%s %s;",
            harness_directory(), harness_directory(), log,
            getenv("NGINX_DEBUG") != NULL ? "debug" : "info");
}


static void
gateway_globals_http(FILE *out)
{
    size_t                    i;
    const char               *more;
    static const char *const  names[] = {
        "client_body", "proxy", "fastcgi", "scgi", "uwsgi"
    };

    fprintf(out, "access_log %s/access.log;", harness_directory());

    more = getenv("NGINX_HTTP");

    if (more != NULL) {
        fprintf(out, "\n    %s", more);
    }

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        fprintf(out, "\n    %s_temp_path %s/%s;", names[i], harness_directory(),
                names[i]);
    }
}


/* A free port for "127.0.0.1:80NN"; returns how much of "p" it took. */
static size_t
gateway_address(FILE *out, const char *conf, const char *p)
{
    int  number;

    if (strncmp(p, "127.0.0.1:", 10) != 0) {
        return 0;
    }

    number = atoi(p + 10);

    if (number < HARNESS_PORT_FIRST || number > HARNESS_PORT_LAST) {
        return 0;
    }

    if (p - conf >= 7 && strncmp(p - 7, "listen ", 7) == 0) {
        ck_assert_uint_lt(gateway_nports, LISTEN_MAX);
        gateway_ports[gateway_nports++] = harness_port(number);
    }

    fprintf(out, "127.0.0.1:%d", harness_port(number));

    return 14;
}


bool
gateway_keeps(void)
{
    return getenv("NGINX_KEEPALIVE") == NULL;
}


/* What $NGINX_KEEPALIVE has in place of "keepalive 16;"; returns how much of "p"
 * it took. */
static size_t
gateway_keepalive(FILE *out, const char *p)
{
    int          n;
    char         end;
    const char  *other;

    other = getenv("NGINX_KEEPALIVE");
    n = 0;

    if (other == NULL
        || sscanf(p, "keepalive %*d%c%n", &end, &n) != 1 || end != ';')
    {
        return 0;
    }

    fputs(other, out);

    return (size_t) n;
}


/* The first configuration of the test: what has to be there before nginx, and
 * what is to be done after it. */
static void
gateway_prepare(void)
{
    static bool  prepared;

    if (!prepared) {
        harness_file("secret", TOKEN_SECRET "\n", sizeof(TOKEN_SECRET));
        harness_at_end(gateway_end);
        prepared = true;
    }
}


/* Writes nginx.conf with free ports and without %%WORDS%%. */
static void
gateway_write(const char *conf, const char *log)
{
    FILE        *out;
    size_t       n;
    const char  *p;

    gateway_prepare();

    out = fopen(harness_path("nginx.conf"), "w");
    ck_assert_ptr_nonnull(out);
    gateway_nports = 0;
    p = strstr(conf, "worker_processes ");
    gateway_nworkers = p != NULL ? (size_t) atoi(p + 17) : 1;

    for (p = conf; *p != '\0'; p += n) {
        if (strncmp(p, "%%GLOBALS%%", 11) == 0) {
            gateway_globals(out, log);
            n = 11;

        } else if (strncmp(p, "%%GLOBALS_HTTP%%", 16) == 0) {
            gateway_globals_http(out);
            n = 16;

        } else if (strncmp(p, "%%DIR%%", 7) == 0) {
            fputs(harness_directory(), out);
            n = 7;

        } else if (strncmp(p, "%%PORT_", 7) == 0) {
            fprintf(out, "%d", harness_port(atoi(p + 7)));
            n = 13;

        } else {
            n = gateway_address(out, conf, p);
            if (n == 0) {
                n = gateway_keepalive(out, p);
            }
            if (n == 0) {
                fputc(*p, out);
                n = 1;
            }
        }
    }

    ck_assert_int_eq(fclose(out), 0);
}


void
gateway_user(const char *name)
{
    gateway_worker = name;
}


static pid_t
gateway_run(const char *log, const char *option, const char *output)
{
    bool         dynamic;
    char         prefix[PATH_MAX + 8], conf[PATH_MAX + 16];
    char         error[PATH_MAX + 64];
    const char  *argv[9];

    snprintf(prefix, sizeof(prefix), "%s/", harness_directory());
    snprintf(conf, sizeof(conf), "%s/nginx.conf", harness_directory());
    snprintf(error, sizeof(error), "%s/%s", harness_directory(), log);

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
    int        status;
    char      *text;
    size_t     i;
    long long  since;

    since = harness_now();

    for (i = 0; i < gateway_nports; i++) {
        while (!process_answers(gateway_ports[i])) {
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
    gateway_write(conf, "error.log");
    gateway_pid = gateway_run("error.log", NULL, "output.log");
    gateway_await_ports();

    /* the first one answers while the master starts the others */
    gateway_await_workers(gateway_nworkers);
}


int
gateway_test(const char *conf, const char **output)
{
    int           status;
    pid_t         pid;
    long long     since;
    static char  *text;

    /* without the output of an earlier one */
    (void) remove(harness_path("test.out"));
    gateway_write(conf, "test.log");
    pid = gateway_run("test.log", "-t", "test.out");

    since = harness_now();

    while (!process_ended(pid, &status)) {
        harness_pause(since, "nginx -t ends");
    }

    process_forget(pid);

    free(text);
    text = harness_read("test.out");
    *output = text;

    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}


/* The processes that nginx starts for a cache are no workers. */
size_t
gateway_workers(pid_t *pids, size_t max)
{
    pid_t   children[WORKERS_MAX];
    size_t  i, n, count;

    n = process_children(gateway_pid, children, WORKERS_MAX);
    count = 0;

    for (i = 0; i < n && count < max; i++) {
        if (process_title_has(children[i], "worker process")) {
            pids[count++] = children[i];
        }
    }

    return count;
}


void
gateway_await_workers(size_t n)
{
    pid_t      pids[WORKERS_MAX];
    long long  since;

    since = harness_now();

    while (gateway_workers(pids, WORKERS_MAX) != n) {
        harness_pause(since, "workers");
    }
}


static bool
gateway_has(const pid_t *pids, size_t n, pid_t pid)
{
    size_t  i;

    for (i = 0; i < n && pids[i] != pid; i++) { /* void */ }

    return i < n;
}


/* Without workers of an earlier configuration, which end by themselves. */
static size_t
gateway_current(pid_t *pids)
{
    size_t  i, n, count;

    n = gateway_workers(pids, WORKERS_MAX);
    count = 0;

    for (i = 0; i < n; i++) {
        if (!process_title_has(pids[i], "shutting down")) {
            pids[count++] = pids[i];
        }
    }

    return count;
}


void
gateway_kill_workers(size_t n)
{
    pid_t      old[WORKERS_MAX], pids[WORKERS_MAX];
    size_t     i, m, dying;
    long long  since;

    since = harness_now();

    while (gateway_current(old) < n) {
        harness_pause(since, "workers to kill");
    }

    gateway_killed = true;

    for (i = 0; i < n; i++) {
        ck_assert_int_eq(kill(old[i], SIGKILL), 0);
    }

    /* a killed worker stays in /proc for a moment */
    for ( ;; ) {
        m = gateway_current(pids);
        dying = 0;

        for (i = 0; i < n; i++) {
            dying += gateway_has(pids, m, old[i]);
        }

        if (dying == 0 && m == gateway_nworkers) {
            break;
        }

        harness_pause(since, "the master starts new workers");
    }
}


void
gateway_reload(const char *conf)
{
    pid_t      old[WORKERS_MAX], pids[WORKERS_MAX];
    size_t     i, n, m, fresh;
    long long  since;

    if (conf != NULL) {
        gateway_write(conf, "error.log");
    }

    n = gateway_workers(old, WORKERS_MAX);
    ck_assert_int_eq(kill(gateway_pid, SIGHUP), 0);
    since = harness_now();

    for ( ;; ) {
        m = gateway_workers(pids, WORKERS_MAX);
        fresh = m;

        for (i = 0; i < n; i++) {
            fresh -= gateway_has(pids, m, old[i]);

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
gateway_reload_refused(const char *conf, const char *text)
{
    long long  since;

    gateway_write(conf, "error.log");
    ck_assert_int_eq(kill(gateway_pid, SIGHUP), 0);
    since = harness_now();

    while (!gateway_logged(text)) {
        harness_pause(since, text);
    }
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

    process_forget(gateway_pid);
    gateway_pid = 0;
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
                  "nginx ended with status 0x%x", status);
}


/* The value of a "name:" line of a file in /proc/PID, "" if it has none. */
static const char *
gateway_proc(pid_t pid, const char *file, const char *name)
{
    FILE         *f;
    char          path[64];
    size_t        len;
    static char   line[256];

    snprintf(path, sizeof(path), "/proc/%d/%s", (int) pid, file);
    f = fopen(path, "r");
    len = strlen(name);

    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, name, len) == 0 && line[len] == ':') {
            fclose(f);
            return line + len + 1;
        }
    }

    if (f != NULL) {
        fclose(f);
    }

    return "";
}


/* The sum of a number in a file of the workers. */
static unsigned long
gateway_sum(const char *file, const char *name)
{
    pid_t          pids[WORKERS_MAX];
    size_t         i, n;
    const char    *value;
    unsigned long  sum;

    sum = 0;
    n = gateway_current(pids);

    for (i = 0; i < n; i++) {
        value = gateway_proc(pids[i], file, name);
        ck_assert_msg(*value != '\0', "no %s in /proc/%d/%s", name,
                      (int) pids[i], file);
        sum += strtoul(value, NULL, 10);
    }

    return sum;
}


unsigned long
gateway_writes(void)
{
    return gateway_sum("io", "syscw");
}


unsigned long
gateway_memory(void)
{
    return gateway_sum("status", "VmRSS") * 1024;
}


void
gateway_freeze(bool freeze)
{
    pid_t      pids[WORKERS_MAX];
    size_t     i, n;
    long long  since;

    since = harness_now();
    n = gateway_current(pids);

    for (i = 0; i < n; i++) {
        ck_assert_int_eq(kill(pids[i], freeze ? SIGSTOP : SIGCONT), 0);

        while (freeze && strchr(gateway_proc(pids[i], "status", "State"), 'T')
                         == NULL)
        {
            harness_pause(since, "worker stops");
        }
    }
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


/* The line has a token or the secret: every token begins with {" in base64url.
 * With the debug log nginx itself logs headers. */
static bool
gateway_secret(const char *line)
{
    return getenv("NGINX_DEBUG") == NULL
           && (strstr(line, "eyJ") != NULL
               || strstr(line, TOKEN_SECRET) != NULL);
}


/* The first line that must not be in a log, NULL if there is none. */
static char *
gateway_complaint(char *text)
{
    char    *line, *save;
    size_t   i;

    for (line = strtok_r(text, "\n", &save);
         line != NULL;
         line = strtok_r(NULL, "\n", &save))
    {
        if (strstr(line, "[alert]") == NULL && strstr(line, "[emerg]") == NULL
            && strstr(line, "Sanitizer") == NULL
            && strstr(line, "runtime error:") == NULL
            && !gateway_secret(line))
        {
            continue;
        }

        /* a sanitizer complains of nginx's own sources */
        if (strncmp(line, "src/", 4) == 0) {
            continue;
        }

        /* the second is logged for a lock that the worker had */
        if (gateway_killed && (strstr(line, " exited on signal 9") != NULL
                               || strstr(line, " was locked by ") != NULL))
        {
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
gateway_check_log(const char *name)
{
    char  *text, *line;

    text = harness_read(name);
    line = gateway_complaint(text);
    ck_assert_msg(line == NULL, "%s: %s", name, line);
    free(text);
}


void
gateway_check_logs(void)
{
    gateway_check_log("error.log");
    gateway_check_log("access.log");
    gateway_check_log("output.log");
}


static void
gateway_end(void)
{
    gateway_stop();
    gateway_check_logs();
}
