/* Keys that tests load from text. */

#include "jwt/t/loaded.h"

#include <check.h>
#include <string.h>
#include <openssl/err.h>

#include "jwt/keys.h"


int
loaded(const char *text, uint32_t algorithms, char *error, size_t size)
{
    int                count;
    ms_keys_t         *keys;
    ms_keys_options_t  options = { algorithms };

    keys = ms_keys_parse(text, strlen(text), &options, error, size);
    ck_assert_uint_eq(ERR_peek_error(), 0);

    if (keys == NULL) {
        return -1;
    }

    count = (int) ms_keys_count(keys);
    ms_keys_free(keys);

    return count;
}


void
assert_loads(const char *text, uint32_t algorithms, int n)
{
    int   count;
    char  error[512] = "";

    count = loaded(text, algorithms, error, sizeof(error));
    ck_assert_msg(count == n, "%s: %d keys instead of %d: %s", text, count, n,
                  error);
}


void
assert_refused(const char *text, uint32_t algorithms, const char *expected)
{
    char  error[512] = "";

    ck_assert_msg(loaded(text, algorithms, error, sizeof(error)) == -1,
                  "%s: loaded", text);
    ck_assert_str_eq(error, expected);
}
