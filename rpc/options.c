/*
 * The table of options: defaults, command line, environment, file, --help.
 * What a value may be is in rpc/option.c.
 */

#include "rpc/options.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/env_file.h"
#include "rpc/file.h"
#include "rpc/log.h"
#include "rpc/option.h"


#define OPTIONS_FILE_MAX  65536         /* bytes */

#define HELP_ENV_COLUMN   36
#define HELP_INDENT       6
#define HELP_COLUMNS      80


typedef struct {
    const option_t  *table;
    uint64_t         given;             /* bit i: row i has a value */
    char            *error;
    size_t           size;
} options_t;

static const char *const  option_metavars[] = {
    [OPTION_STRING] = " TEXT",
    [OPTION_NUMBER] = " N",
    [OPTION_TIME] = " TIME",
    [OPTION_MODE] = " MODE",
    [OPTION_LOG_LEVEL] = " LEVEL",
    [OPTION_LOG_FORMAT] = " FORMAT",
    [OPTION_FLAG] = "",
    [OPTION_CONFIG] = " FILE",
    [OPTION_RENAMED] = ""
};


/* Text of the file, to which values point. */
static char  *options_text;


/* "prefix" and "name" say where the value came from. */
static int
option_take(options_t *o, const option_t *option, const char *prefix,
    const char *name, const char *text)
{
    int   i;
    char  allowed[128], value[80];

    if (option_set(option, text) == 0) {
        return 0;
    }

    for (i = 0; i < (int) sizeof(value) - 1 && text[i] != '\0'; i++) {
        value[i] = (unsigned char) text[i] < 0x20 || text[i] == 0x7f ? '?'
                                                                     : text[i];
    }
    value[i] = '\0';

    option_allowed(option, allowed, sizeof(allowed));
    snprintf(o->error, o->size, "%s%s: bad value \"%s\": must be %s",
             prefix, name, value, allowed);

    return -1;
}


static int
options_defaults(options_t *o)
{
    const option_t  *option;

    for (option = o->table; option->name != NULL; option++) {

        switch (option->type) {
        case OPTION_STRING:
        case OPTION_CONFIG:
            *(const char **) option->value = NULL;
            break;
        case OPTION_FLAG:
            *(int *) option->value = 0;
            break;
        case OPTION_RENAMED:
            continue;
        default:
            break;
        }

        if (option->deflt != NULL
            && option_take(o, option, "default of --", option->name,
                           option->deflt) != 0)
        {
            return -1;
        }
    }

    return 0;
}


/* Without what stands for its value. */
static size_t
option_name_len(const option_t *option)
{
    return strcspn(option->name, " ");
}


static const option_t *
options_find(const options_t *o, const char *name, size_t len)
{
    const option_t  *option;

    for (option = o->table; option->name != NULL; option++) {
        if (option_name_len(option) == len
            && memcmp(option->name, name, len) == 0)
        {
            return option;
        }
    }

    return NULL;
}


static const option_t *
options_find_env(const options_t *o, const char *name)
{
    const option_t  *option;

    for (option = o->table; option->name != NULL; option++) {
        if (option->env != NULL && strcmp(option->env, name) == 0) {
            return option;
        }
    }

    return NULL;
}


/* The row of the new name, if this one is an old name. */
static const option_t *
options_target(const options_t *o, const option_t *option)
{
    return option->type == OPTION_RENAMED
           ? options_find(o, option->deflt, strlen(option->deflt)) : option;
}


static uint64_t
options_bit(const options_t *o, const option_t *option)
{
    return UINT64_C(1) << (options_target(o, option) - o->table);
}


static int
options_give(options_t *o, const option_t *option, const char *prefix,
    const char *name, const char *text)
{
    const option_t  *target;

    target = options_target(o, option);

    if (target != option) {
        log_warn("%s%s is an old name that will go: use --%s or %s", prefix,
                 name, option->deflt, target->env);
    }

    o->given |= options_bit(o, option);

    return option_take(o, target, prefix, name, text);
}


static int
options_environment(options_t *o)
{
    const char      *text;
    const option_t  *option;

    for (option = o->table; option->name != NULL; option++) {

        if (option->env == NULL || (o->given & options_bit(o, option))) {
            continue;
        }

        text = getenv(option->env);

        if (text != NULL && *text != '\0'
            && options_give(o, option, "environment variable ", option->env,
                            text)
               != 0)
        {
            return -1;
        }
    }

    return 0;
}


/* In the file the last one of several values counts. */
static int
options_file(options_t *o, const char *path)
{
    int              rc;
    char            *name, *value, prefix[256];
    size_t           len;
    uint64_t         given;
    env_file_t       file;
    const option_t  *option;

    free(options_text);
    options_text = file_read(path, OPTIONS_FILE_MAX, &len, o->error, o->size);

    if (options_text == NULL) {
        return -1;
    }

    if (strlen(options_text) != len) {
        snprintf(o->error, o->size, "\"%s\" has a NUL character", path);
        return -1;
    }

    given = o->given;
    file = (env_file_t) { .pos = options_text, .next = 1 };

    while ((rc = env_file_next(&file, &name, &value)) == 1) {
        snprintf(prefix, sizeof(prefix), "%.200s:%u: ", path, file.line);

        option = options_find_env(o, name);

        if (option == NULL || option->type == OPTION_CONFIG) {
            snprintf(o->error, o->size, "%sunknown name %.80s, see --help",
                     prefix, name);
            return -1;
        }

        if (!(given & options_bit(o, option)) && *value != '\0'
            && options_give(o, option, prefix, name, value) != 0)
        {
            return -1;
        }
    }

    if (rc == -1) {
        snprintf(o->error, o->size, "%.200s:%u: %s", path, file.line,
                 file.error);
    }

    return rc;
}


