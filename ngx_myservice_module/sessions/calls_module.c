
/*
 * What bounds the calls of one session, and of a worker:
 *
 *   max, rate    calls of a session at once in this worker, and in time
 *   tentative    sessions that wait for their first success: those of a subject
 *                (pool/claim.c), those of a client's connection; with a store
 *                also those that it is asked about (pool/firsts.c)
 *   message      the first call of a session claims an instance when its first
 *                message has come, or its end, or after a moment
 *   connections  no new call while few of them are free: the operator's server
 *                needs some
 */

#include "answers/errors.h"
#include "answers/wait.h"
#include "core/grpc.h"
#include "core/log.h"
#include "core/texts.h"
#include "core/values.h"
#include "sessions/calls.h"
#include "store/store.h"
#include "wire/messages.h"
#include "zone/firsts.h"

#if (NGX_HTTP_V2)
#include <ngx_http_v2_module.h>
#endif


/* milliseconds; a method whose server speaks first sends no message */
#define MS_CALLS_MESSAGE   200

/* this part of a worker's connections is not for calls */
#define MS_CALLS_RESERVED  16

#define MS_CALLS_MAX       1000000

/* microseconds */
#define MS_CALLS_SECOND    1000000


typedef struct {
    ngx_uint_t         max;          /* 0: no limit */
    uint64_t           every;        /* as in ms_pool_terms_t */
    ngx_uint_t         tentative;    /* also in ms_pool_terms_t */
    ngx_uint_t         connection;   /* the same of a client's connection */
} ms_calls_srv_conf_t;


struct ms_flight_s {
    ngx_rbtree_node_t  node;         /* by the session's hash */
    ngx_uint_t         calls;
};


typedef struct {
    ngx_msec_t         since;        /* the call waits for its message */
} ms_calls_ctx_t;


static ngx_connection_t *ms_calls_client(ngx_http_request_t *r);
static ngx_uint_t ms_calls_others(ngx_http_request_t *r, ms_zone_t *zone,
    const ms_pool_key_t *key, ngx_uint_t max);
static ngx_uint_t ms_calls_waits_first(ms_call_t *call);
static ngx_uint_t ms_calls_counted(ms_call_t *call);
static ngx_uint_t ms_calls_few_connections(ngx_http_request_t *r);
static ngx_int_t ms_calls_connections_handler(ngx_http_request_t *r);
static ngx_int_t ms_calls_message_handler(ngx_http_request_t *r);
#if (NGX_HTTP_V2)
static ngx_uint_t ms_calls_message(ngx_http_request_t *r, ngx_buf_t *preread);
#endif

