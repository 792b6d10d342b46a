#include "authsvc/keys.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "authsvc/files.h"
#include "authsvc/keydir.h"
#include "authsvc/keyring.h"
#include "authsvc/version.h"
#include "rpc/options.h"


#define KEYS_ERROR  (KEYDIR_PATH + 512)
#define KEYS_WAIT   10000               /* ms for the lock */


typedef struct {
    const char  *directory;
    const char  *algorithm;             /* only for "generate" */
    const char  *out;                   /* only for "export" */
    int64_t      ttl;                   /* ms */
    int64_t      grace;                 /* ms */
    int          activate;              /* only for "generate" */
    int          at_once;               /* only for "retire" */
} keys_options_t;

typedef struct {
    keys_options_t   options;
    const char      *kid;
    signkey_alg_t    alg;               /* for "generate" */
    int64_t          now;
    keylist_t        list;              /* the lock is held while it changes */
    char             error[KEYS_ERROR];
} keys_t;

typedef struct {
    const char  *name;
    const char  *arguments;
    int          n;                     /* how many of them */
    bool         change;                /* under the lock */
    bool         create;                /* makes the directory if missing */
    int        (*run)(keys_t *keys);
} keys_command_t;


static int keys_generate(keys_t *keys);
static int keys_list(keys_t *keys);
static int keys_activate(keys_t *keys);
static int keys_retire(keys_t *keys);
static int keys_export(keys_t *keys);


static const keys_command_t  keys_commands[] = {
    { "generate", "", 0, true, true, keys_generate },
    { "list", "", 0, false, false, keys_list },
    { "activate", " KID", 1, true, false, keys_activate },
    { "retire", " KID", 1, true, false, keys_retire },
    { "export", "", 0, false, false, keys_export },
    { NULL, NULL, 0, false, false, NULL }
};

static const char *const  keys_messages[] = {
    [KEYLIST_MISSING] = "there is no such key",
    [KEYLIST_FULL] = "there are too many keys, retire some",
    [KEYLIST_EXISTS] = "the key is there already",
    [KEYLIST_IN_USE] = "the key signs, activate another one first",
    [KEYLIST_DONE] = "the key is in that state already"
};


static int
keys_save(keys_t *keys, keylist_status_t status)
{
    if (status != KEYLIST_OK) {
        snprintf(keys->error, sizeof(keys->error), "%s", keys_messages[status]);
        return -1;
    }

    (void) keylist_prune(&keys->list, keys->now);

    return keydir_save(keys->options.directory, &keys->list, keys->error,
                       sizeof(keys->error));
}


/* What a gateway that reads the set once a minute may not have seen yet. */
static void
keys_warn_new(const keys_t *keys, int64_t created)
{
    int64_t  age;

    age = keys->now - created;

    if (age < keys->options.grace / 1000) {
        fprintf(stderr, "authsvc: warning: the key is %" PRId64 " s old; a "
                "gateway that has not read it yet refuses its tokens\n", age);
    }
}


static keylist_status_t
keys_set_active(keys_t *keys, const char *kid)
{
    bool              first;
    keylist_entry_t  *entry;
    keylist_status_t  status;

    first = keylist_active(&keys->list) == NULL;
    status = keylist_activate(&keys->list, kid, keys->now,
                              keys->options.ttl / 1000,
                              keys->options.grace / 1000);
    entry = keylist_find(&keys->list, kid);

    if (status == KEYLIST_OK && !first && entry->alg != SIGNKEY_HS256) {
        keys_warn_new(keys, entry->created);
    }

    return status;
}


static int
keys_add(keys_t *keys, const signkey_t *key)
{
    keylist_status_t  status;

    status = keylist_add(&keys->list, key, keys->now);

    if (status == KEYLIST_OK && keys->options.activate) {
        status = keys_set_active(keys, signkey_kid(key));
    }

    if (status == KEYLIST_OK
        && keydir_add(keys->options.directory, key, keys->error,
                      sizeof(keys->error))
           != 0)
    {
        return -1;
    }

    return keys_save(keys, status);
}


