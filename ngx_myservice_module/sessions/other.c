
/*
 * What cannot stand beside myservice_sessions: another load balancing method
 * in the upstream, and other modules that pass to it.
 */

#include "sessions/sessions.h"


#define MS_CONF_MAX  (1024 * 1024)


static const char *ms_sessions_method(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us, ngx_uint_t *line);
static ngx_int_t ms_sessions_read(ngx_conf_t *cf, u_char *name,
    ngx_str_t *text);
static u_char *ms_sessions_word(u_char *p, u_char *last, ngx_str_t *word);


/*
 * Modules that pass to an upstream, too, and may not be there; the first
 * member of their private configurations is an ngx_http_upstream_conf_t.
 */

static const char  *ms_sessions_passes[] = {
    "ngx_http_proxy_module",
    "ngx_http_fastcgi_module",
    "ngx_http_scgi_module",
    "ngx_http_uwsgi_module",
    "ngx_http_memcached_module",
    "ngx_http_tunnel_module",
    NULL
};


/*
 * "keepalive" is no method, but before 1.29.7 it wraps the method that it
 * finds
 */

static const char  *ms_sessions_methods[] = {
    "keepalive",
    "hash",
    "ip_hash",
    "least_conn",
    "least_time",
    "random",
    "sticky",
    NULL
};


ngx_int_t
ms_sessions_other_pass(ngx_conf_t *cf)
{
    ngx_uint_t                 i, n;
    ngx_module_t              *module;
    ngx_http_core_loc_conf_t  *clcf;
    ngx_http_upstream_conf_t  *ucf;
    ms_sessions_srv_conf_t    *scf;

    for (i = 0; cf->cycle->modules[i]; i++) {

        module = cf->cycle->modules[i];

        for (n = 0; ms_sessions_passes[n]; n++) {
            if (ngx_strcmp(module->name, ms_sessions_passes[n]) == 0) {
                break;
            }
        }

        if (ms_sessions_passes[n] == NULL) {
            continue;
        }

        ucf = ngx_http_conf_get_module_loc_conf(cf, (*module));

        if (ucf == NULL || ucf->upstream == NULL
            || ucf->upstream->srv_conf == NULL)
        {
            continue;
        }

        scf = ngx_http_conf_upstream_srv_conf(ucf->upstream,
                                         ngx_http_myservice_sessions_module);

        if (scf->zone) {
            clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "location \"%V\" passes to upstream \"%V\" by "
                               "%s: with \"myservice_sessions\" it must be "
                               "\"grpc_pass\"", &clcf->name,
                               &ucf->upstream->host, module->name);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}

/*
 * A method that stands after "myservice_sessions" takes its place with a
 * warning of nginx at most; "sticky" wraps it.
 */

ngx_uint_t
ms_sessions_method_replaced(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us)
{
    void                    *conf;
    ngx_uint_t               i;
    ngx_module_t            *module;
    ms_sessions_srv_conf_t  *scf;

    scf = ngx_http_conf_upstream_srv_conf(us,
                                          ngx_http_myservice_sessions_module);

    if (scf->zone->upstream == NULL) {
        return 1;
    }

    for (i = 0; cf->cycle->modules[i]; i++) {

        module = cf->cycle->modules[i];

        if (ngx_strcmp(module->name, "ngx_http_upstream_sticky_module") != 0) {
            continue;
        }

        /* the directive alone sets the first member, a pointer */

        conf = ngx_http_conf_upstream_srv_conf(us, (*module));

        return conf && *(void **) conf;
    }

    return 0;
}


void
ms_sessions_refuse_method(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us)
{
    ngx_uint_t   line;
    const char  *name;

    name = ms_sessions_method(cf, us, &line);

    if (name == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "upstream \"%V\" in %s:%ui has \"myservice_sessions\" "
                      "and another load balancing method: remove one of them",
                      &us->host, us->file_name, us->line);
        return;
    }

    if (ngx_strcmp(name, "keepalive") == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"keepalive\" in upstream \"%V\" in %s:%ui must stand "
                      "after \"myservice_sessions\"",
                      &us->host, us->file_name, line);
        return;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "\"%s\" in upstream \"%V\" in %s:%ui cannot stand beside "
                  "\"myservice_sessions\": remove one of them",
                  name, &us->host, us->file_name, line);
}


