
#include "ngx_http_myservice_health.h"

#include "ngx_http_myservice_lease.h"


#define NGX_HTTP_MYSERVICE_HEALTH_TICK    250

/* checks at once, and which part of the worker's connections they may take;
 * the others wait for their turn */
#define NGX_HTTP_MYSERVICE_HEALTH_CHECKS  128
#define NGX_HTTP_MYSERVICE_HEALTH_PART    8

/* workers take the time once per turn of their event loops */
#define NGX_HTTP_MYSERVICE_HEALTH_SLACK   100


/* a record of the pool, whichever member it holds */

typedef struct {
    ngx_event_t                       timer;    /* the first member */
    ngx_queue_t                       queue;    /* of all */
    ngx_queue_t                       turn;     /* of those that wait */
    ngx_http_myservice_health_t      *health;
    ngx_http_myservice_probe_t       *probe;
    uint32_t                          instance;
    uint32_t                          hash;     /* of the member's name */
    ngx_uint_t                        failed;   /* in a row */
    ngx_uint_t                        passed;
    unsigned                          known:1;  /* was checked */
    unsigned                          up:1;     /* when the check began */
    unsigned                          other:1;  /* holds another member now */
    unsigned                          tells:1;  /* of its session */
} ngx_http_myservice_health_target_t;


static void ngx_http_myservice_health_tick(ngx_event_t *ev);
static ngx_uint_t ngx_http_myservice_health_acquire(
    ngx_http_myservice_health_t *health, uint32_t *limit,
    ngx_uint_t *settled);
static ngx_int_t ngx_http_myservice_health_begin(
    ngx_http_myservice_health_t *health);
static void ngx_http_myservice_health_add(
    ngx_http_myservice_health_t *health, uint32_t limit, ngx_msec_t within);
static void ngx_http_myservice_health_joined(
    ngx_http_myservice_health_t *health);
static void ngx_http_myservice_health_settle(
    ngx_http_myservice_health_t *health);

static void ngx_http_myservice_health_due(ngx_event_t *ev);
static void ngx_http_myservice_health_next(ngx_event_t *ev);
static void ngx_http_myservice_health_check(
    ngx_http_myservice_health_target_t *target);
static ngx_int_t ngx_http_myservice_health_peer(
    ngx_http_myservice_health_target_t *target,
    ngx_http_myservice_probe_t *probe);
static ngx_uint_t ngx_http_myservice_health_apply(
    ngx_http_myservice_health_target_t *target,
    ngx_http_myservice_check_result_t *result);
static ngx_int_t ngx_http_myservice_health_judge(
    ngx_http_myservice_health_target_t *target,
    ngx_http_myservice_check_result_t *result, ms_pool_t *pool,
    ngx_uint_t up);
static void ngx_http_myservice_health_rearm(
    ngx_http_myservice_health_target_t *target, ngx_msec_t delay);
static ngx_uint_t ngx_http_myservice_health_up(ms_instance_state_t state);


void
ngx_http_myservice_health_start(ngx_http_myservice_health_t *health,
    ngx_http_myservice_health_srv_conf_t *conf, ngx_log_t *log)
{
    ngx_memzero(health, sizeof(ngx_http_myservice_health_t));

    health->conf = conf;

    health->tick.handler = ngx_http_myservice_health_tick;
    health->tick.data = health;
    health->tick.log = log;
    health->tick.cancelable = 1;

    health->next.handler = ngx_http_myservice_health_next;
    health->next.data = health;
    health->next.log = log;

    ngx_add_timer(&health->tick, 1);
}


static void
ngx_http_myservice_health_tick(ngx_event_t *ev)
{
    ngx_http_myservice_health_t *health = ev->data;

    uint32_t    limit;
    ngx_msec_t  within;
    ngx_uint_t  settled;

    if (ngx_exiting) {
        ngx_http_myservice_health_give_up(health);
        return;
    }

    ngx_add_timer(ev, NGX_HTTP_MYSERVICE_HEALTH_TICK);

    if (!ngx_http_myservice_health_acquire(health, &limit, &settled)) {

        /* if it was ours, it was taken from a worker that hung */

        ngx_http_myservice_health_give_up(health);
        return;
    }

    within = 0;

    if (health->pool == NULL) {

        if (ngx_http_myservice_health_begin(health) != NGX_OK) {
            ngx_http_myservice_health_give_up(health);
            return;
        }

        /* the worker before us may have checked a moment ago */

        within = settled ? health->conf->interval : 0;
    }

    ngx_http_myservice_health_add(health, limit, within);
    ngx_http_myservice_health_joined(health);

    /* without members there was no round: their addresses may be on the way */

    if (!settled && limit && health->unknown == 0) {
        ngx_http_myservice_health_settle(health);
    }
}


