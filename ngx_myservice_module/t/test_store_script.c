/*
 * The verbs of the store's script, one by one, in a real server.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "store_server.h"


static redisContext  *store;
static char           sha[41];


static void
setup(const char *find, const char *by)
{
    char  *script;

    store_server_start(0, NULL);
    store = store_server_connect();
    script = store_server_script(find, by);
    store_server_load(store, script, sha);
    free(script);
}


#define ask(...)                                                              \
    store_server_eval(store, sha, (const char *[]) { __VA_ARGS__, NULL })

/* the text "i" of the answer, static */

static const char *
text(redisReply *r, size_t i)
{
    static char  copy[4][128];
    static int   next;
    char        *p;

    ck_assert_int_eq(r->type, REDIS_REPLY_ARRAY);
    ck_assert_uint_gt(r->elements, i);
    ck_assert_int_eq(r->element[i]->type, REDIS_REPLY_STRING);

    p = copy[next++ % 4];
    snprintf(p, sizeof(copy[0]), "%s", r->element[i]->str);

    return p;
}


/* frees the answer */

static uint64_t
epoch_of(redisReply *r, const char *what, const char *instance)
{
    uint64_t  epoch;

    ck_assert_str_eq(text(r, 0), what);
    ck_assert_str_eq(text(r, 1), instance);
    epoch = strtoull(text(r, 2), NULL, 10);
    ck_assert_uint_gt(strtoull(text(r, 3), NULL, 10), 0);
    freeReplyObject(r);

    return epoch;
}


static void
first_text_is(redisReply *r, const char *what)
{
    ck_assert_str_eq(text(r, 0), what);
    freeReplyObject(r);
}


/* until no lease of the instance is valid */

static void
await_end(const char *instance)
{
    size_t       i;
    long long    since;
    bool         valid;
    redisReply  *r;

    since = harness_now();

    for ( ;; ) {
        r = ask("list", "g1", "0", "100");
        valid = false;

        for (i = 0; i + 5 < r->element[4]->elements; i += 6) {
            valid |= strcmp(text(r->element[4], i), instance) == 0
                     && strcmp(text(r->element[4], i + 2), "0") != 0;
        }

        freeReplyObject(r);

        if (!valid) {
            return;
        }

        harness_pause(since, "the lease does not end");
    }
}


START_TEST(claims)
{
    char      number[24];
    uint64_t  first, second;

    setup(NULL, NULL);

    first = epoch_of(ask("claim", "g1", "s1", "10000", "0", "", "0", "-",
                         "0", "-", "a", "b"), "new", "a");

    /* microseconds of the real time */

    ck_assert_uint_gt(first, UINT64_C(1600000000000000));

    /* whoever asks, and whatever it prefers */

    second = epoch_of(ask("claim", "g2", "s1", "10000", "0", "", "0", "-",
                          "0", "-", "b", "a"), "own", "a");
    ck_assert_uint_eq(first, second);

    /* another session: the first that is free, above what a gateway saw */

    snprintf(number, sizeof(number), "%llu",
             (unsigned long long) first + 5000000000);
    second = epoch_of(ask("claim", "g1", "s2", "10000", number, "", "0",
                          "-", "0", "-", "a", "b"), "new", "b");
    ck_assert_uint_eq(second, first + 5000000001);

    /* neither a drained instance nor one with an owner */

    freeReplyObject(ask("operator", "g1", "c", "d", "1"));
    first_text_is(ask("claim", "g1", "s3", "10000", "0", "", "0", "-", "0",
                      "-", "b", "a", "c"), "busy");

    /* no candidates: a question only for what the session has */

    first_text_is(ask("claim", "g1", "s3", "10000", "0", "", "0", "-", "0",
                      "-"),
                  "busy");

    /* one whose lease is over is free, wherever it stands */

    (void) epoch_of(ask("claim", "g1", "s3", "1", "0", "", "0", "-", "0",
                        "-", "d"), "new", "d");
    await_end("d");
    second = epoch_of(ask("claim", "g1", "s4", "10000", "0", "", "0", "-",
                          "0", "-", "b", "c", "a", "d", "e"), "new", "d");
    ck_assert_uint_gt(second, first);
}
END_TEST


