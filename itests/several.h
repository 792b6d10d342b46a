/*
 * What scenarios of several gateways with one store share.
 */

#ifndef ITESTS_SEVERAL_H
#define ITESTS_SEVERAL_H


#include <stdbool.h>
#include <stdint.h>

#include "itests/client.h"
#include "itests/load.h"
#include "itests/proxy.h"
#include "itests/stack.h"


#define SEVERAL_SESSIONS      3
#define SEVERAL_PATIENCE      60000             /* ms */
#define SEVERAL_POLL          50
#define SEVERAL_BUSY          "all instances are busy"
#define SEVERAL_UNAVAILABLE   "session store unavailable"


typedef struct {
    test_t            *test;
    stack_gateways_t   at;
    int                instances;
    int                taken;           /* by new sessions that were tried */
    bool               forgets;         /* the store: instances refuse what it
                                           gives twice */
    load_t            *load;
    proxy_t           *proxy;
} gateways_t;


/* Waits until each of these gateways refuses new sessions because of the store,
 * or takes them.  A failure is a failed check. */
bool gateways_all(gateways_t *g, int first, int last, bool refused);

/* A client of that gateway, logged in; an open client then calls another one. */
bool gateways_new(gateways_t *g, client_t *client, int number);
void gateways_to(gateways_t *g, client_t *client, int number);

/* Waits until the store has leases; until no session is on two instances. */
bool gateways_leases(gateways_t *g);
bool gateways_apart(gateways_t *g);

/* Checks that no call failed and nothing moved. */
void gateways_counts(gateways_t *g, const load_count_t *count);
bool gateways_none(test_t *test, const char *what, uint64_t got);


#endif /* ITESTS_SEVERAL_H */
