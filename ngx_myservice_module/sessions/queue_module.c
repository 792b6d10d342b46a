
/*
 * "myservice_queue": a new session that finds all instances busy waits for one,
 * in a line that all workers share (pool/line.c).  Its calls wait in a phase,
 * before the upstream starts.  When their turn comes, an instance is leased to
 * the session tentatively, and the balancer's claim finds that lease.
 */

#include "sessions/queue.h"

#include "answers/errors.h"
#include "answers/wait.h"
#include "core/context.h"
#include "core/grpc.h"
#include "core/texts.h"
#include "core/timeout.h"
#include "core/values.h"
#include "core/variable.h"
#include "sessions/calls.h"
#include "sessions/limit.h"
#include "sessions/stored.h"
#include "sessions/terms.h"
#include "sessions/waiter.h"
#include "store/store.h"
#include "zone/line.h"
#include "zone/wake.h"


#define MS_QUEUE_TIMEOUT  30000


typedef struct {
    ngx_uint_t           length;        /* 0: no line */
    ngx_msec_t           timeout;
} ms_queue_srv_conf_t;


#define ms_queue_get_ctx(r)                                                   \
    (ms_waiter_t *) ms_context_find(r, &ngx_http_myservice_queue_module)


static ngx_int_t ms_queue_handler(ngx_http_request_t *r);
static ngx_int_t ms_queue_enter(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us, ms_queue_srv_conf_t *conf,
    ms_waiter_t **found);
static ngx_int_t ms_queue_waits(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us, ms_waiter_t *ctx);
static ms_waiter_t *ms_queue_create(ngx_http_request_t *r,
    ms_queue_srv_conf_t *conf, ms_zone_t *zone);

static ngx_int_t ms_queue_time_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);

