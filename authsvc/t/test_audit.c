/* The audit log: its lines, a slow disk, a file that is rotated. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <jansson.h>
#include <sodium.h>

#include "authsvc/audit/audit.h"
#include "authsvc/t/folder.h"
#include "authsvc/t/suite.h"
#include "rpc/log.h"


#define DEADLINE  60000                 /* ms */


static char                   error[512];
static const struct timespec  when = { 1700000000, 123456789 };


static void
setup(void)
{
    log_open("test", LOG_LEVEL_DEBUG);
    folder_create();
}


static void
teardown(void)
{
    folder_remove();
}


static const audit_event_t  good = {
    .outcome = "ok", .reason = "ok", .user = "TestUser", .session = "s-1",
    .address = "192.0.2.7", .role = "admin", .kid = "k1", .jti = "j1"
};

static const audit_event_t  bad = {
    .outcome = "refused", .reason = "denied", .user = "", .session = "s-1",
    .address = "2001:db8::1"
};


START_TEST(test_lines)
{
    char    line[AUDIT_LINE];
    size_t  n;

    n = audit_line(&good, &when, line);
    ck_assert_mem_eq(line + n - 1, "\n", 1);
    line[n - 1] = '\0';
    ck_assert_str_eq(line, "{\"time\":\"2023-11-14T22:13:20.123Z\","
                     "\"event\":\"login\",\"outcome\":\"ok\","
                     "\"reason\":\"ok\",\"user\":\"TestUser\","
                     "\"session\":\"s-1\",\"address\":\"192.0.2.7\","
                     "\"role\":\"admin\",\"kid\":\"k1\",\"jti\":\"j1\"}");

    n = audit_line(&bad, &when, line);
    line[n - 1] = '\0';
    ck_assert_str_eq(line, "{\"time\":\"2023-11-14T22:13:20.123Z\","
                     "\"event\":\"login\",\"outcome\":\"refused\","
                     "\"reason\":\"denied\",\"user\":\"\","
                     "\"session\":\"s-1\",\"address\":\"2001:db8::1\"}");
}
END_TEST


static const struct {
    const char  *user;
    const char  *json;
} escapes[] = {
    { "a b", "a b" },
    { "a\"b\\", "a\\\"b\\\\" },
    { "a\nb\r\t", "a\\nb\\r\\t" },
    { "\x1b[31m", "\\u001B[31m" },
    { "\x7f\x7f", "\\u007f\\u007f" },
    { "\xc2\x80\xc2\x9b\xc2\x9f", "\\u0080\\u009B\\u009F" },
    { "J\xc3\xb6rg", "J\\u00F6rg" },
    { "\xe2\x82\xac", "\\u20AC" },
    { "\xf0\x9f\x98\x80", "\\uD83D\\uDE00" },
    { "\xe2\x80\xae", "\\u202E" },
    { "ok\" role=\"admin", "ok\\\" role=\\\"admin" }
};


START_TEST(test_escapes)
{
    char           line[AUDIT_LINE], want[256];
    size_t         n;
    json_t        *json;
    audit_event_t  event = good;

    event.user = escapes[_i].user;

    n = audit_line(&event, &when, line);
    line[n] = '\0';
    snprintf(want, sizeof(want), ",\"user\":\"%s\",\"session\":",
             escapes[_i].json);
    ck_assert_msg(strstr(line, want) != NULL, "%s", line);

    /* a parser makes what the client sent */
    json = json_loadb(line, n, 0, NULL);
    ck_assert_ptr_nonnull(json);
    ck_assert_str_eq(json_string_value(json_object_get(json, "user")),
                     escapes[_i].user);
    ck_assert_uint_eq(json_object_size(json), 10);
    json_decref(json);
}
END_TEST


static const char *const  longest[] = {
    "x", "\"", "\\", "\x01", "\x7f", "\xc3\xb6", "\xe2\x82\xac",
    "\xf0\x9f\x98\x80"
};


