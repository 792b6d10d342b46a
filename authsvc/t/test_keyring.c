/*
 * Keys that change while they are used: the directory, what signs, what is
 * published.
 */

#include <check.h>
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <jansson.h>
#include <sodium.h>

#include "authsvc/keydir.h"
#include "authsvc/keyring.h"
#include "authsvc/t/folder.h"
#include "rpc/log.h"


#define NOW    INT64_C(1700000000)
#define TTL    100
#define GRACE  10


static char                error[8192];
static const char         *directory;
static const char         *published;
static keylist_t           list;
static keyring_options_t   options;


static void
setup(void)
{
    ck_assert_int_ge(sodium_init(), 0);
    log_open("test", LOG_LEVEL_DEBUG);
    folder_create();
    directory = folder_path("keys");
    published = folder_path("jwks.json");
    ck_assert_int_eq(keydir_check(directory, true, error, sizeof(error)), 0);
    memset(&list, 0, sizeof(list));

    options.directory = directory;
    options.publish = published;
    options.ttl = TTL;
}


static void
teardown(void)
{
    folder_remove();
}


static void
load(void)
{
    ck_assert_int_eq(keydir_load(directory, &list, error, sizeof(error)), 0);
}


static void
save(void)
{
    ck_assert_int_eq(keydir_save(directory, &list, error, sizeof(error)), 0);
}


static void
generate(signkey_alg_t alg, char *kid)
{
    signkey_t  *key;

    load();
    key = signkey_generate(alg);
    strcpy(kid, signkey_kid(key));
    ck_assert_int_eq(keylist_add(&list, key, NOW), KEYLIST_OK);
    ck_assert_int_eq(keydir_add(directory, key, error, sizeof(error)), 0);
    save();
    signkey_unref(key);
}


static void
activate(const char *kid, int64_t now)
{
    load();
    ck_assert_int_eq(keylist_activate(&list, kid, now, TTL, GRACE),
                     KEYLIST_OK);
    save();
}


static bool
signs(keyring_t *ring, const char *kid)
{
    bool        same;
    signkey_t  *key;

    key = keyring_take(ring);
    same = strcmp(signkey_kid(key), kid) == 0;
    signkey_unref(key);

    return same;
}


static bool
is_published(const char *kid)
{
    bool     found;
    size_t   i;
    json_t  *set, *key;

    set = json_load_file(published, 0, NULL);
    ck_assert_ptr_nonnull(set);
    found = false;

    json_array_foreach(json_object_get(set, "keys"), i, key) {
        found |= strcmp(json_string_value(json_object_get(key, "kid")), kid)
                 == 0;
        ck_assert_ptr_null(json_object_get(key, "d"));
        ck_assert_ptr_null(json_object_get(key, "k"));
    }

    json_decref(set);

    return found;
}


static int
files(const char *path)
{
    int             n;
    DIR            *dir;
    struct dirent  *entry;

    dir = opendir(path);
    ck_assert_ptr_nonnull(dir);

    for (n = 0; (entry = readdir(dir)) != NULL; /* void */ ) {
        n += entry->d_name[0] != '.' || entry->d_name[1] == 'a';
    }

    closedir(dir);

    return n;
}


