/*
 * The Huffman code of HPACK's strings (RFC 7541 appendix B).
 */

#ifndef MS_WIRE_HUFFMAN_H
#define MS_WIRE_HUFFMAN_H


#include <stddef.h>
#include <stdint.h>


/* Bytes that "len" coded ones decode to, at most: a code has five bits at
 * least. */
#define ms_huffman_max(len)  ((len) * 8 / 5)


/*
 * Decodes to "dst", which has room for ms_huffman_max(len) bytes, or is NULL;
 * "n" is how many they are.  It goes from bit to bit: for what is decoded now
 * and then.  Returns -1 if the code is malformed.
 */
int ms_huffman_decode(uint8_t *dst, size_t *n, const uint8_t *p, size_t len)
    __attribute__((warn_unused_result));


#endif /* MS_WIRE_HUFFMAN_H */