/* The worst character of each kind, as long as a request may be. */
START_TEST(test_longest)
{
    char           line[AUDIT_LINE], *huge;
    size_t         i, n, len;
    audit_event_t  event = good;

    len = strlen(longest[_i]);
    huge = calloc(1, 65536 + 1);
    for (i = 0; i + len <= 65536; i += len) {
        memcpy(huge + i, longest[_i], len);
    }

    /* a cut may come at any byte of a character */
    for (i = 0; i < len; i++) {
        event.user = huge;
        event.session = huge;
        event.role = huge;
        event.kid = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";
        event.jti = "0123456789abcdef0123456789abcdef";

        n = audit_line(&event, &when, line);
        ck_assert_uint_gt(n, 0);
        ck_assert_uint_lt(n, AUDIT_LINE);
        ck_assert_ptr_eq(memchr(line, '\n', n), line + n - 1);
        ck_assert_ptr_nonnull(memmem(line, n, "...\",\"session\"", 14));
        ck_assert_ptr_nonnull(memmem(line, n, "...\",\"address\"", 14));
        memmove(huge + 1, huge, 65535);
        huge[0] = 'x';
    }

    free(huge);
}
END_TEST


/* What is in the file; NULL if there is none. */
static const char *
content(const char *name)
{
    FILE         *file;
    size_t        n;
    static char   text[1024 * 1024];

    file = fopen(folder_path(name), "r");
    if (file == NULL) {
        return NULL;
    }

    n = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[n] = '\0';

    return text;
}


static void
expect(const char *name, const char *what)
{
    int          i;
    const char  *text;

    for (i = 0; i < DEADLINE / 10; i++) {
        text = content(name);
        if (text != NULL && strstr(text, what) != NULL) {
            return;
        }
        usleep(10000);
    }

    ck_abort_msg("no \"%s\" in %s: %s", what, name, text);
}


static audit_t *
start(const char *path)
{
    audit_t          *audit;
    audit_options_t   options = { path, NULL };

    audit = audit_open(&options, error, sizeof(error));
    ck_assert_msg(audit != NULL, "%s", error);

    return audit;
}


