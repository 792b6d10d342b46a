/*
 * Certificates and keys are read and checked here before the gRPC library gets
 * them: what is wrong is said in one line that names option and file, instead
 * of by a handshake that fails.
 */

#include "rpc/tls.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "rpc/file.h"
#include "rpc/log.h"
#include "rpc/server.h"


/* between two looks at the files, in ms */
#define TLS_LOOK      1000

/* a bundle of all public authorities has 200 KiB */
#define TLS_FILE_MAX  (1024 * 1024)

#define TLS_ERROR     512


/* Texts of the files that belong together, and what the certificate says. */
typedef struct {
    char     *cert;
    char     *key;
    char     *ca;
    char      subject[256];
    char      until[64];
    int64_t   expires;              /* seconds since 1970 */
} tls_set_t;

struct rpc_tls_s {
    rpc_tls_files_t  files;
    rpc_tls_role_t   role;

    /* guards what follows: handshakes run on any thread of the library */
    pthread_mutex_t  mutex;
    tls_set_t        set;
    file_stamp_t     stamps[3];     /* of the files that were read last */
    int64_t          looked;        /* rpc_now() */
    bool             fresh;         /* the library has not got "set" yet */
};

/* Where a text comes from, and where an error about it goes. */
typedef struct {
    const char  *option;
    const char  *path;
    char        *error;
    size_t       size;
} tls_source_t;


static int tls_load(tls_set_t *set, const rpc_tls_files_t *files,
    rpc_tls_role_t role, char *error, size_t size);
static int tls_load_pair(tls_set_t *set, const rpc_tls_files_t *files,
    char *error, size_t size);
static char *tls_read(const tls_source_t *source);
static X509 *tls_certs(const tls_source_t *source, const char *text);
static EVP_PKEY *tls_key(const tls_source_t *source, const char *text);
static int tls_no_passphrase(char *buf, int size, int writing, void *data);
static int tls_pair(const tls_source_t *source, X509 *x509, EVP_PKEY *pkey);
static void tls_describe(tls_set_t *set, X509 *x509);
static const char *tls_reason(void);
static void tls_set_free(tls_set_t *set);
static void tls_stamp(file_stamp_t *stamps, const rpc_tls_files_t *files);
static grpc_ssl_certificate_config_reload_status tls_fetch(void *data,
    grpc_ssl_server_certificate_config **config);
static void tls_look_locked(rpc_tls_t *tls, int64_t now);
static void tls_load_locked(rpc_tls_t *tls, const char *what);
static void tls_log_set(const char *what, const tls_set_t *set);


int
rpc_tls_usage(const rpc_tls_files_t *files, rpc_tls_role_t role, char *error,
    size_t size)
{
    if (files->cert != NULL && files->key == NULL) {
        snprintf(error, size, "--tls-cert needs --tls-key: give the file with "
                 "the private key of the certificate");
        return -1;
    }

    if (files->key != NULL && files->cert == NULL) {
        snprintf(error, size, "--tls-key needs --tls-cert: give the file with "
                 "the certificate of the key");
        return -1;
    }

    if (role == RPC_TLS_SERVER && files->ca != NULL && files->cert == NULL) {
        snprintf(error, size, "--tls-client-ca needs --tls-cert and "
                 "--tls-key: without them there is no TLS");
        return -1;
    }

    return 0;
}


rpc_tls_t *
rpc_tls_create(const rpc_tls_files_t *files, rpc_tls_role_t role, char *error,
    size_t size)
{
    rpc_tls_t  *tls;

    if (rpc_tls_usage(files, role, error, size) != 0) {
        return NULL;
    }

    if (role == RPC_TLS_SERVER && files->cert == NULL) {
        snprintf(error, size, "--tls-cert and --tls-key are required");
        return NULL;
    }

    tls = calloc(1, sizeof(rpc_tls_t));

    if (tls == NULL || pthread_mutex_init(&tls->mutex, NULL) != 0) {
        snprintf(error, size, "out of memory");
        free(tls);
        return NULL;
    }

    tls->files = *files;
    tls->role = role;
    tls->looked = rpc_now();
    tls->fresh = true;

    tls_stamp(tls->stamps, files);

    if (tls_load(&tls->set, files, role, error, size) != 0) {
        rpc_tls_free(tls);
        return NULL;
    }

    return tls;
}


void
rpc_tls_free(rpc_tls_t *tls)
{
    if (tls == NULL) {
        return;
    }

    tls_set_free(&tls->set);
    pthread_mutex_destroy(&tls->mutex);
    free(tls);
}


static int
tls_load(tls_set_t *set, const rpc_tls_files_t *files, rpc_tls_role_t role,
    char *error, size_t size)
{
    X509          *x509;
    tls_source_t   source;

    memset(set, 0, sizeof(tls_set_t));

    if (files->cert != NULL && tls_load_pair(set, files, error, size) != 0) {
        return -1;
    }

    if (files->ca == NULL) {
        return 0;
    }

    source = (tls_source_t) {
        role == RPC_TLS_SERVER ? "--tls-client-ca" : "--tls-ca", files->ca,
        error, size
    };

    set->ca = tls_read(&source);
    x509 = set->ca != NULL ? tls_certs(&source, set->ca) : NULL;
    X509_free(x509);

    return x509 != NULL ? 0 : -1;
}


