#include "rpc/tls.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "rpc/log.h"
#include "rpc/pem.h"
#include "rpc/server.h"


/* between two looks at the files, in ms */
#define TLS_LOOK   1000

#define TLS_ERROR  512


/* What changes when a file is replaced, written or linked elsewhere. */
typedef struct {
    dev_t            dev;
    ino_t            ino;
    off_t            size;
    struct timespec  mtime;
    struct timespec  ctime;
} tls_stamp_t;

typedef struct {
    tls_stamp_t  cert;
    tls_stamp_t  key;
    tls_stamp_t  ca;
} tls_stamps_t;

/* Contents of the files that belong together. */
typedef struct {
    pem_cert_t  cert;
    pem_key_t   key;
    pem_cert_t  ca;
} tls_set_t;

struct rpc_tls_s {
    rpc_tls_files_t  files;
    rpc_tls_role_t   role;

    /* guards what follows: handshakes run on any thread of the core */
    pthread_mutex_t  mutex;
    tls_set_t        set;
    tls_stamps_t     stamps;        /* of the files that were read last */
    int64_t          looked;        /* rpc_now() */
    bool             fresh;         /* the core has not got "set" yet */
};


static int tls_set_load(tls_set_t *set, const rpc_tls_files_t *files,
    rpc_tls_role_t role, char *error, size_t size);
static int tls_load_cert(pem_cert_t *cert, const char *path,
    const char *option, char *error, size_t size);
static int tls_load_pair(tls_set_t *set, const rpc_tls_files_t *files,
    char *error, size_t size);
static void tls_set_free(tls_set_t *set);
static const char *tls_ca_option(rpc_tls_role_t role);
static void tls_stamps_take(tls_stamps_t *stamps,
    const rpc_tls_files_t *files);
static void tls_stamp_take(tls_stamp_t *stamp, const char *path);
static grpc_ssl_certificate_config_reload_status tls_fetch(void *data,
    grpc_ssl_server_certificate_config **config);
static void tls_look_locked(rpc_tls_t *tls, int64_t now);
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

    tls_stamps_take(&tls->stamps, files);

    if (tls_set_load(&tls->set, files, role, error, size) != 0) {
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
tls_set_load(tls_set_t *set, const rpc_tls_files_t *files,
    rpc_tls_role_t role, char *error, size_t size)
{
    memset(set, 0, sizeof(tls_set_t));

    if (files->cert != NULL && tls_load_pair(set, files, error, size) != 0) {
        return -1;
    }

    if (files->ca != NULL
        && tls_load_cert(&set->ca, files->ca, tls_ca_option(role), error,
                         size)
           != 0)
    {
        return -1;
    }

    return 0;
}


static int
tls_load_cert(pem_cert_t *cert, const char *path, const char *option,
    char *error, size_t size)
{
    char  why[TLS_ERROR];

    if (pem_cert_load(cert, path, why, sizeof(why)) != 0) {
        snprintf(error, size, "%s: %s", option, why);
        return -1;
    }

    return 0;
}


static int
tls_load_pair(tls_set_t *set, const rpc_tls_files_t *files, char *error,
    size_t size)
{
    char  why[TLS_ERROR];

    if (tls_load_cert(&set->cert, files->cert, "--tls-cert", error, size)
        != 0)
    {
        return -1;
    }

    if (pem_key_load(&set->key, files->key, why, sizeof(why)) != 0) {
        snprintf(error, size, "--tls-key: %s", why);
        return -1;
    }

    if (pem_pair_check(&set->cert, &set->key, why, sizeof(why)) != 0) {
        snprintf(error, size, "--tls-key \"%s\", --tls-cert \"%s\": %s",
                 files->key, files->cert, why);
        return -1;
    }

    return 0;
}


static void
tls_set_free(tls_set_t *set)
{
    pem_cert_free(&set->cert);
    pem_key_free(&set->key);
    pem_cert_free(&set->ca);
}


static const char *
tls_ca_option(rpc_tls_role_t role)
{
    return role == RPC_TLS_SERVER ? "--tls-client-ca" : "--tls-ca";
}


/* A file that is not there has a stamp, too. */

static void
tls_stamps_take(tls_stamps_t *stamps, const rpc_tls_files_t *files)
{
    /* they are compared with memcmp() */
    memset(stamps, 0, sizeof(tls_stamps_t));

    tls_stamp_take(&stamps->cert, files->cert);
    tls_stamp_take(&stamps->key, files->key);
    tls_stamp_take(&stamps->ca, files->ca);
}


static void
tls_stamp_take(tls_stamp_t *stamp, const char *path)
{
    struct stat  st;

    if (path == NULL || stat(path, &st) == -1) {
        return;
    }

    stamp->dev = st.st_dev;
    stamp->ino = st.st_ino;
    stamp->size = st.st_size;
    stamp->mtime = st.st_mtim;
    stamp->ctime = st.st_ctim;
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


/* The core asks when it begins to listen, then at every handshake. */

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
        pair.private_key = tls->set.key.text;
        pair.cert_chain = tls->set.cert.text;

        /* the core wants one, also if no client is asked for a certificate */
        roots = tls->set.ca.text != NULL ? tls->set.ca.text : pair.cert_chain;

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
    char          error[TLS_ERROR * 2];
    tls_set_t     set;
    tls_stamps_t  stamps;

    if (now - tls->looked < TLS_LOOK) {
        return;
    }

    tls->looked = now;
    tls_stamps_take(&stamps, &tls->files);

    if (memcmp(&stamps, &tls->stamps, sizeof(tls_stamps_t)) == 0) {
        return;
    }

    tls->stamps = stamps;

    if (tls_set_load(&set, &tls->files, tls->role, error, sizeof(error))
        != 0)
    {
        log_error("the changed TLS files are not used: %s", error);
        tls_set_free(&set);
        return;
    }

    tls_set_free(&tls->set);
    tls->set = set;
    tls->fresh = true;

    tls_log_set("the TLS files have changed, now", &tls->set);
}


static void
tls_log_set(const char *what, const tls_set_t *set)
{
    log_info("%s certificate \"%s\" until %s%s", what, set->cert.subject,
             set->cert.until,
             set->ca.text != NULL ? ", clients need one, too" : "");

    if (set->cert.expires < (int64_t) time(NULL)) {
        log_warn("the certificate \"%s\" has expired", set->cert.subject);
    }
}


grpc_channel_credentials *
rpc_tls_client(const rpc_tls_t *tls)
{
    grpc_ssl_pem_key_cert_pair  pair;

    pair.private_key = tls->set.key.text;
    pair.cert_chain = tls->set.cert.text;

    return grpc_ssl_credentials_create_ex(tls->set.ca.text,
                                          pair.cert_chain != NULL ? &pair
                                                                  : NULL,
                                          NULL, NULL);
}