START_TEST(moves)
{
    char      number[24];
    uint64_t  first, second;

    setup(NULL, NULL);

    first = epoch_of(ask("claim", "g1", "s1", "10000", "0", "", "0", "-",
                         "0", "-", "a"), "new", "a");
    snprintf(number, sizeof(number), "%llu", (unsigned long long) first);

    second = epoch_of(ask("claim", "g1", "s1", "10000", "0", "a", number,
                          "-", "0", "-", "a", "b"), "new", "b");
    ck_assert_uint_gt(second, first);

    /* another gateway that leaves the same lease gets the new one */

    ck_assert_uint_eq(epoch_of(ask("claim", "g2", "s1", "10000", "0", "a",
                                   number, "-", "0", "-", "c"), "own", "b"),
                      second);

    /* nobody is where it was: "a" is free again, above the tombstone */

    ck_assert_uint_gt(epoch_of(ask("claim", "g1", "s2", "10000", "0", "",
                                   "0", "-", "0", "-", "a"), "new", "a"),
                      second);
}
END_TEST


START_TEST(subjects)
{
    setup(NULL, NULL);

    (void) epoch_of(ask("claim", "g1", "s1", "10000", "0", "", "0", "u1",
                        "0", "-", "a"), "new", "a");
    (void) epoch_of(ask("claim", "g1", "s1", "10000", "0", "", "0", "-",
                        "0", "-", "a"), "own", "a");
    (void) epoch_of(ask("claim", "g1", "s1", "10000", "0", "", "0", "u2",
                        "0", "-", "a"), "denied", "a");
    (void) epoch_of(ask("claim", "g1", "s1", "10000", "0", "", "0", "u1",
                        "0", "-", "a"), "own", "a");
}
END_TEST


/* the answer to "operator": nothing differs, or one instance has that word */

static void
drain_is(redisReply *r, const char *word, const char *stamp)
{
    ck_assert_int_eq(r->type, REDIS_REPLY_ARRAY);
    ck_assert_uint_eq(r->elements, 2);

    if (word == NULL) {
        ck_assert_uint_eq(r->element[1]->elements, 0);

    } else {
        ck_assert_uint_eq(r->element[1]->elements, 3);
        ck_assert_str_eq(text(r->element[1], 0), "a");
        ck_assert_str_eq(text(r->element[1], 1), word);
        ck_assert_str_eq(text(r->element[1], 2), stamp);
    }

    freeReplyObject(r);
}


START_TEST(drains)
{
    redisReply  *r;

    setup(NULL, NULL);

    drain_is(ask("operator", "g1", "a", "d", "1700000000000001"), NULL, NULL);
    (void) epoch_of(ask("claim", "g1", "s1", "10000", "0", "", "0", "-",
                        "0", "-", "a", "b"), "new", "b");

    drain_is(ask("operator", "g1", "a", "-", "1700000000000002"), NULL, NULL);
    (void) epoch_of(ask("claim", "g1", "s2", "10000", "0", "", "0", "-",
                        "0", "-", "a", "b"), "new", "a");

    /* an owner stays */

    drain_is(ask("operator", "g1", "a", "d", "1700000000000003"), NULL, NULL);
    (void) epoch_of(ask("claim", "g1", "s2", "10000", "0", "", "0", "-",
                        "0", "-", "b"), "own", "a");

    r = ask("list", "g1", "0", "100");
    ck_assert_uint_eq(r->elements, 5);
    ck_assert_str_eq(text(r, 3), "0");
    ck_assert_str_eq(text(r, 2), "5");
    ck_assert_uint_eq(r->element[4]->elements, 12);
    freeReplyObject(r);
}
END_TEST


/* the last word of an operator counts, whichever gateway tells it when */

