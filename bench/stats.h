/*
 * Results of several rounds: table -> row -> column -> values.  All of it is
 * JSON of jansson, which keeps the order in which things came.
 */

#ifndef BENCH_STATS_H
#define BENCH_STATS_H


#include <jansson.h>


typedef struct {
    double  median;
    double  min;
    double  max;
    int     n;
} stats_t;


/* Reads lines of {"table":, "row":, "values":{column: number}} and {"machine":
 * text}.  NULL: "error" says why. */
json_t *stats_read(const char *path, char *error, size_t size);

/* 0; -1 if nothing was measured there. */
int stats_get(const json_t *tables, const char *table, const char *row,
    const char *column, stats_t *stats);


#endif /* BENCH_STATS_H */
