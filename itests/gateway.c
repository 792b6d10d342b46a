/* Finds the gateway of the stack of this tree. */

#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "itests/gateway.h"


static int gateway_line(const char *run, const char *name, char *line,
    size_t size);
static bool gateway_alive(const char *process);


int
gateway_find(const char *run, char *address, size_t size)
{
    char  process[64];

    if (gateway_line(run, "nginx.pid", process, sizeof(process)) == -1
        || !gateway_alive(process))
    {
        return -1;
    }

    return gateway_line(run, "gateway", address, size);
}


int
gateway_folder(char *run, size_t size)
{
    int   n;
    char  path[PATH_MAX];

    n = (int) readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (n == -1) {
        return -1;
    }

    path[n] = '\0';
    n = snprintf(run, size, "%s/run", dirname(path));

    return n < (int) size ? 0 : -1;
}


/* The first line of a file, without the newline; -1 when there is none. */

static int
gateway_line(const char *run, const char *name, char *line, size_t size)
{
    char  path[PATH_MAX + 16], *read;
    FILE  *file;

    snprintf(path, sizeof(path), "%s/%s", run, name);

    file = fopen(path, "re");
    if (file == NULL) {
        return -1;
    }

    read = fgets(line, (int) size, file);
    fclose(file);

    if (read == NULL) {
        return -1;
    }

    line[strcspn(line, "\n")] = '\0';

    return line[0] != '\0' ? 0 : -1;
}


/*
 * "PID STARTTIME": after a crash of the machine, or of scripts/stack, another
 * process may have the number, with another time in field 22 of its stat.
 */

static bool
gateway_alive(const char *process)
{
    int                  n;
    long                 pid;
    char                 folder[64], line[1024], state;
    const char          *rest;
    unsigned long long   started, start;

    if (sscanf(process, "%ld %llu", &pid, &start) != 2) {
        return false;
    }

    snprintf(folder, sizeof(folder), "/proc/%ld", pid);

    if (gateway_line(folder, "stat", line, sizeof(line)) == -1) {
        return false;
    }

    /* the name in parentheses may have any character */

    rest = strrchr(line, ')');
    if (rest == NULL) {
        return false;
    }

    n = sscanf(rest + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u "
               "%*d %*d %*d %*d %*d %*d %llu", &state, &started);

    return n == 2 && state != 'Z' && started == start;
}
