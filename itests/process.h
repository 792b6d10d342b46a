/* The processes of the stack: which run, and what they use. */

#ifndef ITESTS_PROCESS_H
#define ITESTS_PROCESS_H


#include <stdbool.h>
#include <stdint.h>

#include "itests/check.h"


/* Whether the process of an instance runs. */
bool process_runs(const test_t *test, int instance);

/* The resident memory of a process of the stack ("authsvc"), in kB; -1 when it
 * is not known. */
long process_memory(const test_t *test, const char *name);

/* How much processor time it has used, in microseconds; -1 likewise. */
int64_t process_cpu(const test_t *test, const char *name);


#endif /* ITESTS_PROCESS_H */
