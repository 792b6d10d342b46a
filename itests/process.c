/* The processes of the stack: which run, and what they use. */

#include <stdio.h>
#include <time.h>

#include "itests/process.h"
#include "itests/stack.h"


/* -1 when the process is unknown. */

static long
process_pid(const test_t *test, const char *name)
{
    long  pid;
    char  rest[512];

    return stack_part(test, name, rest, sizeof(rest))
           && sscanf(rest, "%*s %ld", &pid) == 1 && pid > 0 ? pid : -1;
}


bool
process_runs(const test_t *test, int instance)
{
    char  name[32];

    snprintf(name, sizeof(name), "myservice-%d", instance);

    return process_pid(test, name) > 0;
}


long
process_memory(const test_t *test, const char *name)
{
    long   pid, kb;
    char   line[512], path[64];
    FILE  *file;

    pid = process_pid(test, name);
    if (pid < 0) {
        return -1;
    }

    snprintf(path, sizeof(path), "/proc/%ld/status", pid);
    file = fopen(path, "re");
    kb = -1;

    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "VmRSS: %ld", &kb) == 1) {
            break;
        }
    }

    if (file != NULL) {
        fclose(file);
    }

    return kb;
}


int64_t
process_cpu(const test_t *test, const char *name)
{
    long             pid;
    clockid_t        clock;
    struct timespec  used;

    pid = process_pid(test, name);

    if (pid < 0 || clock_getcpuclockid((pid_t) pid, &clock) != 0
        || clock_gettime(clock, &used) != 0)
    {
        return -1;
    }

    return (int64_t) used.tv_sec * 1000000 + used.tv_nsec / 1000;
}
