/*
 * A pool and the model of it: made alike, compared in all that status shows.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool/key.h"
#include "pool_pair.h"


const uint8_t  pair_subjects[2][MS_POOL_SUBJECT] = { { 1 }, { 2 } };


/* as the handler has heard of them */
static uint64_t  ended[MS_ENDS];


static void
count_end(const ms_ended_t *end)
{
    ended[end->why]++;
    same(end->session_len > 0, 1);
    same(end->name_len > 0, 1);
}


unsigned
pick(pair_t *pair, unsigned below)
{
    uint64_t  x;

    x = pair->random += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);

    return (unsigned) ((x ^ (x >> 31)) >> 33) % below;
}


void
pair_create(pair_t *pair, uint64_t seed)
{
    int      i;
    bool     mostly_long;
    size_t   size;
    uint8_t  key[16];

    memset(pair, 0, sizeof(pair_t));
    memset(ended, 0, sizeof(ended));
    ms_pool_on_end(count_end);
    memset(key, (int) (seed & 0xff), sizeof(key));
    pair->random = seed;
    pair->model.capacity = 1 + (int) pick(pair, MODEL_INSTANCES - 1);
    pair->model.blocks = 8;
    pair->model.drain = MODEL_NEVER;
    pair->model.retry = pick(pair, 4) == 0 ? MODEL_NEVER
                                           : 20 + pick(pair, 60);
    pair->trouble = 4 * pick(pair, 4);
    pair->sessions = 1 + (int) pick(pair, MODEL_SESSIONS);
    mostly_long = pick(pair, 3) == 0;

    if (mostly_long) {
        pair->trouble = 0;
        pair->model.capacity = MODEL_INSTANCES - 1;
        pair->sessions = MODEL_SESSIONS;
    }

    size = ms_pool_size((uint32_t) pair->model.capacity);
    pair->memory = malloc(size);
    ck_assert_ptr_nonnull(pair->memory);
    memset(pair->memory, 0xa5, size);
    pair->pool = ms_pool_create(pair->memory, size, key);
    ck_assert_ptr_nonnull(pair->pool);

    for (i = 0; i < MODEL_INSTANCES; i++) {
        snprintf(pair->names[i], sizeof(pair->names[i]), "10.0.%u.%d",
                 pick(pair, 256), i);
        pair->model.instance_at[i] = ms_key_position(pair->names[i],
                                                     strlen(pair->names[i]));
    }

    for (i = 0; i < MODEL_SESSIONS; i++) {
        pair->lengths[i] = 1 + pick(pair, mostly_long ? MS_POOL_SESSION_MAX
                                                      : 80);
        memset(pair->texts[i], 's', sizeof(pair->texts[i]));
        pair->texts[i][0] = (uint8_t) ('a' + i);
        pair->model.session_at[i] = ms_key_position(pair->texts[i],
                                                    pair->lengths[i]);
        pair->model.session_long[i] = pair->lengths[i] > 64;
    }
}


static void
compare_owner(const pair_t *pair, const model_instance_t *model,
    const ms_instance_info_t *info)
{
    same(info->lease != 0, model->owner != MODEL_NOBODY);

    if (model->owner == MODEL_NOBODY) {
        same(info->session_len, 0);
        return;
    }

    same(info->foreign, model->foreign);
    same(info->epoch, model->epoch);
    same(info->bound, model->subject != 0);
    same(info->started, model->started);
    same(info->used, model->used);
    same(info->expires, model_lease_end(model));
    same(info->drained, model_drained(&pair->model, (int) (model
                                            - pair->model.instances)));

    if (model->owner == MODEL_UNKNOWN) {
        same(info->session_len, 0);
        return;
    }

    same(info->session_len, pair->lengths[model->owner]);
    same(memcmp(info->session, pair->texts[model->owner],
                info->session_len),
         0);
}


static void
compare_ended(const pair_t *pair)
{
    int       i, k;
    uint64_t  n;

    for (i = MS_END_NONE + 1; i < MS_ENDS; i++) {
        n = 0;

        for (k = 0; k < MODEL_INSTANCES; k++) {
            n += pair->model.instances[k].ended[i];
        }

        same(ms_pool_ended(pair->pool, (ms_end_t) i), n);
        same(ended[i], n);
    }
}


/* Users and subjects as some_terms() picks them. */
static void
compare_users(const pair_t *pair)
{
    unsigned         i, k;
    ms_pool_terms_t  terms;

    memset(&terms, 0, sizeof(terms));

    for (i = 0; i < 4; i++) {
        for (k = 0; k < 3; k++) {
            terms.user = 2 * i;
            terms.subject = k > 0 ? pair_subjects[k - 1] : NULL;
            same(ms_pool_user_sessions(pair->pool, &terms, UINT32_MAX,
                                       pair->now),
                 model_user_sessions(&pair->model, &terms));
        }
    }
}


void
pair_compare(const pair_t *pair)
{
    int                      i;
    bool                     rests;
    uint32_t                 id;
    const char              *broken;
    ms_instance_info_t       info;
    const model_instance_t  *model;

    broken = ms_pool_check(pair->pool);

    if (broken != NULL) {
        ck_abort_msg("%s", broken);
    }

    same(ms_pool_alerts(pair->pool), 0);
    same(ms_pool_epoch(pair->pool), pair->model.epoch);
    compare_ended(pair);
    compare_users(pair);

    for (i = 0; i < MODEL_INSTANCES; i++) {
        model = &pair->model.instances[i];
        id = ms_pool_find(pair->pool, pair->names[i],
                          strlen(pair->names[i]));
        same(id != MS_POOL_NONE, model->member);

        if (!model->member) {
            continue;
        }

        ms_pool_info(pair->pool, id, &info);
        same(info.state, model->state);
        same(info.drain, model->drain != 0);
        same(info.reported, (model->drain & 2) != 0);
        same(info.removed, model->removed);
        same(info.moves, model->moves);
        same(info.heard, model->heard);
        same(info.word, model->word);
        same(info.health, model->health);
        same(info.suspect, model->suspect != 0);
        same(info.failures,
                          model->failures < 255 ? model->failures : 255);
        rests = (model->state == MS_INSTANCE_LEFT
                 || model->state == MS_INSTANCE_DOWN)
                && model->retry_at != MODEL_NEVER;
        same(info.retry, rests ? model->retry_at : 0);
        compare_owner(pair, model, &info);
    }
}
