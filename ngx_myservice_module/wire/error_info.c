/*
 * Encodes google.rpc.Status with google.rpc.ErrorInfo and RetryInfo.
 */

#include "wire/error_info.h"

#include <string.h>

#include "wire/protobuf.h"


/* numbers of fields */
#define MS_STATUS_CODE         1
#define MS_STATUS_MESSAGE      2
#define MS_STATUS_DETAILS      3
#define MS_ANY_TYPE_URL        1
#define MS_ANY_VALUE           2
#define MS_ERROR_INFO_REASON   1
#define MS_ERROR_INFO_DOMAIN   2
#define MS_ERROR_INFO_DATA     3        /* a map: messages of two fields */
#define MS_ERROR_INFO_KEY      1
#define MS_ERROR_INFO_VALUE    2
#define MS_RETRY_INFO_DELAY    1        /* google.protobuf.Duration */
#define MS_DURATION_SECONDS    1
#define MS_DURATION_NANOS      2


static uint8_t *ms_error_info_retry(uint8_t *p, uint64_t ms);
static uint8_t *ms_error_info_any(uint8_t *p, const char *type,
    const uint8_t *value, const uint8_t *end);
static uint8_t *ms_error_info_number(uint8_t *p, unsigned number,
    uint64_t value);
static uint8_t *ms_error_info_text(uint8_t *p, unsigned number,
    const char *text);
static uint8_t *ms_error_info_bytes(uint8_t *p, unsigned number,
    const uint8_t *bytes, const uint8_t *end);


size_t
ms_error_info_write(uint8_t *p, const ms_error_info_t *info)
{
    uint8_t  *begin, *end, *last, data[192], value[320];

    begin = p;

    p = ms_error_info_number(p, MS_STATUS_CODE, info->code);
    p = ms_error_info_text(p, MS_STATUS_MESSAGE, info->message);

    end = ms_error_info_text(data, MS_ERROR_INFO_KEY, info->key);
    end = ms_error_info_text(end, MS_ERROR_INFO_VALUE, info->value);

    last = ms_error_info_text(value, MS_ERROR_INFO_REASON, info->reason);
    last = ms_error_info_text(last, MS_ERROR_INFO_DOMAIN, info->domain);
    last = ms_error_info_bytes(last, MS_ERROR_INFO_DATA, data, end);

    p = ms_error_info_any(p, "type.googleapis.com/google.rpc.ErrorInfo", value,
                          last);

    if (info->retry) {
        p = ms_error_info_retry(p, info->retry);
    }

    return (size_t) (p - begin);
}


static uint8_t *
ms_error_info_retry(uint8_t *p, uint64_t ms)
{
    uint8_t  *end, duration[16], value[18];

    end = ms_error_info_number(duration, MS_DURATION_SECONDS, ms / 1000);
    end = ms_error_info_number(end, MS_DURATION_NANOS, ms % 1000 * 1000000);
    end = ms_error_info_bytes(value, MS_RETRY_INFO_DELAY, duration, end);

    return ms_error_info_any(p, "type.googleapis.com/google.rpc.RetryInfo",
                             value, end);
}


/* google.protobuf.Any, as one of the status' details */

static uint8_t *
ms_error_info_any(uint8_t *p, const char *type, const uint8_t *value,
    const uint8_t *end)
{
    uint8_t  any[384], *last;

    last = ms_error_info_text(any, MS_ANY_TYPE_URL, type);
    last = ms_error_info_bytes(last, MS_ANY_VALUE, value, end);

    return ms_error_info_bytes(p, MS_STATUS_DETAILS, any, last);
}


static uint8_t *
ms_error_info_number(uint8_t *p, unsigned number, uint64_t value)
{
    *p++ = (uint8_t) (number << 3 | MS_PROTOBUF_VARINT);

    return ms_protobuf_write(p, value);
}


static uint8_t *
ms_error_info_text(uint8_t *p, unsigned number, const char *text)
{
    const uint8_t  *bytes;

    bytes = (const uint8_t *) text;

    return ms_error_info_bytes(p, number, bytes, bytes + strlen(text));
}


static uint8_t *
ms_error_info_bytes(uint8_t *p, unsigned number, const uint8_t *bytes,
    const uint8_t *end)
{
    size_t  len;

    len = (size_t) (end - bytes);

    *p++ = (uint8_t) (number << 3 | MS_PROTOBUF_LEN);
    p = ms_protobuf_write(p, len);
    memcpy(p, bytes, len);

    return p + len;
}
