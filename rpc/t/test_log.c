/*
 * Lines of the log: as text and as JSON, with ids of sessions plain or hashed.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <jansson.h>

#include "rpc/log.h"


static char  line[32768];


/* What "write" logs, with these options. */
static const char *
logged(const log_options_t *options, void (*write)(void))
{
    int      saved;
    FILE    *file;
    size_t   n;

    file = tmpfile();
    ck_assert_ptr_nonnull(file);
    saved = dup(STDERR_FILENO);
    ck_assert_int_ge(saved, 0);
    ck_assert_int_eq(dup2(fileno(file), STDERR_FILENO), STDERR_FILENO);

    log_start("test", options);
    write();

    ck_assert_int_eq(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    close(saved);
    rewind(file);
    n = fread(line, 1, sizeof(line) - 1, file);
    line[n] = '\0';
    fclose(file);

    return line;
}


static json_t *
object(const log_options_t *options, void (*write)(void))
{
    char        *end;
    json_t      *json;
    const char  *text;

    text = logged(options, write);
    end = strchr(text, '\n');
    ck_assert_msg(end != NULL && end[1] == '\0', "no line: %s", text);
    json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_msg(json_is_object(json), "no object: %s", text);

    return json;
}


static void
has(json_t *json, const char *key, const char *value)
{
    const char  *text;

    text = json_string_value(json_object_get(json, key));

    if (value == NULL) {
        ck_assert_ptr_null(text);

    } else {
        ck_assert_msg(text != NULL && strcmp(text, value) == 0,
                      "%s is %s instead of %s", key, text, value);
    }
}


static void
plain(void)
{
    log_warn("a \"%s\" of %d\n", "b\\", 3);
}


static void
session(void)
{
    log_session("s-1", "stream ended after %d messages", 5);
}


static void
bytes(void)
{
    log_error("\xc3\xa4\x01");
}


static void
broken(void)
{
    log_error("\xc3(\xff");
}


static void
quiet(void)
{
    log_session("s-1", "set");
    log_info("no");
}


static void
longest(void)
{
    static char  text[4000], id[2000];

    memset(text, 1, sizeof(text) - 1);
    memset(id, 2, sizeof(id) - 1);
    log_session(id, "%s", text);
}


START_TEST(test_text)
{
    log_options_t  options = { LOG_LEVEL_INFO, LOG_FORMAT_TEXT, 0 };

    ck_assert_ptr_nonnull(strstr(logged(&options, plain),
                                 "Z warn test: a \"b\\\" of 3\\x0a\n"));
    ck_assert_ptr_nonnull(strstr(logged(&options, session),
                                 "Z info test: session s-1: stream ended "
                                 "after 5 messages\n"));
    options.hash = 1;
    ck_assert_ptr_nonnull(strstr(logged(&options, session),
                                 " session sha256:6a840baf5d8c3ff2: stream"));
    options.level = LOG_LEVEL_WARN;
    ck_assert_str_eq(logged(&options, quiet), "");
}
END_TEST


START_TEST(test_json)
{
    json_t         *json;
    log_options_t   options = { LOG_LEVEL_INFO, LOG_FORMAT_JSON, 0 };

    json = object(&options, plain);
    has(json, "level", "warn");
    has(json, "program", "test");
    has(json, "message", "a \"b\\\" of 3\n");
    has(json, "session", NULL);
    ck_assert_uint_eq(strlen(json_string_value(json_object_get(json,
                                 "time"))),
                      strlen("2026-11-21T01:09:58.123Z"));
    json_decref(json);

    json = object(&options, session);
    has(json, "session", "s-1");
    has(json, "message", "stream ended after 5 messages");
    json_decref(json);

    options.hash = 1;
    json = object(&options, session);
    has(json, "session", "sha256:6a840baf5d8c3ff2");
    json_decref(json);

    json = object(&options, bytes);
    has(json, "message", "\xc3\xa4\x01");
    json_decref(json);

    json = object(&options, broken);
    has(json, "message", "\xef\xbf\xbd(\xef\xbf\xbd");
    json_decref(json);

    options.hash = 0;
    json = object(&options, longest);
    ck_assert_uint_eq(strlen(json_string_value(json_object_get(json,
                                 "session"))), 512);
    json_decref(json);
    log_start("test", &(log_options_t) { LOG_LEVEL_INFO, 0, 0 });
}
END_TEST


START_TEST(test_parse)
{
    ck_assert_int_eq(log_format_parse("json"), LOG_FORMAT_JSON);
    ck_assert_int_eq(log_format_parse("text"), LOG_FORMAT_TEXT);
    ck_assert_int_eq(log_format_parse("JSON"), -1);
    ck_assert_int_eq(log_format_parse(""), -1);
}
END_TEST


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("log");
    tcase = tcase_create("log");
    tcase_add_test(tcase, test_text);
    tcase_add_test(tcase, test_json);
    tcase_add_test(tcase, test_parse);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
