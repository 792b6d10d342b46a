/*
 * The model: what a gateway does.
 */

#ifndef MODULE_T_STORE_MODEL_GATEWAY_H
#define MODULE_T_STORE_MODEL_GATEWAY_H


#include "store_model.h"


unsigned store_model_pick(store_model_t *m, unsigned below);

void store_gateway_reset(store_gateway_t *g);
void store_gateway_call(store_model_t *m, store_gateway_t *g, int session);
void store_gateway_move(store_model_t *m, store_gateway_t *g, int session);
void store_gateway_renew(store_model_t *m, store_gateway_t *g);
void store_gateway_stream(store_model_t *m, store_gateway_t *g);
void store_gateway_health(store_model_t *m, store_gateway_t *g,
    int instance);
void store_gateway_release(store_model_t *m, store_gateway_t *g,
    int session);

/* The store still has a lease that was released here: it is told so.  False: it
 * has not. */
bool store_gateway_over(store_model_t *m, store_gateway_t *g, int session,
    int instance, uint64_t epoch);

/* what an instance says of itself; "owner" -1: it serves nobody */
void store_gateway_word(store_model_t *m, store_gateway_t *g, int instance,
    int owner, uint64_t epoch, uint64_t asof);

/* an operator's word at this gateway, unless that has no such instance */
void store_gateway_say(store_model_t *m, store_gateway_t *g, int instance,
    store_kind_t kind, bool on);

/* a word that the store has; of two the later counts */
void store_gateway_hear(store_model_t *m, store_gateway_t *g, int instance,
    store_kind_t kind, bool on, uint64_t stamp);

/* all words of a record's flags */
void store_gateway_flags(store_model_t *m, store_gateway_t *g, int instance,
    const char *flags);

/* its words that the store may not have */
void store_gateway_tell(store_model_t *m, store_gateway_t *g);

/* instances that are no members here, a bit each */
unsigned store_gateway_strange(const store_gateway_t *g);

/* its connection to the store ends: it reads and tells all anew */
void store_gateway_apart(store_gateway_t *g);

/* NULL: the gateway cannot reach the store */
redisReply *store_ask(store_model_t *m, const store_gateway_t *g,
    const char *const *texts);

/* an epoch was given, and must be a new one; the instance is told that its
 * session has left it */
void store_granted(store_model_t *m, int instance, uint64_t epoch);
void store_elsewhere(store_model_t *m, int instance, int session,
    uint64_t epoch);

bool store_lease_valid(const store_model_t *m, const store_lease_t *l);

/* the gateway has seen that epoch; it has that lease */
void store_note(store_gateway_t *g, int instance, uint64_t epoch);
void store_bind(store_model_t *m, store_gateway_t *g, int session,
    int instance, uint64_t epoch);

uint64_t reply_number(const redisReply *r);
int reply_index(const redisReply *r);

/* "%" PRIu64 into a buffer of the caller's expression */
#define number(n)                                                             \
    number_text((uint64_t) (n), (char[24]) { 0 })

#define instance_name(i)                                                      \
    name_text('i', i, (char[24]) { 0 })

#define session_name(i)                                                       \
    name_text('s', i, (char[24]) { 0 })

const char *number_text(uint64_t n, char text[24]);
const char *name_text(char kind, int i, char text[24]);

void store_instance_reset(store_instance_t *i);
void store_instance_tick(store_model_t *m, store_instance_t *i);

/* whether an instance that was not tried is free, for the store, too */
bool store_model_free_instance(store_model_t *m, unsigned tried);

/* the store has given the instance, which should not be drained there */
void store_model_given(store_model_t *m, int instance);

/* the record of an instance; false: none */
typedef struct {
    uint64_t       epoch;
    uint64_t       expires;
    bool           confirmed;
    int            session;             /* -1: none */
    bool           said;                /* by a call, for whom it counts */
    store_words_t  words;
} store_record_t;

bool store_model_record(const char *text, store_record_t *record);

/* the words of its flags */
void store_words_parse(const char *flags, store_words_t words);

/* The last words that a gateway or the store knows; what must hold when all
 * have heard them. */
void store_words_last(store_model_t *m, store_words_t last[STORE_INSTANCES]);
void store_words_check(store_model_t *m,
    store_words_t last[STORE_INSTANCES]);

void store_model_records(store_model_t *m,
    store_record_t records[STORE_INSTANCES], bool there[STORE_INSTANCES],
    int sessions[STORE_SESSIONS]);

/* Whose a session is, and how many that user may have: arguments of the script.
 * An instance does not say for whom it counts. */
const char *store_limit_who(const store_model_t *m, int session, bool said,
    char text[24]);
const char *store_limit_max(const store_model_t *m, char text[24]);

/* whether the store is to refuse the session, and what must always hold */
bool store_limit_full(store_model_t *m, int session, int from,
    uint64_t epoch);
void store_limit_check(store_model_t *m, const bool there[STORE_INSTANCES],
    const store_record_t records[STORE_INSTANCES]);


#endif /* MODULE_T_STORE_MODEL_GATEWAY_H */
