
/*
 * The metadata that a client sent: one look finds all that this module wants
 * of it, and names that only the gateway may use.
 *
 * Other parts of nginx point at elements of r->headers_in.headers: elements
 * are copied into a new list, but never moved.
 */

#include "core/metadata.h"

#include "core/context.h"
#include "core/header.h"
#include "core/session_text.h"
#include "core/values.h"
#include "core/variable.h"
#include "jwt/token.h"


#define MS_METADATA_MAX  64                     /* bytes of a name */


typedef struct {
    ngx_uint_t        hide;             /* session ids are shown as hashes */
} ms_metadata_main_conf_t;

typedef struct {
    ms_from_t        *from;             /* NULL: not looked at */
    ngx_str_t         session;
    ngx_int_t         session_rc;
    ngx_uint_t        tokens;           /* "authorization" fields */
    u_char           *subject;
    ngx_table_elt_t  *timeout;

    unsigned          prefixed:1;       /* has names of ours */
    unsigned          cleaned:1;        /* of those */
} ms_metadata_ctx_t;


static ms_metadata_ctx_t *ms_metadata(ngx_http_request_t *r);
static void ms_metadata_look(ngx_http_request_t *r, ms_metadata_ctx_t *ctx,
    ms_from_t *from);
static ngx_uint_t ms_metadata_begins(ngx_str_t *name, ngx_str_t *other,
    size_t len);
static ngx_uint_t ms_metadata_prefixed(ngx_str_t *name);
static ngx_uint_t ms_metadata_from_allowed(ngx_str_t *name);

static ngx_int_t ms_metadata_session_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);

static ngx_int_t ms_metadata_shown_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);

