/*
 * The directory of the keys: what the names say, what a crash leaves, and
 * directories of authsvc 0.1.
 */

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <sodium.h>

#include "authsvc/keys/dir.h"
#include "authsvc/t/folder.h"
#include "authsvc/t/suite.h"
#include "rpc/log.h"


#define NOW   INT64_C(1700000000)       /* 2023-11-14T22:13:20Z */

#define KID   "0123456789abcdef0123456789abcdef0123456789-"
#define KID2  "x123456789abcdef0123456789abcdef0123456789-"


static keydir_t       dir;
static keydir_list_t  list;
static signkey_t      a, b;


static void
reopen(void)
{
    keydir_close(&dir);
    ck_assert_msg(keydir_open(&dir, folder_path("keys"), false) == 0, "%s",
                  dir.error);
}


static void
setup(void)
{
    ck_assert_int_ge(sodium_init(), 0);
    log_open("test", LOG_LEVEL_ERROR);
    folder_create();
    ck_assert_int_eq(keydir_open(&dir, folder_path("keys"), true), 0);
    ck_assert_int_eq(signkey_generate(&a, SIGNKEY_HS256), 0);
    ck_assert_int_eq(signkey_generate(&b, SIGNKEY_ES256), 0);
}


static void
teardown(void)
{
    keydir_close(&dir);
    signkey_free(&a);
    signkey_free(&b);
    folder_remove();
}


/* A file in the directory. */
static const char *
file(const char *name, const char *kid)
{
    char  text[128];

    snprintf(text, sizeof(text), "keys/%s%s", kid, name);

    return folder_path(text);
}


static void
touch(const char *name, const char *kid)
{
    char  text[128];

    snprintf(text, sizeof(text), "keys/%s%s", kid, name);
    folder_write(text, "", 0, 0600);
}


static keydir_entry_t *
entry(const char *kid)
{
    ck_assert_msg(keydir_read(&dir, &list) == 0, "%s", dir.error);

    return keydir_find(&list, kid);
}


static const char *
state(const char *kid)
{
    return entry(kid) != NULL ? keydir_state(entry(kid)) : "gone";
}


static void
expire(int64_t now)
{
    ck_assert_int_eq(keydir_read(&dir, &list), 0);
    ck_assert_int_eq(keydir_expire(&dir, &list, now), 0);
}


/* Without the lock. */
static int
files(void)
{
    int             n;
    DIR            *stream;
    struct dirent  *one;

    stream = opendir(folder_path("keys"));
    ck_assert_ptr_nonnull(stream);

    for (n = -3; (one = readdir(stream)) != NULL; n++) { /* void */ }

    closedir(stream);

    return n;
}


static void
add_both(void)
{
    ck_assert_int_eq(keydir_add(&dir, &a), 0);
    ck_assert_int_eq(keydir_add(&dir, &b), 0);
    ck_assert_int_eq(keydir_activate(&dir, &a), 0);
}


START_TEST(test_states)
{
    ck_assert_int_eq(keydir_add(&dir, &a), 0);
    ck_assert_int_eq(keydir_add(&dir, &b), 0);
    ck_assert_str_eq(state(a.kid), "ready");
    ck_assert_ptr_null(entry(NULL));
    ck_assert_int_eq(access(file(".secret", a.kid), F_OK), 0);
    ck_assert_int_eq(access(file(".ES256.pem", b.kid), F_OK), 0);

    ck_assert_int_eq(keydir_activate(&dir, &a), 0);
    ck_assert_str_eq(entry(NULL)->key.kid, a.kid);

    /* it still signs: the note does not count */
    ck_assert_int_eq(keydir_note_until(&dir, a.kid, NOW + 10), 0);
    ck_assert_str_eq(state(a.kid), "active");
    ck_assert_int_eq(files(), 4);
    expire(NOW + 11);
    ck_assert_int_eq(files(), 4);
    ck_assert_int_eq(keydir_activate(&dir, &b), 0);
    ck_assert_str_eq(state(a.kid), "retired");
    ck_assert_str_eq(state(b.kid), "active");
    ck_assert_int_eq(entry(a.kid)->until, NOW + 10);
    ck_assert_str_eq(list.list[0].key.kid, a.kid);

    ck_assert_int_eq(keydir_load(&dir, &list), 0);
    ck_assert_uint_eq(list.n, 2);
    ck_assert_ptr_nonnull(list.list[0].key.pkey);
    ck_assert_int_eq(list.list[0].key.alg, SIGNKEY_HS256);
    ck_assert_str_eq(list.list[1].key.kid, b.kid);
    keydir_drop(&list);

    expire(NOW + 9);
    ck_assert_uint_eq(list.n, 2);
    ck_assert_str_eq(state(a.kid), "retired");
    expire(NOW + 10);
    ck_assert_uint_eq(list.n, 1);
    ck_assert_str_eq(state(a.kid), "gone");
    ck_assert_int_eq(files(), 2);
}
END_TEST


