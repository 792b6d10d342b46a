/*
 * The table of scenarios.
 */

#ifndef ITESTS_SCENARIO_H
#define ITESTS_SCENARIO_H


#include "itests/check.h"


typedef void (*scenario_pt)(test_t *test);

typedef struct {
    const char   *name;
    scenario_pt   run;
    const char   *summary;
} scenario_t;


/* Ended by a row without a name. */
extern const scenario_t  scenarios[];

const scenario_t *scenario_find(const char *name);


void basic_workflow(test_t *test);
void sticky_session(test_t *test);
void session_transfer(test_t *test);
void system_overload(test_t *test);
void no_instances_available(test_t *test);
void login_errors(test_t *test);
void login_flood(test_t *test);
void login_rate(test_t *test);
void gateway_error_unauthenticated(test_t *test);
void myservice_authentication_errors(test_t *test);
void myservice_shutdown_errors(test_t *test);
void myservice_direct_calls(test_t *test);
void session_epoch(test_t *test);
void gateway_error_unavailable(test_t *test);
void session_race(test_t *test);
void session_first_calls(test_t *test);
void waiting_line(test_t *test);
void session_limit(test_t *test);
void retry_advice(test_t *test);
void session_flood(test_t *test);
void stream_subscription(test_t *test);
void stream_subscription_myservice_stop(test_t *test);
void stream_subscription_myservice_stop_no_resume(test_t *test);
void reflection_and_health(test_t *test);
void key_rotation(test_t *test);
void revocation(test_t *test);
void survive_kills(test_t *test);
void survive_kills_no_retry(test_t *test);
void survive_crowd(test_t *test);
void survive_reloads(test_t *test);
void survive_worker_kills(test_t *test);
void survive_restart(test_t *test);
void survive_upgrade(test_t *test);
void rolling_update(test_t *test);
void rolling_update_term(test_t *test);
void gateways_hopping(test_t *test);
void gateways_race(test_t *test);
void gateways_limit(test_t *test);
void gateways_store_dies(test_t *test);
void gateways_failover(test_t *test);
void gateways_partition(test_t *test);
void gateways_restart(test_t *test);
void gateways_revoke(test_t *test);
void gateways_drain(test_t *test);
void gateways_instances(test_t *test);


#endif /* ITESTS_SCENARIO_H */
