/*
 * A pool and a small language to play with it: steps of a test, after each of
 * which every invariant is checked.
 *
 *     at TIME                       time passes; then ms_pool_enter()
 *     now TIME                      time passes, nobody enters
 *     add|remove|force|drain|undrain|up|down|end|await INSTANCE
 *     health INSTANCE               an add without retry time
 *     learn INSTANCE OWNER SENT [LEFT]     "-": it has none
 *     dead INSTANCE                 ms_pool_dead(), calls lose it
 *     says|unsays INSTANCE          it drains by its own word
 *     process|anew|serves INSTANCE ID [SENT]    ms_pool_process(), "-": no id;
 *                                   anew: it is another one; serves: it is none
 *                                   and reports its owner
 *     full INSTANCE                 an add that is refused
 *     tell|quiet INSTANCE           ms_pool_elsewhere() in the next 500
 *     claim SESSION DECISION        a claim in the session's request
 *     given SESSION INSTANCE HOW EPOCH DECISION
 *                                   ms_pool_claim_at(); HOW is new, moved, before,
 *                                   heard, shared or follows
 *     stale SESSION OWNER EPOCH     ms_pool_stale() with its last grant; OWNER
 *                                   "-": the instance has no session
 *     clock N, reported N           terms->clock, terms->epoch from now on
 *     epoch N, epoch INSTANCE N     of the pool, of a lease
 *     request SESSION               a new request of the session
 *     confirm|back|late|release|fail|touch|lost SESSION    with its last grant
 *                                   late: ms_pool_suspect()
 *     conflict SESSION OWNER        "-": owner unknown
 *     keep SESSION NAME             its last grant under one more name
 *     is INSTANCE STATE [OWNER]     "-": no owner or unknown
 *     count STATE N
 *     ended REASON N                ms_pool_ended()
 *     tells GRACE                   terms->tells from now on
 *     ran SESSION                   the request may have run
 *
 * An INSTANCE is a name or @SESSION, the instance of that one's last grant.
 * The idle time is 1000, the retry time 100.
 */

#ifndef MODULE_T_POOL_WORLD_H
#define MODULE_T_POOL_WORLD_H


#include "pool/pool.h"


#define WORLD_SLOTS  16


typedef struct {
    char            name[8];
    ms_pool_seek_t  seek;
    ms_lease_t      lease;
} world_slot_t;

typedef struct {
    ms_pool_t      *pool;
    void           *memory;
    uint64_t        now;
    ms_pool_terms_t terms;
    world_slot_t          slots[WORLD_SLOTS];
} world_t;


extern const ms_pool_terms_t  world_terms;


void world_create(world_t *world, uint32_t instances);
void world_free(world_t *world);
void world_step(world_t *world, const char *step);
world_slot_t *world_slot(world_t *world, const char *name);
ms_claim_t world_claim_with(world_t *world, const void *session, size_t len,
    const ms_pool_terms_t *terms, ms_lease_t *lease);


#endif /* MODULE_T_POOL_WORLD_H */
