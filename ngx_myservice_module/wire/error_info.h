/*
 * What "grpc-status-details-bin" says: google.rpc.Status with one
 * google.rpc.ErrorInfo, and with google.rpc.RetryInfo if the call may come
 * again, see
 * https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto
 *
 * Pure C over the caller's memory.
 */

#ifndef MS_WIRE_ERROR_INFO_H
#define MS_WIRE_ERROR_INFO_H


#include <stddef.h>
#include <stdint.h>


#define MS_ERROR_INFO_MAX  640          /* bytes of a message */


/* Texts of up to 64 bytes; "key" and "value" are its only metadata. */
typedef struct {
    unsigned     code;                  /* of gRPC, up to 16 */
    const char  *message;
    const char  *reason;
    const char  *domain;
    const char  *key;
    const char  *value;
    uint64_t     retry;                 /* milliseconds from now on; 0: no
                                           RetryInfo */
} ms_error_info_t;


/* Writes up to MS_ERROR_INFO_MAX bytes; returns how many. */
size_t ms_error_info_write(uint8_t *p, const ms_error_info_t *info);


#endif /* MS_WIRE_ERROR_INFO_H */