static ngx_int_t ms_metadata_init_module(ngx_cycle_t *cycle);
static ngx_int_t ms_metadata_preconfiguration(ngx_conf_t *cf);
static void *ms_metadata_create_main_conf(ngx_conf_t *cf);
static void *ms_metadata_create_loc_conf(ngx_conf_t *cf);
static char *ms_metadata_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ms_metadata_session_from(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static const char  *ms_metadata_ids_words[] = { "plain", "hash", NULL };


static ms_value_t  ms_metadata_ids =
    { ngx_null_string, ms_value_word, 0, 0, 0, ms_metadata_ids_words, 0 };


static ngx_command_t  ms_metadata_commands[] = {

    { ngx_string("myservice_session_from"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ms_metadata_session_from,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("myservice_session_ids"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ms_value_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ms_metadata_main_conf_t, hide),
      &ms_metadata_ids },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_myservice_metadata_module_ctx = {
    ms_metadata_preconfiguration,          /* preconfiguration */
    NULL,                                  /* postconfiguration */

    ms_metadata_create_main_conf,          /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ms_metadata_create_loc_conf,           /* create location configuration */
    ms_metadata_merge_loc_conf             /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_metadata_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_metadata_module_ctx, /* module context */
    ms_metadata_commands,                  /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ms_metadata_init_module,               /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_variable_t  ms_metadata_variables[] = {

    { ngx_string("myservice_session"), NULL,
      ms_metadata_session_variable, 0, 0, 0 },

    { ngx_string("myservice_session_id"), NULL,
      ms_metadata_shown_variable, 0, 0, 0 },

      ngx_http_null_variable
};


/* of what the gateway alone says of a session */

ngx_str_t  ms_metadata_reserved_names[] = {
    ngx_string("session-id"),
    ngx_string("session-ttl"),
    ngx_string("session-ends"),
    ngx_string("session-subject"),
    ngx_string("session-epoch"),
    ngx_string("session-start"),
    ngx_string("session-elsewhere"),
    ngx_null_string
};


/* and every name that begins with this */

static ngx_str_t  ms_metadata_prefix = ngx_string("x-myservice-");


/* also not allowed in "myservice_session_from" */

static ngx_str_t  ms_metadata_not_from[] = {
    ngx_string("authorization"),
    ngx_string("content-type"),
    ngx_string("grpc-"),
    ngx_null_string
};


static ms_from_t  ms_metadata_session_id =
    { ngx_string("session-id"), 0 };


static ms_metadata_ctx_t *
ms_metadata(ngx_http_request_t *r)
{
    ms_metadata_ctx_t       *ctx;
    ms_metadata_loc_conf_t  *mlcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_myservice_metadata_module);

    if (ctx == NULL) {
        ctx = ms_context_make(r, &ngx_http_myservice_metadata_module,
                              sizeof(ms_metadata_ctx_t), NULL);
    }

    if (ctx) {
        mlcf = ngx_http_get_module_loc_conf(r,
                                        ngx_http_myservice_metadata_module);

        /* an internal redirect may lead to a location with another rule */

        if (ctx->from != mlcf->from) {
            ms_metadata_look(r, ctx, mlcf->from);
        }
    }

    return ctx;
}


static void
ms_metadata_look(ngx_http_request_t *r, ms_metadata_ctx_t *ctx,
    ms_from_t *from)
{
    u_char           *name;
    size_t            len;
    ngx_uint_t        i, n;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    static const size_t  token = sizeof("authorization") - 1;
    static const size_t  timeout = sizeof("grpc-timeout") - 1;

    n = 0;
    ctx->from = from;
    ctx->tokens = 0;
    ngx_str_null(&ctx->session);

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            name = h[i].lowcase_key;
            len = h[i].key.len;

            if (len == from->name.len && !from->claim
                && ngx_memcmp(name, from->name.data, len) == 0)
            {
                ctx->session = h[i].value;
                n++;

            } else if (len == timeout
                       && ngx_memcmp(name, "grpc-timeout", timeout) == 0)
            {
                ctx->timeout = &h[i];

            } else if (len == token
                       && ngx_memcmp(name, "authorization", token) == 0)
            {
                ctx->tokens++;

            } else if (name[0] == 'x' && ms_metadata_prefixed(&h[i].key)) {
                ctx->prefixed = 1;
            }
        }
    }

    if (n == 0 || (n == 1 && ctx->session.len == 0)) {
        ctx->session_rc = NGX_DECLINED;

    } else if (n > 1
               || !ms_session_valid((char *) ctx->session.data,
                                    ctx->session.len))
    {
        ctx->session_rc = NGX_ABORT;

    } else {
        ctx->session_rc = NGX_OK;
    }
}


ngx_int_t
ms_metadata_session(ngx_http_request_t *r, ngx_str_t *session)
{
    ms_metadata_ctx_t  *ctx;

    ctx = ms_metadata(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    *session = ctx->session;

    return ctx->session_rc;
}


ngx_int_t
ms_metadata_set_session(ngx_http_request_t *r, ngx_str_t *session)
{
    ms_metadata_ctx_t  *ctx;

    ctx = ms_metadata(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ctx->session = *session;
    ctx->session_rc = ms_session_valid((char *) session->data, session->len)
                      ? NGX_OK : NGX_ABORT;

    return NGX_OK;
}


void
ms_metadata_set_subject(ngx_http_request_t *r, u_char *subject)
{
    ms_metadata_ctx_t  *ctx;

    ctx = ms_context_find(r, &ngx_http_myservice_metadata_module);

    if (ctx) {
        ctx->subject = subject;
    }
}


u_char *
ms_metadata_subject(ngx_http_request_t *r)
{
    ms_metadata_ctx_t       *ctx;
    ms_metadata_loc_conf_t  *mlcf;

    ctx = ms_context_find(r, &ngx_http_myservice_metadata_module);
    mlcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_metadata_module);

    /* an internal redirect may have led away from where it was verified */

    return ctx && mlcf->tokens ? ctx->subject : NULL;
}


/* usually found on the way to the session id */

ngx_table_elt_t *
ms_metadata_timeout(ngx_http_request_t *r)
{
    ms_metadata_ctx_t  *ctx;

    ctx = ms_context_find(r, &ngx_http_myservice_metadata_module);

    if (ctx && ctx->from) {
        return ctx->timeout;
    }

    return ms_header_find(&r->headers_in.headers,
                          "grpc-timeout",
                          sizeof("grpc-timeout") - 1);
}


/*
 * Whether "name" begins like "other", in any case; frameworks of CGI's kind do
 * not tell "_" from "-"
 */

static ngx_uint_t
ms_metadata_begins(ngx_str_t *name, ngx_str_t *other, size_t len)
{
    u_char  ch;
    size_t  i;

    if (name->len < len) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        ch = ngx_tolower(name->data[i]);

        if (ch != other->data[i] && !(ch == '_' && other->data[i] == '-')) {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
ms_metadata_prefixed(ngx_str_t *name)
{
    return ms_metadata_begins(name, &ms_metadata_prefix,
                              ms_metadata_prefix.len);
}


ngx_uint_t
ms_metadata_reserved(ngx_str_t *name)
{
    ngx_str_t  *other;

    for (other = ms_metadata_reserved_names; other->len; other++) {
        if (name->len == other->len
            && ms_metadata_begins(name, other, other->len))
        {
            return 1;
        }
    }

    return ms_metadata_prefixed(name);
}


ngx_int_t
ms_metadata_clean(ngx_http_request_t *r, ngx_uint_t *tokens)
{
    ms_metadata_ctx_t  *ctx;

    ctx = ms_metadata(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    if (tokens) {
        *tokens = ctx->tokens;
    }

    /* what a later call finds was added by the gateway */

    if (ctx->cleaned) {
        return NGX_OK;
    }

    ctx->cleaned = 1;

    return ctx->prefixed ? ms_metadata_drop(r, NULL) : NGX_OK;
}


ngx_int_t
ms_metadata_drop(ngx_http_request_t *r, ngx_table_elt_t *one)
{
    ngx_list_t        list;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h, *copy, *authorization;

    if (ngx_list_init(&list, r->pool, 20, sizeof(ngx_table_elt_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    authorization = r->headers_in.authorization;
    r->headers_in.authorization = NULL;

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (&h[i] == one || ms_metadata_prefixed(&h[i].key)) {
                continue;
            }

            copy = ngx_list_push(&list);
            if (copy == NULL) {
                return NGX_ERROR;
            }

            *copy = h[i];

            if (&h[i] == authorization) {
                r->headers_in.authorization = copy;
            }
        }
    }

    r->headers_in.headers = list;

    /* a list that still has its first part points into itself */

    if (list.last == &list.part) {
        r->headers_in.headers.last = &r->headers_in.headers.part;
    }

    return NGX_OK;
}


/* "metadata=name" or "claim=name" */

static char *
ms_metadata_session_from(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ms_metadata_loc_conf_t  *mlcf = conf;

    u_char      ch;
    ngx_str_t  *value, name;
    ngx_uint_t  i, claim;

    if (mlcf->from) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strncmp(value[1].data, "claim=", 6) == 0) {
        name.data = value[1].data + 6;
        name.len = value[1].len - 6;
        claim = 1;

    } else if (ngx_strncmp(value[1].data, "metadata=", 9) == 0) {
        name.data = value[1].data + 9;
        name.len = value[1].len - 9;
        claim = 0;

    } else {
        name.len = 0;
        claim = 0;
    }

    for (i = 0; i < name.len && !claim; i++) {
        ch = ngx_tolower(name.data[i]);

        if ((ch < 'a' || ch > 'z') && (ch < '0' || ch > '9')
            && ch != '-' && ch != '_' && ch != '.')
        {
            break;
        }

        name.data[i] = ch;
    }

    if (name.len == 0 || name.len > MS_METADATA_MAX
        || (!claim && i < name.len))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\", expected \"metadata=name\" or "
                           "\"claim=name\" with a name of 1 to %d bytes",
                           &value[1], MS_METADATA_MAX);
        return NGX_CONF_ERROR;
    }

    if (!claim && !ms_metadata_from_allowed(&name)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\", metadata of that name says "
                           "something else", &value[1]);
        return NGX_CONF_ERROR;
    }

    mlcf->from = ngx_palloc(cf->pool, sizeof(ms_from_t));
    if (mlcf->from == NULL) {
        return NGX_CONF_ERROR;
    }

    mlcf->from->name = name;
    mlcf->from->claim = claim;

    return NGX_CONF_OK;
}


static ngx_uint_t
ms_metadata_from_allowed(ngx_str_t *name)
{
    ngx_str_t  *other;

    for (other = ms_metadata_not_from; other->len; other++) {
        if (ms_metadata_begins(name, other, other->len)) {
            return 0;
        }
    }

    return !ms_metadata_reserved(name)
           || ngx_strcmp(name->data, "session-id") == 0;
}


static ngx_int_t
ms_metadata_session_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_int_t  rc;
    ngx_str_t  session;

    rc = ms_metadata_session(r, &session);

    return ms_variable_set(v, rc == NGX_OK ? &session : NULL);
}


static ngx_int_t
ms_metadata_shown_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    u_char     *out;
    ngx_str_t   session, hash;

    if (ms_metadata_session(r, &session) != NGX_OK) {
        return ms_variable_set(v, NULL);
    }

    out = ngx_pnalloc(r->pool, MS_SESSION_HASH);
    if (out == NULL) {
        return NGX_ERROR;
    }

    return ms_variable_set(v, ms_session_shown(&session, &hash, out));
}


