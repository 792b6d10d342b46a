/*
 * A file of NAME=value lines, in the form of systemd's EnvironmentFile=
 * (systemd.exec(5)): comments begin with # or ;, a value may be quoted, a line
 * that ends with a backslash goes on in the next one.  Stricter than systemd:
 * a line that is not such an assignment is an error.
 */

#ifndef RPC_ENV_FILE_H
#define RPC_ENV_FILE_H


typedef struct {
    char        *pos;               /* NUL-terminated text, changed in place */
    unsigned     next;              /* line of "pos", from 1 */
    unsigned     line;              /* where the last assignment begins */
    const char  *error;
} env_file_t;


/* 1 and the next assignment, which points into the text; 0 at the end; -1 and
 * "error" for a bad line. */
int env_file_next(env_file_t *file, char **name, char **value)
    __attribute__((warn_unused_result));


#endif /* RPC_ENV_FILE_H */
