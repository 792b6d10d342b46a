/*
 * Replay: what is needed to send a request again after it was sent.  The
 * grpc module sends bodies unbuffered and forgets them; a copy of the first
 * bytes is kept on the way, and the upstream request is wound back.
 */

#ifndef MS_SESSIONS_REPLAY_H
#define MS_SESSIONS_REPLAY_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "wire/header_block.h"


typedef struct {
    ngx_chain_t       *bufs;           /* copy of the body so far */
    ngx_chain_t      **last;
    ngx_buf_t         *room;           /* the last one, NULL: it is in use */
    size_t             size;
    size_t             limit;
    unsigned           over:1;         /* the body is over the limit: no
                                          copy */
    unsigned           complete:1;     /* the last buffer is in the copy */
} ms_replay_t;


void ms_replay_init(ms_replay_t *replay, size_t limit);

/* from a request body filter; the bytes are in memory */
ngx_int_t ms_replay_copy(ngx_http_request_t *r, ms_replay_t *replay,
    ngx_chain_t *in);

/*
 * From peer.free(): makes ngx_http_upstream_next() send the request again
 * from its first byte.  "header" is the buffer that create_request() made,
 * "reinit" the grpc module's reinit_request(), "grpc" its context.
 * NGX_DECLINED if the body does not fit into the replay buffer.
 */
ngx_int_t ms_replay_rewind(ngx_http_request_t *r, ms_replay_t *replay,
    ngx_buf_t *header, ngx_int_t (*reinit)(ngx_http_request_t *r), void *grpc);

/* the same for an unbuffered body of any length, of which the grpc module has
 * seen nothing yet */
void ms_replay_unsent(ngx_http_request_t *r);

/* the header block in the buffer that create_request() made */
ngx_int_t ms_replay_block(ngx_buf_t *header, ms_block_t *block);

/* puts fields behind the block, in place of those before; nothing of the
 * buffer was sent, or all is sent again */
ngx_int_t ms_replay_append(ngx_pool_t *pool, ngx_buf_t *header,
    ms_block_t *block, ms_fields_t *fields);

/* the same for good: the fields belong to the block then */
ngx_int_t ms_replay_keep(ngx_pool_t *pool, ngx_buf_t *header,
    ms_block_t *block, ms_fields_t *fields);

/* the complete body as new buffers; NGX_DECLINED if it was not kept */
ngx_int_t ms_replay_body(ngx_http_request_t *r, ms_replay_t *replay,
    ngx_chain_t **body);


#endif /* MS_SESSIONS_REPLAY_H */
