/*
 * Small files that an operator gives: read whole, and watched for changes.
 */

#ifndef RPC_FILE_H
#define RPC_FILE_H


#include <stddef.h>
#include <sys/types.h>
#include <time.h>


/* What changes when a file is replaced, written or linked elsewhere; all zero
 * for a file that is not there.  Compared with memcmp(). */
typedef struct {
    dev_t            device;
    ino_t            inode;
    off_t            size;
    struct timespec  changed;
} file_stamp_t;


/*
 * The content of a regular file of up to "max" bytes, NUL-terminated, to be
 * freed.  NULL with one line in "error", which names the file.  "len" may be
 * NULL.
 */
char *file_read(const char *path, size_t max, size_t *len, char *error,
    size_t size);

void file_stamp(file_stamp_t *stamp, const char *path);


#endif /* RPC_FILE_H */
