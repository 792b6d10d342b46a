/*
 * Keys that change while they are used: the directory, what signs, what is
 * published.
 */

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>
#include <jansson.h>

#include "authsvc/t/folder.h"
#include "authsvc/t/ring.h"
#include "authsvc/t/suite.h"


START_TEST(test_rotation)
{
    char         a[SIGNKEY_KID + 1], b[SIGNKEY_KID + 1];
    keyring_t   *ring;
    struct stat  st;

    ring_generate(SIGNKEY_ES256, a);
    ring_activate(a, NOW);
    ring = ring_open();
    ck_assert(ring_signs(ring, a));
    ck_assert(ring_publishes(a));
    ck_assert_int_eq(stat(ring_published, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0644);

    /* the life of its tokens was noted */
    ck_assert_int_eq(ring_find(a)->ttl, TTL);

    ring_generate(SIGNKEY_EDDSA, b);
    ck_assert(!ring_publishes(b));
    keyring_check(ring, NOW, 0);
    ck_assert(ring_publishes(a) && ring_publishes(b));
    ck_assert(ring_signs(ring, a));

    ring_activate(b, NOW + 20);
    ck_assert(ring_signs(ring, a));
    keyring_check(ring, NOW + 20, 0);
    ck_assert(ring_signs(ring, b));
    ck_assert(ring_publishes(a) && ring_publishes(b));

    keyring_check(ring, NOW + 20 + TTL + GRACE - 1, 0);
    ck_assert(ring_publishes(a) && ring_publishes(b));
    keyring_check(ring, NOW + 20 + TTL + GRACE, 0);
    ck_assert(!ring_publishes(a) && ring_publishes(b));

    /* its file, too */
    ck_assert_ptr_null(ring_find(a));
    ck_assert_uint_eq(ring_list.n, 1);

    keyring_check(ring, NOW + 20 + TTL + GRACE, 1);
    ck_assert(ring_signs(ring, b));
    keyring_free(ring);
}
END_TEST


/* The set is there before a key of it signs. */
START_TEST(test_publish_first)
{
    char        a[SIGNKEY_KID + 1], b[SIGNKEY_KID + 1];
    keyring_t  *ring;

    ck_assert_int_eq(mkdir(folder_path("out"), 0700), 0);
    ring_options.publish = folder_path("out/jwks.json");
    ring_generate(SIGNKEY_EDDSA, a);
    ring_activate(a, NOW);
    ring = ring_open();

    ck_assert_int_eq(rename(folder_path("out"), folder_path("away")), 0);
    ring_generate(SIGNKEY_EDDSA, b);
    ring_activate(b, NOW);
    keyring_check(ring, NOW, 0);
    keyring_check(ring, NOW, 0);
    ck_assert(ring_signs(ring, a));

    /* tried again without another change */
    ck_assert_int_eq(rename(folder_path("away"), folder_path("out")), 0);
    keyring_check(ring, NOW, 0);
    ck_assert(ring_signs(ring, b));
    ring_published = folder_path("out/jwks.json");
    ck_assert(ring_publishes(a) && ring_publishes(b));
    keyring_free(ring);
}
END_TEST


START_TEST(test_broken)
{
    char        a[SIGNKEY_KID + 1], b[SIGNKEY_KID + 1], name[64];
    keyring_t  *ring;

    ring_generate(SIGNKEY_RS256, a);
    ring_activate(a, NOW);
    ring = ring_open();

    /* no key is active */
    ck_assert_int_eq(unlink(folder_path("keys/active")), 0);
    keyring_check(ring, NOW, 0);
    ck_assert(ring_signs(ring, a) && ring_publishes(a));

    /* a broken key */
    ring_generate(SIGNKEY_RS256, b);
    ring_activate(b, NOW);
    snprintf(name, sizeof(name), "keys/%s.RS256.pem", b);
    folder_write(name, "hello", 5, 0600);
    keyring_check(ring, NOW, 0);
    ck_assert(ring_signs(ring, a) && ring_publishes(a) && !ring_publishes(b));
    ck_assert_int_eq(unlink(folder_path(name)), 0);

    /* no directory */
    ck_assert_int_eq(rename(folder_path("keys"), folder_path("away")), 0);
    keyring_check(ring, NOW, 0);
    ck_assert(ring_signs(ring, a) && ring_publishes(a));
    ck_assert_int_eq(rename(folder_path("away"), folder_path("keys")), 0);

    /* a good one again, without the old key */
    ring_generate(SIGNKEY_RS256, b);
    ring_activate(b, NOW);
    ring_remove(a);
    keyring_check(ring, NOW, 0);
    ck_assert(ring_signs(ring, b) && ring_publishes(b) && !ring_publishes(a));
    keyring_free(ring);
}
END_TEST


static void
assert_no_ring(const char *text)
{
    ck_assert_ptr_null(keyring_open(&ring_options, TTL, NOW, ring_error,
                                    sizeof(ring_error)));
    ck_assert_msg(strstr(ring_error, text) != NULL, "%s", ring_error);
}


START_TEST(test_open)
{
    char        a[SIGNKEY_KID + 1];
    keyring_t  *ring;

    assert_no_ring("no key is active");

    ring_generate(SIGNKEY_PS256, a);
    assert_no_ring("no key is active; \"authsvc key activate KID\"");

    ring_options.directory = folder_path("none");
    assert_no_ring("none\": No such file");

    folder_write("file", "", 0, 0600);
    ring_options.directory = folder_path("file");
    assert_no_ring("Not a directory");

    /* the first key is made */
    ring_options.create = true;
    ring_options.directory = folder_path("typo/keys");
    assert_no_ring("the directory that it would be in does not exist");
    ring_options.directory = folder_path("new");
    ring = ring_open();
    keyring_free(ring);
    ring = ring_open();
    keyring_free(ring);
}
END_TEST


static void
assert_created(const char *kid, size_t n)
{
    keyring_t  *ring;

    ring = ring_open();
    keyring_free(ring);
    ck_assert_ptr_nonnull(ring_find(NULL));
    ck_assert_uint_eq(ring_list.n, n);
    ck_assert(kid == NULL || strcmp(ring_find(NULL)->key.kid, kid) == 0);
}


/* A process was killed before it made the first key active, or its disk was
 * full; the next one goes on. */
START_TEST(test_create)
{
    char            a[SIGNKEY_KID + 1], b[SIGNKEY_KID + 1], name[64];
    struct timeval  times[2];

    ring_options.create = true;
    ring_generate(SIGNKEY_ES256, a);
    ring_generate(SIGNKEY_ES256, b);

    /* that which others may have read for longest */
    memset(times, 0, sizeof(times));
    snprintf(name, sizeof(name), "keys/%s.ES256.pem", b);
    ck_assert_int_eq(utimes(folder_path(name), times), 0);
    assert_created(b, 2);
    assert_created(b, 2);

    /* keys were changed before: this one may be as old as they are */
    ck_assert_int_eq(unlink(folder_path("keys/active")), 0);
    ring_retire(b, NOW + TTL);
    assert_created(NULL, 3);
    ck_assert(strcmp(ring_find(NULL)->key.kid, a) != 0);
}
END_TEST


/* A new key would be one too many, and the directory could not be read. */
START_TEST(test_create_full)
{
    int   i;
    char  kid[SIGNKEY_KID + 1];

    ring_options.create = true;

    for (i = 0; i < KEYDIR_MAX; i++) {
        ring_generate(SIGNKEY_EDDSA, kid);
    }

    ring_retire(kid, NOW + TTL);
    assert_no_ring("no key is active");
    assert_no_ring("no key is active");
}
END_TEST


static void
assert_logged(FILE *log, int n, const char *text)
{
    int   found;
    char  line[1024];

    found = 0;
    rewind(log);

    while (fgets(line, sizeof(line), log) != NULL) {
        found += strstr(line, text) != NULL;
    }

    ck_assert_int_eq(found, n);
}


/* Once for each key and mode, also while the keys cannot be published. */
START_TEST(test_mode)
{
    int         i;
    char        a[SIGNKEY_KID + 1], name[64];
    FILE       *log;
    keyring_t  *ring;

    ck_assert_int_eq(mkdir(folder_path("out"), 0700), 0);
    ring_options.publish = folder_path("out/jwks.json");
    ring_generate(SIGNKEY_EDDSA, a);
    ring_activate(a, NOW);
    snprintf(name, sizeof(name), "keys/%s.EdDSA.pem", a);
    ck_assert_int_eq(chmod(folder_path(name), 0640), 0);

    log = tmpfile();
    ck_assert_ptr_nonnull(log);
    ck_assert_int_ge(dup2(fileno(log), STDERR_FILENO), 0);
    ring = ring_open();
    assert_logged(log, 1, "keys: mode 0640");

    ck_assert_int_eq(rename(folder_path("out"), folder_path("away")), 0);

    for (i = 0; i < 3; i++) {
        keyring_check(ring, NOW, 1);
    }

    ck_assert_int_eq(rename(folder_path("away"), folder_path("out")), 0);
    keyring_check(ring, NOW, 0);
    assert_logged(log, 1, "the keys can be read again");
    assert_logged(log, 1, "keys: mode 0640");

    ck_assert_int_eq(chmod(folder_path(name), 0604), 0);
    keyring_check(ring, NOW, 0);
    keyring_check(ring, NOW, 1);
    assert_logged(log, 1, "keys: mode 0604");

    ck_assert_int_eq(chmod(folder_path(name), 0600), 0);
    keyring_check(ring, NOW, 0);
    assert_logged(log, 2, "keys: mode");
    keyring_free(ring);
    fclose(log);
}
END_TEST


START_TEST(test_secret)
{
    char        a[SIGNKEY_KID + 1], b[SIGNKEY_KID + 1];
    keyring_t  *ring;

    ring_generate(SIGNKEY_HS256, a);
    ring_generate(SIGNKEY_ES256, b);
    ring_activate(a, NOW);
    ring = ring_open();
    ck_assert(ring_signs(ring, a));
    ck_assert(!ring_publishes(a) && ring_publishes(b));
    keyring_free(ring);
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
    signkey_t   key;

    claims = json_pack("{s:s}", "sub", "u");

    while (!atomic_load(signer->stop)) {
        keyring_take(signer->ring, &key);
        token = signkey_token(&key, claims);
        signer->tokens += token != NULL;
        free(token);
        signkey_free(&key);
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

    ring_generate(SIGNKEY_EDDSA, kid);
    ring_activate(kid, NOW);
    ring = ring_open();
    atomic_init(&stop, false);
    memset(signers, 0, sizeof(signers));

    for (i = 0; i < THREADS; i++) {
        signers[i].ring = ring;
        signers[i].stop = &stop;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, sign, &signers[i]),
                         0);
    }

    for (i = 0; i < 60; i++) {
        ring_generate(i % 2 ? SIGNKEY_ES256 : SIGNKEY_EDDSA, kid);
        ring_activate(kid, NOW + 60 * i);
        keyring_check(ring, NOW + 60 * i, i % 3 == 0);
        ck_assert(ring_signs(ring, kid));
    }

    atomic_store(&stop, true);

    for (i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_gt(signers[i].tokens, 0);
    }

    keyring_free(ring);
}
END_TEST