static int
keys_generate(keys_t *keys)
{
    int         rc;
    signkey_t  *key;

    key = signkey_generate(keys->alg);
    if (key == NULL) {
        snprintf(keys->error, sizeof(keys->error), "cannot make a key");
        return -1;
    }

    rc = keys_add(keys, key);

    if (rc == 0) {
        printf("%s\n", signkey_kid(key));

        if (keys->alg == SIGNKEY_HS256) {
            fprintf(stderr, "authsvc: a secret is not published: gateways "
                    "need the file %s/%s.secret\n", keys->options.directory,
                    signkey_kid(key));
        }
    }

    signkey_unref(key);

    return rc;
}


static const char *
keys_time(int64_t seconds, char out[32])
{
    time_t     t;
    struct tm  tm;

    t = (time_t) seconds;

    if (seconds == 0 || seconds == INT64_MAX || gmtime_r(&t, &tm) == NULL) {
        return "-";
    }

    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);

    return out;
}


static int
keys_list(keys_t *keys)
{
    char                    created[32], activated[32], until[32];
    size_t                  i;
    const keylist_entry_t  *e;

    for (i = 0; i < keys->list.n; i++) {
        e = &keys->list.list[i];

        printf("%s\t%s\t%s\tcreated=%s\tactivated=%s\tuntil=%s\n", e->kid,
               signkey_algs[e->alg], keylist_states[e->state],
               keys_time(e->created, created),
               keys_time(e->activated, activated),
               keys_time(keylist_until(e), until));
    }

    return 0;
}


static int
keys_activate(keys_t *keys)
{
    return keys_save(keys, keys_set_active(keys, keys->kid));
}


static int
keys_retire(keys_t *keys)
{
    return keys_save(keys, keylist_retire(&keys->list, keys->kid,
                                          keys->options.at_once));
}


static int
keys_export(keys_t *keys)
{
    int    rc;
    char  *text;

    text = keyring_export(keys->options.directory, keys->now, keys->error,
                          sizeof(keys->error));
    if (text == NULL) {
        return -1;
    }

    rc = 0;

    if (keys->options.out == NULL || strcmp(keys->options.out, "-") == 0) {
        fputs(text, stdout);

    } else if (files_replace(keys->options.out, text, strlen(text), 0644) != 0)
    {
        snprintf(keys->error, sizeof(keys->error), "\"%.*s\": %s", KEYDIR_PATH,
                 keys->options.out, strerror(errno));
        rc = -1;
    }

    free(text);

    return rc;
}


static void
keys_options(keys_options_t *o, const option_t **table)
{
    static option_t  rows[8];

    const option_t  all[] = {
        { "keys", "AUTHSVC_KEYS", OPTION_STRING, &o->directory, NULL, 1,
          KEYDIR_PATH,
          "directory of the keys; \"generate\" creates it; required" },
        { "algorithm", NULL, OPTION_STRING, &o->algorithm, "EdDSA", 1, 32,
          "with \"generate\": HS256, RS256, PS256, ES256, EdDSA" },
        { "activate", NULL, OPTION_FLAG, &o->activate, NULL, 0, 0,
          "with \"generate\": the new key signs at once" },
        { "now", NULL, OPTION_FLAG, &o->at_once, NULL, 0, 0,
          "with \"retire\": its tokens are refused from now on" },
        { "out", NULL, OPTION_STRING, &o->out, NULL, 1, KEYDIR_PATH,
          "with \"export\": file for the JWK Set, else standard output" },
        { "token-ttl", "AUTHSVC_TOKEN_TTL", OPTION_TIME, &o->ttl, "1h", 1000,
          INT64_C(366) * 86400 * 1000,
          "life of tokens, if authsvc could not note it with the key" },
        { "grace", "AUTHSVC_KEY_GRACE", OPTION_TIME, &o->grace, "1m", 0,
          INT64_C(366) * 86400 * 1000,
          "how long a retired key stays after its last token" },
        { NULL, NULL, OPTION_FLAG, NULL, NULL, 0, 0, NULL }
    };

    memcpy(rows, all, sizeof(all));
    *table = rows;
}


