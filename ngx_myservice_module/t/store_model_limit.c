/*
 * The model: users, who have so many sessions at most.
 */

#include "store_model_gateway.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_server.h"


#define USER_SESSIONS  3
#define USER_MAX       2


const char *
store_limit_who(const store_model_t *m, int session, bool said, char text[24])
{
    if (!m->limited) {
        return "-";
    }

    snprintf(text, 24, said ? "u%d:k%d" : "u%d:~", session / USER_SESSIONS,
             session / USER_SESSIONS);

    return text;
}


const char *
store_limit_max(const store_model_t *m, char text[24])
{
    return m->limited ? number_text(USER_MAX, text) : "-";
}


/* What the store should say to a claim of the session that leaves "from". */

bool
store_limit_full(store_model_t *m, int session, int from, uint64_t epoch)
{
    int             i, n, sessions[STORE_SESSIONS];
    bool            there[STORE_INSTANCES];
    uint64_t        now;
    store_record_t  records[STORE_INSTANCES];

    if (!m->limited) {
        return false;
    }

    store_model_records(m, records, there, sessions);
    now = (uint64_t) ((int64_t) m->now + m->moved);

    for (i = 0, n = 0; i < STORE_INSTANCES; i++) {

        if (!there[i] || records[i].session == -1
            || records[i].expires <= now)
        {
            continue;
        }

        if (records[i].session == session) {
            return false;
        }

        n += records[i].session / USER_SESSIONS == session / USER_SESSIONS;
    }

    /* a move by what the store does not know */

    if (from != -1 && (!there[from] || records[from].epoch < epoch)) {
        return false;
    }

    return n >= USER_MAX;
}


/* There is an entry of a user exactly for each record of one. */

void
store_limit_check(store_model_t *m, const bool there[STORE_INSTANCES],
    const store_record_t records[STORE_INSTANCES])
{
    int          i, n;
    char         entry[64];
    size_t       k;
    redisReply  *r;

    if (!m->limited) {
        return;
    }

    r = store_server_ask(m->c, (const char *[]) { "ZRANGE", "{u}:u", "0", "-1",
                                                  NULL });

    for (i = 0, n = 0; i < STORE_INSTANCES; i++) {

        if (!there[i] || records[i].session == -1) {
            continue;
        }

        n++;
        snprintf(entry, sizeof(entry), "%s%d i%d",
                 records[i].said ? "k" : "~u",
                 records[i].session / USER_SESSIONS, i);

        for (k = 0; k < r->elements; k++) {
            if (strcmp(r->element[k]->str, entry) == 0) {
                break;
            }
        }

        if (k == r->elements) {
            m->counts[STORE_LOST_USER]++;
        }
    }

    if (r->elements != (size_t) n) {
        m->counts[STORE_LOST_USER]++;
    }

    freeReplyObject(r);
}
