/*
 * The model: calls at gateways, and the instances that they ask.
 */

#include "store_model_gateway.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_server.h"


typedef enum {
    ANSWER_OK = 0,
    ANSWER_BUSY,
    ANSWER_LIMIT,
    ANSWER_UNAVAILABLE
} answer_t;


#define TRIES  8


const char *
number_text(uint64_t n, char text[24])
{
    snprintf(text, 24, "%llu", (unsigned long long) n);
    return text;
}


const char *
name_text(char kind, int i, char text[24])
{
    if (i >= 0) {
        snprintf(text, 24, "%c%d", kind, i);
    }

    return text;
}


uint64_t
reply_number(const redisReply *r)
{
    ck_assert_ptr_nonnull(r);
    ck_assert_int_eq(r->type, REDIS_REPLY_STRING);
    return strtoull(r->str, NULL, 10);
}


int
reply_index(const redisReply *r)
{
    ck_assert_ptr_nonnull(r);
    ck_assert_int_eq(r->type, REDIS_REPLY_STRING);
    return r->len == 0 ? -1 : atoi(r->str + 1);
}


redisReply *
store_ask(store_model_t *m, const store_gateway_t *g, const char *const *texts)
{
    return m->down || !g->reachable ? NULL
                                    : store_server_eval(m->c, m->sha, texts);
}


void
store_note(store_gateway_t *g, int instance, uint64_t epoch)
{
    if (epoch > g->seen) {
        g->seen = epoch;
    }

    if (epoch > g->known[instance]) {
        g->known[instance] = epoch;
    }
}


void
store_granted(store_model_t *m, int instance, uint64_t epoch)
{
    if (epoch <= m->given[instance]) {
        m->counts[STORE_OLD_EPOCH]++;

    } else {
        m->given[instance] = epoch;
    }
}


/* "myservice" is told that a session has left it */

void
store_elsewhere(store_model_t *m, int instance, int session, uint64_t epoch)
{
    store_instance_t  *i = &m->instances[instance];

    if (i->alive && i->owner == session && i->epoch < epoch) {
        i->owner = -1;
    }
}


void
store_bind(store_model_t *m, store_gateway_t *g, int session, int instance,
    uint64_t epoch)
{
    int             s;
    store_lease_t  *l = &g->leases[session];

    if (l->held && l->epoch > epoch) {
        return;
    }

    for (s = 0; s < STORE_SESSIONS; s++) {
        if (s != session && g->leases[s].instance == instance) {
            g->leases[s].held = false;
        }
    }

    if (l->held && l->instance != instance) {
        store_elsewhere(m, l->instance, session, epoch);
    }

    if (!l->held) {
        l->used = false;
    }

    if (!l->held || l->instance != instance || l->epoch != epoch) {
        l->heard = false;
        l->moves = false;
    }

    l->held = true;
    l->instance = instance;
    l->epoch = epoch;
    l->at = m->now;

    store_note(g, instance, epoch);
}


bool
store_lease_valid(const store_model_t *m, const store_lease_t *l)
{
    return l->held && m->now - l->at < STORE_TTL;
}


/* Its own instance first, those believed taken last, "down" not at all. */

static int
candidates(const store_model_t *m, const store_gateway_t *g, int session,
    unsigned down, int list[STORE_INSTANCES])
{
    int       i, n, s, pass, from;
    bool      taken[STORE_INSTANCES];
    unsigned  strange;

    memset(taken, 0, sizeof(taken));

    for (s = 0; s < STORE_SESSIONS; s++) {
        if (s != session && store_lease_valid(m, &g->leases[s])) {
            taken[g->leases[s].instance] = true;
        }
    }

    n = 0;

    if (g->leases[session].held
        && !(down & 1U << g->leases[session].instance))
    {
        list[n++] = g->leases[session].instance;
    }

    /* gateways may see other members: each begins elsewhere */

    strange = store_gateway_strange(g);
    from = session * 5 + (int) (g - m->gateways);

    for (pass = 0; pass < 2; pass++) {

        if (pass == 1 && m->variant == STORE_KNOWN) {
            break;
        }

        for (i = from; i < from + STORE_INSTANCES; i++) {
            int  c = i % STORE_INSTANCES;

            if (taken[c] == (pass == 1) && !((down | strange) & 1U << c)
                && (n == 0 || list[0] != c))
            {
                list[n++] = c;
            }
        }
    }

    return n;
}