START_TEST(words)
{
    redisReply  *r;

    setup(NULL, NULL);

    drain_is(ask("operator", "g1", "a", "-", "20"), NULL, NULL);
    drain_is(ask("operator", "g2", "a", "d", "10"), "-", "20");
    drain_is(ask("operator", "g2", "a", "-", "20"), NULL, NULL);

    /* the first of two that are as late stays */

    drain_is(ask("operator", "g2", "a", "d", "20"), "-", "20");
    drain_is(ask("operator", "g1", "a", "d", "21", "b", "d", "5"), NULL, NULL);
    drain_is(ask("operator", "g2", "b", "d", "5", "a", "-", "7"), "d", "21");

    first_text_is(ask("claim", "g1", "s1", "10000", "0", "", "0", "-", "0",
                      "-", "a", "b"), "busy");

    r = ask("list", "g1", "0", "100");
    ck_assert_uint_eq(r->element[4]->elements, 12);
    ck_assert(strcmp(text(r->element[4], 3), "d21c") == 0
              || strcmp(text(r->element[4], 9), "d21c") == 0);
    freeReplyObject(r);

    /* three words were news */

    r = store_server_ask(store, (const char *[]) { "XLEN", "{u}:log", NULL });
    ck_assert_int_eq(r->integer, 3);
    freeReplyObject(r);
}
END_TEST


/* words on membership beside those on drains: neither changes the other */

START_TEST(members)
{
    redisReply  *r;

    setup(NULL, NULL);

    drain_is(ask("operator", "g1", "a", "a", "20"), NULL, NULL);
    drain_is(ask("operator", "g2", "a", "r", "10"), "a", "20");
    drain_is(ask("operator", "g2", "a", "d", "5"), NULL, NULL);
    r = ask("list", "g1", "0", "100");
    ck_assert_str_eq(text(r->element[4], 3), "d5a20c");
    freeReplyObject(r);

    drain_is(ask("operator", "g2", "a", "-", "6", "a", "r", "21"), NULL, NULL);
    drain_is(ask("operator", "g1", "a", "a", "21"), "r", "21");
    drain_is(ask("operator", "g1", "a", "d", "5"), "-", "6");

    /* who names it has it by the configuration */

    (void) epoch_of(ask("claim", "g1", "s1", "10000", "0", "", "0", "-",
                        "0", "-", "a"), "new", "a");
    r = ask("list", "g1", "0", "100");
    ck_assert_str_eq(text(r->element[4], 3), "-6r21t");
    ck_assert_str_eq(text(r->element[4], 5), "s1");
    freeReplyObject(r);
}
END_TEST


/* the last word on a revocation counts, and none is kept for ever */

START_TEST(revocations)
{
    redisReply  *r;

    setup("FORGET = 86400000", "FORGET = 1000");

    r = ask("revoke", "g1", "a", "20", "1990000000", "twenty", "b", "5",
            "1000000000", "past");
    ck_assert_uint_eq(r->element[1]->elements, 0);
    freeReplyObject(r);

    r = ask("revoke", "g2", "a", "10", "1990000000", "ten");
    ck_assert_uint_eq(r->element[1]->elements, 1);
    ck_assert_str_eq(text(r->element[1], 0), "twenty");
    freeReplyObject(r);

    r = ask("revoke", "g2", "a", "20", "1990000000", "twenty");
    ck_assert_uint_eq(r->element[1]->elements, 0);
    freeReplyObject(r);

    r = ask("revoke", "g2", "a", "21", "1990000000", "a b c");
    ck_assert_uint_eq(r->element[1]->elements, 0);
    freeReplyObject(r);

    r = ask("revoked", "g1", "0", "100");
    ck_assert_uint_eq(r->elements, 5);
    ck_assert_str_eq(text(r, 2), "3");
    ck_assert_str_eq(text(r, 3), "0");
    ck_assert_uint_eq(r->element[4]->elements, 1);
    ck_assert_str_eq(text(r->element[4], 0), "a b c");
    freeReplyObject(r);

    r = store_server_ask(store, (const char *[]) { "HLEN", "{u}:r", NULL });
    ck_assert_int_eq(r->integer, 1);
    freeReplyObject(r);

    /* three words were news */

    r = store_server_ask(store, (const char *[]) { "XLEN", "{u}:log", NULL });
    ck_assert_int_eq(r->integer, 3);
    freeReplyObject(r);
}
END_TEST


