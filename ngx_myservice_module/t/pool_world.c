/*
 * A pool and a small language to play with it: steps of a test, after each of
 * which every invariant is checked.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool_world.h"


const ms_pool_terms_t  world_terms = { .ttl = 1000, .routes = 1, .user = 4 };

static const uint8_t   world_key[16] = "0123456789abcde";

static const char *const  decisions[] = {
    "HIT", "NEW", "MOVED", "REBUILT", "QUEUED", "BUSY", "UNAVAILABLE", "EMPTY", "FULL",
    "LIMITED", "TOO_MANY", "LOST"
};


void
world_create(world_t *world, uint32_t instances)
{
    memset(world, 0, sizeof(world_t));
    world->terms = world_terms;
    world->memory = malloc(ms_pool_size(instances));
    ck_assert_ptr_nonnull(world->memory);
    world->pool = ms_pool_create(world->memory, ms_pool_size(instances),
                                 world_key);
    ck_assert_ptr_nonnull(world->pool);
}


void
world_free(world_t *world)
{
    free(world->memory);
}


world_slot_t *
world_slot(world_t *world, const char *name)
{
    int  i;

    for (i = 0; i < WORLD_SLOTS - 1 && world->slots[i].name[0] != '\0'; i++) {
        if (strcmp(world->slots[i].name, name) == 0) {
            return &world->slots[i];
        }
    }

    ck_assert_uint_lt(strlen(name), sizeof(world->slots[i].name));
    strcpy(world->slots[i].name, name);

    return &world->slots[i];
}


static uint32_t
world_instance(world_t *world, const char *name)
{
    return name[0] == '@' ? world_slot(world, name + 1)->lease.instance
                          : ms_pool_find(world->pool, name, strlen(name));
}


static void
world_claim(world_t *world, const char *session, const char *decision)
{
    world_slot_t         *slot;
    ms_claim_t      got;
    ms_pool_key_t   hashed;

    slot = world_slot(world, session);
    ms_pool_key(world->pool, session, strlen(session), &hashed);
    got = ms_pool_claim(world->pool, &hashed, &world->terms, &slot->seek,
                        world->now, &slot->lease);
    ck_assert_str_eq(decisions[got], decision);
}


static void
world_given(world_t *world, const char *session, const char *instance,
    const char *given, const char *epoch, const char *decision)
{
    ms_claim_t      got;
    ms_given_t      how;
    ms_pool_key_t   hashed;
    world_slot_t   *slot;

    slot = world_slot(world, session);
    how = given[0] == 'n' ? MS_GIVEN_NEW
          : given[0] == 'm' ? MS_GIVEN_MOVED
          : given[0] == 'h' ? MS_GIVEN_HEARD
          : given[0] == 's' ? MS_GIVEN_SHARED
          : given[0] == 'f' ? MS_GIVEN_FOLLOWS : MS_GIVEN_BEFORE;

    ms_pool_key(world->pool, session, strlen(session), &hashed);
    got = ms_pool_claim_at(world->pool, &hashed, &world->terms,
                           world_instance(world, instance), how,
                           strtoul(epoch, NULL, 10), world->now,
                           &slot->lease);
    ck_assert_str_eq(decisions[got], decision);
}


static void
world_stale(world_t *world, const char *session, const char *owner,
    const char *epoch)
{
    ms_pool_terms_t  terms;

    terms = world->terms;
    terms.epoch = strtoul(epoch, NULL, 10);

    (void) ms_pool_stale(world->pool, &world_slot(world, session)->lease,
                         owner[0] != '-', &terms, world->now);
}


static void
world_epoch(world_t *world, const char *instance, const char *epoch)
{
    ms_instance_info_t  info;

    if (epoch == NULL) {
        ck_assert_uint_eq(ms_pool_epoch(world->pool),
                          strtoul(instance, NULL, 10));
        return;
    }

    ms_pool_info(world->pool, world_instance(world, instance), &info);
    ck_assert_uint_eq(info.epoch, strtoul(epoch, NULL, 10));
}


static void
world_is(world_t *world, const char *name, const char *state,
    const char *owner)
{
    ms_instance_info_t  info;

    ms_pool_info(world->pool, world_instance(world, name), &info);

    if (strcmp(state, "suspect") == 0) {
        ck_assert_uint_eq(info.suspect, 1);
        state = "free";
    }

    if (strcmp(state, "foreign") == 0) {
        ck_assert_uint_eq(info.foreign, 1);
        state = "leased";
    }

    ck_assert_str_eq(ms_instance_state_name(info.state), state);

    if (owner == NULL || strcmp(owner, "-") == 0) {
        ck_assert_uint_eq(info.session_len, 0);
        return;
    }

    ck_assert_uint_eq(info.session_len, strlen(owner));
    ck_assert_mem_eq(info.session, owner, info.session_len);
}


static void
world_count(world_t *world, const char *state, const char *number)
{
    int  i;

    for (i = 0; i < MS_INSTANCE_STATES; i++) {
        if (strcmp(ms_instance_state_name((ms_instance_state_t) i), state)
            == 0)
        {
            ck_assert_uint_eq(ms_pool_count(world->pool,
                                            (ms_instance_state_t) i),
                              strtoul(number, NULL, 10));
            return;
        }
    }

    ck_abort_msg("no state %s", state);
}


static void
world_ended(world_t *world, const char *why, const char *number)
{
    int  i;

    for (i = 0; strcmp(ms_pool_end_name((ms_end_t) i), why) != 0; i++) {
        ck_assert_int_lt(i, MS_ENDS);
    }

    ck_assert_uint_eq(ms_pool_ended(world->pool, (ms_end_t) i),
                      strtoul(number, NULL, 10));
}


/* whether the instance drains by its own word */
static void
world_report(ms_pool_t *pool, uint32_t instance, uint64_t now)
{
    ms_pool_report_drain(pool, instance, 1, now);
}


