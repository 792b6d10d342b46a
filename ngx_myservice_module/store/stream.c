
/*
 * The changes of other gateways.  Each connection begins with all leases, in
 * slices, and goes on with the stream from where it was before the first slice.
 * A gap in the numbers, or another generation, begins anew: ids of the stream
 * are clock times, and a server that has lost its last writes has older ones.
 */

#include "store/stream.h"

#include "store/conn.h"
#include "store/leases.h"
#include "store/moves.h"
#include "store/report.h"
#include "store/revoked.h"
#include "store/words.h"


#define MS_STORE_LIST     256           /* records of a slice */
#define MS_STORE_FIELDS   6             /* of a record */
#define MS_STORE_BLOCKED  4000          /* ms; XREAD waits for one second */
#define MS_STORE_LOOK     900           /* ms between two looks at the store's
                                           generation, */
#define MS_STORE_ROOM     10000         /* and until an instance that had no
                                           room is tried again */


static void ms_store_stream_up(ms_store_conn_t *sc);
static void ms_store_list_all(ms_store_conn_t *sc);
static void ms_store_list(ms_store_conn_t *sc, ngx_uint_t records,
    const char *cursor);
static void ms_store_listed_revoked(void *owner, redisReply *reply,
    void *data);
static void ms_store_listed(void *owner, redisReply *reply, void *data);
static const char *ms_store_list_answer(ms_store_conn_t *sc,
    redisReply *reply, redisReply **list);
static ngx_int_t ms_store_list_records(ms_store_t *store, redisReply *list);
static ngx_int_t ms_store_list_flags(ms_store_t *store, ngx_str_t *instance,
    const redisReply *flags, ngx_uint_t *tentative);
static char *ms_store_digits(char *p, char *last);
static void ms_store_read(ms_store_conn_t *sc);
static void ms_store_read_on(ms_store_conn_t *sc);
static void ms_store_look(ms_store_conn_t *sc);
static void ms_store_looked(void *owner, redisReply *reply, void *data);
static void ms_store_changed(void *owner, redisReply *reply, void *data);
static ngx_int_t ms_store_changes(ms_store_t *store, redisReply *entries);
static ngx_int_t ms_store_change(ms_store_t *store, redisReply *entry);


void
ms_store_stream_start(ms_store_t *store)
{
    ms_store_conn_t  *sc;

    sc = &store->stream;

    sc->store = store;
    sc->up = ms_store_stream_up;
    sc->silence = MS_STORE_BLOCKED;

    ms_store_conn_start(sc);
}


void
ms_store_stream_stop(ms_store_t *store)
{
    ms_store_conn_stop(&store->stream);
}


static void
ms_store_stream_up(ms_store_conn_t *sc)
{
    ms_store_words_again(sc->store);
    ms_store_list_all(sc);
}


/* releases that the store has not got show: it still has the leases */

static void
ms_store_list_all(ms_store_conn_t *sc)
{
    sc->store->position[0] = '\0';
    sc->store->untold = sc->store->sh->untold;

    ms_store_list(sc, 0, "0");
}


/* the list of revoked tokens, then the records */

static void
ms_store_list(ms_store_conn_t *sc, ngx_uint_t records, const char *cursor)
{
    if (records) {
        ms_store_conn_begin(sc, "list", 2);

    } else {
        ms_store_conn_begin_all(sc, "revoked", 2);
    }

    ms_resp_word(&sc->resp, cursor);
    ms_resp_number(&sc->resp, MS_STORE_LIST);

    if (ms_store_conn_ask(sc, records ? ms_store_listed
                                      : ms_store_listed_revoked, NULL)
        != NGX_OK)
    {
        ms_store_conn_close(sc, "no memory");
    }
}


static void
ms_store_listed_revoked(void *owner, redisReply *reply, void *data)
{
    ms_store_conn_t *sc = owner;

    size_t       i;
    const char  *cursor;
    redisReply  *entries;

    if (reply == NULL) {
        return;
    }

    cursor = ms_store_list_answer(sc, reply, &entries);

    if (cursor == NULL) {
        return;
    }

    for (i = 0; i < entries->elements; i++) {
        ms_store_revoked_hear(entries->element[i]);
    }

    ms_store_list(sc, ngx_strcmp(cursor, "0") == 0, cursor);
}