/* also while no gateway reads them all, and there are too many for one look */

START_TEST(revocations_end)
{
    int          i;
    char         id[16];
    redisReply  *r;

    setup("FORGET = 86400000", "FORGET = 1000");

    freeReplyObject(ask("revoke", "g1", "a", "2", "1990000000", "a"));

    for (i = 0; i < 500; i++) {
        snprintf(id, sizeof(id), "%d", i);
        freeReplyObject(ask("revoke", "g1", id, "1", "1000000000", "b"));
    }

    r = store_server_ask(store, (const char *[]) { "HLEN", "{u}:r", NULL });
    ck_assert_int_lt(r->integer, 64);
    freeReplyObject(r);

    r = ask("revoke", "g1", "a", "1", "1990000000", "b");
    ck_assert_str_eq(text(r->element[1], 0), "a");
    freeReplyObject(r);
}
END_TEST


START_TEST(ends)
{
    char      number[24];
    uint64_t  epoch;

    setup(NULL, NULL);

    epoch = epoch_of(ask("claim", "g1", "s1", "10000", "0", "", "0", "-",
                         "0", "-", "a"), "new", "a");
    snprintf(number, sizeof(number), "%llu", (unsigned long long) epoch);

    first_text_is(ask("release", "g1", "s2", "a", number, "0"), "no");
    first_text_is(ask("release", "g1", "s1", "a", "1", "0"), "no");
    first_text_is(ask("release", "g1", "s1", "a", number, "60000"), "ok");

    /* the instance rests */

    first_text_is(ask("claim", "g1", "s2", "10000", "0", "", "0", "-", "0",
                      "-", "a"), "busy");
}
END_TEST


START_TEST(renewals)
{
    char         number[24];
    uint64_t     epoch;
    redisReply  *r;

    setup(NULL, NULL);

    epoch = epoch_of(ask("claim", "g1", "s1", "10000", "0", "", "0", "-",
                         "0", "-", "a"), "new", "a");
    snprintf(number, sizeof(number), "%llu", (unsigned long long) epoch);

    /* what is as the gateway says is not answered; the second is unknown, the
     * third another session's, the fourth an older epoch */

    r = ask("renew", "g1",
            "s1", "a", number, "60000", "-",
            "s2", "b", "7", "60000", "u2",
            "s3", "a", number, "60000", "-",
            "s1", "a", "5", "60000", "-");
    ck_assert_uint_eq(r->elements, 2);
    ck_assert_uint_eq(r->element[1]->elements, 12);
    ck_assert_str_eq(text(r->element[1], 0), "1");
    ck_assert_str_eq(text(r->element[1], 1), "asserted");
    ck_assert_str_eq(text(r->element[1], 4), "2");
    ck_assert_str_eq(text(r->element[1], 5), "taken");
    ck_assert_str_eq(text(r->element[1], 8), "3");
    ck_assert_str_eq(text(r->element[1], 9), "epoch");
    ck_assert_str_eq(text(r->element[1], 11), number);
    freeReplyObject(r);

    /* what was asserted has its subject, and is confirmed */

    (void) epoch_of(ask("claim", "g2", "s2", "10000", "0", "", "0", "u3",
                        "0", "-", "a"), "denied", "b");

    r = ask("list", "g1", "0", "100");
    ck_assert_uint_eq(r->element[4]->elements, 12);
    ck_assert_str_eq(text(r->element[4], 3), "-c");
    ck_assert_str_eq(text(r->element[4], 9), "-c");
    freeReplyObject(r);

    /* a lease that was released is not entered again */

    first_text_is(ask("release", "g2", "s1", "a", number, "0"), "ok");
    r = ask("renew", "g1", "s1", "a", number, "60000", "-");
    ck_assert_str_eq(text(r->element[1], 1), "ended");
    freeReplyObject(r);
}
END_TEST


