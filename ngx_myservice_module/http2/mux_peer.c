
/* Instances that calls are multiplexed to, of this worker. */

#include "http2/mux_peer.h"
#include "http2/mux_write.h"


#define MS_MUX_PEERS    1024            /* buckets */

/* peers without connections that are remembered */
#define MS_MUX_UNUSED   1024


static uint32_t ms_mux_peer_hash(const ms_mux_key_t *key);
static ngx_uint_t ms_mux_peer_is(ms_mux_peer_t *peer, uint32_t hash,
    const ms_mux_key_t *key);
static ms_mux_peer_t *ms_mux_peer_create(const ms_mux_key_t *key,
    uint32_t hash, ngx_str_t *name, ngx_log_t *log);
static void ms_mux_peer_forget(void);


static ngx_queue_t  ms_mux_peers[MS_MUX_PEERS];
static ngx_queue_t  ms_mux_unused;      /* the last used first */
static ngx_uint_t   ms_mux_nunused;


ms_mux_peer_t *
ms_mux_peer(const ms_mux_key_t *key, ngx_str_t *name, ngx_log_t *log)
{
    uint32_t        hash;
    ngx_uint_t      i;
    ngx_queue_t    *q, *bucket;
    ms_mux_peer_t  *peer;

    if (ms_mux_unused.next == NULL) {

        for (i = 0; i < MS_MUX_PEERS; i++) {
            ngx_queue_init(&ms_mux_peers[i]);
        }

        ngx_queue_init(&ms_mux_unused);
    }

    hash = ms_mux_peer_hash(key);
    bucket = &ms_mux_peers[hash % MS_MUX_PEERS];

    for (q = ngx_queue_head(bucket);
         q != ngx_queue_sentinel(bucket);
         q = ngx_queue_next(q))
    {
        peer = ngx_queue_data(q, ms_mux_peer_t, queue);

        if (!ms_mux_peer_is(peer, hash, key)) {
            continue;
        }

        if (ngx_queue_empty(&peer->conns)) {

            /* not to be forgotten before it is used */

            ngx_queue_remove(&peer->unused);
            ngx_queue_insert_head(&ms_mux_unused, &peer->unused);
        }

        return peer;
    }

    return ms_mux_peer_create(key, hash, name, log);
}


/* nobody chooses addresses of instances to make them collide */

static uint32_t
ms_mux_peer_hash(const ms_mux_key_t *key)
{
    u_char     *p;
    uint32_t    hash, word;
    ngx_uint_t  i;

    hash = 0;
    p = (u_char *) &key->sockaddr;

    for (i = 0; i + sizeof(word) <= key->socklen; i += sizeof(word)) {
        ngx_memcpy(&word, p + i, sizeof(word));
        hash = (hash ^ word) * 0x9e3779b1;
        hash ^= hash >> 15;
    }

    for ( /* void */ ; i < key->socklen; i++) {
        hash = (hash ^ p[i]) * 0x9e3779b1;
        hash ^= hash >> 15;
    }

    return hash;
}


static ngx_uint_t
ms_mux_peer_is(ms_mux_peer_t *peer, uint32_t hash, const ms_mux_key_t *key)
{
    const ms_mux_key_t  *k;

    k = &peer->key;

    return peer->hash == hash
           && k->socklen == key->socklen
           && ngx_memcmp(&k->sockaddr, &key->sockaddr, k->socklen) == 0
           && k->local_len == key->local_len
           && ngx_memcmp(&k->local, &key->local, k->local_len) == 0
           && k->options == key->options
           && k->ssl == key->ssl
           && k->verify == key->verify
           && k->name.len == key->name.len
           && ngx_memcmp(k->name.data, key->name.data, k->name.len) == 0;
}


static ms_mux_peer_t *
ms_mux_peer_create(const ms_mux_key_t *key, uint32_t hash, ngx_str_t *name,
    ngx_log_t *log)
{
    u_char         *p;
    ms_mux_peer_t  *peer;

    /* the name of the key follows, ended for OpenSSL */

    peer = ngx_calloc(sizeof(ms_mux_peer_t) + key->name.len + 1, log);
    if (peer == NULL) {
        return NULL;
    }

    p = (u_char *) (peer + 1);

    if (key->name.len) {
        ngx_memcpy(p, key->name.data, key->name.len);
    }

    peer->hash = hash;
    peer->key = *key;
    peer->key.name.data = p;
    peer->limit = MS_MUX_WINDOW_MAX;

    peer->name.len = ngx_min(name->len, NGX_SOCKADDR_STRLEN);
    peer->name.data = peer->name_buf;
    ngx_memcpy(peer->name_buf, name->data, peer->name.len);

    ngx_queue_init(&peer->conns);
    ngx_queue_insert_head(&ms_mux_peers[hash % MS_MUX_PEERS], &peer->queue);

    ngx_queue_insert_head(&ms_mux_unused, &peer->unused);
    ms_mux_nunused++;

    ms_mux_peer_forget();

    return peer;
}


/* never the first of them, which is about to be used */

static void
ms_mux_peer_forget(void)
{
    ngx_queue_t    *q;
    ms_mux_peer_t  *peer;

    if (ms_mux_nunused <= MS_MUX_UNUSED) {
        return;
    }

    q = ngx_queue_last(&ms_mux_unused);
    peer = ngx_queue_data(q, ms_mux_peer_t, unused);

    ngx_queue_remove(&peer->unused);
    ngx_queue_remove(&peer->queue);
    ms_mux_nunused--;

#if (NGX_HTTP_SSL)

    if (peer->session) {
        ngx_ssl_free_session(peer->session);
    }

#endif

    ngx_free(peer);
}


ms_mux_conn_t *
ms_mux_peer_conn(ms_mux_peer_t *peer, ngx_uint_t streams, uint64_t after)
{
    ngx_queue_t    *q;
    ms_mux_conn_t  *mc;

    streams = ngx_min(streams, (ngx_uint_t) peer->limit);

    for (q = ngx_queue_head(&peer->conns);
         q != ngx_queue_sentinel(&peer->conns);
         q = ngx_queue_next(q))
    {
        mc = ngx_queue_data(q, ms_mux_conn_t, queue);

        if (mc->number > after
            && mc->nstreams < streams
            && !ms_mux_conn_spent(mc)
            && mc->out_size < MS_MUX_OUT_FULL
            && !mc->draining && !mc->hung && !mc->broken)
        {
            return mc;
        }
    }

    return NULL;
}


void
ms_mux_peer_add(ms_mux_peer_t *peer, ms_mux_conn_t *mc)
{
    if (ngx_queue_empty(&peer->conns)) {
        ngx_queue_remove(&peer->unused);
        ms_mux_nunused--;
    }

    mc->peer = peer;
    ngx_queue_insert_tail(&peer->conns, &mc->queue);
}


void
ms_mux_peer_remove(ms_mux_conn_t *mc)
{
    ms_mux_peer_t  *peer;

    peer = mc->peer;
    ngx_queue_remove(&mc->queue);

    if (ngx_queue_empty(&peer->conns)) {
        ngx_queue_insert_head(&ms_mux_unused, &peer->unused);
        ms_mux_nunused++;
        ms_mux_peer_forget();
    }
}
