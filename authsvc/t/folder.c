/* A temporary folder of a test. */

#include "authsvc/t/folder.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>


static char  folder[64];


const char *
folder_create(void)
{
    snprintf(folder, sizeof(folder), "/tmp/authsvc-test.XXXXXX");

    if (mkdtemp(folder) == NULL) {
        abort();
    }

    return folder;
}


static int
folder_remove_one(const char *path, const struct stat *st, int type,
    struct FTW *ftw)
{
    (void) st;
    (void) type;
    (void) ftw;

    return remove(path);
}


void
folder_remove(void)
{
    (void) nftw(folder, folder_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}


const char *
folder_path(const char *name)
{
    size_t       i;
    char         path[PATH_MAX];
    static char *paths[64];

    snprintf(path, sizeof(path), "%s/%s", folder, name);

    for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {

        if (paths[i] == NULL) {
            paths[i] = strdup(path);
        }

        if (paths[i] != NULL && strcmp(paths[i], path) == 0) {
            return paths[i];
        }
    }

    abort();
}


void
folder_write(const char *name, const void *data, size_t len, int mode)
{
    int  fd;

    fd = open(folder_path(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

    if (fd < 0 || write(fd, data, len) != (ssize_t) len
        || fchmod(fd, (mode_t) mode) != 0)
    {
        abort();
    }

    close(fd);
}
