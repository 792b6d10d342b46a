/*
 * Files that are none, for each option of the program that names one: a FIFO
 * does not keep it from starting or from its end, a device is not replaced,
 * and what is wrong is one line that names the file.
 */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "authsvc/core/files.h"
#include "authsvc/t/folder.h"
#include "authsvc/t/process.h"
#include "authsvc/t/server.h"
#include "authsvc/t/suite.h"
#include "jwt/keys.h"


static process_t  program;

typedef enum {
    A_FIFO = 0,
    A_DIRECTORY,
    A_SOCKET,
    A_DEVICE,
    KINDS
} kind_t;


static void
make_socket(const char *path)
{
    int                 fd;
    struct sockaddr_un  sun;

    memset(&sun, 0, sizeof(sun));
    sun.sun_family = AF_UNIX;
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);

    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *) &sun, sizeof(sun)), 0);
    close(fd);
}


/* False where this user must not. */
static int
make(kind_t kind, const char *path)
{
    switch (kind) {

    case A_FIFO:
        ck_assert_int_eq(mkfifo(path, 0600), 0);
        return 1;

    case A_DIRECTORY:
        ck_assert_int_eq(mkdir(path, 0700), 0);
        return 1;

    case A_SOCKET:
        make_socket(path);
        return 1;

    default:
        /* as /dev/null */
        return mknod(path, S_IFCHR | 0600, makedev(1, 3)) == 0;
    }
}


static void
assert_kind(kind_t kind, const char *path)
{
    struct stat  st;

    ck_assert_int_eq(lstat(path, &st), 0);
    ck_assert(kind == A_FIFO ? S_ISFIFO(st.st_mode)
              : kind == A_DIRECTORY ? S_ISDIR(st.st_mode)
              : kind == A_SOCKET ? S_ISSOCK(st.st_mode)
              : S_ISCHR(st.st_mode));
}


/* One line with the file's name and a reason, and it ends by itself. */
static void
assert_refused(const char *const *argv, const char *name, const char *text)
{
    ck_assert_int_eq(process_run(&program, argv, ""), 1);
    ck_assert_msg(strstr(program.error, name) != NULL
                  && strstr(program.error, text) != NULL,
                  "neither \"%s\" nor \"%s\" in: %s", name, text,
                  program.error);
}


static const char *
reason(kind_t kind)
{
    return kind == A_DIRECTORY ? "Is a directory" : "not a regular file";
}


START_TEST(test_key_file)
{
    const char *const  argv[] = {
        "serve", "--listen", "127.0.0.1:0", "--store", folder_path("s.db"),
        "--key-file", folder_path("odd"), "--create-key", NULL
    };

    if (make(_i, folder_path("odd"))) {
        assert_refused(argv, "/odd\"", reason(_i));
        assert_kind(_i, folder_path("odd"));
    }
}
END_TEST


/* The file of a key, and the list of authsvc 0.1. */
START_TEST(test_keys)
{
    int                 i;
    char                kid[128], pem[160];
    const char         *path;
    const char *const   serve[] = {
        "serve", "--listen", "127.0.0.1:0", "--store", folder_path("s.db"),
        "--keys", folder_path("keys"), NULL
    };
    const char *const   generate[] = {
        "key", "generate", "--activate", "--keys", folder_path("keys"), NULL
    };
    const char *const   export[] = {
        "key", "export", "--keys", folder_path("keys"), NULL
    };

    ck_assert_int_eq(process_run(&program, generate, ""), 0);
    snprintf(kid, sizeof(kid), "%.*s", (int) strcspn(program.output, "\n"),
             program.output);
    snprintf(pem, sizeof(pem), "keys/%s.EdDSA.pem", kid);
    ck_assert_int_eq(unlink(folder_path(pem)), 0);

    for (i = 0; i < 2; i++) {
        path = folder_path(i == 0 ? pem : "keys/keys.json");

        if (make(_i, path)) {
            assert_refused(serve, path, reason(_i));
            assert_refused(export, path, reason(_i));
        }
    }
}
END_TEST


