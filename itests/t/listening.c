/* Who could connect to a port, by the kernel's tables. */

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "itests/t/listening.h"


static bool
is_loopback(const char *address)
{
    size_t  i;

    /* 127.0.0.1, the same as the core of gRPC has it, ::1 */

    static const char *const  loopback[] = {
        "0100007F", "0000000000000000FFFF00000100007F",
        "00000000000000000000000001000000"
    };

    for (i = 0; i < sizeof(loopback) / sizeof(loopback[0]); i++) {
        if (strcmp(address, loopback[i]) == 0) {
            return true;
        }
    }

    return false;
}


int
listening(int port, int *all)
{
    int           strangers;
    char          line[512], address[64];
    FILE         *file;
    size_t        i;
    unsigned      n, state;

    static const char *const  tables[] = { "/proc/net/tcp", "/proc/net/tcp6" };

    *all = 0;
    strangers = 0;

    for (i = 0; i < 2; i++) {
        file = fopen(tables[i], "re");

        while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
            if (sscanf(line, " %*d: %63[^:]:%x %*s %x", address, &n, &state)
                == 3
                && n == (unsigned) port && state == 10)
            {
                (*all)++;
                strangers += !is_loopback(address);
            }
        }

        if (file != NULL) {
            fclose(file);
        }
    }

    return strangers;
}
