/*
 * A process that dies in the middle of a change.  One test stops after each
 * machine instruction of an operation, copies the memory as a kill at that
 * point would have left it, and lets the next process enter.  The other test
 * kills a busy process at random times.
 */

#include <check.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool_crash.h"
#include "pool_world.h"
#include "harness.h"


#define SIZE       ms_pool_size(CRASH_INSTANCES)
#define KILLS      10000
#define REBUILDS   10


static int
same_text(const void *a, const void *b, size_t len)
{
    return len == 0 || memcmp(a, b, len) == 0;
}


static int
same_address(const ms_instance_info_t *a, const ms_instance_info_t *b)
{
    return a->addr_len == b->addr_len
           && same_text(a->addr, b->addr, a->addr_len);
}


static int
same_instance(const ms_instance_info_t *a, const ms_instance_info_t *b)
{
    return a->state == b->state
           && a->drain == b->drain
           && a->removed == b->removed
           && a->lease == b->lease
           && a->epoch == b->epoch
           && a->name_len == b->name_len
           && a->session_len == b->session_len
           && a->used == b->used
           && a->expires == b->expires
           && same_text(a->name, b->name, a->name_len)
           && same_address(a, b)
           && same_text(a->session, b->session, a->session_len);
}


/*
 * Instances that the operation does not concern are as before.  The others are
 * as before or after it, or without owner; none has a lease that was never
 * granted.
 */
static const char *
judge(const ms_pool_t *before, const ms_pool_t *after, const ms_pool_t *crash)
{
    uint32_t             i;
    const char          *broken;
    ms_instance_info_t   a, b, c;

    broken = ms_pool_check(crash);

    if (broken != NULL) {
        return broken;
    }

    for (i = 0; i < CRASH_INSTANCES; i++) {
        ms_pool_info(before, i, &a);
        ms_pool_info(after, i, &b);
        ms_pool_info(crash, i, &c);

        if (same_instance(&a, &c) || same_instance(&b, &c)) {
            continue;
        }

        if (same_instance(&a, &b)) {
            return "another instance has changed";
        }

        if (c.lease != 0 && c.lease != a.lease && c.lease != b.lease) {
            return "a lease from nowhere";
        }

        if (c.lease != 0 && c.session_len != a.session_len
            && c.session_len != b.session_len)
        {
            return "an owner from nowhere";
        }

        if (c.addr_len != 0 && !same_address(&a, &c) && !same_address(&b, &c))
        {
            return "half an address";
        }
    }

    return NULL;
}


static void *
shared(void)
{
    void  *p;

    p = mmap(NULL, SIZE + sizeof(atomic_uint), PROT_READ|PROT_WRITE,
             MAP_SHARED|MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(p, MAP_FAILED);

    return p;
}


static pid_t
start_traced(const crash_t *crash, void *memory, const ms_lease_t *lease)
{
    int    status;
    pid_t  pid;

    pid = fork();
    ck_assert_int_ge(pid, 0);

    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
            _exit(77);
        }

        raise(SIGSTOP);
        crash->operation(memory, lease);
        _exit(0);
    }

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);

    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        return -1;
    }

    ck_assert(WIFSTOPPED(status));

    return pid;
}


/* Returns the number of different memories that a crash may leave. */
static int
step_through(const crash_t *crash, pid_t pid, const ms_lease_t *lease,
    const void *memory, const void *before, const void *after)
{
    int          seen, status;
    void        *last, *dead;
    const char  *broken;

    last = malloc(SIZE);
    dead = malloc(SIZE);
    ck_assert(last != NULL && dead != NULL);
    memcpy(last, before, SIZE);

    for (seen = 0; /* void */; /* void */) {
        ck_assert_int_eq(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);

        if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) {
            break;
        }

        if (memcmp(memory, last, SIZE) == 0) {
            continue;
        }

        seen++;
        memcpy(last, memory, SIZE);
        memcpy(dead, memory, SIZE);
        ms_pool_enter(dead, 0);
        broken = judge(before, after, dead);

        if (broken == NULL && (crash->operation == crash_dead
                               || crash->operation == crash_drained))
        {
            crash->operation(dead, lease);
            broken = ms_pool_lease_state(dead, lease, 0) == MS_LEASE_HELD
                     ? "the lease never ends" : ms_pool_check(dead);
        }

        if (broken != NULL) {
            kill(pid, SIGKILL);
            ck_abort_msg("%s, change %d: %s", crash->title, seen, broken);
        }
    }

    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert_int_eq(memcmp(memory, after, SIZE), 0);
    free(last);
    free(dead);

    return seen;
}