static const char *
options_config(const options_t *o)
{
    const option_t  *option;

    for (option = o->table; option->name != NULL; option++) {
        if (option->type == OPTION_CONFIG) {
            return *(const char **) option->value;
        }
    }

    return NULL;
}


/*
 * One option at argv[0], its value perhaps at argv[1].  Returns how many
 * arguments it took, or a code of options_parse().
 */
static int
options_argument(options_t *o, char **argv)
{
    int              taken;
    size_t           len;
    char             shown[64];
    const char      *name, *value;
    const option_t  *option;

    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
        return OPTIONS_HELP;
    }

    if (strcmp(argv[0], "--version") == 0) {
        return OPTIONS_VERSION;
    }

    name = argv[0] + 2;
    len = strcspn(name, "=");
    value = name[len] == '=' ? name + len + 1 : NULL;
    taken = 1;

    option = argv[0][1] == '-' ? options_find(o, name, len) : NULL;
    if (option == NULL) {
        snprintf(o->error, o->size, "unknown option %.80s, see --help",
                 argv[0]);
        return -1;
    }

    snprintf(shown, sizeof(shown), "%.*s", (int) len, name);

    if (options_target(o, option)->type == OPTION_FLAG) {
        if (value != NULL) {
            snprintf(o->error, o->size, "--%s: takes no value", shown);
            return -1;
        }
        value = "on";

    } else if (value == NULL) {
        value = argv[1];
        taken = 2;

        if (value == NULL || strncmp(value, "--", 2) == 0) {
            snprintf(o->error, o->size, "--%s: needs a value", shown);
            return -1;
        }
    }

    return options_give(o, option, "--", shown, value) == 0 ? taken : -1;
}


/* Moves argv[from .. from + n - 1] in front of argv[to]; n is 1 or 2. */
static void
options_move(char **argv, int to, int from, int n)
{
    char  *moved[2];

    memcpy(moved, argv + from, (size_t) n * sizeof(char *));
    memmove(argv + to + n, argv + to, (size_t) (from - to) * sizeof(char *));
    memcpy(argv + to, moved, (size_t) n * sizeof(char *));
}


int
options_parse(const option_t *table, int argc, char **argv, char *error,
    size_t size)
{
    int          i, n, end;
    options_t    o;
    const char  *config;

    o = (options_t) { .table = table, .error = error, .size = size };

    if (size > 0) {
        error[0] = '\0';
    }

    if (options_defaults(&o) != 0) {
        return -1;
    }

    if (argc > 1 && strcmp(argv[1], "help") == 0) {
        return OPTIONS_HELP;
    }

    /* argv[1 .. end - 1] are options, argv[end .. i - 1] are not */
    end = 1;

    for (i = 1; i < argc; i += n) {
        n = 1;

        if (argv[i][0] != '-' || argv[i][1] == '\0') {
            continue;
        }

        if (strcmp(argv[i], "--") == 0) {
            options_move(argv, end++, i, 1);
            break;
        }

        n = options_argument(&o, argv + i);
        if (n < 0) {
            return n;
        }

        options_move(argv, end, i, n);
        end += n;
    }

    if (options_environment(&o) != 0) {
        return OPTIONS_ERROR;
    }

    config = options_config(&o);

    return config == NULL || options_file(&o, config) == 0 ? end
                                                           : OPTIONS_ERROR;
}


/* Words from column "*at" on, in lines of HELP_COLUMNS. */
static void
help_words(FILE *out, const char *text, int *at)
{
    int  n;

    while (*text != '\0') {
        n = (int) strcspn(text, " ");

        if (*at > HELP_INDENT && *at + 1 + n > HELP_COLUMNS) {
            fprintf(out, "\n");
            *at = 0;
        }

        if (*at == 0) {
            *at = fprintf(out, "%*s%.*s", HELP_INDENT, "", n, text);

        } else {
            *at += fprintf(out, " %.*s", n, text);
        }

        text += n;
        text += strspn(text, " ");
    }
}


static void
help_option(const option_t *option, FILE *out)
{
    int          at;
    char         range[OPTION_RANGE], more[256];
    const char  *deflt;

    at = fprintf(out, "  --%s%s", option->name,
                 strchr(option->name, ' ') != NULL
                 ? "" : option_metavars[option->type]);

    if (option->env != NULL) {
        fprintf(out, "%*s $%s", at < HELP_ENV_COLUMN ? HELP_ENV_COLUMN - at
                                                     : 0,
                "", option->env);
    }

    fprintf(out, "\n");

    deflt = option->type != OPTION_FLAG ? option->deflt : NULL;
    option_range(option, range, sizeof(range));

    if (option->type == OPTION_STRING) {
        range[0] = '\0';
    }

    more[0] = '\0';

    if (range[0] != '\0' || deflt != NULL) {
        snprintf(more, sizeof(more), "(%s%s%s%s)", range,
                 range[0] != '\0' && deflt != NULL ? "; " : "",
                 deflt != NULL ? "default: " : "",
                 deflt != NULL ? deflt : "");
    }

    at = 0;
    help_words(out, option->help, &at);
    help_words(out, more, &at);
    fprintf(out, "\n");
}


void
options_help(const option_t *table, FILE *out)
{
    bool             times;
    const option_t  *option;

    times = false;

    for (option = table; option->name != NULL; option++) {
        if (option->type != OPTION_RENAMED) {
            help_option(option, out);
        }

        times |= option->type == OPTION_TIME;
    }

    fprintf(out, "  -h, --help\n"
                 "  --version\n");

    if (times) {
        fprintf(out, "\nTIME is a number with ms, s, m, h or d: 500ms, 5s, "
                     "30m, 1h, 1d.\n");
    }
}
