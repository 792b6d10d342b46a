#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <jansson.h>
#include <sodium.h>

#include "authsvc/audit.h"
#include "authsvc/t/folder.h"
#include "rpc/log.h"


#define DEADLINE  20000                 /* ms */


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
    "ok", "ok", "TestUser", "s-1", "192.0.2.7", "admin", "k1", "j1"
};

static const audit_event_t  bad = {
    .outcome = "refused", .reason = "denied", .user = "", .session = "s-1",
    .address = "2001:db8::1"
};


START_TEST(test_lines)
{
    char    line[AUDIT_LINE];
    size_t  n;

    n = audit_line(AUDIT_TEXT, &good, &when, line);
    ck_assert_mem_eq(line + n - 1, "\n", 1);
    line[n - 1] = '\0';
    ck_assert_str_eq(line, "2023-11-14T22:13:20.123Z login outcome=\"ok\" "
                     "reason=\"ok\" user=\"TestUser\" session=\"s-1\" "
                     "address=\"192.0.2.7\" role=\"admin\" kid=\"k1\" "
                     "jti=\"j1\"");

    n = audit_line(AUDIT_JSON, &good, &when, line);
    line[n - 1] = '\0';
    ck_assert_str_eq(line, "{\"time\":\"2023-11-14T22:13:20.123Z\","
                     "\"event\":\"login\",\"outcome\":\"ok\","
                     "\"reason\":\"ok\",\"user\":\"TestUser\","
                     "\"session\":\"s-1\",\"address\":\"192.0.2.7\","
                     "\"role\":\"admin\",\"kid\":\"k1\",\"jti\":\"j1\"}");

    n = audit_line(AUDIT_TEXT, &bad, &when, line);
    line[n - 1] = '\0';
    ck_assert_str_eq(line, "2023-11-14T22:13:20.123Z login "
                     "outcome=\"refused\" reason=\"denied\" user=\"\" "
                     "session=\"s-1\" address=\"2001:db8::1\"");
}
END_TEST


static const struct {
    const char  *user;
    const char  *text;
    const char  *json;
} escapes[] = {
    { "a b", "a b", "a b" },
    { "a\"b\\", "a\\\"b\\\\", "a\\\"b\\\\" },
    { "a\nb\r\t", "a\\x0ab\\x0d\\x09", "a\\u000ab\\u000d\\u0009" },
    { "\x1b[31m", "\\x1b[31m", "\\u001b[31m" },
    { "\x7f", "\\x7f", "\\u007f" },
    { "J\xc3\xb6rg", "J\\xc3\\xb6rg", "J\\u00f6rg" },
    { "\xe2\x82\xac", "\\xe2\\x82\\xac", "\\u20ac" },
    { "\xf0\x9f\x98\x80", "\\xf0\\x9f\\x98\\x80", "\\ud83d\\ude00" },
    { "\xe2\x80\xae", "\\xe2\\x80\\xae", "\\u202e" },
    { "\xff" "a", "\\xffa", "\\ufffda" },
    { "\xc3", "\\xc3", "\\ufffd" },
    { "\xc3(", "\\xc3(", "\\ufffd(" },
    { "\xf0\x9f\x98", "\\xf0\\x9f\\x98", "\\ufffd\\ufffd\\ufffd" },
    { "ok\" role=\"admin", "ok\\\" role=\\\"admin", "ok\\\" role=\\\"admin" }
};


START_TEST(test_escapes)
{
    char           line[AUDIT_LINE], want[256];
    size_t         n;
    json_t        *json;
    audit_event_t  event = good;

    event.user = escapes[_i].user;

    n = audit_line(AUDIT_TEXT, &event, &when, line);
    line[n] = '\0';
    snprintf(want, sizeof(want), " user=\"%s\" session=", escapes[_i].text);
    ck_assert_ptr_nonnull(strstr(line, want));

    n = audit_line(AUDIT_JSON, &event, &when, line);
    line[n] = '\0';
    snprintf(want, sizeof(want), ",\"user\":\"%s\",\"session\":",
             escapes[_i].json);
    ck_assert_ptr_nonnull(strstr(line, want));

    /* what was sent comes back */
    json = json_loadb(line, n, 0, NULL);
    ck_assert_ptr_nonnull(json);
    ck_assert(strstr(escapes[_i].json, "fffd") != NULL
              || strcmp(json_string_value(json_object_get(json, "user")),
                        escapes[_i].user) == 0);
    ck_assert_uint_eq(json_object_size(json), 10);
    json_decref(json);
}
END_TEST


