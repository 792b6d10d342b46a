/* CPU time, memory and sockets of processes, from /proc. */

#include "bench/proc.h"

#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


/* schedstat of a process is that of its first thread only */

static void
proc_threads(pid_t pid, proc_use_t *use)
{
    DIR            *dir;
    FILE           *f;
    char            path[320];
    uint64_t        ns;
    struct dirent  *entry;

    snprintf(path, sizeof(path), "/proc/%d/task", (int) pid);

    dir = opendir(path);
    if (dir == NULL) {
        return;
    }

    while ((entry = readdir(dir)) != NULL) {
        snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", (int) pid,
                 entry->d_name);

        f = isdigit((unsigned char) entry->d_name[0]) ? fopen(path, "r") : NULL;
        if (f == NULL) {
            continue;
        }

        if (fscanf(f, "%" SCNu64, &ns) == 1) {
            use->cpu += ns;
        }

        fclose(f);
    }

    closedir(dir);
}


static void
proc_stat(pid_t pid, proc_use_t *use)
{
    FILE      *f;
    char       path[64], line[1024], *p;
    uint64_t   user, system;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int) pid);

    f = fopen(path, "r");
    if (f == NULL) {
        return;
    }

    /* the name in parentheses may have anything in it */

    p = fgets(line, sizeof(line), f) != NULL ? strrchr(line, ')') : NULL;

    if (p != NULL
        && sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64
                  " %" SCNu64, &user, &system) == 2)
    {
        use->user += user;
        use->system += system;
        use->processes++;
    }

    fclose(f);
}


static void
proc_memory(pid_t pid, proc_use_t *use)
{
    FILE      *f;
    char       path[64], line[256];
    uint64_t   kb;

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int) pid);

    f = fopen(path, "r");
    if (f == NULL) {
        return;
    }

    while (fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, "Pss: %" SCNu64, &kb) == 1) {
            use->memory += kb * 1024;
            break;
        }
    }

    fclose(f);
}


static void
proc_sockets(pid_t pid, proc_use_t *use)
{
    DIR            *dir;
    char            path[64], target[16];
    struct dirent  *entry;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int) pid);

    dir = opendir(path);
    if (dir == NULL) {
        return;
    }

    while ((entry = readdir(dir)) != NULL) {
        if (readlinkat(dirfd(dir), entry->d_name, target, sizeof(target)) > 7
            && memcmp(target, "socket:", 7) == 0)
        {
            use->sockets++;
        }
    }

    closedir(dir);
}


static void
proc_add(pid_t pid, int memory, proc_use_t *use)
{
    int    child;
    FILE  *f;
    char   path[64];

    proc_stat(pid, use);
    proc_threads(pid, use);
    proc_sockets(pid, use);

    if (memory) {
        proc_memory(pid, use);
    }

    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int) pid,
             (int) pid);

    f = fopen(path, "r");
    if (f == NULL) {
        return;
    }

    while (fscanf(f, "%d", &child) == 1) {
        proc_add(child, memory, use);
    }

    fclose(f);
}


void
proc_use(pid_t root, int memory, proc_use_t *use)
{
    memset(use, 0, sizeof(proc_use_t));

    if (root > 0) {
        proc_add(root, memory, use);
    }
}