static void
assert_link(const char *name, const char *kid, const char *target)
{
    char     text[128];
    ssize_t  n;

    n = readlink(file(name, kid), text, sizeof(text) - 1);
    text[n < 0 ? 0 : n] = '\0';
    ck_assert_str_eq(text, target);
}


START_TEST(test_notes)
{
    add_both();
    ck_assert_int_eq(entry(a.kid)->ttl, 0);
    assert_link("active", "", strrchr(file(".secret", a.kid), '/') + 1);

    ck_assert_int_eq(keydir_note_ttl(&dir, a.kid, 50), 0);
    ck_assert_int_eq(keydir_note_ttl(&dir, a.kid, 70), 0);
    ck_assert_int_eq(keydir_note_until(&dir, b.kid, NOW + 9), 0);
    ck_assert_int_eq(entry(a.kid)->ttl, 70);
    ck_assert_int_eq(entry(b.kid)->until, NOW + 9);
    assert_link(".ttl", a.kid, "70");
    assert_link(".until", b.kid, "2023-11-14T22:13:29Z");
    ck_assert_int_eq(files(), 5);
    expire(NOW);
    ck_assert_int_eq(files(), 5);

    /* a key that is active again is not retired */
    ck_assert_int_eq(keydir_activate(&dir, &b), 0);
    expire(NOW + 100);
    ck_assert_str_eq(state(b.kid), "active");
    assert_link(".until", b.kid, "");

    /* a key goes with its notes */
    ck_assert_int_eq(keydir_remove(&dir, &a), 0);
    ck_assert_int_eq(files(), 2);
}
END_TEST


static void
assert_bad_until(void)
{
    ck_assert_int_eq(keydir_read(&dir, &list), -1);
    ck_assert_ptr_nonnull(strstr(dir.error, b.kid));
    ck_assert_ptr_nonnull(strstr(dir.error, ".until\": must be a link to a "
                                 "time such as 2026-11-29T15:47:32Z"));
    ck_assert_int_eq(unlink(file(".until", b.kid)), 0);
    ck_assert_str_eq(state(b.kid), "ready");
}


/* A key is not ready because nobody can read until when it is published. */
START_TEST(test_bad_notes)
{
    size_t  i;

    static const char *const  times[] = {
        "x", "2023-11-14", "2023-13-14T22:13:29Z", "2023-11-14T22:13:29Z.",
        "10000-01-01T00:00:00Z"
    };

    static const char *const  lives[] = { "x", "-1", "31622401" };

    add_both();

    for (i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        ck_assert_int_eq(symlink(times[i], file(".until", b.kid)), 0);
        assert_bad_until();
    }

    touch(".until", b.kid);
    assert_bad_until();

    /* that of the active key does not count */
    touch(".until", a.kid);
    ck_assert_str_eq(state(a.kid), "active");

    for (i = 0; i < sizeof(lives) / sizeof(lives[0]); i++) {
        ck_assert_int_eq(symlink(lives[i], file(".ttl", b.kid)), 0);
        ck_assert_int_eq(entry(b.kid)->ttl, 0);
        ck_assert_int_eq(unlink(file(".ttl", b.kid)), 0);
    }
}
END_TEST


/* Names that say nothing are left alone. */
START_TEST(test_names)
{
    size_t  i;

    static const char *const  names[] = {
        "notes.txt", "old.pem", "x.ES256.pem", ".authsvc-jwks.json-Ab1xyz",
        KID, KID ".pem", KID ".none.pem", KID ".HS256.pem", KID ".ES256",
        KID ".ES256.pem.bak", KID ".secret~", KID ".ttl.x", KID ".until~",
        KID "x.ES256.pem", KID "x.ttl"
    };

    add_both();

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        touch(names[i], "");
    }

    ck_assert_ptr_nonnull(entry(a.kid));
    ck_assert_uint_eq(list.n, 2);
    expire(NOW);
    ck_assert_int_eq(files(), 3 + (int) i);
}
END_TEST