START_TEST(test_rotation)
{
    char         a[SIGNKEY_KID + 1], b[SIGNKEY_KID + 1];
    keyring_t   *ring;
    struct stat  st;

    generate(SIGNKEY_ES256, a);
    activate(a, NOW);
    ring = keyring_open(&options, NOW, error, sizeof(error));
    ck_assert_ptr_nonnull(ring);
    ck_assert(signs(ring, a));
    ck_assert(is_published(a));
    ck_assert_int_eq(stat(published, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0644);

    /* the life of its tokens was noted */
    load();
    ck_assert_int_eq(keylist_find(&list, a)->ttl, TTL);

    generate(SIGNKEY_EDDSA, b);
    ck_assert(!is_published(b));
    keyring_check(ring, NOW, 0);
    ck_assert(is_published(a) && is_published(b));
    ck_assert(signs(ring, a));

    activate(b, NOW + 20);
    ck_assert(signs(ring, a));
    keyring_check(ring, NOW + 20, 0);
    ck_assert(signs(ring, b));
    ck_assert(is_published(a) && is_published(b));

    keyring_check(ring, NOW + 20 + TTL + GRACE - 1, 0);
    ck_assert(is_published(a) && is_published(b));
    keyring_check(ring, NOW + 20 + TTL + GRACE, 0);
    ck_assert(!is_published(a) && is_published(b));

    /* its file, too */
    load();
    ck_assert_uint_eq(list.n, 1);
    ck_assert_int_eq(files(directory), 3);

    keyring_check(ring, NOW + 20 + TTL + GRACE, 1);
    ck_assert(signs(ring, b));
    keyring_free(ring);
}
END_TEST


/* The set is there before a key of it signs. */
START_TEST(test_publish_first)
{
    char        a[SIGNKEY_KID + 1], b[SIGNKEY_KID + 1];
    keyring_t  *ring;

    ck_assert_int_eq(mkdir(folder_path("out"), 0700), 0);
    options.publish = folder_path("out/jwks.json");
    generate(SIGNKEY_EDDSA, a);
    activate(a, NOW);
    ring = keyring_open(&options, NOW, error, sizeof(error));
    ck_assert_ptr_nonnull(ring);

    ck_assert_int_eq(rename(folder_path("out"), folder_path("away")), 0);
    generate(SIGNKEY_EDDSA, b);
    activate(b, NOW);
    keyring_check(ring, NOW, 0);
    keyring_check(ring, NOW, 0);
    ck_assert(signs(ring, a));

    /* tried again without another change */
    ck_assert_int_eq(rename(folder_path("away"), folder_path("out")), 0);
    keyring_check(ring, NOW, 0);
    ck_assert(signs(ring, b));
    published = folder_path("out/jwks.json");
    ck_assert(is_published(a) && is_published(b));
    keyring_free(ring);
}
END_TEST


START_TEST(test_broken)
{
    char        a[SIGNKEY_KID + 1], b[SIGNKEY_KID + 1], name[64];
    keyring_t  *ring;

    generate(SIGNKEY_RS256, a);
    activate(a, NOW);
    ring = keyring_open(&options, NOW, error, sizeof(error));
    ck_assert_ptr_nonnull(ring);

    /* a list that is none */
    folder_write("keys/keys.json", "{", 1, 0600);
    keyring_check(ring, NOW, 0);
    ck_assert(signs(ring, a) && is_published(a));

    /* none at all: not an empty one */
    ck_assert_int_eq(unlink(folder_path("keys/keys.json")), 0);
    keyring_check(ring, NOW, 0);
    ck_assert(signs(ring, a) && is_published(a));
    ck_assert_int_eq(keydir_load(directory, &list, error, sizeof(error)), -1);
    ck_assert_ptr_nonnull(strstr(error, "but there are keys beside it"));

    /* a list without an active key */
    memset(&list, 0, sizeof(list));
    save();
    keyring_check(ring, NOW, 0);
    ck_assert(signs(ring, a) && is_published(a));

    /* a broken key */
    generate(SIGNKEY_RS256, b);
    activate(b, NOW);
    snprintf(name, sizeof(name), "keys/%s.pem", b);
    folder_write(name, "hello", 5, 0600);
    keyring_check(ring, NOW, 0);
    ck_assert(signs(ring, a) && is_published(a) && !is_published(b));

    /* a good one again */
    generate(SIGNKEY_RS256, b);
    load();
    ck_assert_int_eq(keylist_activate(&list, b, NOW, TTL, GRACE), KEYLIST_OK);
    while (list.n > 1) {
        list.list[0] = list.list[--list.n];
    }
    save();
    keyring_check(ring, NOW, 0);
    ck_assert(signs(ring, b) && is_published(b) && !is_published(a));
    keyring_free(ring);
}
END_TEST


/* authsvc takes over late that a key is retired: the tokens that it signed
 * meanwhile are good until they expire.  However it was kept from it. */
START_TEST(test_late)
{
    char        a[SIGNKEY_KID + 1], b[SIGNKEY_KID + 1], from[64], to[64];
    int64_t     late;
    keyring_t  *ring;

    late = NOW + 2 * (TTL + GRACE);
    ck_assert_int_eq(mkdir(folder_path("out"), 0700), 0);
    options.publish = folder_path("out/jwks.json");
    published = options.publish;

    generate(SIGNKEY_EDDSA, a);
    activate(a, NOW);
    ring = keyring_open(&options, NOW, error, sizeof(error));
    ck_assert_ptr_nonnull(ring);
    generate(SIGNKEY_EDDSA, b);
    activate(b, NOW);

    snprintf(from, sizeof(from), _i ? "out" : "keys/%s.pem", b);
    snprintf(to, sizeof(to), "away");
    ck_assert_int_eq(rename(folder_path(from), folder_path(to)), 0);
    keyring_check(ring, NOW, 0);
    keyring_check(ring, late, 0);
    ck_assert(signs(ring, a));

    ck_assert_int_eq(rename(folder_path(to), folder_path(from)), 0);
    keyring_check(ring, late, 0);
    ck_assert(signs(ring, b) && is_published(a) && is_published(b));

    /* it is noted for all who read the list, and stays so */
    load();
    ck_assert_uint_eq(list.n, 2);
    ck_assert_int_eq(keylist_find(&list, a)->retired, late);
    keyring_check(ring, late + TTL + GRACE - 1, 1);
    ck_assert(is_published(a));
    keyring_check(ring, late + TTL + GRACE, 0);
    ck_assert(!is_published(a) && is_published(b));
    load();
    ck_assert_uint_eq(list.n, 1);
    keyring_free(ring);
}
END_TEST


/* Nor does a reading of the list that could not be changed forget it. */
START_TEST(test_late_busy)
{
    char           a[SIGNKEY_KID + 1], b[SIGNKEY_KID + 1];
    int64_t        late;
    keyring_t     *ring;
    keydir_lock_t  lock;

    late = NOW + 2 * (TTL + GRACE);
    generate(SIGNKEY_EDDSA, a);
    generate(SIGNKEY_EDDSA, b);
    activate(a, NOW);
    ring = keyring_open(&options, NOW, error, sizeof(error));
    ck_assert_ptr_nonnull(ring);
    activate(b, NOW);

    ck_assert_int_eq(keydir_lock(directory, &lock, 0, error, sizeof(error)),
                     0);
    keyring_check(ring, late, 0);
    keyring_check(ring, late + 1, 1);
    ck_assert(signs(ring, b) && is_published(a));
    keydir_unlock(&lock);

    keyring_check(ring, late + 2, 0);
    load();
    ck_assert_uint_eq(list.n, 2);
    ck_assert_int_eq(keylist_find(&list, a)->retired, late);

    /* retired at once is gone at once */
    ck_assert_int_eq(keylist_retire(&list, a, true), KEYLIST_OK);
    save();
    keyring_check(ring, late + 3, 0);
    ck_assert(!is_published(a));
    keyring_free(ring);
}
END_TEST


START_TEST(test_open)
{
    char  a[SIGNKEY_KID + 1];

    ck_assert_ptr_null(keyring_open(&options, NOW, error, sizeof(error)));
    ck_assert_ptr_nonnull(strstr(error, "no key is active"));

    generate(SIGNKEY_PS256, a);
    ck_assert_ptr_null(keyring_open(&options, NOW, error, sizeof(error)));
    ck_assert_ptr_nonnull(strstr(error, "no key is active"));

    options.directory = folder_path("none");
    ck_assert_ptr_null(keyring_open(&options, NOW, error, sizeof(error)));
    ck_assert_ptr_nonnull(strstr(error, "none\": No such file"));

    options.directory = folder_path("keys/keys.json");
    ck_assert_ptr_null(keyring_open(&options, NOW, error, sizeof(error)));
    ck_assert_ptr_nonnull(strstr(error, "Not a directory"));
}
END_TEST


START_TEST(test_secret)
{
    char        a[SIGNKEY_KID + 1], b[SIGNKEY_KID + 1], *set;
    keyring_t  *ring;

    generate(SIGNKEY_HS256, a);
    generate(SIGNKEY_ES256, b);
    activate(a, NOW);
    ring = keyring_open(&options, NOW, error, sizeof(error));
    ck_assert_ptr_nonnull(ring);
    ck_assert(signs(ring, a));
    ck_assert(!is_published(a) && is_published(b));

    set = keyring_export(directory, NOW, error, sizeof(error));
    ck_assert_ptr_nonnull(strstr(set, b));
    ck_assert_ptr_null(strstr(set, a));
    free(set);
    keyring_free(ring);
}
END_TEST


/* What a crash leaves goes with the next change, other files do not. */
START_TEST(test_leftovers)
{
    char        a[SIGNKEY_KID + 1], name[80];
    signkey_t  *key;

    generate(SIGNKEY_ES256, a);
    activate(a, NOW);
    ck_assert_int_eq(files(directory), 2);

    key = signkey_generate(SIGNKEY_ES256);
    ck_assert_int_eq(keydir_add(directory, key, error, sizeof(error)), 0);
    signkey_unref(key);
    folder_write("keys/.authsvc-keys.json-Ab1xyz", "x", 1, 0600);
    snprintf(name, sizeof(name), "keys/.authsvc-%s.pem-Ab1xyz", a);
    folder_write(name, "x", 1, 0600);
    folder_write("keys/.authsvc-jwks.json-Ab1xyz", "x", 1, 0600);
    folder_write("keys/.authsvc-", "x", 1, 0600);
    folder_write("keys/notes.txt", "x", 1, 0600);
    folder_write("keys/old.pem", "x", 1, 0600);
    ck_assert_int_eq(files(directory), 9);

    load();
    ck_assert_uint_eq(list.n, 1);
    save();
    ck_assert_int_eq(files(directory), 6);
    ck_assert_int_eq(access(folder_path("keys/notes.txt"), F_OK), 0);
    ck_assert_int_eq(access(folder_path("keys/old.pem"), F_OK), 0);

    /* somebody may be writing that, without the lock */
    ck_assert_int_eq(access(folder_path("keys/.authsvc-jwks.json-Ab1xyz"),
                            F_OK), 0);
    snprintf(name, sizeof(name), "keys/%s.pem", a);
    ck_assert_int_eq(access(folder_path(name), F_OK), 0);
}
END_TEST


/* Made by root, for a service with a user of its own. */
START_TEST(test_owner)
{
    char            a[SIGNKEY_KID + 1], name[64];
    size_t          i;
    struct stat     st;
    const char     *names[] = { "keys/keys.json", "keys/keys.lock", name };
    keydir_lock_t   lock;

    if (geteuid() != 0) {
        return;
    }

    ck_assert_int_eq(chown(directory, 12345, 12346), 0);
    ck_assert_int_eq(keydir_lock(directory, &lock, 0, error, sizeof(error)),
                     0);
    keydir_unlock(&lock);
    generate(SIGNKEY_EDDSA, a);
    snprintf(name, sizeof(name), "keys/%s.pem", a);

    for (i = 0; i < 3; i++) {
        ck_assert_int_eq(stat(folder_path(names[i]), &st), 0);
        ck_assert_int_eq(st.st_uid, 12345);
        ck_assert_int_eq(st.st_gid, 12346);
        ck_assert_int_eq(st.st_mode & 0777, 0600);
    }
}
END_TEST


#define THREADS  4

typedef struct {
    keyring_t    *ring;
    atomic_bool  *stop;
    int           tokens;
} signer_t;


static void *
sign(void *data)
{
    char       *token;
    json_t     *claims;
    signer_t   *signer = data;
    signkey_t  *key;

    claims = json_pack("{s:s}", "sub", "u");

    while (!atomic_load(signer->stop)) {
        key = keyring_take(signer->ring);
        token = signkey_token(key, claims);
        signer->tokens += token != NULL;
        free(token);
        signkey_unref(key);
    }

    json_decref(claims);

    return NULL;
}


/* Threads sign while keys come and go. */
START_TEST(test_threads)
{
    int          i;
    char         kid[SIGNKEY_KID + 1];
    signer_t     signers[THREADS];
    keyring_t   *ring;
    pthread_t    threads[THREADS];
    atomic_bool  stop;

    generate(SIGNKEY_EDDSA, kid);
    activate(kid, NOW);
    ring = keyring_open(&options, NOW, error, sizeof(error));
    ck_assert_ptr_nonnull(ring);
    atomic_init(&stop, false);
    memset(signers, 0, sizeof(signers));

    for (i = 0; i < THREADS; i++) {
        signers[i].ring = ring;
        signers[i].stop = &stop;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, sign, &signers[i]),
                         0);
    }

    for (i = 0; i < 60; i++) {
        generate(i % 2 ? SIGNKEY_ES256 : SIGNKEY_EDDSA, kid);
        activate(kid, NOW + 60 * i);
        keyring_check(ring, NOW + 60 * i, i % 3 == 0);
        ck_assert(signs(ring, kid));
    }

    atomic_store(&stop, true);

    for (i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_gt(signers[i].tokens, 0);
    }

    keyring_free(ring);
}
END_TEST


