#include "authsvc/import.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "authsvc/import_file.h"
#include "authsvc/password.h"


typedef struct {
    store_t          *store;
    const char       *path;
    const char       *role;
    import_policy_t   policy;
    import_count_t   *count;
    char             *error;
    size_t            size;
} import_run_t;


/* Lines are of the file, what is said about the store is not. */
static int
import_failed(const import_run_t *run, const import_row_t *row,
    store_status_t status)
{
    if (status == STORE_EXISTS) {
        snprintf(run->error, run->size, "%s: line %u: user \"%s\" exists "
                 "already (--update, --skip)", run->path, row->line,
                 row->name);

    } else if (status == STORE_MISSING) {
        snprintf(run->error, run->size, "%s: line %u: user \"%s\" was deleted "
                 "meanwhile", run->path, row->line, row->name);

    } else {
        snprintf(run->error, run->size, "store \"%s\": %s",
                 store_name(run->store), store_error(run->store));
    }

    return -1;
}


static store_status_t
import_update(const import_run_t *run, const import_row_t *row,
    const char *hash)
{
    const char      *role;
    store_status_t   status;

    role = row->role != NULL ? row->role : run->role;
    status = store_set_hash(run->store, row->name, NULL, hash);

    if (status == STORE_OK && role != NULL) {
        status = store_set_role(run->store, row->name, role);
    }

    return status;
}


static int
import_one(const import_run_t *run, const import_row_t *row, const char *hash)
{
    store_user_t     user;
    store_status_t   status;

    status = store_find(run->store, row->name, &user);

    if (status == STORE_MISSING) {
        run->count->added++;
        status = store_add(run->store, row->name, hash,
                           row->role != NULL ? row->role
                           : run->role != NULL ? run->role : "user");

    } else if (status == STORE_OK && run->policy == IMPORT_UPDATE) {
        run->count->updated++;
        status = import_update(run, row, hash);

    } else if (status == STORE_OK && run->policy == IMPORT_SKIP) {
        run->count->skipped++;

    } else if (status == STORE_OK) {
        status = STORE_EXISTS;
    }

    return status == STORE_OK ? 0 : import_failed(run, row, status);
}


/* Hashing takes long: it is done before the store is kept from others. */
static int
import_hash(const import_run_t *run, const import_file_t *file,
    char (*hashes)[PASSWORD_HASH])
{
    size_t               i;
    const import_row_t  *row;

    for (i = 0; i < file->n; i++) {
        row = &file->rows[i];

        if (row->hash != NULL) {
            strcpy(hashes[i], row->hash);

        } else if (password_hash(row->password, hashes[i]) != 0) {
            snprintf(run->error, run->size,
                     "not enough memory to hash a password");
            return -1;
        }
    }

    return 0;
}


static int
import_apply(const import_run_t *run, const import_file_t *file,
    char (*hashes)[PASSWORD_HASH])
{
    size_t          i;
    store_status_t  status;

    status = store_begin(run->store);
    if (status != STORE_OK) {
        return import_failed(run, NULL, status);
    }

    for (i = 0; i < file->n; i++) {
        if (import_one(run, &file->rows[i], hashes[i]) != 0) {
            store_rollback(run->store);
            return -1;
        }
    }

    status = store_commit(run->store);
    if (status != STORE_OK) {
        store_rollback(run->store);
        return import_failed(run, NULL, status);
    }

    return 0;
}


static int
import_read(const import_run_t *run, import_file_t *file)
{
    int    rc;
    char   text[400];
    FILE  *in;

    memset(file, 0, sizeof(import_file_t));

    in = strcmp(run->path, "-") == 0 ? stdin : fopen(run->path, "re");
    if (in == NULL) {
        snprintf(run->error, run->size, "%s: %s", run->path, strerror(errno));
        return -1;
    }

    rc = import_file_read(in, file, text, sizeof(text));
    if (rc != 0) {
        snprintf(run->error, run->size, "%s: %s", run->path, text);
    }

    if (in != stdin) {
        fclose(in);
    }

    return rc;
}


int
import_users(store_t *store, const char *path, const char *role,
    import_policy_t policy, import_count_t *count, char *error, size_t size)
{
    int              rc;
    char           (*hashes)[PASSWORD_HASH];
    import_run_t     run = { store, path, role, policy, count, error, size };
    import_file_t    file;

    rc = -1;
    hashes = NULL;
    memset(count, 0, sizeof(import_count_t));

    if (import_read(&run, &file) != 0) {
        goto done;
    }

    hashes = calloc(file.n + 1, sizeof(*hashes));
    if (hashes == NULL) {
        snprintf(error, size, "out of memory");
        goto done;
    }

    if (import_hash(&run, &file, hashes) == 0) {
        rc = import_apply(&run, &file, hashes);
    }

done:

    free(hashes);
    import_file_free(&file);

    return rc;
}