static int
tls_load_pair(tls_set_t *set, const rpc_tls_files_t *files, char *error,
    size_t size)
{
    int            rc;
    X509          *x509;
    EVP_PKEY      *pkey;
    tls_source_t   cert = { "--tls-cert", files->cert, error, size };
    tls_source_t   key = { "--tls-key", files->key, error, size };

    set->cert = tls_read(&cert);
    x509 = set->cert != NULL ? tls_certs(&cert, set->cert) : NULL;

    if (x509 == NULL) {
        return -1;
    }

    set->key = tls_read(&key);
    pkey = set->key != NULL ? tls_key(&key, set->key) : NULL;

    rc = pkey != NULL ? tls_pair(&key, x509, pkey) : -1;

    if (rc == 0) {
        tls_describe(set, x509);
    }

    EVP_PKEY_free(pkey);
    X509_free(x509);

    return rc;
}


static char *
tls_read(const tls_source_t *source)
{
    char  *text, why[TLS_ERROR];

    text = file_read(source->path, TLS_FILE_MAX, NULL, why, sizeof(why));

    if (text == NULL) {
        snprintf(source->error, source->size, "%s: %s", source->option, why);
    }

    return text;
}


/* The first certificate; the others have to be whole, too. */

static X509 *
tls_certs(const tls_source_t *source, const char *text)
{
    int             n;
    BIO            *bio;
    X509           *first, *x509;
    unsigned long   e;

    first = NULL;
    bio = BIO_new_mem_buf(text, -1);
    ERR_clear_error();

    for (n = 1; (x509 = PEM_read_bio_X509(bio, NULL, tls_no_passphrase, NULL))
                != NULL; n++)
    {
        if (n == 1) {
            first = x509;

        } else {
            X509_free(x509);
        }
    }

    e = ERR_peek_last_error();

    if (ERR_GET_LIB(e) != ERR_LIB_PEM
        || ERR_GET_REASON(e) != PEM_R_NO_START_LINE)
    {
        snprintf(source->error, source->size, "%s: \"%s\": certificate number "
                 "%d is damaged: %s", source->option, source->path, n,
                 tls_reason());
        X509_free(first);
        first = NULL;

    } else if (first == NULL) {
        snprintf(source->error, source->size, "%s: \"%s\" has no certificate "
                 "in PEM format (-----BEGIN CERTIFICATE-----)",
                 source->option, source->path);
    }

    ERR_clear_error();
    BIO_free(bio);

    return first;
}


static EVP_PKEY *
tls_key(const tls_source_t *source, const char *text)
{
    int        asked;
    BIO       *bio;
    EVP_PKEY  *pkey;

    asked = 0;
    bio = BIO_new_mem_buf(text, -1);
    pkey = PEM_read_bio_PrivateKey(bio, NULL, tls_no_passphrase, &asked);

    BIO_free(bio);
    ERR_clear_error();

    if (pkey == NULL && asked) {
        snprintf(source->error, source->size, "%s: the key in \"%s\" has a "
                 "passphrase: give it without (openssl pkey -in FILE -out "
                 "NEW)", source->option, source->path);

    } else if (pkey == NULL) {
        snprintf(source->error, source->size, "%s: \"%s\" has no private key "
                 "in PEM format (-----BEGIN PRIVATE KEY-----)",
                 source->option, source->path);
    }

    return pkey;
}


/* OpenSSL would ask for it on the terminal. */

static int
tls_no_passphrase(char *buf, int size, int writing, void *data)
{
    int  *asked = data;

    (void) buf;
    (void) size;
    (void) writing;

    if (asked != NULL) {
        *asked = 1;
    }

    return -1;
}


/* Whether TLS takes the pair: they belong together, and both are strong enough
 * for OpenSSL's security level. */

static int
tls_pair(const tls_source_t *source, X509 *x509, EVP_PKEY *pkey)
{
    int       rc;
    SSL_CTX  *ctx;

    rc = -1;
    ctx = SSL_CTX_new(TLS_method());
    ERR_clear_error();

    if (X509_check_private_key(x509, pkey) != 1) {
        snprintf(source->error, source->size, "%s: the key in \"%s\" is not "
                 "that of the certificate: give the pair that was made "
                 "together", source->option, source->path);

    } else if (ctx == NULL || SSL_CTX_use_certificate(ctx, x509) != 1
               || SSL_CTX_use_PrivateKey(ctx, pkey) != 1)
    {
        snprintf(source->error, source->size, "%s: OpenSSL does not take "
                 "\"%s\" and its certificate: %s", source->option,
                 source->path, tls_reason());

    } else {
        rc = 0;
    }

    ERR_clear_error();
    SSL_CTX_free(ctx);

    return rc;
}


