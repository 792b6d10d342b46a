/*
 * Reads and checks the whole file, hashes its passwords, and changes the store
 * in one transaction: other programs do not wait for the hashes.
 */

#include "authsvc/users/import.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sodium.h>

#include "authsvc/login/password.h"


#define IMPORT_LINE   8192
#define IMPORT_USERS  1000000

typedef enum {
    IMPORT_NAME = 0,
    IMPORT_PASSWORD,
    IMPORT_HASH,
    IMPORT_ROLE,
    IMPORT_FIELDS
} import_field_t;

static const char *const  import_names[IMPORT_FIELDS] = {
    [IMPORT_NAME] = "username",
    [IMPORT_PASSWORD] = "password",
    [IMPORT_HASH] = "hash",
    [IMPORT_ROLE] = "role"
};

/* One user; the fields point into the text, NULL: not given. */
typedef struct {
    unsigned   line;
    size_t     len;
    char      *text;
    char      *field[IMPORT_FIELDS];
    char       hash[PASSWORD_HASH];     /* what the store gets */
} import_row_t;

typedef struct {
    store_t          *store;
    const char       *path;
    const char       *role;
    import_policy_t   policy;
    import_count_t   *count;
    char             *error;
    size_t            size;

    unsigned          line;
    bool              csv;
    size_t            columns;
    import_field_t    column[IMPORT_FIELDS];

    import_row_t     *rows;
    size_t            n;
    size_t            room;
} import_t;


static int
import_refuse(const import_t *import, const char *reason)
{
    snprintf(import->error, import->size, "%s: line %u: %s", import->path,
             import->line, reason);

    return -1;
}


/* The next field of a line of CSV, changed in place; "*line" moves on, to NULL
 * after the last one.  NULL: the quotes are wrong. */
static char *
import_csv_field(char **line)
{
    char  *field, *in, *out;

    field = *line;

    if (*field != '"') {
        in = field + strcspn(field, ",\"");
        if (*in == '"') {
            return NULL;
        }
        *line = *in == ',' ? in + 1 : NULL;
        *in = '\0';
        return field;
    }

    out = field;

    for (in = field + 1; *in != '"' || in[1] == '"'; in++) {
        if (*in == '\0') {
            return NULL;
        }
        in += (*in == '"');
        *out++ = *in;
    }

    in++;
    if (*in != ',' && *in != '\0') {
        return NULL;
    }

    *line = *in == ',' ? in + 1 : NULL;
    *out = '\0';

    return field;
}


static int
import_header(import_t *import, char *line)
{
    bool             seen[IMPORT_FIELDS] = { false };
    char            *name;
    import_field_t   field;

    while (line != NULL) {
        name = import_csv_field(&line);

        for (field = IMPORT_NAME; field < IMPORT_FIELDS; field++) {
            if (name != NULL && strcmp(name, import_names[field]) == 0) {
                break;
            }
        }

        if (field == IMPORT_FIELDS || seen[field]) {
            return import_refuse(import, "the header must have username, "
                                 "password or hash, and may have role, each "
                                 "once");
        }

        seen[field] = true;
        import->column[import->columns++] = field;
    }

    if (!seen[IMPORT_NAME]
        || (!seen[IMPORT_PASSWORD] && !seen[IMPORT_HASH]))
    {
        return import_refuse(import, "the header lacks username, or password "
                             "or hash");
    }

    return 0;
}


static int
import_csv(import_t *import, import_row_t *row, char *line)
{
    char    *field;
    size_t   i;

    for (i = 0; i < import->columns && line != NULL; i++) {
        field = import_csv_field(&line);
        if (field == NULL) {
            return import_refuse(import, "quotes are only around a whole "
                                 "field, and doubled within it");
        }
        row->field[import->column[i]] = *field != '\0' ? field : NULL;
    }

    if (i != import->columns || line != NULL) {
        return import_refuse(import, "not as many fields as the header has");
    }

    return 0;
}


static int
import_htpasswd(import_t *import, import_row_t *row, char *line)
{
    char  *colon;

    colon = strchr(line, ':');
    if (colon == NULL) {
        return import_refuse(import, "neither user:hash, nor is line 1 a "
                             "header of CSV with \"username\"");
    }

    *colon = '\0';
    row->field[IMPORT_NAME] = line;
    row->field[IMPORT_HASH] = colon + 1;

    return 0;
}


