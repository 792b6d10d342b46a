
/*
 * What the log says of a store: changes, not tries, and each once for all
 * workers.
 */

#include "store/report.h"

#include "core/log.h"
#include "store/shake.h"


/* milliseconds */
#define MS_STORE_COMPLAIN  60000        /* between two lines of one error */
#define MS_STORE_REASON    10000        /* between two reasons why it is gone */

#define MS_STORE_TLS       2UL          /* in the hash of a reason */


static void ms_store_report_line(ngx_log_t *log, ngx_uint_t level,
    u_char *buf, size_t len);
static void ms_store_report_gone(ms_store_t *store, ms_store_reason_t *reason);
static ngx_uint_t ms_store_report_due(ms_store_shared_t *sh,
    ms_store_reason_t *reason);
static ngx_uint_t ms_store_report_kind(ms_store_t *store, u_char *kind,
    size_t len);


static const char  ms_store_report_mute[] =
    "the connection was closed before it answered";


void
ms_store_report_begin(ms_store_t *store)
{
    ms_store_shared_t  *sh;

    sh = store->sh;

    if (sh->site == store->site) {
        return;
    }

    /* workers that still have the old addresses say nothing any more */

    sh->site = store->site;
    sh->connected = 0;
    sh->since = ngx_current_msec;
    sh->reason = 0;
    sh->unresolved = 0;
    sh->evicts = 0;
    ngx_memzero(sh->address, sizeof(sh->address));
}


ngx_log_t *
ms_store_report_log(ms_store_conn_t *sc)
{
    sc->said[0] = '\0';

    ngx_memzero(&sc->log, sizeof(ngx_log_t));

    sc->log.log_level = ngx_max(ngx_cycle->log->log_level, NGX_LOG_INFO);
    sc->log.writer = ms_store_report_line;
    sc->log.wdata = sc;

    return &sc->log;
}


/* What TLS says at each try of each worker is the reason of one line; nor is
 * there a line for each try that fails otherwise.  All else goes on. */

static void
ms_store_report_line(ngx_log_t *log, ngx_uint_t level, u_char *buf, size_t len)
{
    ms_store_conn_t *sc = log->wdata;

    u_char      *p, *text, *last;
    ngx_uint_t   i;

    last = buf + len - NGX_LINEFEED_SIZE;

    /* time, level, and "pid#tid: " */

    text = ngx_strlchr(buf, last, '#');
    text = text ? ngx_strlchr(text, last, ' ') : NULL;
    text = text ? text + 1 : buf;

    p = ngx_strnstr(text, "(SSL: error:", last - text);

    if (p == NULL) {

        if (level != NGX_LOG_INFO || sc->ready) {
            ngx_log_error(level, ngx_cycle->log, 0, "%*s",
                          (size_t) (last - text), text);
        }

        return;
    }

    /* number:library:function:reason */

    p += sizeof("(SSL: error:") - 1;

    for (i = 0; i < 3 && p; i++) {
        p = ngx_strlchr(p, last, ':');
        p = p ? p + 1 : NULL;
    }

    if (p && sc->said[0] == '\0') {
        for (text = p; p < last && *p != ':' && *p != ')'; p++) {
            /* void */
        }

        (void) ngx_snprintf((u_char *) sc->said, MS_STORE_SAID - 1,
                            "TLS: %*s%Z", (size_t) (p - text), text);
        sc->said[MS_STORE_SAID - 1] = '\0';
    }
}


const char *
ms_store_report_closed(ms_store_conn_t *sc)
{
    return sc->ready ? "the connection was closed" : ms_store_report_mute;
}


/* one line for each change, whichever worker sees it first */

void
ms_store_report_up(ms_store_conn_t *sc)
{
    ms_store_t         *store;
    ngx_atomic_t        was;
    ms_store_shared_t  *sh;

    store = sc->store;
    sh = store->sh;
    was = sh->connected;

    if (sh->site != store->site || was == 1
        || !ngx_atomic_cmp_set(&sh->connected, was, 1))
    {
        return;
    }

    sh->since = ngx_current_msec;
    ngx_memcpy(sh->address, sc->name, sizeof(sc->name));
    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "store is connected: address %s, store=\"%V\" "
                  "upstream=\"%V\"", sc->name, &store->url,
                  &store->upstream->host);
}


/* Of a round of several addresses one is reported at its end: the first that
 * answered, else the first that is away, else one that is no master. */

