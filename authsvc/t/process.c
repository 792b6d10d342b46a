/* Runs authsvc and reads what it prints. */

#include "authsvc/t/process.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "authsvc/t/folder.h"


#define PROCESS_DEADLINE  60000         /* ms */


static int64_t
process_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


const char *
process_program(void)
{
    const char   *build;
    static char   path[PATH_MAX];

    build = getenv("BUILD");
    snprintf(path, sizeof(path), "%s/authsvc", build != NULL ? build : "build");

    return path;
}


static void
process_child(const char *const *argv, int error)
{
    int          i, in, out;
    const char  *all[32];

    all[0] = process_program();
    for (i = 0; argv[i] != NULL; i++) {
        all[i + 1] = argv[i];
    }
    all[i + 1] = NULL;

    in = open(folder_path("stdin"), O_RDONLY);
    out = open(folder_path("stdout"), O_WRONLY | O_CREAT | O_TRUNC, 0600);

    if (in >= 0 && out >= 0 && dup2(in, 0) == 0 && dup2(out, 1) == 1
        && dup2(error, 2) == 2)
    {
        execv(all[0], (char *const *) all);
        perror(all[0]);
    }

    _exit(127);
}


void
process_start(process_t *process, const char *const *argv,
    const char *input)
{
    int  fds[2];

    memset(process, 0, sizeof(process_t));
    folder_write("stdin", input, strlen(input), 0600);

    if (pipe2(fds, O_CLOEXEC) != 0) {
        abort();
    }

    process->pid = fork();
    if (process->pid == 0) {
        process_child(argv, fds[1]);
    }

    if (process->pid < 0 || fcntl(fds[0], F_SETFL, O_NONBLOCK) != 0) {
        abort();
    }

    close(fds[1]);
    process->fd = fds[0];
}


/* False at the end of file. */
static int
process_read(process_t *process, int timeout)
{
    ssize_t        n;
    struct pollfd  pfd;

    pfd.fd = process->fd;
    pfd.events = POLLIN;

    if (poll(&pfd, 1, timeout) <= 0) {
        return 1;
    }

    n = read(process->fd, process->error + process->len,
             PROCESS_OUTPUT - 1 - process->len);
    if (n > 0) {
        process->len += (size_t) n;
        process->error[process->len] = '\0';
    }

    return n != 0;
}


void
process_poll(process_t *process)
{
    size_t  len;

    do {
        len = process->len;
        (void) process_read(process, 0);
    } while (process->len != len);
}


const char *
process_expect(process_t *process, const char *text)
{
    char         *found;
    int64_t       end;
    static char   line[1024];

    end = process_now() + PROCESS_DEADLINE;

    for ( ;; ) {
        found = strstr(process->error, text);

        if (found != NULL && strchr(found, '\n') != NULL) {
            snprintf(line, sizeof(line), "%.*s",
                     (int) strcspn(found + strlen(text), "\n"),
                     found + strlen(text));
            return line;
        }

        if (!process_read(process, 100) || process_now() > end) {
            fprintf(stderr, "no \"%s\" in: %s", text, process->error);
            return NULL;
        }
    }
}


int
process_finish(process_t *process, int signo)
{
    int      fd, status;
    int64_t  end;
    ssize_t  n;

    if (signo != 0) {
        kill(process->pid, signo);
    }

    end = process_now() + PROCESS_DEADLINE;

    /* its standard error ends with it */
    while (process_read(process, 100) && process_now() < end) { /* void */ }

    if (process_now() >= end) {
        kill(process->pid, SIGKILL);
        waitpid(process->pid, &status, 0);
        return -1;
    }

    waitpid(process->pid, &status, 0);
    close(process->fd);

    fd = open(folder_path("stdout"), O_RDONLY);
    n = read(fd, process->output, PROCESS_OUTPUT - 1);
    process->output[n > 0 ? n : 0] = '\0';
    close(fd);

    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}


int
process_run(process_t *process, const char *const *argv,
    const char *input)
{
    process_start(process, argv, input);

    return process_finish(process, 0);
}
