/*
 * A pool, its waiting line, and calls that stand in it.
 */

#ifndef MODULE_T_LINE_WORLD_H
#define MODULE_T_LINE_WORLD_H


#include <stdbool.h>

#include "pool/line.h"


#define LINE_CALLS  64
#define LINE_TTL    5000                /* ms */


/* A call that waits, or runs on its instance. */
typedef struct {
    int              session;           /* -1: not in use */
    int              worker;
    bool             dead;              /* its worker died: it says nothing */
    bool             runs;
    ms_ticket_t      ticket;
    ms_lease_t       lease;
} line_call_t;

typedef struct {
    ms_pool_t       *pool;
    ms_line_t       *line;
    uint64_t         now;
    line_call_t      calls[LINE_CALLS];
} line_world_t;


extern const ms_pool_terms_t  line_terms;


/* The instances are "i0", "i1", ..., the sessions "s0", "s1", ... */
void line_set_up(line_world_t *world, unsigned instances, uint32_t places);
void line_tear_down(line_world_t *world);

void line_add(line_world_t *world, unsigned n);

/* -1: it is no member */
int line_instance(const line_world_t *world, unsigned n);

/* "key" borrows the name until the next one is made */
void line_key(const line_world_t *world, int session, ms_pool_key_t *key);

/* The turn of the call has come: it claims what is kept for its session. */
void line_claim(line_world_t *world, line_call_t *c,
    const ms_pool_terms_t *terms);


#endif /* MODULE_T_LINE_WORLD_H */
