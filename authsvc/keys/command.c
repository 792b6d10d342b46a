/* "authsvc key": generates, lists, activates, retires and exports keys. */

#include "authsvc/keys/command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "authsvc/audit/command.h"
#include "authsvc/core/command.h"
#include "authsvc/core/files.h"
#include "authsvc/keys/dir.h"


typedef struct {
    const char  *directory;
    const char  *algorithm;             /* only for "generate" */
    const char  *out;                   /* only for "export" */
    int64_t      ttl;                   /* ms */
    int64_t      grace;                 /* ms */
    int          activate;              /* only for "generate" */
    int          at_once;               /* only for "retire" */
    audit_options_t  audit;
} keys_options_t;

typedef struct {
    const char      *kid;
    signkey_alg_t    alg;               /* for "generate" */
    signkey_t        made;              /* by "generate" */
    int64_t          now;
    keydir_t         dir;               /* its error is that of the command */
    keydir_list_t    list;
} keys_t;


static int keys_generate(void *data);
static int keys_list(void *data);
static int keys_activate(void *data);
static int keys_retire(void *data);
static int keys_export(void *data);
static bool keys_takes(const command_t *command);
static int keys_run(const command_t *command, char **words, char *error);


static keys_options_t  opts;

static const option_t  keys_table[] = {
    { "keys DIR", "AUTHSVC_KEYS", OPTION_STRING, &opts.directory, NULL, 1,
      KEYDIR_PATH,
      "directory of the keys; \"generate\" creates it; required" },
    { "algorithm NAME", NULL, OPTION_STRING, &opts.algorithm, "EdDSA", 1, 32,
      "with \"generate\": HS256, RS256, PS256, ES256, EdDSA" },
    { "activate", NULL, OPTION_FLAG, &opts.activate, NULL, 0, 0,
      "with \"generate\": the new key signs at once" },
    { "now", NULL, OPTION_FLAG, &opts.at_once, NULL, 0, 0,
      "with \"retire\": its tokens are refused from now on" },
    { "out FILE", NULL, OPTION_STRING, &opts.out, NULL, 1, KEYDIR_PATH,
      "with \"export\": file for the JWK Set, else standard output" },
    { "token-ttl", "AUTHSVC_TOKEN_TTL", OPTION_TIME, &opts.ttl, "1h", 1000,
      KEYDIR_TTL_MAX * 1000,
      "life of tokens, if authsvc could not note it with the key" },
    { "grace", "AUTHSVC_KEY_GRACE", OPTION_TIME, &opts.grace, "1m", 0,
      KEYDIR_TTL_MAX * 1000,
      "how long a retired key stays after its last token" },
    AUDIT_COMMAND_OPTION(&opts.audit),
    { NULL, NULL, OPTION_FLAG, NULL, NULL, 0, 0, NULL }
};

static const command_t  keys_commands[] = {
    { "generate", " [--algorithm NAME] [--activate]", 0, keys_generate },
    { "list", "", 0, keys_list },
    { "activate", " KID", 1, keys_activate },
    { "retire", " KID [--now]", 1, keys_retire },
    { "export", " [--out FILE]", 0, keys_export },
    { NULL, NULL, 0, NULL }
};

static const command_set_t  keys_set = {
    "key", " --keys DIR", keys_commands, keys_table, keys_takes, keys_run
};


static int
keys_error(keys_t *keys, const char *text)
{
    snprintf(keys->dir.error, sizeof(keys->dir.error), "%s", text);

    return -1;
}


static keydir_entry_t *
keys_find(keys_t *keys, const char *kid)
{
    keydir_entry_t  *entry;

    entry = keydir_find(&keys->list, kid);

    if (entry == NULL) {
        (void) keys_error(keys, "there is no such key; \"authsvc key list\" "
                          "shows them");
    }

    return entry;
}


/* The new key signs before the old one is retired: after a crash in between the
 * old one is published for too long. */
static int
keys_set_active(keys_t *keys, const keydir_entry_t *entry)
{
    int64_t          age, ttl, grace;
    keydir_entry_t  *old;

    old = keydir_find(&keys->list, NULL);
    ttl = old != NULL && old->ttl != 0 ? old->ttl : opts.ttl / 1000;
    grace = opts.grace / 1000;

    if (keydir_activate(&keys->dir, &entry->key) != 0
        || (old != NULL && keydir_note_until(&keys->dir, old->key.kid,
                                             keys->now + ttl + grace) != 0))
    {
        return -1;
    }

    age = keys->now > entry->created ? keys->now - entry->created : 0;

    /* a gateway that reads the set once a minute may not have seen it yet */
    if (old != NULL && entry->key.alg != SIGNKEY_HS256
        && entry->until == KEYDIR_FOREVER && age < grace)
    {
        fprintf(stderr, "authsvc: warning: the key is %" PRId64 " s old; a "
                "gateway that has not read it yet refuses its tokens\n", age);
    }

    return 0;
}


static int
keys_add(keys_t *keys, const signkey_t *key)
{
    keydir_entry_t  entry;

    if (keys->list.n == KEYDIR_MAX) {
        return keys_error(keys, "there are 32 keys, which is the most: retire "
                          "some");
    }

    entry.key = *key;
    entry.created = keys->now;
    entry.until = KEYDIR_FOREVER;

    return keydir_add(&keys->dir, key) == 0
           && (!opts.activate || keys_set_active(keys, &entry) == 0)
           ? 0 : -1;
}


