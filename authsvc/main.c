/*
 * The program: finds the command, "serve", "user" or "key".
 */

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sodium.h>

#include "authsvc/core/version.h"
#include "authsvc/keys/command.h"
#include "authsvc/serve/command.h"
#include "authsvc/users/command.h"


static void
main_help(void)
{
    printf("usage: authsvc serve [options]\n"
           "       authsvc user COMMAND [options]\n"
           "       authsvc key COMMAND [options]\n"
           "\n"
           "serve: answers Login.\n");
    serve_help(stdout);
    printf("\nuser: changes the store, also while it is served.\n");
    users_help(stdout);
    printf("\nkey: changes the keys that sign, also while they are used.\n");
    keys_help(stdout);
}


int
main(int argc, char **argv)
{
    /* also for the files that SQLite makes beside the store */
    (void) umask(077);

    if (sodium_init() < 0) {
        fprintf(stderr, "authsvc: libsodium cannot be initialised\n");
        return 1;
    }

    if (argc < 2) {
        fprintf(stderr, "authsvc: a command is missing, see authsvc --help\n");
        return 2;
    }

    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0
        || strcmp(argv[1], "help") == 0)
    {
        main_help();
        return 0;
    }

    if (strcmp(argv[1], "--version") == 0) {
        version_print();
        return 0;
    }

    if (strcmp(argv[1], "serve") == 0) {
        return serve_main(argc - 1, argv + 1);
    }

    if (strcmp(argv[1], "user") == 0) {
        return users_main(argc - 1, argv + 1);
    }

    if (strcmp(argv[1], "key") == 0) {
        return keys_main(argc - 1, argv + 1);
    }

    fprintf(stderr, "authsvc: unknown command \"%.80s\", see authsvc --help\n",
            argv[1]);

    return 2;
}
