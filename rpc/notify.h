/*
 * Tells systemd the state of a service with Type=notify (sd_notify(3)).
 */

#ifndef RPC_NOTIFY_H
#define RPC_NOTIFY_H


/*
 * Sends "state", as "READY=1" or "STOPPING=1", to the socket that NOTIFY_SOCKET
 * in the environment names.  Without that variable it does nothing.  A failure
 * is one line in the log: systemd then waits for the service in vain.
 */
void rpc_notify(const char *state);


#endif /* RPC_NOTIFY_H */