static int
keys_generate(void *data)
{
    int      rc;
    keys_t  *keys = data;

    rc = keys_add(keys, &keys->made);

    if (rc == 0) {
        printf("%s\n", keys->made.kid);
    }

    if (rc == 0 && keys->alg == SIGNKEY_HS256) {
        fprintf(stderr, "authsvc: a secret is not published: gateways need "
                "the file %s/%s.secret\n", opts.directory, keys->made.kid);
    }

    return rc;
}


static int
keys_list(void *data)
{
    char     created[KEYDIR_TIME], until[KEYDIR_TIME];
    const    keydir_entry_t  *e;
    size_t   i;
    keys_t  *keys = data;

    for (i = 0; i < keys->list.n; i++) {
        e = &keys->list.list[i];

        printf("%s\t%s\t%s\tcreated=%s\tuntil=%s\n", e->key.kid,
               signkey_algs[e->key.alg], keydir_state(e),
               keydir_time(e->created, created), keydir_time(e->until, until));
    }

    return 0;
}


static int
keys_activate(void *data)
{
    keys_t          *keys = data;
    keydir_entry_t  *entry;

    entry = keys_find(keys, keys->kid);

    if (entry == NULL) {
        return -1;
    }

    return entry->active ? keys_error(keys, "the key is active already")
                         : keys_set_active(keys, entry);
}


/* Activating another key retires the active one; this is for the others. */
static int
keys_retire(void *data)
{
    keys_t          *keys = data;
    keydir_entry_t  *entry;

    entry = keys_find(keys, keys->kid);

    if (entry == NULL) {
        return -1;
    }

    if (entry->active) {
        return keys_error(keys, "the key signs, activate another one first");
    }

    if (entry->until != KEYDIR_FOREVER && !opts.at_once) {
        return keys_error(keys, "the key is retired already; with --now its "
                          "tokens are refused from now on");
    }

    return keydir_remove(&keys->dir, &entry->key);
}


static int
keys_export(void *data)
{
    int      rc;
    char    *text;
    size_t   i;
    keys_t  *keys = data;

    if (keydir_load(&keys->dir, &keys->list) != 0) {
        return -1;
    }

    for (i = 0; i < keys->list.n; i++) {
        keydir_warn_key(&keys->dir, &keys->list.list[i]);
    }

    text = keydir_set(&keys->list);
    keydir_drop(&keys->list);

    if (text == NULL) {
        return keys_error(keys, "out of memory");
    }

    rc = 0;

    if (opts.out == NULL || strcmp(opts.out, "-") == 0) {
        fputs(text, stdout);

    } else if (files_replace(opts.out, text, strlen(text), 0644) != 0)
    {
        snprintf(keys->dir.error, sizeof(keys->dir.error), "\"%.*s\": %s",
                 KEYDIR_PATH, opts.out, files_strerror(errno));
        rc = -1;
    }

    free(text);

    return rc;
}


static bool
keys_takes(const command_t *command)
{
    return (!opts.activate || command->run == keys_generate)
           && (!opts.at_once || command->run == keys_retire)
           && (opts.out == NULL || command->run == keys_export);
}


/* A key is made before the lock is taken, for which others wait: RSA may take
 * seconds.  The time is read after the wait for the lock.  Keys whose time is
 * over do not count, also where they cannot be removed. */
static int
keys_change(keys_t *keys, const command_t *command)
{
    int        rc;
    keydir_t  *dir;

    dir = &keys->dir;

    if (command->run == keys_generate
        && signkey_generate(&keys->made, keys->alg) != 0)
    {
        return keys_error(keys, "cannot make a key");
    }

    if (keydir_open(dir, opts.directory, command->run == keys_generate) != 0) {
        signkey_free(&keys->made);
        return -1;
    }

    keydir_warn(dir->path, dir->mode);
    keys->now = time(NULL);
    rc = keydir_read(dir, &keys->list);

    if (rc == 0 && keydir_expire(dir, &keys->list, keys->now) != 0) {
        rc = command->run == keys_list || command->run == keys_export ? 0 : -1;
    }

    if (rc == 0) {
        rc = command->run(keys);
    }

    keydir_close(dir);
    signkey_free(&keys->made);

    return rc;
}


static int
keys_run(const command_t *command, char **words, char *error)
{
    int             alg, rc;
    audit_t        *audit;
    audit_event_t   event;
    static keys_t   keys;

    alg = signkey_alg_find(opts.algorithm);

    if (alg < 0) {
        snprintf(error, COMMAND_ERROR, "--algorithm: \"%.32s\" is none of "
                 "HS256, RS256, PS256, ES256, EdDSA", opts.algorithm);
        return 2;
    }

    if (opts.directory == NULL) {
        snprintf(error, COMMAND_ERROR, "--keys (AUTHSVC_KEYS) is required");
        return 2;
    }

    keys.kid = command->n > 0 ? words[0] : NULL;
    keys.alg = (signkey_alg_t) alg;

    if (audit_command_open(&opts.audit, &audit, error, COMMAND_ERROR) != 0) {
        return 1;
    }

    rc = keys_change(&keys, command) == 0 ? 0 : 1;
    if (rc != 0) {
        snprintf(error, COMMAND_ERROR, "%s", keys.dir.error);
    }

    memset(&event, 0, sizeof(event));
    event.kid = keys.kid;
    audit_command_close(audit, "key", command->name, &event, rc, error);

    return rc;
}


int
keys_main(int argc, char **argv)
{
    return command_main(&keys_set, argc, argv);
}


void
keys_help(FILE *out)
{
    command_help(&keys_set, out);
}
