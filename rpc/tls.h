/*
 * TLS of servers and clients from PEM files.  A server follows changes of its
 * files: every handshake, but not more often than once a second, looks whether
 * they were replaced.  New files are taken if they are good.  If not, one error
 * is logged and the old ones stay in use.
 */

#ifndef RPC_TLS_H
#define RPC_TLS_H


#include <stddef.h>

#include <grpc/grpc_security.h>

#include "rpc/options.h"


typedef struct rpc_tls_s  rpc_tls_t;

typedef enum {
    RPC_TLS_SERVER = 0,     /* "cert" and "key"; with "ca" only clients with a
                               certificate of it are served (mTLS) */
    RPC_TLS_CLIENT          /* "ca" or the system's; "cert" and "key" for
                               servers that ask for them */
} rpc_tls_role_t;

/* Names of files, borrowed; NULL: not given. */
typedef struct {
    const char  *cert;      /* the certificate, then its intermediates */
    const char  *key;
    const char  *ca;
} rpc_tls_files_t;


/* Three rows of a table of options; "env" is the prefix of the program. */
#define RPC_TLS_SERVER_OPTIONS(env, files)                                    \
    { "tls-cert FILE", env "_TLS_CERT", OPTION_STRING, &(files)->cert, NULL,  \
      0, 0, "certificate and intermediates (PEM); none: plaintext" },         \
    { "tls-key FILE", env "_TLS_KEY", OPTION_STRING, &(files)->key, NULL, 0,  \
      0, "its private key (PEM)" },                                           \
    { "tls-client-ca FILE", env "_TLS_CLIENT_CA", OPTION_STRING,              \
      &(files)->ca, NULL, 0, 0,                                               \
      "serve only clients with a certificate of this authority" }


/* All return one line in "error" that names the option and what to do. */

/* -1 when an option lacks another one; reads no file. */
int rpc_tls_usage(const rpc_tls_files_t *files, rpc_tls_role_t role,
    char *error, size_t size) __attribute__((warn_unused_result));

/* Reads and checks the files; nothing of the core yet, so it may be called
 * before a fork.  NULL on error. */
rpc_tls_t *rpc_tls_create(const rpc_tls_files_t *files, rpc_tls_role_t role,
    char *error, size_t size);

/* For one rpc_server_listen(), after rpc_server_create(); "tls" must live
 * until rpc_server_free(). */
grpc_server_credentials *rpc_tls_server(rpc_tls_t *tls);

/* Reads the files of a server now, whether they have changed or not. */
void rpc_tls_reload(rpc_tls_t *tls);

/* For rpc_client_create_tls(), which is what to call. */
grpc_channel_credentials *rpc_tls_client(const rpc_tls_t *tls);

/* NULL is fine. */
void rpc_tls_free(rpc_tls_t *tls);


#endif /* RPC_TLS_H */
