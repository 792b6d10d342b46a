
/*
 * What the result of a probe means for the pool: the instance is up, down or
 * dead, and a session that it reports is leased to it.
 */

#include "health/target.h"

#include "core/session_text.h"
#include "core/upgrade.h"
#include "zone/events.h"
#include "jwt/token.h"
#include "sessions/terms.h"
#include "store/renew.h"
#include "zone/epoch.h"


/* milliseconds */

/* workers read the clock once per turn of their event loops */
#define MS_HEALTH_SLACK   100

/* a lease that is younger may be one that the instance does not know yet */
#define MS_HEALTH_YOUNG   5000


/* what a probe has changed, for the log */

typedef struct {
    unsigned  was_up:1;
    unsigned  up:1;
    unsigned  drained:1;                        /* before */
    unsigned  drains:1;
    unsigned  forgotten:1;                      /* a session */
    unsigned  lost:1;                           /* a session, by a restart */
    unsigned  word:1;                           /* the store is to know */
    size_t    session_len;                      /* that was lost */
    u_char    session[MS_POOL_SESSION_MAX];
} ms_health_change_t;


static void ms_health_elsewhere(ms_health_target_t *target, ms_probe_t *probe,
    ms_pool_t *pool, ms_instance_info_t *info);
static ngx_int_t ms_health_judge(ms_health_target_t *target,
    ms_exchange_result_t *result, ms_pool_t *pool,
    ms_health_change_t *change);
static void ms_health_process(ms_health_target_t *target,
    ms_exchange_result_t *result, ms_pool_t *pool,
    ms_health_change_t *change);
static void ms_health_report(ms_health_target_t *target,
    ms_exchange_result_t *result, ms_pool_t *pool);
static ngx_uint_t ms_health_word(ms_health_target_t *target,
    ms_exchange_result_t *result, ms_instance_info_t *before,
    ms_instance_info_t *info);
static ngx_uint_t ms_health_up(ms_instance_info_t *info);
static void ms_health_log(ms_health_target_t *target,
    ms_exchange_result_t *result, ms_health_change_t *change);


ngx_int_t
ms_health_prepare(ms_health_target_t *target, ms_probe_t *probe)
{
    uint32_t            hash;
    ms_pool_t          *pool;
    ngx_int_t           rc;
    ngx_uint_t          rebuilt;
    ms_instance_info_t  info;
    ms_zone_t          *zone;

    zone = target->health->conf->sessions->zone;
    target->replaced = 0;
    rc = NGX_DECLINED;

    pool = ms_zone_lock(zone, &rebuilt);

    ms_pool_info(pool, target->instance, &info);

    if (info.state != MS_INSTANCE_UNUSED && info.addr_len) {
        hash = ngx_crc32_short((u_char *) info.name, info.name_len);

        if (hash != target->hash) {
            target->hash = hash;
            target->failed = 0;
            target->unanswered = 0;
            target->passed = 0;
            target->reports_session = 0;
        }

        target->up = ms_health_up(&info);
        target->epoch = info.lease ? info.epoch : 0;
        ms_probe_peer(probe, &info);
        ms_health_elsewhere(target, probe, pool, &info);
        rc = NGX_OK;
    }

    ms_zone_unlock(zone, rebuilt, ngx_cycle->log);

    return rc;
}


/*
 * An instance was down, its session moved to another one, and it is up again
 * and still has that session: it is asked to forget it, or it would take no
 * other one until the session has expired there.
 */

static void
ms_health_elsewhere(ms_health_target_t *target, ms_probe_t *probe,
    ms_pool_t *pool, ms_instance_info_t *info)
{
    ngx_msec_t  until;

    /* as long as the probe may last */

    until = ngx_current_msec + target->health->conf->probe.timeout
            + MS_TERMS_GRACE;

    if (info->foreign
        && ms_session_valid((char *) info->session, info->session_len)
        && ms_pool_elsewhere(pool, target->instance, until, ngx_current_msec))
    {
        ms_probe_elsewhere(probe, info);
    }
}


