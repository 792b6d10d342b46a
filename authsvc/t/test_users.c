/*
 * The program "authsvc user" from outside.
 */

#include <check.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <sodium.h>

#include "authsvc/login/password.h"
#include "authsvc/store/store.h"
#include "authsvc/t/folder.h"
#include "authsvc/t/process.h"
#include "authsvc/t/suite.h"


static process_t  process;


static void
setup(void)
{
    ck_assert_int_ge(sodium_init(), 0);
    folder_create();
}


static void
teardown(void)
{
    folder_remove();
}


/* "authsvc user a b c d --store STORE" */
static int
user(const char *input, const char *a, const char *b, const char *c,
    const char *d)
{
    int          i;
    const char  *argv[] = {
        "user", "--store", folder_path("s.db"), NULL, NULL, NULL, NULL, NULL,
        NULL
    };
    const char  *words[] = { a, b, c, d };

    for (i = 0; i < 4 && words[i] != NULL; i++) {
        argv[3 + i] = words[i];
    }

    return process_run(&process, argv, input);
}


static void
assert_fails(int code, int expected, const char *error)
{
    char  line[512];

    snprintf(line, sizeof(line), "authsvc: %s\n", error);
    ck_assert_str_eq(process.error, line);
    ck_assert_int_eq(code, expected);
    ck_assert_str_eq(process.output, "");
}


static int
good_password(const char *name, const char *password)
{
    char           error[256];
    store_t       *store;
    store_user_t   found;

    store = store_open(folder_path("s.db"), false, error, sizeof(error));
    ck_assert_msg(store != NULL, "%s", error);
    ck_assert_int_eq(store_find(store, name, &found), STORE_OK);
    store_close(store);

    return password_check(found.hash, password) == PASSWORD_RIGHT;
}


/* An empty store for those that need one. */
static void
make_store(void)
{
    char      error[256];
    store_t  *store;

    store = store_open(folder_path("s.db"), true, error, sizeof(error));
    ck_assert_msg(store != NULL, "%s", error);
    store_close(store);
}


/* A path with a mistake in it does not become another store. */
START_TEST(test_create)
{
    size_t  i;

    static const char *const  words[][3] = {
        { "add", "bob", NULL }, { "import", "-", NULL },
        { "passwd", "bob", NULL }, { "role", "bob", "admin" },
        { "del", "bob", NULL }, { "list", NULL, NULL }
    };

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        ck_assert_int_eq(user("secret\n", words[i][0], words[i][1],
                              words[i][2], NULL), 1);
        ck_assert_ptr_nonnull(strstr(process.error, "s.db\": No such file or "
                                     "directory"));
        ck_assert_ptr_nonnull(strstr(process.error, "--create"));
        ck_assert_int_ne(access(folder_path("s.db"), F_OK), 0);
    }

    /* nor does a file that is no store yet, as "touch" makes it */
    folder_write("s.db", "", 0, 0600);
    ck_assert_int_eq(user("secret\n", "add", "bob", NULL, NULL), 1);
    ck_assert_ptr_nonnull(strstr(process.error, "s.db\": has no tables of "
                                 "authsvc"));
    ck_assert_int_eq(remove(folder_path("s.db")), 0);

    ck_assert_int_eq(user("secret\n", "add", "bob", "--create", NULL), 0);
    ck_assert_str_eq(process.error, "");
    ck_assert(good_password("bob", "secret"));
    ck_assert_int_eq(user("secret\n", "add", "eve", "--create", NULL), 0);
    ck_assert_int_eq(user("", "list", NULL, NULL, NULL), 0);
    ck_assert_str_eq(process.output, "bob\tuser\neve\tuser\n");

    ck_assert_int_eq(remove(folder_path("s.db")), 0);
    ck_assert_int_eq(user("username,password\nbob,secret\n", "import", "-",
                          "--create", NULL), 0);
    ck_assert(good_password("bob", "secret"));

    assert_fails(user("", "list", "--create", NULL, NULL), 2,
                 "usage: authsvc user list --store STORE");
}
END_TEST


