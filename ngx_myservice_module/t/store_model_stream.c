/*
 * The model: what a gateway reads of the others, and operators' words.
 */

#include "store_model_gateway.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_server.h"


void
store_gateway_drain(store_model_t *m, store_gateway_t *g, int instance,
    bool drain)
{
    uint64_t       stamp;
    store_word_t  *w = &g->words[instance];

    /* the clocks of the gateways are right: no two words are as late */

    stamp = m->now * 1000 + m->steps % 1000;

    w->stamp = stamp > w->stamp ? stamp : w->stamp + 1;
    w->drain = drain;
    w->told = false;
    m->words[instance] = *w;

    store_gateway_tell(m, g);
}


/* of two words the later counts */

static void
hear(store_gateway_t *g, int instance, bool drain, uint64_t stamp)
{
    store_word_t  *w = &g->words[instance];

    if (stamp >= w->stamp) {
        w->stamp = stamp;
        w->drain = drain;
        w->told = true;
    }
}


void
store_gateway_tell(store_model_t *m, store_gateway_t *g)
{
    int          i, k;
    char         texts[STORE_INSTANCES][2][24];
    size_t       n;
    redisReply  *r, *out;
    const char  *v[3 + STORE_INSTANCES * 3];

    k = 0;
    v[k++] = "operator";
    v[k++] = "g";

    for (i = 0; i < STORE_INSTANCES; i++) {
        if (g->words[i].stamp != 0 && !g->words[i].told) {
            v[k++] = name_text('i', i, texts[i][0]);
            v[k++] = g->words[i].drain ? "d" : "-";
            v[k++] = number_text(g->words[i].stamp, texts[i][1]);
        }
    }

    v[k] = NULL;
    r = k == 2 ? NULL : store_ask(m, g, v);

    if (r == NULL) {
        return;
    }

    for (i = 0; i < STORE_INSTANCES; i++) {
        g->words[i].told = true;
    }

    out = r->element[1];

    for (n = 0; n + 2 < out->elements; n += 3) {
        hear(g, reply_index(out->element[n]),
             out->element[n + 1]->str[0] == 'd',
             reply_number(out->element[n + 2]));
    }

    freeReplyObject(r);
}


void
store_gateway_apart(store_gateway_t *g)
{
    int  i;

    g->position[0] = '\0';

    for (i = 0; i < STORE_INSTANCES; i++) {
        g->words[i].told = false;
    }
}


static void
change(store_model_t *m, store_gateway_t *g, const char *op, int session,
    int instance, uint64_t epoch)
{
    int             s;
    store_lease_t  *l;

    if (strcmp(op, "drain") == 0 || strcmp(op, "undrain") == 0) {
        hear(g, instance, op[0] == 'd', epoch);
        return;
    }

    store_note(g, instance, epoch);

    if (session == -1) {
        return;
    }

    l = &g->leases[session];

    if (strcmp(op, "release") == 0 || strcmp(op, "leave") == 0) {
        if (l->held && l->instance == instance && l->epoch <= epoch) {
            l->held = false;
        }

        return;
    }

    if (l->held && l->epoch < epoch) {
        store_bind(m, g, session, instance, epoch);
    }

    for (s = 0; s < STORE_SESSIONS; s++) {
        if (s != session && g->leases[s].instance == instance
            && g->leases[s].epoch < epoch)
        {
            g->leases[s].held = false;
        }
    }
}


/* all that the store has; the stream goes on from there */

static void
list(store_model_t *m, store_gateway_t *g)
{
    int          s, instance, session;
    bool         ended;
    size_t       n;
    uint64_t     epoch;
    const char  *flags;
    redisReply  *r, **e;

    r = store_ask(m, g, (const char *[]) { "list", "g", "0", "1000", NULL });
    snprintf(g->position, sizeof(g->position), "%s", r->element[1]->str);
    ck_assert_str_eq(r->element[3]->str, "0");

    for (n = 0; n + 5 < r->element[4]->elements; n += 6) {
        e = &r->element[4]->element[n];
        instance = reply_index(e[0]);
        session = reply_index(e[5]);
        epoch = reply_number(e[1]);
        ended = session == -1 || reply_number(e[2]) == 0;
        flags = e[3]->str;

        if (strlen(flags) > 2) {
            hear(g, instance, flags[0] == 'd',
                 strtoull(flags + 1, NULL, 10));
        }

        if (!ended) {
            change(m, g, "claim", session, instance, epoch);
            continue;
        }

        store_note(g, instance, epoch);

        for (s = 0; s < STORE_SESSIONS; s++) {
            if (s != session && g->leases[s].instance == instance
                && g->leases[s].epoch <= epoch)
            {
                g->leases[s].held = false;
            }
        }
    }

    freeReplyObject(r);
    store_gateway_tell(m, g);
}


void
store_gateway_stream(store_model_t *m, store_gateway_t *g)
{
    char          from[64];
    size_t        i, k;
    redisReply   *r, *f;
    const char   *op;
    redisReply   *e, *s, *in;

    if (m->down || !g->reachable) {
        return;
    }

    if (g->position[0] == '\0') {
        list(m, g);
        return;
    }

    snprintf(from, sizeof(from), "(%s", g->position);

    r = store_server_ask(m->c, (const char *[]) { "XRANGE", "{u}:log", from,
                                                  "+", NULL });

    for (i = 0; i < r->elements; i++) {
        snprintf(g->position, sizeof(g->position), "%s",
                 r->element[i]->element[0]->str);
        f = r->element[i]->element[1];
        op = "";
        e = s = in = NULL;

        for (k = 0; k + 1 < f->elements; k += 2) {
            switch (f->element[k]->str[0]) {
            case 'o': op = f->element[k + 1]->str; break;
            case 'i': in = f->element[k + 1]; break;
            case 'e': e = f->element[k + 1]; break;
            case 's': s = f->element[k + 1]; break;
            default: break;
            }
        }

        ck_assert(e != NULL && s != NULL && in != NULL);
        change(m, g, op, reply_index(s), reply_index(in), reply_number(e));
    }

    freeReplyObject(r);
}
