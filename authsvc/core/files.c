/*
 * Small files: atomic writes, and what is not a regular file.
 */

#include "authsvc/core/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>


#define FILES_NAME  100                 /* bytes of the name that are kept */

/* errno has no value for "not a regular file" */
#define FILES_IRREGULAR  EBADFD


const char *
files_strerror(int error)
{
    return error == FILES_IRREGULAR ? "not a regular file" : strerror(error);
}


static int
files_mode(mode_t mode)
{
    if (S_ISREG(mode)) {
        return 0;
    }

    errno = S_ISDIR(mode) ? EISDIR : FILES_IRREGULAR;

    return -1;
}


int
files_regular(const char *path)
{
    struct stat  st;

    return stat(path, &st) == 0 ? files_mode(st.st_mode) : 0;
}


static int
files_write(int fd, const char *data, size_t len)
{
    ssize_t  n;

    while (len > 0) {
        n = write(fd, data, len);
        if (n < 0 && errno != EINTR) {
            return -1;
        }

        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t) n : 0;
    }

    return 0;
}


/* The directory of "path", with the slash; "" is the working directory. */
static size_t
files_directory(const char *path)
{
    const char  *slash;

    slash = strrchr(path, '/');

    return slash != NULL ? (size_t) (slash - path) + 1 : 0;
}


static int
files_open_directory(const char *path)
{
    char  directory[PATH_MAX];

    snprintf(directory, sizeof(directory), "%.*s.",
             (int) files_directory(path), path);

    return open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}


/* The owner of the directory may be a service that has to read the file. */
static int
files_give(int fd, const char *path)
{
    int          directory, rc;
    struct stat  st;

    if (geteuid() != 0) {
        return 0;
    }

    directory = files_open_directory(path);
    if (directory < 0) {
        return -1;
    }

    rc = fstat(directory, &st) == 0 ? fchown(fd, st.st_uid, st.st_gid) : -1;
    close(directory);

    return rc;
}


/* Some file systems cannot; then it is as safe as they are. */
static void
files_sync_directory(const char *path)
{
    int  fd;

    fd = files_open_directory(path);
    if (fd >= 0) {
        (void) fsync(fd);
        close(fd);
    }
}


/* Beside "path"; after an error it is gone. */
static int
files_write_temporary(const char *path, char temporary[PATH_MAX],
    const void *data, size_t len, mode_t mode)
{
    int     fd, n, rc, saved;
    size_t  directory;

    if (files_regular(path) != 0) {
        return -1;
    }

    directory = files_directory(path);
    n = snprintf(temporary, PATH_MAX, "%.*s.authsvc-%.*s-XXXXXX",
                 (int) directory, path, FILES_NAME, path + directory);
    if (n < 0 || n >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }

    fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }

    rc = files_write(fd, data, len) == 0 && files_give(fd, path) == 0
         && fchmod(fd, mode) == 0 && fsync(fd) == 0
         ? 0 : -1;

    if (close(fd) != 0) {
        rc = -1;
    }

    if (rc != 0) {
        saved = errno;
        (void) unlink(temporary);
        errno = saved;
    }

    return rc;
}


int
files_replace(const char *path, const void *data, size_t len, mode_t mode)
{
    int   saved;
    char  temporary[PATH_MAX];

    if (files_write_temporary(path, temporary, data, len, mode) != 0) {
        return -1;
    }

    if (rename(temporary, path) == 0) {
        files_sync_directory(path);
        return 0;
    }

    saved = errno;
    (void) unlink(temporary);
    errno = saved;

    return -1;
}


int
files_create(const char *path, const void *data, size_t len, mode_t mode)
{
    int   rc, saved;
    char  temporary[PATH_MAX];

    if (files_write_temporary(path, temporary, data, len, mode) != 0) {
        return -1;
    }

    rc = link(temporary, path);

    saved = errno;
    (void) unlink(temporary);
    files_sync_directory(path);
    errno = saved;

    return rc;
}
