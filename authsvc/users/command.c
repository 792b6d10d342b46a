/*
 * "authsvc user": adds, changes, disables, lists and imports users of a store.
 */

#include "authsvc/users/command.h"

#include <stdint.h>
#include <string.h>
#include <time.h>
#include <curl/curl.h>
#include <sodium.h>

#include "authsvc/audit/command.h"
#include "authsvc/core/command.h"
#include "authsvc/login/password.h"
#include "authsvc/revoke/gateways.h"
#include "authsvc/store/store.h"
#include "authsvc/users/import.h"
#include "authsvc/users/prompt.h"


/* seconds: a login that runs when its user is disabled has ended by then */
#define USERS_RUNNING  60


typedef struct {
    const char       *store;
    const char       *role;             /* NULL: not given */
    const char       *gateways;         /* NULL: none */
    const char       *issuer;
    gateways_tls_t    tls;
    audit_options_t   audit;
    int               create;
    int               update;
    int               skip;
} users_options_t;

typedef struct {
    store_t     *store;
    const char  *name;                  /* or the file to import */
    const char  *role;                  /* NULL: not given */
    char        *error;                 /* of COMMAND_ERROR bytes */
} users_t;

static int users_add(void *data);
static int users_passwd(void *data);
static int users_role(void *data);
static int users_del(void *data);
static int users_disable(void *data);
static int users_enable(void *data);
static int users_revoke(void *data);
static int users_list(void *data);
static int users_import(void *data);
static bool users_takes(const command_t *command);
static int users_run(const command_t *command, char **words, char *error);


static const command_t  users_commands[] = {
    { "add", " NAME [--role ROLE] [--create]", 1, users_add },
    { "passwd", " NAME", 1, users_passwd },
    { "role", " NAME ROLE", 2, users_role },
    { "del", " NAME", 1, users_del },
    { "disable", " NAME", 1, users_disable },
    { "enable", " NAME", 1, users_enable },
    { "revoke", " NAME", 1, users_revoke },
    { "list", "", 0, users_list },
    { "import", " FILE [--role ROLE] [--create] [--update | --skip]", 1,
      users_import },
    { NULL, NULL, 0, NULL }
};


static users_options_t  opts;

static const option_t  users_table[] = {
    { "store STORE", "AUTHSVC_STORE", OPTION_STRING, &opts.store, NULL, 1,
      4095, "users: SQLite file or postgresql:// URL; required" },
    { "role ROLE", NULL, OPTION_STRING, &opts.role, NULL, 1, LIMIT_ROLE,
      "\"add\", \"import\": role of new users (\"user\" if not given)" },
    { "create", NULL, OPTION_FLAG, &opts.create, NULL, 0, 0,
      "\"add\", \"import\": make the file, or the tables, if missing" },
    { "update", NULL, OPTION_FLAG, &opts.update, NULL, 0, 0,
      "\"import\": existing users get password and role of the file" },
    { "skip", NULL, OPTION_FLAG, &opts.skip, NULL, 0, 0,
      "\"import\": existing users keep what they have" },
    { "gateway-api LIST", "AUTHSVC_GATEWAY_API", OPTION_STRING,
      &opts.gateways, NULL, 1, 4095, "\"disable\", \"revoke\": the gateways "
      "that shall refuse the tokens, as http://127.0.0.1:10080/api, with "
      "commas between" },
    { "issuer NAME", "AUTHSVC_ISSUER", OPTION_STRING, &opts.issuer,
      "myservice", 1, 255, "claim \"iss\" of the tokens" },
    GATEWAYS_TLS_OPTIONS(&opts.tls),
    AUDIT_COMMAND_OPTION(&opts.audit),
    { NULL, NULL, OPTION_FLAG, NULL, NULL, 0, 0, NULL }
};

static const command_set_t  users_set = {
    "user", " --store STORE", users_commands, users_table, users_takes,
    users_run
};


static int
users_result(users_t *users, store_status_t status)
{
    if (status == STORE_OK) {
        return 0;
    }

    if (status == STORE_MISSING || status == STORE_EXISTS) {
        snprintf(users->error, COMMAND_ERROR,
                 status == STORE_MISSING ? "no user \"%s\""
                                         : "user \"%s\" exists already",
                 users->name);

    } else {
        snprintf(users->error, COMMAND_ERROR, "store \"%s\": %s",
                 store_name(users->store), store_error(users->store));
    }

    return -1;
}


/* Asks for a password and hashes it. */
static int
users_hash(users_t *users, char hash[PASSWORD_HASH])
{
    int   rc;
    char  password[PROMPT_PASSWORD];

    if (prompt_password(password, users->error, COMMAND_ERROR) != 0) {
        return -1;
    }

    rc = -1;

    if (!limits_password(password)) {
        snprintf(users->error, COMMAND_ERROR, LIMIT_PASSWORD_TEXT);

    } else if (password_hash(password, hash) != 0) {
        snprintf(users->error, COMMAND_ERROR,
                 "not enough memory to hash the password");

    } else {
        rc = 0;
    }

    sodium_memzero(password, sizeof(password));

    return rc;
}


static int
users_add(void *data)
{
    char      hash[PASSWORD_HASH];
    users_t  *users = data;

    if (users_hash(users, hash) != 0) {
        return -1;
    }

    return users_result(users, store_add(users->store, users->name, hash,
                                         users->role != NULL ? users->role
                                                             : "user"));
}