START_TEST(test_life)
{
    make_store();

    ck_assert_int_eq(user("secret\n", "add", "bob", NULL, NULL), 0);
    ck_assert_str_eq(process.error, "");
    ck_assert(good_password("bob", "secret"));

    /* a line without its end; blanks are part of it; the second line is not */
    ck_assert_int_eq(user(" a b ", "add", "J\xc3\xb6rg", "--role", "admin"),
                     0);
    ck_assert(good_password("J\xc3\xb6rg", " a b "));

    ck_assert_int_eq(user("", "list", NULL, NULL, NULL), 0);
    ck_assert_str_eq(process.output, "J\xc3\xb6rg\tadmin\nbob\tuser\n");

    assert_fails(user("x\n", "add", "bob", NULL, NULL), 1,
                 "user \"bob\" exists already");
    ck_assert(good_password("bob", "secret"));

    ck_assert_int_eq(user("new\nx\n", "passwd", "bob", NULL, NULL), 0);
    ck_assert(good_password("bob", "new"));
    ck_assert(!good_password("bob", "secret"));

    ck_assert_int_eq(user("", "role", "bob", "admin", NULL), 0);
    ck_assert_int_eq(user("", "del", "J\xc3\xb6rg", NULL, NULL), 0);
    ck_assert_int_eq(user("", "list", NULL, NULL, NULL), 0);
    ck_assert_str_eq(process.output, "bob\tadmin\n");

    assert_fails(user("x\n", "passwd", "eve", NULL, NULL), 1,
                 "no user \"eve\"");
    assert_fails(user("", "role", "eve", "admin", NULL), 1,
                 "no user \"eve\"");
    assert_fails(user("", "del", "eve", NULL, NULL), 1, "no user \"eve\"");
}
END_TEST


/* What files are taken is for test_import. */
START_TEST(test_import)
{
    const char *const  text = "username,password,role\nbob,secret,admin\n";

    make_store();
    folder_write("users", text, strlen(text), 0600);

    ck_assert_int_eq(user("", "import", folder_path("users"), NULL, NULL), 0);
    ck_assert_str_eq(process.output, "1 added, 0 updated, 0 skipped\n");
    ck_assert(good_password("bob", "secret"));

    ck_assert_int_eq(user("", "import", folder_path("users"), NULL, NULL), 1);
    ck_assert_ptr_nonnull(strstr(process.error, "line 2: user \"bob\" exists "
                                 "already (--update, --skip)\n"));
    ck_assert_int_eq(user("bob:x\n", "import", "-", NULL, NULL), 1);
    ck_assert_ptr_nonnull(strstr(process.error, "-: line 1: not a hash"));
    ck_assert_int_eq(user(text, "import", "-", "--update", NULL), 0);
    ck_assert_str_eq(process.output, "0 added, 1 updated, 0 skipped\n");
    ck_assert_int_eq(user(text, "import", "-", "--skip", NULL), 0);
    ck_assert_str_eq(process.output, "0 added, 0 updated, 1 skipped\n");

    assert_fails(user("", "import", "-", "--skip", "--update"), 2,
                 "usage: authsvc user import FILE [--role ROLE] [--create] "
                 "[--update | --skip] --store STORE");
    assert_fails(user("", "list", "--skip", NULL, NULL), 2,
                 "usage: authsvc user list --store STORE");
    assert_fails(user("", "import", "/nonexistent", NULL, NULL), 1,
                 "/nonexistent: No such file or directory");
}
END_TEST


START_TEST(test_limits)
{
    char  text[2000];

    make_store();

    memset(text, 'x', sizeof(text));
    text[1025] = '\0';
    assert_fails(user(text, "add", "bob", NULL, NULL), 1,
                 "the password must have 1 to 1024 "
                 "bytes");
    text[1024] = '\0';
    ck_assert_int_eq(user(text, "add", "bob", NULL, NULL), 0);
    ck_assert(good_password("bob", text));

    assert_fails(user("\n", "add", "eve", NULL, NULL), 1,
                 "the password must have 1 to 1024 bytes");
    assert_fails(user("", "add", "eve", NULL, NULL), 1,
                 "cannot read the password: end of file");

    text[129] = '\0';
    assert_fails(user("p\n", "add", text, NULL, NULL), 2, "a user name must "
                 "be 1 to 128 bytes of UTF-8 without control characters");
    assert_fails(user("p\n", "add", "a\nb", NULL, NULL), 2, "a user name must "
                 "be 1 to 128 bytes of UTF-8 without control characters");
    text[128] = '\0';
    ck_assert_int_eq(user("p\n", "add", text, NULL, NULL), 0);

    assert_fails(user("p\n", "role", "bob", "a b", NULL), 2,
                 "a role must be 1 to 64 visible ASCII characters");
    assert_fails(user("p\n", "role", "bob", "", NULL), 2,
                 "a role must be 1 to 64 visible ASCII characters");
}
END_TEST


