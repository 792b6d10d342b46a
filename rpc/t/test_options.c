/* Options from the command line, the environment and a file. */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rpc/log.h"
#include "rpc/options.h"


static const char  *listen_address, *name, *config;
static int64_t      threads, ttl;
static int64_t      mode;
static int          level, create;

static const option_t  table[] = {
    { "config", "T_CONFIG", OPTION_CONFIG, &config, NULL, 0, 0, "a file" },
    { "listen HOST:PORT", "T_LISTEN", OPTION_STRING, &listen_address,
      "127.0.0.1:1", 1, 64, "address to listen on" },
    { "address", "T_ADDRESS", OPTION_RENAMED, NULL, "listen", 0, 0, NULL },
    { "name", NULL, OPTION_STRING, &name, NULL, 0, 0, "any name" },
    { "threads", "T_THREADS", OPTION_NUMBER, &threads, "2", -1, 64,
      "worker threads" },
    { "ttl", "T_TTL", OPTION_TIME, &ttl, "30m", 1000, 86400000,
      "idle time" },
    { "mode", "T_MODE", OPTION_MODE, &mode, "0666", 0001, 0777, "of a file" },
    { "log-level", "T_LEVEL", OPTION_LOG_LEVEL, &level, "info", 0, 0,
      "log level" },
    { "create", "T_CREATE", OPTION_FLAG, &create, NULL, 0, 0, "a flag" },
    { "make", "T_MAKE", OPTION_RENAMED, NULL, "create", 0, 0, NULL },
    { NULL, NULL, OPTION_FLAG, NULL, NULL, 0, 0, NULL }
};

static char  error[256];


/* splits "line" at spaces into argv and parses it; "_" is an empty word */
static int
parse(const char *line)
{
    int          argc;
    char        *word, *save;
    static char  copy[512];
    static char *argv[32];

    snprintf(copy, sizeof(copy), "prog %s", line);
    argc = 0;

    for (word = strtok_r(copy, " ", &save); word != NULL;
         word = strtok_r(NULL, " ", &save))
    {
        argv[argc++] = strcmp(word, "_") == 0 ? word + 1 : word;
    }
    argv[argc] = NULL;

    return options_parse(table, argc, argv, error, sizeof(error));
}


START_TEST(test_defaults)
{
    ck_assert_int_eq(parse(""), 1);
    ck_assert_str_eq(listen_address, "127.0.0.1:1");
    ck_assert_ptr_null(name);
    ck_assert_int_eq(threads, 2);
    ck_assert_int_eq(ttl, 30 * 60 * 1000);
    ck_assert_int_eq(mode, 0666);
    ck_assert_int_eq(level, LOG_LEVEL_INFO);
    ck_assert_int_eq(create, 0);
}
END_TEST


START_TEST(test_values)
{
    ck_assert_int_eq(parse("--listen a:2 --name=x=y --threads -1 --ttl=5s"
                           " --log-level debug --create"), 10);
    ck_assert_str_eq(listen_address, "a:2");
    ck_assert_str_eq(name, "x=y");
    ck_assert_int_eq(threads, -1);
    ck_assert_int_eq(ttl, 5000);
    ck_assert_int_eq(level, LOG_LEVEL_DEBUG);
    ck_assert_int_eq(create, 1);

    ck_assert_int_eq(parse("--name one --name two"), 5);
    ck_assert_str_eq(name, "two");

    ck_assert_int_eq(parse("--name= "), 2);
    ck_assert_str_eq(name, "");
}
END_TEST


START_TEST(test_arguments)
{
    int    n;
    char  *argv[] = {
        (char []) { "prog" }, (char []) { "add" }, (char []) { "--ttl" },
        (char []) { "2s" }, (char []) { "bob" }, (char []) { "--create" },
        (char []) { "-" }, (char []) { "--" }, (char []) { "--name" }, NULL
    };

    n = options_parse(table, 9, argv, error, sizeof(error));
    ck_assert_int_eq(n, 5);
    ck_assert_str_eq(argv[1], "--ttl");
    ck_assert_str_eq(argv[2], "2s");
    ck_assert_str_eq(argv[3], "--create");
    ck_assert_str_eq(argv[4], "--");
    ck_assert_str_eq(argv[5], "add");
    ck_assert_str_eq(argv[6], "bob");
    ck_assert_str_eq(argv[7], "-");
    ck_assert_str_eq(argv[8], "--name");
    ck_assert_int_eq(ttl, 2000);
    ck_assert_ptr_null(name);
}
END_TEST


