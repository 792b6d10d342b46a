/*
 * The model: random operations, faults of the store, and what must hold.
 */

#include "store_model_gateway.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_server.h"


#define HASHES  3                       /* of the keys */

static const char  *keys[] = { "{u}:s", "{u}:i", "{u}:c", "{u}:u" };


static const char  *names[STORE_COUNTS] = {
    "calls served",
    "calls refused",
    "a session on two instances, excused",
    "store restarted empty",
    "store failed over without its last writes",
    "leases entered again",
    "leases entered again that their instance has ended",
    "operators' words on drains",
    "instances added",
    "instances removed",
    "words that nobody has any more",
    "refused, as the user has enough sessions",
    "sessions moved by operators",
    "releases that were told late",
    "quiet rounds",
    "STORE: a session without its instance",
    "STORE: an instance without its session",
    "an epoch not above an older one of the instance",
    "a bound call refused",
    "busy, and an instance is free",
    "a session on two instances, no excuse",
    "QUIET: the store does not know an owner",
    "QUIET: a session on two instances",
    "QUIET: a lease that its instance has not",
    "QUIET: a free instance that refuses the next session",
    "a lease on an instance that is drained",
    "QUIET: an operator's last word does not hold",
    "a limit that was not kept, or kept too well",
    "STORE: an entry of a user without its record, or without one"
};


const char *
store_model_name(store_count_t count)
{
    return names[count];
}


unsigned
store_model_pick(store_model_t *m, unsigned below)
{
    uint64_t  x;

    x = m->random += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);

    return (unsigned) ((x ^ (x >> 31)) >> 33) % below;
}


static void
command(store_model_t *m, const char *const *texts)
{
    freeReplyObject(store_server_ask(m->c, texts));
}


static uint64_t
store_now(const store_model_t *m)
{
    return (uint64_t) ((int64_t) m->now + m->moved);
}


/* after an answer in the pipeline was asked for */

static redisReply *
next_reply(store_model_t *m)
{
    void  *r;

    ck_assert_int_eq(redisGetReply(m->c, &r), REDIS_OK);
    ck_assert_int_ne(((redisReply *) r)->type, REDIS_REPLY_ERROR);

    return r;
}


static void
append_clock(store_model_t *m)
{
    ck_assert_int_eq(redisAppendCommand(m->c, "SET {u}:clock %llu000",
                                        (unsigned long long) store_now(m)),
                     REDIS_OK);
}


static void
set_clock(store_model_t *m)
{
    append_clock(m);
    freeReplyObject(next_reply(m));
}


static void
empty(store_model_t *m)
{
    command(m, (const char *[]) { "FLUSHALL", NULL });
    store_server_load(m->c, m->script, m->sha);
    set_clock(m);
}


bool
store_model_record(const char *text, store_record_t *record)
{
    int                 n;
    char                flags[64], subject[64];
    unsigned long long  epoch, expires;

    n = 0;

    if (sscanf(text, "%llu %llu %63s %63s %n", &epoch, &expires, flags,
               subject, &n)
        != 4)
    {
        return false;
    }

    record->epoch = epoch;
    record->expires = expires;
    record->confirmed = strchr(flags, 't') == NULL;
    store_words_parse(flags, record->words);
    record->said = strstr(subject, ":k") != NULL;
    record->session = text[n] == 's' ? atoi(text + n + 1) : -1;

    return true;
}


/* The clock, and all that the store has, in one round trip. */

