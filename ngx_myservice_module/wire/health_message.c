/*
 * Messages of grpc.health.v1.Health, with the prefix they have in a body:
 * https://github.com/grpc/grpc/blob/master/doc/health-checking.md.
 */

#include "wire/health_message.h"

#include "wire/messages.h"
#include "wire/protobuf.h"


#define MS_REQUEST_SERVICE  1
#define MS_RESPONSE_STATUS  1


/* The one message of a body. */
static ms_health_request_t
ms_health_message(ms_protobuf_t *message, const uint8_t *p, size_t len)
{
    if (len == 0) {
        return MS_HEALTH_REQUEST_MISSING;
    }

    if (len < MS_MESSAGE_PREFIX) {
        return MS_HEALTH_REQUEST_MALFORMED;
    }

    if (p[0] != 0) {
        return p[0] == 1 ? MS_HEALTH_REQUEST_COMPRESSED
                         : MS_HEALTH_REQUEST_MALFORMED;
    }

    if (ms_message_length(p) != len - MS_MESSAGE_PREFIX) {
        return MS_HEALTH_REQUEST_MALFORMED;
    }

    message->pos = p + MS_MESSAGE_PREFIX;
    message->last = p + len;

    return MS_HEALTH_REQUEST_OK;
}


ms_health_request_t
ms_health_request_parse(const uint8_t *p, size_t len,
    const uint8_t **service, size_t *service_len)
{
    uint64_t             number, value;
    unsigned             type;
    ms_protobuf_t        message;
    ms_health_request_t  result;

    result = ms_health_message(&message, p, len);

    if (result != MS_HEALTH_REQUEST_OK) {
        return result;
    }

    *service = message.pos;
    *service_len = 0;

    while (message.pos < message.last) {

        if (ms_protobuf_field(&message, &number, &type, &value) != 0) {
            return MS_HEALTH_REQUEST_MALFORMED;
        }

        if (type != MS_PROTOBUF_LEN) {
            continue;
        }

        if (number == MS_REQUEST_SERVICE) {
            *service = message.pos;
            *service_len = (size_t) value;
        }

        message.pos += value;
    }

    return MS_HEALTH_REQUEST_OK;
}


ms_health_request_t
ms_health_response_parse(const uint8_t *p, size_t len, uint32_t *status)
{
    uint64_t             number, value;
    unsigned             type;
    ms_protobuf_t        message;
    ms_health_request_t  result;

    *status = MS_HEALTH_UNKNOWN;

    result = ms_health_message(&message, p, len);

    if (result != MS_HEALTH_REQUEST_OK) {
        return result;
    }

    while (message.pos < message.last) {

        if (ms_protobuf_field(&message, &number, &type, &value) != 0) {
            return MS_HEALTH_REQUEST_MALFORMED;
        }

        if (type == MS_PROTOBUF_LEN) {
            message.pos += value;

        } else if (type == MS_PROTOBUF_VARINT && number == MS_RESPONSE_STATUS) {
            *status = (uint32_t) value;
        }
    }

    return MS_HEALTH_REQUEST_OK;
}


size_t
ms_health_response_write(uint8_t *dst, ms_health_status_t status)
{
    uint8_t  *p;

    p = dst + MS_MESSAGE_PREFIX;

    if (status != MS_HEALTH_UNKNOWN) {
        p = ms_protobuf_write(p, MS_RESPONSE_STATUS << 3 | MS_PROTOBUF_VARINT);
        p = ms_protobuf_write(p, status);
    }

    ms_message_prefix(dst, (uint32_t) (p - dst - MS_MESSAGE_PREFIX));

    return (size_t) (p - dst);
}
