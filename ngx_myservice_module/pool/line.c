/*
 * The waiting line.
 */

#include "pool/line.h"

#include <string.h>


#define MS_LINE_SWEEP  100              /* ms between two looks for the lost */

/* numbers of sessions that have lost no instance come after all others */
#define MS_LINE_NEW    (1ull << 63)


/* What is read often stands together, the rest in ms_line_session_t. */
typedef struct {
    uint64_t           number;          /* 0: not in use; written last */
    uint64_t           hash;
    uint64_t           seen;            /* when a call last said that it waits */
    uint64_t           since;
    uint64_t           workers;         /* bits: who to wake */
    ms_lease_t         lease;           /* of one served; lease 0: none */
    uint32_t           calls;
    uint8_t            served;          /* ms_turn_t: MS_TURN_WAITS, _COMES or
                                           _ASKS */
    uint8_t            store;
    uint8_t            local;
} ms_place_t;

typedef struct {
    ms_pool_terms_t    terms;
    size_t             len;
    uint8_t            session[MS_POOL_SESSION_MAX];
    uint8_t            subject[MS_POOL_SUBJECT];
    unsigned           bound:1;
} ms_line_session_t;

struct ms_line_s {
    uint64_t           next;            /* number */
    uint64_t           swept;
    uint32_t           places;
    uint32_t           limit;           /* all places in use are below */
    uint32_t           used;
    uint32_t           waiting;
    uint64_t           asked;           /* when the turn of a head came last that
                                           has to ask a store */
    uint64_t           asks;            /* number of the place that asks now,
                                           0: none */
    uint32_t           free;            /* instances */
    uint32_t           due;             /* one has become free since */
    ms_place_t         place[];
};


static ms_line_session_t *ms_line_session(const ms_line_t *line,
    uint32_t place);
static uint32_t ms_line_find(const ms_line_t *line, const ms_pool_key_t *key);
static uint32_t ms_line_head(const ms_line_t *line);
static ms_place_t *ms_line_place(ms_line_t *line, const ms_ticket_t *ticket);
static void ms_line_remove(ms_line_t *line, ms_pool_t *pool, ms_place_t *p,
    uint64_t now);
static void ms_line_sweep(ms_line_t *line, ms_pool_t *pool, uint64_t now);
static int ms_line_due(const ms_line_t *line, uint64_t now);
static uint32_t ms_line_count(const ms_line_t *line, ms_pool_t *pool,
    const ms_pool_key_t *key, const ms_pool_terms_t *terms, int asks,
    uint64_t now);


size_t
ms_line_size(uint32_t places)
{
    return sizeof(ms_line_t)
           + places * (sizeof(ms_place_t) + sizeof(ms_line_session_t));
}


ms_line_t *
ms_line_create(void *mem, uint32_t places)
{
    ms_line_t  *line;

    line = mem;
    memset(line, 0, sizeof(ms_line_t));
    line->places = places;

    return line;
}


static ms_line_session_t *
ms_line_session(const ms_line_t *line, uint32_t place)
{
    return (ms_line_session_t *) (uintptr_t) &line->place[line->places]
           + place;
}


int
ms_line_enter(ms_line_t *line, uint32_t length, const ms_pool_key_t *key,
    const ms_pool_terms_t *terms, int lost, uint32_t worker, uint64_t now,
    ms_ticket_t *ticket)
{
    uint32_t            i;
    ms_place_t         *p;
    ms_line_session_t  *s;

    i = ms_line_find(line, key);
    p = &line->place[i];

    if (i == line->limit) {

        for (i = 0; i < line->limit && line->place[i].number; i++) {
            /* void */
        }

        if (line->used >= length || i == line->places) {
            return -1;
        }

        p = &line->place[i];
        s = ms_line_session(line, i);

        memset(p, 0, sizeof(ms_place_t));
        p->hash = key->hash;
        p->since = now;

        s->terms = *terms;
        s->len = key->len;
        memcpy(s->session, key->session, key->len);
        s->bound = terms->subject != NULL;

        if (s->bound) {
            memcpy(s->subject, terms->subject, MS_POOL_SUBJECT);
        }

        if (ticket->number == 0) {
            ticket->number = ++line->next | (lost ? 0 : MS_LINE_NEW);
        }

        p->store = ticket->store;
        p->local = ticket->local;

        if (line->waiting == 0) {

            /* what has become free since the store was asked */

            line->due = 1;
        }

        p->number = ticket->number;
        line->used++;
        line->waiting++;

        if (i == line->limit) {
            line->limit++;
        }
    }

    p->calls++;
    p->seen = now;

    if (worker < MS_LINE_WORKERS) {
        p->workers |= 1ull << worker;
    }

    ticket->number = p->number;
    ticket->place = i;

    return 0;
}


