/* The gateway refuses calls without a session or a token before it looks for
 * an instance. */

#include "itests/client.h"
#include "itests/scenario.h"


#define NO_SESSION  "missing session-id"
#define NO_TOKEN    "missing or invalid token"


void
gateway_error_unauthenticated(test_t *test)
{
    size_t         i;
    client_t       client;
    outcome_t      outcome;
    credentials_t  credentials;

    if (client_open(&client, test, "client", "unauth") == -1) {
        return;
    }

    /* Login needs no metadata; authsvc checks its fields */

    outcome = call_login(&client, test->settings->username,
                         test->settings->password, "");
    (void) expect_error(test, &outcome, GRPC_STATUS_INVALID_ARGUMENT,
                        "session_id is required",
                        "Login with an empty session_id");

    if (!client_login(&client)) {
        goto done;
    }

    {
        const struct {
            const char  *what;
            const char  *authorization;
            const char  *session;
            const char  *message;
        } cases[] = {
            { "neither header", NULL, NULL, NO_SESSION },
            { "session-id only", NULL, client.session, NO_TOKEN },
            { "a good token only", client.token, NULL, NO_SESSION },
            { "session-id and a malformed token", "not.a.token",
              client.session, NO_TOKEN },
            { "an empty session-id", client.token, "", NO_SESSION },
            { "session-id and an empty token", "", client.session, NO_TOKEN },
            { "session-id and a bare Bearer", "Bearer ", client.session,
              NO_TOKEN },
        };

        for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            credentials.authorization = cases[i].authorization;
            credentials.session = cases[i].session;

            (void) expect_refused(&client, &credentials,
                                  GRPC_STATUS_UNAUTHENTICATED,
                                  cases[i].message, cases[i].what);

            outcome = call_shutdown(&client, &credentials);
            (void) expect_error(test, &outcome, GRPC_STATUS_UNAUTHENTICATED,
                                cases[i].message, "%s: MyServiceShutdown",
                                cases[i].what);
        }
    }

    /* the same client with both headers */

    (void) client_echo(&client, NULL);

done:

    client_close(&client);
}