void
keys_help(FILE *out)
{
    const option_t        *table;
    keys_options_t         options;
    const keys_command_t  *command;

    for (command = keys_commands; command->name != NULL; command++) {
        fprintf(out, "  authsvc key %s%s\n", command->name,
                command->arguments);
    }

    keys_options(&options, &table);
    options_help(table, out);
}


static const keys_command_t *
keys_find_command(const char *name)
{
    const keys_command_t  *command;

    for (command = keys_commands; command->name != NULL; command++) {
        if (strcmp(command->name, name) == 0) {
            return command;
        }
    }

    return NULL;
}


static int
keys_algorithm(keys_t *keys)
{
    int  alg;

    alg = signkey_alg_find(keys->options.algorithm);
    if (alg < 0) {
        snprintf(keys->error, sizeof(keys->error), "--algorithm: \"%.32s\" is "
                 "none of HS256, RS256, PS256, ES256, EdDSA",
                 keys->options.algorithm);
        return -1;
    }

    keys->alg = (signkey_alg_t) alg;

    return 0;
}


/* The words that are not options; what is wrong is written to "error". */
static const keys_command_t *
keys_words(keys_t *keys, int n, char **words)
{
    const keys_command_t  *command;

    command = n > 0 ? keys_find_command(words[0]) : NULL;

    if (command == NULL) {
        snprintf(keys->error, sizeof(keys->error), n > 0
                 ? "unknown command \"key %.80s\", see authsvc --help"
                 : "key: a command is missing, see authsvc --help",
                 n > 0 ? words[0] : "");
        return NULL;
    }

    if (n - 1 != command->n
        || (keys->options.activate && command->run != keys_generate)
        || (keys->options.at_once && command->run != keys_retire)
        || (keys->options.out != NULL && command->run != keys_export))
    {
        snprintf(keys->error, sizeof(keys->error), "usage: authsvc key %s%s%s "
                 "--keys DIR", command->name, command->arguments,
                 command->run == keys_generate
                 ? " [--algorithm NAME] [--activate]"
                 : command->run == keys_retire ? " [--now]"
                 : command->run == keys_export ? " [--out FILE]" : "");
        return NULL;
    }

    if (keys->options.directory == NULL) {
        snprintf(keys->error, sizeof(keys->error),
                 "--keys (AUTHSVC_KEYS) is required");
        return NULL;
    }

    keys->kid = n > 1 ? words[1] : NULL;

    return keys_algorithm(keys) == 0 ? command : NULL;
}


static int
keys_run(keys_t *keys, const keys_command_t *command)
{
    int             rc;
    keydir_lock_t   lock;
    const char     *directory;

    directory = keys->options.directory;

    if (keydir_check(directory, command->create, keys->error,
                     sizeof(keys->error))
        != 0)
    {
        return -1;
    }

    if (command->change
        && keydir_lock(directory, &lock, KEYS_WAIT, keys->error,
                       sizeof(keys->error))
           != 0)
    {
        return -1;
    }

    /* after the wait for the lock */
    keys->now = time(NULL);

    rc = keydir_load(directory, &keys->list, keys->error, sizeof(keys->error))
         == 0
         ? command->run(keys) : -1;

    if (command->change) {
        keydir_unlock(&lock);
    }

    if (rc == 0 && fflush(stdout) != 0) {
        snprintf(keys->error, sizeof(keys->error), "cannot write the output");
        rc = -1;
    }

    return rc;
}


int
keys_main(int argc, char **argv)
{
    int                    n, rc;
    static keys_t          keys;
    const option_t        *table;
    const keys_command_t  *command;

    keys_options(&keys.options, &table);

    n = options_parse(table, argc, argv, keys.error, sizeof(keys.error));

    if (n == -2) {
        keys_help(stdout);
        return 0;
    }

    if (n == -3) {
        version_print();
        return 0;
    }

    rc = 2;
    command = n < 0 ? NULL : keys_words(&keys, argc - n, argv + n);

    if (command != NULL) {
        rc = keys_run(&keys, command) == 0 ? 0 : 1;
    }

    if (rc != 0) {
        fprintf(stderr, "authsvc: %s\n", keys.error);
    }

    return rc;
}
