
/*
 * Active health checks of an upstream with sessions.  One worker at a time
 * does them: it holds a lease in the shared zone, which another one takes
 * over when it dies, exits or stops renewing.
 *
 * Each check has a connection of its own.  It shows what a new call needs,
 * that the instance takes connections, and leaves nothing open: neither a
 * descriptor per instance, nor a connection that a reload had to wait for.
 */

#include "ngx_http_myservice_probe.h"
#include "ngx_http_myservice_sessions.h"


#define NGX_HTTP_MYSERVICE_HEALTH_TICK    250
#define NGX_HTTP_MYSERVICE_HEALTH_LEASE   3000

/* checks at once; the others wait for their turn */
#define NGX_HTTP_MYSERVICE_HEALTH_CHECKS  128

/* workers take the time once per turn of their event loops */
#define NGX_HTTP_MYSERVICE_HEALTH_SLACK   100

/* how often a call looks whether the first round has ended, and for how much
 * longer than one check */
#define NGX_HTTP_MYSERVICE_HEALTH_POLL    5
#define NGX_HTTP_MYSERVICE_HEALTH_GRACE   500


typedef struct {
    ngx_array_t                       checks;   /* ngx_http_myservice_health
                                                   _srv_conf_t * */
} ngx_http_myservice_health_main_conf_t;


typedef struct {
    ngx_http_myservice_probe_conf_t   probe;
    ngx_msec_t                        interval;
    ngx_uint_t                        fails;
    ngx_uint_t                        passes;
    ngx_flag_t                        enabled;

    ngx_http_upstream_srv_conf_t     *upstream;
    ngx_http_myservice_sessions_srv_conf_t
                                     *sessions;
} ngx_http_myservice_health_srv_conf_t;


/* the checks of an upstream, of a worker */

typedef struct {
    ngx_event_t                       tick;     /* the first member */
    ngx_event_t                       next;
    ngx_http_myservice_health_srv_conf_t
                                     *conf;

    /* while this worker has the lease */
    ngx_pool_t                       *pool;
    ngx_queue_t                       targets;
    ngx_queue_t                       waiting;
    uint32_t                          ntargets;
    ngx_uint_t                        running;
    ngx_uint_t                        unknown;  /* not checked yet */
} ngx_http_myservice_health_t;


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
} ngx_http_myservice_health_target_t;


static ngx_int_t ngx_http_myservice_health_wait(ngx_http_request_t *r);
static void ngx_http_myservice_health_wake(ngx_http_request_t *r);

static void ngx_http_myservice_health_tick(ngx_event_t *ev);
static ngx_uint_t ngx_http_myservice_health_acquire(
    ngx_http_myservice_health_t *health, uint32_t *limit,
    ngx_uint_t *settled);
static ngx_int_t ngx_http_myservice_health_begin(
    ngx_http_myservice_health_t *health);
static void ngx_http_myservice_health_give_up(
    ngx_http_myservice_health_t *health);
static void ngx_http_myservice_health_add(
    ngx_http_myservice_health_t *health, uint32_t limit, ngx_msec_t within);
static void ngx_http_myservice_health_settle(
    ngx_http_myservice_health_t *health);

static void ngx_http_myservice_health_due(ngx_event_t *ev);
static void ngx_http_myservice_health_next(ngx_event_t *ev);
static void ngx_http_myservice_health_check(
    ngx_http_myservice_health_target_t *target);
static ngx_int_t ngx_http_myservice_health_peer(
    ngx_http_myservice_health_target_t *target,
    ngx_http_myservice_probe_t *probe);
static void ngx_http_myservice_health_checked(
    ngx_http_myservice_probe_t *probe);
static ngx_uint_t ngx_http_myservice_health_apply(
    ngx_http_myservice_health_target_t *target,
    ngx_http_myservice_probe_result_t *result);
static ngx_int_t ngx_http_myservice_health_judge(
    ngx_http_myservice_health_target_t *target,
    ngx_http_myservice_probe_result_t *result, ms_pool_t *pool,
    ngx_uint_t up);
static void ngx_http_myservice_health_rearm(
    ngx_http_myservice_health_target_t *target, ngx_msec_t delay);
