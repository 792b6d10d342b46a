/*
 * Reads the affinity of the process, and what its control groups (version 1
 * or 2) and those around them give it.
 */

#include "authsvc/serve/cores.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>


#define CORES_CGROUPS  "/sys/fs/cgroup"
#define CORES_MAX      4096


/* Below CORES_CGROUPS. */
static const char *const  cores_mounts[2][2] = {
    { "/cpu", "/cpu,cpuacct" },         /* version 1 */
    { "", "/unified" }                  /* version 2 */
};


/* How many numbers are in a file of a group, up to two. */
static int
cores_read(const char *root, const char *mount, const char *group,
    const char *name, long long *a, long long *b)
{
    int    n;
    char   path[2 * PATH_MAX];
    FILE  *file;

    snprintf(path, sizeof(path), "%s" CORES_CGROUPS "%s%s/%s", root, mount,
             group, name);

    file = fopen(path, "re");
    if (file == NULL) {
        return 0;
    }

    n = fscanf(file, "%lld %lld", a, b);
    fclose(file);

    return n;
}


/* 0: no limit.  A part of a core counts as one. */
static int
cores_group(const char *root, bool v2, const char *mount, const char *group)
{
    bool       found;
    long long  quota, period, rest;

    found = v2 ? cores_read(root, mount, group, "cpu.max", &quota, &period) == 2
               : cores_read(root, mount, group, "cpu.cfs_quota_us", &quota,
                            &rest) == 1
                 && cores_read(root, mount, group, "cpu.cfs_period_us",
                               &period, &rest) == 1;

    if (!found || quota <= 0 || period <= 0 || quota / period >= CORES_MAX) {
        return 0;
    }

    return (int) ((quota + period - 1) / period);
}


/* The least of a group and of those around it.  In a container the path may be
 * the host's: a missing group limits nothing. */
static void
cores_hierarchy(const char *root, bool v2, char *group, int *least)
{
    int     n;
    size_t  i;
    char   *slash;

    do {
        slash = strrchr(group, '/');

        /* "/" is the group "" */
        if (slash != NULL && slash[1] == '\0') {
            *slash = '\0';
        }

        for (i = 0; i < 2; i++) {
            n = cores_group(root, v2, cores_mounts[v2][i], group);
            *least = n > 0 && (*least == 0 || n < *least) ? n : *least;
        }

        slash = strrchr(group, '/');
        if (slash != NULL) {
            *slash = '\0';
        }
    } while (slash != NULL);
}


int
cores_quota(const char *root)
{
    int    least;
    char   path[PATH_MAX], line[PATH_MAX + 64], list[66];
    char  *group;
    FILE  *file;

    least = 0;
    snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);

    file = fopen(path, "re");
    if (file == NULL) {
        return 0;
    }

    /* "0::/group", "4:cpu,cpuacct:/group" */

    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        group = strchr(line, '/');

        if (group == NULL || sscanf(line, "%*d:%64[^/]", list) != 1) {
            continue;
        }

        *strrchr(list, ':') = ',';

        if (strcmp(list, ",") == 0) {
            cores_hierarchy(root, true, group, &least);

        } else if (strncmp(list, "cpu,", 4) == 0
                   || strstr(list, ",cpu,") != NULL)
        {
            cores_hierarchy(root, false, group, &least);
        }
    }

    fclose(file);

    return least;
}


int
cores_usable(const char *root)
{
    int        n, quota;
    long       online;
    cpu_set_t  set;

    online = sysconf(_SC_NPROCESSORS_ONLN);

    /* fails on a machine with more cores than the set has room for */
    n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set)
        : online > CORES_MAX ? CORES_MAX : (int) online;

    quota = cores_quota(root);
    n = quota > 0 && quota < n ? quota : n;

    return n < 1 ? 1 : n;
}
