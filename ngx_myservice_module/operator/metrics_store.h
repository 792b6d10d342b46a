/*
 * What the page of myservice_metrics says of the stores of several gateways.
 */

#ifndef MS_OPERATOR_METRICS_STORE_H
#define MS_OPERATOR_METRICS_STORE_H


#include "operator/metrics_text.h"


extern const ms_metrics_family_t  ms_metrics_store[];


#endif /* MS_OPERATOR_METRICS_STORE_H */
