
/*
 * Who the gateway and the store are for each other, as configured: the password,
 * and TLS.
 */

#include "store/login.h"


#define MS_STORE_PASSWORD  512
#define MS_STORE_FILE      1024         /* bytes that are read of its file */


static char *ms_store_password_fits(ngx_conf_t *cf, ngx_str_t *password,
    ngx_str_t *name);
#if (NGX_HTTP_SSL)
static char *ms_store_login_tls(ngx_conf_t *cf, ms_store_t *store);
#endif


char *
ms_store_password(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf)
{
    ms_store_t *store = conf;

    ssize_t     n;
    ngx_err_t   err;
    ngx_file_t  file;
    ngx_str_t   name;

    name = *value;

    if (value->len == 0 || ngx_conf_full_name(cf->cycle, &name, 1) != NGX_OK) {
        return ms_value_invalid(cf, parameter, value, "a file");
    }

    store->password.data = ngx_pcalloc(cf->pool, MS_STORE_FILE);
    if (store->password.data == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&file, sizeof(ngx_file_t));

    /* the open of a pipe waits for its writer */

    file.name = name;
    file.log = cf->log;
    file.fd = ngx_open_file(name.data, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                            NGX_FILE_OPEN, 0);

    if (file.fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "\"myservice_store\": the password file \"%V\" "
                           "cannot be opened", &name);
        return NGX_CONF_ERROR;
    }

    n = ngx_read_file(&file, store->password.data, MS_STORE_FILE, 0);
    err = ngx_errno;

    if (ngx_close_file(file.fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, cf->log, ngx_errno,
                      ngx_close_file_n " \"%V\" failed", &name);
    }

    if (n == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, err,
                           "\"myservice_store\": the password file \"%V\" "
                           "cannot be read", &name);
        return NGX_CONF_ERROR;
    }

    store->password.len = n;

    return ms_store_password_fits(cf, &store->password, &name);
}


/* the text of the file becomes the password */

static char *
ms_store_password_fits(ngx_conf_t *cf, ngx_str_t *password, ngx_str_t *name)
{
    size_t       n;
    const char  *what;

    n = password->len;
    what = NULL;

    while (n && (password->data[n - 1] == LF || password->data[n - 1] == CR)) {
        n--;
    }

    password->len = n;

    if (ngx_strlchr(password->data, password->data + n, '\0')) {
        what = "a zero byte";

    } else if (ngx_strlchr(password->data, password->data + n, LF)
               || ngx_strlchr(password->data, password->data + n, CR))
    {
        what = "more than one line";
    }

    if (what) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"myservice_store\": the password file \"%V\" "
                           "has %s, expected the password alone", name, what);
        return NGX_CONF_ERROR;
    }

    if (n == 0 || n > MS_STORE_PASSWORD) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"myservice_store\": the password file \"%V\" "
                           "has no password of 1-%d bytes", name,
                           MS_STORE_PASSWORD);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ms_store_login(ngx_conf_t *cf, ms_store_t *store)
{
    const char  *what;

    if (store->user.len && store->password.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"myservice_store\": \"user=\" needs "
                           "\"password_file=\"");
        return NGX_CONF_ERROR;
    }

    what = store->ca.len ? "ca=" : store->host.len ? "name="
           : store->cert.len ? "cert=" : store->key.len ? "key=" : NULL;

    if (!store->tls && what) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"myservice_store\": \"%s\" needs a store with "
                           "TLS, \"rediss://\"", what);
        return NGX_CONF_ERROR;
    }

    if (!store->tls) {
        return NGX_CONF_OK;
    }

    if (store->ca.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"myservice_store\": \"rediss://\" needs "
                           "\"ca=\", a file with the certificates of "
                           "those who issue the store's");
        return NGX_CONF_ERROR;
    }

    if (!store->cert.len != !store->key.len) {
        what = store->cert.len ? "\"cert=\" needs \"key=\""
                               : "\"key=\" needs \"cert=\"";
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"myservice_store\": %s",
                           what);
        return NGX_CONF_ERROR;
    }

#if (NGX_HTTP_SSL)

    return ms_store_login_tls(cf, store);

#else

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"myservice_store\": this nginx has no TLS");
    return NGX_CONF_ERROR;

#endif
}


#if (NGX_HTTP_SSL)

static char *
ms_store_login_tls(ngx_conf_t *cf, ms_store_t *store)
{
    ngx_pool_cleanup_t  *cleanup;

    store->ssl = ngx_pcalloc(cf->pool, sizeof(ngx_ssl_t));
    cleanup = ngx_pool_cleanup_add(cf->pool, 0);

    if (store->ssl == NULL || cleanup == NULL) {
        return NGX_CONF_ERROR;
    }

    store->ssl->log = cf->log;

    if (ngx_ssl_create(store->ssl, NGX_SSL_TLSv1_2|NGX_SSL_TLSv1_3, NULL)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    cleanup->handler = ngx_ssl_cleanup_ctx;
    cleanup->data = store->ssl;

    if (ngx_ssl_trusted_certificate(cf, store->ssl, &store->ca, 2) != NGX_OK
        || (store->cert.len
            && ngx_ssl_certificate(cf, store->ssl, &store->cert, &store->key,
                                   NULL)
               != NGX_OK))
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}

#endif
