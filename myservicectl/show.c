/* How myservicectl shows what the gateway answers: as text, or as its JSON. */

#include "myservicectl/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>


const char *
show_text(const json_t *object, const char *name)
{
    const char  *value;

    value = json_string_value(json_object_get(object, name));

    return value != NULL ? value : "-";
}


int64_t
show_number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}


void
show_json(const json_t *answer)
{
    json_dumpf(answer, stdout, JSON_INDENT(2));
    putchar('\n');
}


/* 75000 ms as "1m15s" */
static const char *
duration(const json_t *object, const char *name, char out[32])
{
    int64_t  s;

    s = (show_number(object, name) + 500) / 1000;

    if (json_object_get(object, name) == NULL) {
        return "-";
    }

    if (s < 60) {
        snprintf(out, 32, "%" PRId64 "s", s);

    } else if (s < 3600) {
        snprintf(out, 32, "%" PRId64 "m%02ds", s / 60, (int) (s % 60));

    } else {
        snprintf(out, 32, "%" PRId64 "h%02dm", s / 3600,
                 (int) (s / 60 % 60));
    }

    return out;
}


/* "free=1 leased=2" */
static void
show_numbers(json_t *object)
{
    json_t      *value;
    const char  *name;

    printf("\n ");

    json_object_foreach(object, name, value) {
        printf(" %s=%" JSON_INTEGER_FORMAT, name, json_integer_value(value));
    }
}


void
show_upstream(const json_t *upstream)
{
    char     oldest[32];
    json_t  *line;

    printf("%s: %" PRId64 " instances, room for %" PRId64,
           show_text(upstream, "name"), show_number(upstream, "members"),
           show_number(upstream, "capacity"));

    show_numbers(json_object_get(upstream, "states"));
    show_numbers(json_object_get(upstream, "decisions"));

    line = json_object_get(upstream, "queue");

    if (line != NULL) {
        printf("\n  line: %" PRId64 " of %" PRId64 " sessions wait, the first "
               "for %s, %" PRId64 " served", show_number(line, "waiting"),
               show_number(line, "length"), duration(line, "oldest_ms", oldest),
               show_number(line, "served"));
    }

    putchar('\n');
}


void
show_head(void)
{
    printf("%-24s %-10s %-12s %-8s %-8s %-8s %s\n", "INSTANCE", "STATE",
           "HEALTH", "LEASE", "IDLE", "LEFT", "SESSION");
}


void
show_instance(const json_t *i)
{
    char  age[32], idle[32], left[32], state[32];

    snprintf(state, sizeof(state), "%s%s", show_text(i, "state"),
             json_is_true(json_object_get(i, "drain")) ? "*" : "");

    printf("%-24s %-10s %-12s %-8s %-8s %-8s %s\n", show_text(i, "address"), state,
           show_text(i, "health"), duration(i, "age_ms", age),
           duration(i, "idle_ms", idle), duration(i, "remaining_ms", left),
           show_text(i, "session"));
}


/* the newest first, equal ones together: "2 failing, 6 serving" */
static void
show_checks(const json_t *checks)
{
    size_t   n, same;
    json_t  *check;

    for (n = 0; n < json_array_size(checks); n += same) {
        check = json_array_get(checks, n);

        for (same = 1; json_equal(json_array_get(checks, n + same), check);
             same++)
        {
            /* void */
        }

        printf("%s%zu %s", n == 0 ? ", checks: " : ", ", same,
               json_string_value(check));
    }
}


/* what a table has no room for */
static void
show_details(const json_t *i)
{
    char  since[32];

    printf("  in this state for %s, source %s", duration(i, "since_ms", since),
           show_text(i, "source"));
    show_checks(json_object_get(i, "checks"));
    putchar('\n');

    if (json_object_get(i, "last_error") != NULL) {
        printf("  last error %s: %s\n", show_text(i, "last_error_at"),
               show_text(i, "last_error"));
    }
}


void
show_one(const ctl_t *ctl, const json_t *answer)
{
    if (ctl->json) {
        show_json(answer);

    } else {
        show_head();
        show_instance(answer);
        show_details(answer);
    }
}


void
show_event(const ctl_t *ctl, const json_t *event)
{
    char  more[32];

    if (ctl->json) {
        json_dumpf(event, stdout, JSON_COMPACT);
        putchar('\n');

    } else {
        more[0] = '\0';

        if (json_object_get(event, "count") != NULL) {
            snprintf(more, sizeof(more), "%" PRId64 " more",
                     show_number(event, "count"));
        }

        printf("%s %-14s %-24s %-16s %s\n", show_text(event, "time"),
               show_text(event, "kind"),
               more[0] != '\0' ? more : show_text(event, "instance"),
               show_text(event, "reason"), show_text(event, "session"));
    }
}


/* 1900000000 as "2030-03-17T17:46:40Z" */
static const char *
moment(const json_t *object, const char *name, char out[32])
{
    time_t     at;
    struct tm  tm;

    at = (time_t) show_number(object, name);

    if (json_object_get(object, name) == NULL || gmtime_r(&at, &tm) == NULL
        || strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
    {
        return "-";
    }

    return out;
}


/* in quotes, so that a name with spaces or control characters stays one */
static void
show_quoted(const json_t *value)
{
    json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
}


void
show_revocations(const ctl_t *ctl, const json_t *all)
{
    char     before[32], until[32];
    size_t   i, n;
    json_t  *entry;

    static const char *const  members[] = { "jti", "session", "iss", "sub" };

    if (ctl->json) {
        show_json(all);
        return;
    }

    printf("%-32s %-20s %-20s %s\n", "ID", "BEFORE", "UNTIL", "TOKENS");

    json_array_foreach(all, i, entry) {
        printf("%-32s %-20s %-20s", show_text(entry, "id"),
               moment(entry, "before", before), moment(entry, "until", until));

        for (n = 0; n < sizeof(members) / sizeof(members[0]); n++) {
            if (json_object_get(entry, members[n]) != NULL) {
                printf(" %s=", members[n]);
                show_quoted(json_object_get(entry, members[n]));
            }
        }

        putchar('\n');
    }
}