static answer_t
claim(store_model_t *m, store_gateway_t *g, int session, unsigned down,
    int from, uint64_t epoch)
{
    int          i, n, k, list[STORE_INSTANCES];
    bool         full;
    char         names[STORE_INSTANCES][8];
    answer_t     answer;
    redisReply  *r;
    const char  *v[16 + STORE_INSTANCES];

    k = 0;
    v[k++] = "claim";
    v[k++] = "g";
    v[k++] = session_name(session);
    v[k++] = number(STORE_TENTATIVE);
    v[k++] = number(g->seen);
    v[k++] = instance_name(from);
    v[k++] = number(epoch);
    v[k++] = store_limit_who(m, session, true, (char[24]) { 0 });
    v[k++] = "0";
    v[k++] = store_limit_max(m, (char[24]) { 0 });

    n = candidates(m, g, session, down, list);

    for (i = 0; i < n; i++) {
        snprintf(names[i], sizeof(names[i]), "i%d", list[i]);
        v[k++] = names[i];
    }

    v[k] = NULL;

    full = store_limit_full(m, session, from, epoch);
    r = store_ask(m, g, v);

    if (r == NULL) {
        return ANSWER_UNAVAILABLE;
    }

    ck_assert_uint_ge(r->elements, 4);

    if (full != (r->element[0]->str[0] == 'l')) {
        m->counts[STORE_LIMIT_WRONG]++;
    }

    if (r->element[0]->str[0] == 'l') {
        m->counts[STORE_LIMITED]++;
        answer = ANSWER_LIMIT;

    } else if (r->element[0]->str[0] == 'b') {
        answer = ANSWER_BUSY;

    } else if (r->element[0]->str[0] == 'o' /* own */
               && store_gateway_over(m, g, session, reply_index(r->element[1]),
                                     reply_number(r->element[2])))
    {
        answer = ANSWER_OK;

    } else {
        if (r->element[0]->str[0] == 'm') {
            m->counts[STORE_MOVED]++;
        }

        if (r->element[0]->str[0] == 'n' || r->element[0]->str[0] == 'm') {
            store_granted(m, reply_index(r->element[1]),
                    reply_number(r->element[2]));
            store_model_given(m, reply_index(r->element[1]));
        }

        store_bind(m, g, session, reply_index(r->element[1]),
                   reply_number(r->element[2]));
        answer = ANSWER_OK;
    }

    freeReplyObject(r);

    return answer;
}


void
store_instance_reset(store_instance_t *i)
{
    memset(i, 0, sizeof(store_instance_t));
    i->alive = true;
    i->owner = -1;
}


void
store_instance_tick(store_model_t *m, store_instance_t *i)
{
    if (i->owner != -1 && m->now - i->used > STORE_TTL) {
        i->owner = -1;
    }
}


typedef enum { SERVED, STALE, CONFLICT } served_t;


static served_t
serve(store_model_t *m, store_instance_t *i, int session, uint64_t epoch)
{
    store_instance_tick(m, i);

    if (m->variant == STORE_RAISE) {

        if (epoch < i->floor) {
            return STALE;
        }

        i->floor = epoch;
    }

    if (i->owner != -1 && i->owner != session) {
        return CONFLICT;
    }

    if (epoch < (i->owner == -1 ? i->floor : i->epoch)) {
        return STALE;
    }

    i->owner = session;
    i->epoch = epoch;
    i->used = m->now;

    if (epoch > i->floor) {
        i->floor = epoch;
    }

    return SERVED;
}


/* whether a gateway, or all, could not know better: this one, or another that
 * still has the session at "last" */

static bool
excused(store_model_t *m, const store_gateway_t *g, int session, int last)
{
    int                     i;
    bool                    excuse;
    redisReply             *change, *generation;
    const store_gateway_t  *h;

    if (m->down) {
        return true;
    }

    change = store_server_ask(m->c, (const char *[]) { "XREVRANGE", "{u}:log",
                                            "+", "-", "COUNT", "1", NULL });
    generation = store_server_ask(m->c, (const char *[]) { "HGET", "{u}:c",
                                                           "g", NULL });
    excuse = generation->type != REDIS_REPLY_STRING;

    for (i = 0; i < STORE_GATEWAYS && !excuse; i++) {
        h = &m->gateways[i];
        excuse = !h->reachable;

        if (h == g || (h->leases[session].held
                       && h->leases[session].instance == last))
        {
            excuse |= (change->elements == 1
                       && strcmp(change->element[0]->element[0]->str,
                                 h->position)
                          != 0)
                      || strcmp(generation->str, h->generation) != 0;
        }
    }

    freeReplyObject(change);
    freeReplyObject(generation);

    return excuse;
}


