/*
 * Messages of grpc.health.v1.Health, with the prefix they have in a body:
 * https://github.com/grpc/grpc/blob/master/doc/health-checking.md
 */

#ifndef MS_WIRE_HEALTH_MESSAGE_H
#define MS_WIRE_HEALTH_MESSAGE_H


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
    MS_HEALTH_REQUEST_MALFORMED         /* another message, or more than one */
} ms_health_request_t;


/* Reads a whole request body.  "service" points into it; "service_len" is 0 if
 * the request names none. */
ms_health_request_t ms_health_request_parse(const uint8_t *p, size_t len,
    const uint8_t **service, size_t *service_len);

/*
 * Reads the whole body of an answer.  "status" is a ms_health_status_t, or a
 * number of a later version.  The result is as for a request.
 */
ms_health_request_t ms_health_response_parse(const uint8_t *p, size_t len,
    uint32_t *status);

/* Writes the body of an answer, at most MS_HEALTH_RESPONSE_MAX bytes; returns
 * how many. */
size_t ms_health_response_write(uint8_t *dst, ms_health_status_t status);


#endif /* MS_WIRE_HEALTH_MESSAGE_H */
