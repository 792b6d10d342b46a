
/*
 * Who and what a request names beside its path: the operator, the session.
 */

#include "operator/api.h"
#include "operator/status.h"

#include "core/session_text.h"


static ngx_int_t ms_api_variable(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);
static ngx_uint_t ms_api_hashed_session(ms_api_t *api, ngx_int_t *rc);


ngx_str_t *
ms_api_caller(ms_api_t *api)
{
    ngx_str_t            name, verified;
    ngx_http_request_t  *r;

    static ngx_str_t  nobody = ngx_string("-");

    r = api->request;

    if (api->caller.len) {
        return &api->caller;
    }

    /* a certificate that was not verified could name anybody */

    if (ms_api_variable(r, "ssl_client_verify", &verified) != NGX_OK
        || verified.len != sizeof("SUCCESS") - 1
        || ngx_strncmp(verified.data, "SUCCESS", verified.len) != 0
        || ms_api_variable(r, "ssl_client_s_dn", &name) != NGX_OK)
    {
        if (ms_api_variable(r, "remote_user", &name) != NGX_OK) {
            return &nobody;
        }
    }

    api->caller.data = ngx_pnalloc(r->pool, 3 * name.len);
    if (api->caller.data == NULL) {
        return &nobody;
    }

    api->caller.len = ms_session_escape(api->caller.data, 3 * name.len, &name,
                                        1)
                      - api->caller.data;

    return &api->caller;
}


/* NGX_DECLINED: it is empty, or this nginx does not have it */

static ngx_int_t
ms_api_variable(ngx_http_request_t *r, const char *name, ngx_str_t *value)
{
    ngx_str_t                   key;
    ngx_http_variable_value_t  *vv;

    key.data = (u_char *) name;
    key.len = ngx_strlen(name);

    vv = ngx_http_get_variable(r, &key, ngx_hash_key(key.data, key.len));

    if (vv == NULL || vv->not_found || !vv->valid || vv->len == 0) {
        return NGX_DECLINED;
    }

    value->data = vv->data;
    value->len = vv->len;

    return NGX_OK;
}


ngx_uint_t
ms_api_session_id(ms_api_t *api, ngx_int_t *rc)
{
    u_char     *p, *from;
    ngx_str_t   argument;

    if (api->n > 4 || (api->n == 4
                       && api->request->method != NGX_HTTP_POST))
    {
        api->session = api->parts[3];

    } else if (ngx_http_arg(api->request, (u_char *) "session", 7, &argument)
               == NGX_OK)
    {
        p = ngx_pnalloc(api->request->pool, argument.len);
        if (p == NULL) {
            *rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
            return 0;
        }

        api->session.data = p;
        from = argument.data;
        ngx_unescape_uri(&p, &from, argument.len, 0);
        api->session.len = p - api->session.data;
    }

    if (api->session.len == 0) {
        *rc = ms_api_problem(api, NGX_HTTP_BAD_REQUEST, "the argument "
                             "\"session\" is missing: \"?session=ID\"");
        return 0;
    }

    /* no session has other bytes */

    for (p = api->session.data; p < api->session.data + api->session.len; p++)
    {
        if (*p < ' ' || *p > '~') {
            break;
        }
    }

    if (api->session.len > MS_POOL_SESSION_MAX
        || p < api->session.data + api->session.len)
    {
        *rc = ms_api_no_session(api);
        return 0;
    }

    return ms_api_hashed_session(api, rc);
}


/*
 * Who sees only the hash of a session names it by that.  Returns 1 with the
 * session; it looks at all members, a batch at a time.
 */

static ngx_uint_t
ms_api_hashed_session(ms_api_t *api, ngx_int_t *rc)
{
    u_char            hash[MS_SESSION_HASH];
    uint32_t          from;
    ngx_log_t        *log;
    ngx_str_t         session;
    ngx_uint_t        i, n;
    ms_member_t      *members;
    ms_zone_stats_t   stats;

    if (!ms_session_hidden() || api->session.len != MS_SESSION_HASH
        || ngx_strncmp(api->session.data, MS_SESSION_HASH_PREFIX,
                       sizeof(MS_SESSION_HASH_PREFIX) - 1)
           != 0)
    {
        return 1;
    }

    log = api->request->connection->log;

    members = ngx_palloc(api->request->pool,
                         MS_STATUS_BATCH * sizeof(ms_member_t));
    if (members == NULL) {
        *rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return 0;
    }

    ms_zone_stats(api->zone, &stats, log);

    for (from = 0; from < stats.limit; /* void */) {
        n = ms_zone_snapshot(api->zone, &from, members, MS_STATUS_BATCH, log);

        for (i = 0; i < n; i++) {
            session = members[i].session;

            if (session.len == 0 || members[i].foreign) {
                continue;
            }

            ms_session_hash(&session, hash);

            if (ngx_memcmp(hash, api->session.data, MS_SESSION_HASH) == 0) {
                api->session.len = session.len;
                api->session.data = session.data;
                return 1;
            }
        }
    }

    *rc = ms_api_no_session(api);

    return 0;
}


ngx_int_t
ms_api_no_session(ms_api_t *api)
{
    return ms_api_problem(api, NGX_HTTP_NOT_FOUND, "the session has no "
                          "instance of \"%V\"", &api->parts[1]);
}
