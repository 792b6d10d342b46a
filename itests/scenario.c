#include <stddef.h>
#include <string.h>

#include "itests/scenario.h"


const scenario_t  scenarios[] = {
    { "basic_workflow", basic_workflow,
      "Login, ten Echo on one instance, Shutdown" },
    { "sticky_session", sticky_session,
      "two clients interleaved, each on an instance of its own" },
    { "session_transfer", session_transfer,
      "a session moves on when its instance shuts down, three times" },
    { "system_overload", system_overload,
      "four clients at once for three instances" },
    { "no_instances_available", no_instances_available,
      "three clients hold the instances, the fourth is refused" },
    { "login_errors", login_errors,
      "every refusal of Login, word for word" },
    { "gateway_error_unauthenticated", gateway_error_unauthenticated,
      "calls without a session or a token" },
    { "myservice_authentication_errors", myservice_authentication_errors,
      "wrong, expired and forged tokens" },
    { "myservice_shutdown_errors", myservice_shutdown_errors,
      "Shutdown without a session and by another session" },
    { "myservice_direct_calls", myservice_direct_calls,
      "calls that bypass the gateway (needs the instances' addresses)" },
    { "gateway_error_unavailable", gateway_error_unavailable,
      "all instances stopped, and back (needs --stack)" },
    { "session_race", session_race,
      "thirty sessions at once for three instances" },
    { "session_first_calls", session_first_calls,
      "forty first calls of one session at once" },
    { "stream_subscription", stream_subscription,
      "a stream beside other calls, and its end by a cancel" },
    { "stream_subscription_myservice_stop",
      stream_subscription_myservice_stop,
      "streams outlive instances that are killed (needs --stack)" },
    { "stream_subscription_myservice_stop_no_resume",
      stream_subscription_myservice_stop_no_resume,
      "they end with a status (needs --stack, gateway without resume)" },
    { "reflection_and_health", reflection_and_health,
      "what tools ask, and the gateway's own health" },
    { NULL, NULL, NULL }
};


const scenario_t *
scenario_find(const char *name)
{
    const scenario_t  *scenario;

    for (scenario = scenarios; scenario->name != NULL; scenario++) {
        if (strcmp(scenario->name, name) == 0) {
            return scenario;
        }
    }

    return NULL;
}
