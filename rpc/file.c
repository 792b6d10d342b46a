/*
 * Reads a regular file whole, and takes its stamp.
 */

#include "rpc/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>


static char *file_content(int fd, size_t len);


char *
file_read(const char *path, size_t max, size_t *len, char *error, size_t size)
{
    int          fd;
    char        *text;
    struct stat  info;

    text = NULL;

    /* without O_NONBLOCK the open of a FIFO would wait for its writer */
    fd = open(path, O_RDONLY|O_NONBLOCK|O_CLOEXEC|O_NOCTTY);

    if (fd == -1 || fstat(fd, &info) == -1) {
        snprintf(error, size, "cannot read \"%s\": %s", path,
                 strerror(errno));

    } else if (!S_ISREG(info.st_mode)) {
        snprintf(error, size, "cannot read \"%s\": %s", path,
                 S_ISDIR(info.st_mode) ? strerror(EISDIR)
                                       : "it is not a regular file");

    } else if ((size_t) info.st_size > max) {
        snprintf(error, size, "\"%s\" is larger than %zu KiB", path,
                 max / 1024);

    } else {
        text = file_content(fd, (size_t) info.st_size);

        if (text == NULL) {
            snprintf(error, size, "cannot read \"%s\": %s", path,
                     strerror(errno));

        } else if (len != NULL) {
            *len = (size_t) info.st_size;
        }
    }

    if (fd != -1) {
        close(fd);
    }

    return text;
}


/* NULL with errno. */

static char *
file_content(int fd, size_t len)
{
    char     *text;
    ssize_t   n;

    text = malloc(len + 1);
    if (text == NULL) {
        return NULL;
    }

    n = read(fd, text, len);

    if (n != (ssize_t) len) {
        free(text);
        errno = n == -1 ? errno : EAGAIN;       /* it changes just now */
        return NULL;
    }

    text[len] = '\0';

    return text;
}


void
file_stamp(file_stamp_t *stamp, const char *path)
{
    struct stat  info;

    memset(stamp, 0, sizeof(file_stamp_t));

    if (path != NULL && stat(path, &info) == 0) {
        stamp->device = info.st_dev;
        stamp->inode = info.st_ino;
        stamp->size = info.st_size;
        stamp->changed = info.st_ctim;
    }
}
