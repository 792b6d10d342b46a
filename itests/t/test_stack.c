/*
 * scripts/stack as "make run" starts it: which addresses it listens on, which
 * process has signing keys, what it starts again, and which stack
 * integrationtests finds.
 */

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "itests/t/listening.h"


#define PORTS     6
#define DEADLINE  60                    /* seconds */

/* the folder that is $BUILD for the stack: links to what is built, and its
 * state */
static char  folder[64];
static int   ports[PORTS];

static const char *const  variables[PORTS] = {
    "GATEWAY_PORT", "ADMIN_PORT", "AUTHSVC_PORT", "MYSERVICE_PORT",
    "GATEWAY_TLS_PORT", "DASHBOARD_PORT"
};


static void
link_built(const char *name)
{
    char         from[PATH_MAX], to[PATH_MAX], path[PATH_MAX];
    const char  *build;

    build = getenv("BUILD");
    snprintf(path, sizeof(path), "%s/%s", build != NULL ? build : "build",
             name);
    snprintf(to, sizeof(to), "%s/%s", folder, name);

    ck_assert(realpath(path, from) == NULL || symlink(from, to) == 0);
}


/* A copy: integrationtests finds its stack by the folder that it is in. */
static void
copy_built(const char *name)
{
    char         line[PATH_MAX];
    const char  *build;

    build = getenv("BUILD");
    snprintf(line, sizeof(line), "cp %s/%s %s", build != NULL ? build : "build",
             name, folder);
    ck_assert_int_eq(system(line), 0);
}


/* A socket that has "port", 0: any that is free; -1 when it is taken. */
static int
take_port(int port, int *taken)
{
    int                 fd;
    socklen_t           len;
    struct sockaddr_in  sin;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sin.sin_port = htons((in_port_t) port);
    len = sizeof(sin);

    fd = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(fd, (struct sockaddr *) &sin, len) != 0) {
        close(fd);
        return -1;
    }

    ck_assert_int_eq(getsockname(fd, (struct sockaddr *) &sin, &len), 0);
    *taken = ntohs(sin.sin_port);

    return fd;
}


/* Finds ports that are free at the same time, with the one of instance 2. */
static void
find_ports(void)
{
    int   i, second, fds[PORTS + 1];
    char  text[16];

    do {
        for (i = 0; i < PORTS; i++) {
            fds[i] = take_port(0, &ports[i]);
            ck_assert_int_ne(fds[i], -1);
            snprintf(text, sizeof(text), "%d", ports[i]);
            setenv(variables[i], text, 1);
        }

        fds[PORTS] = take_port(ports[3] + 1, &second);

        for (i = 0; i < PORTS + 1; i++) {
            close(fds[i]);
        }

    } while (fds[PORTS] == -1);
}


/* "scripts/stack COMMAND" with settings before it. */
static int
stack(const char *settings, const char *command)
{
    char  line[PATH_MAX];

    snprintf(line, sizeof(line), "env BUILD=%s INSTANCES=1 %s scripts/stack "
             "%s >&2", folder, settings, command);

    return system(line);
}


/* "COMMAND >FOLDER/NAME &" with INSTANCES=2; its process id. */
static pid_t
background(const char *command, const char *name)
{
    pid_t  pid;
    char   line[PATH_MAX];

    snprintf(line, sizeof(line), "%s/%s", folder, name);
    ck_assert(unlink(line) == 0 || errno == ENOENT);

    snprintf(line, sizeof(line), "exec env BUILD=%s INSTANCES=2 %s >%s/%s "
             "2>&1 </dev/null", folder, command, folder, name);

    pid = fork();

    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", line, NULL);
        _exit(127);
    }

    ck_assert_int_gt(pid, 0);

    return pid;
}


/* Ends what background() has started; its exit code. */
static int
end(pid_t pid)
{
    int  status;

    ck_assert_int_eq(kill(pid, SIGTERM), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));

    return WEXITSTATUS(status);
}


/* "FOLDER/integrationtests ARGUMENTS", a copy that no other tree has. */
static int
itests(const char *settings, const char *arguments)
{
    int   status;
    char  line[PATH_MAX];

    snprintf(line, sizeof(line), "env -u GATEWAY_ADDR -u GATEWAY_PORT %s "
             "%s/integrationtests %s >%s/itests 2>&1", settings, folder,
             arguments, folder);

    status = system(line);
    ck_assert(WIFEXITED(status));

    return WEXITSTATUS(status);
}


