/*
 * Import of users: what files are taken, and that it is all or nothing in both
 * kinds of stores.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sodium.h>

#include "authsvc/login/password.h"
#include "authsvc/t/folder.h"
#include "authsvc/t/postgres.h"
#include "authsvc/t/suite.h"
#include "authsvc/users/import.h"


/* of "secret" */
#define BCRYPT  "$2b$05$aaaaaaaaaaaaaaaaaaaaaOjOHCcGZ1ZydhnG2lX11qSmiRJbsbsA."
#define ARGON   "$argon2id$v=19$m=8192,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA"         \
                "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define KINDS   "not a hash of Argon2id or bcrypt ($argon2id$, $2y$, $2b$, "   \
                "$2a$)"
#define NAMES   "a user name must be 1 to 128 bytes of UTF-8 without control " \
                "characters"


static char      location[256];
static char      error[512];
static store_t  *store;


static void
open_store(void)
{
    ck_assert_int_ge(sodium_init(), 0);
    store = store_open(location, true, error, sizeof(error));
    ck_assert_msg(store != NULL, "%s", error);
}


static void
setup_sqlite(void)
{
    folder_create();
    snprintf(location, sizeof(location), "%s", folder_path("s.db"));
    open_store();
}


static void
setup_postgres(void)
{
    char  name[32];

    folder_create();
    snprintf(name, sizeof(name), "test%d", (int) getpid());
    snprintf(location, sizeof(location), "%s", postgres_database(name));
    open_store();
}


static void
teardown(void)
{
    store_close(store);
    folder_remove();
}


static int
import(const char *text, const char *role, import_policy_t policy,
    import_count_t *count)
{
    folder_write("users", text, strlen(text), 0600);
    error[0] = '\0';

    return import_users(store, folder_path("users"), role, policy, count,
                        error, sizeof(error));
}


static void
append(const char *name, const char *role, void *data)
{
    char  *text = data;

    sprintf(text + strlen(text), "%s=%s;", name, role);
}


static void
assert_users(const char *expected)
{
    char  text[1024] = "";

    ck_assert_int_eq(store_list(store, append, text), STORE_OK);
    ck_assert_str_eq(text, expected);
}


static int
good(const char *name, const char *password)
{
    store_user_t  user;

    ck_assert_int_eq(store_find(store, name, &user), STORE_OK);

    return password_check(user.hash, password) == PASSWORD_RIGHT;
}


START_TEST(test_csv)
{
    import_count_t  count;

    ck_assert_msg(import("\xef\xbb\xbfusername,role,password,hash\r\n"
                         "bob,admin,secret,\r\n"
                         "\r\n"
                         "\"J\xc3\xb6rg, \"\"x\"\"\",,\"a,b\"\"c\",\n"
                         "eve,,," BCRYPT "\n"
                         "ann,,,\"" ARGON "\"", NULL, IMPORT_NEW, &count) == 0,
                  "%s", error);
    ck_assert_uint_eq(count.added, 4);
    assert_users("J\xc3\xb6rg, \"x\"=user;ann=user;bob=admin;eve=user;");
    ck_assert(good("bob", "secret"));
    ck_assert(good("J\xc3\xb6rg, \"x\"", "a,b\"c"));
    ck_assert(good("eve", "secret"));
    ck_assert(!good("eve", "Secret"));
}
END_TEST


START_TEST(test_htpasswd)
{
    import_count_t  count;

    ck_assert_msg(import("# of nginx\n"
                         "\n"
                         "bob:" BCRYPT "\n"
                         "a,b:" ARGON "\n", "guest", IMPORT_NEW, &count) == 0,
                  "%s", error);
    assert_users("a,b=guest;bob=guest;");
    ck_assert(good("bob", "secret"));
}
END_TEST


