/*
 * The model: what a gateway does.
 */

#ifndef MODULE_T_STORE_MODEL_GATEWAY_H
#define MODULE_T_STORE_MODEL_GATEWAY_H


#include "store_model.h"


unsigned store_model_pick(store_model_t *m, unsigned below);

void store_gateway_reset(store_gateway_t *g);
void store_gateway_call(store_model_t *m, store_gateway_t *g, int session);
void store_gateway_renew(store_model_t *m, store_gateway_t *g);
void store_gateway_stream(store_model_t *m, store_gateway_t *g);
void store_gateway_health(store_model_t *m, store_gateway_t *g,
    int instance);
void store_gateway_release(store_model_t *m, store_gateway_t *g,
    int session);

void store_instance_reset(store_instance_t *i);
void store_instance_tick(store_model_t *m, store_instance_t *i);

/* whether an instance that was not tried is free, for the store, too */
bool store_model_free_instance(store_model_t *m, unsigned tried);

/* the record of an instance; false: none */
typedef struct {
    uint64_t  epoch;
    uint64_t  expires;
    bool      confirmed;
    int       session;                  /* -1: none */
} store_record_t;

bool store_model_record(const char *text, store_record_t *record);
void store_model_records(store_model_t *m,
    store_record_t records[STORE_INSTANCES], bool there[STORE_INSTANCES],
    int sessions[STORE_SESSIONS]);


#endif /* MODULE_T_STORE_MODEL_GATEWAY_H */
