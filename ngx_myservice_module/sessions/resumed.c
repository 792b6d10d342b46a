
/* Checks that the header of a resumed answer fits the first one. */

#include "sessions/resumed.h"

#include "answers/outcome.h"
#include "core/grpc.h"
#include "core/log.h"


static ngx_int_t ms_resumed_end(ngx_http_request_t *r, ngx_uint_t code,
    ngx_str_t *message);


ngx_int_t
ms_resumed_header(ngx_http_request_t *r, ms_outcome_form_t *first)
{
    ngx_int_t          rc;
    ngx_str_t          message;
    ngx_uint_t         code;
    ms_outcome_form_t  form;

    static ngx_str_t  type = ngx_string(
        "the stream was resumed with another content-type");
    static ngx_str_t  encoding = ngx_string(
        "the stream was resumed with another grpc-encoding");

    r->header_sent = 1;

    if (r->upstream == NULL || ms_errors_refused(r)) {
        r->err_status = 0;
        r->headers_out.status = NGX_HTTP_OK;
        r->header_only = 1;

        return ms_errors_end_stream(r);
    }

    rc = ms_outcome_header(r);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (r->err_status || r->headers_out.status != NGX_HTTP_OK) {
        code = ms_grpc_from_http(r->err_status
                                 ? r->err_status
                                 : r->headers_out.status,
                                 &message);
        return ms_resumed_end(r, code, &message);
    }

    rc = ms_outcome_move(r);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    ms_outcome_form(r, &form);

    if (form.type.len != first->type.len
        || ngx_strncasecmp(form.type.data, first->type.data, form.type.len)
           != 0)
    {
        return ms_resumed_end(r, MS_GRPC_UNAVAILABLE, &type);
    }

    /* messages without compression can be read under any encoding */

    if (form.encoding.len
        && (form.encoding.len != first->encoding.len
            || ngx_strncasecmp(form.encoding.data, first->encoding.data,
                               form.encoding.len)
               != 0))
    {
        return ms_resumed_end(r, MS_GRPC_UNAVAILABLE, &encoding);
    }

    return NGX_OK;
}


static ngx_int_t
ms_resumed_end(ngx_http_request_t *r, ngx_uint_t code, ngx_str_t *message)
{
    r->err_status = 0;
    r->headers_out.status = NGX_HTTP_OK;
    r->header_only = 1;

    if (ms_errors_set(r, code, message) != NGX_OK) {
        return NGX_ERROR;
    }

    ms_log_error(NGX_LOG_WARN, r->connection->log, 0,
                 "a resumed stream ends: %V", message);

    return ms_errors_end_stream(r);
}
