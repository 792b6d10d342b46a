#include "authsvc/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <sodium.h>

#include "authsvc/files.h"
#include "rpc/log.h"


#define KEYFILE_RANDOM  32              /* bytes, written as hex digits */


static int
keyfile_error(const char *path, char *error, size_t size)
{
    snprintf(error, size, "key file \"%s\": %s", path, strerror(errno));

    return -1;
}


/* Nobody ever sees a part of a secret: it gets its name when it is whole. */
int
keyfile_create(const char *path, char *error, size_t size)
{
    int            rc;
    char           text[2 * KEYFILE_RANDOM + 2];
    struct stat    st;
    unsigned char  random[KEYFILE_RANDOM];

    /* nothing is written where nothing has to be */
    if (lstat(path, &st) == 0) {
        return 0;
    }

    randombytes_buf(random, sizeof(random));
    sodium_bin2hex(text, sizeof(text), random, sizeof(random));
    text[2 * KEYFILE_RANDOM] = '\n';

    rc = files_create(path, text, 2 * KEYFILE_RANDOM + 1, 0600);

    sodium_memzero(random, sizeof(random));
    sodium_memzero(text, sizeof(text));

    if (rc == 0) {
        log_info("created the key file \"%s\"", path);
        return 0;
    }

    return errno == EEXIST ? 0 : keyfile_error(path, error, size);
}


static int
keyfile_read(int fd, unsigned char *buf, size_t size, size_t *len)
{
    ssize_t  n;

    *len = 0;

    do {
        n = read(fd, buf + *len, size - *len);
        *len += n > 0 ? (size_t) n : 0;
    } while ((n > 0 && *len < size) || (n < 0 && errno == EINTR));

    return n < 0 ? -1 : 0;
}


static void
keyfile_warn(int fd, const char *path)
{
    struct stat  st;

    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)
        && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    {
        log_warn("key file \"%s\" has mode %04o, others than the owner may "
                 "read or change it", path, (unsigned) st.st_mode & 07777);
    }
}


int
keyfile_load(const char *path, secret_t *secret, char *error, size_t size)
{
    int            fd, rc;
    size_t         len;
    unsigned char  buf[MS_SECRET_MAX + 2];

    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return keyfile_error(path, error, size);
    }

    rc = keyfile_read(fd, buf, sizeof(buf), &len);
    if (rc != 0) {
        (void) keyfile_error(path, error, size);
        goto done;
    }

    keyfile_warn(fd, path);

    if (len > 0 && buf[len - 1] == '\n') {
        len--;
    }

    if (len < MS_SECRET_MIN || len > MS_SECRET_MAX) {
        snprintf(error, size, "key file \"%s\": the secret must have %d to %d "
                 "bytes, has %s%zu", path, MS_SECRET_MIN, MS_SECRET_MAX,
                 len > MS_SECRET_MAX ? "at least " : "", len);
        rc = -1;
        goto done;
    }

    memcpy(secret->bytes, buf, len);
    secret->len = len;

done:

    close(fd);
    sodium_memzero(buf, sizeof(buf));

    return rc;
}
