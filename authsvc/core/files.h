/*
 * Small files, made and replaced in one step.
 */

#ifndef AUTHSVC_CORE_FILES_H
#define AUTHSVC_CORE_FILES_H


#include <stddef.h>
#include <sys/types.h>


/*
 * Writes a temporary file beside "path", ".authsvc-NAME-XXXXXX", flushes it to
 * the disk, gives it its name, flushes the directory: readers see the old
 * content or the new one, also after a crash.  What root writes belongs to the
 * owner of the directory.  -1 with errno; the temporary file is gone then.
 */
int files_replace(const char *path, const void *data, size_t len, mode_t mode)
    __attribute__((warn_unused_result));

/* The same, but a file that is there stays: -1 with EEXIST. */
int files_create(const char *path, const void *data, size_t len, mode_t mode)
    __attribute__((warn_unused_result));

/* -1 with errno if there is something at "path" that is not a regular file, which is
 * not replaced by one. */
int files_regular(const char *path) __attribute__((warn_unused_result));

/* strerror(), and a word for a FIFO, a device and the like. */
const char *files_strerror(int error);


#endif /* AUTHSVC_CORE_FILES_H */