static void
tls_describe(tls_set_t *set, X509 *x509)
{
    struct tm  tm;

    memset(&tm, 0, sizeof(tm));

    (void) X509_NAME_oneline(X509_get_subject_name(x509), set->subject,
                             sizeof(set->subject));
    (void) ASN1_TIME_to_tm(X509_get0_notAfter(x509), &tm);

    set->expires = (int64_t) timegm(&tm);
    strftime(set->until, sizeof(set->until), "%Y-%m-%dT%H:%M:%SZ", &tm);
}


static const char *
tls_reason(void)
{
    const char  *reason;

    reason = ERR_reason_error_string(ERR_peek_last_error());

    return reason != NULL ? reason : "unknown error";
}


static void
tls_set_free(tls_set_t *set)
{
    if (set->key != NULL) {
        OPENSSL_cleanse(set->key, strlen(set->key));
    }

    free(set->cert);
    free(set->key);
    free(set->ca);
    memset(set, 0, sizeof(tls_set_t));
}


static void
tls_stamp(file_stamp_t *stamps, const rpc_tls_files_t *files)
{
    file_stamp(&stamps[0], files->cert);
    file_stamp(&stamps[1], files->key);
    file_stamp(&stamps[2], files->ca);
}


grpc_server_credentials *
rpc_tls_server(rpc_tls_t *tls)
{
    grpc_ssl_server_credentials_options       *options;
    grpc_ssl_client_certificate_request_type   request;

    request = tls->files.ca != NULL
              ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
              : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE;

    options = grpc_ssl_server_credentials_create_options_using_config_fetcher(
                  request, tls_fetch, tls);

    tls_log_set("TLS with", &tls->set);

    return grpc_ssl_server_credentials_create_with_options(options);
}


/* The library asks when it begins to listen, then at every handshake. */

static grpc_ssl_certificate_config_reload_status
tls_fetch(void *data, grpc_ssl_server_certificate_config **config)
{
    const char                                 *roots;
    rpc_tls_t                                  *tls = data;
    grpc_ssl_pem_key_cert_pair                  pair;
    grpc_ssl_certificate_config_reload_status   status;

    status = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;

    pthread_mutex_lock(&tls->mutex);

    tls_look_locked(tls, rpc_now());

    if (tls->fresh) {
        pair.private_key = tls->set.key;
        pair.cert_chain = tls->set.cert;

        /* the library wants one even if it asks no client for a certificate */
        roots = tls->set.ca != NULL ? tls->set.ca : pair.cert_chain;

        *config = grpc_ssl_server_certificate_config_create(roots, &pair, 1);
        tls->fresh = false;
        status = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
    }

    pthread_mutex_unlock(&tls->mutex);

    return status;
}


/*
 * The stamps are taken before the files are read: what is written meanwhile
 * is seen the next time.
 */

static void
tls_look_locked(rpc_tls_t *tls, int64_t now)
{
    file_stamp_t  stamps[3];

    if (now - tls->looked < TLS_LOOK) {
        return;
    }

    tls->looked = now;
    tls_stamp(stamps, &tls->files);

    if (memcmp(stamps, tls->stamps, sizeof(stamps)) == 0) {
        return;
    }

    memcpy(tls->stamps, stamps, sizeof(stamps));
    tls_load_locked(tls, "the TLS files have changed, now");
}


void
rpc_tls_reload(rpc_tls_t *tls)
{
    pthread_mutex_lock(&tls->mutex);

    tls->looked = rpc_now();
    tls_stamp(tls->stamps, &tls->files);
    tls_load_locked(tls, "the TLS files were read again, now");

    pthread_mutex_unlock(&tls->mutex);
}


static void
tls_load_locked(rpc_tls_t *tls, const char *what)
{
    char       error[TLS_ERROR * 2];
    tls_set_t  set;

    if (tls_load(&set, &tls->files, tls->role, error, sizeof(error)) != 0) {
        log_error("the changed TLS files are not used: %s", error);
        tls_set_free(&set);
        return;
    }

    tls_set_free(&tls->set);
    tls->set = set;
    tls->fresh = true;

    tls_log_set(what, &tls->set);
}


static void
tls_log_set(const char *what, const tls_set_t *set)
{
    log_info("%s certificate \"%s\" until %s%s", what, set->subject,
             set->until,
             set->ca != NULL ? ", clients need one, too" : "");

    if (set->expires < (int64_t) time(NULL)) {
        log_warn("the certificate \"%s\" has expired", set->subject);
    }
}


grpc_channel_credentials *
rpc_tls_client(const rpc_tls_t *tls)
{
    grpc_ssl_pem_key_cert_pair  pair;

    pair.private_key = tls->set.key;
    pair.cert_chain = tls->set.cert;

    return grpc_ssl_credentials_create_ex(tls->set.ca,
                                          pair.cert_chain != NULL ? &pair
                                                                  : NULL,
                                          NULL, NULL);
}
