/*
 * The model: operators' words on instances.  All gateways have the same rules:
 * of two words the later counts, one that was removed has no drain, and each
 * gateway remembers what was removed.
 */

#include "store_model_gateway.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>


static bool
is_member(const store_words_t words, int instance)
{
    return instance < STORE_FIXED || words[STORE_MEMBER].on;
}


unsigned
store_gateway_strange(const store_gateway_t *g)
{
    int       i;
    unsigned  strange;

    strange = 0;

    for (i = 0; i < STORE_INSTANCES; i++) {
        if (!is_member(g->words[i], i)) {
            strange |= 1U << i;
        }
    }

    return strange;
}


/* The clocks of the gateways are right: no two words are as late. */

static void
speak(store_model_t *m, store_word_t *w, store_word_t *last, bool on)
{
    uint64_t  stamp;

    stamp = m->now * 1000 + m->steps % 1000;

    w->stamp = stamp > w->stamp ? stamp : w->stamp + 1;
    w->on = on;
    w->told = false;
    *last = *w;
}


void
store_gateway_say(store_model_t *m, store_gateway_t *g, int instance,
    store_kind_t kind, bool on)
{
    bool           member;
    store_word_t  *w = g->words[instance];

    member = is_member(w, instance);

    if (!member && (kind == STORE_DRAIN || !on)) {
        return;
    }

    m->counts[kind == STORE_DRAIN ? STORE_WORDS
              : on ? STORE_ADDED : STORE_REMOVED]++;

    speak(m, &w[kind], &m->words[instance][kind], on);

    /* it may have drained before it was removed */

    if (!member) {
        speak(m, &w[STORE_DRAIN], &m->words[instance][STORE_DRAIN], false);
    }

    if (kind == STORE_MEMBER && !on) {
        memset(&w[STORE_DRAIN], 0, sizeof(store_word_t));
    }

    store_gateway_tell(m, g);
}


void
store_gateway_hear(store_model_t *m, store_gateway_t *g, int instance,
    store_kind_t kind, bool on, uint64_t stamp)
{
    store_word_t  *w = g->words[instance];

    if (kind == STORE_DRAIN && !is_member(w, instance)) {
        return;
    }

    if (stamp >= w[kind].stamp || m->variant == STORE_NO_ORDER) {
        w[kind].stamp = stamp;
        w[kind].on = on;
        w[kind].told = true;
    }

    if (!is_member(w, instance)) {
        memset(&w[STORE_DRAIN], 0, sizeof(store_word_t));
    }
}


void
store_words_parse(const char *flags, store_words_t words)
{
    char  *next;

    memset(words, 0, sizeof(store_words_t));

    words[STORE_DRAIN].on = flags[0] == 'd';
    words[STORE_DRAIN].stamp = strtoull(flags + 1, &next, 10);

    if (*next == 'a' || *next == 'r') {
        words[STORE_MEMBER].on = *next == 'a';
        words[STORE_MEMBER].stamp = strtoull(next + 1, NULL, 10);
    }
}


void
store_gateway_flags(store_model_t *m, store_gateway_t *g, int instance,
    const char *flags)
{
    int            k;
    store_words_t  words;

    store_words_parse(flags, words);

    for (k = 0; k < STORE_KINDS; k++) {
        if (words[k].stamp != 0) {
            store_gateway_hear(m, g, instance, (store_kind_t) k, words[k].on,
                               words[k].stamp);
        }
    }
}


/* 'd' and '-', 'a' and 'r' */

static const char *
letter(store_kind_t kind, bool on)
{
    static const char  *letters[STORE_KINDS][2] = { { "r", "a" },
                                                    { "-", "d" } };

    return letters[kind][on];
}


static void
told(store_model_t *m, store_gateway_t *g)
{
    int            i, k;
    store_word_t  *w;

    for (i = 0; i < STORE_INSTANCES; i++) {
        for (k = 0; k < STORE_KINDS; k++) {
            w = &g->words[i][k];
            w->told = true;

            if (m->variant == STORE_FORGETS && k == STORE_MEMBER && !w->on) {
                w->stamp = 0;
            }
        }
    }
}


