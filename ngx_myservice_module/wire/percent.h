/*
 * Percent-encoding of grpc-message: bytes 0x20-0x7e but "%" stand for
 * themselves, all others are written %XX.
 * https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, "Responses"
 */

#ifndef MS_WIRE_PERCENT_H
#define MS_WIRE_PERCENT_H


#include <stddef.h>
#include <stdint.h>


/* Writes at most 3 * "len" bytes to "dst"; returns how many. */
size_t ms_percent_encode(uint8_t *dst, const uint8_t *src, size_t len);

/* Writes at most "len" bytes to "dst", which may be "src"; returns how many.
 * A "%" without two hex digits stands for itself. */
size_t ms_percent_decode(uint8_t *dst, const uint8_t *src, size_t len);


#endif /* MS_WIRE_PERCENT_H */