START_TEST(young)
{
    setup(NULL, NULL);

    /* a lease of before the store was emptied may be entered at once */

    first_text_is(ask("claim", "g1", "s1", "10000", "0", "", "0", "-",
                      "60000", "-", "a"), "young");
    freeReplyObject(ask("renew", "g1", "s1", "a", "7", "60000", "-"));
    (void) epoch_of(ask("claim", "g1", "s1", "10000", "0", "", "0", "-",
                        "60000", "-", "b"), "own", "a");
    first_text_is(ask("claim", "g1", "s2", "10000", "0", "", "0", "-",
                      "60000", "-", "b"), "young");
    (void) epoch_of(ask("claim", "g1", "s2", "10000", "0", "", "0", "-",
                        "0", "-", "b"), "new", "b");
}
END_TEST


/* what has ended a day ago is not kept for ever */

START_TEST(forgets)
{
    size_t       i;
    redisReply  *r;

    setup("FORGET = 86400000", "FORGET = -1000000");

    (void) epoch_of(ask("claim", "g1", "s1", "10", "0", "", "0", "-", "0",
                        "-", "a"), "new", "a");
    drain_is(ask("operator", "g1", "b", "d", "1"), NULL, NULL);
    drain_is(ask("operator", "g1", "c", "a", "1"), NULL, NULL);
    drain_is(ask("operator", "g1", "d", "r", "1", "d", "d", "2"), NULL, NULL);

    /* removed, also if it drained before */

    drain_is(ask("operator", "g1", "e", "r", "1"), NULL, NULL);
    drain_is(ask("operator", "g1", "f", "d", "1", "f", "r", "2"), NULL, NULL);

    r = ask("list", "g1", "0", "100");
    ck_assert_uint_eq(r->element[4]->elements, 18);

    for (i = 0; i < 18; i += 6) {
        ck_assert_int_ge(text(r->element[4], i)[0], 'b');
        ck_assert_int_le(text(r->element[4], i)[0], 'd');
    }

    freeReplyObject(r);

    r = store_server_ask(store, (const char *[]) { "HLEN", "{u}:s", NULL });
    ck_assert_int_eq(r->integer, 0);
    freeReplyObject(r);
}
END_TEST


START_TEST(stream)
{
    size_t       i;
    redisReply  *r;

    static const char  *ops[] = { "claim", "leave", "claim", "release",
                                  "drain", "undrain", "add", "remove" };

    char         number[24];
    uint64_t     epoch;

    setup(NULL, NULL);

    epoch = epoch_of(ask("claim", "g1", "s1", "10000", "0", "", "0", "-",
                         "0", "-", "a"), "new", "a");
    snprintf(number, sizeof(number), "%llu", (unsigned long long) epoch);
    epoch = epoch_of(ask("claim", "g1", "s1", "10000", "0", "a", number,
                         "-", "0", "-", "b"), "new", "b");
    snprintf(number, sizeof(number), "%llu", (unsigned long long) epoch);
    first_text_is(ask("release", "g1", "s1", "b", number, "1"), "ok");
    drain_is(ask("operator", "g1", "a", "d", "1"), NULL, NULL);
    drain_is(ask("operator", "g1", "a", "-", "2"), NULL, NULL);
    drain_is(ask("operator", "g1", "a", "a", "1"), NULL, NULL);
    drain_is(ask("operator", "g1", "a", "r", "2"), NULL, NULL);

    r = store_server_ask(store, (const char *[]) { "XRANGE", "{u}:log", "-",
                                                   "+", NULL });
    ck_assert_uint_eq(r->elements, sizeof(ops) / sizeof(ops[0]));

    for (i = 0; i < r->elements; i++) {
        redisReply  *f = r->element[i]->element[1];

        /* numbered from 1 on */

        ck_assert_uint_eq(strtoul(f->element[1]->str, NULL, 10), i + 1);
        ck_assert_str_eq(f->element[3]->str, ops[i]);
        ck_assert_str_eq(f->element[11]->str, "g1");
    }

    freeReplyObject(r);
}
END_TEST


