/* Child processes of the tests. */

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backendcheck/t/job.h"
#include "rpc/server.h"


#define PATIENCE  300000                /* ms: a check with a long session-ttl */


static void job_read(job_t *job);


void
job_start(job_t *job, const char *const *argv)
{
    char  path[] = "/tmp/test_backendcheck.XXXXXX";

    memset(job, 0, sizeof(job_t));

    job->fd = mkstemp(path);
    ck_assert_int_ne(job->fd, -1);
    unlink(path);

    job->pid = fork();
    ck_assert_int_ne(job->pid, -1);

    if (job->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(job->fd, STDOUT_FILENO);
        dup2(job->fd, STDERR_FILENO);
        execvp(argv[0], (char *const *) argv);
        _exit(127);
    }
}


void
job_expect(job_t *job, const char *text, char *rest, size_t size)
{
    char     *p;
    int64_t   end;

    end = rpc_now() + PATIENCE;

    for ( ;; ) {
        job_read(job);
        p = strstr(job->output, text);

        if (p != NULL && strchr(p, '\n') != NULL) {
            p += strlen(text);
            snprintf(rest, size, "%.*s", (int) strcspn(p, "\n"), p);
            return;
        }

        ck_assert_msg(rpc_now() < end
                      && waitpid(job->pid, NULL, WNOHANG) == 0,
                      "\"%s\" is not in: %s", text, job->output);
        usleep(5000);
    }
}


int
job_finish(job_t *job)
{
    int      status;
    int64_t  end;

    end = rpc_now() + PATIENCE;

    while (waitpid(job->pid, &status, WNOHANG) == 0) {
        if (rpc_now() >= end) {
            job_read(job);
            job_kill(job);
            ck_abort_msg("no end: %s", job->output);
        }

        usleep(5000);
    }

    job_read(job);
    close(job->fd);

    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}


void
job_kill(job_t *job)
{
    kill(job->pid, SIGKILL);
    waitpid(job->pid, NULL, 0);
    close(job->fd);
}


static void
job_read(job_t *job)
{
    ssize_t  n;

    n = pread(job->fd, job->output, sizeof(job->output) - 1, 0);
    job->output[n > 0 ? n : 0] = '\0';
}