/* The program's own fixture: a test that fails cannot stop its stack. */
static void
setup(void)
{
    strcpy(folder, "/tmp/stack-test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    copy_built("integrationtests");
    link_built("authsvc");
    link_built("myservice");
    link_built("ngx_http_myservice_module.so");
    unsetenv("GATEWAY_BIND");
    unsetenv("KEYS");
}


static void
setup_test(void)
{
    (void) stack("", "stop");
    find_ports();
}


static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void) st;
    (void) type;
    (void) ftw;

    return remove(path);
}


static void
teardown(void)
{
    (void) stack("", "stop");
    (void) nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}


/* All of a file below the stack's folder, the zero bytes as blanks. */
static const char *
content(const char *format, ...)
{
    char         path[PATH_MAX], name[256];
    FILE        *file;
    size_t       i, n;
    va_list      args;
    static char  text[65536];

    va_start(args, format);
    vsnprintf(name, sizeof(name), format, args);
    va_end(args);

    if (*name == '/') {
        strcpy(path, name);

    } else {
        snprintf(path, sizeof(path), "%s/run/%s", folder, name);
    }

    file = fopen(path, "re");
    n = file != NULL ? fread(text, 1, sizeof(text) - 1, file) : 0;
    text[n] = '\0';

    for (i = 0; i < n; i++) {
        text[i] = text[i] != '\0' ? text[i] : ' ';
    }

    if (file != NULL) {
        fclose(file);
    }

    return text;
}


static bool
exists(const char *name)
{
    char  path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/run/%s", folder, name);

    return access(path, F_OK) == 0;
}


static bool
has_ipv6(void)
{
    return strstr(content("/proc/net/if_inet6"),
                  "00000000000000000000000000000001") != NULL;
}


/* Whether it has "text" so many times. */
static bool
has(const char *path, const char *text, int times)
{
    const char  *p;

    p = content("%s", path);

    while (times-- > 0) {
        p = strstr(p, text);

        if (p == NULL) {
            return false;
        }

        p++;
    }

    return true;
}


/* Waits until a file of the folder has "text" so many times. */
static void
await_times(const char *name, const char *text, int times)
{
    char    path[PATH_MAX];
    time_t  deadline;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    deadline = time(NULL) + DEADLINE;

    while (!has(path, text, times)) {
        ck_assert_msg(time(NULL) < deadline, "no \"%s\" in %s: %s", text, name,
                      content("%s", path));
        usleep(20000);
    }
}


static void
await(const char *name, const char *text)
{
    await_times(name, text, 1);
}


/* The stack starts again what ended, later when it ends again and again. An
 * instance that was halted stays down. */
START_TEST(test_run)
{
    pid_t  pid;
    char   out[PATH_MAX];

    snprintf(out, sizeof(out), "%s/out", folder);
    pid = background("scripts/stack run", "out");
    await("out", "Ctrl-C stops it");

    ck_assert_int_eq(stack("", "kill 1"), 0);
    await("out", "has ended: killed by signal 9, SIGKILL; it starts again in "
          "2 s\n");
    await("out", "stack: myservice-1 runs again");
    ck_assert_int_eq(stack("", "status"), 0);

    ck_assert_int_eq(stack("", "kill 1"), 0);
    await("out", "it starts again in 4 s\n");

    /* the stack looks at all processes before it starts authsvc again */

    ck_assert_int_eq(stack("", "halt 2"), 0);
    ck_assert_int_eq(kill(atoi(content("authsvc.pid")), SIGKILL), 0);
    await("out", "stack: authsvc runs again");
    ck_assert_ptr_null(strstr(content("%s", out), "stack: myservice-2"));

    ck_assert_int_eq(kill(atoi(content("nginx.pid")), SIGKILL), 0);
    await("out", "stack: nginx runs again");
    await_times("out", "stack: myservice-1 runs again", 2);
    ck_assert_int_eq(itests("", "basic_workflow"), 0);
    await("out", "has ended: exit code 0, as after Shutdown");

    ck_assert_int_eq(end(pid), 0);
    ck_assert(!exists("nginx.pid"));
}
END_TEST


START_TEST(test_run_once)
{
    pid_t  pid;

    pid = background("scripts/stack run --once", "out");
    await("out", "Ctrl-C stops it");

    ck_assert_int_eq(stack("", "kill 1"), 0);
    await("out", "has ended: killed by signal 9, SIGKILL; scripts/stack "
          "restart 1 starts it again\n");
    ck_assert_int_ne(stack("", "status"), 0);
    ck_assert_int_eq(stack("", "restart 1"), 0);
    ck_assert_int_eq(stack("", "status"), 0);

    ck_assert_int_eq(end(pid), 0);
}
END_TEST


