/*
 * The core logs to standard error what the services report themselves, in one
 * line.  GRPC_VERBOSITY in the environment brings its log back.
 */

#ifndef RPC_CORE_H
#define RPC_CORE_H


/* To be paired with grpc_shutdown(). */
void rpc_core_init(void);


#endif /* RPC_CORE_H */
