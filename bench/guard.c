/*
 * guard BASELINE RESULTS ENVIRONMENT [--update]: compares the results of
 * bench/cost with the baseline.  The last line is "N passed, N failed".
 *
 * For a compiler that the baseline does not know, the guard takes the first
 * entry and a wide tolerance, so that it still finds large changes.
 */

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/stats.h"


#define MODULE      "ngx_http_myservice_module.so"
#define UNKNOWN     0.40                /* of the instructions */
#define EXACT       0.011               /* of a system call per call */
#define MANY_LIMIT  1.1                 /* writev per call at m32 */
#define FEW_LIMIT   0.1                 /* and recvfrom, multiplexed; write */
#define BYTES       150                 /* to the instance, multiplexed: a
                                           message of 100 and its call */
#define CONNECTIONS  2                  /* to the instance, multiplexed: 128
                                           calls at once, 100 on each */
#define COUNT(a)    (sizeof(a) / sizeof((a)[0]))


typedef struct {
    const char  *name;
    const char  *table;
    double       tolerance;
    bool         nginx;                 /* count the instructions of nginx,
                                           too */
} case_t;


/* a call of a session that has its lease, a session's first call; calls with
 * myservice_multiplex, many at once */
static const case_t  cases[] = {
    { "bound", "bound", 0.05, false },
    { "new", "new", 0.05, false },
    { "with nginx", "bound", 0.05, true },
    { "multiplexed", "multiplexed", 0.05, true }
};

static unsigned  passed, failed;


static void
die(const char *what)
{
    fprintf(stderr, "guard: %s\n", what);
    exit(1);
}


static void
judge(bool good, const char *name, double value, double want, const char *text)
{
    printf("%s %-24s %10.2f, %s %.2f\n", good ? "ok    " : "FAILED", name,
           value, text, want);

    if (good) {
        passed++;

    } else {
        failed++;
    }
}


static double
measured(const json_t *tables, const char *table, const char *column)
{
    stats_t  stats;

    if (json_object_get(tables, table) == NULL) {
        die("a part was not measured");
    }

    return stats_get(tables, table, "gateway", column, &stats) == 0
           ? stats.median : 0;
}


static double
instructions(const json_t *tables, const case_t *c)
{
    double  n;

    n = measured(tables, c->table, MODULE);

    return c->nginx ? n + measured(tables, c->table, "nginx") : n;
}


static void
check_instructions(const json_t *baseline, const json_t *tables,
    const char *environment)
{
    char           name[64];
    size_t         i;
    double         value, want, tolerance;
    json_t        *all, *known, *entry;

    all = json_object_get(baseline, "instructions");
    known = json_object_get(all, environment);
    entry = known;

    if (known == NULL) {
        entry = json_object_iter_value(json_object_iter(all));
        printf("no baseline for \"%s\": within %.0f %% of \"%s\"\n",
               environment, UNKNOWN * 100,
               json_object_iter_key(json_object_iter(all)));
    }

    for (i = 0; i < COUNT(cases); i++) {
        snprintf(name, sizeof(name), "instructions, %s", cases[i].name);
        value = instructions(tables, &cases[i]);
        want = json_number_value(json_object_get(entry, cases[i].name));

        tolerance = known != NULL ? cases[i].tolerance : UNKNOWN;

        judge(value > 0 && fabs(value - want) <= tolerance * want, name, value,
              want, "baseline");
    }
}


/* The number of epoll_wait() calls depends on how many events come at once, that
 * of write() for the access log on how long they take. */

static bool
syscall_counts(const char *name)
{
    return strcmp(name, "total") != 0 && strcmp(name, "epoll_wait") != 0
           && strcmp(name, "write") != 0;
}


/* The system calls of the baseline, and every other one that was made. */

