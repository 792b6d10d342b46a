/* Keys for tests. */

#include "authsvc/t/key.h"

#include <check.h>
#include <string.h>
#include <sodium.h>

#include "authsvc/t/folder.h"


process_t  key_process;


void
key_setup(void)
{
    ck_assert_int_ge(sodium_init(), 0);
    folder_create();
}


void
key_teardown(void)
{
    folder_remove();
}


const char *
key_directory(void)
{
    return folder_path("keys");
}


int
key_run(const char *a, const char *b, const char *c, const char *d)
{
    const char *const  argv[] = {
        "key", "--keys", key_directory(), a, b, c, d, NULL
    };

    return process_run(&key_process, argv, "");
}


char *
key_output(const char *a, const char *b, const char *c, const char *d)
{
    ck_assert_msg(key_run(a, b, c, d) == 0, "%s", key_process.error);
    key_process.output[strcspn(key_process.output, "\n")] = '\0';

    return strdup(key_process.output);
}


void
key_load(keydir_list_t *list)
{
    keydir_t  dir;

    ck_assert_msg(keydir_open(&dir, key_directory(), false) == 0
                  && keydir_read(&dir, list) == 0, "%s", dir.error);
    keydir_close(&dir);
}


const char *
key_state(const char *kid)
{
    keydir_list_t    list;
    keydir_entry_t  *entry;

    key_load(&list);
    entry = keydir_find(&list, kid);

    return entry != NULL ? keydir_state(entry) : "gone";
}