/* "who" is a subject and a user, who may have two sessions */

#define claim_of(session, ttl, who)                                           \
    ask("claim", "g1", session, ttl, "0", "", "0", who, "0", "2", "a", "b",   \
        "c", "d")

/* what KEYS[5] has, static */

static const char *
users(void)
{
    size_t       i;
    redisReply  *r;
    static char  list[256];

    list[0] = '\0';
    r = store_server_ask(store, (const char *[]) { "ZRANGE", "{u}:u", "0",
                                                   "-1", NULL });

    for (i = 0; i < r->elements; i++) {
        strcat(strcat(list, i > 0 ? "," : ""), r->element[i]->str);
    }

    freeReplyObject(r);

    return list;
}


START_TEST(limits)
{
    char      number[24];
    uint64_t  epoch;

    setup(NULL, NULL);

    epoch = epoch_of(claim_of("s1", "10000", "u1:k1"), "new", "a");
    snprintf(number, sizeof(number), "%llu", (unsigned long long) epoch);
    (void) epoch_of(claim_of("s2", "10000", "u1:k1"), "new", "b");
    ck_assert_str_eq(users(), "k1 a,k1 b");
    first_text_is(claim_of("s3", "10000", "u1:k1"), "limit");

    /* also if no instance is named, or the user may have none */

    first_text_is(ask("claim", "g1", "s3", "10000", "0", "", "0", "u1:k1",
                      "0", "2"), "limit");
    first_text_is(ask("claim", "g1", "s3", "10000", "0", "", "0", "u1:k2",
                      "0", "0", "c"), "limit");

    /* its own sessions, other users, another subject of the user, a limit
     * that is higher, and none */

    (void) epoch_of(claim_of("s1", "10000", "u1:k1"), "own", "a");
    first_text_is(claim_of("s3", "10000", "u2:k1"), "limit");
    epoch_of(claim_of("s3", "10000", "u1:k"), "new", "c");
    first_text_is(ask("claim", "g1", "s4", "10000", "0", "", "0", "u1:k1",
                      "0", "3"), "busy");
    (void) epoch_of(ask("claim", "g1", "s4", "10000", "0", "", "0", "u1",
                        "0", "-", "d"), "new", "d");

    /* a move, also to where another gateway has it */

    drain_is(ask("operator", "g1", "d", "d", "1"), NULL, NULL);
    first_text_is(ask("claim", "g1", "s1", "10000", "0", "a", number,
                      "u1:k1", "0", "2", "e"), "new");
    ck_assert_str_eq(users(), "k c,k1 b,k1 e");
    first_text_is(ask("claim", "g2", "s1", "10000", "0", "a", number,
                      "u1:k1", "0", "2", "f"), "own");
    first_text_is(claim_of("s5", "10000", "u1:k1"), "limit");
}
END_TEST


/* however a lease ends, it counts no more */