/*
 * The name of the first method in the upstream's block, and its line.  nginx
 * keeps neither, so the file is read once more; NULL if the method is not
 * known or in an included file.
 */

static const char *
ms_sessions_method(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us,
    ngx_uint_t *line)
{
    u_char                  *p, *last;
    ngx_str_t                text, word;
    ngx_uint_t               inside, first;
    const char             **name;
    ms_sessions_srv_conf_t  *scf;

    scf = ngx_http_conf_upstream_srv_conf(us,
                                          ngx_http_myservice_sessions_module);

    if (ms_sessions_read(cf, us->file_name, &text) != NGX_OK) {
        return NULL;
    }

    p = text.data;
    last = p + text.len;
    inside = 0;
    first = 0;
    ngx_str_null(&word);

    for (*line = 1; p < last; /* void */ ) {

        switch (*p) {

        case LF:
            (*line)++;
            /* fall through */

        case ' ':
        case '\t':
        case CR:
            p++;
            continue;

        case '#':
            while (p < last && *p != LF) {
                p++;
            }

            continue;

        case '{':
            inside = *line >= us->line && word.len == us->host.len
                     && ngx_strncmp(word.data, us->host.data, word.len) == 0;
            /* fall through */

        case ';':
            first = inside;
            p++;
            continue;

        case '}':
            if (inside) {
                return NULL;
            }

            p++;
            continue;
        }

        p = ms_sessions_word(p, last, &word);

        /* without "keepalive", which can stand after this directive */

        name = &ms_sessions_methods[scf->zone ? 1 : 0];

        for ( /* void */ ; first && *name; name++) {
            if (ngx_strlen(*name) == word.len
                && ngx_strncmp(*name, word.data, word.len) == 0)
            {
                return *name;
            }
        }

        first = 0;
    }

    return NULL;
}


static ngx_int_t
ms_sessions_read(ngx_conf_t *cf, u_char *name, ngx_str_t *text)
{
    ssize_t          n;
    ngx_int_t        rc;
    ngx_file_t       file;
    ngx_file_info_t  fi;

    ngx_memzero(&file, sizeof(ngx_file_t));

    file.name.data = name;
    file.name.len = ngx_strlen(name);
    file.log = cf->log;

    file.fd = ngx_open_file(name, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (file.fd == NGX_INVALID_FILE) {
        return NGX_DECLINED;
    }

    rc = NGX_DECLINED;

    if (ngx_fd_info(file.fd, &fi) == NGX_FILE_ERROR || !ngx_is_file(&fi)
        || ngx_file_size(&fi) > MS_CONF_MAX)
    {
        goto done;
    }

    text->data = ngx_pnalloc(cf->temp_pool, (size_t) ngx_file_size(&fi));
    if (text->data == NULL) {
        goto done;
    }

    n = ngx_read_file(&file, text->data, (size_t) ngx_file_size(&fi), 0);

    if (n > 0) {
        text->len = n;
        rc = NGX_OK;
    }

done:

    (void) ngx_close_file(file.fd);

    return rc;
}


/* the word at "p", with quotes or without; returns what follows it */

static u_char *
ms_sessions_word(u_char *p, u_char *last, ngx_str_t *word)
{
    u_char  quote;

    quote = (*p == '"' || *p == '\'') ? *p++ : 0;

    word->data = p;

    while (p < last
           && (quote ? *p != quote
                     : ngx_strchr(" \t\r\n;", *p) == NULL
                       && (*p != '{' || p[-1] == '$')))
    {
        p += (*p == '\\' && p + 1 < last) ? 2 : 1;
    }

    word->len = p - word->data;

    return (quote && p < last) ? p + 1 : p;
}
