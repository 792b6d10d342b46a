/* Login, then ten calls that must stay on one instance, then Shutdown. */

#include <string.h>

#include "itests/client.h"
#include "itests/scenario.h"


#define ECHO_CALLS  10


void
basic_workflow(test_t *test)
{
    int       i;
    char      pod[CLIENT_POD];
    client_t  client;

    if (client_open(&client, test, "client", "basic") == -1) {
        return;
    }

    if (!client_login(&client) || !client_echo(&client, NULL)) {
        goto done;
    }

    memcpy(pod, client.pod, sizeof(pod));

    for (i = 1; i < ECHO_CALLS; i++) {
        if (!client_echo(&client, pod)) {
            goto done;
        }
    }

    (void) check(test, true, "all %d MyServiceEcho answers from \"%s\"",
                 ECHO_CALLS, pod);

    (void) client_shutdown(&client, pod);

done:

    client_close(&client);
}