/* What exists is an error, is changed or stays. */
START_TEST(test_policies)
{
    import_count_t  count;

    const char *const  text = "username,password\nann,1\nbob,2\neve,3\n";

    ck_assert_int_eq(store_add(store, "bob", BCRYPT, "admin"), STORE_OK);

    ck_assert_int_eq(import(text, NULL, IMPORT_NEW, &count), -1);
    ck_assert_ptr_nonnull(strstr(error, "/users: line 3: user \"bob\" exists "
                                 "already"));
    assert_users("bob=admin;");

    ck_assert_int_eq(import(text, NULL, IMPORT_SKIP, &count), 0);
    ck_assert_uint_eq(count.added, 2);
    ck_assert_uint_eq(count.skipped, 1);
    assert_users("ann=user;bob=admin;eve=user;");
    ck_assert(good("bob", "secret"));
    ck_assert(good("eve", "3"));

    ck_assert_int_eq(import("username,password\nbob,4\nnew,5\n", NULL,
                            IMPORT_UPDATE, &count), 0);
    ck_assert_uint_eq(count.added, 1);
    ck_assert_uint_eq(count.updated, 1);
    assert_users("ann=user;bob=admin;eve=user;new=user;");
    ck_assert(good("bob", "4"));

    /* a role is changed if one is given */
    ck_assert_int_eq(import("username,password,role\nbob,6,\nann,7,boss\n",
                            "guest", IMPORT_UPDATE, &count), 0);
    assert_users("ann=boss;bob=guest;eve=user;new=user;");
}
END_TEST


/* The users before the one that fails are not there, either. */
START_TEST(test_all_or_nothing)
{
    int              i;
    char            *text;
    size_t           len;
    import_count_t   count;

    ck_assert_int_eq(store_add(store, "zzz", ARGON, "admin"), STORE_OK);

    text = malloc(1 << 20);
    len = 0;
    for (i = 0; i < 1000; i++) {
        len += (size_t) sprintf(text + len, "user%d:" ARGON "\n", i);
    }

    sprintf(text + len, "zzz:" ARGON "\n");
    ck_assert_int_eq(import(text, NULL, IMPORT_NEW, &count), -1);
    ck_assert_ptr_nonnull(strstr(error, "line 1001: user \"zzz\" exists"));
    assert_users("zzz=admin;");

    sprintf(text + len, "broken\n");
    ck_assert_int_eq(import(text, NULL, IMPORT_NEW, &count), -1);
    assert_users("zzz=admin;");

    text[len] = '\0';
    ck_assert_int_eq(import(text, NULL, IMPORT_NEW, &count), 0);
    ck_assert_uint_eq(count.added, 1000);
    free(text);
}
END_TEST