void
store_model_records(store_model_t *m, store_record_t records[STORE_INSTANCES],
    bool there[STORE_INSTANCES], int sessions[STORE_SESSIONS])
{
    int          k;
    size_t       i;
    redisReply  *r;

    append_clock(m);
    ck_assert_int_eq(redisAppendCommand(m->c, "HGETALL {u}:i"), REDIS_OK);
    ck_assert_int_eq(redisAppendCommand(m->c, "HGETALL {u}:s"), REDIS_OK);
    freeReplyObject(next_reply(m));

    memset(there, 0, STORE_INSTANCES * sizeof(bool));

    r = next_reply(m);

    for (i = 0; i + 1 < r->elements; i += 2) {
        k = atoi(r->element[i]->str + 1);
        there[k] = true;
        ck_assert_msg(store_model_record(r->element[i + 1]->str, &records[k]),
                      "bad record: %s", r->element[i + 1]->str);
    }

    freeReplyObject(r);

    for (k = 0; k < STORE_SESSIONS; k++) {
        sessions[k] = -1;
    }

    r = next_reply(m);

    for (i = 0; i + 1 < r->elements; i += 2) {
        sessions[atoi(r->element[i]->str + 1)]
                                       = atoi(r->element[i + 1]->str + 1);
    }

    freeReplyObject(r);
}


bool
store_model_free_instance(store_model_t *m, unsigned tried)
{
    int             i, sessions[STORE_SESSIONS];
    bool            there[STORE_INSTANCES];
    store_record_t  records[STORE_INSTANCES];

    store_model_records(m, records, there, sessions);

    for (i = 0; i < STORE_INSTANCES; i++) {
        if (!(tried & 1U << i) && m->instances[i].alive
            && m->instances[i].owner == -1
            && (!there[i] || (records[i].expires <= store_now(m)
                              && !records[i].words[STORE_DRAIN].on)))
        {
            return true;
        }
    }

    return false;
}


void
store_model_given(store_model_t *m, int instance)
{
    char            name[24];
    redisReply     *r;
    store_record_t  record;

    r = store_server_ask(m->c, (const char *[]) { "HGET", "{u}:i",
                               name_text('i', instance, name), NULL });
    ck_assert(store_model_record(r->str, &record));
    freeReplyObject(r);

    if (record.words[STORE_DRAIN].on) {
        m->counts[STORE_DRAINED_GIVEN]++;
    }
}


static void
check_store(store_model_t *m)
{
    int             i, s, sessions[STORE_SESSIONS];
    bool            there[STORE_INSTANCES];
    store_record_t  records[STORE_INSTANCES];

    store_model_records(m, records, there, sessions);

    for (s = 0; s < STORE_SESSIONS; s++) {
        i = sessions[s];

        if (i != -1 && (!there[i] || records[i].session != s)) {
            m->counts[STORE_LOST_SESSION]++;
        }
    }

    for (i = 0; i < STORE_INSTANCES; i++) {
        if (there[i] && records[i].session != -1
            && sessions[records[i].session] != i)
        {
            m->counts[STORE_LOST_INSTANCE]++;
        }
    }

    store_limit_check(m, there, records);
}


static void
check_quiet(store_model_t *m)
{
    int                i, g, s, owners, sessions[STORE_SESSIONS];
    bool               there[STORE_INSTANCES];
    uint64_t           epoch;
    store_record_t     records[STORE_INSTANCES];
    store_instance_t  *inst;

    store_model_records(m, records, there, sessions);

    for (s = 0; s < STORE_SESSIONS; s++) {
        owners = 0;

        for (i = 0; i < STORE_INSTANCES; i++) {
            inst = &m->instances[i];

            if (inst->alive && inst->owner == s) {
                owners++;

                if (sessions[s] != i) {
                    m->counts[STORE_QUIET_UNKNOWN]++;
                }
            }
        }

        if (owners > 1) {
            m->counts[STORE_QUIET_TWO]++;
        }
    }

    for (i = 0; i < STORE_INSTANCES; i++) {
        inst = &m->instances[i];

        if (!inst->alive || !there[i]) {
            continue;
        }

        if (records[i].session != -1 && records[i].confirmed
            && records[i].expires > m->now
            && inst->owner != records[i].session)
        {
            m->counts[STORE_QUIET_ZOMBIE]++;
        }

        if (records[i].session == -1 && inst->owner == -1) {
            epoch = records[i].epoch;

            for (g = 0; g < STORE_GATEWAYS; g++) {
                if (m->gateways[g].seen > epoch) {
                    epoch = m->gateways[g].seen;
                }
            }

            if (epoch + 1 < inst->floor) {
                m->counts[STORE_QUIET_CLOSED]++;
            }
        }
    }
}


