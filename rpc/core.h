/*
 * The gRPC library ("the core") and its log.  The log is off until
 * rpc_core_log(): what goes wrong before that the services report themselves,
 * in one line.
 */

#ifndef RPC_CORE_H
#define RPC_CORE_H


#include <stdbool.h>


/* To be paired with grpc_shutdown(). */
void rpc_core_init(void);

/*
 * From now on the errors of the core are in our log, ten in ten seconds, and
 * what GRPC_VERBOSITY in the environment asks for.
 *
 * The core gives a listener up for good when accept() fails once, as for want
 * of a descriptor: its socket stays open, clients connect, and nobody answers
 * (https://github.com/grpc/grpc/issues/20418).  So it does when it cannot tell
 * the address of what it accepted.  It says so in its log only: then
 * "accept_failed", an eventfd, is written.  To be called before the listener
 * starts.
 */
void rpc_core_log(int accept_failed);

/* Whether that has happened. */
bool rpc_core_accept_failed(void);


#endif /* RPC_CORE_H */
