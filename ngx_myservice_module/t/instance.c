/* Instances: processes of build/myservice. */

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "instance.h"
#include "process.h"


pid_t
instance_start(int number, const char *name, const char *args)
{
    int          n, status;
    char         binary[PATH_MAX], address[32], log[64], copy[512], *p, *save;
    pid_t        pid;
    long long    since;
    const char  *argv[32];

    snprintf(binary, sizeof(binary), "%.3000s/myservice", process_build_dir());
    snprintf(address, sizeof(address), "127.0.0.1:%d", harness_port(number));
    snprintf(log, sizeof(log), "instance-%d.log", number);
    snprintf(copy, sizeof(copy), "%s", args != NULL ? args : "");

    n = 0;
    argv[n++] = binary;
    argv[n++] = "--listen";
    argv[n++] = address;
    argv[n++] = "--name";
    argv[n++] = name;

    for (p = strtok_r(copy, " ", &save);
         p != NULL && n < 31;
         p = strtok_r(NULL, " ", &save))
    {
        argv[n++] = p;
    }

    argv[n] = NULL;

    pid = process_start(argv, harness_path(log));
    since = harness_now();

    while (!process_answers(harness_port(number))) {
        ck_assert_msg(!process_ended(pid, &status), "%s did not start: %s",
                      binary, harness_read(log));
        harness_pause(since, "myservice listens");
    }

    return pid;
}


void
instance_signal(pid_t pid, int signo)
{
    int        status;
    long long  since;

    ck_assert_int_eq(kill(pid, signo), 0);
    since = harness_now();

    while (!process_ended(pid, &status)) {
        harness_pause(since, "instance ends");
    }
}


bool
instance_running(pid_t pid)
{
    int  status;

    return !process_ended(pid, &status);
}