static ngx_uint_t
ngx_http_myservice_health_acquire(ngx_http_myservice_health_t *health,
    uint32_t *limit, ngx_uint_t *settled)
{
    ms_pool_t                   *pool;
    ngx_uint_t                   rebuilt;
    ngx_http_myservice_zone_t   *zone;
    ngx_http_myservice_watch_t  *watch;

    zone = health->conf->sessions->zone;
    watch = ngx_http_myservice_zone_watch(zone);

    if (!ngx_http_myservice_zone_duty(zone, &watch->duty)) {
        return 0;
    }

    pool = ngx_http_myservice_zone_lock(zone, &rebuilt);

    *limit = ms_pool_limit(pool);
    *settled = watch->settled;

    ngx_http_myservice_zone_unlock(zone, rebuilt, ngx_cycle->log);

    return 1;
}


static ngx_int_t
ngx_http_myservice_health_begin(ngx_http_myservice_health_t *health)
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


void
ngx_http_myservice_health_give_up(ngx_http_myservice_health_t *health)
{
    ngx_queue_t                         *q;
    ngx_http_myservice_zone_t           *zone;
    ngx_http_myservice_health_target_t  *target;

    zone = health->conf->sessions->zone;

    ngx_http_myservice_zone_leave(zone,
                           &ngx_http_myservice_zone_watch(zone)->duty);

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
        target = ngx_queue_data(q, ngx_http_myservice_health_target_t, queue);

        if (target->timer.timer_set) {
            ngx_del_timer(&target->timer);
        }

        if (target->probe) {
            ngx_http_myservice_probe_cancel(target->probe);
        }
    }

    ngx_destroy_pool(health->pool);
    health->pool = NULL;
}


/* records that are new; one that is used again has its target */

static void
ngx_http_myservice_health_add(ngx_http_myservice_health_t *health,
    uint32_t limit, ngx_msec_t within)
{
    ngx_event_t                         *ev;
    ngx_http_myservice_health_target_t  *target;

    while (health->ntargets < limit) {

        target = ngx_pcalloc(health->pool,
                             sizeof(ngx_http_myservice_health_target_t));
        if (target == NULL) {
            return;
        }

        target->health = health;
        target->instance = health->ntargets++;

        ev = &target->timer;
        ev->handler = ngx_http_myservice_health_due;
        ev->data = target;
        ev->log = ngx_cycle->log;
        ev->cancelable = 1;

        ngx_queue_insert_tail(&health->targets, &target->queue);
        health->unknown++;

        ngx_add_timer(ev, within ? ngx_random() % within : 0);
    }
}


/* members that took the places of others are checked at once, too */

static void
ngx_http_myservice_health_joined(ngx_http_myservice_health_t *health)
{
    ms_pool_t                           *pool;
    ngx_uint_t                           joined, rebuilt;
    ngx_queue_t                         *q;
    ms_instance_info_t                   info;
    ngx_http_myservice_zone_t           *zone;
    ngx_http_myservice_health_target_t  *target;

    zone = health->conf->sessions->zone;
    joined = ngx_http_myservice_zone_watch(zone)->joined;

    if (health->joined == joined) {
        return;
    }

    health->joined = joined;

    pool = ngx_http_myservice_zone_lock(zone, &rebuilt);

    for (q = ngx_queue_head(&health->targets);
         q != ngx_queue_sentinel(&health->targets);
         q = ngx_queue_next(q))
    {
        target = ngx_queue_data(q, ngx_http_myservice_health_target_t, queue);

        ms_pool_info(pool, target->instance, &info);

        /* one that left and is back may have the record of before */

        target->other = target->known && info.state != MS_INSTANCE_UNUSED
                        && (info.health == MS_VERDICT_NONE
                            || target->hash
                               != ngx_crc32_short((u_char *) info.name,
                                                  info.name_len));

        if (target->other) {
            target->hash = 0;
        }
    }

    ngx_http_myservice_zone_unlock(zone, rebuilt, ngx_cycle->log);

    for (q = ngx_queue_head(&health->targets);
         q != ngx_queue_sentinel(&health->targets);
         q = ngx_queue_next(q))
    {
        target = ngx_queue_data(q, ngx_http_myservice_health_target_t, queue);

        if (target->other && target->timer.timer_set) {
            ngx_add_timer(&target->timer, 0);
        }
    }
}


