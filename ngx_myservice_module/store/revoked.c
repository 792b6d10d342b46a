
/*
 * The worker that has the duty looks several times a second whether the list
 * has changed, whoever changed it: an operator, or another store.
 */

#include "store/revoked.h"

#include "core/revoked.h"
#include "store/conn.h"


#define MS_STORE_REVOKED  16            /* entries of a question */


static ngx_int_t ms_store_revoked_send(ms_store_t *store);
static void ms_store_revoked_told(void *owner, redisReply *reply,
    void *data);


void
ms_store_revoked_tell(ms_store_t *store)
{
    ngx_uint_t                generation;
    ms_store_shared_t        *sh;
    const ms_revoked_list_t  *list;

    sh = store->sh;
    list = ms_revoked_list();

    if (list == NULL || store->revoking || !store->conn.ready) {
        return;
    }

    generation = list->generation();

    if (sh->revoked == generation && sh->revoked_round == sh->round) {
        return;
    }

    if (sh->revoked_round != sh->round) {
        sh->revoked = 0;
    }

    /* what changes meanwhile is told the next time */

    store->revoke_from = 0;
    store->revoke_until = generation;
    store->revoke_round = sh->round;

    if (ms_store_revoked_send(store) == NGX_DONE) {
        sh->revoked_round = store->revoke_round;
        sh->revoked = store->revoke_until;
    }
}


/* NGX_DONE: the store has got all */

static ngx_int_t
ms_store_revoked_send(ms_store_t *store)
{
    ngx_uint_t                i, n;
    ms_resp_t                *resp;
    ms_revoked_entry_t       *entries;
    const ms_revoked_list_t  *list;

    list = ms_revoked_list();

    entries = ngx_alloc(MS_STORE_REVOKED * sizeof(ms_revoked_entry_t),
                        ngx_cycle->log);
    if (entries == NULL) {
        return NGX_ERROR;
    }

    n = list->changed(&store->revoke_from, store->sh->revoked, entries,
                      MS_STORE_REVOKED);

    if (n == 0) {
        ngx_free(entries);
        return NGX_DONE;
    }

    resp = &store->conn.resp;

    ms_store_conn_begin_all(&store->conn, "revoke", 4 * n);

    for (i = 0; i < n; i++) {
        ms_resp_text(resp, entries[i].id, MS_REVOKED_ID);
        ms_resp_number(resp, entries[i].stamp);
        ms_resp_number(resp, entries[i].until);
        ms_resp_text(resp, entries[i].text, entries[i].len);
    }

    ngx_free(entries);

    if (ms_store_conn_ask(&store->conn, ms_store_revoked_told, store)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    store->revoking = 1;

    return NGX_AGAIN;
}


static void
ms_store_revoked_told(void *owner, redisReply *reply, void *data)
{
    ms_store_conn_t *sc = owner;
    ms_store_t *store = data;

    size_t       i;
    redisReply  *better;

    store->revoking = 0;

    if (reply == NULL || ms_store_conn_error(sc, reply)) {

        /* all of it is told again */

        return;
    }

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2
        || reply->element[1]->type != REDIS_REPLY_ARRAY)
    {
        ms_store_conn_close(sc, "an answer was not understood");
        return;
    }

    better = reply->element[1];

    for (i = 0; i < better->elements; i++) {
        ms_store_revoked_hear(better->element[i]);
    }

    if (ms_store_revoked_send(store) == NGX_DONE) {
        store->sh->revoked_round = store->revoke_round;
        store->sh->revoked = store->revoke_until;
    }
}


void
ms_store_revoked_hear(const redisReply *entry)
{
    const ms_revoked_list_t  *list;

    list = ms_revoked_list();

    if (list && entry && entry->type == REDIS_REPLY_STRING) {
        list->hear((u_char *) entry->str, entry->len);
    }
}
