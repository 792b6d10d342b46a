
/*
 * Which member is probed when: the first time at once, then every interval,
 * and sooner while it changes.  Only so many probes run at a time.
 */

#include "health/health.h"

#include "health/target.h"


/* probes at once, and which part of the worker's connections they may take;
 * the others wait for their turn */
#define MS_HEALTH_PROBES  128
#define MS_HEALTH_PART    8


static void ms_health_work(void *data, ngx_uint_t taken);
static ngx_int_t ms_health_init_targets(ms_health_t *health);
static void ms_health_stop(void *data);
static void ms_health_add_targets(ms_health_t *health, uint32_t limit,
    ngx_msec_t within);
static void ms_health_find_joined(ms_health_t *health);
static void ms_health_find_asked(ms_health_t *health, ms_rounds_t *asked);
static void ms_health_complete_round(ms_health_t *health);

static void ms_health_due(ngx_event_t *ev);
static void ms_health_next(ngx_event_t *ev);
static void ms_health_probe(ms_health_target_t *target);
static void ms_health_count(ms_health_target_t *target,
    ms_exchange_result_t *result);
static void ms_health_rearm(ms_health_target_t *target, ngx_msec_t delay);


void
ms_health_start(ms_health_t *health, ms_health_srv_conf_t *conf,
    ngx_log_t *log)
{
    ms_zone_t  *zone;

    ngx_memzero(health, sizeof(ms_health_t));

    zone = conf->sessions->zone;

    health->conf = conf;

    health->next.handler = ms_health_next;
    health->next.data = health;
    health->next.log = log;

    health->duty.zone = zone;
    health->duty.owner = &zone->sh->rounds.duty;
    health->duty.data = health;
    health->duty.work = ms_health_work;
    health->duty.stop = ms_health_stop;

    ms_duty_start(&health->duty, log);
}


static void
ms_health_work(void *data, ngx_uint_t taken)
{
    ms_health_t *health = data;

    uint32_t      limit;
    ms_pool_t    *pool;
    ms_zone_t    *zone;
    ngx_msec_t    within;
    ngx_uint_t    completed, rebuilt;
    ms_rounds_t   asked;

    zone = health->conf->sessions->zone;

    pool = ms_zone_lock(zone, &rebuilt);

    limit = ms_pool_limit(pool);
    asked = zone->sh->rounds;
    completed = asked.completed;
    zone->sh->rounds.nasked = 0;

    ms_zone_unlock(zone, rebuilt, ngx_cycle->log);

    within = 0;

    if (taken) {

        if (ms_health_init_targets(health) != NGX_OK) {
            ms_duty_leave(&health->duty);
            return;
        }

        /* another worker may have probed a moment ago */

        within = completed ? health->conf->interval : 0;
    }

    ms_health_add_targets(health, limit, within);
    ms_health_find_joined(health);
    ms_health_find_asked(health, &asked);

    /* without members there was no round: they may join soon */

    if (!completed && limit && health->unknown == 0) {
        ms_health_complete_round(health);
    }
}


static ngx_int_t
ms_health_init_targets(ms_health_t *health)
{
    health->pool = ngx_create_pool(4096, ngx_cycle->log);
    if (health->pool == NULL) {
        return NGX_ERROR;
    }

    ngx_queue_init(&health->targets);
    ngx_queue_init(&health->waiting);

    health->ntargets = 0;
    health->running = 0;
    health->unknown = 0;

    return NGX_OK;
}


static void
ms_health_stop(void *data)
{
    ms_health_t *health = data;

    ngx_queue_t         *q;
    ms_health_target_t  *target;

    if (health->pool == NULL) {
        return;
    }

    if (health->next.posted) {
        ngx_delete_posted_event(&health->next);
    }

    for (q = ngx_queue_head(&health->targets);
         q != ngx_queue_sentinel(&health->targets);
         q = ngx_queue_next(q))
    {
        target = ngx_queue_data(q, ms_health_target_t, queue);

        if (target->timer.timer_set) {
            ngx_del_timer(&target->timer);
        }

        if (target->probe) {
            ms_probe_cancel(target->probe);
        }
    }

    ngx_destroy_pool(health->pool);
    health->pool = NULL;
}