static const struct {
    const char  *target;                /* NULL: not a link */
} links[] = {
    { NULL }, { KID ".ES256.pem" }, { "../keys" }, { KID ".ttl" },
    { "keys.lock" }
};


/* No key is active then, and activating one mends it. */
START_TEST(test_bad_link)
{
    add_both();
    ck_assert_int_eq(unlink(file("active", "")), 0);

    if (links[_i].target == NULL) {
        touch("active", "");
    } else {
        ck_assert_int_eq(symlink(links[_i].target, file("active", "")), 0);
    }

    ck_assert_ptr_null(entry(NULL));
    ck_assert_uint_eq(list.n, 2);
    ck_assert_int_eq(keydir_activate(&dir, &b), 0);
    ck_assert_str_eq(entry(NULL)->key.kid, b.kid);
}
END_TEST


START_TEST(test_twice)
{
    ck_assert_int_eq(keydir_add(&dir, &b), 0);
    touch(".RS256.pem", b.kid);
    ck_assert_int_eq(keydir_read(&dir, &list), -1);
    ck_assert_ptr_nonnull(strstr(dir.error, b.kid));
    ck_assert_ptr_nonnull(strstr(dir.error, "there is another file of that key"
                                            ": remove one of them"));
}
END_TEST


START_TEST(test_full)
{
    int   i;
    char  kid[SIGNKEY_KID + 1];

    for (i = 0; i <= KEYDIR_MAX; i++) {
        ck_assert_int_eq(keydir_read(&dir, &list), 0);
        snprintf(kid, sizeof(kid), "%043d", i);
        touch(".secret", kid);
    }

    ck_assert_int_eq(keydir_read(&dir, &list), -1);
    ck_assert_ptr_nonnull(strstr(dir.error, "/keys\": more than 32 keys"));
}
END_TEST


START_TEST(test_lock)
{
    keydir_t  other;

    ck_assert_int_eq(keydir_open(&other, folder_path("keys"), false), -1);
    ck_assert_ptr_nonnull(strstr(other.error, "is locked by another authsvc"));

    /* what a process left that was killed while writing */
    touch(".new", "");
    reopen();
    ck_assert_int_eq(access(file(".new", ""), F_OK), -1);
}
END_TEST


/* Another user: of the whole folder, so that it may be entered. */
static bool
become(uid_t uid)
{
    if (geteuid() == 0) {
        ck_assert_int_eq(chmod(folder_path(""), 0755), 0);
    }

    return getuid() == 0 && seteuid(uid) == 0;
}


/* Who may not write the directory may still read it, if the files let them. */
START_TEST(test_read_only)
{
    add_both();
    ck_assert_int_eq(keydir_note_until(&dir, b.kid, NOW), 0);
    ck_assert_int_eq(chmod(folder_path("keys"), 0755), 0);
    ck_assert_int_eq(chmod(file(".secret", a.kid), 0644), 0);
    ck_assert_int_eq(chmod(file(".ES256.pem", b.kid), 0644), 0);

    if (!become(12345)) {
        return;
    }

    reopen();
    ck_assert_str_eq(state(a.kid), "active");
    ck_assert_str_eq(state(b.kid), "retired");
    ck_assert_int_eq(keydir_expire(&dir, &list, NOW), -1);
    ck_assert_ptr_nonnull(strstr(dir.error, "/keys.lock\": Permission denied"));
    ck_assert_uint_eq(list.n, 1);
    ck_assert_int_eq(keydir_load(&dir, &list), 0);
    keydir_drop(&list);
    ck_assert_int_eq(keydir_note_ttl(&dir, a.kid, 9), -1);
    ck_assert_int_eq(keydir_activate(&dir, &b), -1);
    ck_assert_int_eq(keydir_add(&dir, &b), -1);
    ck_assert(become(0));
    ck_assert_int_eq(files(), 4);
}
END_TEST


