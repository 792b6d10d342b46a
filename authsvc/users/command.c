/*
 * "authsvc user": adds, changes, lists and imports users of a store.
 */

#include "authsvc/users/command.h"

#include <stdint.h>
#include <string.h>
#include <sodium.h>

#include "authsvc/core/command.h"
#include "authsvc/login/password.h"
#include "authsvc/store/store.h"
#include "authsvc/users/import.h"
#include "authsvc/users/prompt.h"


typedef struct {
    const char  *store;
    const char  *role;                  /* NULL: not given */
    int          create;
    int          update;
    int          skip;
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
static int users_list(void *data);
static int users_import(void *data);
static bool users_takes(const command_t *command);
static int users_run(const command_t *command, char **words, char *error);


static const command_t  users_commands[] = {
    { "add", " NAME [--role ROLE] [--create]", 1, users_add },
    { "passwd", " NAME", 1, users_passwd },
    { "role", " NAME ROLE", 2, users_role },
    { "del", " NAME", 1, users_del },
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
           ? LIMIT_ROLE_TEXT : NULL;
}


static int
users_run(const command_t *command, char **words, char *error)
{
    int          rc;
    users_t      users;
    const char  *wrong;

    users.error = error;
    users.name = words[0];
    users.role = command->n > 1 ? words[1] : opts.role;

    wrong = users_check(&users, command);

    if (wrong != NULL) {
        snprintf(error, COMMAND_ERROR, "%s", wrong);
        return 2;
    }

    users.store = store_open(opts.store, opts.create, error, COMMAND_ERROR);

    if (users.store == NULL) {
        return 1;
    }

    rc = command->run(&users) == 0 ? 0 : 1;
    store_close(users.store);

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