static ngx_uint_t ngx_http_myservice_health_up(ms_instance_state_t state);

static ngx_int_t ngx_http_myservice_health_init_process(ngx_cycle_t *cycle);
static void ngx_http_myservice_health_exit_process(ngx_cycle_t *cycle);
static void *ngx_http_myservice_health_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_myservice_health_create_srv_conf(ngx_conf_t *cf);
static char *ngx_http_myservice_health_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static char *ngx_http_myservice_health(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_myservice_health_parameter(ngx_conf_t *cf,
    ngx_http_myservice_health_srv_conf_t *conf, ngx_str_t *value);
static char *ngx_http_myservice_health_time(ngx_conf_t *cf, ngx_str_t *value,
    size_t prefix, ngx_msec_t *ms);
static char *ngx_http_myservice_health_number(ngx_conf_t *cf,
    ngx_str_t *value, size_t prefix, ngx_uint_t *number);
static ngx_int_t ngx_http_myservice_health_init(ngx_conf_t *cf);


static ngx_command_t  ngx_http_myservice_health_commands[] = {

    { ngx_string("myservice_health"),
      NGX_HTTP_UPS_CONF|NGX_CONF_ANY,
      ngx_http_myservice_health,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_myservice_health_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_myservice_health_init,        /* postconfiguration */

    ngx_http_myservice_health_create_main_conf,
                                           /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_http_myservice_health_create_srv_conf,
                                           /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    ngx_http_myservice_health_merge_loc_conf
                                           /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_health_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_health_module_ctx, /* module context */
    ngx_http_myservice_health_commands,    /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_myservice_health_init_process, /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_myservice_health_exit_process, /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/* the first member of the private ngx_http_grpc_loc_conf_t */

extern ngx_module_t  ngx_http_grpc_module;


/* of this worker */

static ngx_array_t  *ngx_http_myservice_health_checks;


/*
 * After a cold start nobody knows who is whose: a call waits until each
 * instance has told, or had the time to.
 */

static ngx_int_t
ngx_http_myservice_health_wait(ngx_http_request_t *r)
{
    ngx_msec_int_t                         ms;
    ngx_time_t                            *tp;
    ngx_http_upstream_conf_t              *ucf;
    ngx_http_myservice_health_srv_conf_t  *conf;

    ucf = ngx_http_get_module_loc_conf(r, ngx_http_grpc_module);

    if (r != r->main || ucf->upstream == NULL
        || ucf->upstream->srv_conf == NULL)
    {
        return NGX_DECLINED;
    }

    conf = ngx_http_conf_upstream_srv_conf(ucf->upstream,
                                           ngx_http_myservice_health_module);

    if (!conf->enabled
        || ngx_http_myservice_zone_watch(conf->sessions->zone)->settled)
    {
        return NGX_DECLINED;
    }

    tp = ngx_timeofday();
    ms = (ngx_msec_int_t) ((tp->sec - r->start_sec) * 1000
                           + (tp->msec - r->start_msec));

    if (ms > (ngx_msec_int_t) (conf->probe.timeout
                               + NGX_HTTP_MYSERVICE_HEALTH_GRACE))
    {
        return NGX_DECLINED;
    }

    if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_myservice_health_wake;

    r->connection->write->delayed = 1;
    ngx_add_timer(r->connection->write, NGX_HTTP_MYSERVICE_HEALTH_POLL);

    return NGX_AGAIN;
}


static void
ngx_http_myservice_health_wake(ngx_http_request_t *r)
{
    ngx_event_t  *wev;

    wev = r->connection->write;

    if (wev->delayed) {

        if (ngx_handle_write_event(wev, 0) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        }

        return;
    }

    if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);
}


/* the lease of the worker that checks */

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

    if (!settled && health->unknown == 0) {
        ngx_http_myservice_health_settle(health);
    }
}


static ngx_uint_t
ngx_http_myservice_health_acquire(ngx_http_myservice_health_t *health,
    uint32_t *limit, ngx_uint_t *settled)
{
    ngx_pid_t                    pid, dead;
    ms_pool_t                   *pool;
    ngx_uint_t                   mine, rebuilt;
    ngx_http_myservice_zone_t   *zone;
    ngx_http_myservice_watch_t  *watch;

    zone = health->conf->sessions->zone;
    watch = ngx_http_myservice_zone_watch(zone);

    pid = watch->pid;
    dead = (pid && pid != ngx_pid && kill(pid, 0) == -1
            && ngx_errno == NGX_ESRCH) ? pid : -1;

    pool = ngx_http_myservice_zone_lock(zone, &rebuilt);

    mine = watch->pid == ngx_pid || watch->pid == 0 || watch->pid == dead
           || (ngx_msec_int_t) (watch->deadline - ngx_current_msec) < 0;

    if (mine) {
        watch->pid = ngx_pid;
        watch->deadline = ngx_current_msec + NGX_HTTP_MYSERVICE_HEALTH_LEASE;
    }

    *limit = ms_pool_limit(pool);
    *settled = watch->settled;

    ngx_http_myservice_zone_unlock(zone, rebuilt, ngx_cycle->log);

    return mine;
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


static void
ngx_http_myservice_health_give_up(ngx_http_myservice_health_t *health)
{
    ngx_uint_t                           rebuilt;
    ngx_queue_t                         *q;
    ngx_http_myservice_zone_t           *zone;
    ngx_http_myservice_watch_t          *watch;
    ngx_http_myservice_health_target_t  *target;

    zone = health->conf->sessions->zone;
    watch = ngx_http_myservice_zone_watch(zone);

    if (watch->pid == ngx_pid) {
        (void) ngx_http_myservice_zone_lock(zone, &rebuilt);

        if (watch->pid == ngx_pid) {
            watch->pid = 0;
        }

        ngx_http_myservice_zone_unlock(zone, rebuilt, ngx_cycle->log);
    }

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


static void
ngx_http_myservice_health_settle(ngx_http_myservice_health_t *health)
{
    ngx_uint_t                  rebuilt;
    ngx_http_myservice_zone_t  *zone;

    zone = health->conf->sessions->zone;

    (void) ngx_http_myservice_zone_lock(zone, &rebuilt);

    ngx_http_myservice_zone_watch(zone)->settled = 1;

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

    ngx_queue_t  *q;

    while (health->running < NGX_HTTP_MYSERVICE_HEALTH_CHECKS
           && !ngx_queue_empty(&health->waiting))
    {
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
    rc = NGX_DECLINED;

    pool = ngx_http_myservice_zone_lock(zone, &rebuilt);

    ms_pool_info(pool, target->instance, &info);

    if (info.state != MS_INSTANCE_UNUSED && info.addr_len) {
        hash = ngx_crc32_short((u_char *) info.name, info.name_len);

        if (hash != target->hash) {
            target->hash = hash;
            target->failed = 0;
            target->passed = 0;
        }

        target->up = ngx_http_myservice_health_up(info.state);
        ngx_http_myservice_probe_peer(probe, &info);
        rc = NGX_OK;
    }

    ngx_http_myservice_zone_unlock(zone, rebuilt, ngx_cycle->log);

    return rc;
}


static void
ngx_http_myservice_health_checked(ngx_http_myservice_probe_t *probe)
{
    ngx_uint_t                             up;
    ngx_http_myservice_health_t           *health;
    ngx_http_myservice_probe_result_t     *result;
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
    ngx_http_myservice_probe_result_t *result)
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
    ngx_http_myservice_probe_result_t *result, ms_pool_t *pool, ngx_uint_t up)
{
    ms_pool_terms_t                        terms;
    ngx_http_myservice_watch_t            *watch;
    ngx_http_myservice_health_srv_conf_t  *conf;

    conf = target->health->conf;

    if (result->rc != NGX_OK) {
        target->passed = 0;
        target->failed++;

        if (target->failed < conf->fails) {
            return NGX_DECLINED;
        }

        ms_pool_down(pool, target->instance, ngx_current_msec);

        return NGX_OK;
    }

    target->failed = 0;

    if (!up && target->up) {

        /* it failed or left since it was asked: the answer is too old */

        target->passed = 0;
        return NGX_DECLINED;
    }

    target->passed++;

    if (!up && target->passed < conf->passes) {
        return NGX_DECLINED;
    }

    watch = ngx_http_myservice_zone_watch(conf->sessions->zone);

    if (result->tells) {
        watch->telling = 1;
    }

    /* only where instances name their sessions no name means no session */

    if (result->silent || !watch->telling) {
        ms_pool_up(pool, target->instance, ngx_current_msec);
        return NGX_OK;
    }

    terms.ttl = conf->sessions->ttl;
    terms.lifetime = conf->sessions->lifetime;
    terms.ends = 0;

    ms_pool_learn(pool, target->instance, result->session.data,
                  result->session.len, &terms,
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

    ngx_add_timer(&target->timer, delay - ngx_random() % (delay / 8 + 1));
}


static ngx_uint_t
ngx_http_myservice_health_up(ms_instance_state_t state)
{
    return state == MS_INSTANCE_FREE
           || state == MS_INSTANCE_TENTATIVE
           || state == MS_INSTANCE_LEASED
           || state == MS_INSTANCE_DRAINING;
}


/* set-up */

static ngx_int_t
ngx_http_myservice_health_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                               i;
    ngx_http_myservice_health_t             *health;
    ngx_http_myservice_health_main_conf_t   *hmcf;
    ngx_http_myservice_health_srv_conf_t   **conf;

    ngx_http_myservice_health_checks = NULL;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    hmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                           ngx_http_myservice_health_module);

    if (hmcf == NULL || hmcf->checks.nelts == 0) {
        return NGX_OK;
    }

    conf = hmcf->checks.elts;

    ngx_http_myservice_health_checks = ngx_array_create(cycle->pool,
                                    hmcf->checks.nelts,
                                    sizeof(ngx_http_myservice_health_t));
    if (ngx_http_myservice_health_checks == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < hmcf->checks.nelts; i++) {

        /* there is room for all: they do not move */

        health = ngx_array_push(ngx_http_myservice_health_checks);
        ngx_memzero(health, sizeof(ngx_http_myservice_health_t));

        health->conf = conf[i];

        health->tick.handler = ngx_http_myservice_health_tick;
        health->tick.data = health;
        health->tick.log = cycle->log;
        health->tick.cancelable = 1;

        health->next.handler = ngx_http_myservice_health_next;
        health->next.data = health;
        health->next.log = cycle->log;

        ngx_add_timer(&health->tick, 1);
    }

    return NGX_OK;
}


static void
ngx_http_myservice_health_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                    i;
    ngx_http_myservice_health_t  *health;

    if (ngx_http_myservice_health_checks == NULL) {
        return;
    }

    health = ngx_http_myservice_health_checks->elts;

    for (i = 0; i < ngx_http_myservice_health_checks->nelts; i++) {
        ngx_http_myservice_health_give_up(&health[i]);
    }
}


static void *
ngx_http_myservice_health_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_myservice_health_main_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool,
                       sizeof(ngx_http_myservice_health_main_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&conf->checks, cf->pool, 4,
                       sizeof(ngx_http_myservice_health_srv_conf_t *))
        != NGX_OK)
    {
        return NULL;
    }

    return conf;
}


