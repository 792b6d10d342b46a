/* Child processes and ports of a test. */

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "process.h"


#define CHILDREN_MAX  64
#define PORT_FROM     20000
#define PORT_RANGE    10000


typedef struct {
    pid_t  pid;
    int    status;
    bool   ended;
} process_child_t;


static process_child_t  process_list[CHILDREN_MAX];
static size_t           process_count;


const char *
process_build_dir(void)
{
    const char  *build;
    static char  path[PATH_MAX];

    build = getenv("BUILD");

    if (realpath(build != NULL && build[0] != '\0' ? build : "build", path)
        == NULL)
    {
        perror("BUILD");
        exit(1);
    }

    return path;
}


/* The environment of a program; the caller frees the array. */
static char **
process_environment(const char *program)
{
    int     n;
    char  **copy, **entry;

    static char  no_leaks[] = "ASAN_OPTIONS=detect_leaks=0";

    for (n = 0; environ[n] != NULL; n++) { /* void */ }

    copy = calloc((size_t) n + 2, sizeof(char *));

    if (copy == NULL) {
        abort();
    }

    entry = copy;

    /* nginx leaves the memory of its configuration to the exit */

    if (strstr(program, "nginx") != NULL) {
        *entry++ = no_leaks;
    }

    for (n = 0; environ[n] != NULL; n++) {
        if (copy[0] != no_leaks
            || strncmp(environ[n], "ASAN_OPTIONS=", 13) != 0)
        {
            *entry++ = environ[n];
        }
    }

    return copy;
}


/* In the child, between fork() and exec: nothing that takes memory, as another
 * thread may have had the lock of an allocator that does not expect a fork. */
static void
process_exec(const char *const *argv, char *const *environment,
    const char *output)
{
    int       fd;
    sigset_t  none;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);

    fd = open("/dev/null", O_RDONLY);
    (void) dup2(fd, 0);
    fd = open(output, O_WRONLY | O_CREAT | O_APPEND, 0644);
    (void) dup2(fd, 1);
    (void) dup2(fd, 2);
    (void) close_range(3, ~0U, 0);

    execve(argv[0], (char *const *) argv, environment);
    (void) !write(2, "cannot run it\n", 14);
    _exit(127);
}


pid_t
process_start(const char *const *argv, const char *output)
{
    char   **environment;
    pid_t    pid;

    if (process_count == CHILDREN_MAX) {
        abort();
    }

    environment = process_environment(argv[0]);
    pid = fork();

    if (pid == -1) {
        abort();
    }

    if (pid == 0) {
        process_exec(argv, environment, output);
    }

    free(environment);

    process_list[process_count].pid = pid;
    process_list[process_count].ended = false;
    process_count++;

    return pid;
}


bool
process_ended(pid_t pid, int *status)
{
    size_t            i;
    process_child_t  *child;

    for (i = 0; i < process_count; i++) {
        child = &process_list[i];

        if (child->pid == pid) {
            if (!child->ended) {
                child->ended = waitpid(pid, &child->status, WNOHANG) == pid;
            }

            *status = child->status;
            return child->ended;
        }
    }

    abort();
}


void
process_forget(pid_t pid)
{
    size_t  i;

    for (i = 0; i < process_count; i++) {
        if (process_list[i].pid == pid && process_list[i].ended) {
            process_list[i] = process_list[--process_count];
            return;
        }
    }

    abort();
}


void
process_kill_all(void)
{
    size_t            i;
    process_child_t  *child;

    for (i = 0; i < process_count; i++) {
        child = &process_list[i];

        if (!child->ended) {
            kill(child->pid, SIGKILL);
            (void) waitpid(child->pid, &child->status, 0);
            child->ended = true;
        }
    }
}


/* Parent of a process from /proc/PID/stat, -1 if it is gone or a zombie. */
static pid_t
process_parent(pid_t pid)
{
    int    ppid;
    char   path[64], text[512], state, *p;
    FILE  *f;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int) pid);

    f = fopen(path, "r");
    if (f == NULL) {
        return -1;
    }

    p = fgets(text, sizeof(text), f);
    fclose(f);

    /* the name in parentheses may hold anything */
    p = p != NULL ? strrchr(text, ')') : NULL;

    if (p == NULL || sscanf(p, ") %c %d", &state, &ppid) != 2
        || state == 'Z')
    {
        return -1;
    }

    return ppid;
}


size_t
process_children(pid_t parent, pid_t *pids, size_t max)
{
    DIR            *dir;
    pid_t           pid;
    size_t          n;
    struct dirent  *entry;

    dir = opendir("/proc");
    if (dir == NULL) {
        return 0;
    }

    n = 0;

    while (n < max && (entry = readdir(dir)) != NULL) {
        pid = (pid_t) atoi(entry->d_name);

        if (pid > 0 && process_parent(pid) == parent) {
            pids[n++] = pid;
        }
    }

    closedir(dir);

    return n;
}


bool
process_title_has(pid_t pid, const char *text)
{
    char    path[64], title[256];
    FILE   *f;
    size_t  n;

    if (process_parent(pid) == -1) {
        return true;
    }

    snprintf(path, sizeof(path), "/proc/%d/cmdline", (int) pid);

    f = fopen(path, "r");
    if (f == NULL) {
        return true;
    }

    n = fread(title, 1, sizeof(title) - 1, f);
    title[n] = '\0';
    fclose(f);

    return strstr(title, text) != NULL;
}


static bool
process_try_port(int port, bool listening)
{
    int                 fd, rc, on;
    struct sockaddr_in  sin;

    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1) {
        return false;
    }

    on = 1;
    (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons((uint16_t) port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    rc = listening ? connect(fd, (struct sockaddr *) &sin, sizeof(sin))
                   : bind(fd, (struct sockaddr *) &sin, sizeof(sin));
    close(fd);

    return rc == 0;
}


bool
process_answers(int port)
{
    return process_try_port(port, true);
}


int
process_free_port(void)
{
    int         i, port;
    static int  next = -1;

    if (next == -1) {
        next = getpid() * 41 % PORT_RANGE;
    }

    for (i = 0; i < PORT_RANGE; i++) {
        port = PORT_FROM + next;
        next = (next + 1) % PORT_RANGE;

        if (process_try_port(port, false)) {
            return port;
        }
    }

    return 0;
}
