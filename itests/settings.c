/* TLS of a program that runs scenarios. */

#include <stdio.h>

#include "itests/settings.h"


int
settings_tls(settings_t *settings, const char *program, int on,
    const rpc_tls_files_t *files)
{
    char  error[512];

    if (!on) {
        if (files->ca != NULL || files->cert != NULL || files->key != NULL
            || settings->tls_server_name != NULL)
        {
            fprintf(stderr, "%s: --tls-ca, --tls-cert, --tls-key and "
                    "--tls-server-name need --tls\n", program);
            return -1;
        }

        return 0;
    }

    settings->tls = rpc_tls_create(files, RPC_TLS_CLIENT, error,
                                   sizeof(error));

    if (settings->tls == NULL) {
        fprintf(stderr, "%s: %s\n", program, error);
        return -1;
    }

    return 0;
}