void
store_model_quiet(store_model_t *m)
{
    int            g, i, round;
    store_words_t  words[STORE_INSTANCES];

    m->down = false;
    m->moved = 0;
    set_clock(m);
    store_words_last(m, words);

    for (g = 0; g < STORE_GATEWAYS; g++) {
        m->gateways[g].reachable = true;
    }

    for (round = 0; round < 3; round++) {
        for (g = 0; g < STORE_GATEWAYS; g++) {
            store_gateway_stream(m, &m->gateways[g]);
            store_gateway_tell(m, &m->gateways[g]);
            store_gateway_renew(m, &m->gateways[g]);

            for (i = 0; i < STORE_INSTANCES; i++) {
                store_gateway_health(m, &m->gateways[g], i);
            }
        }

        for (g = 0; g < STORE_GATEWAYS; g++) {
            store_gateway_stream(m, &m->gateways[g]);
        }
    }

    for (i = 0; i < STORE_INSTANCES; i++) {
        store_instance_tick(m, &m->instances[i]);
    }

    m->counts[STORE_QUIET]++;
    check_quiet(m);
    store_words_check(m, words);
}


/* all gateways connect anew */

static void
apart(store_model_t *m)
{
    int  g;

    for (g = 0; m->variant != STORE_ONCE && g < STORE_GATEWAYS; g++) {
        store_gateway_apart(&m->gateways[g]);
    }
}


static void
forget_copy(store_model_t *m)
{
    int  k;

    for (k = 0; m->copied && k <= HASHES; k++) {
        freeReplyObject(m->copy[k]);
    }

    m->copied = 0;
}


static void
take_copy(store_model_t *m)
{
    int  k;

    forget_copy(m);

    for (k = 0; k < HASHES; k++) {
        m->copy[k] = store_server_ask(m->c, (const char *[]) { "HGETALL",
                                                       keys[k], NULL });
    }

    m->copy[k] = store_server_ask(m->c, (const char *[]) { "ZRANGE", keys[k],
                                          "0", "-1", "WITHSCORES", NULL });

    m->copied = m->steps + 1;
}


/* a replica that has not the last writes becomes the master */

static void
fail_over(store_model_t *m)
{
    int     k;
    size_t  i;

    if (!m->copied || m->steps + 1 - m->copied >= 60) {
        return;
    }

    for (k = 0; k <= HASHES; k++) {
        command(m, (const char *[]) { "DEL", keys[k], NULL });

        for (i = 0; i + 1 < m->copy[k]->elements; i += 2) {
            command(m, (const char *[]) { k < HASHES ? "HSET" : "ZADD",
                                          keys[k],
                                          m->copy[k]->element[i + (k == HASHES)]
                                          ->str,
                                          m->copy[k]->element[i + (k < HASHES)]
                                          ->str,
                                          NULL });
        }
    }

    forget_copy(m);
    apart(m);
    m->counts[STORE_FAILED_OVER]++;
}


