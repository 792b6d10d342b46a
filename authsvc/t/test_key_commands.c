/*
 * "authsvc key" from outside: the commands, many of them at once, and killed
 * in the middle.
 */

#include <check.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "authsvc/keys/dir.h"
#include "authsvc/t/folder.h"
#include "authsvc/t/key.h"
#include "authsvc/t/process.h"
#include "authsvc/t/suite.h"


START_TEST(test_commands)
{
    char         *a, *b, *c;
    struct stat   st;

    a = key_output("generate", "--activate", NULL, NULL);
    ck_assert_str_eq(key_state(a), "active");
    ck_assert_ptr_nonnull(strstr(key_process.error,
                                 "authsvc: created the directory \""));
    ck_assert_ptr_nonnull(strstr(key_process.error,
                                 "/keys\" with mode 0700\n"));
    b = key_output("generate", "--algorithm", "PS256", NULL);
    ck_assert_str_eq(key_state(b), "ready");
    ck_assert_int_eq(stat(key_directory(), &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0700);

    ck_assert_int_eq(key_run("list", NULL, NULL, NULL), 0);
    ck_assert_ptr_nonnull(strstr(key_process.output,
                                 "\tEdDSA\tactive\tcreated="));
    ck_assert_ptr_nonnull(strstr(key_process.output,
                                 "\tPS256\tready\tcreated="));

    ck_assert_int_eq(key_run("activate", b, NULL, NULL), 0);
    ck_assert_ptr_nonnull(strstr(key_process.error, "warning: the key is "));
    ck_assert_str_eq(key_state(a), "retired");
    ck_assert_str_eq(key_state(b), "active");

    ck_assert_int_eq(key_run("activate", b, NULL, NULL), 1);
    ck_assert_str_eq(key_process.error,
                     "authsvc: the key is active already\n");
    ck_assert_int_eq(key_run("retire", b, "--now", NULL), 1);
    ck_assert_str_eq(key_process.error, "authsvc: the key signs, activate "
                     "another one first\n");
    ck_assert_int_eq(key_run("retire", "nope", NULL, NULL), 1);
    ck_assert_str_eq(key_process.error, "authsvc: there is no such key; "
                     "\"authsvc key list\" shows them\n");
    ck_assert_int_eq(key_run("retire", a, NULL, NULL), 1);
    ck_assert_ptr_nonnull(strstr(key_process.error, "is retired already; with "
                                 "--now"));

    ck_assert_int_eq(key_run("retire", a, "--now", NULL), 0);
    ck_assert_str_eq(key_state(a), "gone");

    c = key_output("generate", "--algorithm", "HS256", NULL);
    ck_assert_ptr_nonnull(strstr(key_process.error,
                                 "a secret is not published"));
    ck_assert_int_eq(key_run("export", NULL, NULL, NULL), 0);
    ck_assert_ptr_nonnull(strstr(key_process.output, b));
    ck_assert_ptr_null(strstr(key_process.output, c));
    ck_assert_int_eq(key_run("export", "--out", folder_path("set"), NULL), 0);
    ck_assert_int_eq(stat(folder_path("set"), &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0644);

    free(a);
    free(b);
    free(c);
}
END_TEST


/* A directory with a wrong name above it is a typing error. */
START_TEST(test_no_parent)
{
    const char *const  argv[] = {
        "key", "generate", "--keys", folder_path("typo/keys"), NULL
    };

    ck_assert_int_eq(process_run(&key_process, argv, ""), 1);
    ck_assert_ptr_nonnull(strstr(key_process.error, "/typo/keys\": cannot be "
                                 "created: the directory that it would be in "
                                 "does not exist\n"));
    ck_assert_int_ne(access(folder_path("typo"), F_OK), 0);
}
END_TEST


START_TEST(test_full)
{
    int            i;
    char          *kid;
    keydir_list_t  list;

    for (i = 0; i < KEYDIR_MAX; i++) {
        kid = key_output("generate", "--algorithm", "ES256", NULL);
        if (i < KEYDIR_MAX - 1) {
            free(kid);
        }
    }

    ck_assert_int_eq(key_run("generate", NULL, NULL, NULL), 1);
    ck_assert_str_eq(key_process.error, "authsvc: there are 32 keys, which is "
                     "the most: retire some\n");
    ck_assert_int_eq(key_run("retire", kid, NULL, NULL), 0);
    ck_assert_int_eq(key_run("generate", NULL, NULL, NULL), 0);
    key_load(&list);
    ck_assert_uint_eq(list.n, KEYDIR_MAX);
    free(kid);
}
END_TEST


/* A life that authsvc has noted counts, else what the command is told. */
START_TEST(test_until)
{
    char           *a, *b;
    char            name[80];
    time_t          now;
    keydir_list_t   list;

    a = key_output("generate", "--activate", NULL, NULL);
    b = key_output("generate", NULL, NULL, NULL);
    now = time(NULL);
    ck_assert_int_eq(key_run("activate", b, "--token-ttl=100s", "--grace=10s"),
                     0);
    key_load(&list);
    ck_assert_int_ge(keydir_find(&list, a)->until, now + 110);
    ck_assert_int_le(keydir_find(&list, a)->until, now + 130);

    /* a is active again, and was never new to gateways */
    snprintf(name, sizeof(name), "keys/%s.ttl", b);
    ck_assert_int_eq(symlink("5000", folder_path(name)), 0);
    ck_assert_int_eq(key_run("activate", a, "--token-ttl=100s", "--grace=10s"),
                     0);
    ck_assert_str_eq(key_process.error, "");
    ck_assert_str_eq(key_state(a), "active");
    key_load(&list);
    ck_assert_int_eq(keydir_find(&list, a)->until, KEYDIR_FOREVER);
    ck_assert_int_ge(keydir_find(&list, b)->until, now + 5010);
    ck_assert_int_le(keydir_find(&list, b)->until, now + 5060);
    free(a);
    free(b);
}
END_TEST


static const struct {
    const char  *words[4];
    int          code;
    const char  *error;
} usages[] = {
    { { NULL }, 2, "key: a command is missing" },
    { { "nope" }, 2, "unknown command \"key nope\"" },
    { { "activate" }, 2, "usage: authsvc key activate KID --keys DIR" },
    { { "list", "x" }, 2, "usage: authsvc key list --keys DIR" },
    { { "list", "--now" }, 2, "usage: authsvc key list --keys DIR" },
    { { "retire", "x", "--activate" }, 2,
      "usage: authsvc key retire KID [--now] --keys DIR" },
    { { "generate", "--out", "x" }, 2,
      "usage: authsvc key generate [--algorithm NAME] [--activate] --keys" },
    { { "generate", "--algorithm", "none" }, 2,
      "--algorithm: \"none\" is none of HS256" },
    { { "list" }, 1, "/keys\": No such file or directory" },
    { { "export" }, 1, "/keys\": No such file or directory" },
    { { "activate", "x" }, 1, "/keys\": No such file or directory" }
};


START_TEST(test_usage)
{
    ck_assert_int_eq(key_run(usages[_i].words[0], usages[_i].words[1],
                             usages[_i].words[2], usages[_i].words[3]),
                     usages[_i].code);
    ck_assert_msg(strstr(key_process.error, usages[_i].error) != NULL, "%s",
                  key_process.error);
    ck_assert_int_ne(access(key_directory(), F_OK), 0);
}
END_TEST


#define MANY  12


static pid_t
spawn(const char *a, const char *b)
{
    pid_t  pid;

    pid = fork();
    if (pid == 0) {
        if (freopen("/dev/null", "w", stdout) != NULL
            && freopen("/dev/null", "w", stderr) != NULL)
        {
            execl(process_program(), "authsvc", "key", "--keys",
                  key_directory(), a, b, NULL);
        }
        _exit(127);
    }

    return pid;
}


START_TEST(test_concurrent)
{
    int            i, status;
    pid_t          pids[MANY];
    keydir_list_t  list;

    for (i = 0; i < MANY; i++) {
        pids[i] = spawn("generate", "--activate");
        ck_assert_int_gt(pids[i], 0);
    }

    for (i = 0; i < MANY; i++) {
        ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
        ck_assert_int_eq(status, 0);
    }

    key_load(&list);
    ck_assert_uint_eq(list.n, MANY);
    ck_assert_ptr_nonnull(keydir_find(&list, NULL));
}
END_TEST


/* Files in the directory, hidden ones too. */
static int
files(void)
{
    int             n;
    DIR            *dir;
    struct dirent  *entry;

    dir = opendir(key_directory());
    ck_assert_ptr_nonnull(dir);

    for (n = -2; (entry = readdir(dir)) != NULL; n++) { /* void */ }

    closedir(dir);

    return n;
}


/* Killed at any moment: what is there stays right, and the next command tidies
 * up.  Signing never stops. */
START_TEST(test_killed)
{
    int              i, n, status, killed;
    char            *first;
    size_t           j;
    pid_t            pid;
    keydir_list_t    list;
    struct timespec  pause;

    first = key_output("generate", "--activate", NULL, NULL);
    killed = 0;

    for (i = 0; i < 150; i++) {
        pid = spawn("generate", "--activate");
        pause.tv_sec = 0;
        pause.tv_nsec = 1000000 + i * 150000;
        nanosleep(&pause, NULL);
        kill(pid, SIGKILL);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        killed += WIFSIGNALED(status);

        key_load(&list);
        ck_assert_ptr_nonnull(keydir_find(&list, NULL));

        /* every key that is there is whole */
        ck_assert_int_eq(key_run("export", NULL, NULL, NULL), 0);

        if (list.n > 20) {
            for (j = 0; j < list.n; j++) {
                if (list.list[j].until != KEYDIR_FOREVER) {
                    ck_assert_int_eq(key_run("retire", list.list[j].key.kid,
                                             "--now", NULL), 0);
                }
            }
        }
    }

    ck_assert_int_gt(killed, 0);
    free(key_output("generate", NULL, NULL, NULL));
    key_load(&list);

    /* the link, the lock, and a note for each that is retired */
    for (n = 2, j = 0; j < list.n; j++) {
        n += list.list[j].until != KEYDIR_FOREVER ? 2 : 1;
    }
    ck_assert_int_eq(files(), n);
    free(first);
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("key_commands");
    tcase = tcase_create("key_commands");
    tcase_set_timeout(tcase, 180);
    tcase_add_checked_fixture(tcase, key_setup, key_teardown);
    tcase_add_test(tcase, test_commands);
    tcase_add_loop_test(tcase, test_usage, 0,
                        sizeof(usages) / sizeof(usages[0]));
    tcase_add_test(tcase, test_no_parent);
    tcase_add_test(tcase, test_full);
    tcase_add_test(tcase, test_until);
    tcase_add_test(tcase, test_concurrent);
    tcase_add_test(tcase, test_killed);
    suite_add_tcase(suite, tcase);

    return suite_run(suite);
}