START_TEST(test_file)
{
    audit_t      *audit;
    struct stat   st;

    umask(0);
    audit = start(folder_path("log"));
    audit_write(audit, &good);
    expect("log", "\"jti\":\"j1\"}\n");
    ck_assert_int_eq(stat(folder_path("log"), &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);

    /* logrotate */
    ck_assert_int_eq(rename(folder_path("log"), folder_path("log.1")), 0);
    audit_reopen(audit);
    expect("log", "");
    audit_write(audit, &bad);
    expect("log", "denied");
    ck_assert_ptr_null(strstr(content("log.1"), "denied"));

    /* the old file stays when there cannot be a new one */
    ck_assert_int_eq(rename(folder_path("log"), folder_path("log.2")), 0);
    ck_assert_int_eq(mkdir(folder_path("log"), 0700), 0);
    audit_reopen(audit);
    audit_write(audit, &good);
    expect("log.2", "\"jti\":\"j1\"}\n");
    audit_close(audit);

    /* appends, and close() loses nothing */
    ck_assert_int_eq(rmdir(folder_path("log")), 0);
    ck_assert_int_eq(rename(folder_path("log.2"), folder_path("log")), 0);
    audit = start(folder_path("log"));
    audit_write(audit, &bad);
    audit_close(audit);
    ck_assert_ptr_nonnull(strstr(content("log"), "\"jti\":\"j1\"}\n{"));
    ck_assert_ptr_nonnull(strstr(content("log"), "\"outcome\":\"refused\""));
}
END_TEST


START_TEST(test_options)
{
    audit_options_t  options = { "/nonexistent/log", NULL };

    ck_assert_ptr_null(audit_open(&options, error, sizeof(error)));
    ck_assert_str_eq(error, "audit log \"/nonexistent/log\": "
                     "No such file or directory");

    ck_assert_int_eq(audit_usage(&options, error, sizeof(error)), 0);
    options.format = "json";
    ck_assert_int_eq(audit_usage(&options, error, sizeof(error)), 0);
    options.format = "text";
    ck_assert_int_eq(audit_usage(&options, error, sizeof(error)), -1);
    ck_assert_str_eq(error, "--audit-format: bad value \"text\": the audit log "
                     "has JSON lines only, remove the option");
    audit_write(NULL, &good);
    audit_reopen(NULL);
    audit_close(NULL);
}
END_TEST


/* A reader that does not read: nobody waits, lines are lost and counted. */
START_TEST(test_stuck)
{
    int               fds[2], i, saved, written;
    char              text[65536];
    FILE             *out;
    audit_t          *audit;

    ck_assert_int_eq(pipe(fds), 0);
    saved = dup(1);
    ck_assert_int_eq(dup2(fds[1], 1), 1);
    audit = start("-");

    for (i = 0; i < 10000; i++) {
        audit_write(audit, &good);
    }

    /* and it is said when somebody reads */
    out = fdopen(fds[0], "r");
    written = 0;
    while (fgets(text, sizeof(text), out) != NULL
           && strstr(text, "\"lost\",\"lines\":") == NULL)
    {
        ck_assert_ptr_nonnull(strchr(text, '\n'));
        written++;
        audit_write(audit, &bad);
    }

    ck_assert_ptr_nonnull(strstr(text, "\"lost\",\"lines\":\""));
    ck_assert_int_ge(atoi(strstr(text, "lines\":\"") + 8), 1);
    ck_assert_int_lt(written, 20000);

    /* the reader goes: no SIGPIPE, no hanging end */
    fclose(out);
    audit_write(audit, &good);
    audit_close(audit);
    ck_assert_int_eq(dup2(saved, 1), 1);
    close(saved);
    close(fds[1]);
}
END_TEST


/* Reads until "text" came, at most so long. */
static void
fifo_expect(int fd, const char *text)
{
    char            seen[65536];
    size_t          len;
    ssize_t         n;
    struct pollfd   pfd = { fd, POLLIN, 0 };

    len = 0;
    seen[0] = '\0';

    while (strstr(seen, text) == NULL) {
        ck_assert_int_eq(poll(&pfd, 1, DEADLINE), 1);
        n = read(fd, seen + len, sizeof(seen) - 1 - len);
        ck_assert_msg(n > 0, "no \"%s\" in: %s", text, seen);
        len += (size_t) n;
        seen[len] = '\0';
    }
}


/* Nobody waits for a reader: there is one at the start; others may follow. */
START_TEST(test_fifo)
{
    int              fd;
    audit_t         *audit;
    audit_options_t  options = { folder_path("fifo"), NULL };

    ck_assert_int_eq(mkfifo(folder_path("fifo"), 0600), 0);
    ck_assert_ptr_null(audit_open(&options, error, sizeof(error)));
    ck_assert_ptr_nonnull(strstr(error, "/fifo\": a FIFO that no program "
                                 "reads"));

    fd = open(folder_path("fifo"), O_RDONLY | O_NONBLOCK);
    audit = start(folder_path("fifo"));
    audit_write(audit, &good);
    fifo_expect(fd, "\"jti\":\"j1\"}\n");

    close(fd);
    audit_write(audit, &good);
    audit_reopen(audit);
    audit_write(audit, &good);

    /* what came meanwhile is lost and counted, or waits for this one */
    fd = open(folder_path("fifo"), O_RDONLY | O_NONBLOCK);
    audit_write(audit, &bad);
    fifo_expect(fd, "\"outcome\":\"refused\"");

    close(fd);
    audit_write(audit, &good);
    audit_close(audit);
}
END_TEST


/* A full disk is complained about once; the file goes on where it can. */
START_TEST(test_full)
{
    int       fd;
    audit_t  *audit;

    fd = open(folder_path("stderr"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ck_assert_int_eq(dup2(fd, 2), 2);

    ck_assert_int_eq(symlink("/dev/full", folder_path("log")), 0);
    audit = start(folder_path("log"));
    audit_write(audit, &good);
    expect("stderr", "cannot write the audit log: No space left");

    ck_assert_int_eq(unlink(folder_path("log")), 0);
    audit_reopen(audit);
    expect("log", "");
    audit_write(audit, &bad);
    expect("log", "denied");
    ck_assert_ptr_nonnull(strstr(content("log"),
                                 "\"event\":\"lost\",\"lines\":\"1\"}\n"));
    expect("stderr", "can be written again");
    audit_close(audit);
}
END_TEST


/* The file may have so many bytes, as if the disk were full then. */
static void
limit(rlim_t size)
{
    struct rlimit  rlimit;

    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &rlimit), 0);
    rlimit.rlim_cur = size;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &rlimit), 0);
}


static void
expect_size(const char *name, off_t size)
{
    int          i;
    struct stat  st;

    for (i = 0; i < DEADLINE / 10; i++) {
        if (stat(folder_path(name), &st) == 0 && st.st_size == size) {
            return;
        }
        usleep(10000);
    }

    ck_abort_msg("%s has not %ld bytes", name, (long) size);
}


