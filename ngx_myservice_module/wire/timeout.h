/*
 * The value of "grpc-timeout": one to eight digits and a unit.
 * https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
 */

#ifndef MS_WIRE_TIMEOUT_H
#define MS_WIRE_TIMEOUT_H


#include <stddef.h>
#include <stdint.h>


/* Returns milliseconds, rounded up; -1 if the value is malformed. */
int64_t ms_timeout_parse(const void *text, size_t len);


#endif /* MS_WIRE_TIMEOUT_H */