/* a target for each record of the pool; records are used again */

static void
ms_health_add_targets(ms_health_t *health, uint32_t limit, ngx_msec_t within)
{
    ngx_event_t         *ev;
    ms_health_target_t  *target;

    while (health->ntargets < limit) {

        target = ngx_pcalloc(health->pool, sizeof(ms_health_target_t));
        if (target == NULL) {
            return;
        }

        target->health = health;
        target->instance = health->ntargets++;

        ev = &target->timer;
        ev->handler = ms_health_due;
        ev->data = target;
        ev->log = ngx_cycle->log;
        ev->cancelable = 1;

        ngx_queue_insert_tail(&health->targets, &target->queue);
        health->unknown++;

        ngx_add_timer(ev, within ? ngx_random() % within : 0);
    }
}


/* members that took the records of others are probed at once, too */

static void
ms_health_find_joined(ms_health_t *health)
{
    ms_pool_t           *pool;
    ngx_uint_t           joined, rebuilt;
    ngx_queue_t         *q;
    ms_instance_info_t   info;
    ms_zone_t           *zone;
    ms_health_target_t  *target;

    zone = health->conf->sessions->zone;
    joined = zone->sh->rounds.joined;

    if (health->joined == joined) {
        return;
    }

    health->joined = joined;

    pool = ms_zone_lock(zone, &rebuilt);

    for (q = ngx_queue_head(&health->targets);
         q != ngx_queue_sentinel(&health->targets);
         q = ngx_queue_next(q))
    {
        target = ngx_queue_data(q, ms_health_target_t, queue);

        ms_pool_info(pool, target->instance, &info);

        /* a member that left and is back may have its previous record */

        target->replaced = target->probed
                           && info.state != MS_INSTANCE_UNUSED
                           && (info.health == MS_VERDICT_NONE
                               || target->hash
                                  != ngx_crc32_short((u_char *) info.name,
                                                     info.name_len));

        if (target->replaced) {
            target->hash = 0;
        }
    }

    ms_zone_unlock(zone, rebuilt, ngx_cycle->log);

    for (q = ngx_queue_head(&health->targets);
         q != ngx_queue_sentinel(&health->targets);
         q = ngx_queue_next(q))
    {
        target = ngx_queue_data(q, ms_health_target_t, queue);

        if (target->replaced && target->timer.timer_set) {
            ngx_add_timer(&target->timer, 0);
        }
    }
}


static void
ms_health_find_asked(ms_health_t *health, ms_rounds_t *asked)
{
    ngx_uint_t           i;
    ngx_queue_t         *q;
    ms_health_target_t  *target;

    if (asked->nasked == 0) {
        return;
    }

    for (q = ngx_queue_head(&health->targets);
         q != ngx_queue_sentinel(&health->targets);
         q = ngx_queue_next(q))
    {
        target = ngx_queue_data(q, ms_health_target_t, queue);

        for (i = 0; i < asked->nasked; i++) {

            if (asked->asked[i] == target->instance
                && target->timer.timer_set)
            {
                ngx_add_timer(&target->timer, 0);
            }
        }
    }
}


static void
ms_health_complete_round(ms_health_t *health)
{
    ms_pool_t    *pool;
    ngx_uint_t    rebuilt;
    ms_zone_t    *zone;
    ms_rounds_t  *rounds;

    zone = health->conf->sessions->zone;
    rounds = &zone->sh->rounds;

    if (!zone->sh->lookup.ready) {

        /* names have no answer yet; work() tries again */

        return;
    }

    pool = ms_zone_lock(zone, &rebuilt);

    /* not if members joined since the last work() */

    if (ms_pool_limit(pool) <= health->ntargets
        && rounds->joined == health->joined)
    {
        rounds->completed = 1;
    }

    ms_zone_unlock(zone, rebuilt, ngx_cycle->log);
}


