#include "authsvc/t/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
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


void
folder_remove(void)
{
    DIR            *dir;
    struct dirent  *entry;

    dir = opendir(folder);
    if (dir == NULL) {
        return;
    }

    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_type != DT_DIR) {
            (void) unlinkat(dirfd(dir), entry->d_name, 0);
        }
    }

    closedir(dir);
    (void) rmdir(folder);
}


const char *
folder_path(const char *name)
{
    char            *path;
    static char      paths[8][PATH_MAX];
    static unsigned  n;

    path = paths[n++ % 8];
    snprintf(path, PATH_MAX, "%s/%s", folder, name);

    return path;
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
