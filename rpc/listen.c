/*
 * The address of a server: no other server listens there, and a unix socket has
 * the permissions of the options.
 */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "rpc/call.h"


static bool listen_unix_served(const char *address);


int
rpc_server_listen(rpc_server_t *server, const char *address,
    grpc_server_credentials *credentials)
{
    int     port;
    mode_t  old;

    if (credentials == NULL) {
        credentials = grpc_insecure_server_credentials_create();
    }

    port = 0;

    if (!server->started && !server->stopped && !listen_unix_served(address)) {

        /* a chmod() afterwards would let others connect before it */

        old = umask(0777 & ~(mode_t) server->options.socket_mode);
        port = grpc_server_add_http2_port(server->core, address, credentials);
        (void) umask(old);
    }

    grpc_server_credentials_release(credentials);

    return port;
}


/* The gRPC library would take the path away from a server that listens on
 * it. */

static bool
listen_unix_served(const char *address)
{
    int                 fd, rc;
    struct sockaddr_un  un;

    if (strncmp(address, "unix:", 5) != 0) {
        return false;
    }

    address += 5;

    if (strncmp(address, "//", 2) == 0) {
        address += 2;
    }

    if (strlen(address) >= sizeof(un.sun_path)) {
        return false;
    }

    memset(&un, 0, sizeof(un));
    un.sun_family = AF_UNIX;
    strcpy(un.sun_path, address);

    fd = socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0);
    if (fd == -1) {
        return false;
    }

    rc = connect(fd, (struct sockaddr *) &un, sizeof(un));

    if (rc == -1 && errno == EAGAIN) {
        rc = 0;                         /* its backlog is full */
    }

    close(fd);

    return rc == 0;
}