static void *
ngx_http_myservice_health_create_srv_conf(ngx_conf_t *cf)
{
    ngx_http_myservice_health_srv_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool,
                       sizeof(ngx_http_myservice_health_srv_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->probe.service = { 0, NULL };
     *     conf->enabled = 0;
     *     conf->upstream = NULL;
     *     conf->sessions = NULL;
     */

    conf->probe.timeout = 2000;
    conf->probe.handler = ngx_http_myservice_health_checked;
    conf->interval = 5000;
    conf->fails = 2;
    conf->passes = 1;

    return conf;
}


/* the grpc module was merged before this one */

static char *
ngx_http_myservice_health_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
#if (NGX_HTTP_SSL)

    ngx_http_upstream_conf_t              *ucf;
    ngx_http_myservice_health_srv_conf_t  *conf;

    ucf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_grpc_module);

    if (ucf == NULL || ucf->upstream == NULL
        || ucf->upstream->srv_conf == NULL
        || ucf->ssl == NULL || ucf->ssl->ctx == NULL)
    {
        return NGX_CONF_OK;
    }

    conf = ngx_http_conf_upstream_srv_conf(ucf->upstream,
                                           ngx_http_myservice_health_module);

    if (conf->enabled) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"myservice_health\" of upstream \"%V\" checks "
                           "without TLS, \"grpcs://\" cannot be used with it",
                           &ucf->upstream->host);
        return NGX_CONF_ERROR;
    }

