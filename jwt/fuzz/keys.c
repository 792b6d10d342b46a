/*
 * libFuzzer: key sets, PEM and JWK.  What is taken must be good for something,
 * and is tried; what is refused must say why, in one line for a log.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>
#include <openssl/err.h>

#include "jwt/key.h"
#include "jwt/token.h"


#define must(condition)                                                       \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "not true: %s\n", #condition);                    \
            abort();                                                          \
        }                                                                     \
    } while (0)


int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void) argc;
    (void) argv;

    json_object_seed(1);

    return 0;
}


/* No key says yes to nonsense: not even one that was made for that. */
static void
try(const ms_keys_t *keys)
{
    int              rc;
    size_t           i, j;
    unsigned char    signature[2048];
    const ms_key_t  *list[MS_KEYS_TRIED];

    static const size_t  sizes[] = { 0, 32, 48, 64, 96, 132, 256, 2048 };

    for (i = 0; i < MS_ALGS; i++) {
        if (ms_keys_select(keys, i, NULL, list) == 0) {
            continue;
        }

        for (j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
            memset(signature, 0, sizeof(signature));
            rc = ms_key_verify(list[0], (const unsigned char *) "a.b", 3,
                               signature, sizes[j]);
            must(rc == 0);

            signature[0] = 1;
            rc = ms_key_verify(list[0], (const unsigned char *) "a.b", 3,
                               signature, sizes[j]);
            must(rc == 0);
        }
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char               error[512];
    size_t             i;
    ms_keys_t         *keys;
    ms_keys_options_t  options = { 0 };

    /* a last byte that is no text chooses what is allowed */
    if (size > 0 && data[size - 1] >= 0xf0
        && data[size - 1] < 0xf0 + MS_ALGS)
    {
        options.algorithms = MS_ALG_BIT(data[--size] - 0xf0);
    }

    memset(error, 0, sizeof(error));
    keys = ms_keys_parse(data, size, &options, error, sizeof(error));
    must(ERR_peek_error() == 0);

    if (keys == NULL) {
        must(error[0] != '\0');

        for (i = 0; error[i] != '\0'; i++) {
            must(error[i] >= 0x20 && error[i] < 0x7f);
        }

        return 0;
    }

    must(ms_keys_count(keys) > 0 && ms_keys_count(keys) <= MS_KEYS_MAX);
    try(keys);
    ms_keys_free(keys);

    return 0;
}
