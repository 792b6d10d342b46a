/*
 * Key files as bytes.
 */

#ifndef MS_TOKEN_KEYFILE_H
#define MS_TOKEN_KEYFILE_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "token/key_store.h"


/* Reads a file of at most MS_KEYS_TEXT_MAX bytes into "text", from malloc();
 * NGX_ERROR with ngx_errno.  The stamp is set in any case. */
ngx_int_t ms_keyfile_read(ms_key_store_t *store, u_char **text, size_t *len);

/* what the file is now; all zero if it is not there */
void ms_keyfile_stamp(ms_key_source_t *source, ms_key_stamp_t *stamp);

ngx_uint_t ms_keyfile_equal(ms_key_stamp_t *a, ms_key_stamp_t *b);


#endif /* MS_TOKEN_KEYFILE_H */