static const struct {
    const char  *text;
    const char  *error;                 /* NULL: good */
} files[] = {
    { "", NULL },
    { "username,password\n", NULL },
    { "password,username\np,u\n", NULL },
    { "\"username\",\"hash\"\nu,\"" BCRYPT "\"\n", NULL },
    { "u:" BCRYPT, NULL },

    { "bob\n", "line 1: neither user:hash, nor is line 1 a header of CSV with "
      "\"username\"" },
    { "username\nbob\n", "line 1: the header lacks username, or password or "
      "hash" },
    { "username,password,shoes\n", "line 1: the header must have username, "
      "password or hash, and may have role, each once" },
    { "username,password,password\n", "line 1: the header must have username, "
      "password or hash, and may have role, each once" },
    { "username,password\nu\n", "line 2: not as many fields as the header "
      "has" },
    { "username,password\nu,p,x\n", "line 2: not as many fields as the header "
      "has" },
    { "username,password\na,b\nu,\"p\n", "line 3: quotes are only around a "
      "whole field, and doubled within it" },
    { "username,password\nu,\"p\"x\n", "line 2: quotes are only around a "
      "whole field, and doubled within it" },
    { "username,password\nu,p\"x\n", "line 2: quotes are only around a whole "
      "field, and doubled within it" },
    { "username,password\n,p\n", "line 2: " NAMES },
    { "username,password\n\"a\tb\",p\n", "line 2: " NAMES },
    { "username,password\n\xff,p\n", "line 2: " NAMES },
    { ":" BCRYPT "\n", "line 1: " NAMES },
    { "username,password\nu,\n", "line 2: neither a password nor a hash" },
    { "username,password,hash\nu,p," BCRYPT "\n", "line 2: both a password "
      "and a hash" },
    { "username,password,role\nu,p,a b\n", "line 2: a role must be 1 to 64 "
      "visible ASCII characters" },
    { "u:" BCRYPT "\nv:" BCRYPT "\nu:" ARGON "\n", "line 3: user \"u\" is in "
      "line 1 already" },

    { "u:plain\n", "line 1: " KINDS },
    { "u:\n", "line 1: " KINDS },
    { "u:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n", "line 1: " KINDS },
    { "u:$apr1$x$y\n", "line 1: " KINDS },
    { "u:$6$x$y\n", "line 1: " KINDS },
    { "u:abJnggxhB/yWI\n", "line 1: " KINDS },
    { "u:_J9..ZZZZlNkAQFRgJ8Q\n", "line 1: " KINDS },
    { "u:$2x$05$aaaaaaaaaaaaaaaaaaaaaOjOHCcGZ1ZydhnG2lX11qSmiRJbsbsA.\n",
      "line 1: " KINDS },
    { "u:" BCRYPT "x\n", "line 1: " KINDS },
    { "u:$2c$05$aaaaaaaaaaaaaaaaaaaaaOjOHCcGZ1ZydhnG2lX11qSmiRJbsbsA.\n",
      "line 1: " KINDS },
    { "u:$2b$05$aaaaaaaaaaaaaaaaaaaaaOjOHCcGZ1ZydhnG2lX11qSmiRJbsbs:.\n",
      "line 1: " KINDS },
    { "u:$2b$15$aaaaaaaaaaaaaaaaaaaaaOjOHCcGZ1ZydhnG2lX11qSmiRJbsbsA.\n",
      "line 1: the hash costs too much at each login" },
    { "u:$argon2id$v=19$m=8192,t=1,p=1$AAAA\n", "line 1: " KINDS },
    { "u:$argon2i$v=19$m=8192,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA"
      "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n", "line 1: " KINDS },
    { "u:$argon2id$v=19$m=1048576,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA"
      "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n", "line 1: the hash "
      "costs too much at each login" },
    { "u:$argon2id$v=19$m=8192,t=100,p=1$AAAAAAAAAAAAAAAAAAAAAA"
      "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n", "line 1: the hash "
      "costs too much at each login" }
};


/* The error without the path of the file. */
static const char *
reason(void)
{
    const char  *text;

    text = strstr(error, "/users: ");

    return text != NULL ? text + 8 : error;
}


START_TEST(test_files)
{
    int             rc;
    import_count_t  count;

    rc = import(files[_i].text, NULL, IMPORT_NEW, &count);
    ck_assert_str_eq(reason(),
                     files[_i].error != NULL ? files[_i].error : "");
    ck_assert_int_eq(rc, files[_i].error != NULL ? -1 : 0);
}
END_TEST


START_TEST(test_odd_bytes)
{
    char            text[20000];
    import_count_t  count;

    folder_write("users", "u:\0x\n", 5, 0600);
    ck_assert_int_eq(import_users(store, folder_path("users"), NULL,
                                  IMPORT_NEW, &count, error, sizeof(error)),
                     -1);
    ck_assert_str_eq(reason(), "line 1: too long, or has a NUL character");

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    ck_assert_int_eq(import(text, NULL, IMPORT_NEW, &count), -1);
    ck_assert_str_eq(reason(), "line 1: too long, or has a NUL character");
}
END_TEST


static void
add_stores(Suite *suite, const char *name, void (*setup)(void))
{
    TCase  *tcase;

    tcase = tcase_create(name);
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_csv);
    tcase_add_test(tcase, test_htpasswd);
    tcase_add_test(tcase, test_policies);
    tcase_add_test(tcase, test_all_or_nothing);
    suite_add_tcase(suite, tcase);
}


int
main(void)
{
    int      rc;
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("import");
    add_stores(suite, "sqlite", setup_sqlite);
    add_stores(suite, "postgres", setup_postgres);

    tcase = tcase_create("files");
    tcase_add_checked_fixture(tcase, setup_sqlite, teardown);
    tcase_add_loop_test(tcase, test_files, 0,
                        sizeof(files) / sizeof(files[0]));
    tcase_add_test(tcase, test_odd_bytes);
    suite_add_tcase(suite, tcase);

    postgres_start();

    rc = suite_run(suite);
    postgres_stop();

    return rc;
}