/* Made by root, for a service with a user of its own. */
START_TEST(test_owner)
{
    size_t       i;
    struct stat  st;
    const char  *names[] = {
        file(".ES256.pem", b.kid), file("keys.lock", "")
    };

    if (geteuid() != 0) {
        return;
    }

    ck_assert_int_eq(unlink(file("keys.lock", "")), 0);
    ck_assert_int_eq(chown(folder_path("keys"), 12345, 12346), 0);
    reopen();
    ck_assert_int_eq(keydir_add(&dir, &b), 0);
    ck_assert_int_eq(keydir_note_ttl(&dir, b.kid, 9), 0);
    ck_assert_int_eq(keydir_activate(&dir, &b), 0);

    for (i = 0; i < 2; i++) {
        ck_assert_int_eq(lstat(names[i], &st), 0);
        ck_assert_int_eq(st.st_uid, 12345);
        ck_assert_int_eq(st.st_gid, 12346);
        ck_assert_int_eq(st.st_mode & 0777, 0600);
    }

    /* a link needs no owner to be read, replaced and removed */
    ck_assert_int_eq(lstat(file("active", ""), &st), 0);
    ck_assert_int_eq(st.st_uid, 0);
    ck_assert(become(12345));
    reopen();
    ck_assert_int_eq(keydir_add(&dir, &a), 0);
    ck_assert_int_eq(keydir_note_ttl(&dir, b.kid, 10), 0);
    ck_assert_int_eq(keydir_activate(&dir, &a), 0);
    ck_assert_int_eq(keydir_remove(&dir, &b), 0);
    ck_assert(become(0));
    ck_assert_int_eq(files(), 2);
}
END_TEST


/* Nothing else that root has: the owner may put it where the lock is. */
START_TEST(test_owner_only)
{
    struct stat  st;

    if (geteuid() != 0) {
        return;
    }

    folder_write("root", "", 0, 0600);
    ck_assert_int_eq(unlink(file("keys.lock", "")), 0);
    ck_assert_int_eq(link(folder_path("root"), file("keys.lock", "")), 0);
    ck_assert_int_eq(chown(folder_path("keys"), 12345, 12346), 0);
    reopen();
    ck_assert_int_eq(stat(folder_path("root"), &st), 0);
    ck_assert_int_eq(st.st_uid, 0);
}
END_TEST


#define OLD(kid, alg, state, retired)                                         \
    "{\"kid\":\"" kid "\",\"alg\":\"" alg "\",\"state\":\"" state "\","       \
    "\"created\":1,\"activated\":2,\"retired\":" retired ",\"ttl\":3600,"     \
    "\"grace\":60}"
#define LIST(keys)  "{\"version\":1,\"keys\":[" keys "]}"


static void
write_old(const char *text)
{
    folder_write("keys/keys.json", text, strlen(text), 0600);
}


/* As authsvc 0.1 has left it; also when the process is killed half way. */
START_TEST(test_migrate)
{
    int   i;
    char  pem[SIGNKEY_PEM];

    ck_assert_int_eq(signkey_write(&b, pem), 0);
    write_old(LIST(OLD(KID, "ES256", "retired", "1700000000") ","
                   OLD(KID2, "ES256", "active", "0") ","
                   OLD("y123456789abcdef0123456789abcdef0123456789-", "HS256",
                       "ready", "0")));
    folder_write("keys/" KID ".pem", pem, strlen(pem), 0600);
    folder_write("keys/" KID2 ".pem", pem, strlen(pem), 0600);
    folder_write("keys/y123456789abcdef0123456789abcdef0123456789-.secret",
                 KID KID, 86, 0600);

    for (i = 0; i < 2; i++) {
        reopen();
        ck_assert_int_ne(access(file("keys.json", ""), F_OK), 0);
        ck_assert_str_eq(state(KID), "retired");
        ck_assert_int_eq(entry(KID)->until, 1700003660);
        ck_assert_str_eq(state(KID2), "active");
        ck_assert_int_eq(entry(KID2)->ttl, 3600);
        ck_assert_uint_eq(list.n, 3);
        ck_assert_int_eq(keydir_load(&dir, &list), 0);
        keydir_drop(&list);

        reopen();

        /* the last step, which is not done when it is killed before */
        ck_assert_int_eq(rename(file("keys.json.migrated", ""),
                                file("keys.json", "")), 0);
    }
}
END_TEST


START_TEST(test_migrate_read_only)
{
    write_old(LIST(""));
    ck_assert_int_eq(chmod(folder_path("keys"), 0555), 0);
    keydir_close(&dir);
    (void) become(12345);

    ck_assert_int_eq(keydir_open(&dir, folder_path("keys"), true), -1);
    ck_assert_msg(strstr(dir.error, "keys/keys.json\": the list of authsvc 0.1 "
                         "must be migrated once: run \"authsvc key list --keys "
                         "DIR\" as a user who may write to the directory")
                  != NULL, "%s", dir.error);

    (void) become(0);
    ck_assert_int_eq(chmod(folder_path("keys"), 0700), 0);
    ck_assert_int_eq(keydir_open(&dir, folder_path("keys"), true), 0);
}
END_TEST


