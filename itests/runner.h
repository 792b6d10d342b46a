/*
 * Runs one scenario in a process of its own, so that a crash or a hang fails
 * that scenario and no other.
 */

#ifndef ITESTS_RUNNER_H
#define ITESTS_RUNNER_H


#include "itests/check.h"
#include "itests/report.h"
#include "itests/scenario.h"


/* Fills "result"; result->output is the caller's. */
void runner_run(const scenario_t *scenario, const settings_t *settings,
    result_t *result);


#endif /* ITESTS_RUNNER_H */