static void *ms_calls_create_srv_conf(ngx_conf_t *cf);
static char *ms_calls(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ms_calls_rate(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf);
static ngx_int_t ms_calls_init(ngx_conf_t *cf);


static ngx_command_t  ms_calls_commands[] = {

    { ngx_string("myservice_calls"),
      NGX_HTTP_UPS_CONF|NGX_CONF_TAKE1234,
      ms_calls,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static const ms_value_t  ms_calls_parameters[] = {

    { ngx_string("max="), ms_value_number,
      offsetof(ms_calls_srv_conf_t, max), 1, MS_CALLS_MAX, NULL, 0 },

    { ngx_string("rate="), ms_calls_rate, 0, 0, 0, NULL, 0 },

    { ngx_string("tentative="), ms_value_number,
      offsetof(ms_calls_srv_conf_t, tentative), 1, MS_CALLS_MAX, NULL, 0 },

    { ngx_string("tentative_connection="), ms_value_number,
      offsetof(ms_calls_srv_conf_t, connection), 1, MS_CALLS_MAX, NULL, 0 },

      ms_null_value
};


static ngx_http_module_t  ngx_http_myservice_calls_module_ctx = {
    NULL,                                  /* preconfiguration */
    ms_calls_init,                         /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ms_calls_create_srv_conf,
                                           /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_calls_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_calls_module_ctx,  /* module context */
    ms_calls_commands,                     /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_str_t  ms_calls_full = ngx_string("too many connections");


/* the first member of the private ngx_http_grpc_loc_conf_t */

extern ngx_module_t  ngx_http_grpc_module;


/* calls of this worker */

static ngx_rbtree_t       ms_flights;
static ngx_rbtree_node_t  ms_flights_sentinel;

/* those with a tentative lease, of upstreams that bound them by connection */

static ngx_queue_t        ms_firsts;


void
ms_calls_terms(ngx_http_upstream_srv_conf_t *us, ms_pool_terms_t *terms)
{
    ms_calls_srv_conf_t  *conf;

    conf = ngx_http_conf_upstream_srv_conf(us,
                                           ngx_http_myservice_calls_module);

    terms->call_every = conf->every;
    terms->tentative = (uint32_t) conf->tentative;
}


/*
 * The hash is keyed by each zone's random key: two sessions with the same one
 * need not be told apart.
 */

ngx_int_t
ms_calls_enter(ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *us,
    ms_pool_key_t *key, ms_flight_t **flight)
{
    ngx_str_t            *message;
    ngx_rbtree_t         *tree;
    ngx_rbtree_key_t      hash;
    ngx_rbtree_node_t    *node;
    ms_flight_t          *f;
    ms_calls_srv_conf_t  *conf;

    *flight = NULL;

    if (ms_calls_few_connections(r)) {
        message = &ms_calls_full;
        goto refused;
    }

    conf = ngx_http_conf_upstream_srv_conf(us,
                                           ngx_http_myservice_calls_module);

    if (conf->max == 0) {
        return NGX_OK;
    }

    tree = &ms_flights;

    if (tree->root == NULL) {
        ngx_rbtree_init(tree, &ms_flights_sentinel, ngx_rbtree_insert_value);
    }

    hash = (ngx_rbtree_key_t) key->hash;
    node = tree->root;

    while (node != tree->sentinel && node->key != hash) {
        node = hash < node->key ? node->left : node->right;
    }

    if (node != tree->sentinel) {
        f = ngx_rbtree_data(node, ms_flight_t, node);

        if (f->calls >= conf->max) {
            ms_log_error(NGX_LOG_INFO, r->connection->log, 0,
                         "the session has %ui calls in flight", f->calls);

            message = &ms_text_too_many_calls;
            goto refused;
        }

    } else {
        f = ngx_alloc(sizeof(ms_flight_t), r->connection->log);
        if (f == NULL) {
            return NGX_ERROR;
        }

        f->calls = 0;
        f->node.key = hash;
        ngx_rbtree_insert(tree, &f->node);
    }

    f->calls++;
    *flight = f;

    return NGX_OK;

refused:

    (void) ms_errors_set(r, MS_GRPC_RESOURCE_EXHAUSTED, message);
    return NGX_ERROR;
}


void
ms_calls_leave(ms_flight_t *flight)
{
    if (flight == NULL || --flight->calls) {
        return;
    }

    ngx_rbtree_delete(&ms_flights, &flight->node);
    ngx_free(flight);
}


void
ms_calls_first(ms_call_t *call)
{
    ms_calls_srv_conf_t  *conf;

    conf = ngx_http_conf_upstream_srv_conf(call->conf->zone->upstream,
                                           ngx_http_myservice_calls_module);

    if (conf->connection == 0 || !call->grant.lease.tentative
        || call->first.next)
    {
        return;
    }

    if (ms_firsts.next == NULL) {
        ngx_queue_init(&ms_firsts);
    }

    ngx_queue_insert_tail(&ms_firsts, &call->first);
}


void
ms_calls_first_end(ms_call_t *call)
{
    if (call->first.next) {
        ngx_queue_remove(&call->first);
        call->first.next = NULL;
    }
}


ngx_uint_t
ms_calls_crowds(ms_call_t *call)
{
    ms_calls_srv_conf_t  *conf;

    conf = ngx_http_conf_upstream_srv_conf(call->conf->zone->upstream,
                                           ngx_http_myservice_calls_module);

    return conf->connection
           && ms_calls_others(call->request, call->conf->zone, &call->key,
                              conf->connection)
              >= conf->connection;
}


void
ms_calls_firsts(ngx_http_request_t *r, ms_zone_t *zone,
    const ms_pool_key_t *key, ms_firsts_terms_t *terms)
{
    ms_calls_srv_conf_t  *conf;

    conf = ngx_http_conf_upstream_srv_conf(zone->upstream,
                                           ngx_http_myservice_calls_module);

    terms->of_subject = (uint32_t) conf->tentative;
    terms->of_client = (uint32_t) conf->connection;
    terms->client = ms_calls_client(r)->number;
    terms->had = (uint32_t) ms_calls_others(r, zone, key, conf->connection);
}


/* Other sessions that wait for their first success on the connection, up to
 * "max".  A worker has few such calls: instances, and those that share a
 * claim. */

static ngx_uint_t
ms_calls_others(ngx_http_request_t *r, ms_zone_t *zone,
    const ms_pool_key_t *key, ngx_uint_t max)
{
    ngx_uint_t    n;
    ngx_queue_t  *q, *next;
    ms_call_t    *other;

    if (ms_firsts.next == NULL) {
        return 0;
    }

    n = 0;

    for (q = ngx_queue_head(&ms_firsts);
         q != ngx_queue_sentinel(&ms_firsts) && n < max;
         q = next)
    {
        next = ngx_queue_next(q);
        other = ngx_queue_data(q, ms_call_t, first);

        if (!ms_calls_waits_first(other)) {
            ms_calls_first_end(other);
            continue;
        }

        /* the hash is keyed: see ms_calls_enter() */

        n += ms_calls_client(other->request) == ms_calls_client(r)
             && other->conf->zone == zone
             && other->key.hash != key->hash
             && !ms_calls_counted(other);
    }

    return n;
}


/* by another call of its session on its connection, which stands before it */

static ngx_uint_t
ms_calls_counted(ms_call_t *call)
{
    ngx_queue_t  *q;
    ms_call_t    *other;

    for (q = ngx_queue_head(&ms_firsts);
         q != &call->first;
         q = ngx_queue_next(q))
    {
        other = ngx_queue_data(q, ms_call_t, first);

        if (ms_calls_client(other->request) == ms_calls_client(call->request)
            && other->key.hash == call->key.hash)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ms_calls_waits_first(ms_call_t *call)
{
    ms_lease_t  *lease;

    lease = &call->grant.lease;

    return lease->lease && lease->tentative
           && !ms_zone_confirmed(call->conf->zone, lease);
}


/* the connection, whichever of its streams the call is */

static ngx_connection_t *
ms_calls_client(ngx_http_request_t *r)
{
#if (NGX_HTTP_V2)

    if (r->stream) {
        return r->stream->connection->connection;
    }

#endif

    return r->connection;
}


static ngx_uint_t
ms_calls_few_connections(ngx_http_request_t *r)
{
    ngx_cycle_t  *cycle;

    cycle = (ngx_cycle_t *) ngx_cycle;

    if (cycle->free_connection_n >= cycle->connection_n / MS_CALLS_RESERVED) {
        return 0;
    }

    ms_log_error(NGX_LOG_WARN, r->connection->log, 0,
                 "%ui of %ui worker_connections are free: new calls are "
                 "refused", cycle->free_connection_n, cycle->connection_n);

    return 1;
}


/* also for calls without a session, such as Login */

static ngx_int_t
ms_calls_connections_handler(ngx_http_request_t *r)
{
    ngx_http_upstream_conf_t  *ucf;

    ucf = ngx_http_get_module_loc_conf(r, ngx_http_grpc_module);

    if (ucf->upstream == NULL || r != r->main
        || !ms_grpc_is(r)
        || !ms_calls_few_connections(r))
    {
        return NGX_DECLINED;
    }

    return ms_errors_refuse(r, MS_GRPC_RESOURCE_EXHAUSTED, &ms_calls_full);
}


/*
 * A client that sends only headers must not hold an instance, so the call
 * waits for its first message. Bytes that arrive before nginx reads the body
 * are in the stream's "preread" buffer.
 */

static ngx_int_t
ms_calls_message_handler(ngx_http_request_t *r)
{
#if (NGX_HTTP_V2)

    ngx_http_v2_stream_t    *stream;
    ms_calls_ctx_t          *ctx;
    ms_sessions_loc_conf_t  *slcf;

    stream = r->stream;
    slcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_sessions_module);

    if (stream == NULL || slcf->balancer == NULL || r != r->main) {
        return NGX_DECLINED;
    }

    /* the client has reset the stream: no instance needs to know */

    if (r->connection->error) {
        return NGX_HTTP_CLIENT_CLOSED_REQUEST;
    }

    if (r->request_body || stream->in_closed
        || ms_calls_message(r, stream->preread))
    {
        return NGX_DECLINED;
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_myservice_calls_module);

    if (ctx == NULL) {
        ctx = ngx_palloc(r->pool, sizeof(ms_calls_ctx_t));
        if (ctx == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ctx->since = ngx_current_msec;
        ngx_http_set_ctx(r, ctx, ngx_http_myservice_calls_module);

        /* DATA of the same read; its handler is ngx_http_core_run_phases() */

        ngx_post_event(r->connection->write, &ngx_posted_events);

        return NGX_AGAIN;
    }

    if (ngx_current_msec - ctx->since >= MS_CALLS_MESSAGE
        || ms_call_leased(r))
    {
        return NGX_DECLINED;
    }

    return ms_wait(r, MS_WAIT_MESSAGE);

#else

    return NGX_DECLINED;

#endif
}


#if (NGX_HTTP_V2)

/* a message that fills the buffer counts as complete */

static ngx_uint_t
ms_calls_message(ngx_http_request_t *r, ngx_buf_t *preread)
{
    ms_messages_t            messages;
    ngx_http_v2_srv_conf_t  *h2scf;

    if (preread) {
        ngx_memzero(&messages, sizeof(ms_messages_t));

        return preread->last == preread->end
               || ms_messages_feed(&messages, preread->pos,
                                   preread->last - preread->pos);
    }

    h2scf = ngx_http_get_module_srv_conf(r, ngx_http_v2_module);

    return h2scf->preread_size == 0;
}

#endif


static void *
ms_calls_create_srv_conf(ngx_conf_t *cf)
{
    /* max 0, every 0 */

    return ngx_pcalloc(cf->pool, sizeof(ms_calls_srv_conf_t));
}


static char *
ms_calls(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ms_calls_srv_conf_t  *cscf = conf;

    if (cscf->max || cscf->every || cscf->tentative || cscf->connection) {
        return "is duplicate";
    }

    return ms_values_parse(cf, ms_calls_parameters, 1, cscf);
}


/* "100r/s" or "30r/m", as of limit_req_zone */

static char *
ms_calls_rate(ngx_conf_t *cf, const ms_value_t *parameter, ngx_str_t *value,
    void *conf)
{
    ms_calls_srv_conf_t  *cscf = conf;

    size_t      len;
    ngx_int_t   n;
    ngx_uint_t  seconds;

    seconds = 0;
    len = value->len;

    if (len > 3 && ngx_strcmp(value->data + len - 3, "r/s") == 0) {
        seconds = 1;

    } else if (len > 3 && ngx_strcmp(value->data + len - 3, "r/m") == 0) {
        seconds = 60;
    }

    n = seconds ? ngx_atoi(value->data, len - 3) : NGX_ERROR;

    if (n < 1 || n > MS_CALLS_SECOND) {
        return ms_value_invalid(cf, parameter, value,
                                "1-1000000 and \"r/s\" or \"r/m\"");
    }

    cscf->every = seconds * MS_CALLS_SECOND / n;

    return NGX_CONF_OK;
}


static ngx_int_t
ms_calls_init(ngx_conf_t *cf)
{
    ngx_uint_t                      i;
    ngx_http_handler_pt            *h;
    ngx_http_upstream_srv_conf_t  **us;
    ngx_http_core_main_conf_t      *cmcf;
    ngx_http_upstream_main_conf_t  *umcf;
    ms_calls_srv_conf_t            *conf;
    ms_sessions_srv_conf_t         *scf;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);
    us = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (us[i]->srv_conf == NULL) {
            continue;
        }

        conf = ngx_http_conf_upstream_srv_conf(us[i],
                                           ngx_http_myservice_calls_module);
        scf = ngx_http_conf_upstream_srv_conf(us[i],
                                         ngx_http_myservice_sessions_module);

        if ((conf->max || conf->every || conf->tentative || conf->connection)
            && scf->zone == NULL)
        {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"myservice_calls\" in upstream \"%V\" has no "
                          "effect without \"myservice_sessions\"",
                          &us[i]->host);
            return NGX_ERROR;
        }

        if (scf->zone && ms_store_of(us[i])
            && ms_zone_firsts_add(cf, scf->zone) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    /* the last pushed runs first: connections are counted right before the
     * call takes one */

    h = ngx_array_push_n(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers,
                         2);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h[0] = ms_calls_connections_handler;
    h[1] = ms_calls_message_handler;

    return NGX_OK;
}
