/*
 * What the runner says about the scenarios: TAP on standard output while they
 * run (https://testanything.org/tap-version-14-specification.html, a subtest
 * per scenario), and a JUnit file at the end if one is wanted.
 */

#ifndef ITESTS_REPORT_H
#define ITESTS_REPORT_H


#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


typedef struct {
    const char  *name;
    char        *output;                /* lines, NUL-terminated */
    size_t       len;
    unsigned     checks;
    unsigned     failed;                /* checks */
    unsigned     skipped;               /* checks */
    int64_t      ms;
} result_t;

/* How the program names what it does. */
typedef struct {
    const char  *program;               /* "integrationtests" */
    const char  *plural;                /* "scenarios" */
    const char  *skipped;               /* "nothing was run" */
} report_t;


void report_begin(size_t scenarios);
void report_scenario(const char *name);

/* One line of a scenario, without its newline: printed and kept. */
void report_line(result_t *result, const char *line);

/* All checks of the scenario were skipped, which is no success. */
bool report_skipped(const result_t *result);

void report_end(const report_t *report, const result_t *result,
    size_t number);
void report_summary(const report_t *report, const result_t *results,
    size_t n);

/* -1 with errno. */
int report_junit(const report_t *report, const char *path,
    const result_t *results, size_t n)
    __attribute__((warn_unused_result));


#endif /* ITESTS_REPORT_H */