START_TEST(test_lock)
{
    keydir_lock_t  one, two;

    ck_assert_int_eq(keydir_lock(directory, &one, 0, error, sizeof(error)), 0);
    ck_assert_int_eq(keydir_lock(directory, &two, 40, error, sizeof(error)),
                     1);
    ck_assert_ptr_nonnull(strstr(error, "is locked by another authsvc"));
    keydir_unlock(&one);
    ck_assert_int_eq(keydir_lock(directory, &two, 0, error, sizeof(error)), 0);
    keydir_unlock(&two);
}
END_TEST


/* authsvc cannot note anything while somebody holds the lock; the published
 * set is right nevertheless. */
START_TEST(test_busy)
{
    char           a[SIGNKEY_KID + 1], b[SIGNKEY_KID + 1];
    keyring_t     *ring;
    keydir_lock_t  lock;

    generate(SIGNKEY_ES256, a);
    generate(SIGNKEY_ES256, b);
    activate(a, NOW);
    activate(b, NOW);
    ck_assert_int_eq(keydir_lock(directory, &lock, 0, error, sizeof(error)),
                     0);

    ring = keyring_open(&options, NOW, error, sizeof(error));
    ck_assert_ptr_nonnull(ring);
    ck_assert(is_published(a) && is_published(b));
    keyring_check(ring, NOW + TTL + GRACE, 0);
    ck_assert(!is_published(a) && is_published(b));
    load();
    ck_assert_uint_eq(list.n, 2);

    keydir_unlock(&lock);
    keyring_check(ring, NOW + TTL + GRACE, 0);
    load();
    ck_assert_uint_eq(list.n, 1);
    ck_assert_int_eq(list.list[0].ttl, TTL);
    keyring_free(ring);
}
END_TEST


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("keyring");
    tcase = tcase_create("keyring");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_rotation);
    tcase_add_test(tcase, test_publish_first);
    tcase_add_test(tcase, test_broken);
    tcase_add_loop_test(tcase, test_late, 0, 2);
    tcase_add_test(tcase, test_late_busy);
    tcase_add_test(tcase, test_open);
    tcase_add_test(tcase, test_secret);
    tcase_add_test(tcase, test_leftovers);
    tcase_add_test(tcase, test_owner);
    tcase_add_test(tcase, test_threads);
    tcase_add_test(tcase, test_lock);
    tcase_add_test(tcase, test_busy);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? 0 : 1;
}