static void
fault(store_model_t *m, unsigned p)
{
    int                g, i;
    store_instance_t  *inst;

    static const int64_t  clocks[] = { 0, 0, -3600000, 3600000, 20000 };

    if (p < 5) {
        g = (int) store_model_pick(m, STORE_GATEWAYS);
        m->gateways[g].reachable = false;
        store_gateway_apart(&m->gateways[g]);

    } else if (p < 15) {
        m->gateways[store_model_pick(m, STORE_GATEWAYS)].reachable = true;

    } else if (p < 20) {
        g = (int) store_model_pick(m, STORE_GATEWAYS);
        store_gateway_reset(&m->gateways[g]);

        for (i = 0; i < STORE_INSTANCES; i++) {
            store_gateway_health(m, &m->gateways[g], i);
        }

    } else if (p < 25) {
        m->down = !m->down && store_model_pick(m, 10) < 3;
        apart(m);

    } else if (p < 30) {
        empty(m);
        forget_copy(m);
        m->counts[STORE_EMPTIED]++;
        apart(m);

    } else if (p < 40) {
        take_copy(m);

    } else if (p < 50) {
        fail_over(m);

    } else if (p < 65) {
        inst = &m->instances[store_model_pick(m, STORE_INSTANCES)];

        if (inst->alive) {
            inst->alive = store_model_pick(m, 10) >= 6;

        } else {
            store_instance_reset(inst);
        }

    } else if (p < 67 && m->skew) {
        m->moved = clocks[store_model_pick(m, 5)];
    }
}


void
store_model_step(store_model_t *m)
{
    int               session;
    unsigned          p;
    store_gateway_t  *g;

    g = &m->gateways[store_model_pick(m, STORE_GATEWAYS)];
    session = (int) store_model_pick(m, STORE_SESSIONS);
    p = store_model_pick(m, 1000);

    if (p < 535) {
        store_gateway_call(m, g, session);

    } else if (p < 550) {
        store_gateway_move(m, g, session);

    } else if (p < 630) {
        store_gateway_renew(m, g);

    } else if (p < 750) {
        store_gateway_stream(m, g);

    } else if (p < 830) {
        store_gateway_health(m, g,
                             (int) store_model_pick(m, STORE_INSTANCES));

    } else if (p < 870) {
        store_gateway_release(m, g, session);

    } else if (p < 937) {
        fault(m, p - 870);

    } else if (p < 965) {
        store_gateway_say(m, g, (int) store_model_pick(m, STORE_INSTANCES),
                          STORE_DRAIN, p < 945);

    } else if (p < 980) {
        store_gateway_tell(m, g);

    } else {
        store_gateway_say(m, g, STORE_FIXED + (int) store_model_pick(m,
                                            STORE_INSTANCES - STORE_FIXED),
                          STORE_MEMBER, p < 991);
    }

    m->now += store_model_pick(m, STORE_STEP);
    m->steps++;

    check_store(m);
}


void
store_model_create(store_model_t *m, redisContext *c, uint64_t seed,
    store_variant_t variant, bool skew, bool limited)
{
    int  i;

    memset(m, 0, sizeof(store_model_t));

    m->c = c;
    m->random = seed;
    m->variant = variant;
    m->skew = skew;
    m->limited = limited;
    m->now = 1000000000;

    m->script = store_server_script("call('TIME')",
                                    "{0, call('GET', '{u}:clock')}");

    if (variant == STORE_COUNTER) {
        m->script = store_server_replace(m->script,
                          "math.max(highest(), believed(seen), us)",
                          "highest()");
    }

    if (variant == STORE_NO_TOMBSTONES) {
        m->script = store_server_replace(m->script,
                "put(inst, r, e, now + tonumber(ARGV[6]), 'c', '-', '')",
                "call('HDEL', I, inst)");
    }

    if (variant == STORE_HINTS) {
        m->script = store_server_replace(m->script,
                                         "if n < max then return false end",
                                         "do return n >= max end");
    }

    if (variant == STORE_NO_STAMPS) {
        m->script = store_server_replace(m->script, "st > stamp(r[k])",
                                         "r[k] ~= w .. str(st)");
    }

    for (i = 0; i < STORE_INSTANCES; i++) {
        store_instance_reset(&m->instances[i]);
    }

    for (i = 0; i < STORE_GATEWAYS; i++) {
        m->gateways[i].reachable = true;
    }

    empty(m);
}


void
store_model_free(store_model_t *m)
{
    forget_copy(m);
    free(m->script);
}
