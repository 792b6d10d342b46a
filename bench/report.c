/*
 * report RESULTS GOALS PREFIX: medians with min and max of all rounds as tables
 * on standard output, PREFIX.json and PREFIX.svg.
 */

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/stats.h"
#include "bench/svg.h"


#define BARE     "nginx"                /* what ratios are made to */
#define COLUMNS  24


static void
die(const char *what)
{
    fprintf(stderr, "report: %s\n", what);
    exit(1);
}


static void
number(double value)
{
    if (value >= 1000) {
        printf("%.0f", value);

    } else if (value >= 100) {
        printf("%.1f", value);

    } else {
        printf("%.2f", value);
    }
}


static void
cell(const stats_t *stats)
{
    number(stats->median);

    if (stats->n > 1) {
        printf(" (");
        number(stats->min);
        printf("-");
        number(stats->max);
        printf(")");
    }
}


/* Shows failures only where calls failed. */

static bool
column_shown(const char *column, json_t *values)
{
    size_t  i;

    if (strcmp(column, "failed") == 0) {
        for (i = 0; i < json_array_size(values); i++) {
            if (json_number_value(json_array_get(values, i)) > 0) {
                return true;
            }
        }

        return false;
    }

    return strcmp(column, "seconds") != 0 && strcmp(column, "calls") != 0
           && strcmp(column, "cpu_ticks") != 0;
}


/* Columns of all rows, in the order they came. */

static size_t
columns_of(json_t *table, const char **columns)
{
    void        *row, *iter;
    size_t       i, n;
    json_t      *values;
    const char  *key;

    n = 0;

    for (row = json_object_iter(table);
         row != NULL;
         row = json_object_iter_next(table, row))
    {
        values = json_object_iter_value(row);

        for (iter = json_object_iter(values);
             iter != NULL;
             iter = json_object_iter_next(values, iter))
        {
            key = json_object_iter_key(iter);

            for (i = 0; i < n && strcmp(columns[i], key) != 0; i++) {
                /* void */
            }

            if (i == n && n < COLUMNS
                && column_shown(key, json_object_iter_value(iter)))
            {
                columns[n++] = key;
            }
        }
    }

    return n;
}


/* -1: no ratio, for bare nginx itself and for other kinds of columns. */

static double
ratio(const json_t *tables, const char *table, const char *row,
    const char *column)
{
    size_t   i;
    stats_t  stats, bare;

    static const char *const  compared[] = { "rate", "cpu", "p50", "p99",
                                             "p999" };

    for (i = 0; strcmp(compared[i], column) != 0; i++) {
        if (i == sizeof(compared) / sizeof(compared[0]) - 1) {
            return -1;
        }
    }

    if (strcmp(row, BARE) == 0
        || stats_get(tables, table, row, column, &stats) != 0
        || stats_get(tables, table, BARE, column, &bare) != 0
        || bare.median <= 0)
    {
        return -1;
    }

    return stats.median / bare.median;
}


static void
print_row(const json_t *tables, const char *table, const char *row,
    const char **columns, size_t n)
{
    size_t   i;
    double   to_bare;
    stats_t  stats;

    printf("| %s |", row);

    for (i = 0; i < n; i++) {
        printf(" ");

        if (stats_get(tables, table, row, columns[i], &stats) == 0) {
            cell(&stats);
            to_bare = ratio(tables, table, row, columns[i]);

            if (to_bare >= 0) {
                printf(" = **%.2f**", to_bare);
            }
        }

        printf(" |");
    }

    printf("\n");
}


static void
print_table(json_t *tables, const char *name)
{
    void        *row;
    size_t       i, n;
    json_t      *table;
    const char  *columns[COLUMNS];

    table = json_object_get(tables, name);
    n = columns_of(table, columns);

    printf("\n### %s\n\n| |", name);

    for (i = 0; i < n; i++) {
        printf(" %s |", columns[i]);
    }

    printf("\n|---|");

    for (i = 0; i < n; i++) {
        printf("---|");
    }

    printf("\n");

    for (row = json_object_iter(table);
         row != NULL;
         row = json_object_iter_next(table, row))
    {
        print_row(tables, name, json_object_iter_key(row), columns, n);
    }
}


/* 1: the value of the goal was measured; else 0. */

static int
goal_value(const json_t *tables, char *text, double *value)
{
    char     table[64], row[64], column[64], *slash;
    stats_t  stats;

    slash = strstr(text, " / ");
    if (slash != NULL) {
        *slash = '\0';
    }

    if (sscanf(text, "%63s %63s %63s", table, row, column) != 3
        || stats_get(tables, table, row, column, &stats) != 0)
    {
        return 0;
    }

    *value = stats.median;

    if (slash != NULL) {
        if (sscanf(slash + 3, "%63s %63s %63s", table, row, column) != 3
            || stats_get(tables, table, row, column, &stats) != 0)
        {
            return 0;
        }

        *value /= stats.median;
    }

    return 1;
}