ngx_uint_t
ms_health_apply(ms_health_target_t *target, ms_exchange_result_t *result)
{
    ms_pool_t           *pool;
    ngx_uint_t           foreign, member, rebuilt;
    ms_zone_t           *zone;
    ms_instance_info_t   info, before;
    ms_health_change_t   change;

    zone = target->health->conf->sessions->zone;

    if (result->rc == NGX_OK && !result->unreported) {
        result->epoch = ms_epoch_named(zone, &result->name, 0, result->epoch,
                                       ngx_cycle->log);
    }

    /* this may read a file: not under the lock */

    (void) ms_upgrading();

    pool = ms_zone_lock(zone, &rebuilt);

    ms_pool_info(pool, target->instance, &info);

    ngx_memzero(&change, sizeof(ms_health_change_t));
    change.was_up = ms_health_up(&info);
    change.up = change.was_up;
    change.drained = info.reported;
    change.drains = info.reported;
    before = info;
    foreign = info.foreign;

    member = info.state != MS_INSTANCE_UNUSED
             && target->hash == ngx_crc32_short((u_char *) info.name,
                                                info.name_len);

    if (member) {
        ms_pool_probed(pool, target->instance,
                       result->rc == NGX_OK ? MS_VERDICT_PASSED
                       : result->unanswered ? MS_VERDICT_DEAD
                       : MS_VERDICT_FAILED);
    }

    if (member && ms_health_judge(target, result, pool, &change) == NGX_OK) {
        ms_pool_info(pool, target->instance, &info);
        change.up = ms_health_up(&info);
        change.drains = info.reported;
        change.word = ms_health_word(target, result, &before, &info);
    }

    /* the next probe asks it to forget; or it has forgotten */

    target->soon = !foreign && info.foreign;
    change.forgotten = foreign && info.lease == 0 && result->elsewhere.len;

    ms_zone_unlock(zone, rebuilt, ngx_cycle->log);

    if (change.word) {
        ms_store_word(zone, &result->name, &result->session, result->epoch,
                      target->epoch,
                      result->has_subject ? result->subject : NULL);
    }

    ms_health_log(target, result, &change);

    return change.up;
}


/* whether the instance has said what this gateway did not know */

static ngx_uint_t
ms_health_word(ms_health_target_t *target, ms_exchange_result_t *result,
    ms_instance_info_t *before, ms_instance_info_t *info)
{
    if (result->rc != NGX_OK || result->unreported || !target->reports_session
        || before->lease == info->lease || info->over)
    {
        return 0;
    }

    return result->session.len
           || (info->lease == 0
               && (ngx_msec_int_t) (result->sent - before->started)
                  > MS_HEALTH_YOUNG);
}


static void
ms_health_log(ms_health_target_t *target, ms_exchange_result_t *result,
    ms_health_change_t *change)
{
    ngx_str_t          *host, session;
    ms_zone_t          *zone;
    ms_session_log_t    log;

    host = &target->health->conf->upstream->host;
    zone = target->health->conf->sessions->zone;

    if (change->lost) {
        session.data = change->session;
        session.len = change->session_len;

        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "instance was started anew, its session begins anew, "
                      "session=\"%V\" instance=\"%V\" upstream=\"%V\"",
                      ms_session_log(&session, &log), &result->name, host);
    }

    if (change->forgotten) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "instance has forgotten a session: another one serves "
                      "it, session=\"%V\" instance=\"%V\" upstream=\"%V\"",
                      ms_session_log(&result->elsewhere, &log), &result->name,
                      host);
    }

    if (change->drains && !change->drained) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "instance drains: it wants no new session, "
                      "instance=\"%V\" upstream=\"%V\"", &result->name,
                      host);
        ms_events_add(zone, MS_EVENT_DRAINS, &result->name, NULL, NULL);

    } else if (change->drained && !change->drains) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "instance drains no more: it wants new sessions, "
                      "instance=\"%V\" upstream=\"%V\"", &result->name,
                      host);
        ms_events_add(zone, MS_EVENT_DRAINS_NO_MORE, &result->name, NULL, NULL);

    } else if (change->up && !change->was_up) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "instance is up: probes pass, instance=\"%V\" "
                      "upstream=\"%V\"", &result->name, host);
        ms_events_add(zone, MS_EVENT_UP, &result->name, NULL, NULL);

    } else if (change->was_up && !change->up && result->rc != NGX_OK) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "instance is down: %V, instance=\"%V\" "
                      "upstream=\"%V\"", &result->reason, &result->name,
                      host);
        ms_events_add(zone, MS_EVENT_DOWN, &result->name, NULL, &result->reason);
    }
}


/* under the lock; NGX_DECLINED if nothing has changed */

