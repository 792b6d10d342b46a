/*
 * Two gateways that have a first call of the same session: the two of
 * store_pair.h, with four instances that answer when the test says so.
 */

#ifndef MODULE_T_STORE_SHARED_H
#define MODULE_T_STORE_SHARED_H


#include "client.h"
#include "fake.h"


#define SHARED_INSTANCES  4             /* 8082 to 8085 */

#define SHARED_SERVERS                                                        \
    "server 127.0.0.1:8082; server 127.0.0.1:8083;"                           \
    "server 127.0.0.1:8084; server 127.0.0.1:8085;"


extern fake_t  *shared_fakes[SHARED_INSTANCES];


/* Starts a store, the instances and nginx, and waits until the store takes
 * sessions: "w" has an instance then.  Sessions whose names begin with "w" are
 * served at once; the calls of others wait for fake_release(). */
void shared_begin(const char *conf);

/* A call of the session at the gateway of that port. */
client_call_t *shared_start(int port, const char *session);

/* Waits until an instance has "n" calls that it has not answered; returns which,
 * from 0. */
int shared_await_held(unsigned n);

/* Waits until the upstream says that of the instance; "value" NULL: nothing. */
void shared_await(const char *upstream, int i, const char *name,
    const char *value);

/* Waits until the store is told again of the lease of the instance. */
void shared_await_renewal(int i);

/* The calls that the instance holds succeed, "call" among them, and the store
 * has the lease as confirmed. */
void shared_succeeds(client_call_t *call, const char *session, int i);


#endif /* MODULE_T_STORE_SHARED_H */
