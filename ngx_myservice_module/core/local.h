/*
 * Errors of connect() that say nothing about the instance: this machine lacks
 * a port, a socket or memory, or has no route. connect() reports these at
 * once; an error that arrives later is the instance's, or the network's.
 */

#ifndef MS_CORE_LOCAL_H
#define MS_CORE_LOCAL_H


#include <ngx_config.h>
#include <ngx_core.h>


static ngx_inline ngx_uint_t
ms_local_lack(ngx_err_t err, int family)
{
    switch (err) {

    case EADDRNOTAVAIL:
    case EADDRINUSE:
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        return 1;

    case EAGAIN:

        /* of a unix socket: its listen queue is full */

        return family != AF_UNIX;

    default:
        return 0;
    }
}


static ngx_inline ngx_uint_t
ms_local_route(ngx_err_t err)
{
    return err == ENETUNREACH || err == ENETDOWN || err == EACCES
           || err == EPERM;
}


#endif /* MS_CORE_LOCAL_H */
