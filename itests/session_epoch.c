/*
 * Another gateway gives a session a newer lease on its instance: calls straight
 * to the instance stand for that one.  The gateway finds out and goes on; a call
 * of an older lease is refused.
 */

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "itests/client.h"
#include "itests/scenario.h"
#include "itests/stack.h"


static void epoch_other(client_t *other, client_t *owner);


void
session_epoch(test_t *test)
{
    client_t       owner, other;
    const char    *why;
    rpc_client_t  *instance;

    if (!stack_known(test)) {
        check_skip(test, "the addresses of the instances are not known "
                   "(--instances or --stack)", "calls of another gateway");
        return;
    }

    if (client_open(&owner, test, "client", "epoch") == -1) {
        return;
    }

    if (!client_login(&owner) || !client_echo(&owner, NULL)) {
        goto done;
    }

    instance = stack_owner(test, owner.session, &why);

    if (!check(test, instance != NULL, "its instance is found: %s",
               instance != NULL ? "yes" : why))
    {
        goto done;
    }

    other = owner;
    other.rpc = instance;
    epoch_other(&other, &owner);

    rpc_client_free(instance);

done:

    client_close(&owner);
}


/* Its clock is an hour ahead. */

static void
epoch_other(client_t *other, client_t *owner)
{
    int   i;
    char  ahead[24];

    snprintf(ahead, sizeof(ahead), "%" PRId64,
             ((int64_t) time(NULL) + 3600) * 1000000);

    for (i = 0; i < 3; i++) {
        other->epoch = ahead;
        (void) client_echo(other, owner->pod);
        (void) client_echo(owner, owner->pod);
    }

    other->epoch = "1";
    (void) expect_refused(other, NULL, GRPC_STATUS_FAILED_PRECONDITION,
                          "session-epoch is too old", "of an older lease");

    /* the gateway drops what a client says of this */

    owner->epoch = "1";
    (void) client_echo(owner, owner->pod);
    (void) client_shutdown(owner, owner->pod);
}
