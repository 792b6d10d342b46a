
/*
 * Lets a call wait inside nginx's connect, with a socket that never connects.
 */

#include "sessions/paused.h"


static ssize_t ms_paused_recv(ngx_connection_t *c, u_char *buf, size_t size);


/*
 * nginx can only wait for a connect here. So the call gets a socket that is in
 * no event set, and a timer that lets the connect fail: nginx then calls
 * peer.get() again. Meanwhile nginx notices a client that goes away, as
 * always.
 */

ngx_int_t
ms_paused_begin(ms_call_t *call, ngx_peer_connection_t *pc)
{
    ngx_socket_t       s;
    ngx_connection_t  *c;
    ms_grant_t        *grant;

    grant = &call->grant;

    pc->sockaddr = &grant->sockaddr.sockaddr;
    pc->socklen = grant->socklen;
    pc->name = &grant->name;
    pc->cached = 0;
    pc->connection = NULL;

    /* a call that waits for the store may have had no instance yet */

    s = ngx_socket(grant->socklen ? pc->sockaddr->sa_family : AF_INET,
                   SOCK_STREAM, 0);

    if (s == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_ALERT, pc->log, ngx_socket_errno,
                      ngx_socket_n " failed");
        return NGX_ERROR;
    }

    c = ngx_get_connection(s, pc->log);

    if (c == NULL) {
        if (ngx_close_socket(s) == -1) {
            ngx_log_error(NGX_LOG_ALERT, pc->log, ngx_socket_errno,
                          ngx_close_socket_n " failed");
        }

        return NGX_ERROR;
    }

    c->recv = ms_paused_recv;
    c->log_error = pc->log_error;
    c->read->log = pc->log;
    c->write->log = pc->log;
    c->read->ready = 1;

    pc->connection = c;

    /* what "delayed" says is over then, and not timed out */

    c->read->delayed = 1;
    ngx_add_timer(c->read, call->pause);

    return NGX_AGAIN;
}


void
ms_paused_end(ms_call_t *call)
{
    ngx_connection_t     *c;
    ngx_http_upstream_t  *u;

    u = call->request->upstream;
    c = u ? u->peer.connection : NULL;

    if (call->pause == 0 || c == NULL || !c->read->delayed) {
        return;
    }

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    c->read->timedout = 1;
    c->read->handler(c->read);
}


static ssize_t
ms_paused_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    return NGX_ERROR;
}