/* authsvc may not note anything; the published set is right nevertheless. */
START_TEST(test_read_only)
{
    char        a[SIGNKEY_KID + 1], b[SIGNKEY_KID + 1];
    keyring_t  *ring;

    ring_generate(SIGNKEY_ES256, a);
    ring_generate(SIGNKEY_ES256, b);
    ring_activate(a, NOW);
    ring_activate(b, NOW);

    ring_read_only(true);
    ring = ring_open();
    ck_assert(ring_publishes(a) && ring_publishes(b));
    keyring_check(ring, NOW + TTL + GRACE, 0);
    ck_assert(!ring_publishes(a) && ring_publishes(b));
    ck_assert_ptr_nonnull(ring_find(a));

    ring_read_only(false);
    keyring_check(ring, NOW + TTL + GRACE, 0);
    ck_assert_ptr_null(ring_find(a));
    ck_assert_int_eq(ring_find(b)->ttl, TTL);
    keyring_free(ring);
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("keyring");
    tcase = tcase_create("keyring");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, ring_setup, ring_teardown);
    tcase_add_test(tcase, test_rotation);
    tcase_add_test(tcase, test_publish_first);
    tcase_add_test(tcase, test_broken);
    tcase_add_test(tcase, test_open);
    tcase_add_test(tcase, test_create);
    tcase_add_test(tcase, test_create_full);
    tcase_add_test(tcase, test_mode);
    tcase_add_test(tcase, test_secret);
    tcase_add_test(tcase, test_threads);
    tcase_add_test(tcase, test_read_only);
    suite_add_tcase(suite, tcase);

    return suite_run(suite);
}
