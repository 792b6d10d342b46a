/*
 * Reads NAME=value lines in place: values are unquoted where they stand.
 */

#include "rpc/env_file.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>


#define ENV_FILE_SPACE  " \t\r"
#define ENV_FILE_NAME                                                         \
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz0123456789"


static void env_file_skip(env_file_t *file);
static int env_file_quoted(env_file_t *file, char quote);
static void env_file_plain(env_file_t *file);
static bool env_file_continued(env_file_t *file);
static void env_file_end_line(env_file_t *file);


int
env_file_next(env_file_t *file, char **name, char **value)
{
    char  *end;

    env_file_skip(file);
    file->line = file->next;

    if (*file->pos == '\0') {
        return 0;
    }

    *name = file->pos;
    end = file->pos + strspn(file->pos, ENV_FILE_NAME);
    file->pos = end + strspn(end, ENV_FILE_SPACE);

    if (end == *name || *file->pos != '=') {
        file->error = "expected NAME=value";
        return -1;
    }

    *end = '\0';
    file->pos++;
    file->pos += strspn(file->pos, ENV_FILE_SPACE);
    *value = file->pos;

    if (*file->pos == '"' || *file->pos == '\'') {
        return env_file_quoted(file, *file->pos);
    }

    env_file_plain(file);

    return 1;
}


/* Empty lines and comments. */

static void
env_file_skip(env_file_t *file)
{
    for ( ;; ) {
        file->pos += strspn(file->pos, ENV_FILE_SPACE);

        if (*file->pos == '#' || *file->pos == ';') {
            file->pos += strcspn(file->pos, "\n");
        }

        if (*file->pos != '\n') {
            return;
        }

        env_file_end_line(file);
    }
}


/* A backslash before LF or CR LF, which go with it. */

static bool
env_file_continued(env_file_t *file)
{
    char  *end;

    if (*file->pos != '\\') {
        return false;
    }

    end = file->pos + 1;
    end += *end == '\r';

    if (*end != '\n') {
        return false;
    }

    file->pos = end;
    env_file_end_line(file);

    return true;
}


static void
env_file_end_line(env_file_t *file)
{
    if (*file->pos == '\n') {
        file->pos++;
        file->next++;
    }
}


static int
env_file_quoted(env_file_t *file, char quote)
{
    char  *out;

    for (out = file->pos++; *file->pos != quote; /* void */ ) {

        if (*file->pos == '\0') {
            file->error = "the quote is not closed";
            return -1;
        }

        if (quote == '"' && env_file_continued(file)) {
            continue;
        }

        if (quote == '"' && *file->pos == '\\' && file->pos[1] != '\0'
            && strchr("\"\\`$", file->pos[1]) != NULL)
        {
            file->pos++;
        }

        file->next += *file->pos == '\n';
        *out++ = *file->pos++;
    }

    file->pos++;
    file->pos += strspn(file->pos, ENV_FILE_SPACE);

    if (*file->pos != '\0' && *file->pos != '\n') {
        file->error = "text after the closing quote";
        return -1;
    }

    *out = '\0';
    env_file_end_line(file);

    return 1;
}


/* Without the space at its end, unless that is escaped. */

static void
env_file_plain(env_file_t *file)
{
    char  *out, *end;

    out = file->pos;
    end = out;

    while (*file->pos != '\0' && *file->pos != '\n') {

        if (env_file_continued(file)) {
            continue;
        }

        if (*file->pos == '\\' && file->pos[1] != '\0') {
            file->pos++;
            end = out + 1;

        } else if (strchr(ENV_FILE_SPACE, *file->pos) == NULL) {
            end = out + 1;
        }

        *out++ = *file->pos++;
    }

    env_file_end_line(file);
    *end = '\0';
}