START_TEST(limit_ends)
{
    char         number[24];
    uint64_t     epoch;

    setup("FORGET = 86400000", "FORGET = -50000");

    epoch = epoch_of(claim_of("s1", "100000", "u1:k1"), "new", "a");
    snprintf(number, sizeof(number), "%llu", (unsigned long long) epoch);
    (void) epoch_of(claim_of("s2", "100000", "u1:k1"), "new", "b");

    /* released, given back: what is asked for "from" there is not a move */

    first_text_is(ask("release", "g1", "s1", "a", number, "0", "t"), "ok");
    ck_assert_str_eq(users(), "k1 b");
    epoch = epoch_of(claim_of("s3", "100000", "u1:k1"), "new", "a");
    first_text_is(ask("claim", "g1", "s1", "10000", "0", "a", number,
                      "u1:k1", "0", "2", "c"), "limit");

    /* an instance says that it serves nobody, or another session */

    snprintf(number, sizeof(number), "%llu", (unsigned long long) epoch);
    freeReplyObject(ask("renew", "g1", "s3", "a", number, "60000", "-"));
    first_text_is(ask("word", "g1", "a", "", "0", number, "60000", "0", "-"),
                  "ok");
    ck_assert_str_eq(users(), "k1 b");
    epoch = epoch_of(claim_of("s3", "100000", "u1:k1"), "new", "a");
    snprintf(number, sizeof(number), "%llu", (unsigned long long) epoch);
    first_text_is(claim_of("s4", "100000", "u1:k1"), "limit");
    first_text_is(ask("word", "g1", "a", "s9", number, number, "60000", "0",
                      "u9"), "ok");
    ck_assert_str_eq(users(), "k1 b");

    /* its time is over, whether somebody takes the instance or not */

    first_text_is(claim_of("s3", "0", "u1:k1"), "new");
    ck_assert_str_eq(users(), "k1 b,k1 c");
    first_text_is(claim_of("s4", "0", "u1:k1"), "new");
    (void) epoch_of(ask("claim", "g1", "s5", "100000", "0", "", "0", "-",
                        "0", "-", "c"), "new", "c");
    ck_assert_str_eq(users(), "k1 b");
    first_text_is(claim_of("s6", "0", "u1:k1"), "new");

    /* what has ended long ago is forgotten */

    freeReplyObject(ask("list", "g1", "0", "100"));
    ck_assert_str_eq(users(), "k1 b");
}
END_TEST


/* leases of which no call says whose they are count for the subject */

START_TEST(limit_subjects)
{
    setup(NULL, NULL);

    first_text_is(ask("word", "g1", "a", "s1", "7", "7", "60000", "0",
                      "u1:~"), "ok");
    ck_assert_str_eq(users(), "~u1 a");
    (void) epoch_of(claim_of("s2", "10000", "u1:k1"), "new", "b");
    first_text_is(claim_of("s3", "10000", "u1:k1"), "limit");
    (void) epoch_of(claim_of("s3", "10000", "u2:k2"), "new", "c");

    /* from its first call on it counts for the user, and stays that one's */

    (void) epoch_of(claim_of("s1", "10000", "u1:k3"), "own", "a");
    ck_assert_str_eq(users(), "k1 b,k2 c,k3 a");
    (void) epoch_of(claim_of("s1", "10000", "u1:k1"), "own", "a");
    (void) epoch_of(claim_of("s1", "10000", "u1:~"), "own", "a");
    (void) epoch_of(ask("claim", "g1", "s1", "10000", "0", "", "0", "u1",
                        "0", "-"), "own", "a");
    ck_assert_str_eq(users(), "k1 b,k2 c,k3 a");
    first_text_is(claim_of("s1", "10000", "u2:k3"), "denied");
}
END_TEST


/* what gateways enter again is never refused, and counts */

START_TEST(limit_asserted)
{
    redisReply  *r;

    setup(NULL, NULL);

    r = ask("renew", "g1", "s1", "a", "7", "60000", "u1:k1",
            "s2", "b", "8", "60000", "u1:k1", "s3", "c", "9", "60000", "-");
    ck_assert_uint_eq(r->element[1]->elements, 12);
    freeReplyObject(r);
    ck_assert_str_eq(users(), "k1 a,k1 b");
    first_text_is(claim_of("s4", "10000", "u1:k1"), "limit");

    /* another gateway knows whose the third one is */

    freeReplyObject(ask("renew", "g2", "s3", "c", "9", "60000", "u1:k1"));
    ck_assert_str_eq(users(), "k1 a,k1 b,k1 c");

    /* a session whose lease the store has lost moves; one that the store has
     * given and ended does not */

    first_text_is(ask("claim", "g1", "s5", "10000", "0", "e", "7", "u1:k1",
                      "0", "2", "d"), "new");
    first_text_is(ask("claim", "g1", "s6", "10000", "0", "a", "6", "u1:k1",
                      "0", "2", "f"), "limit");
    first_text_is(ask("claim", "g1", "s6", "10000", "0", "a", "7", "u1:k1",
                      "0", "2", "f"), "limit");
}
END_TEST


