
/*
 * The file is one JSON object, an entry on each line.  What is written at the
 * same time by an old and a new worker after a reload would be a mix: who
 * writes has the directory locked.
 */

#include "token/revocations_file.h"

#include "token/revocations.h"

#include <sys/file.h>


#define MS_REVOCATIONS_HEAD     "{\"version\":1,\"entries\":["
#define MS_REVOCATIONS_END      "\n]}\n"
#define MS_REVOCATIONS_VERSION  1

/* entries that are copied and written at once */
#define MS_REVOCATIONS_COPY     32

/* bytes of a file for each byte of the zone, at most: an escaped byte has 6 */
#define MS_REVOCATIONS_FILE     8


typedef struct {
    ngx_str_t   *file;
    ngx_log_t   *log;
    u_char      *temp;                          /* its path */
    u_char      *buf;
    ms_revocation_t  *entries;
} ms_revocations_file_t;


static u_char *ms_revocations_read(ngx_str_t *file, size_t size, size_t *len,
    ngx_log_t *log);
static ngx_int_t ms_revocations_take(const json_t *root, ngx_str_t *file,
    ngx_log_t *log);
static ngx_int_t ms_revocations_broken(ngx_str_t *file, ngx_log_t *log,
    ngx_err_t err, const char *cause);
static ngx_fd_t ms_revocations_directory(ngx_str_t *file, ngx_log_t *log);
static ngx_int_t ms_revocations_replace(ms_revocations_file_t *f,
    ngx_fd_t directory);
static ngx_int_t ms_revocations_write(ms_revocations_file_t *f, ngx_fd_t fd);
static ngx_int_t ms_revocations_failed(ms_revocations_file_t *f,
    const char *what);


ngx_int_t
ms_revocations_load_file(ngx_str_t *file, size_t size, ngx_log_t *log)
{
    size_t         len;
    u_char        *text;
    json_t        *root;
    ngx_int_t      rc;
    json_error_t   error;

    text = ms_revocations_read(file, size, &len, log);

    if (text == NULL) {
        return len ? NGX_ERROR : NGX_OK;
    }

    root = json_loadb((char *) text, len, JSON_REJECT_DUPLICATES, &error);
    ngx_free(text);

    if (root == NULL) {
        return ms_revocations_broken(file, log, 0, error.text);
    }

    rc = ms_revocations_take(root, file, log);
    json_decref(root);

    return rc;
}


/* NULL without an error: "len" is 0, and there is no file */

static u_char *
ms_revocations_read(ngx_str_t *file, size_t size, size_t *len, ngx_log_t *log)
{
    u_char           *text;
    ssize_t           n;
    ngx_fd_t          fd;
    ngx_file_info_t   fi;

    *len = 1;
    text = NULL;

    fd = ngx_open_file(file->data, NGX_FILE_RDONLY | O_NONBLOCK,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        if (ngx_errno == NGX_ENOENT) {
            *len = 0;
            return NULL;
        }

        (void) ms_revocations_broken(file, log, ngx_errno, "open() failed");
        return NULL;
    }

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR || !ngx_is_file(&fi)
        || ngx_file_size(&fi) > (off_t) size * MS_REVOCATIONS_FILE)
    {
        (void) ms_revocations_broken(file, log, 0,
                                     "it is no file, or too large for the "
                                     "zone");
        goto done;
    }

    *len = ngx_file_size(&fi);
    text = ngx_alloc(*len + 1, log);

    if (text == NULL) {
        *len = 1;
        goto done;
    }

    n = ngx_read_fd(fd, text, *len);

    if (n < 0 || (size_t) n != *len) {
        (void) ms_revocations_broken(file, log, ngx_errno, "read() failed");
        ngx_free(text);
        text = NULL;
        *len = 1;
    }

done:

    (void) ngx_close_file(fd);

    return text;
}


static ngx_int_t
ms_revocations_take(const json_t *root, ngx_str_t *file, ngx_log_t *log)
{
    size_t            i;
    json_t           *entries, *item;
    const char       *error;
    ms_revocation_t   entry;

    entries = json_object_get(root, "entries");

    if (json_integer_value(json_object_get(root, "version"))
        != MS_REVOCATIONS_VERSION
        || !json_is_array(entries))
    {
        return ms_revocations_broken(file, log, 0, "it has no \"version\" 1 "
                                     "or no \"entries\"");
    }

    json_array_foreach(entries, i, item) {

        entry.before = -1;
        entry.until = -1;
        entry.stamp = MS_REVOCATION_OLDEST;

        if (ms_revocation_read(&entry, item, &error) != NGX_OK) {
            return ms_revocations_broken(file, log, 0, error);
        }

        if (ms_revocations_hear(&entry) == NGX_ERROR) {
            return ms_revocations_broken(file, log, 0, "the zone of revoked "
                                         "tokens is too small for it");
        }
    }

    return NGX_OK;
}