/* It would be replaced: /dev/null or /dev/stdout by a file. */
START_TEST(test_published)
{
    const char *const  serve[] = {
        "serve", "--listen", "127.0.0.1:0", "--store", folder_path("s.db"),
        "--keys", folder_path("keys"), "--create-key", "--jwks-file",
        folder_path("odd"), NULL
    };
    const char *const  generate[] = {
        "key", "generate", "--activate", "--keys", folder_path("keys"), NULL
    };
    const char *const  export[] = {
        "key", "export", "--keys", folder_path("keys"), "--out",
        folder_path("odd"), NULL
    };

    if (make(_i, folder_path("odd"))) {
        ck_assert_int_eq(process_run(&program, generate, ""), 0);
        assert_refused(export, "/odd\"", reason(_i));
        assert_refused(serve, "/odd\"", reason(_i));
        assert_kind(_i, folder_path("odd"));
    }
}
END_TEST


START_TEST(test_store)
{
    const char *const  serve[] = {
        "serve", "--listen", "127.0.0.1:0", "--store", folder_path("odd"),
        "--key-file", folder_path("key"), "--create-key", NULL
    };
    const char *const  list[] = {
        "user", "list", "--store", folder_path("odd"), NULL
    };

    const char *const  text = _i == A_DIRECTORY ? "unable to open database"
                                                : reason(_i);

    if (make(_i, folder_path("odd"))) {
        assert_refused(serve, "/odd\"", text);
        assert_refused(list, "/odd\"", text);
        assert_kind(_i, folder_path("odd"));
    }
}
END_TEST


/* A line can go to a FIFO that somebody reads, and to a terminal. */
START_TEST(test_audit)
{
    int                fd;
    const char *const  argv[] = {
        "serve", "--listen", "127.0.0.1:0", "--store", folder_path("s.db"),
        "--key-file", folder_path("key"), "--create-key", "--audit-log",
        folder_path("odd"), NULL
    };

    if (!make(_i, folder_path("odd"))) {
        return;
    }

    if (_i == A_FIFO) {
        assert_refused(argv, "/odd\"", "a FIFO that no program reads");
        fd = open(folder_path("odd"), O_RDONLY | O_NONBLOCK);

    } else if (_i == A_SOCKET) {
        assert_refused(argv, "/odd\"", "a socket");
        return;

    } else if (_i == A_DIRECTORY) {
        assert_refused(argv, "/odd\"", "Is a directory");
        return;

    } else {
        fd = -1;
    }

    process_start(&server_process, argv, "");
    ck_assert_ptr_nonnull(process_expect(&server_process, "listening on "));
    server_stop();
    close(fd);
}
END_TEST


START_TEST(test_units)
{
    char  buf[16], error[256], expected[256];

    if (!make(_i, folder_path("odd"))) {
        return;
    }

    ck_assert_int_eq(ms_keys_read_file(folder_path("odd"), buf, sizeof(buf),
                                       error, sizeof(error)), -1);
    snprintf(expected, sizeof(expected), "key file \"%s\": %s",
             folder_path("odd"), reason(_i));
    ck_assert_str_eq(error, expected);
    ck_assert_int_eq(files_replace(folder_path("odd"), "x", 1, 0600), -1);
    ck_assert_str_eq(files_strerror(errno), reason(_i));
    ck_assert_int_eq(files_create(folder_path("odd"), "x", 1, 0600), -1);
    assert_kind(_i, folder_path("odd"));

    /* beside it nothing is left */
    ck_assert_int_eq(remove(folder_path("odd")), 0);
    ck_assert_int_eq(rmdir(folder_path("")), 0);
    ck_assert_int_eq(mkdir(folder_path(""), 0700), 0);

    ck_assert_int_eq(files_replace(folder_path("odd"), "x", 1, 0600), 0);
    ck_assert_int_eq(ms_keys_read_file(folder_path("odd"), buf, sizeof(buf),
                                       error, sizeof(error)), 1);
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("files");
    tcase = tcase_create("files");
    tcase_set_timeout(tcase, 180);
    tcase_add_checked_fixture(tcase, server_setup, server_teardown);
    tcase_add_loop_test(tcase, test_key_file, 0, KINDS);
    tcase_add_loop_test(tcase, test_keys, 0, KINDS);
    tcase_add_loop_test(tcase, test_published, 0, KINDS);
    tcase_add_loop_test(tcase, test_store, 0, KINDS);
    tcase_add_loop_test(tcase, test_audit, 0, KINDS);
    tcase_add_loop_test(tcase, test_units, 0, KINDS);
    suite_add_tcase(suite, tcase);

    return suite_run(suite);
}