START_TEST(test_kill_session)
{
    pid_t  pid;
    char   out[PATH_MAX];

    snprintf(out, sizeof(out), "%s/out", folder);
    ck_assert_int_eq(stack("INSTANCES=2", "start"), 0);

    pid = background("scripts/stack kill s-1", "out");
    await("out", "there is no instance \"s-1\" (1..2), and no session "
          "\"s-1\" has a lease; sessions that have one: none\n");
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);

    pid = background("scripts/play s-1", "play");
    await("play", "s-1 is served by myservice-");

    ck_assert_int_eq(waitpid(background("scripts/stack kill s-1", "out"), NULL,
                             0) > 0, 1);

    if (strstr(content("%s", out), "session s-1 was on myservice-1") != NULL) {
        await("out", "session s-1 goes on with myservice-2\n");
        await("play", "s-1 is served by myservice-2\n");

    } else {
        await("out", "session s-1 was on myservice-2, which is killed\n");
        await("out", "session s-1 goes on with myservice-1\n");
        await("play", "s-1 is served by myservice-1\n");
    }

    ck_assert_int_eq(end(pid), 0);
    await("play", "s-1 is shut down");
}
END_TEST


static void
write_pid(const char *text)
{
    char   path[PATH_MAX];
    FILE  *file;

    snprintf(path, sizeof(path), "%s/run/nginx.pid", folder);
    file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}


/* integrationtests never calls another stack: neither one at a usual port, nor
 * one whose process id belongs to another process now. */
START_TEST(test_find)
{
    int   status;
    char  address[64], saved[64];

    ck_assert_int_eq(itests("", "basic_workflow"), 2);
    await("itests", "no stack runs in");
    await("itests", "make run");

    ck_assert_int_eq(stack("", "start"), 0);
    ck_assert_int_eq(itests("", "basic_workflow"), 0);

    /* what is named explicitly wins */

    ck_assert_int_eq(itests("GATEWAY_PORT=1", "basic_workflow"), 1);
    snprintf(address, sizeof(address), "GATEWAY_ADDR=localhost:%d", ports[1]);
    ck_assert_int_eq(itests(address, "basic_workflow"), 1);
    ck_assert_int_eq(itests("GATEWAY_PORT=1", "--gateway unix:/none "
                            "basic_workflow"), 1);

    snprintf(saved, sizeof(saved), "%s", content("nginx.pid"));
    write_pid("1 2\n");
    status = itests("", "basic_workflow");
    write_pid(saved);
    ck_assert_int_eq(status, 2);
}
END_TEST


START_TEST(test_loopback)
{
    int  i, all;

    ck_assert_int_eq(stack("TLS=1", "start"), 0);

    for (i = 0; i < PORTS; i++) {
        ck_assert_msg(listening(ports[i], &all) == 0, "%s is open to others",
                      variables[i]);
        ck_assert_msg(all > 0, "%s: nobody listens", variables[i]);
    }

    /* "localhost" is ::1 for some clients */
    ck_assert_int_eq(listening(ports[0], &all), 0);
    ck_assert_int_eq(all, has_ipv6() ? 2 : 1);

    ck_assert_int_eq(stack("", "stop"), 0);
}
END_TEST


/* With GATEWAY_BIND the gateway, and only the gateway, is on all addresses. */
START_TEST(test_bind)
{
    int  i, all;

    ck_assert_int_ne(stack("GATEWAY_BIND='127.0.0.1;'", "start"), 0);
    ck_assert_int_eq(stack("GATEWAY_BIND=0.0.0.0", "start"), 0);

    ck_assert_int_eq(listening(ports[0], &all), 1);

    for (i = 1; i < PORTS - 1; i++) {
        ck_assert_msg(listening(ports[i], &all) == 0, "%s is open to others",
                      variables[i]);
    }

    ck_assert_int_eq(stack("", "regateway"), 0);
    ck_assert_int_eq(stack("", "stop"), 0);
}
END_TEST