/* The thread hangs in its line "opened the audit log again" until there is
 * room in the pipe: what comes meanwhile is one chunk. */
static void
write_chunk(audit_t *audit, int lines)
{
    int   fds[2], saved;
    char  text[4096] = "";

    saved = dup(2);
    ck_assert_int_eq(pipe2(fds, O_NONBLOCK), 0);
    while (write(fds[1], text, sizeof(text)) > 0) { /* void */ }
    ck_assert_int_eq(fcntl(fds[1], F_SETFL, 0), 0);
    ck_assert_int_eq(dup2(fds[1], 2), 2);

    audit_reopen(audit);
    while (lines-- > 0) {
        audit_write(audit, &good);
    }

    ck_assert_int_eq(dup2(saved, 2), 2);
    while (read(fds[0], text, sizeof(text)) > 0) { /* void */ }
}


/* Each line is in the file or counted as lost, once. */
START_TEST(test_count)
{
    int          i;
    char         line[AUDIT_LINE];
    off_t        n, lost, size;
    audit_t     *audit;
    const char  *text;

    n = (off_t) audit_line(&good, &when, line);
    lost = (off_t) strlen("{\"time\":\"2023-11-14T22:13:20.123Z\","
                          "\"event\":\"lost\",\"lines\":\"7\"}\n");
    audit = start(folder_path("log"));

    /* Check has a file, too, which is short */
    for (i = 0; i < 100; i++) {
        audit_write(audit, &good);
    }
    expect_size("log", 100 * n);

    /* three of ten, and a part of one */
    size = 103 * n + 5;
    limit((rlim_t) size);
    write_chunk(audit, 10);
    expect_size("log", size);

    /* the end of that one, how many were lost, a part of the next */
    size += 1 + lost + 5;
    limit((rlim_t) size);
    audit_write(audit, &good);
    expect_size("log", size);

    limit(RLIM_INFINITY);
    audit_write(audit, &bad);
    expect("log", "denied");
    audit_close(audit);

    text = strstr(content("log"), "\"lost\",\"lines\":\"");
    ck_assert_ptr_nonnull(text);
    ck_assert_int_eq(atoi(text + 16), 7);
    text = strstr(text + 1, "\"lost\",\"lines\":\"");
    ck_assert_ptr_nonnull(text);
    ck_assert_int_eq(atoi(text + 16), 1);
    ck_assert_ptr_null(strstr(text + 1, "\"lost\""));
}
END_TEST


/* All of them fit, should the thread be slow. */
#define THREADS  8
#define LINES    150


static void *
thread(void *audit)
{
    int  i;

    for (i = 0; i < LINES; i++) {
        audit_write(audit, (i & 1) != 0 ? &good : &bad);
        if (i % 50 == 0) {
            audit_reopen(audit);
            usleep(1000);
        }
    }

    return NULL;
}


START_TEST(test_threads)
{
    int           i, n;
    audit_t      *audit;
    pthread_t     threads[THREADS];
    const char   *p, *end;

    log_open("test", LOG_LEVEL_ERROR);
    audit = start(folder_path("log"));

    for (i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, thread, audit), 0);
    }
    for (i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }

    audit_close(audit);

    for (n = 0, p = content("log"); *p != '\0'; p = end + 1, n++) {
        end = strchr(p, '\n');
        ck_assert_ptr_nonnull(end);
        ck_assert_mem_eq(p, "{\"time\":\"", 9);
        ck_assert_mem_eq(end - 2, "\"}", 2);
    }

    ck_assert_int_eq(n, THREADS * LINES);
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("audit");
    tcase = tcase_create("audit");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_lines);
    tcase_add_loop_test(tcase, test_escapes, 0,
                        sizeof(escapes) / sizeof(escapes[0]));
    tcase_add_loop_test(tcase, test_longest, 0,
                        sizeof(longest) / sizeof(longest[0]));
    tcase_add_test(tcase, test_file);
    tcase_add_test(tcase, test_options);
    tcase_add_test(tcase, test_stuck);
    tcase_add_test(tcase, test_fifo);
    tcase_add_test(tcase, test_full);
    tcase_add_test(tcase, test_count);
    tcase_add_test(tcase, test_threads);
    suite_add_tcase(suite, tcase);

    return suite_run(suite);
}
