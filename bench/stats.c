/* Medians and other sums of repeated runs. */

#include "bench/stats.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define STATS_LINE    65536
#define STATS_VALUES  1024


/* The object "key" of "parent", made if it is missing. */

static json_t *
stats_child(json_t *parent, const char *key)
{
    json_t  *child;

    child = json_object_get(parent, key);
    if (child == NULL) {
        child = json_object();
        json_object_set_new(parent, key, child);
    }

    return child;
}


static void
stats_add(json_t *row, json_t *values)
{
    void        *iter;
    json_t      *list, *value;
    const char  *column;

    for (iter = json_object_iter(values);
         iter != NULL;
         iter = json_object_iter_next(values, iter))
    {
        column = json_object_iter_key(iter);
        value = json_object_iter_value(iter);

        if (!json_is_number(value)) {
            continue;
        }

        list = json_object_get(row, column);
        if (list == NULL) {
            list = json_array();
            json_object_set_new(row, column, list);
        }

        json_array_append(list, value);
    }
}


json_t *
stats_read(const char *path, char *error, size_t size)
{
    FILE          *f;
    char           line[STATS_LINE];
    json_t        *root, *tables, *object;
    unsigned       number;
    json_error_t   reason;

    f = fopen(path, "r");
    if (f == NULL) {
        snprintf(error, size, "%s: %s", path, strerror(errno));
        return NULL;
    }

    root = json_object();
    tables = stats_child(root, "tables");

    for (number = 1; fgets(line, sizeof(line), f) != NULL; number++) {
        object = json_loads(line, 0, &reason);

        if (object == NULL) {
            snprintf(error, size, "%s: line %u: %s", path, number,
                     reason.text);
            json_decref(root);
            root = NULL;
            break;
        }

        if (json_object_get(object, "machine") != NULL) {
            json_object_update(root, object);

        } else {
            stats_add(stats_child(stats_child(tables,
                          json_string_value(json_object_get(object, "table"))),
                          json_string_value(json_object_get(object, "row"))),
                      json_object_get(object, "values"));
        }

        json_decref(object);
    }

    fclose(f);

    return root;
}


static int
stats_compare(const void *one, const void *two)
{
    double  a = *(const double *) one, b = *(const double *) two;

    return (a > b) - (a < b);
}


int
stats_get(const json_t *tables, const char *table, const char *row,
    const char *column, stats_t *stats)
{
    size_t   i, n;
    double   values[STATS_VALUES];
    json_t  *list;

    list = json_object_get(json_object_get(json_object_get(tables, table), row),
                           column);

    n = json_array_size(list);
    if (n == 0) {
        return -1;
    }

    if (n > STATS_VALUES) {
        n = STATS_VALUES;
    }

    for (i = 0; i < n; i++) {
        values[i] = json_number_value(json_array_get(list, i));
    }

    qsort(values, n, sizeof(double), stats_compare);

    stats->n = (int) n;
    stats->min = values[0];
    stats->max = values[n - 1];
    stats->median = n % 2 ? values[n / 2]
                          : (values[n / 2 - 1] + values[n / 2]) / 2;

    return 0;
}
