#include "authsvc/prompt.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include <sodium.h>


static const int  prompt_signals[] = { SIGINT, SIGTERM, SIGQUIT, SIGHUP };

#define PROMPT_SIGNALS  (sizeof(prompt_signals) / sizeof(prompt_signals[0]))

static volatile sig_atomic_t  prompt_signal;


static void
prompt_handler(int signo)
{
    prompt_signal = signo;
}


/*
 * One line without its newline.  Byte by byte, so that nothing of the password
 * stays in a buffer of stdio.  "mask" is NULL, or the signals that are blocked
 * while it waits; others of those that are blocked now end it.  -1: end of
 * file, error (errno) or interrupted; -2: too long, or with a NUL.
 */
static int
prompt_line(char *line, size_t size, const sigset_t *mask)
{
    int            rc;
    char           c;
    size_t         len;
    ssize_t        n;
    struct pollfd  pfd;

    len = 0;
    rc = 0;
    pfd.fd = STDIN_FILENO;
    pfd.events = POLLIN;

    for ( ;; ) {
        n = mask != NULL ? ppoll(&pfd, 1, NULL, mask) : 1;

        if (n == 1) {
            n = read(STDIN_FILENO, &c, 1);
        }

        if (n < 0 || (n == 0 && len == 0)) {
            errno = n == 0 ? ENODATA : errno;
            rc = -1;
            break;
        }

        if (n == 0 || c == '\n') {
            break;
        }

        if (c == '\0' || len == size - 1) {
            rc = -2;
            continue;
        }

        line[len++] = c;
    }

    line[len] = '\0';

    return rc;
}


/* The terminal gets its echo back also when a signal ends the program. */
static int
prompt_terminal(const char *label, char *line, size_t size)
{
    int               rc, error;
    size_t            i;
    sigset_t          set, mask;
    struct termios    old, quiet;
    struct sigaction  action, actions[PROMPT_SIGNALS];

    if (tcgetattr(STDIN_FILENO, &old) != 0) {
        return -1;
    }

    memset(&action, 0, sizeof(action));
    action.sa_handler = prompt_handler;

    prompt_signal = 0;
    sigemptyset(&set);

    for (i = 0; i < PROMPT_SIGNALS; i++) {
        (void) sigaction(prompt_signals[i], &action, &actions[i]);
        sigaddset(&set, prompt_signals[i]);
    }

    /* let in only by ppoll(): none can come just before it waits */

    (void) sigprocmask(SIG_BLOCK, &set, &mask);

    quiet = old;
    quiet.c_lflag &= ~(tcflag_t) ECHO;
    quiet.c_lflag |= ECHONL;

    rc = -1;
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) == 0) {
        fputs(label, stderr);
        rc = prompt_line(line, size, &mask);
    }

    error = errno;
    (void) tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);

    for (i = 0; i < PROMPT_SIGNALS; i++) {
        (void) sigaction(prompt_signals[i], &actions[i], NULL);
    }

    (void) sigprocmask(SIG_SETMASK, &mask, NULL);

    if (prompt_signal != 0) {
        fputc('\n', stderr);
        (void) raise(prompt_signal);
    }

    errno = error;

    return rc;
}


static int
prompt_twice(char *password, size_t size)
{
    int   rc;
    char  again[2048];

    rc = prompt_terminal("Password: ", password, size);
    if (rc != 0) {
        return rc;
    }

    rc = prompt_terminal("Repeat: ", again, sizeof(again));
    if (rc == 0 && strcmp(password, again) != 0) {
        rc = -3;
    }

    sodium_memzero(again, sizeof(again));

    return rc;
}


int
prompt_password(char *password, size_t size, char *error, size_t error_size)
{
    int  rc;

    rc = isatty(STDIN_FILENO) ? prompt_twice(password, size)
                              : prompt_line(password, size, NULL);

    switch (rc) {
    case 0:
        return 0;
    case -1:
        snprintf(error, error_size, "cannot read the password: %s",
                 errno == ENODATA ? "end of file" : strerror(errno));
        break;
    case -2:
        snprintf(error, error_size, "the password is too long");
        break;
    default:
        snprintf(error, error_size, "the passwords differ");
        break;
    }

    sodium_memzero(password, size);

    return -1;
}
