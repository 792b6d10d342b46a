/*
 * How long something took.  Tests assert order and state where they can: a
 * machine may be busy, and sanitizers and valgrind slow.  Where a time has to be
 * asserted, "ms" is what a quiet machine takes.
 */

#ifndef RPC_T_LASTED_H
#define RPC_T_LASTED_H


#include <check.h>

#include "rpc/server.h"


/* ms, for what has to come: waiting for it costs nothing */
#define LASTED_DEADLINE  60000
#define LASTED_PATIENCE  10


/* "ms" at least since "begin", a time of rpc_now().  A quarter less passes:
 * gRPC's clocks and the kernel's round. */
#define lasted(begin, ms)                                                     \
    ck_assert_int_ge(rpc_now() - (begin), (ms) - (ms) / 4)

/* LASTED_PATIENCE times "ms" at most.  What would have taken longer without the
 * thing under test must be well beyond that. */
#define lasted_within(begin, ms)                                              \
    ck_assert_int_lt(rpc_now() - (begin), LASTED_PATIENCE * (ms))


#endif /* RPC_T_LASTED_H */