static const struct {
    const char  *line;
    const char  *error;
} bad[] = {
    { "--nope", "unknown option --nope, see --help" },
    { "-x", "unknown option -x, see --help" },
    { "--", NULL },
    { "--tt 5s", "unknown option --tt, see --help" },
    { "--ttlx 5s", "unknown option --ttlx, see --help" },
    { "--create=on", "--create: takes no value" },
    { "--ttl", "--ttl: needs a value" },
    { "--listen", "--listen: needs a value" },
    { "--make=on", "--make: takes no value" },
    { "--listenx a", "unknown option --listenx, see --help" },
    { "--config /nonexistent/file", "cannot read \"/nonexistent/file\": No "
      "such file or directory" },
    { "--config /tmp", "cannot read \"/tmp\": Is a directory" },
    { "--config /dev/zero", "cannot read \"/dev/zero\": it is not a regular "
      "file" },
    { "--ttl --create", "--ttl: needs a value" },
    { "--ttl 999ms", "--ttl: bad value \"999ms\": must be a time from 1s to "
      "1d, as 500ms, 5s, 30m, 1h, 1d" },
    { "--ttl 1000ms", NULL },
    { "--mode 660", NULL },
    { "--mode 0001", NULL },
    { "--mode 0", "--mode: bad value \"0\": must be permissions from 0001 to "
      "0777" },
    { "--mode 1000", "--mode: bad value \"1000\": must be permissions from "
      "0001 to 0777" },
    { "--mode 0668", "--mode: bad value \"0668\": must be permissions from "
      "0001 to 0777" },
    { "--mode u=rw", "--mode: bad value \"u=rw\": must be permissions from "
      "0001 to 0777" },
    { "--ttl 1d", NULL },
    { "--ttl 25h", "--ttl: bad value \"25h\": must be a time from 1s to "
      "1d, as 500ms, 5s, 30m, 1h, 1d" },
    { "--threads 64", NULL },
    { "--threads 65", "--threads: bad value \"65\": must be a number from -1 "
      "to 64" },
    { "--threads 6x", "--threads: bad value \"6x\": must be a number from -1 "
      "to 64" },
    { "--threads _", "--threads: bad value \"\": must be a number from -1 "
      "to 64" },
    { "--threads 99999999999999999999", "--threads: bad value "
      "\"99999999999999999999\": must be a number from -1 to 64" },
    { "--log-level warn", NULL },
    { "--log-level loud", "--log-level: bad value \"loud\": must be error, "
      "warn, info or debug" },
    { "--listen _", "--listen: bad value \"\": must be 1 to 64 bytes" },
    { "--ttl \x1b[2J", "--ttl: bad value \"?[2J\": must be a time from 1s to "
      "1d, as 500ms, 5s, 30m, 1h, 1d" }
};


START_TEST(test_bad)
{
    int  n;

    n = parse(bad[_i].line);

    if (bad[_i].error == NULL) {
        ck_assert_int_gt(n, 0);
        ck_assert_str_eq(error, "");
        return;
    }

    ck_assert_int_eq(n, -1);
    ck_assert_str_eq(error, bad[_i].error);
}
END_TEST


START_TEST(test_environment)
{
    setenv("T_LISTEN", "env:3", 1);
    setenv("T_TTL", "90", 1);
    setenv("T_LEVEL", "error", 1);
    setenv("T_CREATE", "Yes", 1);

    ck_assert_int_eq(parse("--ttl 5s"), 3);
    ck_assert_str_eq(listen_address, "env:3");
    ck_assert_int_eq(ttl, 5000);
    ck_assert_int_eq(level, LOG_LEVEL_ERROR);
    ck_assert_int_eq(create, 1);

    /* a bare number is seconds; empty is unset */
    setenv("T_LISTEN", "", 1);
    setenv("T_CREATE", "0", 1);
    ck_assert_int_eq(parse(""), 1);
    ck_assert_str_eq(listen_address, "127.0.0.1:1");
    ck_assert_int_eq(ttl, 90000);
    ck_assert_int_eq(create, 0);

    setenv("T_CREATE", "maybe", 1);
    ck_assert_int_eq(parse(""), -1);
    ck_assert_str_eq(error, "environment variable T_CREATE: bad value "
                     "\"maybe\": must be on/off, 1/0, yes/no, true/false");

    /* --help and the command line do not depend on the environment */
    ck_assert_int_eq(parse("--help"), OPTIONS_HELP);
    ck_assert_int_eq(parse("--ttl 5s -h"), OPTIONS_HELP);
    ck_assert_int_eq(parse("help"), OPTIONS_HELP);
    ck_assert_int_eq(parse("add help"), OPTIONS_ERROR);
    ck_assert_int_eq(parse("--name a --version"), OPTIONS_VERSION);
    ck_assert_int_eq(parse("--create"), 2);
    ck_assert_int_eq(create, 1);
}
END_TEST


