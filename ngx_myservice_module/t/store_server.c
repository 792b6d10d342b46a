/*
 * A real redis-server in the directory of the test.
 */

#include "store_server.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "process.h"


#define SCRIPT  "ngx_myservice_module/store/store.lua"


static char  server_socket[256];
static bool  any_answer;
static char  preload[4096];             /* "": the machine's clock */


static bool
answers(redisContext *c)
{
    bool         good;
    redisReply  *r;

    r = redisCommand(c, "PING");
    good = r != NULL && (any_answer || r->type == REDIS_REPLY_STATUS);

    if (r != NULL) {
        freeReplyObject(r);
    }

    return good;
}


void
store_server_any_answer(void)
{
    any_answer = true;
}


pid_t
store_server_start(int port, const char *const *more)
{
    int            n, i, status;
    char           number[16];
    pid_t          pid;
    long long      since;
    const char    *argv[48], *log;
    redisContext  *c;

    snprintf(number, sizeof(number), "store-%d", port);
    snprintf(server_socket, sizeof(server_socket), "%s",
             harness_path(number));
    snprintf(number, sizeof(number), "%d", port);

    n = 0;
    argv[n++] = "/usr/bin/redis-server";
    argv[n++] = "--port";
    argv[n++] = number;
    argv[n++] = "--bind";
    argv[n++] = "127.0.0.1";
    argv[n++] = "--unixsocket";
    argv[n++] = server_socket;
    argv[n++] = "--dir";
    argv[n++] = harness_directory();
    argv[n++] = "--save";
    argv[n++] = "";

    for (i = 0; more != NULL && more[i] != NULL; i++) {
        ck_assert_int_lt(n, 47);
        argv[n++] = more[i];
    }

    argv[n] = NULL;

    (void) remove(server_socket);
    log = harness_path("store.log");

    if (preload[0] != '\0') {
        (void) setenv("LD_PRELOAD", preload, 1);
    }

    pid = process_start(argv, log);
    (void) unsetenv("LD_PRELOAD");
    since = harness_now();

    for ( ;; ) {
        c = redisConnectUnix(server_socket);

        if (c != NULL && c->err == 0 && answers(c)) {
            redisFree(c);
            return pid;
        }

        if (c != NULL) {
            redisFree(c);
        }

        ck_assert_msg(!process_ended(pid, &status),
                      "redis-server ended with status %d: is Debian's "
                      "redis-server installed?", status);
        harness_pause(since, "redis-server does not answer");
    }
}


void
store_server_clock(int64_t moved)
{
    int          fd;
    const char  *path;

    path = harness_path("clock");
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    ck_assert_int_ne(fd, -1);
    ck_assert_int_eq(write(fd, &moved, sizeof(moved)), sizeof(moved));
    (void) close(fd);

    snprintf(preload, sizeof(preload), "%s/t/clock.so", process_build_dir());
    ck_assert_int_eq(access(preload, R_OK), 0);
    ck_assert_int_eq(setenv("CLOCK_FILE", path, 1), 0);
}


void
store_server_kill(pid_t pid)
{
    int        status;
    long long  since;

    since = harness_now();
    (void) kill(pid, SIGKILL);

    while (!process_ended(pid, &status)) {
        harness_pause(since, "redis-server does not end");
    }
}


redisContext *
store_server_connect(void)
{
    redisContext  *c;

    c = redisConnectUnix(server_socket);
    ck_assert_ptr_nonnull(c);
    ck_assert_msg(c->err == 0, "%s", c->errstr);

    return c;
}


void
store_server_await(int n)
{
    redisContext  *c;

    c = store_server_connect();
    store_server_await_at(c, n);
    redisFree(c);
}


void
store_server_await_at(redisContext *c, int n)
{
    bool         all;
    long long    since;
    redisReply  *r;

    since = harness_now();

    for ( ;; ) {
        r = store_server_ask(c, (const char *[]) { "HLEN", "{u}:s", NULL });
        all = r->integer == n;
        freeReplyObject(r);

        if (all) {
            return;
        }

        harness_pause(since, "the store has other leases");
    }
}


char *
store_server_script(const char *find, const char *by)
{
    long   size;
    char  *text;
    FILE  *f;

    f = fopen(SCRIPT, "r");
    ck_assert_msg(f != NULL, "no %s: tests run at the root of the tree",
                  SCRIPT);
    ck_assert_int_eq(fseek(f, 0, SEEK_END), 0);
    size = ftell(f);
    rewind(f);
    ck_assert_int_gt(size, 0);

    text = malloc((size_t) size + 1);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_eq(fread(text, 1, (size_t) size, f), (size_t) size);
    text[size] = '\0';
    fclose(f);

    return find == NULL ? text : store_server_replace(text, find, by);
}


char *
store_server_replace(char *text, const char *find, const char *by)
{
    char    *result, *p, *next, *out;
    size_t   n;

    n = 0;

    for (p = text; (p = strstr(p, find)) != NULL; p += strlen(find)) {
        n++;
    }

    ck_assert_msg(n > 0, "the script has no \"%s\"", find);

    result = malloc(strlen(text) + n * strlen(by) + 1);
    ck_assert_ptr_nonnull(result);
    out = result;

    for (p = text; (next = strstr(p, find)) != NULL;
         p = next + strlen(find))
    {
        memcpy(out, p, (size_t) (next - p));
        out += next - p;
        out = stpcpy(out, by);
    }

    strcpy(out, p);
    free(text);

    return result;
}


void
store_server_load(redisContext *c, const char *script, char sha[41])
{
    redisReply  *r;

    r = store_server_ask(c, (const char *[]) { "SCRIPT", "LOAD", script,
                                               NULL });
    ck_assert_uint_eq(r->len, 40);
    memcpy(sha, r->str, 41);
    freeReplyObject(r);
}


redisReply *
store_server_ask(redisContext *c, const char *const *texts)
{
    int          n;
    redisReply  *r;

    for (n = 0; texts[n] != NULL; n++) {
        ck_assert_int_lt(n, STORE_ARGS);
    }

    r = redisCommandArgv(c, n, (const char **) texts, NULL);

    if (r == NULL) {
        ck_abort_msg("no answer to %s: %s", texts[0], c->errstr);
    }

    if (r->type == REDIS_REPLY_ERROR) {
        ck_abort_msg("%s: %s", texts[0], r->str);
    }

    return r;
}


redisReply *
store_server_eval(redisContext *c, const char *sha, const char *const *texts)
{
    int          i, n;
    bool         all;
    const char  *v[STORE_ARGS];

    all = strncmp(texts[0], "revoke", 6) == 0;

    n = 0;
    v[n++] = "EVALSHA";
    v[n++] = sha;
    v[n++] = all ? "6" : "5";
    v[n++] = "{u}:s";
    v[n++] = "{u}:i";
    v[n++] = "{u}:c";
    v[n++] = "{u}:log";
    v[n++] = "{u}:u";

    if (all) {
        v[n++] = "{u}:r";
    }

    for (i = 0; texts[i] != NULL; i++) {
        ck_assert_int_lt(n, STORE_ARGS - 1);
        v[n++] = texts[i];
    }

    v[n] = NULL;

    return store_server_ask(c, v);
}
