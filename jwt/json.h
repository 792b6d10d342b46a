/*
 * JSON from strangers: one object, no duplicate members, no NUL in strings,
 * valid UTF-8, bounded depth.  The caller bounds the bytes.
 */

#ifndef JWT_JSON_H
#define JWT_JSON_H


#include <stddef.h>
#include <jansson.h>


#define MS_JSON_DEPTH  8


/* NULL if it is not such an object, or memory is out. */
json_t *ms_json_object(const unsigned char *text, size_t len);


#endif /* JWT_JSON_H */