/* A session that is back at an instance that it had left, while the other one
 * keeps it, is on two. */

static void
watch(store_model_t *m, const store_gateway_t *g, int session, int instance)
{
    int               i, last;
    store_history_t  *h = &m->history[session];

    m->counts[STORE_SERVED]++;

    last = h->n ? h->instances[h->n - 1] : -1;

    if (last == instance) {
        return;
    }

    for (i = 0; i < h->n; i++) {
        if (h->instances[i] == instance && m->instances[last].alive
            && m->instances[last].owner == session)
        {
            m->counts[excused(m, g, session, last) ? STORE_TWO_EXCUSED
                                                   : STORE_TWO]++;
            break;
        }
    }

    if (h->n == STORE_HISTORY) {
        memmove(h->instances, h->instances + 1,
                (STORE_HISTORY - 1) * sizeof(int));
        h->n--;
    }

    h->instances[h->n++] = instance;
}


static void
refused(store_model_t *m, int session, int had, unsigned tried, answer_t why)
{
    int  i;

    m->counts[STORE_REFUSED]++;

    for (i = 0; i < STORE_INSTANCES; i++) {
        if (m->instances[i].alive && m->instances[i].owner == session) {

            if (had == i) {
                m->counts[STORE_BOUND_REFUSED]++;
            }

            return;
        }
    }

    if (why == ANSWER_BUSY && store_model_free_instance(m, tried)) {
        m->counts[STORE_BUSY_FREE]++;
    }
}


/* The instance knows better.  Returns 1 if it serves another session. */

static int
stale(store_model_t *m, store_gateway_t *g, int session, int instance,
    uint64_t epoch)
{
    redisReply        *r;
    store_instance_t  *i = &m->instances[instance];

    if (i->owner == session) {
        store_bind(m, g, session, instance, i->epoch);
        return 0;
    }

    /* given back, and asked for again above what the instance has accepted */

    if (i->floor > g->seen) {
        g->seen = i->floor;
    }

    r = store_ask(m, g, (const char *[]) { "release", "g",
                                     session_name(session),
                                     instance_name(instance), number(epoch),
                                     "0", NULL });
    if (r != NULL) {
        freeReplyObject(r);
    }

    g->leases[session].held = false;

    return i->owner != -1;
}


void
store_gateway_call(store_model_t *m, store_gateway_t *g, int session)
{
    int                had, tries, at;
    answer_t           answer;
    unsigned           down;
    uint64_t           epoch;
    store_lease_t     *l;
    store_instance_t  *i;

    down = 0;
    l = &g->leases[session];
    had = store_lease_valid(m, l) ? l->instance : -1;
    answer = ANSWER_OK;

    for (tries = 0; tries < TRIES && answer == ANSWER_OK; tries++) {

        if (!store_lease_valid(m, l)) {
            l->held = false;
            answer = claim(m, g, session, down, -1, 0);
            continue;
        }

        at = l->instance;
        epoch = l->epoch;
        i = &m->instances[at];

        if (!i->alive) {
            down |= 1U << at;
            answer = claim(m, g, session, down, at, epoch);
            continue;
        }

        if (l->moves) {

            /* with nowhere to go it stays */

            (void) claim(m, g, session, down | 1U << at, at, epoch);
            l->moves = false;
            continue;
        }

        switch (serve(m, i, session, epoch)) {

        case SERVED:
            l->at = m->now;
            l->used = true;
            l->heard = false;
            watch(m, g, session, at);
            return;

        case STALE:
            if (stale(m, g, session, at, epoch)) {
                down |= 1U << at;
            }

            break;

        case CONFLICT:
            l->held = false;
            down |= 1U << at;
            store_gateway_word(m, g, at, i->owner, i->epoch,
                               epoch > i->epoch ? epoch : i->epoch);
        }
    }

    refused(m, session, had, down | store_gateway_strange(g), answer);
}


void
store_gateway_move(store_model_t *m, store_gateway_t *g, int session)
{
    redisReply     *r;
    store_lease_t  *l;

    l = &g->leases[session];

    if (!store_lease_valid(m, l)) {
        return;
    }

    l->moves = true;
    r = store_ask(m, g, (const char *[]) { "move", "g", session_name(session),
                                           instance_name(l->instance),
                                           number(l->epoch), NULL });
    if (r != NULL) {
        freeReplyObject(r);
    }
}


void
store_gateway_reset(store_gateway_t *g)
{
    bool  reachable;

    reachable = g->reachable;
    memset(g, 0, sizeof(store_gateway_t));
    g->reachable = reachable;
}
