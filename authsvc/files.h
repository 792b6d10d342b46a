/*
 * Small files, read whole and replaced in one step.
 */

#ifndef AUTHSVC_FILES_H
#define AUTHSVC_FILES_H


#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>


/*
 * Writes a temporary file beside "path" (see files_temporary()), flushes it to
 * the disk, gives it its name, flushes the directory: readers see the old
 * content or the new one, also after a crash.  What root writes belongs to the
 * owner of the directory.  -1 with errno; the temporary file is gone then.
 */
int files_replace(const char *path, const void *data, size_t len, mode_t mode)
    __attribute__((warn_unused_result));

/* The same, but a file that is there stays: -1 with EEXIST. */
int files_create(const char *path, const void *data, size_t len, mode_t mode)
    __attribute__((warn_unused_result));

/* Whether "name" is what a crash may leave of writing a file: then "of" gets
 * that file's name, or the first FILES_OF bytes of it. */
#define FILES_OF  100

bool files_temporary(const char *name, char of[FILES_OF + 1]);

/* For a file that root has made: its directory's owner may be a service that
 * has to read it.  -1 with errno. */
int files_give(int fd, const char *path) __attribute__((warn_unused_result));

/* Up to "size" bytes; -1 with errno, EFBIG if there are more. */
ssize_t files_read(const char *path, void *buf, size_t size);


#endif /* AUTHSVC_FILES_H */