static void
ngx_http_myservice_health_settle(ngx_http_myservice_health_t *health)
{
    ms_pool_t                   *pool;
    ngx_uint_t                   rebuilt;
    ngx_http_myservice_zone_t   *zone;
    ngx_http_myservice_watch_t  *watch;

    zone = health->conf->sessions->zone;
    watch = ngx_http_myservice_zone_watch(zone);

    if (!ngx_http_myservice_zone_lookup(zone)->settled) {

        /* there are names that were not resolved yet; tick() tries again */

        return;
    }

    pool = ngx_http_myservice_zone_lock(zone, &rebuilt);

    /* or members that joined since the last tick() */

    if (ms_pool_limit(pool) <= health->ntargets
        && watch->joined == health->joined)
    {
        watch->settled = 1;
    }

    ngx_http_myservice_zone_unlock(zone, rebuilt, ngx_cycle->log);
}


/* checks */

static void
ngx_http_myservice_health_due(ngx_event_t *ev)
{
    ngx_http_myservice_health_t         *health;
    ngx_http_myservice_health_target_t  *target;

    target = ev->data;
    health = target->health;

    if (ngx_exiting) {
        ngx_http_myservice_health_give_up(health);
        return;
    }

    ngx_queue_insert_tail(&health->waiting, &target->turn);

    ngx_http_myservice_health_next(&health->next);
}


static void
ngx_http_myservice_health_next(ngx_event_t *ev)
{
    ngx_http_myservice_health_t *health = ev->data;

    ngx_uint_t    max;
    ngx_queue_t  *q;

    max = ngx_cycle->connection_n / NGX_HTTP_MYSERVICE_HEALTH_PART;
    max = ngx_min(max, NGX_HTTP_MYSERVICE_HEALTH_CHECKS);

    /* one is always possible */

    while (health->running <= max && !ngx_queue_empty(&health->waiting)) {
        q = ngx_queue_head(&health->waiting);
        ngx_queue_remove(q);

        ngx_http_myservice_health_check(
            ngx_queue_data(q, ngx_http_myservice_health_target_t, turn));
    }
}


static void
ngx_http_myservice_health_check(ngx_http_myservice_health_target_t *target)
{
    ngx_http_myservice_probe_t   *probe;
    ngx_http_myservice_health_t  *health;

    health = target->health;
    probe = ngx_http_myservice_probe_create(&health->conf->probe, target);

    if (probe == NULL) {
        ngx_http_myservice_health_rearm(target, health->conf->interval);
        return;
    }

    if (ngx_http_myservice_health_peer(target, probe) != NGX_OK) {
        ngx_http_myservice_probe_cancel(probe);
        ngx_http_myservice_health_rearm(target, health->conf->interval);
        return;
    }

    health->running++;
    target->probe = probe;

    ngx_http_myservice_probe_start(probe);
}


/* NGX_DECLINED if the record holds no member */

static ngx_int_t
ngx_http_myservice_health_peer(ngx_http_myservice_health_target_t *target,
    ngx_http_myservice_probe_t *probe)
{
    uint32_t                    hash;
    ms_pool_t                  *pool;
    ngx_int_t                   rc;
    ngx_uint_t                  rebuilt;
    ms_instance_info_t          info;
    ngx_http_myservice_zone_t  *zone;

    zone = target->health->conf->sessions->zone;
    target->other = 0;
    rc = NGX_DECLINED;

    pool = ngx_http_myservice_zone_lock(zone, &rebuilt);

    ms_pool_info(pool, target->instance, &info);

    if (info.state != MS_INSTANCE_UNUSED && info.addr_len) {
        hash = ngx_crc32_short((u_char *) info.name, info.name_len);

        if (hash != target->hash) {
            target->hash = hash;
            target->failed = 0;
            target->passed = 0;
            target->tells = 0;
        }

        target->up = ngx_http_myservice_health_up(info.state);
        ngx_http_myservice_probe_peer(probe, &info);
        rc = NGX_OK;
    }

    ngx_http_myservice_zone_unlock(zone, rebuilt, ngx_cycle->log);

    return rc;
}


void
ngx_http_myservice_health_checked(ngx_http_myservice_probe_t *probe)
{
    ngx_uint_t                             up;
    ngx_http_myservice_health_t           *health;
    ngx_http_myservice_check_result_t     *result;
    ngx_http_myservice_health_target_t    *target;
    ngx_http_myservice_health_srv_conf_t  *conf;

    target = ngx_http_myservice_probe_data(probe);
    result = ngx_http_myservice_probe_result(probe);
    health = target->health;
    conf = health->conf;

    target->probe = NULL;
    health->running--;

    if (result->rc == NGX_ABORT) {
        ngx_http_myservice_health_give_up(health);
        return;
    }

    if (!ngx_queue_empty(&health->waiting) && !health->next.posted) {
        ngx_post_event(&health->next, &ngx_posted_events);
    }

    if (result->rc == NGX_ERROR) {
        ngx_http_myservice_health_rearm(target, conf->interval);
        return;
    }

    up = ngx_http_myservice_health_apply(target, result);

    /* what is not certain yet is looked at again soon */

    if ((up && target->failed && target->failed < conf->fails)
        || (!up && target->passed && target->passed < conf->passes))
    {
        ngx_http_myservice_health_rearm(target, conf->interval / 4);
        return;
    }

    ngx_http_myservice_health_rearm(target, conf->interval);
}