static void
check_syscalls(const json_t *baseline, const json_t *tables)
{
    void        *iter;
    double       value, want;
    json_t      *list, *row;
    const char  *name;

    list = json_object_get(baseline, "syscalls");

    for (iter = json_object_iter(list);
         iter != NULL;
         iter = json_object_iter_next(list, iter))
    {
        name = json_object_iter_key(iter);
        value = measured(tables, "syscalls", name);
        want = json_number_value(json_object_iter_value(iter));

        judge(fabs(value - want) <= EXACT, name, value, want, "exactly");
    }

    row = json_object_get(json_object_get(tables, "syscalls"), "gateway");

    for (iter = json_object_iter(row);
         iter != NULL;
         iter = json_object_iter_next(row, iter))
    {
        name = json_object_iter_key(iter);
        value = measured(tables, "syscalls", name);

        if (syscall_counts(name) && json_object_get(list, name) == NULL) {
            judge(value <= EXACT, name, value, 0, "exactly");
        }
    }

    value = measured(tables, "syscalls", "write");
    judge(value <= FEW_LIMIT, "write", value, FEW_LIMIT, "at most");

    value = measured(tables, "syscalls-m32", "writev");
    judge(value > 0 && value <= MANY_LIMIT, "writev at c4 m32", value,
          MANY_LIMIT, "at most");

    value = measured(tables, "syscalls-multiplexed", "writev");
    judge(value <= FEW_LIMIT, "writev, multiplexed", value, FEW_LIMIT,
          "at most");

    value = measured(tables, "syscalls-multiplexed", "recvfrom");
    judge(value <= FEW_LIMIT, "recvfrom, multiplexed", value, FEW_LIMIT,
          "at most");

    value = measured(tables, "bytes-multiplexed", "sent");
    judge(value > 0 && value <= BYTES, "bytes, multiplexed", value, BYTES,
          "at most");

    value = measured(tables, "connections-multiplexed", "open");
    judge(value > 0 && value <= CONNECTIONS, "connections, multiplexed", value,
          CONNECTIONS, "at most");
}


static void
update(json_t *baseline, const json_t *tables, const char *environment)
{
    void        *iter;
    size_t       i;
    double       value;
    json_t      *entry, *all, *list, *row;
    const char  *name;

    entry = json_object();
    for (i = 0; i < COUNT(cases); i++) {
        value = instructions(tables, &cases[i]);
        json_object_set_new(entry, cases[i].name, json_integer(llround(value)));
    }

    all = json_object_get(baseline, "instructions");
    if (all == NULL) {
        all = json_object();
        json_object_set_new(baseline, "instructions", all);
    }

    json_object_set_new(all, environment, entry);

    list = json_object();
    row = json_object_get(json_object_get(tables, "syscalls"), "gateway");

    for (iter = json_object_iter(row);
         iter != NULL;
         iter = json_object_iter_next(row, iter))
    {
        name = json_object_iter_key(iter);
        value = round(measured(tables, "syscalls", name) * 50) / 50;

        if (value != 0 && syscall_counts(name)) {
            json_object_set_new(list, name, json_real(value));
        }
    }

    json_object_set_new(baseline, "syscalls", list);
}


int
main(int argc, char **argv)
{
    char          error[512];
    bool          writing;
    json_t       *baseline, *results, *tables;

    writing = argc == 5 && strcmp(argv[4], "--update") == 0;

    if (argc != 4 && !writing) {
        fprintf(stderr, "usage: guard BASELINE RESULTS ENVIRONMENT"
                " [--update]\n");
        return 2;
    }

    results = stats_read(argv[2], error, sizeof(error));
    if (results == NULL) {
        die(error);
    }

    tables = json_object_get(results, "tables");
    baseline = json_load_file(argv[1], 0, NULL);

    if (writing) {
        if (baseline == NULL) {
            baseline = json_object();
        }

        update(baseline, tables, argv[3]);

        if (json_dump_file(baseline, argv[1], JSON_INDENT(4)
                           |JSON_REAL_PRECISION(6)) != 0)
        {
            die("cannot write the baseline");
        }

        printf("wrote %s for \"%s\"\n", argv[1], argv[3]);

    } else if (baseline == NULL) {
        die("the baseline is missing or no JSON");

    } else {
        check_instructions(baseline, tables, argv[3]);
        check_syscalls(baseline, tables);
        printf("%u passed, %u failed\n", passed, failed);
    }

    json_decref(baseline);
    json_decref(results);

    return failed != 0;
}