static ngx_int_t
ms_metadata_init_module(ngx_cycle_t *cycle)
{
    ms_metadata_main_conf_t  *mmcf;

    mmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                        ngx_http_myservice_metadata_module);
    ms_session_hide(mmcf && mmcf->hide == 1);

    return NGX_OK;
}


static void *
ms_metadata_create_main_conf(ngx_conf_t *cf)
{
    ms_metadata_main_conf_t  *mmcf;

    mmcf = ngx_palloc(cf->pool, sizeof(ms_metadata_main_conf_t));

    if (mmcf) {
        mmcf->hide = NGX_CONF_UNSET_UINT;
    }

    return mmcf;
}


static ngx_int_t
ms_metadata_preconfiguration(ngx_conf_t *cf)
{
    return ms_variables_add(cf, ms_metadata_variables);
}


static void *
ms_metadata_create_loc_conf(ngx_conf_t *cf)
{
    /*
     * set by ngx_pcalloc():
     *
     *     conf->from = NULL;
     *     conf->tokens = 0;
     */

    return ngx_pcalloc(cf->pool, sizeof(ms_metadata_loc_conf_t));
}


static char *
ms_metadata_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ms_metadata_loc_conf_t  *prev = parent;
    ms_metadata_loc_conf_t  *conf = child;

    if (conf->from == NULL) {
        conf->from = prev->from ? prev->from : &ms_metadata_session_id;
    }

    return NGX_CONF_OK;
}
