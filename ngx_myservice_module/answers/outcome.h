/*
 * The status of an upstream's gRPC answer, wherever the upstream gives it.
 */

#ifndef MS_ANSWERS_OUTCOME_H
#define MS_ANSWERS_OUTCOME_H


#include "answers/context.h"


/*
 * The header of an upstream's answer, before it is passed on: what HTTP says
 * there must not hide the gRPC status.  NGX_DECLINED if it is an HTTP error and
 * no gRPC answer.
 */
ngx_int_t ms_outcome_header(ngx_http_request_t *r);

/*
 * Its fields become trailers if it is the whole answer, for a client that has a
 * header already.  NGX_DECLINED if it is not.
 */
ngx_int_t ms_outcome_move(ngx_http_request_t *r);

/* how the messages of an answer are to be read; what is usual is empty */
typedef struct {
    ngx_str_t  type;                    /* of "application/grpc+type" */
    ngx_str_t  encoding;
} ms_outcome_form_t;

void ms_outcome_form(ngx_http_request_t *r, ms_outcome_form_t *form);

/*
 * Whether the trailers of the answer came with a status: that is the answer,
 * whatever happens to its connection afterwards.
 */
ngx_uint_t ms_outcome_answered(ngx_http_upstream_t *u);

/* sees that the trailers have a status */
ngx_int_t ms_outcome_end(ngx_http_request_t *r, ms_answer_ctx_t *ctx);

/* the trailers of an answer whose connection has failed behind them */
ngx_int_t ms_outcome_trailers(ngx_http_request_t *r);


#endif /* MS_ANSWERS_OUTCOME_H */