/* The worst byte of each kind, as long as a request may be. */
START_TEST(test_longest)
{
    char           line[AUDIT_LINE], *huge;
    size_t         n;
    audit_event_t  event = good;

    huge = malloc(65536);
    memset(huge, _i, 65535);
    huge[65535] = '\0';
    event.user = huge;
    event.session = huge;
    event.role = huge;
    event.kid = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";
    event.jti = "0123456789abcdef0123456789abcdef";

    n = audit_line(AUDIT_TEXT, &event, &when, line);
    ck_assert_uint_lt(n, AUDIT_LINE);
    ck_assert_ptr_eq(memchr(line, '\n', n), line + n - 1);

    n = audit_line(AUDIT_JSON, &event, &when, line);
    ck_assert_uint_lt(n, AUDIT_LINE);
    ck_assert_ptr_eq(memchr(line, '\n', n), line + n - 1);
    ck_assert_ptr_nonnull(memmem(line, n, "...\",\"session\"", 14));
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
start(const char *path, const char *format)
{
    audit_t          *audit;
    audit_options_t   options = { path, format };

    ck_assert_int_eq(audit_usage(&options, error, sizeof(error)), 0);
    audit = audit_open(&options, error, sizeof(error));
    ck_assert_msg(audit != NULL, "%s", error);

    return audit;
}


START_TEST(test_file)
{
    audit_t      *audit;
    struct stat   st;

    umask(0);
    audit = start(folder_path("log"), "json");
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
    audit = start(folder_path("log"), "text");
    audit_write(audit, &bad);
    audit_close(audit);
    ck_assert_ptr_nonnull(strstr(content("log"), "\"jti\":\"j1\"}\n2"));
    ck_assert_ptr_nonnull(strstr(content("log"), "outcome=\"refused\""));
}
END_TEST


START_TEST(test_options)
{
    audit_options_t  options = { "/nonexistent/log", "text" };

    ck_assert_ptr_null(audit_open(&options, error, sizeof(error)));
    ck_assert_str_eq(error, "audit log \"/nonexistent/log\": "
                     "No such file or directory");

    options.format = "xml";
    ck_assert_int_eq(audit_usage(&options, error, sizeof(error)), -1);
    ck_assert_str_eq(error, "--audit-format: bad value \"xml\": must be text "
                     "or json");
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
    struct timespec   a, b;

    ck_assert_int_eq(pipe(fds), 0);
    saved = dup(1);
    ck_assert_int_eq(dup2(fds[1], 1), 1);
    audit = start("-", "text");

    clock_gettime(CLOCK_MONOTONIC, &a);
    for (i = 0; i < 10000; i++) {
        audit_write(audit, &good);
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    ck_assert_int_lt(b.tv_sec - a.tv_sec, 10);

    /* and it is said when somebody reads */
    out = fdopen(fds[0], "r");
    written = 0;
    while (fgets(text, sizeof(text), out) != NULL
           && strstr(text, " lost lines=") == NULL)
    {
        ck_assert_ptr_nonnull(strchr(text, '\n'));
        written++;
        audit_write(audit, &bad);
    }

    ck_assert_ptr_nonnull(strstr(text, " lost lines=\""));
    ck_assert_int_ge(atoi(strstr(text, "lines=\"") + 7), 1);
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


/* A full disk is complained about once; the file goes on where it can. */
START_TEST(test_full)
{
    int       fd;
    audit_t  *audit;

    fd = open(folder_path("stderr"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ck_assert_int_eq(dup2(fd, 2), 2);

    ck_assert_int_eq(symlink("/dev/full", folder_path("log")), 0);
    audit = start(folder_path("log"), "json");
    audit_write(audit, &good);
    expect("stderr", "No space left on device; lines are lost");

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
    audit = start(folder_path("log"), "json");

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
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("audit");
    tcase = tcase_create("audit");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_lines);
    tcase_add_loop_test(tcase, test_escapes, 0,
                        sizeof(escapes) / sizeof(escapes[0]));
    tcase_add_loop_test(tcase, test_longest, 1, 256);
    tcase_add_test(tcase, test_file);
    tcase_add_test(tcase, test_options);
    tcase_add_test(tcase, test_stuck);
    tcase_add_test(tcase, test_full);
    tcase_add_test(tcase, test_threads);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? 0 : 1;
}
