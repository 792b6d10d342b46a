
/* Sees an upgrade of the binary by the pid files of the masters. */

#include "core/upgrade.h"


#define MS_UPGRADE_LOOK  1000


static ngx_uint_t ms_upgrade_look(void);


/*
 * The old master renames its pid file when it starts the new one, and removes
 * it when it exits, or renames it back when the new one has exited.  It may
 * have been killed.
 */

ngx_uint_t
ms_upgrading(void)
{
    static ngx_msec_t  looked;
    static ngx_uint_t  upgrading;

    if (looked == 0 || ngx_current_msec - looked >= MS_UPGRADE_LOOK) {
        looked = ngx_current_msec;
        upgrading = ms_upgrade_look();
    }

    return upgrading;
}


static ngx_uint_t
ms_upgrade_look(void)
{
    u_char            buf[NGX_INT64_LEN + 2];
    ssize_t           n;
    ngx_fd_t          fd;
    ngx_int_t         pid;
    ngx_core_conf_t  *ccf;

    ccf = (ngx_core_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                           ngx_core_module);

    fd = ngx_open_file(ccf->oldpid.data, NGX_FILE_RDONLY | O_NONBLOCK,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        return 0;
    }

    n = ngx_read_fd(fd, buf, sizeof(buf) - 1);
    (void) ngx_close_file(fd);

    while (n > 0 && (buf[n - 1] == CR || buf[n - 1] == LF)) {
        n--;
    }

    pid = n > 0 ? ngx_atoi(buf, n) : NGX_ERROR;

    return pid > 0 && (kill((pid_t) pid, 0) == 0 || ngx_errno == NGX_EPERM);
}
