/* Codes and texts of all refusals of Login. They do not tell whether a user
 * exists. */

#include <string.h>

#include "itests/client.h"
#include "itests/scenario.h"


#define WRONG  "invalid username or password"


typedef struct {
    const char        *what;
    const char        *username;        /* NULL: the right one */
    const char        *password;        /* NULL: the right one */
    const char        *session;         /* NULL: a good one */
    grpc_status_code   code;
    const char        *message;
} login_case_t;


static const login_case_t  cases[] = {
    { "empty username", "", NULL, NULL, GRPC_STATUS_INVALID_ARGUMENT,
      "username is required" },
    { "empty session_id", NULL, NULL, "", GRPC_STATUS_INVALID_ARGUMENT,
      "session_id is required" },
    { "empty username and session_id", "", "", "",
      GRPC_STATUS_INVALID_ARGUMENT, "username is required" },
    { "empty session_id and wrong password", NULL, "wrong", "",
      GRPC_STATUS_INVALID_ARGUMENT, "session_id is required" },
    { "session_id with a space", NULL, NULL, "two words",
      GRPC_STATUS_INVALID_ARGUMENT, "session_id is invalid" },
    { "session_id that is not ASCII", NULL, NULL, "s\xc3\xa9ssion",
      GRPC_STATUS_INVALID_ARGUMENT, "session_id is invalid" },
    { "unknown user", "no-such-user", NULL, NULL,
      GRPC_STATUS_PERMISSION_DENIED, WRONG },
    { "wrong password", NULL, "wrong", NULL, GRPC_STATUS_PERMISSION_DENIED,
      WRONG },
    { "empty password", NULL, "", NULL, GRPC_STATUS_PERMISSION_DENIED,
      WRONG },
    { "unknown user and empty password", "no-such-user", "", NULL,
      GRPC_STATUS_PERMISSION_DENIED, WRONG },
    { "name that is SQL", "' OR '1'='1", NULL, NULL,
      GRPC_STATUS_PERMISSION_DENIED, WRONG },
};


void
login_errors(test_t *test)
{
    char                 longest[258];
    size_t               i;
    client_t             client;
    outcome_t            outcome;
    const settings_t    *settings;
    const login_case_t  *c;

    if (client_open(&client, test, "client", "login") == -1) {
        return;
    }

    settings = test->settings;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        c = &cases[i];
        outcome = call_login(&client,
                      c->username != NULL ? c->username : settings->username,
                      c->password != NULL ? c->password : settings->password,
                      c->session != NULL ? c->session : client.session);

        (void) expect_error(test, &outcome, c->code, c->message,
                            "Login: %s", c->what);
    }

    memset(longest, 'x', 257);
    longest[257] = '\0';

    outcome = call_login(&client, settings->username, settings->password,
                         longest);
    (void) expect_error(test, &outcome, GRPC_STATUS_INVALID_ARGUMENT,
                        "session_id is invalid",
                        "Login: session_id of 257 bytes");

    longest[256] = '\0';

    outcome = call_login(&client, settings->username, settings->password,
                         longest);
    (void) expect_login(&client, &outcome);
    (void) client_login(&client);

    client_close(&client);
}
