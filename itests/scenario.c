/* The table of scenarios. */

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
    { "login_flood", login_flood,
      "two thousand wrong logins beside good calls (compares times)" },
    { "login_rate", login_rate,
      "more logins at once than nginx.conf lets through (own stack)" },
    { "gateway_error_unauthenticated", gateway_error_unauthenticated,
      "calls without a session or a token" },
    { "myservice_authentication_errors", myservice_authentication_errors,
      "wrong, expired and forged tokens" },
    { "myservice_shutdown_errors", myservice_shutdown_errors,
      "Shutdown without a session and by another session" },
    { "myservice_direct_calls", myservice_direct_calls,
      "calls that bypass the gateway (needs the instances' addresses)" },
    { "session_epoch", session_epoch,
      "another gateway's newer lease (needs the instances' addresses)" },
    { "gateway_error_unavailable", gateway_error_unavailable,
      "all instances stopped, and back (needs --stack)" },
    { "session_race", session_race,
      "thirty sessions at once for three instances" },
    { "session_first_calls", session_first_calls,
      "forty first calls of one session at once" },
    { "waiting_line", waiting_line,
      "twenty sessions wait for three instances (needs myservice_queue)" },
    { "session_limit", session_limit,
      "a user gets two sessions, and no third one (needs myservice_limit)" },
    { "retry_advice", retry_advice,
      "a gRPC library comes again when a refusal says, and not before" },
    { "session_flood", session_flood,
      "thousands of streams and cancelled calls of a session (compares times)" },
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
    { "key_rotation", key_rotation,
      "keys change under load, no good token is refused (needs --stack)" },
    { "revocation", revocation,
      "a user's tokens are revoked: calls and streams end (needs --stack)" },
    { "survive_kills", survive_kills,
      "an instance dies each second, no call fails (needs --stack)" },
    { "survive_kills_no_retry", survive_kills_no_retry,
      "the same, no method listed: what fails was in flight there" },
    { "survive_crowd", survive_crowd,
      "the same, many more sessions than instances" },
    { "survive_reloads", survive_reloads,
      "a reload every 600 ms, no call fails (needs --stack)" },
    { "survive_worker_kills", survive_worker_kills,
      "workers of the gateway are killed, leases stay (needs --stack)" },
    { "survive_restart", survive_restart,
      "the gateway starts anew, leases are found again (needs --stack)" },
    { "survive_upgrade", survive_upgrade,
      "the gateway's binary is replaced, no call fails (needs --stack)" },
    { "rolling_update", rolling_update,
      "ten instances replaced in order, no call fails (needs --stack)" },
    { "rolling_update_term", rolling_update_term,
      "the same with SIGTERM alone (needs --stack)" },
    { "gateways_hopping", gateways_hopping,
      "six sessions, each call at another gateway (needs three gateways)" },
    { "gateways_race", gateways_race,
      "thirty new sessions at once, over three gateways" },
    { "gateways_limit", gateways_limit,
      "a user has two sessions at three gateways (needs --stack)" },
    { "gateways_store_dies", gateways_store_dies,
      "their store is killed, frozen, and begins anew (needs --stack)" },
    { "gateways_failover", gateways_failover,
      "its replica becomes the master, twice (needs --stack)" },
    { "gateways_partition", gateways_partition,
      "a gateway is cut off from the store (needs --stack)" },
    { "gateways_restart", gateways_restart,
      "a gateway is killed, all are reloaded (needs --stack)" },
    { "gateways_revoke", gateways_revoke,
      "what one of three gateways revokes, all refuse (needs --stack)" },
    { "gateways_drain", gateways_drain,
      "what one of three gateways drains, all drain (needs --stack)" },
    { "gateways_instances", gateways_instances,
      "instances die one after the other (needs --stack)" },
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