void
store_gateway_tell(store_model_t *m, store_gateway_t *g)
{
    int            i, j, k;
    char           texts[STORE_INSTANCES][STORE_KINDS][2][24];
    char           c;
    size_t         n;
    redisReply    *r, *out;
    const char    *v[3 + STORE_INSTANCES * STORE_KINDS * 3];
    store_word_t  *w;

    j = 0;
    v[j++] = "operator";
    v[j++] = "g";

    for (i = 0; i < STORE_INSTANCES; i++) {
        for (k = 0; k < STORE_KINDS; k++) {
            w = &g->words[i][k];

            if (w->stamp != 0 && !w->told) {
                v[j++] = name_text('i', i, texts[i][k][0]);
                v[j++] = letter((store_kind_t) k, w->on);
                v[j++] = number_text(w->stamp, texts[i][k][1]);
            }
        }
    }

    v[j] = NULL;
    r = j == 2 ? NULL : store_ask(m, g, v);

    if (r == NULL) {
        return;
    }

    told(m, g);
    out = r->element[1];

    for (n = 0; n + 2 < out->elements; n += 3) {
        c = out->element[n + 1]->str[0];
        store_gateway_hear(m, g, reply_index(out->element[n]),
                           c == 'a' || c == 'r' ? STORE_MEMBER : STORE_DRAIN,
                           c == 'a' || c == 'd',
                           reply_number(out->element[n + 2]));
    }

    freeReplyObject(r);
}


void
store_gateway_apart(store_gateway_t *g)
{
    int  i, k;

    g->position[0] = '\0';

    for (i = 0; i < STORE_INSTANCES; i++) {
        for (k = 0; k < STORE_KINDS; k++) {
            g->words[i][k].told = false;
        }
    }
}


void
store_words_last(store_model_t *m, store_words_t last[STORE_INSTANCES])
{
    int             g, i, k, sessions[STORE_SESSIONS];
    bool            there[STORE_INSTANCES];
    store_word_t   *w;
    store_record_t  records[STORE_INSTANCES];

    store_model_records(m, records, there, sessions);
    memset(last, 0, STORE_INSTANCES * sizeof(store_words_t));

    for (i = 0; i < STORE_INSTANCES; i++) {
        for (k = 0; k < STORE_KINDS; k++) {
            if (there[i]) {
                last[i][k] = records[i].words[k];
            }

            for (g = 0; g < STORE_GATEWAYS; g++) {
                w = &m->gateways[g].words[i][k];

                if (w->stamp > last[i][k].stamp) {
                    last[i][k] = *w;
                }
            }
        }
    }
}


static void
check_word(store_model_t *m, int instance, store_kind_t kind,
    const store_word_t *last, bool stored)
{
    int  g;

    if (last->stamp != m->words[instance][kind].stamp) {
        m->counts[STORE_WORDS_LOST]++;
        m->words[instance][kind] = *last;
    }

    for (g = 0; g < STORE_GATEWAYS; g++) {
        if (m->gateways[g].words[instance][kind].on != last->on) {
            m->counts[STORE_QUIET_WORD]++;
        }
    }

    if (stored != last->on) {
        m->counts[STORE_QUIET_WORD]++;
    }
}


void
store_words_check(store_model_t *m, store_words_t last[STORE_INSTANCES])
{
    int             i, k, sessions[STORE_SESSIONS];
    bool            there[STORE_INSTANCES];
    store_record_t  records[STORE_INSTANCES];

    store_model_records(m, records, there, sessions);

    for (i = 0; i < STORE_INSTANCES; i++) {
        for (k = 0; k < STORE_KINDS; k++) {

            if (k == STORE_DRAIN && !is_member(last[i], i)) {

                /* forgotten with the instance */

                m->words[i][k] = last[i][k];
                continue;
            }

            check_word(m, i, (store_kind_t) k, &last[i][k],
                       there[i] && records[i].words[k].on);
        }
    }
}