#define TIMES(times)                                                          \
    LIST("{\"kid\":\"" KID "\",\"alg\":\"ES256\",\"state\":\"retired\"," times \
         "}")

static const struct {
    const char  *text;
    const char  *error;
} bad[] = {
    { "", "'[' or '{' expected near end of file" },
    { "[]", "is not a list of keys" },
    { "{\"keys\":{}}", "is not a list of keys" },
    { LIST("1"), "a member is missing or of the wrong type" },
    { LIST("{}"), "a member is missing or of the wrong type" },
    { LIST(OLD(KID, "ES256", "ready", "\"1\"")),
      "a member is missing or of the wrong type" },
    { LIST(OLD(KID, "ES256", "retired", "-1")),
      "keys.json\": \"retired\" must be from 0 to 99999999999" },
    { LIST(OLD(KID, "ES256", "retired", "100000000000")),
      "keys.json\": \"retired\" must be from 0 to 99999999999" },
    { LIST(OLD(KID, "ES256", "retired", "9223372036854775807")),
      "keys.json\": \"retired\" must be from 0 to 99999999999" },
    { TIMES("\"retired\":1,\"ttl\":1000000000000000000,\"grace\":1"),
      "keys.json\": \"ttl\" must be from 0 to 31622400 (366 days)" },
    { TIMES("\"retired\":1,\"ttl\":-1,\"grace\":1"),
      "keys.json\": \"ttl\" must be from 0 to 31622400 (366 days)" },
    { TIMES("\"retired\":1,\"ttl\":1,\"grace\":31622401"),
      "keys.json\": \"grace\" must be from 0 to 31622400 (366 days)" },
    { LIST(OLD(KID, "none", "ready", "1")),
      "keys.json\": \"alg\" must be HS256, RS256, PS256, ES256 or EdDSA" },
    { LIST(OLD(KID, "ES256", "old", "1")),
      "keys.json\": \"state\" must be ready, active or retired" },
    { LIST(OLD("../" KID, "ES256", "ready", "1")),
      "keys.json\": \"kid\" must be 43 characters of A-Z a-z 0-9 - _" },
    { LIST(OLD("../456789abcdef0123456789abcdef0123456789-x", "ES256",
               "ready", "1")), "\"kid\" must be" },
    { LIST(OLD("x 23456789abcdef0123456789abcdef0123456789-", "ES256",
               "ready", "1")), "\"kid\" must be" },
    { LIST(OLD(KID "x", "ES256", "ready", "1")), "\"kid\" must be" },
    { LIST(OLD(KID, "ES256", "active", "1")),
      KID ".pem\": the list keys.json names this key: put its file back" }
};


START_TEST(test_migrate_bad)
{
    write_old(bad[_i].text);
    keydir_close(&dir);
    ck_assert_int_eq(keydir_open(&dir, folder_path("keys"), true), -1);
    ck_assert_msg(strstr(dir.error, bad[_i].error) != NULL, "%s", dir.error);
    ck_assert_int_eq(access(file("keys.json", ""), F_OK), 0);

    ck_assert_int_eq(unlink(file("keys.json", "")), 0);
    ck_assert_int_eq(keydir_open(&dir, folder_path("keys"), true), 0);
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("keydir");
    tcase = tcase_create("keydir");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_states);
    tcase_add_test(tcase, test_notes);
    tcase_add_test(tcase, test_bad_notes);
    tcase_add_test(tcase, test_names);
    tcase_add_loop_test(tcase, test_bad_link, 0,
                        sizeof(links) / sizeof(links[0]));
    tcase_add_test(tcase, test_twice);
    tcase_add_test(tcase, test_full);
    tcase_add_test(tcase, test_lock);
    tcase_add_test(tcase, test_read_only);
    tcase_add_test(tcase, test_owner);
    tcase_add_test(tcase, test_owner_only);
    tcase_add_test(tcase, test_migrate);
    tcase_add_test(tcase, test_migrate_read_only);
    tcase_add_loop_test(tcase, test_migrate_bad, 0,
                        sizeof(bad) / sizeof(bad[0]));
    suite_add_tcase(suite, tcase);

    return suite_run(suite);
}