/* Instances and the gateway can verify tokens, but not sign any. */
START_TEST(test_keys)
{
    int          pid;
    const char  *set;

    ck_assert_int_eq(stack("", "start"), 0);

    ck_assert(!exists("jwt.secret"));
    ck_assert_int_eq(sscanf(content("myservice-1.pid"), "%d", &pid), 1);
    ck_assert_ptr_nonnull(strstr(content("/proc/%d/cmdline", pid),
                                 "--jwt-keys"));
    ck_assert_ptr_null(strstr(content("/proc/%d/cmdline", pid),
                              "--jwt-secret-file"));
    ck_assert_ptr_null(strstr(content("nginx.conf"), "jwt.secret;"));
    ck_assert_ptr_nonnull(strstr(content("nginx.conf"), "/jwks.json;"));

    set = content("jwks.json");
    ck_assert_ptr_nonnull(strstr(set, "\"x\""));
    ck_assert_ptr_null(strstr(set, "\"d\""));
    ck_assert_ptr_null(strstr(set, "\"oct\""));

    ck_assert_int_eq(stack("", "stop"), 0);
}
END_TEST


START_TEST(test_secret)
{
    int  pid;

    ck_assert_int_eq(stack("KEYS=off", "start"), 0);

    ck_assert(exists("jwt.secret"));
    ck_assert_int_eq(sscanf(content("myservice-1.pid"), "%d", &pid), 1);
    ck_assert_ptr_nonnull(strstr(content("/proc/%d/cmdline", pid),
                                 "--jwt-secret-file"));
    ck_assert_ptr_nonnull(strstr(content("nginx.conf"), "/jwt.secret;"));

    ck_assert_int_eq(stack("", "stop"), 0);
}
END_TEST


/* nginx.conf for production names no shared secret. */
START_TEST(test_production)
{
    int    n;
    char   line[1024];
    FILE  *file;

    n = 0;
    file = fopen("nginx.conf", "re");
    ck_assert_ptr_nonnull(file);

    while (fgets(line, sizeof(line), file) != NULL) {
        if (line[strspn(line, " ")] != '#') {
            ck_assert_ptr_null(strstr(line, "secret"));
            n += strstr(line, "myservice_jwt_key_file ") != NULL;
        }
    }

    fclose(file);
    ck_assert_int_eq(n, 1);
}
END_TEST


/* The files for containers have none either; checked without an engine. */
START_TEST(test_containers)
{
    size_t       i, j;
    const char  *text;
    char         conf[PATH_MAX], line[2 * PATH_MAX];

    static const char *const  files[] = {
        "docker/compose.yaml", "docker/Dockerfile", NULL
    };
    static const char *const  none[] = {
        "jwt.secret", "KEY_FILE: /etc/myservice/jwt", "AUTHSVC_KEY_FILE",
        "MYSERVICE_JWT_SECRET_FILE:", "10.0.0.0", "172.16.0.0", "192.168.0.0",
        "jwt_secret_file /"
    };

    snprintf(conf, sizeof(conf), "%s/nginx.conf", folder);
    snprintf(line, sizeof(line), "docker/nginx-conf nginx.conf >%s", conf);
    ck_assert_int_eq(system(line), 0);

    for (i = 0; i < 3; i++) {
        ck_assert_ptr_nonnull(realpath(files[i] != NULL ? files[i] : conf,
                                       line));
        text = content("%s", line);
        ck_assert_str_ne(text, "");

        for (j = 0; j < sizeof(none) / sizeof(none[0]); j++) {
            ck_assert_msg(strstr(text, none[j]) == NULL, "%s: has \"%s\"",
                          line, none[j]);
        }
    }

    ck_assert_ptr_nonnull(strstr(text, "myservice_jwt_key_file "
                                 "/etc/myservice/jwks.json;"));
    ck_assert_ptr_nonnull(realpath("docker/compose.yaml", line));
    ck_assert_ptr_nonnull(strstr(content("%s", line),
                                 "AUTHSVC_TRUSTED_PROXY: unix\n"));
    ck_assert_ptr_nonnull(strstr(content("%s", line),
                                 "\"${GATEWAY_BIND:-127.0.0.1}:"));
}
END_TEST


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("stack");
    tcase = tcase_create("stack");
    tcase_set_timeout(tcase, 180);
    tcase_add_unchecked_fixture(tcase, setup, teardown);
    tcase_add_checked_fixture(tcase, setup_test, NULL);
    tcase_add_test(tcase, test_run);
    tcase_add_test(tcase, test_run_once);
    tcase_add_test(tcase, test_kill_session);
    tcase_add_test(tcase, test_find);
    tcase_add_test(tcase, test_loopback);
    tcase_add_test(tcase, test_bind);
    tcase_add_test(tcase, test_keys);
    tcase_add_test(tcase, test_secret);
    tcase_add_test(tcase, test_production);
    tcase_add_test(tcase, test_containers);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
