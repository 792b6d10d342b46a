
/*
 * An entry goes to other gateways as the object that the file has.
 */

#include "token/revocations_shared.h"

#include "core/log.h"
#include "token/revocations.h"


/* entries that are copied at once */
#define MS_REVOCATIONS_SHARED  16

/* seconds from one line of a full list to the next */
#define MS_REVOCATIONS_LOGGED  60

_Static_assert(MS_REVOCATION_JSON <= MS_REVOKED_TEXT,
               "an entry fits into its text");


static ngx_uint_t ms_revocations_shared_changed(uint64_t *from,
    ngx_uint_t since, ms_revoked_entry_t *entries, ngx_uint_t n);
static void ms_revocations_shared_hear(const u_char *text, size_t len);
static void ms_revocations_shared_full(void);
static void ms_revocations_shared_log(const ms_revocation_t *entry);


static ms_revoked_list_t  ms_revocations_shared_list = {
    NULL,
    ms_revocations_generation,
    ms_revocations_shared_changed,
    ms_revocations_shared_hear
};


const ms_revoked_list_t *
ms_revocations_shared(ngx_uint_t (*revoked)(ngx_http_request_t *r))
{
    ms_revocations_shared_list.revoked = revoked;

    return &ms_revocations_shared_list;
}


static ngx_uint_t
ms_revocations_shared_changed(uint64_t *from, ngx_uint_t since,
    ms_revoked_entry_t *entries, ngx_uint_t n)
{
    ngx_uint_t           i;
    ms_revocation_t      copies[MS_REVOCATIONS_SHARED];
    ms_revoked_entry_t  *entry;

    n = ms_revocations_changed(from, since, copies,
                               ngx_min(n, MS_REVOCATIONS_SHARED));

    for (i = 0; i < n; i++) {
        entry = &entries[i];

        (void) ngx_hex_dump(entry->id, copies[i].key, MS_REVOCATION_KEY);
        entry->stamp = copies[i].stamp;
        entry->until = copies[i].until;
        entry->len = ms_revocation_write(entry->text, &copies[i], 0)
                     - entry->text;
    }

    return n;
}


static void
ms_revocations_shared_hear(const u_char *text, size_t len)
{
    json_t           *json;
    ngx_int_t         rc;
    const char       *why;
    json_error_t      error;
    ms_revocation_t   entry;

    json = json_loadb((const char *) text, len, JSON_REJECT_DUPLICATES,
                      &error);
    why = error.text;
    rc = NGX_DECLINED;

    if (json) {
        entry.before = -1;
        entry.until = -1;
        entry.stamp = MS_REVOCATION_OLDEST;

        rc = ms_revocation_read(&entry, json, &why);
        json_decref(json);
    }

    if (rc != NGX_OK) {
        ms_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                     "revocation of another gateway was not understood: %s",
                     why);
        return;
    }

    if (entry.until > ngx_time() + MS_REVOCATION_MAX) {
        entry.until = ngx_time() + MS_REVOCATION_MAX;
    }

    rc = ms_revocations_hear(&entry);

    if (rc == NGX_ERROR) {
        ms_revocations_shared_full();

    } else if (rc == NGX_OK) {
        ms_revocations_shared_log(&entry);
    }
}


/* once a minute: one worker hears them all */

static void
ms_revocations_shared_full(void)
{
    static time_t  logged;

    if (logged && ngx_time() - logged < MS_REVOCATIONS_LOGGED) {
        return;
    }

    logged = ngx_time();

    ms_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                 "list of revoked tokens is full: a revocation of another "
                 "gateway does not fit, all tokens that were issued before it "
                 "are refused here (make the zone of "
                 "\"myservice_jwt_revocations\" larger, and start this "
                 "gateway anew)");
}


static void
ms_revocations_shared_log(const ms_revocation_t *entry)
{
    u_char     text[MS_REVOCATION_JSON];
    ngx_str_t  what;

    what.data = text;
    what.len = ms_revocation_log(text, entry) - text;

    if (entry->ended) {
        ms_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                     "operator of another gateway ends a revocation, %V",
                     &what);

    } else {
        ms_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                     "operator of another gateway revokes tokens, %V", &what);
    }
}