/* Writes a file for --config. */
static void
put(const char *text)
{
    FILE  *file;

    file = fopen("options.conf", "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}


static void
enter(void)
{
    static char  folder[] = "/tmp/test_options.XXXXXX";

    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chdir(folder), 0);
}


static void
leave(void)
{
    char  folder[64];

    (void) unlink("options.conf");
    ck_assert_ptr_nonnull(getcwd(folder, sizeof(folder)));
    ck_assert_int_eq(rmdir(folder), 0);
}


START_TEST(test_file)
{
    put("# all of them\nT_LISTEN = \"file:4\"\nT_TTL=10s\nT_TTL=20s\n"
        "T_THREADS=\nT_CREATE=on\nT_MODE=0600\n");

    ck_assert_int_eq(parse("--config options.conf"), 3);
    ck_assert_str_eq(config, "options.conf");
    ck_assert_str_eq(listen_address, "file:4");
    ck_assert_int_eq(ttl, 20000);
    ck_assert_int_eq(threads, 2);
    ck_assert_int_eq(create, 1);
    ck_assert_int_eq(mode, 0600);

    /* the command line wins over the environment, that over the file */
    setenv("T_CONFIG", "options.conf", 1);
    setenv("T_TTL", "30s", 1);
    setenv("T_MODE", "0660", 1);
    ck_assert_int_eq(parse("--ttl 40s"), 3);
    ck_assert_str_eq(listen_address, "file:4");
    ck_assert_int_eq(ttl, 40000);
    ck_assert_int_eq(mode, 0660);

    put("T_TTL=soon\n");
    ck_assert_int_eq(parse(""), 1);
}
END_TEST


static const struct {
    const char  *text;
    const char  *error;
} bad_files[] = {
    { "\nT_NOPE=1\n", "options.conf:2: unknown name T_NOPE, see --help" },
    { "T_CONFIG=x\n", "options.conf:1: unknown name T_CONFIG, see --help" },
    { "name=x\n", "options.conf:1: unknown name name, see --help" },
    { "T_MODE=0660\nT_TTL\n", "options.conf:2: expected NAME=value" },
    { "T_MODE=0660\n\nT_TTL=1\nT_MODE=8\n", "options.conf:4: T_MODE: bad "
      "value \"8\": must be permissions from 0001 to 0777" },
    { "T_CREATE=maybe\n", "options.conf:1: T_CREATE: bad value \"maybe\": "
      "must be on/off, 1/0, yes/no, true/false" },
    { "T_LISTEN='a\n", "options.conf:1: the quote is not closed" }
};


START_TEST(test_bad_file)
{
    put(bad_files[_i].text);
    ck_assert_int_eq(parse("--config options.conf"), OPTIONS_ERROR);
    ck_assert_str_eq(error, bad_files[_i].error);
}
END_TEST


/* An old name counts as the new one. */
START_TEST(test_renamed)
{
    ck_assert_int_eq(parse("--address old:1 --make"), 4);
    ck_assert_str_eq(listen_address, "old:1");
    ck_assert_int_eq(create, 1);

    put("T_ADDRESS=old:2\n");
    ck_assert_int_eq(parse("--config options.conf"), 3);
    ck_assert_str_eq(listen_address, "old:2");

    put("T_ADDRESS=old:2\nT_LISTEN=new:2\n");
    ck_assert_int_eq(parse("--config options.conf"), 3);
    ck_assert_str_eq(listen_address, "new:2");

    setenv("T_ADDRESS", "old:3", 1);
    ck_assert_int_eq(parse("--config options.conf"), 3);
    ck_assert_str_eq(listen_address, "old:3");

    setenv("T_LISTEN", "new:3", 1);
    ck_assert_int_eq(parse("--config options.conf"), 3);
    ck_assert_str_eq(listen_address, "new:3");

    ck_assert_int_eq(parse("--address old:4"), 3);
    ck_assert_str_eq(listen_address, "old:4");
}
END_TEST


static const struct {
    const char  *text;
    int64_t      ms;                    /* -1: refused */
} times[] = {
    { "0", 0 }, { "1", 1000 }, { "500ms", 500 }, { "5s", 5000 },
    { "30m", 1800000 }, { "1h", 3600000 }, { "2d", 172800000 },
    { "", -1 }, { "s", -1 }, { "5 s", -1 }, { " 5s", -1 }, { "5s ", -1 },
    { "-5s", -1 }, { "+5s", -1 }, { "1.5s", -1 }, { "5S", -1 }, { "5w", -1 },
    { "9223372036854775807ms", INT64_MAX }, { "9223372036854775808ms", -1 },
    { "9223372036854775807s", -1 },
    { "00000000000000000000000000000000000001", -1 }
};


START_TEST(test_times)
{
    int64_t  ms;

    ms = -1;

    ck_assert_int_eq(option_parse_time(times[_i].text, &ms),
                     times[_i].ms < 0 ? -1 : 0);
    if (times[_i].ms >= 0) {
        ck_assert_int_eq(ms, times[_i].ms);
    }
}
END_TEST


START_TEST(test_help)
{
    char   *text;
    FILE   *out;
    size_t  i, size;

    out = open_memstream(&text, &size);
    ck_assert_ptr_nonnull(out);
    options_help(table, out);
    fclose(out);

    ck_assert_ptr_nonnull(strstr(text, "  --listen HOST:PORT "));
    ck_assert_ptr_nonnull(strstr(text, "  --name TEXT\n"));
    ck_assert_ptr_nonnull(strstr(text, "  --create  "));
    ck_assert_ptr_null(strstr(text, "T_ADDRESS"));

    for (i = 0; table[i].name != NULL; i++) {

        if (table[i].type == OPTION_RENAMED) {
            continue;
        }

        ck_assert_ptr_nonnull(strstr(text, table[i].name));
        ck_assert_ptr_nonnull(strstr(text, table[i].help));

        if (table[i].env != NULL) {
            ck_assert_ptr_nonnull(strstr(text, table[i].env));
        }
        if (table[i].deflt != NULL) {
            ck_assert_ptr_nonnull(strstr(text, table[i].deflt));
        }
    }

    ck_assert_ptr_nonnull(strstr(text, "(1s to 1d; default: 30m)"));
    free(text);
}
END_TEST


START_TEST(test_log)
{
    int      fds[2], saved;
    char     text[4096];
    ssize_t  n;

    ck_assert_int_eq(log_level_parse("debug"), LOG_LEVEL_DEBUG);
    ck_assert_int_eq(log_level_parse("DEBUG"), -1);
    ck_assert_int_eq(log_level_parse(""), -1);

    ck_assert_int_eq(pipe(fds), 0);
    saved = dup(STDERR_FILENO);
    ck_assert_int_ge(dup2(fds[1], STDERR_FILENO), 0);

    log_open("prog", LOG_LEVEL_WARN);
    log_info("hidden");
    log_warn("a\nb\x7f %s", "\xc3\xa4");

    dup2(saved, STDERR_FILENO);
    n = read(fds[0], text, sizeof(text) - 1);
    ck_assert_int_gt(n, 0);
    text[n] = '\0';

    ck_assert_str_eq(text + strlen("2026-11-21T01:09:58.123"),
                     "Z warn prog: a\\x0ab\\x7f \xc3\xa4\n");
}
END_TEST


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("options");
    tcase = tcase_create("options");
    tcase_add_test(tcase, test_defaults);
    tcase_add_test(tcase, test_values);
    tcase_add_test(tcase, test_arguments);
    tcase_add_loop_test(tcase, test_bad, 0, sizeof(bad) / sizeof(bad[0]));
    tcase_add_test(tcase, test_environment);
    tcase_add_checked_fixture(tcase, enter, leave);
    tcase_add_test(tcase, test_file);
    tcase_add_loop_test(tcase, test_bad_file, 0,
                        sizeof(bad_files) / sizeof(bad_files[0]));
    tcase_add_test(tcase, test_renamed);
    tcase_add_loop_test(tcase, test_times, 0,
                        sizeof(times) / sizeof(times[0]));
    tcase_add_test(tcase, test_help);
    tcase_add_test(tcase, test_log);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? 0 : 1;
}