static void
ms_store_listed(void *owner, redisReply *reply, void *data)
{
    ms_store_conn_t *sc = owner;

    const char  *cursor;
    redisReply  *records;

    if (reply == NULL) {
        return;
    }

    cursor = ms_store_list_answer(sc, reply, &records);

    if (cursor == NULL) {
        return;
    }

    if (ms_store_list_records(sc->store, records) != NGX_OK) {
        ms_store_conn_close(sc, "an answer was not understood");
        return;
    }

    if (ngx_strcmp(cursor, "0") != 0) {
        ms_store_list(sc, 1, cursor);
        return;
    }

    ms_store_read(sc);
}


/* The next cursor, and what the store has; the stream goes on from where it was
 * at the first answer.  NULL: the connection was closed. */

static const char *
ms_store_list_answer(ms_store_conn_t *sc, redisReply *reply,
    redisReply **list)
{
    uint64_t           number;
    ms_store_t        *store;
    const redisReply  *generation, *id, *cursor;

    if (ms_store_conn_error(sc, reply)) {

        /* it reads all anew */

        ms_store_conn_close(sc, NULL);
        return NULL;
    }

    store = sc->store;
    generation = ms_resp_element(reply, 0);
    id = ms_resp_element(reply, 1);
    cursor = ms_resp_element(reply, 3);

    if (generation == NULL || id == NULL || cursor == NULL
        || (size_t) id->len >= MS_STORE_ID || reply->elements < 5
        || ms_resp_value(ms_resp_element(reply, 2), &number) != 0
        || reply->element[4]->type != REDIS_REPLY_ARRAY)
    {
        ms_store_conn_close(sc, "an answer was not understood");
        return NULL;
    }

    ms_store_generation(store, generation->str, generation->len);

    if (store->position[0] == '\0') {
        ngx_memcpy(store->position, id->str, id->len + 1);
        store->number = number;
    }

    *list = reply->element[4];

    return cursor->str;
}


/* instance, epoch, ms that are left, flags, who, session */

static ngx_int_t
ms_store_list_records(ms_store_t *store, redisReply *list)
{
    size_t             i, k;
    uint64_t           epoch, left;
    ngx_str_t          session, instance, who;
    ngx_uint_t         tentative;
    const redisReply  *field[MS_STORE_FIELDS];

    for (i = 0; i + MS_STORE_FIELDS <= list->elements; i += MS_STORE_FIELDS) {

        for (k = 0; k < MS_STORE_FIELDS; k++) {
            field[k] = ms_resp_element(list, i + k);

            if (field[k] == NULL) {
                return NGX_ERROR;
            }
        }

        instance = ms_store_str(field[0]);
        session = ms_store_str(field[5]);

        if (field[3]->str[0] == '?'
            || ms_resp_value(field[1], &epoch) != 0
            || ms_resp_value(field[2], &left) != 0
            || ms_store_list_flags(store, &instance, field[3], &tentative)
               != NGX_OK)
        {
            ms_store_report_record(store, field[0]);
            continue;
        }

        if (session.len && left) {
            who = ms_store_str(field[4]);
            ms_store_given(store, &session, &instance, epoch, &who,
                           ngx_current_msec,
                           tentative ? MS_STORE_HEARD : MS_STORE_CONFIRMED);

            if (field[3]->str[field[3]->len - 1] == 'm') {
                ms_store_leaves(store, &session, &instance, epoch);
            }

        } else {
            ms_store_named(store, &session, &instance, epoch);
        }
    }

    return NGX_OK;
}


/* "d" or "-", "a", "r" or nothing, each with the stamp of an operator's word if
 * there was one, behind that of "d" a "/" and the ms that are left if it has a
 * limit, "t", "c" or "m"; a member drains only once it is one */

