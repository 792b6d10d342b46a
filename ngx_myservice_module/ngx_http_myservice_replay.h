/*
 * Replay: what is needed to send a request again after it was sent.  The
 * grpc module sends bodies unbuffered and forgets them; a copy of the first
 * bytes is kept on the way, and the upstream request is wound back.
 */

#ifndef NGX_HTTP_MYSERVICE_REPLAY_H
#define NGX_HTTP_MYSERVICE_REPLAY_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


typedef struct {
    ngx_chain_t       *bufs;           /* copy of the body so far */
    ngx_chain_t      **last;
    size_t             size;
    size_t             limit;
    unsigned           over:1;         /* longer than the limit: no copy */
    unsigned           complete:1;     /* the last buffer is in the copy */
} ngx_http_myservice_replay_t;


void ngx_http_myservice_replay_init(ngx_http_myservice_replay_t *replay,
    size_t limit);

/* from a request body filter; the bytes are in memory */
ngx_int_t ngx_http_myservice_replay_copy(ngx_http_request_t *r,
    ngx_http_myservice_replay_t *replay, ngx_chain_t *in);

/*
 * From peer.free(): makes ngx_http_upstream_next() send the request again
 * from its first byte.  "header" is the buffer that create_request() made,
 * "reinit" the grpc module's reinit_request(), "grpc" its context.
 * NGX_DECLINED if the body does not fit into the replay buffer.
 */
ngx_int_t ngx_http_myservice_replay_rewind(ngx_http_request_t *r,
    ngx_http_myservice_replay_t *replay, ngx_buf_t *header,
    ngx_int_t (*reinit)(ngx_http_request_t *r), void *grpc);

/* the complete body as new buffers; NGX_DECLINED if it was not kept */
ngx_int_t ngx_http_myservice_replay_body(ngx_http_request_t *r,
    ngx_http_myservice_replay_t *replay, ngx_chain_t **body);


#endif /* NGX_HTTP_MYSERVICE_REPLAY_H */
