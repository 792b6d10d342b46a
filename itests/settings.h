/*
 * The settings of a program that runs scenarios which its options have alike.
 */

#ifndef ITESTS_SETTINGS_H
#define ITESTS_SETTINGS_H


#include "itests/check.h"
#include "rpc/options.h"
#include "rpc/tls.h"


/* Rows of a table of options; "env" is the prefix of the program. */
#define SETTINGS_TLS_OPTIONS(env, settings, on, files)                        \
    { "tls", env "_TLS", OPTION_FLAG, on, "off", 0, 0,                        \
      "connect over TLS, to all that is called" },                            \
    { "tls-ca FILE", env "_TLS_CA", OPTION_STRING, &(files)->ca, NULL, 0, 0,  \
      "authorities to trust; none: those of the system" },                    \
    { "tls-cert FILE", env "_TLS_CERT", OPTION_STRING, &(files)->cert, NULL,  \
      0, 0, "client certificate" },                                           \
    { "tls-key FILE", env "_TLS_KEY", OPTION_STRING, &(files)->key, NULL, 0,  \
      0, "its private key" },                                                 \
    { "tls-server-name NAME", env "_TLS_SERVER_NAME", OPTION_STRING,          \
      &(settings)->tls_server_name, NULL, 0, 0,                               \
      "name that the certificate must have; none: the host that is called" }


/* Fills settings->tls.  Reads the files; the gRPC core starts in the process of
 * each scenario.  -1 with a line for "program" on standard error. */
int settings_tls(settings_t *settings, const char *program, int on,
    const rpc_tls_files_t *files) __attribute__((warn_unused_result));


#endif /* ITESTS_SETTINGS_H */
