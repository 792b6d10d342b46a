/*
 * Encodes google.rpc.Status with one google.rpc.ErrorInfo.
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


static uint8_t *ms_error_info_text(uint8_t *p, unsigned number,
    const char *text);
static uint8_t *ms_error_info_bytes(uint8_t *p, unsigned number,
    const uint8_t *bytes, const uint8_t *end);


size_t
ms_error_info_write(uint8_t *p, const ms_error_info_t *info)
{
    uint8_t  *begin, *end, data[192], value[320], any[384];

    begin = p;

    end = ms_error_info_text(data, MS_ERROR_INFO_KEY, info->key);
    end = ms_error_info_text(end, MS_ERROR_INFO_VALUE, info->value);

    p = ms_error_info_text(value, MS_ERROR_INFO_REASON, info->reason);
    p = ms_error_info_text(p, MS_ERROR_INFO_DOMAIN, info->domain);
    p = ms_error_info_bytes(p, MS_ERROR_INFO_DATA, data, end);

    end = ms_error_info_text(any, MS_ANY_TYPE_URL,
                             "type.googleapis.com/google.rpc.ErrorInfo");
    end = ms_error_info_bytes(end, MS_ANY_VALUE, value, p);

    p = begin;
    *p++ = MS_STATUS_CODE << 3 | MS_PROTOBUF_VARINT;
    p = ms_protobuf_write(p, info->code);
    p = ms_error_info_text(p, MS_STATUS_MESSAGE, info->message);
    p = ms_error_info_bytes(p, MS_STATUS_DETAILS, any, end);

    return (size_t) (p - begin);
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