/* "VALUE <= LIMIT : TEXT", or "VALUE < LIMIT : TEXT". */

static void
print_goal(const json_t *tables, json_t *goals, char *line)
{
    bool     below;
    char    *limit, *text;
    double   most, value;

    limit = strstr(line, " < ");
    below = limit != NULL;
    limit = below ? limit : strstr(line, " <= ");
    text = strstr(line, " : ");

    if (line[0] == '#' || limit == NULL || text == NULL) {
        return;
    }

    *limit = '\0';
    most = atof(limit + (below ? 3 : 4));
    text[strcspn(text, "\n")] = '\0';
    text += 3;

    printf("| %s | %s%g | ", text, below ? "< " : "", most);

    if (!goal_value(tables, line, &value)) {
        printf("| not measured |\n");
        return;
    }

    number(value);
    printf(" | %s |\n", value < most || (value == most && !below)
                        ? "met" : "**missed**");

    json_array_append_new(goals,
        json_pack("{s:s, s:f, s:f}", "goal", text, "limit", most,
                  "measured", value));
}


static void
print_goals(json_t *root, const char *path)
{
    FILE    *f;
    char     line[512];
    json_t  *goals;

    f = fopen(path, "r");
    if (f == NULL) {
        die(strerror(errno));
    }

    goals = json_array();
    json_object_set_new(root, "goals", goals);
    printf("\n### Goals\n\n| | limit | measured | |\n|---|---|---|---|\n");

    while (fgets(line, sizeof(line), f) != NULL) {
        print_goal(json_object_get(root, "tables"), goals, line);
    }

    fclose(f);
}


/* The values of the rounds become their median, min and max, and the ratio to
 * bare nginx. */

static void
condense(json_t *tables, const json_t *measured)
{
    void        *t, *r, *c;
    double       to_bare;
    json_t      *table, *row, *value;
    stats_t      stats;
    const char  *column;

    for (t = json_object_iter(tables);
         t != NULL;
         t = json_object_iter_next(tables, t))
    {
        table = json_object_iter_value(t);

        for (r = json_object_iter(table);
             r != NULL;
             r = json_object_iter_next(table, r))
        {
            row = json_object_iter_value(r);

            for (c = json_object_iter(row);
                 c != NULL;
                 c = json_object_iter_next(row, c))
            {
                column = json_object_iter_key(c);

                if (stats_get(measured, json_object_iter_key(t),
                              json_object_iter_key(r), column, &stats) != 0)
                {
                    continue;
                }

                value = json_pack("{s:f, s:f, s:f, s:i}",
                                  "median", stats.median, "min", stats.min,
                                  "max", stats.max, "rounds", stats.n);
                to_bare = ratio(measured, json_object_iter_key(t),
                                json_object_iter_key(r), column);

                if (to_bare >= 0) {
                    json_object_set_new(value, "ratio", json_real(to_bare));
                }

                json_object_iter_set_new(row, c, value);
            }
        }
    }
}


static FILE *
create(const char *prefix, const char *suffix)
{
    FILE  *f;
    char   path[4096];

    snprintf(path, sizeof(path), "%s%s", prefix, suffix);

    f = fopen(path, "w");
    if (f == NULL) {
        die(path);
    }

    return f;
}


int
main(int argc, char **argv)
{
    char         error[512];
    FILE        *f;
    void        *t;
    json_t      *root, *tables, *measured;
    const char  *machine;

    if (argc != 4) {
        fprintf(stderr, "usage: report RESULTS GOALS PREFIX\n");
        return 2;
    }

    root = stats_read(argv[1], error, sizeof(error));
    if (root == NULL) {
        die(error);
    }

    tables = json_object_get(root, "tables");
    machine = json_string_value(json_object_get(root, "machine"));

    printf("%s\n", machine != NULL ? machine : "");

    for (t = json_object_iter(tables);
         t != NULL;
         t = json_object_iter_next(tables, t))
    {
        print_table(tables, json_object_iter_key(t));
    }

    print_goals(root, argv[2]);

    f = create(argv[3], ".svg");
    svg_write(f, tables, machine != NULL ? machine : "");
    fclose(f);

    measured = json_deep_copy(tables);
    condense(tables, measured);
    json_decref(measured);

    f = create(argv[3], ".json");
    json_dumpf(root, f, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    fclose(f);

    json_decref(root);

    return 0;
}