static ngx_int_t
ms_revocations_broken(ngx_str_t *file, ngx_log_t *log, ngx_err_t err,
    const char *cause)
{
    ngx_log_error(NGX_LOG_EMERG, log, err,
                  "file of revoked tokens cannot be used: %s, file=\"%V\"",
                  cause, file);
    return NGX_ERROR;
}


ngx_int_t
ms_revocations_save(ngx_str_t *file, ngx_log_t *log)
{
    ngx_fd_t               directory;
    ngx_int_t              rc;
    ngx_uint_t             generation;
    ms_revocations_file_t  f;

    f.file = file;
    f.log = log;
    f.temp = ngx_alloc(file->len + sizeof(".new"), log);
    f.buf = ngx_alloc(MS_REVOCATIONS_COPY * (MS_REVOCATION_JSON + 2), log);
    f.entries = ngx_alloc(MS_REVOCATIONS_COPY * sizeof(ms_revocation_t), log);

    rc = NGX_ERROR;
    directory = NGX_INVALID_FILE;

    if (f.temp == NULL || f.buf == NULL || f.entries == NULL) {
        goto done;
    }

    ngx_sprintf(f.temp, "%V.new%Z", file);
    directory = ms_revocations_directory(file, log);

    if (directory == NGX_INVALID_FILE) {
        rc = ms_revocations_failed(&f, "opening its directory");
        goto done;
    }

    if (flock(directory, LOCK_EX | LOCK_NB) == -1) {
        rc = NGX_DECLINED;
        goto done;
    }

    /* what comes while it is written is for the next time */

    generation = ms_revocations_generation();
    rc = ms_revocations_replace(&f, directory);

    if (rc == NGX_OK) {
        ms_revocations_set_saved(generation);
    }

done:

    if (directory != NGX_INVALID_FILE) {
        (void) ngx_close_file(directory);
    }

    ngx_free(f.temp);
    ngx_free(f.buf);
    ngx_free(f.entries);

    return rc;
}


static ngx_fd_t
ms_revocations_directory(ngx_str_t *file, ngx_log_t *log)
{
    u_char    *path, *p;
    ngx_fd_t   fd;

    path = ngx_alloc(file->len + 2, log);
    if (path == NULL) {
        return NGX_INVALID_FILE;
    }

    /* a full path: it has a slash */

    ngx_memcpy(path, file->data, file->len);

    for (p = path + file->len; p > path && p[-1] != '/'; p--) { /* void */ }

    *p = '\0';
    fd = open((char *) path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ngx_free(path);

    return fd;
}


static ngx_int_t
ms_revocations_replace(ms_revocations_file_t *f, ngx_fd_t directory)
{
    ngx_fd_t  fd;

    fd = ngx_open_file(f->temp, NGX_FILE_WRONLY, NGX_FILE_TRUNCATE, 0600);

    if (fd == NGX_INVALID_FILE) {
        return ms_revocations_failed(f, "open()");
    }

    if (ms_revocations_write(f, fd) != NGX_OK || fsync(fd) == -1) {
        (void) ms_revocations_failed(f, "write()");
        (void) ngx_close_file(fd);
        return NGX_ERROR;
    }

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        return ms_revocations_failed(f, "close()");
    }

    if (ngx_rename_file(f->temp, f->file->data) == NGX_FILE_ERROR
        || fsync(directory) == -1)
    {
        return ms_revocations_failed(f, "rename()");
    }

    return NGX_OK;
}


static ngx_int_t
ms_revocations_write(ms_revocations_file_t *f, ngx_fd_t fd)
{
    u_char      *p;
    uint64_t     from;
    ngx_uint_t   i, n, first;

    from = 0;
    first = 1;
    p = ngx_cpymem(f->buf, MS_REVOCATIONS_HEAD,
                   sizeof(MS_REVOCATIONS_HEAD) - 1);

    do {
        n = ms_revocations_copy(&from, f->entries, MS_REVOCATIONS_COPY);

        if (n == 0) {
            p = ngx_cpymem(p, MS_REVOCATIONS_END,
                           sizeof(MS_REVOCATIONS_END) - 1);
        }

        for (i = 0; i < n; i++) {
            if (!first) {
                *p++ = ',';
            }

            *p++ = '\n';
            p = ms_revocation_write(p, &f->entries[i], 0);
            first = 0;
        }

        if (ngx_write_fd(fd, f->buf, p - f->buf) != p - f->buf) {
            return NGX_ERROR;
        }

        p = f->buf;

    } while (n);

    return NGX_OK;
}


static ngx_int_t
ms_revocations_failed(ms_revocations_file_t *f, const char *what)
{
    ngx_log_error(NGX_LOG_ERR, f->log, ngx_errno,
                  "revoked tokens could not be saved: %s failed, "
                  "file=\"%V\"", what, f->file);
    return NGX_ERROR;
}
