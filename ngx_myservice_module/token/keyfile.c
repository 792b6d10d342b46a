
/*
 * Key files as bytes.  A stamp tells whether a file is another than the one
 * that was read.
 */

#include "token/keyfile.h"

#include "jwt/keys.h"


/* seconds: a file that changed less than this before it was read may change
 * again within the resolution of its time stamp */
#define MS_JWT_FRESH  2


static void ms_keyfile_set_stamp(ms_key_stamp_t *stamp, struct stat *info);


ngx_int_t
ms_keyfile_read(ms_key_store_t *store, u_char **text, size_t *len)
{
    size_t       size;
    u_char      *buf;
    ssize_t      n;
    ngx_fd_t     fd;
    ngx_err_t    err;
    struct stat  info;

    ngx_memzero(&store->stamp, sizeof(ms_key_stamp_t));
    store->fresh = 0;
    buf = NULL;

    /* not to wait for the writer of a FIFO */

    fd = open((char *) store->source->name.data,
              O_RDONLY|O_NONBLOCK|O_NOCTTY|O_CLOEXEC);

    if (fd == NGX_INVALID_FILE) {
        err = ngx_errno;

        if (stat((char *) store->source->name.data, &info) == 0) {
            ms_keyfile_set_stamp(&store->stamp, &info);
        }

        ngx_set_errno(err);
        return NGX_ERROR;
    }

    if (fstat(fd, &info) != 0) {
        goto failed;
    }

    ms_keyfile_set_stamp(&store->stamp, &info);

    if (!S_ISREG(info.st_mode)) {
        ngx_set_errno(S_ISDIR(info.st_mode) ? EISDIR : EINVAL);
        goto failed;
    }

    if (info.st_size > MS_KEYS_TEXT_MAX) {
        ngx_set_errno(EFBIG);
        goto failed;
    }

    /* one byte more, to see that the file grew; never 0 */

    size = info.st_size + 1;

    buf = malloc(size);
    if (buf == NULL) {
        ngx_set_errno(ENOMEM);
        goto failed;
    }

    *len = 0;

    do {
        n = read(fd, buf + *len, size - *len);
        *len += n > 0 ? n : 0;
    } while ((n > 0 && *len < size) || (n == -1 && ngx_errno == EINTR));

    if (n == -1) {
        goto failed;
    }

    (void) close(fd);
    *text = buf;
    store->fresh = ngx_time() - info.st_ctim.tv_sec < MS_JWT_FRESH;

    return NGX_OK;

failed:

    err = ngx_errno;
    (void) close(fd);
    free(buf);
    ngx_set_errno(err);

    return NGX_ERROR;
}


static void
ms_keyfile_set_stamp(ms_key_stamp_t *stamp, struct stat *info)
{
    stamp->device = info->st_dev;
    stamp->inode = info->st_ino;
    stamp->size = info->st_size;
    stamp->changed = info->st_ctim;
}


void
ms_keyfile_stamp(ms_key_source_t *source, ms_key_stamp_t *stamp)
{
    struct stat  info;

    ngx_memzero(stamp, sizeof(ms_key_stamp_t));

    if (stat((char *) source->name.data, &info) == 0) {
        ms_keyfile_set_stamp(stamp, &info);
    }
}


ngx_uint_t
ms_keyfile_equal(ms_key_stamp_t *a, ms_key_stamp_t *b)
{
    return a->device == b->device
           && a->inode == b->inode
           && a->size == b->size
           && a->changed.tv_sec == b->changed.tv_sec
           && a->changed.tv_nsec == b->changed.tv_nsec;
}