static void
world_unreport(ms_pool_t *pool, uint32_t instance, uint64_t now)
{
    ms_pool_report_drain(pool, instance, 0, now);
}


static int
world_member_step(world_t *world, const char *verb, const char *name)
{
    size_t     i;
    uint32_t   id;

    static const struct {
        const char  *verb;
        void       (*function)(ms_pool_t *pool, uint32_t instance,
                               uint64_t now);
    } verbs[] = {
        { "drain", ms_pool_drain },
        { "undrain", ms_pool_undrain },
        { "says", world_report },
        { "unsays", world_unreport },
        { "await", ms_pool_await },
        { "up", ms_pool_up },
        { "down", ms_pool_down },
        { "end", ms_pool_end }
    };

    id = world_instance(world, name);

    for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(verb, verbs[i].verb) == 0) {
            verbs[i].function(world->pool, id, world->now);
            return 1;
        }
    }

    if (strcmp(verb, "add") == 0 || strcmp(verb, "full") == 0) {
        id = ms_pool_add(world->pool, name, strlen(name), name, strlen(name),
                         100, world->now);
        ck_assert_int_eq(id == MS_POOL_NONE, strcmp(verb, "full") == 0);

    } else if (strcmp(verb, "health") == 0) {
        id = ms_pool_add(world->pool, name, strlen(name), name, strlen(name),
                         MS_POOL_NEVER, world->now);
        ck_assert_uint_ne(id, MS_POOL_NONE);

    } else if (strcmp(verb, "tell") == 0 || strcmp(verb, "quiet") == 0) {
        ck_assert_int_eq(ms_pool_elsewhere(world->pool, id, world->now + 500,
                                           world->now),
                         verb[0] == 't');

    } else if (strcmp(verb, "dead") == 0) {
        ms_pool_dead(world->pool, id, 0, world->now);

    } else if (strcmp(verb, "moves") == 0) {
        ck_assert_int_eq(ms_pool_move(world->pool, id), MS_MOVE_DONE);

    } else if (strcmp(verb, "already") == 0) {
        ck_assert_int_eq(ms_pool_move(world->pool, id), MS_MOVE_ALREADY);

    } else if (strcmp(verb, "early") == 0) {
        ck_assert_int_eq(ms_pool_move(world->pool, id), MS_MOVE_TENTATIVE);

    } else if (strcmp(verb, "nowhere") == 0) {
        ck_assert_int_eq(ms_pool_move(world->pool, id), MS_MOVE_BUSY);

    } else if (strcmp(verb, "remove") == 0) {
        ms_pool_remove(world->pool, id, 0, world->now);

    } else if (strcmp(verb, "force") == 0) {
        ms_pool_remove(world->pool, id, 1, world->now);

    } else {
        return 0;
    }

    return 1;
}


static int
world_lease_step(world_t *world, const char *verb, const char *session,
    const char *word)
{
    size_t   i;
    world_slot_t  *slot;

    static const struct {
        const char  *verb;
        void       (*function)(ms_pool_t *pool, const ms_lease_t *lease,
                               uint64_t now);
    } verbs[] = {
        { "confirm", ms_pool_confirm },
        { "back", ms_pool_give_back },
        { "late", ms_pool_suspect },
        { "release", ms_pool_release },
        { "fail", ms_pool_fail }
    };

    slot = world_slot(world, session);

    for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(verb, verbs[i].verb) == 0) {
            verbs[i].function(world->pool, &slot->lease, world->now);
            return 1;
        }
    }

    if (strcmp(verb, "touch") == 0 || strcmp(verb, "lost") == 0) {
        ck_assert_int_eq(ms_pool_touch(world->pool, &slot->lease, world->now),
                         verb[0] == 't' ? 0 : -1);

    } else if (strcmp(verb, "conflict") == 0) {
        ms_pool_conflict(world->pool, &slot->lease, word,
                         word[0] == '-' ? 0 : strlen(word), &world->terms,
                         world->now);

    } else if (strcmp(verb, "keep") == 0) {
        world_slot(world, word)->lease = slot->lease;

    } else if (strcmp(verb, "ran") == 0) {
        slot->seek.held = slot->lease.lease;
        slot->seek.settled = !slot->lease.tentative;

    } else if (strcmp(verb, "request") == 0) {
        memset(&slot->seek, 0, sizeof(slot->seek));

    } else {
        return 0;
    }

    return 1;
}