void
ms_store_report_failed(ms_store_conn_t *sc, const char *why)
{
    ngx_uint_t          tells, naddrs;
    ms_store_reason_t  *reason;

    reason = &sc->reason;
    naddrs = ngx_max(sc->store->naddrs, 1);

    if (sc->ready || sc->tries % naddrs == 0) {
        reason->tells = 0;
    }

    if (why == ms_store_shake_replica) {
        tells = 1;

    } else if (!sc->said[0] && (sc->c == NULL || sc->connecting)) {
        tells = 2;

    } else {
        tells = 3;
    }

    if (tells > reason->tells) {
        reason->tells = tells;
        reason->tls = sc->said[0] != '\0';
        reason->mute = why == ms_store_report_mute;
        (void) ngx_cpystrn((u_char *) reason->why,
                           (u_char *) (reason->tls ? sc->said : why),
                           MS_STORE_WHY);
        ngx_memcpy(reason->name, sc->name, sizeof(sc->name));
    }

    if (sc->ready || (sc->tries + 1) % naddrs == 0) {
        ms_store_report_gone(sc->store, reason);
    }
}


static void
ms_store_report_gone(ms_store_t *store, ms_store_reason_t *reason)
{
    ngx_atomic_t        was;
    ms_store_shared_t  *sh;

    sh = store->sh;
    was = sh->connected;

    if (sh->site != store->site) {
        return;
    }

    if (was != 2) {

        if (!ngx_atomic_cmp_set(&sh->connected, was, 2)) {
            return;
        }

        sh->since = ngx_current_msec;
        sh->reason = 0;
    }

    if (!ms_store_report_due(sh, reason)) {
        return;
    }

    ngx_memcpy(sh->address, reason->name, sizeof(reason->name));
    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "store is gone: %s, address %s, store=\"%V\" "
                  "upstream=\"%V\"", reason->why, reason->name, &store->url,
                  &store->upstream->host);
}


/* whether a line is due: for the first reason, and for another one some time
 * later, as of a server that is there again and does not know the password */

static ngx_uint_t
ms_store_report_due(ms_store_shared_t *sh, ms_store_reason_t *reason)
{
    ngx_atomic_uint_t  hash, was;

    was = sh->reason;
    hash = ngx_crc32_short((u_char *) reason->why, ngx_strlen(reason->why));
    hash = (hash & ~MS_STORE_TLS) | 1 | (reason->tls ? MS_STORE_TLS : 0);

    /* what TLS says may be lost with the connection */

    if (was == hash
        || ((was & MS_STORE_TLS) && reason->mute)
        || (was && ngx_current_msec - sh->reasoned < MS_STORE_REASON)
        || !ngx_atomic_cmp_set(&sh->reason, was, hash))
    {
        return 0;
    }

    sh->reasoned = ngx_current_msec;

    return 1;
}


/* a store without memory answers all new sessions so: one line a minute, of each
 * kind of errors */

void
ms_store_report_error(ms_store_conn_t *sc, const char *error)
{
    ngx_str_t    prefix;
    ms_store_t  *store;

    store = sc->store;

    if (!ms_store_report_kind(store, (u_char *) error, strcspn(error, " "))) {
        return;
    }

    if (ngx_strstr(error, "WRONGTYPE") == NULL) {
        ms_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                     "store answers with an error: %s, address %s, "
                     "store=\"%V\" upstream=\"%V\"", error, sc->name,
                     &store->url, &store->upstream->host);
        return;
    }

    /* "{prefix}:" */

    prefix = store->keys[0];
    prefix.len--;

    ms_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                 "store answers with an error: %s, address %s, "
                 "prefix=\"%V\" store=\"%V\" upstream=\"%V\" (another "
                 "program has written a key with this prefix: remove all of "
                 "them, gateways enter their leases again)", error, sc->name,
                 &prefix, &store->url, &store->upstream->host);
}


void
ms_store_report_record(ms_store_t *store, const redisReply *name)
{
    ngx_str_t  instance;

    instance.data = (u_char *) name->str;
    instance.len = name->len;

    if (ms_store_report_kind(store, instance.data, instance.len)) {
        ms_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                     "store has a record that cannot be read: its instance "
                     "gets no new session, key=\"%V\" instance=\"%V\" "
                     "store=\"%V\" upstream=\"%V\" (remove it with HDEL)",
                     &store->keys[1], &instance, &store->url,
                     &store->upstream->host);
    }
}


/* whether a line is due */

static ngx_uint_t
ms_store_report_kind(ms_store_t *store, u_char *kind, size_t len)
{
    ngx_uint_t             i, hash;
    ms_store_complaint_t  *complaint, *list;

    hash = ngx_crc32_short(kind, len) | 1;

    list = store->sh->complaints;
    complaint = list;

    for (i = 0; i < MS_STORE_COMPLAINTS; i++) {

        if (list[i].error == hash) {
            complaint = &list[i];

            if (ngx_current_msec - complaint->at < MS_STORE_COMPLAIN) {
                return 0;
            }

            break;
        }

        if (list[i].error == 0 || list[i].at < complaint->at) {
            complaint = &list[i];
        }
    }

    complaint->error = hash;
    complaint->at = ngx_current_msec;

    return 1;
}
