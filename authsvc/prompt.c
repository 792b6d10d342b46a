#include "authsvc/prompt.h"

#include <errno.h>
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
 * stays in a buffer of stdio.  -1: end of file, error (errno) or interrupted;
 * -2: too long, or with a NUL.
 */
static int
prompt_line(char *line, size_t size)
{
    int      rc;
    char     c;
    size_t   len;
    ssize_t  n;

    len = 0;
    rc = 0;

    for ( ;; ) {
        n = read(STDIN_FILENO, &c, 1);

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
    struct termios    old, quiet;
    struct sigaction  action, actions[PROMPT_SIGNALS];

    if (tcgetattr(STDIN_FILENO, &old) != 0) {
        return -1;
    }

    memset(&action, 0, sizeof(action));
    action.sa_handler = prompt_handler;         /* read() ends with EINTR */

    prompt_signal = 0;
    for (i = 0; i < PROMPT_SIGNALS; i++) {
        (void) sigaction(prompt_signals[i], &action, &actions[i]);
    }

    quiet = old;
    quiet.c_lflag &= ~(tcflag_t) ECHO;
    quiet.c_lflag |= ECHONL;

    rc = -1;
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) == 0) {
        fputs(label, stderr);
        rc = prompt_line(line, size);
    }

    error = errno;
    (void) tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);

    for (i = 0; i < PROMPT_SIGNALS; i++) {
        (void) sigaction(prompt_signals[i], &actions[i], NULL);
    }

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
                              : prompt_line(password, size);

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
