/*
 * The questions of prompt.h, by readpassphrase(3): it gives the terminal its
 * echo back also when a signal ends the program.
 */

#include "authsvc/users/prompt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bsd/readpassphrase.h>
#include <sodium.h>


/* Returns the reason of a failure, or NULL. */
static const char *
prompt_terminal(char *password)
{
    bool  same;
    char  again[PROMPT_PASSWORD];

    if (readpassphrase("Password: ", password, PROMPT_PASSWORD, RPP_REQUIRE_TTY)
        == NULL
        || readpassphrase("Repeat: ", again, PROMPT_PASSWORD, RPP_REQUIRE_TTY)
           == NULL)
    {
        return strerror(errno);
    }

    same = strcmp(password, again) == 0;
    sodium_memzero(again, sizeof(again));

    return same ? NULL : "the passwords differ";
}


/* Without a buffer of stdio, in which the password would stay. */
static const char *
prompt_line(char *password)
{
    int     c;
    size_t  len;

    (void) setvbuf(stdin, NULL, _IONBF, 0);

    for (len = 0; (c = getchar()) != '\n' && c != EOF; /* void */ ) {
        if (c == '\0') {
            return "it has a NUL character";
        }

        if (len < PROMPT_PASSWORD - 1) {
            password[len++] = (char) c;
        }
    }

    password[len] = '\0';

    return len == 0 && c == EOF ? "end of file" : NULL;
}


int
prompt_password(char password[PROMPT_PASSWORD], char *error, size_t size)
{
    const char  *reason;

    reason = isatty(STDIN_FILENO) ? prompt_terminal(password)
                                  : prompt_line(password);

    if (reason == NULL) {
        return 0;
    }

    sodium_memzero(password, PROMPT_PASSWORD);
    snprintf(error, size, "cannot read the password: %s", reason);

    return -1;
}