START_TEST(test_usage)
{
    const char *const  none[] = { "user", NULL };
    const char *const  no_store[] = { "user", "list", NULL };

    assert_fails(process_run(&process, none, ""), 2,
                 "user: a command is missing, see authsvc --help");
    assert_fails(process_run(&process, no_store, ""), 2,
                 "--store (AUTHSVC_STORE) is required");
    assert_fails(user("", "nope", NULL, NULL, NULL), 2,
                 "unknown command \"user nope\", see authsvc --help");
    assert_fails(user("", "add", NULL, NULL, NULL), 2,
                 "usage: authsvc user add NAME [--role ROLE] [--create] "
                 "--store STORE");
    assert_fails(user("", "role", "bob", NULL, NULL), 2,
                 "usage: authsvc user role NAME ROLE --store STORE");
    assert_fails(user("", "list", "bob", NULL, NULL), 2,
                 "usage: authsvc user list --store STORE");
    assert_fails(user("", "del", "bob", "--role", "x"), 2,
                 "usage: authsvc user del NAME --store STORE");
    assert_fails(user("", "del", "bob", "--nope", NULL), 2,
                 "unknown option --nope, see --help");
}
END_TEST


/* Reads from the terminal until "text" came. */
static void
terminal_expect(int fd, char *seen, size_t size, const char *text)
{
    size_t         len;
    ssize_t        n;
    struct pollfd  pfd;

    pfd.fd = fd;
    pfd.events = POLLIN;

    while (strstr(seen, text) == NULL) {
        ck_assert_int_eq(poll(&pfd, 1, 60000), 1);
        len = strlen(seen);
        n = read(fd, seen + len, size - 1 - len);
        ck_assert_int_gt(n, 0);
        seen[len + (size_t) n] = '\0';
    }
}


static pid_t
terminal_start(int *fd)
{
    pid_t        pid;
    const char  *path;

    make_store();
    path = folder_path("s.db");
    pid = forkpty(fd, NULL, NULL, NULL);

    if (pid == 0) {
        execl(process_program(), "authsvc", "user", "add", "bob", "--store",
              path, (char *) NULL);
        _exit(127);
    }

    ck_assert_int_gt(pid, 0);

    return pid;
}


static void
terminal_write(int fd, const char *text)
{
    ck_assert_int_eq(write(fd, text, strlen(text)), strlen(text));
}


START_TEST(test_terminal)
{
    int    fd, status;
    char   seen[1024] = "";
    pid_t  pid;

    pid = terminal_start(&fd);
    terminal_expect(fd, seen, sizeof(seen), "Password: ");
    terminal_write(fd, "hidden\n");
    terminal_expect(fd, seen, sizeof(seen), "Repeat: ");
    terminal_write(fd, "hidden\n");
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_ptr_null(strstr(seen, "hidden"));
    ck_assert(good_password("bob", "hidden"));
    close(fd);
}
END_TEST


START_TEST(test_terminal_differs)
{
    int    fd, status;
    char   seen[1024] = "";
    pid_t  pid;

    pid = terminal_start(&fd);
    terminal_expect(fd, seen, sizeof(seen), "Password: ");
    terminal_write(fd, "one\n");
    terminal_expect(fd, seen, sizeof(seen), "Repeat: ");
    terminal_write(fd, "two\n");
    terminal_expect(fd, seen, sizeof(seen), "the passwords differ");
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(WEXITSTATUS(status), 1);
    close(fd);
}
END_TEST


/* Ctrl-C at the question: the terminal has its echo again. */
START_TEST(test_terminal_interrupted)
{
    int             fd, status;
    char            seen[1024] = "";
    pid_t           pid;
    struct termios  t;

    pid = terminal_start(&fd);
    terminal_expect(fd, seen, sizeof(seen), "Password: ");
    ck_assert_int_eq(tcgetattr(fd, &t), 0);
    ck_assert_int_eq(t.c_lflag & ECHO, 0);

    /* the program may not have begun to read when the first one comes */
    do {
        terminal_write(fd, "\x03");
        usleep(10000);
    } while (waitpid(pid, &status, WNOHANG) == 0);

    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGINT);

    ck_assert_int_eq(tcgetattr(fd, &t), 0);
    ck_assert_int_ne(t.c_lflag & ECHO, 0);
    close(fd);
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("users");
    tcase = tcase_create("users");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_create);
    tcase_add_test(tcase, test_life);
    tcase_add_test(tcase, test_import);
    tcase_add_test(tcase, test_limits);
    tcase_add_test(tcase, test_usage);
    tcase_add_test(tcase, test_terminal);
    tcase_add_test(tcase, test_terminal_differs);
    tcase_add_test(tcase, test_terminal_interrupted);
    suite_add_tcase(suite, tcase);

    return suite_run(suite);
}
