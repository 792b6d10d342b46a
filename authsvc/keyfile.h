/*
 * The file with the secret that signs tokens: its content without one
 * trailing newline.
 */

#ifndef AUTHSVC_KEYFILE_H
#define AUTHSVC_KEYFILE_H


#include <stddef.h>

#include "jwt/keys.h"


typedef struct {
    unsigned char  bytes[MS_SECRET_MAX];
    size_t         len;
} secret_t;


/* Makes the file with a random secret, mode 0600, unless something has its
 * name already.  -1 with one line in "error". */
int keyfile_create(const char *path, char *error, size_t size)
    __attribute__((warn_unused_result));

/* Logs a warning when group or others may read the file. */
int keyfile_load(const char *path, secret_t *secret, char *error,
    size_t size) __attribute__((warn_unused_result));


#endif /* AUTHSVC_KEYFILE_H */
