/*
 * The model: what a gateway reads of the others.
 */

#include "store_model_gateway.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_server.h"


static void
change(store_model_t *m, store_gateway_t *g, const char *op, int session,
    int instance, uint64_t epoch)
{
    int             s;
    store_lease_t  *l;

    if (strcmp(op, "drain") == 0 || strcmp(op, "undrain") == 0) {
        store_gateway_hear(m, g, instance, STORE_DRAIN, op[0] == 'd', epoch);
        return;
    }

    if (strcmp(op, "add") == 0 || strcmp(op, "remove") == 0) {
        store_gateway_hear(m, g, instance, STORE_MEMBER, op[0] == 'a', epoch);
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

    if (strcmp(op, "move") == 0 || strcmp(op, "stay") == 0) {
        if (l->held && l->instance == instance && l->epoch == epoch) {
            l->moves = op[0] == 'm';
        }

        return;
    }

    if (l->held && l->epoch < epoch) {
        store_bind(m, g, session, instance, epoch);
        l->heard = op[0] == 'c';
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
    char         flag;
    size_t       n;
    uint64_t     epoch;
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

        store_gateway_flags(m, g, instance, e[3]->str);

        if (!ended
            && store_gateway_over(m, g, session, instance, epoch))
        {
            continue;
        }

        if (!ended) {
            flag = e[3]->str[e[3]->len - 1];
            change(m, g, flag == 't' ? "claim" : "assert", session, instance,
                   epoch);

            if (flag == 'm') {
                change(m, g, "move", session, instance, epoch);
            }

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