static ngx_int_t
ms_health_judge(ms_health_target_t *target, ms_exchange_result_t *result,
    ms_pool_t *pool, ms_health_change_t *change)
{
    ngx_uint_t             up;
    ms_health_srv_conf_t  *conf;

    conf = target->health->conf;
    up = change->was_up;

    if (result->rc != NGX_OK) {
        if (result->timed_out
            && ms_pool_byte_since(pool, target->instance, result->sent,
                                  ngx_current_msec))
        {
            /* busy, not dead: a byte came for a call meanwhile */

            return NGX_DECLINED;
        }

        target->passed = 0;
        target->failed++;
        target->unanswered = result->unanswered ? target->unanswered + 1 : 0;

        if (target->failed < conf->fails) {
            return NGX_DECLINED;
        }

        if (target->unanswered < conf->fails) {

            /* the instance answers: its calls go on */

            ms_pool_down(pool, target->instance, ngx_current_msec);

        } else {
            ms_pool_dead(pool, target->instance, conf->sessions->zone->keep,
                         ngx_current_msec);
        }

        return NGX_OK;
    }

    target->failed = 0;
    target->unanswered = 0;

    if (!up && target->up) {

        /* it failed or left since the probe began: the answer is too old */

        target->passed = 0;
        return NGX_DECLINED;
    }

    /* in a row since it is not up */

    target->passed = up ? 0 : target->passed + 1;

    if (!up && target->passed < conf->passes) {
        return NGX_DECLINED;
    }

    target->reports_session |= result->reports_session;

    ms_health_process(target, result, pool, change);

    /* the lease that it reports is made first: an instance that drains gets
     * none */

    if (!result->drain) {
        ms_pool_report_drain(pool, target->instance, 0, ngx_current_msec);
    }

    ms_health_report(target, result, pool);

    if (result->drain) {
        ms_pool_report_drain(pool, target->instance, 1, ngx_current_msec);
    }

    return NGX_OK;
}


/* another process knows nothing of the session */

static void
ms_health_process(ms_health_target_t *target, ms_exchange_result_t *result,
    ms_pool_t *pool, ms_health_change_t *change)
{
    ngx_uint_t          serves;
    ms_pool_terms_t     terms;
    ms_instance_info_t  info;

    ms_terms_learned(target->health->conf->sessions, &terms);
    ms_pool_info(pool, target->instance, &info);

    serves = !result->unreported && result->session.len
             && info.session_len == result->session.len
             && ngx_memcmp(info.session, result->session.data,
                           info.session_len) == 0;

    if (!ms_pool_process(pool, target->instance, result->process.data,
                         result->process.len, serves, &terms, result->sent,
                         ngx_current_msec))
    {
        return;
    }

    change->lost = 1;
    change->session_len = info.session_len;
    ngx_memcpy(change->session, info.session, info.session_len);
}


static void
ms_health_report(ms_health_target_t *target, ms_exchange_result_t *result,
    ms_pool_t *pool)
{
    ngx_msec_t             left;
    ms_pool_terms_t        terms;
    ms_health_srv_conf_t  *conf;

    conf = target->health->conf;

    ms_pool_epoch_seen(pool, result->epoch);

    /* "no session" counts only from an instance that reports sessions */

    if (result->unreported || !target->reports_session) {
        ms_pool_up(pool, target->instance, ngx_current_msec);
        return;
    }

    ms_terms_learned(conf->sessions, &terms);
    terms.subject = result->has_subject ? result->subject : NULL;
    terms.epoch = result->epoch;
    terms.fenced = ms_store_of(conf->upstream) != NULL;

    left = ngx_min(result->left, conf->sessions->ttl);

    ms_pool_learn(pool, target->instance, result->session.data,
                  result->session.len, left ? left + MS_TERMS_GRACE : 0,
                  &terms, result->sent - MS_HEALTH_SLACK, ngx_current_msec);
}


/* one that was claimed although its probes fail is not up */

static ngx_uint_t
ms_health_up(ms_instance_info_t *info)
{
    if (info->health >= MS_VERDICT_FAILED) {
        return 0;
    }

    return info->state == MS_INSTANCE_FREE
           || info->state == MS_INSTANCE_TENTATIVE
           || info->state == MS_INSTANCE_LEASED
           || (info->state == MS_INSTANCE_DRAINING && !info->foreign);
}
