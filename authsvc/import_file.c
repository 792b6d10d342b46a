#include "authsvc/import_file.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sodium.h>

#include "authsvc/limits.h"
#include "authsvc/password.h"


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

typedef struct {
    import_file_t   *file;
    unsigned         line;
    bool             csv;
    size_t           columns;
    import_field_t   column[IMPORT_FIELDS];
    char            *error;
    size_t           size;
} import_t;


static int
import_refuse(const import_t *import, const char *reason)
{
    snprintf(import->error, import->size, "line %u: %s", import->line,
             reason);

    return -1;
}


/* The next field of a line of CSV, in its own place; "*line" moves on, to
 * NULL after the last one.  NULL: its quotes are wrong. */
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


/* The header of CSV names "username"; a line of htpasswd has a colon. */
static bool
import_is_csv(const char *line)
{
    return strchr(line, ':') == NULL && strstr(line, "username") != NULL;
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
import_csv(import_t *import, char *line, char *fields[IMPORT_FIELDS])
{
    char    *field;
    size_t   i;

    for (i = 0; i < import->columns && line != NULL; i++) {
        field = import_csv_field(&line);
        if (field == NULL) {
            return import_refuse(import, "quotes are only around a whole "
                                 "field, and doubled within it");
        }
        fields[import->column[i]] = *field != '\0' ? field : NULL;
    }

    if (i != import->columns || line != NULL) {
        return import_refuse(import, "not as many fields as the header has");
    }

    return 0;
}


static int
import_htpasswd(import_t *import, char *line, char *fields[IMPORT_FIELDS])
{
    char  *colon;

    colon = strchr(line, ':');
    if (colon == NULL) {
        return import_refuse(import, "neither user:hash, nor is line 1 a "
                             "header of CSV with \"username\"");
    }

    *colon = '\0';
    fields[IMPORT_NAME] = line;
    fields[IMPORT_HASH] = colon + 1;

    return 0;
}


static int
import_check(const import_t *import, const import_row_t *row)
{
    switch (row->hash != NULL ? password_kind(row->hash) : PASSWORD_ARGON2) {

    case PASSWORD_UNKNOWN:
        return import_refuse(import, "not a hash of Argon2id or bcrypt "
                             "($argon2id$, $2y$, $2b$, $2a$)");

    case PASSWORD_DEAR:
        return import_refuse(import, "the hash costs too much at each login");

    default:
        break;
    }

    if (row->name == NULL || !limits_username(row->name)) {
        return import_refuse(import, "a user name must be 1 to 128 bytes of "
                             "UTF-8 without control characters");
    }

    if ((row->password != NULL) == (row->hash != NULL)) {
        return import_refuse(import, row->hash != NULL
                             ? "both a password and a hash"
                             : "neither a password nor a hash");
    }

    if (row->password != NULL && !limits_password(row->password)) {
        return import_refuse(import, "the password must have 1 to 1024 "
                             "bytes");
    }

    if (row->role != NULL && !limits_role(row->role)) {
        return import_refuse(import, "a role must be 1 to 64 visible ASCII "
                             "characters");
    }

    return 0;
}


static import_row_t *
import_new(import_t *import, const char *line, size_t len)
{
    size_t          size;
    import_row_t   *rows, *row;
    import_file_t  *file;

    file = import->file;

    if (file->n == IMPORT_USERS) {
        (void) import_refuse(import, "more than a million users");
        return NULL;
    }

    if (file->n == file->size) {
        size = file->size != 0 ? file->size * 2 : 64;
        rows = realloc(file->rows, size * sizeof(import_row_t));
        if (rows == NULL) {
            (void) import_refuse(import, "out of memory");
            return NULL;
        }
        file->rows = rows;
        file->size = size;
    }

    row = &file->rows[file->n];
    memset(row, 0, sizeof(import_row_t));
    row->line = import->line;
    row->len = len;
    row->text = strdup(line);
    if (row->text == NULL) {
        (void) import_refuse(import, "out of memory");
        return NULL;
    }

    file->n++;

    return row;
}


static int
import_row(import_t *import, const char *line, size_t len)
{
    int            rc;
    char          *fields[IMPORT_FIELDS] = { NULL };
    import_row_t  *row;

    row = import_new(import, line, len);
    if (row == NULL) {
        return -1;
    }

    rc = import->csv ? import_csv(import, row->text, fields)
                     : import_htpasswd(import, row->text, fields);

    row->name = fields[IMPORT_NAME];
    row->password = fields[IMPORT_PASSWORD];
    row->hash = fields[IMPORT_HASH];
    row->role = fields[IMPORT_ROLE];

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
        /* the mark that some programs put before UTF-8 */
        if (strncmp(line, "\xef\xbb\xbf", 3) == 0) {
            line += 3;
            len -= 3;
        }

        import->csv = import_is_csv(line);
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
    const import_row_t  *x, *y;

    x = a;
    y = b;
    rc = strcmp(x->name, y->name);

    return rc != 0 ? rc : x->line < y->line ? -1 : 1;
}


static int
import_duplicates(const import_t *import)
{
    size_t         i;
    import_row_t  *rows;

    rows = import->file->rows;

    if (import->file->n > 1) {
        qsort(rows, import->file->n, sizeof(import_row_t), import_compare);
    }

    for (i = 1; i < import->file->n; i++) {
        if (strcmp(rows[i].name, rows[i - 1].name) == 0) {
            snprintf(import->error, import->size,
                     "line %u: user \"%s\" is in line %u already",
                     rows[i].line, rows[i].name, rows[i - 1].line);
            return -1;
        }
    }

    return 0;
}


int
import_file_read(FILE *in, import_file_t *file, char *error, size_t size)
{
    int        rc;
    char      *line;
    size_t     room;
    ssize_t    len;
    import_t   import;

    memset(file, 0, sizeof(import_file_t));
    memset(&import, 0, sizeof(import));
    import.file = file;
    import.error = error;
    import.size = size;

    rc = 0;
    room = 0;
    line = NULL;

    while (rc == 0 && (len = getline(&line, &room, in)) >= 0) {
        import.line++;

        while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r')) {
            line[--len] = '\0';
        }

        rc = import_line(&import, line, (size_t) len);
    }

    if (rc == 0 && ferror(in)) {
        snprintf(error, size, "cannot be read");
        rc = -1;
    }

    if (line != NULL) {
        sodium_memzero(line, room);
        free(line);
    }

    return rc == 0 ? import_duplicates(&import) : -1;
}


void
import_file_free(import_file_t *file)
{
    size_t  i;

    for (i = 0; i < file->n; i++) {
        sodium_memzero(file->rows[i].text, file->rows[i].len);
        free(file->rows[i].text);
    }

    free(file->rows);
    memset(file, 0, sizeof(import_file_t));
}
