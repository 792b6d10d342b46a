/*
 * Users from a file: CSV with a header line, or user:hash per line as htpasswd
 * writes it.
 */

#ifndef AUTHSVC_IMPORT_FILE_H
#define AUTHSVC_IMPORT_FILE_H


#include <stddef.h>
#include <stdio.h>


/* The strings are the file's; NULL: not given.  Either a password or a hash is
 * there. */
typedef struct {
    unsigned   line;
    char      *text;                    /* what the others point into */
    size_t     len;
    char      *name;
    char      *password;
    char      *hash;
    char      *role;
} import_row_t;

typedef struct {
    import_row_t  *rows;                /* in the order of their names */
    size_t         n;
    size_t         size;
} import_file_t;


/*
 * Reads all of "in" and checks it: names, roles, kinds of hashes, no name
 * twice.  -1 with "line N: reason" in "error", without anything secret.  To be
 * freed in both cases, which wipes the passwords.
 */
int import_file_read(FILE *in, import_file_t *file, char *error, size_t size)
    __attribute__((warn_unused_result));
void import_file_free(import_file_t *file);


#endif /* AUTHSVC_IMPORT_FILE_H */
