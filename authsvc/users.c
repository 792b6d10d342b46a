#include "authsvc/users.h"

#include <stdint.h>
#include <string.h>
#include <sodium.h>

#include "authsvc/import.h"
#include "authsvc/password.h"
#include "authsvc/prompt.h"
#include "authsvc/store.h"
#include "authsvc/version.h"
#include "rpc/options.h"


#define USERS_ERROR  512


typedef struct {
    const char  *store;
    const char  *role;                  /* only for "add" and "import" */
    int          update;                /* only for "import" */
    int          skip;
} users_options_t;

typedef struct {
    store_t      *store;
    const char   *name;
    const char   *role;                 /* NULL: not given */
    int           update;
    int           skip;
    char          error[USERS_ERROR];
} users_t;

typedef struct {
    const char   *name;
    const char   *arguments;
    int           n;                    /* how many of them */
    bool          create;               /* makes the store if missing */
    int         (*run)(users_t *users);
} users_command_t;


static int users_add(users_t *users);
static int users_passwd(users_t *users);
static int users_role(users_t *users);
static int users_del(users_t *users);
static int users_list(users_t *users);
static int users_import(users_t *users);


static const users_command_t  users_commands[] = {
    { "add", " NAME", 1, true, users_add },
    { "passwd", " NAME", 1, false, users_passwd },
    { "role", " NAME ROLE", 2, false, users_role },
    { "del", " NAME", 1, false, users_del },
    { "list", "", 0, false, users_list },
    { "import", " FILE", 1, true, users_import },
    { NULL, NULL, 0, false, NULL }
};


static int
users_result(users_t *users, store_status_t status)
{
    switch (status) {

    case STORE_OK:
        return 0;

    case STORE_MISSING:
        snprintf(users->error, sizeof(users->error), "no user \"%s\"",
                 users->name);
        return -1;

    case STORE_EXISTS:
        snprintf(users->error, sizeof(users->error),
                 "user \"%s\" exists already", users->name);
        return -1;

    case STORE_FAILED:
    case STORE_DOWN:
        snprintf(users->error, sizeof(users->error), "store \"%s\": %s",
                 store_name(users->store), store_error(users->store));
        return -1;
    }

    return -1;
}


/* Asks for a password and hashes it. */
static int
users_hash(users_t *users, char hash[PASSWORD_HASH])
{
    int   rc;
    char  password[LIMIT_PASSWORD + 1];

    if (prompt_password(password, sizeof(password), users->error,
                        sizeof(users->error))
        != 0)
    {
        return -1;
    }

    rc = -1;

    if (!limits_password(password)) {
        snprintf(users->error, sizeof(users->error),
                 "the password must have 1 to %d bytes", LIMIT_PASSWORD);

    } else if (password_hash(password, hash) != 0) {
        snprintf(users->error, sizeof(users->error),
                 "not enough memory to hash the password");

    } else {
        rc = 0;
    }

    sodium_memzero(password, sizeof(password));

    return rc;
}


static int
users_add(users_t *users)
{
    char  hash[PASSWORD_HASH];

    if (users_hash(users, hash) != 0) {
        return -1;
    }

    return users_result(users, store_add(users->store, users->name, hash,
                                         users->role != NULL ? users->role
                                                             : "user"));
}


static int
users_passwd(users_t *users)
{
    char          hash[PASSWORD_HASH];
    store_user_t  user;

    /* before the question */
    if (users_result(users, store_find(users->store, users->name, &user)) != 0
        || users_hash(users, hash) != 0)
    {
        return -1;
    }

    return users_result(users, store_set_hash(users->store, users->name, NULL,
                                              hash));
}


static int
users_role(users_t *users)
{
    return users_result(users, store_set_role(users->store, users->name,
                                              users->role));
}


static int
users_del(users_t *users)
{
    return users_result(users, store_delete(users->store, users->name));
}


static void
users_list_row(const char *name, const char *role, void *data)
{
    fprintf(data, "%s\t%s\n", name, role);
}


static int
users_list(users_t *users)
{
    if (users_result(users, store_list(users->store, users_list_row, stdout))
        != 0)
    {
        return -1;
    }

    if (fflush(stdout) != 0) {
        snprintf(users->error, sizeof(users->error), "cannot write the list");
        return -1;
    }

    return 0;
}


static int
users_import(users_t *users)
{
    import_count_t   count;
    import_policy_t  policy;

    policy = users->update ? IMPORT_UPDATE
             : users->skip ? IMPORT_SKIP : IMPORT_NEW;

    if (import_users(users->store, users->name, users->role, policy, &count,
                     users->error, sizeof(users->error))
        != 0)
    {
        return -1;
    }

    printf("%zu added, %zu updated, %zu skipped\n", count.added,
           count.updated, count.skipped);

    return 0;
}


