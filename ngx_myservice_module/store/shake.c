
/*
 * The hand-shake finds out whether the server may write: AUTH, SELECT, HELLO
 * for its role, and the script.  All questions are asked at once, and each
 * answer is judged.
 */

#include "store/shake.h"

#include <ngx_http_myservice_store.h>


/* 6.2 */
#define MS_STORE_MAJOR  6
#define MS_STORE_MINOR  2


#if (NGX_HTTP_SSL)
static ngx_int_t ms_store_shake_tls(ms_store_conn_t *sc);
static void ms_store_shake_tls_done(ngx_connection_t *c);
static ngx_uint_t ms_store_shake_named(ms_store_conn_t *sc);
static ngx_str_t *ms_store_shake_host(ms_store_conn_t *sc);
static ngx_uint_t ms_store_shake_is_address(const ngx_str_t *host);
#endif
static void ms_store_shake_hello(ms_store_conn_t *sc);
static ngx_int_t ms_store_shake_step(ms_store_conn_t *sc, ms_resp_pt handler);
static void ms_store_shake_ok(void *owner, redisReply *reply, void *data);
static void ms_store_shake_role(void *owner, redisReply *reply, void *data);
static const char *ms_store_shake_fits(redisReply *reply);
static void ms_store_shake_script(void *owner, redisReply *reply, void *data);
static void ms_store_shake_memory(void *owner, redisReply *reply, void *data);
static void ms_store_shake_stepped(ms_store_conn_t *sc);
static void ms_store_shake_refused(ms_store_conn_t *sc, redisReply *reply);


const char  ms_store_shake_replica[] = "it is not the master";

static u_char  ms_store_script[] = { NGX_HTTP_MYSERVICE_STORE_SCRIPT };


void
ms_store_shake(ms_store_conn_t *sc)
{
#if (NGX_HTTP_SSL)

    if (sc->store->ssl) {

        if (ms_store_shake_tls(sc) != NGX_OK) {
            sc->shaken(sc, "TLS could not be set up");
        }

        return;
    }

#endif

    ms_store_shake_hello(sc);
}


#if (NGX_HTTP_SSL)