static void
ms_health_due(ngx_event_t *ev)
{
    ms_health_t         *health;
    ms_health_target_t  *target;

    target = ev->data;
    health = target->health;

    if (ngx_exiting) {
        ms_duty_leave(&health->duty);
        return;
    }

    ngx_queue_insert_tail(&health->waiting, &target->turn);

    ms_health_next(&health->next);
}


static void
ms_health_next(ngx_event_t *ev)
{
    ms_health_t *health = ev->data;

    ngx_uint_t    max;
    ngx_queue_t  *q;

    max = ngx_cycle->connection_n / MS_HEALTH_PART;
    max = ngx_min(max, MS_HEALTH_PROBES);

    /* one is always possible */

    while (health->running <= max && !ngx_queue_empty(&health->waiting)) {
        q = ngx_queue_head(&health->waiting);
        ngx_queue_remove(q);

        ms_health_probe(ngx_queue_data(q, ms_health_target_t, turn));
    }
}


static void
ms_health_probe(ms_health_target_t *target)
{
    ms_probe_t   *probe;
    ms_health_t  *health;

    health = target->health;
    probe = ms_probe_create(&health->conf->probe, target);

    if (probe == NULL) {
        ms_health_rearm(target, health->conf->interval);
        return;
    }

    if (ms_health_prepare(target, probe) != NGX_OK) {
        ms_probe_cancel(probe);
        ms_health_rearm(target, health->conf->interval);
        return;
    }

    health->running++;
    target->probe = probe;
    target->since = ngx_current_msec;

    ms_probe_start(probe);
}


void
ms_health_probed(ms_probe_t *probe)
{
    ngx_uint_t             up;
    ms_health_t           *health;
    ms_exchange_result_t  *result;
    ms_health_target_t    *target;
    ms_health_srv_conf_t  *conf;

    target = ms_probe_data(probe);
    result = ms_probe_result(probe);
    health = target->health;
    conf = health->conf;

    target->probe = NULL;
    health->running--;

    ms_health_count(target, result);

    if (result->rc == NGX_ABORT) {
        ms_duty_leave(&health->duty);
        return;
    }

    if (!ngx_queue_empty(&health->waiting) && !health->next.posted) {
        ngx_post_event(&health->next, &ngx_posted_events);
    }

    if (result->rc == NGX_ERROR) {
        ms_health_rearm(target, conf->interval);
        return;
    }

    up = ms_health_apply(target, result);

    /* a state that is about to change is probed again soon */

    if (target->soon
        || (up && target->failed && target->failed < conf->fails)
        || (!up && target->passed && target->passed < conf->passes))
    {
        ms_health_rearm(target, conf->interval / 4);
        return;
    }

    ms_health_rearm(target, conf->interval);
}


static void
ms_health_count(ms_health_target_t *target, ms_exchange_result_t *result)
{
    ms_zone_t   *zone;
    ms_check_e   check;

    zone = target->health->conf->sessions->zone;

    switch (result->rc) {

    case NGX_OK:
        check = MS_CHECK_PASSED;
        break;

    case NGX_DECLINED:
        check = result->unanswered ? MS_CHECK_UNANSWERED : MS_CHECK_FAILED;
        break;

    case NGX_ERROR:
        ms_counts_add(&zone->counts->checks[MS_CHECK_ERROR], 1);
        return;

    default:                            /* NGX_ABORT */
        return;
    }

    ms_counts_add(&zone->counts->checks[check], 1);
    ms_counts_time(&zone->counts->probe, &ms_times_default,
                   ngx_current_msec - target->since);

    /* never 0; workers need no lock to read it */

    zone->sh->rounds.probed = ngx_max(ngx_current_msec, 1);
}


/* probes again after "delay" or a little less, so that probes spread */

static void
ms_health_rearm(ms_health_target_t *target, ngx_msec_t delay)
{
    ms_health_t  *health;

    health = target->health;

    if (!target->probed) {
        target->probed = 1;
        health->unknown--;

        if (health->unknown == 0) {
            ms_health_complete_round(health);
        }
    }

    delay -= ngx_random() % (delay / 8 + 1);

    ngx_add_timer(&target->timer, target->replaced ? 0 : delay);
}
