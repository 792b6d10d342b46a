/* Prints the results of the scenarios as TAP and writes them as JUnit's XML. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "itests/report.h"


static void report_keep(result_t *result, const char *line);
static void junit_case(FILE *out, const report_t *report,
    const result_t *result);
static void junit_failures(FILE *out, const result_t *result);
static void junit_text(FILE *out, const char *text, size_t len);


void
report_begin(size_t scenarios)
{
    /* TAP 14 defines subtests, but prove refuses it; TAP 13 ignores them */
    printf("TAP version 13\n1..%zu\n", scenarios);
    fflush(stdout);
}


void
report_scenario(const char *name)
{
    printf("# Subtest: %s\n", name);
    fflush(stdout);
}


void
report_line(result_t *result, const char *line)
{
    if (strncmp(line, "ok ", 3) == 0) {
        result->checks++;
        result->skipped += strstr(line, " # SKIP ") != NULL;

    } else if (strncmp(line, "not ok ", 7) == 0) {
        result->checks++;
        result->failed++;
    }

    printf("    %s\n", line);
    fflush(stdout);

    report_keep(result, line);
}


bool
report_skipped(const result_t *result)
{
    return result->failed == 0 && result->checks == result->skipped;
}


void
report_end(const report_t *report, const result_t *result, size_t number)
{
    bool  skipped;

    skipped = report_skipped(result);

    printf("    1..%u\n", result->checks);
    printf("%s %zu - %s # %s%s%stime=%.3fs\n",
           result->failed ? "not ok" : "ok", number, result->name,
           skipped ? "SKIP " : "", skipped ? report->skipped : "",
           skipped ? ", " : "", (double) result->ms / 1000);
    fflush(stdout);
}


void
report_summary(const report_t *report, const result_t *results, size_t n)
{
    size_t    i, failed, skipped;
    unsigned  checks;

    failed = 0;
    skipped = 0;
    checks = 0;

    for (i = 0; i < n; i++) {
        failed += results[i].failed > 0;
        skipped += report_skipped(&results[i]);
        checks += results[i].skipped;
    }

    if (checks > 0) {
        printf("# %u parts were not run, see SKIP above\n", checks);
    }

    if (skipped > 0) {
        printf("# %zu %s: %s\n", skipped, report->plural, report->skipped);
    }

    printf("%zu passed, %zu failed", n - failed - skipped, failed);

    if (skipped > 0) {
        printf(", %zu skipped", skipped);
    }

    printf("\n");
}


int
report_junit(const report_t *report, const char *path,
    const result_t *results, size_t n)
{
    FILE     *out;
    size_t    i, failed, skipped;
    int64_t   ms;

    failed = 0;
    skipped = 0;
    ms = 0;

    for (i = 0; i < n; i++) {
        failed += results[i].failed > 0;
        skipped += report_skipped(&results[i]);
        ms += results[i].ms;
    }

    out = fopen(path, "we");
    if (out == NULL) {
        return -1;
    }

    fprintf(out,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
            "<testsuites>\n"
            "<testsuite name=\"%s\" tests=\"%zu\" "
            "failures=\"%zu\" errors=\"0\" skipped=\"%zu\" "
            "time=\"%.3f\">\n",
            report->program, n, failed, skipped, (double) ms / 1000);

    for (i = 0; i < n; i++) {
        junit_case(out, report, &results[i]);
    }

    fprintf(out, "</testsuite>\n</testsuites>\n");

    if (ferror(out)) {
        (void) fclose(out);
        return -1;
    }

    return fclose(out) == 0 ? 0 : -1;
}


static void
report_keep(result_t *result, const char *line)
{
    char    *output;
    size_t   len;

    len = strlen(line);

    output = realloc(result->output, result->len + len + 2);
    if (output == NULL) {
        abort();
    }

    memcpy(output + result->len, line, len);
    memcpy(output + result->len + len, "\n", 2);

    result->output = output;
    result->len += len + 1;
}


static void
junit_case(FILE *out, const report_t *report, const result_t *result)
{
    fprintf(out,
            "<testcase classname=\"%s\" name=\"%s\" time=\"%.3f\">\n",
            report->program, result->name, (double) result->ms / 1000);

    if (result->failed > 0) {
        fprintf(out, "<failure message=\"%u of %u checks failed\">",
                result->failed, result->checks);
        junit_failures(out, result);
        fprintf(out, "</failure>\n");
    }

    if (report_skipped(result)) {
        fprintf(out, "<skipped/>\n");
    }

    fprintf(out, "<system-out>");
    junit_text(out, result->output, result->len);
    fprintf(out, "</system-out>\n</testcase>\n");
}


static void
junit_failures(FILE *out, const result_t *result)
{
    size_t       len;
    const char  *line;

    for (line = result->output; *line != '\0'; line += len) {
        len = strcspn(line, "\n") + 1;

        if (strncmp(line, "not ok ", 7) == 0) {
            junit_text(out, line, len);
        }
    }
}


/* Writes "?" for everything but visible ASCII and newlines. Checks escape it
 * themselves, other output of a scenario may not. */

static void
junit_text(FILE *out, const char *text, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {
        switch (text[i]) {

        case '&':
            fputs("&amp;", out);
            break;

        case '<':
            fputs("&lt;", out);
            break;

        case '>':
            fputs("&gt;", out);
            break;

        case '\n':
            fputc('\n', out);
            break;

        default:
            fputc(text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?', out);
        }
    }
}
