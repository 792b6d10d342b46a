/* Runs a scenario in a child process and reads its checks through a pipe. */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "itests/runner.h"
#include "rpc/server.h"


/* The scenario's own deadline ends its calls. A scenario that runs for this
 * much longer hangs. */
#define RUNNER_GRACE  5000

#define RUNNER_LINE   8192


static void runner_child(const scenario_t *scenario,
    const settings_t *settings, int fd) __attribute__((noreturn));
static bool runner_relay(int fd, int64_t deadline, result_t *result);
static void runner_lines(char *buf, size_t *used, result_t *result);
static void runner_verdict(int status, bool late,
    const settings_t *settings, result_t *result);


void
runner_run(const scenario_t *scenario, const settings_t *settings,
    result_t *result)
{
    int      status, fds[2];
    bool     late;
    pid_t    pid;
    int64_t  start;

    memset(result, 0, sizeof(result_t));
    result->name = scenario->name;

    start = rpc_now();
    status = 0;

    fflush(NULL);

    if (pipe(fds) == -1) {
        report_line(result, "not ok - cannot make a pipe");
        return;
    }

    pid = fork();

    if (pid == 0) {
        close(fds[0]);
        runner_child(scenario, settings, fds[1]);
    }

    close(fds[1]);

    if (pid == -1) {
        report_line(result, "not ok - cannot make a process");
        close(fds[0]);
        return;
    }

    late = runner_relay(fds[0], start + settings->timeout + RUNNER_GRACE,
                        result);
    close(fds[0]);

    if (late) {
        kill(pid, SIGKILL);
    }

    while (waitpid(pid, &status, 0) == -1 && errno == EINTR) {
        /* again */
    }

    runner_verdict(status, late, settings, result);

    result->ms = rpc_now() - start;
}


static void
runner_child(const scenario_t *scenario, const settings_t *settings, int fd)
{
    test_t  test;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(fd, STDOUT_FILENO);
    close(fd);

    test.scenario = scenario->name;
    test.settings = settings;
    test.deadline = rpc_now() + settings->timeout;
    test.failed = 0;

    scenario->run(&test);

    fflush(stdout);

    exit(test.failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}


/* Reads until the scenario closes the pipe; true when the time is over. */

static bool
runner_relay(int fd, int64_t deadline, result_t *result)
{
    int             n;
    char            buf[RUNNER_LINE];
    size_t          used;
    ssize_t         got;
    int64_t         left;
    struct pollfd   pfd = { fd, POLLIN, 0 };

    used = 0;

    for ( ;; ) {
        left = deadline - rpc_now();

        n = left > 0 ? poll(&pfd, 1, (int) left) : 0;

        if (n == -1 && errno == EINTR) {
            continue;
        }

        if (n <= 0) {
            return true;
        }

        got = read(fd, buf + used, sizeof(buf) - used - 1);

        if (got <= 0) {
            break;
        }

        used += (size_t) got;
        runner_lines(buf, &used, result);
    }

    if (used > 0) {
        buf[used] = '\0';
        report_line(result, buf);
    }

    return false;
}


/* Relays the whole lines in "buf"; keeps the rest.  A line that fills the
 * buffer is cut. */

static void
runner_lines(char *buf, size_t *used, result_t *result)
{
    char    *line, *end;
    size_t   left;

    line = buf;
    left = *used;

    while (left > 0) {
        end = memchr(line, '\n', left);

        if (end == NULL && left < RUNNER_LINE - 1) {
            break;
        }

        if (end == NULL) {
            end = line + left - 1;
        }

        *end = '\0';
        report_line(result, line);

        left -= (size_t) (end + 1 - line);
        line = end + 1;
    }

    memmove(buf, line, left);
    *used = left;
}


static void
runner_verdict(int status, bool late, const settings_t *settings,
    result_t *result)
{
    char  line[128];

    line[0] = '\0';

    if (late) {
        snprintf(line, sizeof(line), "not ok - timed out after %lld ms",
                 (long long) (settings->timeout + RUNNER_GRACE));

    } else if (WIFSIGNALED(status)) {
        snprintf(line, sizeof(line), "not ok - killed by signal %d (%s)",
                 WTERMSIG(status), strsignal(WTERMSIG(status)));

    } else if (result->checks == 0) {
        snprintf(line, sizeof(line), "not ok - no check was run");

    } else if ((WEXITSTATUS(status) != 0) != (result->failed > 0)) {
        snprintf(line, sizeof(line), "not ok - exit code %d after %u "
                 "failed checks", WEXITSTATUS(status), result->failed);
    }

    if (line[0] != '\0') {
        report_line(result, line);
    }
}
