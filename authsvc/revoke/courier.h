/*
 * A thread of "authsvc serve" that sends to gateways what they have not
 * acknowledged yet, until they have.
 */

#ifndef AUTHSVC_REVOKE_COURIER_H
#define AUTHSVC_REVOKE_COURIER_H


#include "authsvc/revoke/gateways.h"


typedef struct courier_s  courier_t;


/* Takes the store; "tls" must stay.  NULL with errno. */
courier_t *courier_start(store_t *store, const gateways_tls_t *tls,
    int64_t interval);

/* NULL is fine. */
void courier_stop(courier_t *courier);


#endif /* AUTHSVC_REVOKE_COURIER_H */