static void
world_learn(world_t *world, const char *name, const char *owner,
    const char *sent, const char *left)
{
    ms_pool_learn(world->pool, world_instance(world, name), owner,
                  owner[0] == '-' ? 0 : strlen(owner),
                  strtoul(left, NULL, 10), &world->terms,
                  strtoul(sent, NULL, 10), world->now);
}


/* "anew": the instance is another process than before; "serves": it reports its
 * owner */
static void
world_process(world_t *world, const char *verb, const char *name,
    const char *process, const char *sent)
{
    ck_assert_int_eq(ms_pool_process(world->pool, world_instance(world, name),
                                     process,
                                     process[0] == '-' ? 0 : strlen(process),
                                     verb[0] == 's', &world_terms,
                                     sent != NULL ? strtoul(sent, NULL, 10)
                                                  : world->now,
                                     world->now),
                     verb[0] == 'a');
}


void
world_step(world_t *world, const char *step)
{
    int          n;
    const char  *broken;
    char         word[6][24];

    n = sscanf(step, "%23s %23s %23s %23s %23s %23s", word[0], word[1],
               word[2], word[3], word[4], word[5]);
    ck_assert_int_ge(n, 2);

    if (strcmp(word[0], "at") == 0) {
        world->now = strtoul(word[1], NULL, 10);
        ck_assert_int_eq(ms_pool_enter(world->pool, world->now), 0);

    } else if (strcmp(word[0], "now") == 0) {
        world->now = strtoul(word[1], NULL, 10);

    } else if (strcmp(word[0], "bound") == 0) {
        ms_pool_drain_time(world->pool,
                           word[1][0] == 'n' ? MS_POOL_NEVER
                                             : strtoul(word[1], NULL, 10),
                           world->now);

    } else if (strcmp(word[0], "until") == 0) {
        ms_pool_drain_until(world->pool, world_instance(world, word[1]),
                            strtoul(word[2], NULL, 10));

    } else if (strcmp(word[0], "claim") == 0) {
        world_claim(world, word[1], word[2]);

    } else if (strcmp(word[0], "given") == 0 && n == 6) {
        world_given(world, word[1], word[2], word[3], word[4], word[5]);

    } else if (strcmp(word[0], "stale") == 0 && n == 4) {
        world_stale(world, word[1], word[2], word[3]);

    } else if (strcmp(word[0], "epoch") == 0) {
        world_epoch(world, word[1], n > 2 ? word[2] : NULL);

    } else if (strcmp(word[0], "clock") == 0) {
        world->terms.clock = strtoul(word[1], NULL, 10);

    } else if (strcmp(word[0], "reported") == 0) {
        world->terms.epoch = strtoul(word[1], NULL, 10);

    } else if (strcmp(word[0], "learn") == 0 && n >= 4) {
        world_learn(world, word[1], word[2], word[3], n > 4 ? word[4] : "0");

    } else if ((strcmp(word[0], "process") == 0
                || strcmp(word[0], "serves") == 0
                || strcmp(word[0], "anew") == 0) && n >= 3)
    {
        world_process(world, word[0], word[1], word[2],
                      n > 3 ? word[3] : NULL);

    } else if (strcmp(word[0], "is") == 0) {
        world_is(world, word[1], word[2], n > 3 ? word[3] : NULL);

    } else if (strcmp(word[0], "count") == 0) {
        world_count(world, word[1], word[2]);

    } else if (strcmp(word[0], "tells") == 0) {
        world->terms.tells = 1;
        world->terms.grace = strtoul(word[1], NULL, 10);

    } else if (strcmp(word[0], "ended") == 0) {
        world_ended(world, word[1], word[2]);

    } else if (!world_member_step(world, word[0], word[1])
               && !world_lease_step(world, word[0], word[1], word[2]))
    {
        ck_abort_msg("no step \"%s\"", step);
    }

    broken = ms_pool_check(world->pool);
    ck_assert_msg(broken == NULL, "after \"%s\": %s", step, broken);
    ck_assert_uint_eq(ms_pool_alerts(world->pool), 0);
}


ms_claim_t
world_claim_with(world_t *world, const void *session, size_t len,
    const ms_pool_terms_t *terms, ms_lease_t *lease)
{
    ms_pool_key_t   hashed;
    ms_pool_seek_t  seek;

    memset(&seek, 0, sizeof(seek));
    ms_pool_key(world->pool, session, len, &hashed);

    return ms_pool_claim(world->pool, &hashed, terms, &seek, world->now,
                         lease);
}
