
/*
 * One eventfd per worker number, made by the master and inherited.  Nobody
 * reads it: each write is a new edge for epoll, and an old and a new worker of
 * the same number, which share it, cannot take it from each other.
 */

#include "zone/wake.h"

#include <sys/eventfd.h>


static int                ms_wake_fds[MS_WAKE_WORKERS];
static ngx_uint_t         ms_wake_made;
static ngx_connection_t  *ms_wake_connection;


ngx_int_t
ms_wake_init(ngx_log_t *log)
{
    int  fd;

    while (ms_wake_made < MS_WAKE_WORKERS) {

        fd = eventfd(0, EFD_CLOEXEC|EFD_NONBLOCK);

        if (fd == -1) {
            ngx_log_error(NGX_LOG_EMERG, log, ngx_errno, "eventfd() failed");
            return NGX_ERROR;
        }

        ms_wake_fds[ms_wake_made++] = fd;
    }

    return NGX_OK;
}


ngx_int_t
ms_wake_listen(ngx_cycle_t *cycle, ngx_event_handler_pt handler)
{
    ngx_connection_t  *c;

    /* other methods than epoll would report it for ever */

    if (ms_wake_made == 0 || ngx_worker >= MS_WAKE_WORKERS
        || !(ngx_event_flags & NGX_USE_EPOLL_EVENT))
    {
        return NGX_OK;
    }

    c = ngx_get_connection(ms_wake_fds[ngx_worker], cycle->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->log = cycle->log;
    c->read->log = cycle->log;
    c->write->log = cycle->log;
    c->read->handler = handler;

    ms_wake_connection = c;

    return ngx_add_event(c->read, NGX_READ_EVENT, NGX_CLEAR_EVENT);
}


void
ms_wake_end(ngx_cycle_t *cycle)
{
    ngx_connection_t  *c;

    c = ms_wake_connection;

    if (c == NULL) {
        return;
    }

    ms_wake_connection = NULL;

    if (c->read->active) {
        (void) ngx_del_event(c->read, NGX_READ_EVENT, 0);
    }

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    ngx_free_connection(c);
    c->fd = (ngx_socket_t) -1;
}


void
ms_wake(uint64_t workers)
{
    ngx_uint_t      i;
    const uint64_t  one = 1;

    for (i = 0; i < ms_wake_made; i++) {

        if ((workers & (uint64_t) 1 << i)
            && write(ms_wake_fds[i], &one, sizeof(one)) == -1)
        {
            ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                          "cannot wake a worker: write() to an eventfd failed");
        }
    }
}