/* "limit" if the session has no place */
static uint32_t
ms_line_find(const ms_line_t *line, const ms_pool_key_t *key)
{
    uint32_t            i;
    ms_line_session_t  *s;

    for (i = 0; i < line->limit; i++) {

        if (line->place[i].number == 0 || line->place[i].hash != key->hash) {
            continue;
        }

        s = ms_line_session(line, i);

        if (s->len == key->len && memcmp(s->session, key->session, s->len) == 0)
        {
            break;
        }
    }

    return i;
}


/* NULL if the place was given up */
static ms_place_t *
ms_line_place(ms_line_t *line, const ms_ticket_t *ticket)
{
    ms_place_t  *p;

    p = ticket->number && ticket->place < line->limit
        ? &line->place[ticket->place] : NULL;

    return p && p->number == ticket->number ? p : NULL;
}


ms_turn_t
ms_line_look(ms_line_t *line, const ms_ticket_t *ticket, uint64_t now)
{
    ms_place_t  *p;

    p = ms_line_place(line, ticket);

    if (p == NULL) {
        return MS_TURN_LOST;
    }

    p->seen = now;

    return (ms_turn_t) p->served;
}


void
ms_line_back(ms_line_t *line, const ms_ticket_t *ticket)
{
    ms_place_t  *p;

    p = ms_line_place(line, ticket);

    if (p == NULL) {
        return;
    }

    p->local = ticket->local;

    if (p->served == MS_TURN_ASKS) {
        p->served = MS_TURN_WAITS;
        line->waiting++;
        line->asks = 0;
    }
}


int
ms_line_used(const ms_line_t *line)
{
    return line->used != 0;
}


void
ms_line_leave(ms_line_t *line, ms_pool_t *pool, ms_ticket_t *ticket,
    uint64_t now)
{
    ms_place_t  *p;

    p = ms_line_place(line, ticket);
    ticket->number = 0;

    if (p && --p->calls == 0) {
        ms_line_remove(line, pool, p, now);
    }
}


static void
ms_line_remove(ms_line_t *line, ms_pool_t *pool, ms_place_t *p, uint64_t now)
{
    if (p->number == line->asks) {
        line->asks = 0;
        line->due = 1;
    }

    p->number = 0;
    line->used--;

    if (!p->served) {
        line->waiting--;

    } else if (p->lease.lease && p->lease.tentative) {
        ms_pool_give_back(pool, &p->lease, now);
    }
}


uint64_t
ms_line_serve(ms_line_t *line, ms_pool_t *pool, uint64_t now)
{
    uint32_t            i, n;
    uint64_t            workers;
    ms_place_t         *p;
    ms_claim_t          claim;
    ms_pool_key_t       key;
    ms_pool_seek_t      seek;
    ms_line_session_t  *s;

    workers = 0;

    n = ms_pool_count(pool, MS_INSTANCE_FREE);
    line->due |= n > line->free;
    line->free = n;

    if (line->used == 0) {
        return 0;
    }

    if (now - line->swept >= MS_LINE_SWEEP) {
        ms_line_sweep(line, pool, now);
    }

    while (line->waiting
           && (ms_pool_count(pool, MS_INSTANCE_FREE) || ms_line_due(line, now)))
    {
        i = ms_line_head(line);

        if (i == line->limit) {
            break;
        }

        p = &line->place[i];

        if (!p->store) {
            line->asked = now;
        }

        if (!p->store || p->local) {
            line->due = 0;
        }

        if (p->store && ms_line_due(line, now)
            && !(p->local && ms_pool_count(pool, MS_INSTANCE_FREE)))
        {
            line->due = 0;
            line->asked = now;
            line->asks = p->number;
            p->served = MS_TURN_ASKS;
            line->waiting--;
            workers |= p->workers;
            break;
        }

        if ((p->store && !p->local)
            || ms_pool_count(pool, MS_INSTANCE_FREE) == 0)
        {
            break;
        }

        s = ms_line_session(line, i);

        key.session = s->session;
        key.len = s->len;
        key.hash = p->hash;

        s->terms.subject = s->bound ? s->subject : NULL;

        memset(&seek, 0, sizeof(ms_pool_seek_t));
        seek.message = 1;

        claim = ms_pool_claim(pool, &key, &s->terms, &seek, now, &p->lease);

        if (claim == MS_CLAIM_BUSY) {
            break;
        }

        if (claim > MS_CLAIM_BUSY) {

            /* its call gets the same refusal */

            p->lease.lease = 0;
        }

        p->served = MS_TURN_COMES;
        line->waiting--;
        workers |= p->workers;
    }

    line->free = ms_pool_count(pool, MS_INSTANCE_FREE);

    return workers;
}