static int
import_check(const import_t *import, import_row_t *row)
{
    const char  *name, *password, *hash, *role;

    name = row->field[IMPORT_NAME];
    password = row->field[IMPORT_PASSWORD];
    hash = row->field[IMPORT_HASH];
    role = row->field[IMPORT_ROLE];

    switch (hash != NULL ? password_kind(hash) : PASSWORD_ARGON2) {

    case PASSWORD_UNKNOWN:
        return import_refuse(import, "not a hash of Argon2id or bcrypt "
                             "($argon2id$, $2y$, $2b$, $2a$)");

    case PASSWORD_DEAR:
        return import_refuse(import, "the hash costs too much at each login");

    default:
        break;
    }

    if (name == NULL || !limits_username(name)) {
        return import_refuse(import, LIMIT_USERNAME_TEXT);
    }

    if ((password != NULL) == (hash != NULL)) {
        return import_refuse(import, hash != NULL
                             ? "both a password and a hash"
                             : "neither a password nor a hash");
    }

    if (password != NULL && !limits_password(password)) {
        return import_refuse(import, LIMIT_PASSWORD_TEXT);
    }

    if (role != NULL && !limits_role(role)) {
        return import_refuse(import, LIMIT_ROLE_TEXT);
    }

    snprintf(row->hash, sizeof(row->hash), "%s", hash != NULL ? hash : "");

    return 0;
}


static int
import_row(import_t *import, const char *line, size_t len)
{
    int            rc;
    size_t         room;
    import_row_t  *row;

    if (import->n == IMPORT_USERS) {
        return import_refuse(import, "more than a million users");
    }

    if (import->n == import->room) {
        room = import->room != 0 ? import->room * 2 : 64;
        row = reallocarray(import->rows, room, sizeof(import_row_t));
        if (row == NULL) {
            return import_refuse(import, "out of memory");
        }
        import->rows = row;
        import->room = room;
    }

    row = &import->rows[import->n];
    memset(row, 0, sizeof(import_row_t));
    row->line = import->line;
    row->len = len;
    row->text = strdup(line);
    if (row->text == NULL) {
        return import_refuse(import, "out of memory");
    }

    import->n++;
    rc = import->csv ? import_csv(import, row, row->text)
                     : import_htpasswd(import, row, row->text);

    return rc == 0 ? import_check(import, row) : -1;
}


/* "line" without its end. */
static int
import_line(import_t *import, char *line, size_t len)
{
    if (strlen(line) != len || len > IMPORT_LINE) {
        return import_refuse(import, "too long, or has a NUL character");
    }

    if (import->line == 1) {
        /* some programs put this mark before UTF-8 */
        if (strncmp(line, "\xef\xbb\xbf", 3) == 0) {
            line += 3;
            len -= 3;
        }

        /* a line of htpasswd has a colon */
        import->csv = strchr(line, ':') == NULL
                      && strstr(line, "username") != NULL;
        if (import->csv) {
            return import_header(import, line);
        }
    }

    if (len == 0 || (!import->csv && *line == '#')) {
        return 0;
    }

    return import_row(import, line, len);
}


static int
import_compare(const void *a, const void *b)
{
    int                  rc;
    const import_row_t  *x = a, *y = b;

    rc = strcmp(x->field[IMPORT_NAME], y->field[IMPORT_NAME]);

    return rc != 0 ? rc : x->line < y->line ? -1 : 1;
}


/* Sorted, so that two imports at once lock the rows in one order. */
static int
import_sort(import_t *import)
{
    size_t         i;
    import_row_t  *rows;

    rows = import->rows;

    if (import->n > 1) {
        qsort(rows, import->n, sizeof(import_row_t), import_compare);
    }

    for (i = 1; i < import->n; i++) {
        if (strcmp(rows[i].field[IMPORT_NAME], rows[i - 1].field[IMPORT_NAME])
            == 0)
        {
            snprintf(import->error, import->size, "%s: line %u: user \"%s\" "
                     "is in line %u already", import->path, rows[i].line,
                     rows[i].field[IMPORT_NAME], rows[i - 1].line);
            return -1;
        }
    }

    return 0;
}


