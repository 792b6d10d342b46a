
/*
 * What another gateway has is not free here, either: the answer says it.
 */

#include "store/give_back.h"

#include "store/conn.h"
#include "store/leases.h"
#include "store/moves.h"


/* texts of a "no" that says what the session has */
#define MS_STORE_NO  7


static void ms_store_back_told(void *owner, redisReply *reply, void *data);


void
ms_store_give_back(ms_store_t *store, ngx_str_t *session,
    ngx_str_t *instance, uint64_t epoch, ngx_uint_t claimed)
{
    ms_resp_t  *resp;

    if (!store->conn.ready) {
        return;
    }

    resp = &store->conn.resp;

    ms_store_conn_begin(&store->conn, "release", 5);
    ms_resp_text(resp, session->data, session->len);
    ms_resp_text(resp, instance->data, instance->len);
    ms_resp_number(resp, epoch);
    ms_resp_word(resp, "0");
    ms_resp_word(resp, claimed ? "n" : "t");

    (void) ms_store_conn_ask(&store->conn, ms_store_back_told, NULL);
}


static void
ms_store_back_told(void *owner, redisReply *reply, void *data)
{
    ms_store_conn_t *sc = owner;

    size_t             i;
    uint64_t           epoch;
    ngx_str_t          session, instance, who;
    const redisReply  *field[MS_STORE_NO];

    if (reply == NULL || ms_store_conn_error(sc, reply)) {
        return;
    }

    for (i = 0; i < MS_STORE_NO; i++) {
        field[i] = ms_resp_element(reply, i);

        if (field[i] == NULL) {
            return;
        }
    }

    if (ms_resp_value(field[4], &epoch) != 0) {
        return;
    }

    /* another gateway has it: here it is not free, either */

    session = ms_store_str(field[2]);
    instance = ms_store_str(field[3]);
    who = ms_store_str(field[6]);

    ms_store_kept(sc->store, &session, &instance, epoch, &who,
                  field[5]->str[0] == 't' ? MS_STORE_HEARD
                                          : MS_STORE_CONFIRMED);

    if (field[5]->str[0] == 'm') {
        ms_store_leaves(sc->store, &session, &instance, epoch);
    }
}
