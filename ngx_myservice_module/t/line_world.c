/*
 * A pool, its waiting line, and calls that stand in it.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "line_world.h"


const ms_pool_terms_t  line_terms = { .ttl = LINE_TTL };


void
line_set_up(line_world_t *world, unsigned instances, uint32_t places)
{
    unsigned              i;
    static const uint8_t  key[16] = "0123456789abcdef";

    world->now = 1000;
    world->pool = ms_pool_create(malloc(ms_pool_size(16)), ms_pool_size(16),
                                 key);
    world->line = ms_line_create(malloc(ms_line_size(places)), places);
    ck_assert_ptr_nonnull(world->pool);
    (void) ms_pool_enter(world->pool, world->now);

    for (i = 0; i < instances; i++) {
        line_add(world, i);
    }

    memset(world->calls, 0, sizeof(world->calls));

    for (i = 0; i < LINE_CALLS; i++) {
        world->calls[i].session = -1;
    }
}


void
line_tear_down(line_world_t *world)
{
    free(world->pool);
    free(world->line);
}


/* ck_assert() notes each place in a file, which a million steps cannot wait
 * for. */
void
line_add(line_world_t *world, unsigned n)
{
    char  name[16];

    snprintf(name, sizeof(name), "i%u", n);

    if (ms_pool_add(world->pool, name, strlen(name), name, 4, 10, world->now)
        == MS_POOL_NONE)
    {
        ck_abort_msg("no room for instance %s", name);
    }
}


int
line_instance(const line_world_t *world, unsigned n)
{
    char  name[16];

    snprintf(name, sizeof(name), "i%u", n);

    return (int) ms_pool_find(world->pool, name, strlen(name));
}


void
line_key(const line_world_t *world, int session, ms_pool_key_t *key)
{
    static char  name[16];

    snprintf(name, sizeof(name), "s%d", session);
    ms_pool_key(world->pool, name, strlen(name), key);
}


void
line_claim(line_world_t *world, line_call_t *c, const ms_pool_terms_t *terms)
{
    ms_claim_t      got;
    ms_pool_key_t   key;
    ms_pool_seek_t  seek;

    memset(&seek, 0, sizeof(seek));
    seek.message = 1;
    line_key(world, c->session, &key);
    seek.waiting = ms_line_user(world->line, world->pool, &key, terms,
                                world->now);
    got = ms_pool_claim(world->pool, &key, terms, &seek, world->now,
                        &c->lease);

    /* what is kept may only be lost with its instance */

    c->runs = got < MS_CLAIM_BUSY;
    ms_line_leave(world->line, world->pool, &c->ticket, world->now);

    if (!c->runs) {
        c->session = -1;
    }
}
