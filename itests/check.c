/* Checks of a scenario, printed as lines of TAP, and its deadline. */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <grpc/status.h>

#include "itests/check.h"
#include "rpc/server.h"


static void check_line(bool ok, const char *text, const char *skip);
static void check_escape(const char *text);
static void check_match(check_t *check, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static bool check_mismatch(check_t *check, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));


#define CHECK_TEXT  2560


bool
check(test_t *test, bool holds, const char *fmt, ...)
{
    char     text[CHECK_TEXT];
    va_list  args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    check_line(holds, text, NULL);

    if (!holds) {
        test->failed++;
    }

    return holds;
}


void
check_skip(test_t *test, const char *reason, const char *fmt, ...)
{
    char     text[CHECK_TEXT];
    va_list  args;

    (void) test;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    check_line(true, text, reason);
}


void
check_note(test_t *test, const char *fmt, ...)
{
    char     text[CHECK_TEXT];
    va_list  args;

    (void) test;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    printf("# ");
    check_escape(text);
    printf("\n");
}


void
check_begin(check_t *check, test_t *test, const char *fmt, ...)
{
    va_list  args;

    check->test = test;
    check->matches[0] = '\0';
    check->failed = 0;

    va_start(args, fmt);
    vsnprintf(check->what, sizeof(check->what), fmt, args);
    va_end(args);
}


bool
check_equal(check_t *check, const char *field, const char *got,
    const char *want)
{
    if (strcmp(got, want) != 0) {
        return check_mismatch(check, "%s: got \"%s\", want \"%s\"", field,
                              got, want);
    }

    check_match(check, "%s \"%s\"", field, got);

    return true;
}


bool
check_not_empty(check_t *check, const char *field, const char *got)
{
    if (got[0] == '\0') {
        return check_mismatch(check, "%s: got \"\", want a value", field);
    }

    check_match(check, "%s \"%s\"", field, got);

    return true;
}


bool
check_number(check_t *check, const char *field, int64_t got, int64_t want)
{
    if (got != want) {
        return check_mismatch(check, "%s: got %lld, want %lld", field,
                              (long long) got, (long long) want);
    }

    check_match(check, "%s %lld", field, (long long) got);

    return true;
}


bool
check_code(check_t *check, int got, int want)
{
    if (got != want) {
        return check_mismatch(check, "code: got %d %s, want %d %s", got,
                              check_code_name(got), want,
                              check_code_name(want));
    }

    check_match(check, "code %d %s", got, check_code_name(got));

    return true;
}


bool
check_that(check_t *check, bool holds, const char *field, const char *got,
    const char *want)
{
    if (!holds) {
        return check_mismatch(check, "%s: got \"%s\", want %s", field, got,
                              want);
    }

    check_match(check, "%s %s", field, want);

    return true;
}


bool
check_done(check_t *check)
{
    char  text[CHECK_TEXT];

    if (check->failed > 0) {
        return false;
    }

    snprintf(text, sizeof(text), "%s: %s", check->what, check->matches);
    check_line(true, text, NULL);

    return true;
}


const char *
check_code_name(int code)
{
    static const char *const  names[] = {
        "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
        "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
        "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL",
        "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"
    };

    if (code < 0 || (size_t) code >= sizeof(names) / sizeof(names[0])) {
        return "(no such code)";
    }

    return names[code];
}


void
check_pace(int64_t ms)
{
    struct timespec  pause;

    pause.tv_sec = ms / 1000;
    pause.tv_nsec = ms % 1000 * 1000000;
    (void) nanosleep(&pause, NULL);
}


int64_t
check_time_left(const test_t *test, int64_t most)
{
    int64_t  left;

    left = test->deadline - rpc_now();

    if (left < 1) {
        return 1;
    }

    return left < most ? left : most;
}


static void
check_line(bool ok, const char *text, const char *skip)
{
    printf("%s - ", ok ? "ok" : "not ok");
    check_escape(text);

    if (skip != NULL) {
        printf(" # SKIP ");
        check_escape(skip);
    }

    printf("\n");
    fflush(stdout);
}


/* One line of TAP: "#" would begin a directive. */

static void
check_escape(const char *text)
{
    const unsigned char  *p;

    for (p = (const unsigned char *) text; *p != '\0'; p++) {
        if (*p < 0x20 || *p == 0x7f) {
            printf("\\\\x%02x", *p);
            continue;
        }

        if (*p == '#' || *p == '\\') {
            putchar('\\');
        }

        putchar(*p);
    }
}


static void
check_match(check_t *check, const char *fmt, ...)
{
    size_t   used;
    va_list  args;

    used = strlen(check->matches);

    if (used > 0 && used + 3 < sizeof(check->matches)) {
        memcpy(check->matches + used, ", ", 3);
        used += 2;
    }

    va_start(args, fmt);
    vsnprintf(check->matches + used, sizeof(check->matches) - used, fmt,
              args);
    va_end(args);
}


static bool
check_mismatch(check_t *check, const char *fmt, ...)
{
    char     text[CHECK_TEXT - sizeof(check->what) - 2];
    char     line[CHECK_TEXT];
    va_list  args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    snprintf(line, sizeof(line), "%s: %s", check->what, text);
    check_line(false, line, NULL);

    check->failed++;
    check->test->failed++;

    return false;
}