static int
import_read(import_t *import, FILE *in)
{
    int       rc;
    char     *line;
    size_t    room;
    ssize_t   len;

    rc = 0;
    room = 0;
    line = NULL;

    while (rc == 0 && (len = getline(&line, &room, in)) >= 0) {
        import->line++;

        while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r')) {
            line[--len] = '\0';
        }

        rc = import_line(import, line, (size_t) len);
    }

    if (rc == 0 && ferror(in)) {
        snprintf(import->error, import->size, "%s: cannot be read",
                 import->path);
        rc = -1;
    }

    if (line != NULL) {
        sodium_memzero(line, room);
        free(line);
    }

    return rc == 0 ? import_sort(import) : -1;
}


static int
import_open(import_t *import)
{
    int    rc;
    FILE  *in;

    if (strcmp(import->path, "-") == 0) {
        return import_read(import, stdin);
    }

    in = fopen(import->path, "re");
    if (in == NULL) {
        snprintf(import->error, import->size, "%s: %s", import->path,
                 strerror(errno));
        return -1;
    }

    rc = import_read(import, in);
    fclose(in);

    return rc;
}


static int
import_hash(import_t *import)
{
    size_t         i;
    import_row_t  *row;

    for (i = 0; i < import->n; i++) {
        row = &import->rows[i];

        if (row->field[IMPORT_PASSWORD] != NULL
            && password_hash(row->field[IMPORT_PASSWORD], row->hash) != 0)
        {
            snprintf(import->error, import->size,
                     "not enough memory to hash a password");
            return -1;
        }
    }

    return 0;
}


static store_status_t
import_user(const import_t *import, const import_row_t *row)
{
    const char      *name, *role;
    store_user_t     user;
    store_status_t   status;

    name = row->field[IMPORT_NAME];
    role = row->field[IMPORT_ROLE] != NULL ? row->field[IMPORT_ROLE]
                                           : import->role;
    status = store_find(import->store, name, &user);

    if (status == STORE_MISSING) {
        import->count->added++;
        return store_add(import->store, name, row->hash,
                         role != NULL ? role : "user");
    }

    if (status != STORE_OK) {
        return status;
    }

    if (import->policy == IMPORT_SKIP) {
        import->count->skipped++;
        return STORE_OK;
    }

    if (import->policy == IMPORT_NEW) {
        return STORE_EXISTS;
    }

    import->count->updated++;
    status = store_set_hash(import->store, name, row->hash);

    return status == STORE_OK && role != NULL
           ? store_set_role(import->store, name, role) : status;
}


/* "row" is NULL when the store failed as a whole. */
static int
import_failed(import_t *import, const import_row_t *row,
    store_status_t status)
{
    if (row != NULL && (status == STORE_EXISTS || status == STORE_MISSING)) {
        snprintf(import->error, import->size, "%s: line %u: user \"%s\" %s",
                 import->path, row->line, row->field[IMPORT_NAME],
                 status == STORE_EXISTS ? "exists already (--update, --skip)"
                                        : "was deleted meanwhile");

    } else {
        snprintf(import->error, import->size, "store \"%s\": %s",
                 store_name(import->store), store_error(import->store));
    }

    store_rollback(import->store);

    return -1;
}


static int
import_apply(import_t *import)
{
    size_t          i;
    store_status_t  status;

    status = store_begin(import->store);
    if (status != STORE_OK) {
        return import_failed(import, NULL, status);
    }

    for (i = 0; i < import->n; i++) {
        status = import_user(import, &import->rows[i]);
        if (status != STORE_OK) {
            return import_failed(import, &import->rows[i], status);
        }
    }

    status = store_commit(import->store);

    return status == STORE_OK ? 0 : import_failed(import, NULL, status);
}


int
import_users(store_t *store, const char *path, const char *role,
    import_policy_t policy, import_count_t *count, char *error, size_t size)
{
    int       rc;
    size_t    i;
    import_t  import;

    memset(&import, 0, sizeof(import));
    memset(count, 0, sizeof(import_count_t));
    import.store = store;
    import.path = path;
    import.role = role;
    import.policy = policy;
    import.count = count;
    import.error = error;
    import.size = size;

    rc = import_open(&import) == 0 && import_hash(&import) == 0
         ? import_apply(&import) : -1;

    for (i = 0; i < import.n; i++) {
        sodium_memzero(import.rows[i].text, import.rows[i].len);
        free(import.rows[i].text);
    }

    free(import.rows);

    return rc;
}