static int
users_passwd(void *data)
{
    char           hash[PASSWORD_HASH];
    users_t       *users = data;
    store_user_t   user;

    /* reports an unknown user before it asks for a password */
    if (users_result(users, store_find(users->store, users->name, &user)) != 0
        || users_hash(users, hash) != 0)
    {
        return -1;
    }

    return users_result(users,
                        store_set_hash(users->store, users->name, hash));
}


static int
users_role(void *data)
{
    users_t  *users = data;

    return users_result(users, store_set_role(users->store, users->name,
                                              users->role));
}


static int
users_del(void *data)
{
    users_t  *users = data;

    return users_result(users, store_delete(users->store, users->name));
}


/* The tokens of the user that were issued until "before". */
static int
users_tell_gateways(users_t *users, int64_t before)
{
    int   left;
    char  cause[512];

    if (users_result(users, gateways_owe(users->store, opts.gateways,
                                         opts.issuer, users->name, before))
        != 0)
    {
        return -1;
    }

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        snprintf(users->error, COMMAND_ERROR, "libcurl does not start");
        return -1;
    }

    left = gateways_send(users->store, &opts.tls, NULL, cause, sizeof(cause));
    curl_global_cleanup();

    if (left != 0) {
        snprintf(users->error, COMMAND_ERROR, "the store is changed, but not "
                 "every gateway has acknowledged it: %s (authsvc serve "
                 "repeats it)", cause);
        return -1;
    }

    return 0;
}


/* First the login, then the tokens: none is issued between. */
static int
users_disable(void *data)
{
    users_t  *users = data;

    if (users_result(users, store_disable(users->store, users->name, true))
        != 0)
    {
        return -1;
    }

    return opts.gateways == NULL
           ? 0 : users_tell_gateways(users, time(NULL) + USERS_RUNNING);
}


static int
users_enable(void *data)
{
    users_t  *users = data;

    return users_result(users, store_disable(users->store, users->name,
                                             false));
}


static int
users_revoke(void *data)
{
    users_t       *users = data;
    store_user_t   user;

    if (users_result(users, store_find(users->store, users->name, &user))
        != 0)
    {
        return -1;
    }

    return users_tell_gateways(users, time(NULL));
}


static void
users_list_row(const char *name, const char *role, void *data)
{
    fprintf(data, "%s\t%s\n", name, role);
}


static int
users_list(void *data)
{
    users_t  *users = data;

    return users_result(users, store_list(users->store, users_list_row,
                                          stdout));
}


static int
users_import(void *data)
{
    users_t          *users = data;
    import_count_t    count;
    import_policy_t   policy;

    policy = opts.update ? IMPORT_UPDATE
             : opts.skip ? IMPORT_SKIP : IMPORT_NEW;

    if (import_users(users->store, users->name, users->role, policy, &count,
                     users->error, COMMAND_ERROR)
        != 0)
    {
        return -1;
    }

    printf("%zu added, %zu updated, %zu skipped\n", count.added,
           count.updated, count.skipped);

    return 0;
}


static bool
users_takes(const command_t *command)
{
    bool  import;

    import = command->run == users_import;

    return ((opts.role == NULL && !opts.create) || import
            || command->run == users_add)
           && opts.update + opts.skip <= import;
}


/* What is wrong, or NULL. */
static const char *
users_check(const users_t *users, const command_t *command)
{
    return opts.store == NULL ? "--store (AUTHSVC_STORE) is required"
           : command->n > 0 && command->run != users_import
             && !limits_username(users->name)
           ? LIMIT_USERNAME_TEXT
           : users->role != NULL && !limits_role(users->role)
           ? LIMIT_ROLE_TEXT
           : command->run == users_revoke && opts.gateways == NULL
           ? "--gateway-api (AUTHSVC_GATEWAY_API) is required" : NULL;
}


static int
users_run(const command_t *command, char **words, char *error)
{
    int            rc;
    users_t        users;
    audit_t       *audit;
    const char    *wrong;
    audit_event_t  event;

    users.error = error;
    users.name = words[0];
    users.role = command->n > 1 ? words[1] : opts.role;

    wrong = users_check(&users, command);

    if (wrong != NULL) {
        snprintf(error, COMMAND_ERROR, "%s", wrong);
        return 2;
    }

    if (opts.gateways != NULL
        && gateways_check(opts.gateways, error, COMMAND_ERROR) != 0)
    {
        return 2;
    }

    if (audit_command_open(&opts.audit, &audit, error, COMMAND_ERROR) != 0) {
        return 1;
    }

    rc = 1;
    users.store = store_open(opts.store, opts.create, error, COMMAND_ERROR);

    if (users.store != NULL) {
        rc = command->run(&users) == 0 ? 0 : 1;
        store_close(users.store);
    }

    memset(&event, 0, sizeof(event));
    event.user = command->n > 0 && command->run != users_import ? users.name
                                                                : NULL;
    event.role = users.role;
    audit_command_close(audit, "user", command->name, &event, rc, error);

    return rc;
}


int
users_main(int argc, char **argv)
{
    return command_main(&users_set, argc, argv);
}


void
users_help(FILE *out)
{
    command_help(&users_set, out);
    fprintf(out, "authsvc asks for a password on the terminal, or reads one "
                 "line of standard\ninput.\n");
}