/* Returns 1 if the head is to ask its store now.  The clock of another process
 * may be ahead of this one's. */
static int
ms_line_due(const ms_line_t *line, uint64_t now)
{
    return line->asks == 0
           && (line->due || now >= line->asked + MS_LINE_ASK
               || line->asked >= now + MS_LINE_ASK);
}


/* "limit" if nobody waits */
static uint32_t
ms_line_head(const ms_line_t *line)
{
    uint32_t           i, head;
    const ms_place_t  *p;

    head = line->limit;

    for (i = 0; i < line->limit; i++) {
        p = &line->place[i];

        if (p->number && !p->served
            && (head == line->limit
                || p->number < line->place[head].number))
        {
            head = i;
        }
    }

    return head;
}


/* also counts anew, as a process may have died between two stores */
static void
ms_line_sweep(ms_line_t *line, ms_pool_t *pool, uint64_t now)
{
    uint32_t     i;
    ms_place_t  *p;

    line->swept = now;
    line->used = 0;
    line->waiting = 0;
    line->asks = 0;

    while (line->limit && line->place[line->limit - 1].number == 0) {
        line->limit--;
    }

    for (i = 0; i < line->limit; i++) {
        p = &line->place[i];

        if (p->number) {
            line->used++;
            line->waiting += !p->served;

            if (p->served == MS_TURN_ASKS) {
                line->asks = p->number;
            }
        }
    }

    for (i = 0; i < line->limit; i++) {
        p = &line->place[i];

        /* the clock of another process may be ahead of this one's */

        if (p->number && now >= p->seen && now - p->seen >= MS_LINE_LOST) {
            ms_line_remove(line, pool, p, now);
        }
    }
}


int
ms_line_many(const ms_line_t *line, ms_pool_t *pool, const ms_pool_key_t *key,
    const ms_pool_terms_t *terms, uint64_t now)
{
    return terms->sessions != 0
           && ms_pool_session(pool, key, now) == MS_POOL_NONE
           && ms_pool_many(pool, terms,
                           ms_line_count(line, pool, key, terms, 1, now), now);
}


uint32_t
ms_line_user(const ms_line_t *line, ms_pool_t *pool, const ms_pool_key_t *key,
    const ms_pool_terms_t *terms, uint64_t now)
{
    return ms_line_count(line, pool, key, terms, 0, now);
}


/* with "asks" also one that asks the store */
static uint32_t
ms_line_count(const ms_line_t *line, ms_pool_t *pool, const ms_pool_key_t *key,
    const ms_pool_terms_t *terms, int asks, uint64_t now)
{
    uint32_t            i, n;
    ms_pool_key_t       other;
    const ms_place_t   *p;
    ms_line_session_t  *s;

    n = 0;

    if (line->used == 0 || terms->sessions == 0 || terms->user == 0
        || ms_pool_session(pool, key, now) != MS_POOL_NONE)
    {
        return 0;
    }

    for (i = 0; i < line->limit; i++) {
        p = &line->place[i];

        if (p->number == 0 || p->hash == key->hash
            || (asks ? p->served == MS_TURN_COMES : p->served != 0))
        {
            continue;
        }

        s = ms_line_session(line, i);

        other.session = s->session;
        other.len = s->len;
        other.hash = p->hash;

        n += s->terms.user == terms->user
             && ms_pool_session(pool, &other, now) == MS_POOL_NONE;
    }

    return n;
}


void
ms_line_stats(const ms_line_t *line, uint64_t now, ms_line_stats_t *stats)
{
    uint32_t           i;
    const ms_place_t  *p;

    memset(stats, 0, sizeof(ms_line_stats_t));

    for (i = 0; i < line->limit; i++) {
        p = &line->place[i];

        if (p->number == 0) {
            continue;
        }

        if (p->served == MS_TURN_COMES) {
            stats->served++;
            continue;
        }

        stats->waiting++;

        if (now > p->since && now - p->since > stats->oldest) {
            stats->oldest = now - p->since;
        }
    }
}