START_TEST(test_every_instruction)
{
    int             i;
    void           *memory, *after;
    pid_t           pid;
    world_t         world;
    ms_lease_t      lease;
    const crash_t  *crash;

    crash = &crash_cases[_i];
    world_create(&world, CRASH_INSTANCES);

    for (i = 0; i < 12 && crash->setup[i] != NULL; i++) {
        world_step(&world, crash->setup[i]);
    }

    lease = world_slot(&world, "a")->lease;

    after = malloc(SIZE);
    ck_assert_ptr_nonnull(after);
    memcpy(after, world.pool, SIZE);
    crash->operation(after, &lease);
    ck_assert_ptr_null(ms_pool_check(after));

    memory = shared();
    memcpy(memory, world.pool, SIZE);
    pid = start_traced(crash, memory, &lease);

    if (pid > 0) {
        ck_assert_int_gt(step_through(crash, pid, &lease, memory, world.pool,
                                      after),
                         0);
    } else {
        fprintf(stderr, "test_pool_crash: no ptrace here, skipped\n");
    }

    munmap(memory, SIZE + sizeof(atomic_uint));
    free(after);
    world_free(&world);
}
END_TEST


/* Never returns. */
static void
be_busy(ms_pool_t *pool, atomic_uint *clock, unsigned seed)
{
    char             session[8];
    uint64_t         now;
    ms_lease_t       lease;
    ms_pool_key_t    key;
    ms_pool_seek_t   seek;

    for ( ;; ) {
        now = atomic_fetch_add(clock, 1);
        ms_pool_enter(pool, now);
        seed = seed * 1103515245 + 12345;
        snprintf(session, sizeof(session), "s%u", seed >> 16 & 3);
        memset(&seek, 0, sizeof(seek));
        ms_pool_key(pool, session, strlen(session), &key);

        if (ms_pool_claim(pool, &key, &world_terms, &seek, now, &lease)
            >= MS_CLAIM_BUSY)
        {
            continue;
        }

        switch (seed >> 20 & 7) {

        case 0:
            ms_pool_give_back(pool, &lease, now);
            break;

        case 1:
            ms_pool_release(pool, &lease, now);
            break;

        case 2:
            ms_pool_fail(pool, &lease, now);
            break;

        case 3:
            ms_pool_conflict(pool, &lease, "s1", 2, &world_terms, now);
            break;

        case 4:
            ms_pool_drain(pool, lease.instance, now);
            ms_pool_undrain(pool, lease.instance, now);
            break;

        default:
            ms_pool_confirm(pool, &lease, now);
        }
    }
}


START_TEST(test_random_kills)
{
    int           i, status, rebuilt;
    pid_t         pid;
    world_t       world;
    ms_pool_t    *pool;
    unsigned      until;
    atomic_uint  *clock;

    world_create(&world, CRASH_INSTANCES);
    world_step(&world, "add x");
    world_step(&world, "add y");
    world_step(&world, "add z");
    pool = shared();
    memcpy(pool, world.pool, SIZE);
    clock = (atomic_uint *) ((uint8_t *) pool + SIZE);

    for (i = rebuilt = 0; i < KILLS && rebuilt < REBUILDS; i++) {
        until = atomic_load(clock) + 10 + (unsigned) i * 7 % 100;
        pid = fork();
        ck_assert_int_ge(pid, 0);

        if (pid == 0) {
            be_busy(pool, clock, (unsigned) i);
        }

        while (atomic_load(clock) < until) {
            sched_yield();
        }

        kill(pid, SIGKILL);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert(WIFSIGNALED(status));

        rebuilt += ms_pool_enter(pool, 0);
        ck_assert_ptr_null(ms_pool_check(pool));
        ck_assert_uint_eq(ms_pool_count(pool, MS_INSTANCE_UNUSED),
                          CRASH_INSTANCES - 3);
        ck_assert_uint_eq(ms_pool_alerts(pool), 0);
    }

    ck_assert_int_eq(rebuilt, REBUILDS);
    munmap(pool, SIZE + sizeof(atomic_uint));
    world_free(&world);
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("pool crash");

    tcase = tcase_create("crash");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, test_every_instruction, 0,
                        (int) crash_count);
    tcase_add_test(tcase, test_random_kills);
    suite_add_tcase(suite, tcase);

    return harness_run_units(suite);
}
