#include "rpc/options.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "rpc/log.h"


#define OPTIONS_HELP     -2
#define OPTIONS_VERSION  -3

#define TIME_TEXT        32


typedef struct {
    const option_t  *table;
    uint64_t         given;             /* bit i: row i came from argv */
    char            *error;
    size_t           size;
} options_t;

typedef struct {
    const char  *name;
    int64_t      ms;
} option_unit_t;


static const option_unit_t  option_units[] = {
    { "d", 86400000 },
    { "h", 3600000 },
    { "m", 60000 },
    { "s", 1000 },
    { "ms", 1 },
    { NULL, 0 }
};

static const char *const  option_metavars[] = {
    " VALUE", " N", " TIME", " LEVEL", ""
};


static int
option_parse_number(const char *text, int64_t *number)
{
    bool         negative;
    int64_t      n;
    const char  *p;

    negative = (*text == '-');
    p = negative ? text + 1 : text;

    if (*p == '\0') {
        return -1;
    }

    for (n = 0; *p != '\0'; p++) {
        if (*p < '0' || *p > '9'
            || __builtin_mul_overflow(n, 10, &n)
            || __builtin_add_overflow(n, *p - '0', &n))
        {
            return -1;
        }
    }

    *number = negative ? -n : n;

    return 0;
}


int
option_parse_time(const char *text, int64_t *ms)
{
    char                  digits[TIME_TEXT];
    size_t                n;
    int64_t               number;
    const option_unit_t  *unit;

    n = strspn(text, "0123456789");
    if (n == 0 || n >= sizeof(digits)) {
        return -1;
    }

    memcpy(digits, text, n);
    digits[n] = '\0';

    if (option_parse_number(digits, &number) != 0) {
        return -1;
    }

    for (unit = option_units; unit->name != NULL; unit++) {
        if (strcmp(text[n] == '\0' ? "s" : text + n, unit->name) == 0) {
            return __builtin_mul_overflow(number, unit->ms, ms) ? -1 : 0;
        }
    }

    return -1;
}


static int
option_parse_flag(const char *text, int *flag)
{
    size_t                    i;
    static const char *const  words[] = {
        "off", "on", "0", "1", "no", "yes", "false", "true"
    };

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *flag = (int) (i & 1);
            return 0;
        }
    }

    return -1;
}


static const char *
option_time_text(int64_t ms, char *out)
{
    const option_unit_t  *unit;

    if (ms == 0) {
        return "0s";
    }

    for (unit = option_units; ms % unit->ms != 0; unit++) {
        /* 1 ms divides all */
    }

    snprintf(out, TIME_TEXT, "%" PRId64 "%s", ms / unit->ms, unit->name);

    return out;
}


/* What is allowed, for errors and for --help; "" when anything is. */
static void
option_allowed(const option_t *option, char *out, size_t size)
{
    char  min[TIME_TEXT], max[TIME_TEXT];

    out[0] = '\0';

    switch (option->type) {

    case OPTION_STRING:
        if (option->max != 0) {
            snprintf(out, size, "%" PRId64 " to %" PRId64 " bytes",
                     option->min, option->max);
        }
        break;

    case OPTION_NUMBER:
        snprintf(out, size, "a number from %" PRId64 " to %" PRId64,
                 option->min, option->max);
        break;

    case OPTION_TIME:
        snprintf(out, size, "a time from %s to %s, as 500ms, 5s, 30m, 1h, 1d",
                 option_time_text(option->min, min),
                 option_time_text(option->max, max));
        break;

    case OPTION_LOG_LEVEL:
        snprintf(out, size, "error, warn, info or debug");
        break;

    case OPTION_FLAG:
        snprintf(out, size, "on/off, 1/0, yes/no, true/false");
        break;
    }
}


static int
option_set_string(const option_t *option, const char *text)
{
    int64_t  len;

    len = (int64_t) strlen(text);

    if (option->max != 0 && (len < option->min || len > option->max)) {
        return -1;
    }

    *(const char **) option->value = text;

    return 0;
}


static int
option_set(const option_t *option, const char *text)
{
    int      n;
    int64_t  number;

    switch (option->type) {

    case OPTION_STRING:
        return option_set_string(option, text);

    case OPTION_NUMBER:
    case OPTION_TIME:
        n = option->type == OPTION_TIME ? option_parse_time(text, &number)
                                        : option_parse_number(text, &number);
        if (n != 0 || number < option->min || number > option->max) {
            return -1;
        }
        *(int64_t *) option->value = number;
        return 0;

    case OPTION_LOG_LEVEL:
        n = log_level_parse(text);
        if (n < 0) {
            return -1;
        }
        *(int *) option->value = n;
        return 0;

    case OPTION_FLAG:
        return option_parse_flag(text, option->value);
    }

    return -1;
}


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
            *(const char **) option->value = NULL;
            break;
        case OPTION_FLAG:
            *(int *) option->value = 0;
            break;
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


static int
options_environment(options_t *o)
{
    size_t       i;
    const char  *text;

    for (i = 0; o->table[i].name != NULL; i++) {

        if (o->table[i].env == NULL || (o->given & UINT64_C(1) << i)) {
            continue;
        }

        text = getenv(o->table[i].env);

        if (text != NULL && *text != '\0'
            && option_take(o, &o->table[i], "environment variable ",
                           o->table[i].env, text) != 0)
        {
            return -1;
        }
    }

    return 0;
}


static const option_t *
options_find(options_t *o, const char *name, size_t len)
{
    size_t  i;

    for (i = 0; o->table[i].name != NULL; i++) {
        if (strlen(o->table[i].name) == len
            && memcmp(o->table[i].name, name, len) == 0)
        {
            o->given |= UINT64_C(1) << i;
            return &o->table[i];
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
    const char      *name, *value;
    const option_t  *option;

    if (strcmp(argv[0], "--help") == 0) {
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

    if (option->type == OPTION_FLAG) {
        if (value != NULL) {
            snprintf(o->error, o->size, "--%s: takes no value", option->name);
            return -1;
        }
        value = "on";

    } else if (value == NULL) {
        value = argv[1];
        taken = 2;

        if (value == NULL || strncmp(value, "--", 2) == 0) {
            snprintf(o->error, o->size, "--%s: needs a value", option->name);
            return -1;
        }
    }

    return option_take(o, option, "--", option->name, value) == 0 ? taken : -1;
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
    int        i, n, end;
    options_t  o;

    o = (options_t) { .table = table, .error = error, .size = size };

    if (size > 0) {
        error[0] = '\0';
    }

    if (options_defaults(&o) != 0) {
        return -1;
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

    return options_environment(&o) == 0 ? end : -1;
}


void
options_help(const option_t *table, FILE *out)
{
    char             allowed[128];
    const option_t  *option;

    for (option = table; option->name != NULL; option++) {
        option_allowed(option, allowed, sizeof(allowed));

        fprintf(out, "  --%s%s\n      %s\n", option->name,
                option_metavars[option->type], option->help);

        if (allowed[0] != '\0' && option->type != OPTION_FLAG) {
            fprintf(out, "      %s\n", allowed);
        }

        if (option->env != NULL || option->deflt != NULL) {
            fprintf(out, "      %s%s%s%s%s\n",
                    option->env != NULL ? "environment: " : "",
                    option->env != NULL ? option->env : "",
                    option->env != NULL && option->deflt != NULL ? "; " : "",
                    option->deflt != NULL ? "default: " : "",
                    option->deflt != NULL ? option->deflt : "");
        }
    }

    fprintf(out, "  --help\n      print this and exit\n"
                 "  --version\n      print the version and exit\n");
}