static ngx_int_t ms_queue_preconfiguration(ngx_conf_t *cf);
static void *ms_queue_create_srv_conf(ngx_conf_t *cf);
static char *ms_queue(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static ngx_int_t ms_queue_init(ngx_conf_t *cf);
static ngx_int_t ms_queue_init_module(ngx_cycle_t *cycle);
static ngx_int_t ms_queue_init_process(ngx_cycle_t *cycle);
static void ms_queue_exit_process(ngx_cycle_t *cycle);


static ngx_command_t  ms_queue_commands[] = {

    { ngx_string("myservice_queue"),
      NGX_HTTP_UPS_CONF|NGX_CONF_1MORE,
      ms_queue,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static const ms_value_t  ms_queue_parameters[] = {

    { ngx_string("length="), ms_value_number,
      offsetof(ms_queue_srv_conf_t, length), 1, MS_LINE_MAX, NULL, 0 },

    { ngx_string("timeout="), ms_value_time,
      offsetof(ms_queue_srv_conf_t, timeout), 1, 0, NULL, 0 },

      ms_null_value
};


static ngx_http_module_t  ngx_http_myservice_queue_module_ctx = {
    ms_queue_preconfiguration,             /* preconfiguration */
    ms_queue_init,                         /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ms_queue_create_srv_conf,              /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_queue_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_queue_module_ctx,  /* module context */
    ms_queue_commands,                     /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ms_queue_init_module,                  /* init module */
    ms_queue_init_process,                 /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ms_queue_exit_process,                 /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_variable_t  ms_queue_variables[] = {

    { ngx_string("myservice_queue_time"), NULL,
      ms_queue_time_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


static ngx_uint_t  ms_queue_configured;


ms_queue_state_t
ms_queue_state(ngx_http_request_t *r)
{
    ms_waiter_t  *ctx;

    ctx = ms_queue_get_ctx(r);

    if (ctx && ctx->stored) {
        ctx->stored = 0;
        return MS_QUEUE_STORED;
    }

    if (ctx == NULL || ctx->ticket.number == 0) {
        return MS_QUEUE_NONE;
    }

    if (ctx->lost && ctx->asks) {
        return MS_QUEUE_ASKS;
    }

    if (ctx->lost) {

        if (ms_waiter_waits(ctx)) {
            ms_waiter_pause(ctx);
            return MS_QUEUE_WAITS;
        }

        if (ctx->ticket.number && ctx->looked == MS_TURN_ASKS) {
            ctx->asks = 1;
            return MS_QUEUE_ASKS;
        }

        ms_waiter_waited(ctx);
    }

    /* a call that has waited for too long has no place any more */

    if (ctx->ticket.number == 0) {
        return MS_QUEUE_NONE;
    }

    return ctx->queued ? MS_QUEUE_TURN : MS_QUEUE_AT_ONCE;
}


void
ms_queue_leave(ngx_http_request_t *r)
{
    ms_waiter_t  *ctx;

    ctx = ms_queue_get_ctx(r);

    if (ctx == NULL || ctx->ticket.number == 0) {
        return;
    }

    if (ctx->lost && ctx->asks) {
        ctx->asks = 0;
        ms_waiter_waited(ctx);
    }

    ms_zone_line_leave(ctx->zone, &ctx->ticket, r->connection->log);
}


/*
 * The call waits inside of a pause, not in the phase: its upstream has started.
 * It does so once: who has waited in vain is refused.
 */

ngx_uint_t
ms_queue_lost(ms_call_t *call, ngx_uint_t stored)
{
    ms_waiter_t          *ctx;
    ms_queue_srv_conf_t  *conf;
    ngx_http_request_t   *r;

    r = call->request;
    ctx = ms_queue_get_ctx(r);
    conf = ngx_http_conf_upstream_srv_conf(call->conf->zone->upstream,
                                           ngx_http_myservice_queue_module);

    /* one that was left may become free: the line knows */

    if (conf->length == 0
        || (call->decision != MS_CLAIM_BUSY
            && call->decision != MS_CLAIM_UNAVAILABLE
            && call->decision != MS_CLAIM_EMPTY))
    {
        return 0;
    }

    if (ctx && ctx->lost && ctx->asks && stored) {
        ctx->asks = 0;
        ms_zone_line_back(ctx->zone, &ctx->ticket, r->connection->log);
        return 1;
    }

    if ((ctx && ctx->lost)
        || (call->attempts == 0
            && ((ctx && ctx->queued)
                || !ms_zone_leased(call->conf->zone, &call->key,
                                   r->connection->log))))
    {
        return 0;
    }

    if (ctx == NULL) {
        ctx = ms_queue_create(r, conf, call->conf->zone);
        if (ctx == NULL) {
            return 0;
        }
    }

    ctx->key = call->key;
    ctx->terms = call->terms;
    ctx->terms.call_every = 0;
    ctx->since = ngx_current_msec;
    ctx->done = 1;
    ctx->lost = 1;
    ctx->asks = 0;

    ctx->ticket.store = ms_store_of(ctx->zone->upstream) != NULL;
    ctx->ticket.local = ctx->ticket.store && !stored;

    if (ms_zone_line_enter(ctx->zone, &ctx->key, &ctx->terms, 1, &ctx->ticket,
                           r->connection->log)
        != NGX_AGAIN)
    {
        return 0;
    }

    ms_waiter_pause(ctx);

    return 1;
}


static ngx_int_t
ms_queue_handler(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ms_waiter_t                   *ctx;
    ms_queue_srv_conf_t           *conf;
    ngx_http_upstream_srv_conf_t  *us;

    us = ms_wait_upstream(r);

    if (us == NULL) {
        return NGX_DECLINED;
    }

    conf = ngx_http_conf_upstream_srv_conf(us, ngx_http_myservice_queue_module);

    if (conf->length == 0) {
        return NGX_DECLINED;
    }

    ctx = ms_queue_get_ctx(r);

    if (ctx == NULL) {
        rc = ms_queue_enter(r, us, conf, &ctx);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    if (ctx->done) {
        return NGX_DECLINED;
    }

    rc = ms_queue_waits(r, us, ctx);

    if (rc == NGX_AGAIN) {
        ms_waiter_pause(ctx);
        return NGX_AGAIN;
    }

    if (rc == NGX_BUSY) {

        if (ms_timeout_left(r) != 0) {
            return ms_waiter_wait(ctx);
        }

        ms_queue_leave(r);
        ms_waiter_waited(ctx);
        ctx->done = 1;

        return ms_errors_refuse(r, MS_GRPC_DEADLINE_EXCEEDED,
                                &ms_text_deadline_exceeded);
    }

    /* its turn has come, or the balancer refuses it */

    ctx->done = 1;

    if (ctx->queued) {
        ms_waiter_waited(ctx);
    }

    if (ctx->asks) {

        /* the next one may ask, too */

        ctx->stored = ctx->queued;
        ms_queue_leave(r);
    }

    return NGX_DECLINED;
}


/*
 * NGX_BUSY: it waits for its turn; NGX_AGAIN: it waits for the store, as its
 * turn has come; NGX_OK: it waits no more.
 */

static ngx_int_t
ms_queue_waits(ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *us,
    ms_waiter_t *ctx)
{
    ngx_int_t  rc;

    for ( ;; ) {

        if (ctx->asks) {
            rc = ms_stored_answer(r, us);

            if (rc == NGX_AGAIN || rc == NGX_OK) {
                return rc;
            }

            ctx->asks = 0;
            ctx->ticket.local = rc == NGX_ERROR;
            ms_zone_line_back(ctx->zone, &ctx->ticket, r->connection->log);
        }

        if (ms_waiter_waits(ctx)) {
            return NGX_BUSY;
        }

        if (ctx->ticket.number == 0 || ctx->looked != MS_TURN_ASKS) {
            return NGX_OK;
        }

        ctx->asks = 1;

        if (ms_stored_again_phase(r, us) == NGX_AGAIN) {
            return NGX_AGAIN;
        }
    }
}


/* NGX_AGAIN: the call has a place; else what the phase handler returns */

static ngx_int_t
ms_queue_enter(ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *us,
    ms_queue_srv_conf_t *conf, ms_waiter_t **found)
{
    ngx_int_t                rc;
    ngx_str_t                session;
    ngx_uint_t               lost;
    ms_pool_key_t            key;
    ms_waiter_t             *ctx;
    ms_pool_terms_t          terms;
    ms_sessions_srv_conf_t  *scf;

    scf = ngx_http_conf_upstream_srv_conf(us,
                                          ngx_http_myservice_sessions_module);

    rc = NGX_OK;

    if (ms_store_of(us)) {
        rc = ms_stored_answer(r, us);

        if (rc == NGX_OK) {
            return NGX_DECLINED;
        }
    }

    /* what is wrong with a call the balancer says */

    if (ms_call_key(r, scf, &session) != NGX_OK
        || ms_terms_terms(r, scf, &terms) != NGX_OK
        || ms_limit_terms(r, us, &terms) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    ms_calls_terms(us, &terms);

    /* the call itself is counted by its own claim */

    terms.call_every = 0;

    ms_zone_key(scf->zone, &session, &key);

    ctx = ms_queue_create(r, conf, scf->zone);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->key = key;
    ctx->terms = terms;
    ctx->ticket.store = rc != NGX_OK;
    ctx->ticket.local = rc == NGX_ERROR;

    *found = ctx;

    /* a session that the store does not know has lost what it has here */

    lost = rc == NGX_BUSY
           && ms_zone_leased(ctx->zone, &ctx->key, r->connection->log);

    rc = ms_zone_line_enter(ctx->zone, &ctx->key, &ctx->terms, lost,
                            &ctx->ticket, r->connection->log);

    ctx->done = rc != NGX_AGAIN;

    return ctx->done ? NGX_DECLINED : NGX_AGAIN;
}


static ms_waiter_t *
ms_queue_create(ngx_http_request_t *r, ms_queue_srv_conf_t *conf,
    ms_zone_t *zone)
{
    ms_waiter_t  *w;

    w = ms_context_make(r, &ngx_http_myservice_queue_module,
                        sizeof(ms_waiter_t), ms_waiter_end);

    if (w) {
        ms_waiter_begin(w, r, zone, conf->timeout);
    }

    return w;
}


/* seconds with milliseconds; empty if the call did not have to wait */

static ngx_int_t
ms_queue_time_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t     value;
    ngx_msec_t    ms;
    ms_waiter_t  *ctx;

    ctx = ms_queue_get_ctx(r->main);

    if (ctx == NULL || !ctx->queued) {
        return ms_variable_set(v, NULL);
    }

    ms = ctx->waited;

    if (!ctx->done || (ctx->lost && ctx->ticket.number)) {
        ms += ngx_current_msec - ctx->since;
    }

    value.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN + 4);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    value.len = ngx_sprintf(value.data, "%M.%03M", ms / 1000, ms % 1000)
                - value.data;

    return ms_variable_set(v, &value);
}


static ngx_int_t
ms_queue_preconfiguration(ngx_conf_t *cf)
{
    ms_queue_configured = 0;

    return ms_variables_add(cf, ms_queue_variables);
}


static void *
ms_queue_create_srv_conf(ngx_conf_t *cf)
{
    ms_queue_srv_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ms_queue_srv_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /* length 0 */

    conf->timeout = MS_QUEUE_TIMEOUT;

    return conf;
}


static char *
ms_queue(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ms_queue_srv_conf_t  *qcf = conf;

    char  *rv;

    if (qcf->length) {
        return "is duplicate";
    }

    rv = ms_values_parse(cf, ms_queue_parameters, 1, qcf);

    if (rv == NGX_CONF_OK && qcf->length == 0) {
        return "needs \"length=\", how many sessions may wait";
    }

    return rv;
}


static ngx_int_t
ms_queue_init(ngx_conf_t *cf)
{
    ngx_uint_t                      i;
    ngx_http_handler_pt            *h;
    ms_queue_srv_conf_t            *conf;
    ms_sessions_srv_conf_t         *scf;
    ngx_http_core_main_conf_t      *cmcf;
    ngx_http_upstream_srv_conf_t  **us;
    ngx_http_upstream_main_conf_t  *umcf;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);
    us = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (us[i]->srv_conf == NULL) {
            continue;
        }

        conf = ngx_http_conf_upstream_srv_conf(us[i],
                                           ngx_http_myservice_queue_module);

        if (conf->length == 0) {
            continue;
        }

        scf = ngx_http_conf_upstream_srv_conf(us[i],
                                         ngx_http_myservice_sessions_module);

        if (scf->zone == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"myservice_queue\" in upstream \"%V\" has no "
                          "effect without \"myservice_sessions\"",
                          &us[i]->host);
            return NGX_ERROR;
        }

        if (ms_zone_line_add(cf, scf->zone, conf->length) != NGX_OK) {
            return NGX_ERROR;
        }

        ms_queue_configured = 1;
    }

    if (!ms_queue_configured) {
        return NGX_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    /*
     * handlers run in the reverse order: this module comes before that of the
     * sessions, so that the store has answered
     */

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ms_queue_handler;

    return NGX_OK;
}


static ngx_int_t
ms_queue_init_module(ngx_cycle_t *cycle)
{
    return ms_queue_configured && !ngx_test_config
           ? ms_wake_init(cycle->log) : NGX_OK;
}


static ngx_int_t
ms_queue_init_process(ngx_cycle_t *cycle)
{
    ms_waiter_init(cycle);

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    return ms_queue_configured ? ms_wake_listen(cycle, ms_waiter_look)
                               : NGX_OK;
}


static void
ms_queue_exit_process(ngx_cycle_t *cycle)
{
    ms_wake_end(cycle);
}