/* whether it is up now */

static ngx_uint_t
ngx_http_myservice_health_apply(ngx_http_myservice_health_target_t *target,
    ngx_http_myservice_check_result_t *result)
{
    ms_pool_t                             *pool;
    ngx_uint_t                             was, up, rebuilt;
    ms_instance_info_t                     info;
    ngx_http_myservice_zone_t             *zone;
    ngx_http_myservice_health_srv_conf_t  *conf;

    conf = target->health->conf;
    zone = conf->sessions->zone;

    pool = ngx_http_myservice_zone_lock(zone, &rebuilt);

    ms_pool_info(pool, target->instance, &info);

    was = ngx_http_myservice_health_up(info.state);
    up = was;

    if (info.state != MS_INSTANCE_UNUSED
        && target->hash == ngx_crc32_short((u_char *) info.name,
                                           info.name_len)
        && ngx_http_myservice_health_judge(target, result, pool, was)
           == NGX_OK)
    {
        ms_pool_info(pool, target->instance, &info);
        up = ngx_http_myservice_health_up(info.state);
    }

    ngx_http_myservice_zone_unlock(zone, rebuilt, ngx_cycle->log);

    if (up && !was) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "health: instance %V of upstream \"%V\" is up",
                      &result->name, &conf->upstream->host);

    } else if (was && !up) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "health: instance %V of upstream \"%V\" is down: %V",
                      &result->name, &conf->upstream->host, &result->reason);
    }

    return up;
}


/* under the lock; NGX_DECLINED if nothing has changed */

static ngx_int_t
ngx_http_myservice_health_judge(ngx_http_myservice_health_target_t *target,
    ngx_http_myservice_check_result_t *result, ms_pool_t *pool, ngx_uint_t up)
{
    ms_pool_terms_t                        terms;
    ngx_http_myservice_health_srv_conf_t  *conf;

    conf = target->health->conf;

    if (result->rc != NGX_OK) {
        target->passed = 0;
        target->failed++;

        if (target->failed < conf->fails) {
            return NGX_DECLINED;
        }

        ms_pool_down(pool, target->instance, ngx_current_msec);
        ms_pool_health(pool, target->instance, MS_VERDICT_FAILED);

        return NGX_OK;
    }

    target->failed = 0;

    if (!up && target->up) {

        /* it failed or left since it was asked: the answer is too old */

        target->passed = 0;
        return NGX_DECLINED;
    }

    /* in a row since it was not up, whoever found that */

    target->passed = up ? 0 : target->passed + 1;

    if (!up && target->passed < conf->passes) {
        return NGX_DECLINED;
    }

    ms_pool_health(pool, target->instance, MS_VERDICT_PASSED);

    target->tells |= result->tells;

    /* no session means that there is none only where they are told */

    if (result->silent || !target->tells) {
        ms_pool_up(pool, target->instance, ngx_current_msec);
        return NGX_OK;
    }

    ngx_http_myservice_lease_learned(conf->sessions, &terms);

    ms_pool_learn(pool, target->instance, result->session.data,
                  result->session.len,
                  result->left ? result->left + NGX_HTTP_MYSERVICE_LEASE_GRACE
                               : 0,
                  &terms,
                  result->sent - NGX_HTTP_MYSERVICE_HEALTH_SLACK,
                  ngx_current_msec);

    return NGX_OK;
}


/* once more after "delay" or a little less, so that checks spread */

static void
ngx_http_myservice_health_rearm(ngx_http_myservice_health_target_t *target,
    ngx_msec_t delay)
{
    ngx_http_myservice_health_t  *health;

    health = target->health;

    if (!target->known) {
        target->known = 1;
        health->unknown--;

        if (health->unknown == 0) {
            ngx_http_myservice_health_settle(health);
        }
    }

    delay -= ngx_random() % (delay / 8 + 1);

    ngx_add_timer(&target->timer, target->other ? 0 : delay);
}


static ngx_uint_t
ngx_http_myservice_health_up(ms_instance_state_t state)
{
    return state == MS_INSTANCE_FREE
           || state == MS_INSTANCE_TENTATIVE
           || state == MS_INSTANCE_LEASED
           || state == MS_INSTANCE_DRAINING;
}