static void
users_options(users_options_t *o, const option_t **table)
{
    static option_t  rows[8];

    const option_t  all[] = {
        { "store", "AUTHSVC_STORE", OPTION_STRING, &o->store, NULL, 1, 4095,
          "users: SQLite file, made by \"add\", or postgresql:// URL; "
          "required" },
        { "role", NULL, OPTION_STRING, &o->role, NULL, 1, LIMIT_ROLE,
          "role of new users, with \"add\" and \"import\" (\"user\" if not "
          "given)" },
        { "update", NULL, OPTION_FLAG, &o->update, NULL, 0, 0,
          "\"import\": users who exist get password and role of the file" },
        { "skip", NULL, OPTION_FLAG, &o->skip, NULL, 0, 0,
          "\"import\": users who exist stay as they are" },
        { NULL, NULL, OPTION_FLAG, NULL, NULL, 0, 0, NULL }
    };

    memcpy(rows, all, sizeof(all));
    *table = rows;
}


void
users_help(FILE *out)
{
    const option_t         *table;
    users_options_t         options;
    const users_command_t  *command;

    for (command = users_commands; command->name != NULL; command++) {
        fprintf(out, "  authsvc user %s%s\n", command->name,
                command->arguments);
    }

    fprintf(out, "A password is asked for on the terminal, or is one line of "
                 "standard input.\n");

    users_options(&options, &table);
    options_help(table, out);
}


static const users_command_t *
users_find_command(const char *name)
{
    const users_command_t  *command;

    for (command = users_commands; command->name != NULL; command++) {
        if (strcmp(command->name, name) == 0) {
            return command;
        }
    }

    return NULL;
}


/* The words that are not options; what is wrong is written to "error". */
static const users_command_t *
users_words(users_t *users, const users_options_t *o, int n, char **words)
{
    bool                    adds;
    const users_command_t  *command;

    command = n > 0 ? users_find_command(words[0]) : NULL;

    if (command == NULL) {
        snprintf(users->error, sizeof(users->error), n > 0
                 ? "unknown command \"user %.80s\", see authsvc --help"
                 : "user: a command is missing, see authsvc --help",
                 n > 0 ? words[0] : "");
        return NULL;
    }

    adds = command->run == users_add || command->run == users_import;

    if (n - 1 != command->n || (o->role != NULL && !adds)
        || o->update + o->skip > (command->run == users_import))
    {
        snprintf(users->error, sizeof(users->error), "usage: authsvc user "
                 "%s%s%s%s --store STORE", command->name, command->arguments,
                 adds ? " [--role ROLE]" : "",
                 command->run == users_import ? " [--update | --skip]" : "");
        return NULL;
    }

    if (o->store == NULL) {
        snprintf(users->error, sizeof(users->error),
                 "--store (AUTHSVC_STORE) is required");
        return NULL;
    }

    users->name = n > 1 ? words[1] : NULL;
    users->role = n > 2 ? words[2] : o->role;
    users->update = o->update;
    users->skip = o->skip;

    if (users->name != NULL && command->run != users_import
        && !limits_username(users->name)) {
        snprintf(users->error, sizeof(users->error), "a user name must be 1 "
                 "to %d bytes of UTF-8 without control characters",
                 LIMIT_USERNAME);
        return NULL;
    }

    if (users->role != NULL && !limits_role(users->role)) {
        snprintf(users->error, sizeof(users->error), "a role must be 1 to %d "
                 "visible ASCII characters", LIMIT_ROLE);
        return NULL;
    }

    return command;
}


static int
users_run(users_t *users, const users_command_t *command, const char *path)
{
    int  rc;

    users->store = store_open(path, command->create, users->error,
                              sizeof(users->error));
    if (users->store == NULL) {
        return -1;
    }

    rc = command->run(users);
    store_close(users->store);

    return rc;
}


int
users_main(int argc, char **argv)
{
    int                     n, rc;
    users_t                 users;
    const option_t         *table;
    users_options_t         options;
    const users_command_t  *command;

    memset(&users, 0, sizeof(users));
    users_options(&options, &table);

    n = options_parse(table, argc, argv, users.error, sizeof(users.error));

    if (n == -2) {
        users_help(stdout);
        return 0;
    }

    if (n == -3) {
        version_print();
        return 0;
    }

    rc = 2;
    command = n < 0 ? NULL : users_words(&users, &options, argc - n, argv + n);

    if (command != NULL) {
        rc = users_run(&users, command, options.store) == 0 ? 0 : 1;
    }

    if (rc != 0) {
        fprintf(stderr, "authsvc: %s\n", users.error);
    }

    return rc;
}
