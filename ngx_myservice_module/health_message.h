/*
 * Messages of grpc.health.v1.Health, with the prefix they have in a body:
 * https://github.com/grpc/grpc/blob/master/doc/health-checking.md
 */

#ifndef MS_HEALTH_MESSAGE_H
#define MS_HEALTH_MESSAGE_H


#include <stddef.h>
#include <stdint.h>


#define MS_HEALTH_RESPONSE_MAX  16


/* HealthCheckResponse.ServingStatus */
typedef enum {
    MS_HEALTH_UNKNOWN = 0,
    MS_HEALTH_SERVING,
    MS_HEALTH_NOT_SERVING,
    MS_HEALTH_SERVICE_UNKNOWN
} ms_health_status_t;

typedef enum {
    MS_HEALTH_REQUEST_OK = 0,
    MS_HEALTH_REQUEST_MISSING,          /* no message */
    MS_HEALTH_REQUEST_COMPRESSED,
    MS_HEALTH_REQUEST_MALFORMED         /* no HealthCheckRequest, or more than
                                           one message */
} ms_health_request_t;


/* A whole request body.  "service" points into it; empty when not set. */
ms_health_request_t ms_health_request_parse(const uint8_t *p, size_t len,
    const uint8_t **service, size_t *service_len);

/* Writes at most MS_HEALTH_RESPONSE_MAX bytes, returns how many. */
size_t ms_health_response_write(uint8_t *dst, ms_health_status_t status);


#endif /* MS_HEALTH_MESSAGE_H */
