/*
 * A pool and a small language to play with it: steps of a test, after each of
 * which every invariant is checked.
 *
 *     at TIME                       time passes; then ms_pool_enter()
 *     now TIME                      time passes, nobody enters
 *     add|remove|force|drain|undrain|up|down|end|await INSTANCE
 *     health INSTANCE               an add without retry time
 *     learn INSTANCE OWNER SENT [LEFT]     "-": it has none
 *     full INSTANCE                 an add that is refused
 *     claim SESSION DECISION        a claim in the session's request
 *     request SESSION               a new request of the session
 *     confirm|back|release|fail|touch|lost SESSION    with its last grant
 *     conflict SESSION OWNER        "-": owner unknown
 *     keep SESSION NAME             its last grant under one more name
 *     is INSTANCE STATE [OWNER]     "-": no owner or unknown
 *     count STATE N
 *
 * An INSTANCE is a name or @SESSION, the instance of that one's last grant.
 * The idle time is 1000, the retry time 100.
 */

#ifndef MODULE_T_POOL_WORLD_H
#define MODULE_T_POOL_WORLD_H


#include "ngx_myservice_module/pool.h"


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