#endif

    return NGX_CONF_OK;
}


static char *
ngx_http_myservice_health(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_myservice_health_srv_conf_t *hscf = conf;

    char                                    *rv;
    ngx_str_t                               *value;
    ngx_uint_t                               i;
    ngx_http_myservice_health_main_conf_t   *hmcf;
    ngx_http_myservice_health_srv_conf_t   **check;

    if (hscf->enabled) {
        return "is duplicate";
    }

    hscf->sessions = ngx_http_conf_get_module_srv_conf(cf,
                                         ngx_http_myservice_sessions_module);

    if (hscf->sessions->zone == NULL) {
        return "must stand after \"myservice_sessions\"";
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        rv = ngx_http_myservice_health_parameter(cf, hscf, &value[i]);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    hmcf = ngx_http_conf_get_module_main_conf(cf,
                                           ngx_http_myservice_health_module);

    check = ngx_array_push(&hmcf->checks);
    if (check == NULL) {
        return NGX_CONF_ERROR;
    }

    *check = hscf;

    hscf->upstream = ngx_http_conf_get_module_srv_conf(cf,
                                                   ngx_http_upstream_module);
    hscf->sessions->zone->health = 1;
    hscf->enabled = 1;

    return NGX_CONF_OK;
}


static char *
ngx_http_myservice_health_parameter(ngx_conf_t *cf,
    ngx_http_myservice_health_srv_conf_t *conf, ngx_str_t *value)
{
    if (ngx_strncmp(value->data, "interval=", 9) == 0) {
        return ngx_http_myservice_health_time(cf, value, 9, &conf->interval);
    }

    if (ngx_strncmp(value->data, "timeout=", 8) == 0) {
        return ngx_http_myservice_health_time(cf, value, 8,
                                              &conf->probe.timeout);
    }

    if (ngx_strncmp(value->data, "fails=", 6) == 0) {
        return ngx_http_myservice_health_number(cf, value, 6, &conf->fails);
    }

    if (ngx_strncmp(value->data, "passes=", 7) == 0) {
        return ngx_http_myservice_health_number(cf, value, 7, &conf->passes);
    }

    if (ngx_strncmp(value->data, "service=", 8) == 0) {
        conf->probe.service.data = value->data + 8;
        conf->probe.service.len = value->len - 8;

        if (conf->probe.service.len > NGX_HTTP_MYSERVICE_PROBE_SERVICE_MAX) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" is longer than %d bytes", value,
                               NGX_HTTP_MYSERVICE_PROBE_SERVICE_MAX);
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value->data, "mandatory") == 0) {
        conf->sessions->zone->mandatory = 1;
        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"",
                       value);

    return NGX_CONF_ERROR;
}


static char *
ngx_http_myservice_health_time(ngx_conf_t *cf, ngx_str_t *value,
    size_t prefix, ngx_msec_t *ms)
{
    ngx_str_t  s;

    s.data = value->data + prefix;
    s.len = value->len - prefix;

    *ms = ngx_parse_time(&s, 0);

    if (*ms == (ngx_msec_t) NGX_ERROR || *ms < 100 || *ms > 86400000) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\", expected a time of 100ms to 1d",
                           value);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_myservice_health_number(ngx_conf_t *cf, ngx_str_t *value,
    size_t prefix, ngx_uint_t *number)
{
    ngx_int_t  n;

    n = ngx_atoi(value->data + prefix, value->len - prefix);

    if (n < 1 || n > 100) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\", expected 1-100", value);
        return NGX_CONF_ERROR;
    }

    *number = n;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_myservice_health_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt                    *h;
    ngx_http_core_main_conf_t              *cmcf;
    ngx_http_myservice_health_main_conf_t  *hmcf;

    hmcf = ngx_http_conf_get_module_main_conf(cf,
                                           ngx_http_myservice_health_module);

    if (hmcf->checks.nelts == 0) {
        return NGX_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_myservice_health_wait;

    return NGX_OK;
}
