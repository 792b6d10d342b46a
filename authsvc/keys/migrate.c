/*
 * A directory of authsvc 0.1: keys.json had the states, and a pair's file was
 * KID.pem.  The list is renamed last: a process that is killed before that is
 * followed by one that does it all again.
 */

#include "authsvc/keys/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "jwt/keys.h"
#include "rpc/log.h"


#define MIGRATE_DONE  KEYDIR_OLD_LIST ".migrated"
#define MIGRATE_LIST  65536             /* bytes of the list; 32 keys have 9000 */

/* the year of the sum has four digits */
#define MIGRATE_RETIRED  INT64_C(99999999999)


static bool
migrate_is_kid(const char *kid)
{
    int  end;

    end = 0;

    return sscanf(kid, "%*43[A-Za-z0-9_-]%n", &end) == 0
           && end == SIGNKEY_KID && kid[end] == '\0';
}


/* An entry of the list; what is wrong with it, or NULL. */
static const char *
migrate_parse(json_t *json, keydir_entry_t *entry)
{
    int          alg;
    bool         old, active;
    json_int_t   retired, ttl, grace;
    const char  *kid, *name, *state, *wrong;

    memset(entry, 0, sizeof(keydir_entry_t));

    if (json_unpack(json, "{s:s, s:s, s:s, s:I, s:I, s:I}", "kid", &kid,
                    "alg", &name, "state", &state, "retired", &retired,
                    "ttl", &ttl, "grace", &grace) != 0)
    {
        return "a member is missing or of the wrong type";
    }

    alg = signkey_alg_find(name);
    old = strcmp(state, "retired") == 0;
    active = strcmp(state, "active") == 0;

    wrong = !migrate_is_kid(kid)
            ? "\"kid\" must be 43 characters of A-Z a-z 0-9 - _"
            : alg < 0
            ? "\"alg\" must be HS256, RS256, PS256, ES256 or EdDSA"
            : !old && !active && strcmp(state, "ready") != 0
            ? "\"state\" must be ready, active or retired"
            : retired < 0 || retired > MIGRATE_RETIRED
            ? "\"retired\" must be from 0 to 99999999999"
            : ttl < 0 || ttl > KEYDIR_TTL_MAX
            ? "\"ttl\" must be from 0 to 31622400 (366 days)"
            : grace < 0 || grace > KEYDIR_TTL_MAX
            ? "\"grace\" must be from 0 to 31622400 (366 days)" : NULL;

    if (wrong != NULL) {
        return wrong;
    }

    strcpy(entry->key.kid, kid);
    entry->key.alg = (signkey_alg_t) alg;
    entry->active = active;
    entry->ttl = ttl;
    entry->until = old ? retired + ttl + grace : KEYDIR_FOREVER;

    return NULL;
}


static int
migrate_key(keydir_t *dir, json_t *json)
{
    char             old[KEYDIR_NAME], name[KEYDIR_NAME];
    const char      *wrong;
    keydir_entry_t   entry;

    wrong = migrate_parse(json, &entry);
    if (wrong != NULL) {
        return keydir_error(dir, KEYDIR_OLD_LIST, wrong);
    }

    if ((entry.ttl != 0
         && keydir_note_ttl(dir, entry.key.kid, entry.ttl) != 0)
        || (entry.until != KEYDIR_FOREVER
            && keydir_note_until(dir, entry.key.kid, entry.until) != 0))
    {
        return -1;
    }

    snprintf(old, sizeof(old), "%s.pem", entry.key.kid);
    keydir_name(&entry.key, name);

    if ((entry.key.alg == SIGNKEY_HS256
         || renameat(dir->fd, old, dir->fd, name) != 0)
        && faccessat(dir->fd, name, F_OK, 0) != 0)
    {
        return keydir_error(dir, entry.key.alg == SIGNKEY_HS256 ? name : old,
                            "the list " KEYDIR_OLD_LIST " names this key: put "
                            "its file back, or take it from the list");
    }

    return entry.active ? keydir_activate(dir, &entry.key) : 0;
}


/* NULL with an error. */
static json_t *
migrate_read(keydir_t *dir)
{
    char           path[PATH_MAX], text[MIGRATE_LIST];
    json_t        *json;
    ssize_t        n;
    json_error_t   e;

    snprintf(path, sizeof(path), "%.*s/" KEYDIR_OLD_LIST, KEYDIR_PATH,
             dir->path);

    n = ms_keys_read_file(path, text, sizeof(text), dir->error,
                          sizeof(dir->error));
    if (n < 0) {
        return NULL;
    }

    json = json_loadb(text, (size_t) n, JSON_REJECT_DUPLICATES, &e);

    if (!json_is_array(json_object_get(json, "keys"))) {
        (void) keydir_error(dir, KEYDIR_OLD_LIST, json == NULL ? e.text
                            : "is not a list of keys");
        json_decref(json);
        return NULL;
    }

    return json;
}


int
keydir_migrate(keydir_t *dir)
{
    int      rc;
    size_t   i;
    json_t  *json, *item;

    if (faccessat(dir->fd, ".", W_OK, AT_EACCESS) != 0) {
        return keydir_error(dir, KEYDIR_OLD_LIST, "the list of authsvc 0.1 "
                            "must be migrated once: run \"authsvc key list "
                            "--keys DIR\" as a user who may write to the "
                            "directory");
    }

    json = migrate_read(dir);
    if (json == NULL) {
        return -1;
    }

    rc = 0;

    json_array_foreach(json_object_get(json, "keys"), i, item) {
        rc = rc == 0 ? migrate_key(dir, item) : -1;
    }

    json_decref(json);

    if (rc == 0
        && renameat(dir->fd, KEYDIR_OLD_LIST, dir->fd, MIGRATE_DONE) != 0)
    {
        rc = keydir_error(dir, KEYDIR_OLD_LIST, strerror(errno));
    }

    if (rc == 0) {
        (void) fsync(dir->fd);
        log_info("migrated the keys in \"%s\": their states are in the names "
                 "of the files now, " KEYDIR_OLD_LIST " is " MIGRATE_DONE,
                 dir->path);
    }

    return rc;
}