static ngx_int_t
ms_store_shake_tls(ms_store_conn_t *sc)
{
    ngx_str_t         *host;
    ngx_connection_t  *c;

    c = sc->c;
    host = ms_store_shake_host(sc);

    c->pool = ngx_create_pool(256, c->log);
    if (c->pool == NULL) {
        return NGX_ERROR;
    }

    if (ngx_ssl_create_connection(sc->store->ssl, c, NGX_SSL_CLIENT)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* RFC 6066: no addresses */

    if (!ms_store_shake_is_address(host)
        && SSL_set_tlsext_host_name(c->ssl->connection, (char *) host->data)
           == 0)
    {
        return NGX_ERROR;
    }

    c->ssl->handler = ms_store_shake_tls_done;

    if (ngx_ssl_handshake(c) != NGX_AGAIN) {
        ms_store_shake_tls_done(c);
    }

    return NGX_OK;
}


static void
ms_store_shake_tls_done(ngx_connection_t *c)
{
    ms_store_conn_t  *sc;

    sc = c->data;

    if (!c->ssl->handshaked) {
        sc->shaken(sc, "TLS hand-shake failed");
        return;
    }

    if (SSL_get_verify_result(c->ssl->connection) != X509_V_OK) {
        sc->shaken(sc, "the certificate is not of a known issuer");
        return;
    }

    if (!ms_store_shake_named(sc)) {
        sc->shaken(sc, "the certificate has another name");
        return;
    }

    c->read->handler = sc->read;
    c->write->handler = sc->write;

    ms_store_shake_hello(sc);
}


/* nginx compares names only */

static ngx_uint_t
ms_store_shake_named(ms_store_conn_t *sc)
{
    X509        *cert;
    char         text[NGX_SOCKADDR_STRLEN + 1];
    ngx_str_t   *host;
    ngx_uint_t   named;

    host = ms_store_shake_host(sc);

    if (!ms_store_shake_is_address(host)) {
        return ngx_ssl_check_host(sc->c, host) == NGX_OK;
    }

    /* an IPv6 address has brackets */

    (void) ngx_cpystrn((u_char *) text,
                       host->data + (host->data[0] == '['),
                       ngx_min(host->len - 2 * (host->data[0] == '['),
                               NGX_SOCKADDR_STRLEN) + 1);

    cert = SSL_get_peer_certificate(sc->c->ssl->connection);
    if (cert == NULL) {
        return 0;
    }

    named = X509_check_ip_asc(cert, text, 0) == 1;

    X509_free(cert);

    return named;
}


/* whom the certificate must name */

static ngx_str_t *
ms_store_shake_host(ms_store_conn_t *sc)
{
    ms_store_t  *store;

    store = sc->store;

    return store->host.len ? &store->host : &store->named[sc->addr]->host;
}


static ngx_uint_t
ms_store_shake_is_address(const ngx_str_t *host)
{
    return host->data[0] == '['
           || ngx_inet_addr(host->data, host->len) != INADDR_NONE;
}

#endif


static void
ms_store_shake_hello(ms_store_conn_t *sc)
{
    ms_resp_t   *resp;
    ngx_int_t    rc;
    ms_store_t  *store;

    store = sc->store;
    resp = &sc->resp;

    sc->connecting = 0;
    sc->steps = 0;
    rc = NGX_OK;

    if (store->password.len) {
        ms_resp_begin(resp, store->user.len ? 3 : 2);
        ms_resp_word(resp, "AUTH");

        if (store->user.len) {
            ms_resp_text(resp, store->user.data, store->user.len);
        }

        ms_resp_text(resp, store->password.data, store->password.len);
        rc = ms_store_shake_step(sc, ms_store_shake_ok);
    }

    if (rc == NGX_OK && store->db) {
        ms_resp_begin(resp, 2);
        ms_resp_word(resp, "SELECT");
        ms_resp_number(resp, store->db);
        rc = ms_store_shake_step(sc, ms_store_shake_ok);
    }

    if (rc == NGX_OK) {
        ms_resp_begin(resp, 2);
        ms_resp_word(resp, "HELLO");
        ms_resp_word(resp, "2");
        rc = ms_store_shake_step(sc, ms_store_shake_role);
    }

    if (rc == NGX_OK) {
        ms_resp_begin(resp, 3);
        ms_resp_word(resp, "SCRIPT");
        ms_resp_word(resp, "LOAD");
        ms_resp_text(resp, ms_store_script, sizeof(ms_store_script));
        rc = ms_store_shake_step(sc, ms_store_shake_script);
    }

    if (rc == NGX_OK) {
        ms_resp_begin(resp, 2);
        ms_resp_word(resp, "INFO");
        ms_resp_word(resp, "memory");
        rc = ms_store_shake_step(sc, ms_store_shake_memory);
    }

    if (rc != NGX_OK) {
        sc->shaken(sc, "no memory");
    }
}


static ngx_int_t
ms_store_shake_step(ms_store_conn_t *sc, ms_resp_pt handler)
{
    if (ms_resp_ask(&sc->resp, handler, NULL) != 0) {
        return NGX_ERROR;
    }

    sc->steps++;

    if (!sc->flush.posted) {
        ngx_post_event(&sc->flush, &ngx_posted_events);
    }

    return NGX_OK;
}


static void
ms_store_shake_ok(void *owner, redisReply *reply, void *data)
{
    ms_store_conn_t *sc = owner;

    if (reply == NULL) {
        return;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        ms_store_shake_refused(sc, reply);
        return;
    }

    ms_store_shake_stepped(sc);
}


static void
ms_store_shake_role(void *owner, redisReply *reply, void *data)
{
    ms_store_conn_t *sc = owner;

    const char  *why;

    if (reply == NULL) {
        return;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        ms_store_shake_refused(sc, reply);
        return;
    }

    why = ms_store_shake_fits(reply);

    if (why) {
        sc->shaken(sc, why);
        return;
    }

    ms_store_shake_stepped(sc);
}


/* names and values by turns; NULL, or why the server does not fit */

static const char *
ms_store_shake_fits(redisReply *reply)
{
    int                n, major, minor;
    size_t             i;
    const redisReply  *name, *value;
    const char        *role;

    role = NULL;

    for (i = 0; i + 1 < reply->elements; i += 2) {
        name = ms_resp_element(reply, i);
        value = ms_resp_element(reply, i + 1);

        if (name == NULL || value == NULL) {
            continue;
        }

        if (ngx_strcmp(name->str, "role") == 0) {
            role = value->str;

        } else if (ngx_strcmp(name->str, "mode") == 0
                   && ngx_strcmp(value->str, "cluster") == 0)
        {
            return "it is a cluster, which this release does not support";

        } else if (ngx_strcmp(name->str, "version") == 0) {
            n = sscanf(value->str, "%d.%d", &major, &minor);

            if (n != 2 || major < MS_STORE_MAJOR
                || (major == MS_STORE_MAJOR && minor < MS_STORE_MINOR))
            {
                return "it is older than version 6.2";
            }
        }
    }

    if (role == NULL) {
        return "it does not tell its role";
    }

    return ngx_strcmp(role, "master") == 0 ? NULL : ms_store_shake_replica;
}


static void
ms_store_shake_script(void *owner, redisReply *reply, void *data)
{
    ms_store_conn_t *sc = owner;

    if (reply == NULL) {
        return;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        ms_store_shake_refused(sc, reply);
        return;
    }

    if (reply->type != REDIS_REPLY_STRING || reply->len != 40) {
        sc->shaken(sc, "it does not take the script");
        return;
    }

    ngx_memcpy(sc->sha, reply->str, 40);

    ms_store_shake_stepped(sc);
}


/* a store that evicts loses all leases at once; one that does not say so, as
 * the user may not ask, is believed */

static void
ms_store_shake_memory(void *owner, redisReply *reply, void *data)
{
    ms_store_conn_t *sc = owner;

    size_t              len;
    char               *policy;
    ms_store_t         *store;
    ms_store_shared_t  *sh;

    static const char  limit[] = "\nmaxmemory:0\r";
    static const char  key[] = "\nmaxmemory_policy:";

    if (reply == NULL) {
        return;
    }

    store = sc->store;
    sh = store->sh;

    policy = reply->type == REDIS_REPLY_STRING
             && strstr(reply->str, limit) == NULL
             ? strstr(reply->str, key) : NULL;

    policy = policy ? policy + sizeof(key) - 1 : "noeviction";
    len = strcspn(policy, "\r\n");

    if (ngx_strncmp(policy, "noeviction", len) == 0) {
        sh->evicts = 0;

    } else if (ngx_atomic_cmp_set(&sh->evicts, 0, 1)) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "store may lose all leases: its maxmemory-policy is "
                      "\"%*s\", store=\"%V\" upstream=\"%V\" (set it to "
                      "noeviction)", len, policy, &store->url,
                      &store->upstream->host);
    }

    ms_store_shake_stepped(sc);
}


static void
ms_store_shake_stepped(ms_store_conn_t *sc)
{
    if (--sc->steps == 0) {
        sc->shaken(sc, NULL);
    }
}


static void
ms_store_shake_refused(ms_store_conn_t *sc, redisReply *reply)
{
    (void) ngx_atomic_fetch_add(&sc->store->sh->counts.errors, 1);

    sc->shaken(sc, reply->str);
}
