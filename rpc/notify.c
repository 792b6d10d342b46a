/*
 * The protocol of sd_notify(3): a datagram to a unix socket.
 */

#include "rpc/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "rpc/log.h"


void
rpc_notify(const char *state)
{
    int                 fd;
    size_t              len;
    socklen_t           size;
    const char         *path;
    struct sockaddr_un  address;

    path = getenv("NOTIFY_SOCKET");
    if (path == NULL || path[0] == '\0') {
        return;
    }

    len = strlen(path);

    if ((path[0] != '/' && path[0] != '@') || len >= sizeof(address.sun_path))
    {
        errno = EINVAL;
        goto failed;
    }

    memset(&address, 0, sizeof(address));
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path, len);
    size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + len);

    /* '@' is Linux' abstract namespace */

    if (path[0] == '@') {
        address.sun_path[0] = '\0';
    }

    fd = socket(AF_UNIX, SOCK_DGRAM|SOCK_CLOEXEC, 0);
    if (fd == -1) {
        goto failed;
    }

    if (sendto(fd, state, strlen(state), MSG_NOSIGNAL,
               (struct sockaddr *) &address, size)
        != -1)
    {
        close(fd);
        return;
    }

    close(fd);

failed:

    log_warn("cannot tell systemd \"%s\": %s, NOTIFY_SOCKET=\"%s\"", state,
             strerror(errno), path);
}