static ngx_int_t
ms_store_list_flags(ms_store_t *store, ngx_str_t *instance,
    const redisReply *flags, ngx_uint_t *tentative)
{
    char     *p, *end, *last;
    off_t     drain, left, member;

    if (flags->len < 2) {
        return NGX_ERROR;
    }

    last = flags->str + flags->len - 1;
    *tentative = *last == 't';

    p = ms_store_digits(flags->str + 1, last);
    end = p;
    left = 0;

    if (p < last && *p == '/') {
        p = ms_store_digits(end + 1, last);
        left = ngx_atoof((u_char *) end + 1, p - end - 1);

        if (left == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    if (p < last) {
        member = ngx_atoof((u_char *) p + 1, last - p - 1);

        if (member == NGX_ERROR || (*p != 'a' && *p != 'r')) {
            return NGX_ERROR;
        }

        ms_store_words_hear(store, instance, *p, member, 0);
    }

    if (end > flags->str + 1) {
        drain = ngx_atoof((u_char *) flags->str + 1, end - flags->str - 1);

        if (drain == NGX_ERROR) {
            return NGX_ERROR;
        }

        ms_store_words_hear(store, instance, flags->str[0], drain, left);
    }

    return NGX_OK;
}


static char *
ms_store_digits(char *p, char *last)
{
    while (p < last && *p >= '0' && *p <= '9') {
        p++;
    }

    return p;
}


static void
ms_store_read(ms_store_conn_t *sc)
{
    ngx_str_t   *key;
    ms_resp_t   *resp;

    key = &sc->store->keys[3];
    resp = &sc->resp;

    ms_resp_begin(resp, 8);
    ms_resp_word(resp, "XREAD");
    ms_resp_word(resp, "BLOCK");
    ms_resp_word(resp, "1000");
    ms_resp_word(resp, "COUNT");
    ms_resp_word(resp, "256");
    ms_resp_word(resp, "STREAMS");
    ms_resp_text(resp, key->data, key->len);
    ms_resp_word(resp, (char *) sc->store->position);

    if (ms_store_conn_ask(sc, ms_store_changed, NULL) != NGX_OK) {
        ms_store_conn_close(sc, "no memory");
    }
}


static void
ms_store_changed(void *owner, redisReply *reply, void *data)
{
    ms_store_conn_t *sc = owner;

    ngx_int_t     rc;
    redisReply   *stream;

    if (reply == NULL) {
        return;
    }

    if (ms_store_conn_error(sc, reply)) {
        ms_store_conn_close(sc, NULL);
        return;
    }

    sc->useful = 1;
    sc->store->sh->read = ngx_current_msec;

    if (reply->type == REDIS_REPLY_NIL) {

        /* nothing in a second */

        ms_store_read_on(sc);
        return;
    }

    rc = NGX_ERROR;

    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 1) {
        stream = reply->element[0];

        if (stream->type == REDIS_REPLY_ARRAY && stream->elements == 2) {
            rc = ms_store_changes(sc->store, stream->element[1]);
        }
    }

    if (rc == NGX_ERROR) {
        ms_store_conn_close(sc, "an answer was not understood");
        return;
    }

    if (rc == NGX_DECLINED) {
        ms_store_stream_up(sc);
        return;
    }

    ms_store_read_on(sc);
}


static void
ms_store_read_on(ms_store_conn_t *sc)
{
    ms_store_t  *store;

    store = sc->store;

    if (store->untold != store->sh->untold && store->conn.ready) {
        ms_store_list_all(sc);
        return;
    }

    if (ngx_current_msec - store->looked >= MS_STORE_LOOK) {
        ms_store_look(sc);
        return;
    }

    ms_store_read(sc);
}


/* a store that was emptied keeps its connections, and may have no change for a
 * long time */

static void
ms_store_look(ms_store_conn_t *sc)
{
    ngx_str_t   *key;
    ms_resp_t   *resp;
    ms_store_t  *store;

    store = sc->store;
    store->looked = ngx_current_msec;

    key = &store->keys[2];
    resp = &sc->resp;

    ms_resp_begin(resp, 3);
    ms_resp_word(resp, "HGET");
    ms_resp_text(resp, key->data, key->len);
    ms_resp_word(resp, "g");

    if (ms_store_conn_ask(sc, ms_store_looked, NULL) != NGX_OK) {
        ms_store_conn_close(sc, "no memory");
    }
}


static void
ms_store_looked(void *owner, redisReply *reply, void *data)
{
    ms_store_conn_t *sc = owner;

    ngx_msec_t          lacks;
    ms_store_shared_t  *sh;

    if (reply == NULL) {
        return;
    }

    if (ms_store_conn_error(sc, reply)) {
        ms_store_conn_close(sc, NULL);
        return;
    }

    if (reply->type != REDIS_REPLY_STRING
        || !ms_store_generation_known(sc->store, reply->str, reply->len))
    {
        ms_store_stream_up(sc);
        return;
    }

    sh = sc->store->sh;
    lacks = sh->lacks;

    if (lacks && ngx_current_msec - lacks >= MS_STORE_ROOM) {

        /* an instance that still has no room says so again */

        sh->lacks = 0;
        ms_store_list_all(sc);
        return;
    }

    ms_store_read(sc);
}


/* NGX_DECLINED: changes are missing */

static ngx_int_t
ms_store_changes(ms_store_t *store, redisReply *entries)
{
    size_t      i;
    ngx_int_t   rc;

    if (entries->type != REDIS_REPLY_ARRAY) {
        return NGX_ERROR;
    }

    rc = NGX_OK;

    for (i = 0; i < entries->elements && rc == NGX_OK; i++) {
        rc = ms_store_change(store, entries->element[i]);
    }

    return rc;
}


/* an id, and names and values by turns; a name has one letter */

static ngx_int_t
ms_store_change(ms_store_t *store, redisReply *entry)
{
    size_t             i;
    uint64_t           epoch, left, number;
    ngx_str_t          op, session, instance, who;
    redisReply        *fields;
    const redisReply  *id, *name, *value['z' + 1];

    id = ms_resp_element(entry, 0);

    if (id == NULL || (size_t) id->len >= MS_STORE_ID || entry->elements != 2
        || entry->element[1]->type != REDIS_REPLY_ARRAY)
    {
        return NGX_ERROR;
    }

    fields = entry->element[1];
    ngx_memzero(value, sizeof(value));

    for (i = 0; i + 1 < fields->elements; i += 2) {
        name = ms_resp_element(fields, i);

        if (name && name->len == 1 && name->str[0] > 0
            && name->str[0] <= 'z')
        {
            value[(u_char) name->str[0]] = ms_resp_element(fields, i + 1);
        }
    }

    if (value['o'] == NULL || value['i'] == NULL || value['s'] == NULL
        || value['g'] == NULL || ms_resp_value(value['e'], &epoch) != 0
        || ms_resp_value(value['n'], &number) != 0)
    {
        return NGX_ERROR;
    }

    if (number != store->number + 1) {
        return NGX_DECLINED;
    }

    store->number = number;
    ngx_memcpy(store->position, id->str, id->len + 1);

    op = ms_store_str(value['g']);

    if (op.len == MS_STORE_NAME
        && ngx_memcmp(op.data, store->sh->gateway, MS_STORE_NAME) == 0)
    {
        return NGX_OK;
    }

    (void) ngx_atomic_fetch_add(&store->sh->counts.changes, 1);

    op = ms_store_str(value['o']);
    session = ms_store_str(value['s']);
    instance = ms_store_str(value['i']);

    if (ngx_strcmp(op.data, "claim") == 0
        || ngx_strcmp(op.data, "assert") == 0)
    {
        ngx_str_null(&who);

        if (value['u']) {
            who = ms_store_str(value['u']);
        }

        ms_store_given(store, &session, &instance, epoch, &who,
                       ngx_current_msec,
                       op.data[0] == 'c' ? MS_STORE_HEARD
                                         : MS_STORE_CONFIRMED);

    } else if (ngx_strcmp(op.data, "release") == 0) {
        ms_store_ended(store, &session, &instance, epoch, 1);

    } else if (ngx_strcmp(op.data, "leave") == 0) {
        ms_store_ended(store, &session, &instance, epoch, 0);

    } else if (ngx_strcmp(op.data, "move") == 0) {
        ms_store_leaves(store, &session, &instance, epoch);

    } else if (ngx_strcmp(op.data, "stay") == 0) {
        ms_store_stays(store, &session, &instance, epoch);

    } else if (ngx_strcmp(op.data, "drain") == 0) {

        /* "u" is what is left, or "-" */

        left = 0;

        if (ms_resp_value(value['u'], &left) != 0) {
            left = 0;
        }

        ms_store_words_hear(store, &instance, 'd', epoch, left);

    } else if (ngx_strcmp(op.data, "undrain") == 0) {
        ms_store_words_hear(store, &instance, '-', epoch, 0);

    } else if (ngx_strcmp(op.data, "add") == 0) {
        ms_store_words_hear(store, &instance, 'a', epoch, 0);

    } else if (ngx_strcmp(op.data, "remove") == 0) {
        ms_store_words_hear(store, &instance, 'r', epoch, 0);

    } else if (ngx_strcmp(op.data, "revoke") == 0) {
        ms_store_revoked_hear(value['s']);
    }

    return NGX_OK;
}
