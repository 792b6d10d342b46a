/* A directory of keys and a keyring that reads it, for tests. */

#include "authsvc/t/ring.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <jansson.h>
#include <sodium.h>

#include "authsvc/t/folder.h"
#include "rpc/log.h"


char                ring_error[KEYDIR_ERROR];
const char         *ring_published;
keydir_list_t       ring_list;
keyring_options_t   ring_options;


keydir_t *
ring_dir(bool create)
{
    static keydir_t  dir;

    ck_assert_msg(keydir_open(&dir, folder_path("keys"), create) == 0, "%s",
                  dir.error);

    return &dir;
}


void
ring_setup(void)
{
    ck_assert_int_ge(sodium_init(), 0);
    log_open("test", LOG_LEVEL_DEBUG);
    folder_create();
    ring_published = folder_path("jwks.json");
    keydir_close(ring_dir(true));

    ring_options.directory = folder_path("keys");
    ring_options.publish = ring_published;
}


void
ring_teardown(void)
{
    folder_remove();
}


keyring_t *
ring_open(void)
{
    keyring_t  *ring;

    ring = keyring_open(&ring_options, TTL, NOW, ring_error,
                        sizeof(ring_error));
    ck_assert_msg(ring != NULL, "%s", ring_error);

    return ring;
}


keydir_entry_t *
ring_find(const char *kid)
{
    keydir_t  *dir;

    dir = ring_dir(false);
    ck_assert_msg(keydir_read(dir, &ring_list) == 0, "%s", dir->error);
    keydir_close(dir);

    return keydir_find(&ring_list, kid);
}


void
ring_generate(signkey_alg_t alg, char *kid)
{
    keydir_t   *dir;
    signkey_t   key;

    dir = ring_dir(false);
    ck_assert_int_eq(signkey_generate(&key, alg), 0);
    strcpy(kid, key.kid);
    ck_assert_int_eq(keydir_add(dir, &key), 0);
    signkey_free(&key);
    keydir_close(dir);
}


void
ring_retire(const char *kid, int64_t until)
{
    keydir_t  *dir;

    dir = ring_dir(false);
    ck_assert_int_eq(keydir_note_until(dir, kid, until), 0);
    keydir_close(dir);
}


void
ring_remove(const char *kid)
{
    keydir_t        *dir;
    keydir_entry_t  *entry;

    entry = ring_find(kid);
    dir = ring_dir(false);
    ck_assert_int_eq(keydir_remove(dir, &entry->key), 0);
    keydir_close(dir);
}


void
ring_activate(const char *kid, int64_t now)
{
    char             old[SIGNKEY_KID + 1];
    keydir_t        *dir;
    keydir_entry_t  *entry;

    entry = ring_find(NULL);
    strcpy(old, entry != NULL ? entry->key.kid : "");
    entry = keydir_find(&ring_list, kid);
    dir = ring_dir(false);
    ck_assert_int_eq(keydir_activate(dir, &entry->key), 0);
    keydir_close(dir);

    if (old[0] != '\0') {
        ring_retire(old, now + TTL + GRACE);
    }
}


void
ring_read_only(bool on)
{
    size_t  i;
    char    name[16 + KEYDIR_NAME];

    if (getuid() != 0) {
        ck_assert_int_eq(chmod(folder_path("keys"), on ? 0500 : 0700), 0);
        return;
    }

    ck_assert_int_eq(seteuid(0), 0);

    if (!on) {
        return;
    }

    (void) ring_find(NULL);

    for (i = 0; i < ring_list.n; i++) {
        strcpy(name, "keys/");
        keydir_name(&ring_list.list[i].key, name + 5);
        ck_assert_int_eq(chmod(folder_path(name), 0644), 0);
    }

    ck_assert_int_eq(chmod(folder_path("keys"), 0755), 0);
    ck_assert_int_eq(chown(folder_path(""), 12345, 12345), 0);
    ck_assert_int_eq(seteuid(12345), 0);
}


bool
ring_signs(keyring_t *ring, const char *kid)
{
    bool       same;
    signkey_t  key;

    keyring_take(ring, &key);
    same = strcmp(key.kid, kid) == 0;
    signkey_free(&key);

    return same;
}


bool
ring_publishes(const char *kid)
{
    bool     found;
    size_t   i;
    json_t  *set, *key;

    set = json_load_file(ring_published, 0, NULL);
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
