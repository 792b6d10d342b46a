
/*
 * Makes a new connection, looks at a kept one before it is used, and answers
 * for one that this machine could not make.
 */

#include "sessions/connection.h"

#include "answers/errors.h"
#include "core/grpc.h"
#include "core/log.h"
#include "http2/mux_call.h"


static ngx_uint_t ms_connection_stale(ms_call_t *call, ngx_connection_t *c);
static void ms_connection_count(ms_call_t *call, ngx_peer_connection_t *pc);


/* bypasses the upstream's "keepalive" */

ngx_int_t
ms_connection_new(ngx_peer_connection_t *pc)
{
    ngx_int_t              rc;
    ngx_event_get_peer_pt  get;

    get = pc->get;
    pc->get = ngx_event_get_peer;

    rc = ngx_event_connect_peer(pc);

    pc->get = get;

    return rc == NGX_OK ? NGX_DONE : rc;
}


/*
 * After the request is written, a kept connection that the instance closed
 * before cannot be told from one that it closed while it ran the call. So the
 * gateway looks first.
 */

ngx_int_t
ms_connection_output_filter(void *data, ngx_chain_t *in)
{
    ms_call_t  *call = data;

    ngx_peer_connection_t  *pc;

    if (!call->looked) {
        call->looked = 1;

        pc = &call->request->upstream->peer;

        if (call->asks) {

            /* the instance lives; the call has failed as it would have */

            call->aborted = 1;
            return NGX_ERROR;
        }

        if (pc->cached && ms_connection_stale(call, pc->connection)) {
            call->stale = 1;
            return NGX_ERROR;
        }

        ms_connection_count(call, pc);
    }

    return call->output_filter(call->output_filter_ctx, in);
}


/*
 * A kept connection with a readable byte is not used; nginx's "keepalive" does
 * the same, but it has not looked in this turn of the event loop. A method
 * that may be repeated anyway saves the system call.
 */

static ngx_uint_t
ms_connection_stale(ms_call_t *call, ngx_connection_t *c)
{
    ssize_t  n;
    u_char   buf[1];

    if (!call->request->request_body_no_buffering && ms_call_listed(call)) {
        return 0;
    }

    n = recv(c->fd, buf, 1, MSG_PEEK);

    return n != -1 || ngx_socket_errno != NGX_EAGAIN;
}


static void
ms_connection_count(ms_call_t *call, ngx_peer_connection_t *pc)
{
    ms_connection_e  connection;

    if (pc->cached) {
        connection = MS_CONNECTION_KEPT;

    } else if (ms_mux_call_shared(call->request)) {
        connection = MS_CONNECTION_SHARED;

    } else {
        connection = MS_CONNECTION_OPENED;
    }

    ms_counts_add(&call->conf->zone->counts->connections[connection], 1);
}


void
ms_connection_failed(ms_call_t *call, ngx_err_t err)
{
    static ngx_str_t  message =
                       ngx_string("gateway cannot connect to an instance");

    ms_log_error(NGX_LOG_CRIT, call->request->connection->log, err,
                 "gateway cannot connect: this is not the instance's fault, "
                 "instance=\"%V\"", &call->grant.name);

    (void) ms_errors_set(call->request, MS_GRPC_INTERNAL, &message);
}
