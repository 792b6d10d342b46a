/*
 * Texts as key sets: how many keys they have, or what is wrong with them.
 */

#ifndef JWT_T_LOADED_H
#define JWT_T_LOADED_H


#include <stddef.h>
#include <stdint.h>


/* Returns the number of keys, or -1 with "error"; "algorithms" as in
 * ms_keys_options_t. */
int loaded(const char *text, uint32_t algorithms, char *error, size_t size);

void assert_loads(const char *text, uint32_t algorithms, int n);
void assert_refused(const char *text, uint32_t algorithms,
    const char *expected);


#endif /* JWT_T_LOADED_H */
