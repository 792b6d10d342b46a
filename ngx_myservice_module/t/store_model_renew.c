/*
 * The model: what a gateway tells the store of leases, by itself or as an
 * instance says so.
 */

#include "store_model_gateway.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


void
store_gateway_word(store_model_t *m, store_gateway_t *g, int instance,
    int owner, uint64_t epoch, uint64_t asof)
{
    bool         old;
    redisReply  *r;

    r = store_ask(m, g, (const char *[]) { "word", "g",
                                     instance_name(instance),
                                     session_name(owner), number(epoch),
                                     number(asof), number(STORE_TTL),
                                     number(g->seen),
                                     owner == -1 ? "-" :
                                     store_limit_who(m, owner, false,
                                                     (char[24]) { 0 }),
                                     NULL });
    old = r == NULL;

    if (r != NULL && r->element[0]->str[1] == 'l' /* old */) {

        /* the next word is newer than that */

        if (r->element[0]->str[0] == 'o') {
            store_note(g, instance, reply_number(r->element[2]));
            old = true;

        } else {
            store_elsewhere(m, instance, owner, reply_number(r->element[2]));
            store_bind(m, g, owner, reply_index(r->element[1]),
                       reply_number(r->element[2]));
        }

    } else if (r != NULL && owner != -1) {
        store_granted(m, instance, reply_number(r->element[2]));
        store_bind(m, g, owner, instance, reply_number(r->element[2]));
    }

    if (old && owner != -1 && epoch >= g->known[instance]) {
        store_bind(m, g, owner, instance, epoch);
    }

    if (r != NULL) {
        freeReplyObject(r);
    }
}


void
store_gateway_health(store_model_t *m, store_gateway_t *g, int instance)
{
    uint64_t           asof;
    store_instance_t  *i = &m->instances[instance];

    if (!i->alive || m->variant == STORE_NO_HEALTH) {
        return;
    }

    store_instance_tick(m, i);

    asof = g->known[instance] > i->epoch ? g->known[instance] : i->epoch;

    store_gateway_word(m, g, instance, i->owner, i->epoch, asof);
}


static void
renew_answer(store_model_t *m, store_gateway_t *g, int session,
    redisReply **e)
{
    int                instance;
    uint64_t           epoch;
    const char        *what;
    store_instance_t  *i;

    what = e[1]->str;
    instance = reply_index(e[2]);
    epoch = reply_number(e[3]);
    i = &m->instances[instance];

    if (strcmp(what, "asserted") == 0) {
        m->counts[STORE_ASSERTED]++;

        if (i->alive && i->owner != session) {
            m->counts[STORE_ZOMBIE]++;
        }

    } else if (strcmp(what, "moves") == 0) {
        g->leases[session].moves = true;

    } else if (strcmp(what, "moved") == 0 || strcmp(what, "epoch") == 0) {
        store_bind(m, g, session, instance, epoch);

    } else if (strcmp(what, "ended") == 0) {
        g->leases[session].held = false;
        store_note(g, instance, epoch);

    } else {
        ck_assert_str_eq(what, "taken");
        store_note(g, instance, epoch);
        store_instance_tick(m, i);

        if (i->alive && i->owner == session) {
            store_gateway_word(m, g, instance, session, i->epoch, epoch);

        } else {
            g->leases[session].held = false;
        }
    }
}


void
store_gateway_renew(store_model_t *m, store_gateway_t *g)
{
    int          s, n, k, list[STORE_SESSIONS];
    char         texts[STORE_SESSIONS][4][24];
    bool         changed;
    size_t       i;
    redisReply  *r;
    const char  *v[8 + STORE_SESSIONS * 5];

    n = 0;
    k = 0;
    v[k++] = "renew";
    v[k++] = "g";

    for (s = 0; s < STORE_SESSIONS; s++) {
        if (!g->leases[s].held || !g->leases[s].used) {
            continue;
        }

        v[k++] = name_text('s', s, texts[n][0]);
        v[k++] = name_text('i', g->leases[s].instance, texts[n][1]);
        v[k++] = number_text(g->leases[s].epoch, texts[n][2]);
        v[k++] = g->leases[s].heard ? "60000t" : "60000";
        v[k++] = store_limit_who(m, s, true, texts[n][3]);
        list[n++] = s;
    }

    v[k] = NULL;

    r = store_ask(m, g, v);

    if (r == NULL) {
        return;
    }

    changed = strcmp(g->generation, r->element[0]->str) != 0;
    snprintf(g->generation, sizeof(g->generation), "%s", r->element[0]->str);

    for (k = 0; k < n; k++) {
        g->leases[list[k]].used = false;
    }

    for (i = 0; i + 3 < r->element[1]->elements; i += 4) {
        k = atoi(r->element[1]->element[i]->str);
        ck_assert_int_lt(k, n);
        renew_answer(m, g, list[k], r->element[1]->element + i);
    }

    freeReplyObject(r);

    if (!changed) {
        return;
    }

    /* another life of the store: all leases, not only those in use */

    g->position[0] = '\0';

    for (s = 0; s < STORE_SESSIONS; s++) {
        if (store_lease_valid(m, &g->leases[s])) {
            g->leases[s].used = true;
        }
    }

    store_gateway_renew(m, g);
}


void
store_gateway_release(store_model_t *m, store_gateway_t *g, int session)
{
    redisReply        *r;
    store_lease_t     *l = &g->leases[session];
    store_instance_t  *i;

    if (!l->held) {
        return;
    }

    i = &m->instances[l->instance];

    if (!i->alive || i->owner != session) {
        return;
    }

    i->owner = -1;

    r = store_ask(m, g, (const char *[]) { "release", "g",
                                     session_name(session),
                                     instance_name(l->instance),
                                     number(l->epoch), "0", NULL });
    if (r != NULL) {
        freeReplyObject(r);
    }

    g->released[session] = l->epoch;
    l->held = false;
    m->history[session].n = 0;
}


bool
store_gateway_over(store_model_t *m, store_gateway_t *g, int session,
    int instance, uint64_t epoch)
{
    redisReply  *r;

    if (g->leases[session].held || epoch > g->released[session]) {
        return false;
    }

    m->counts[STORE_LATE]++;
    r = store_ask(m, g, (const char *[]) { "release", "g",
                                     session_name(session),
                                     instance_name(instance),
                                     number(g->released[session]), "0", NULL });
    if (r != NULL) {
        freeReplyObject(r);
    }

    return true;
}