/* entries of leases that another version has ended do not count */

START_TEST(limit_corrects)
{
    setup(NULL, NULL);

    freeReplyObject(store_server_ask(store,
                        (const char *[]) { "ZADD", "{u}:u", "0", "k1 x", "0",
                                           "k1 y", "0", "k10 z", NULL }));
    (void) epoch_of(claim_of("s1", "10000", "u1:k1"), "new", "a");
    ck_assert_str_eq(users(), "k1 a,k10 z");
}
END_TEST


/* the clock of the store as a test sets it */

static void
clock_is(uint64_t seconds)
{
    char  text[32];

    snprintf(text, sizeof(text), "%llu000000", (unsigned long long) seconds);
    freeReplyObject(store_server_ask(store, (const char *[]) {
                                         "SET", "{u}:clock", text, NULL }));
}


/* it goes back by an hour, and forth again: epochs rise, nobody gets an instance
 * that another session has, and a lease that is renewed ends with its own time */

START_TEST(clock_moves)
{
    char         number[24];
    uint64_t     first, second, third;
    redisReply  *r;

    setup("call('TIME')", "{0, call('GET', '{u}:clock')}");
    clock_is(2000000000);

    first = epoch_of(ask("claim", "g1", "s1", "10000", "0", "", "0", "-",
                         "0", "-", "a"), "new", "a");
    snprintf(number, sizeof(number), "%llu", (unsigned long long) first);
    freeReplyObject(ask("renew", "g1", "s1", "a", number, "60000", "-"));

    clock_is(2000000000 - 3600);

    second = epoch_of(ask("claim", "g2", "s2", "10000", "0", "", "0", "-",
                          "3000", "-", "a", "b"), "new", "b");
    ck_assert_uint_gt(second, first);
    ck_assert_uint_eq(epoch_of(ask("claim", "g2", "s1", "10000", "0", "", "0",
                                   "-", "3000", "-", "c"), "own", "a"), first);

    r = ask("renew", "g1", "s1", "a", number, "60000", "-");
    ck_assert_uint_eq(r->element[1]->elements, 0);
    freeReplyObject(r);

    /* it is renewed no more, and ends within twice its time */

    clock_is(2000000000 - 3600 + 59);
    first_text_is(ask("claim", "g1", "s3", "10000", "0", "", "0", "-", "0",
                      "-", "a"), "busy");
    clock_is(2000000000 - 3600 + 121);
    third = epoch_of(ask("claim", "g1", "s3", "10000", "0", "", "0", "-", "0",
                         "-", "a"), "new", "a");
    ck_assert_uint_gt(third, second);

    /* an hour forth: all leases seem over, but the owner stays if it comes
     * first */

    clock_is(2000000000 + 3600);
    snprintf(number, sizeof(number), "%llu", (unsigned long long) third);
    r = ask("renew", "g1", "s3", "a", number, "60000", "-");
    ck_assert_uint_eq(r->element[1]->elements, 0);
    freeReplyObject(r);
    first_text_is(ask("claim", "g1", "s4", "10000", "0", "", "0", "-", "0",
                      "-", "a"), "busy");
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_script");
    harness_add(suite, claims);
    harness_add(suite, clock_moves);
    harness_add(suite, moves);
    harness_add(suite, subjects);
    harness_add(suite, drains);
    harness_add(suite, words);
    harness_add(suite, members);
    harness_add(suite, revocations);
    harness_add(suite, revocations_end);
    harness_add(suite, ends);
    harness_add(suite, renewals);
    harness_add(suite, young);
    harness_add(suite, forgets);
    harness_add(suite, stream);
    harness_add(suite, limits);
    harness_add(suite, limit_ends);
    harness_add(suite, limit_subjects);
    harness_add(suite, limit_asserted);
    harness_add(suite, limit_corrects);

    return harness_run(suite, "test_store_script");
}
