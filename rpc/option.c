/*
 * One value of an option: text to value, and what is allowed as text.
 */

#include "rpc/option.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "rpc/log.h"


#define TIME_TEXT  32


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
option_parse_mode(const char *text, int64_t *mode)
{
    size_t  len;

    len = strspn(text, "01234567");

    if (len == 0 || len > 4 || text[len] != '\0') {
        return -1;
    }

    *mode = strtol(text, NULL, 8);

    return 0;
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


void
option_range(const option_t *option, char *out, size_t size)
{
    char  min[TIME_TEXT], max[TIME_TEXT];

    out[0] = '\0';

    switch (option->type) {

    case OPTION_STRING:
        if (option->max == 0) {
            break;
        }

        /* fall through */

    case OPTION_NUMBER:
        snprintf(out, size, "%" PRId64 " to %" PRId64, option->min,
                 option->max);
        break;

    case OPTION_TIME:
        snprintf(out, size, "%s to %s", option_time_text(option->min, min),
                 option_time_text(option->max, max));
        break;

    case OPTION_MODE:
        snprintf(out, size, "%04" PRIo64 " to %04" PRIo64, option->min,
                 option->max);
        break;

    case OPTION_LOG_LEVEL:
        snprintf(out, size, "error, warn, info or debug");
        break;

    case OPTION_LOG_FORMAT:
        snprintf(out, size, "text or json");
        break;

    default:
        break;
    }
}


void
option_allowed(const option_t *option, char *out, size_t size)
{
    char  range[OPTION_RANGE];

    option_range(option, range, sizeof(range));

    switch (option->type) {

    case OPTION_STRING:
        snprintf(out, size, "%s bytes", range);
        break;

    case OPTION_NUMBER:
        snprintf(out, size, "a number from %s", range);
        break;

    case OPTION_TIME:
        snprintf(out, size, "a time from %s, as 500ms, 5s, 30m, 1h, 1d",
                 range);
        break;

    case OPTION_MODE:
        snprintf(out, size, "permissions from %s", range);
        break;

    case OPTION_FLAG:
        snprintf(out, size, "on/off, 1/0, yes/no, true/false");
        break;

    default:
        snprintf(out, size, "%s", range);
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


int
option_set(const option_t *option, const char *text)
{
    int      n;
    int64_t  number;

    switch (option->type) {

    case OPTION_STRING:
        return option_set_string(option, text);

    case OPTION_NUMBER:
    case OPTION_TIME:
    case OPTION_MODE:
        n = option->type == OPTION_TIME ? option_parse_time(text, &number)
            : option->type == OPTION_MODE ? option_parse_mode(text, &number)
            : option_parse_number(text, &number);
        if (n != 0 || number < option->min || number > option->max) {
            return -1;
        }
        *(int64_t *) option->value = number;
        return 0;

    case OPTION_LOG_LEVEL:
    case OPTION_LOG_FORMAT:
        n = option->type == OPTION_LOG_LEVEL ? log_level_parse(text)
                                             : log_format_parse(text);
        if (n < 0) {
            return -1;
        }
        *(int *) option->value = n;
        return 0;

    case OPTION_FLAG:
        return option_parse_flag(text, option->value);

    case OPTION_CONFIG:
        *(const char **) option->value = text;
        return 0;

    case OPTION_RENAMED:
        break;
    }

    return -1;
}
