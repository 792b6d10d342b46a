
/*
 * What programs read of a refusal: google.rpc.Status in
 * "grpc-status-details-bin", and when to come again.
 */

#include "answers/context.h"
#include "answers/errors.h"
#include "core/grpc.h"
#include "wire/error_info.h"


ngx_int_t
ms_errors_set_http(ngx_http_request_t *r, ngx_uint_t status)
{
    ngx_str_t                  message, limit;
    ngx_uint_t                 code;
    ngx_http_core_loc_conf_t  *clcf;
    u_char                     buf[NGX_OFF_T_LEN];

    code = ms_grpc_from_http(status, &message);

    if (ms_errors_set(r, code, &message) != NGX_OK) {
        return NGX_ERROR;
    }

    if (status != NGX_HTTP_REQUEST_ENTITY_TOO_LARGE) {
        return NGX_OK;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    limit.data = buf;
    limit.len = ngx_sprintf(buf, "%O", clcf->client_max_body_size) - buf;

    return ms_errors_explain(r, "MESSAGE_TOO_LARGE", "client_max_body_size",
                             &limit, MS_ERRORS_NO_RETRY);
}


ngx_int_t
ms_errors_explain(ngx_http_request_t *r, const char *reason, const char *key,
    ngx_str_t *value, ngx_int_t retry)
{
    u_char            buf[MS_ERROR_INFO_MAX], text[2][64];
    ngx_str_t         message;
    ms_answer_ctx_t  *ctx;
    ms_error_info_t   info;

    ctx = ms_answer_get_ctx(r);

    if (ctx == NULL || ctx->code == 0) {
        return NGX_ERROR;
    }

    (void) ngx_snprintf(text[0], sizeof(text[0]), "%V%Z", &ctx->message);
    (void) ngx_snprintf(text[1], sizeof(text[1]), "%V%Z", value);
    text[0][sizeof(text[0]) - 1] = '\0';
    text[1][sizeof(text[1]) - 1] = '\0';

    info.code = ctx->code;
    info.message = (char *) text[0];
    info.reason = reason;
    info.domain = "ngx_http_myservice_module";
    info.key = key;
    info.value = (char *) text[1];
    info.retry = retry > 0 ? retry : 0;

    if (retry) {
        ctx->pushback.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
        if (ctx->pushback.data == NULL) {
            return NGX_ERROR;
        }

        ctx->pushback.len = ngx_sprintf(ctx->pushback.data, "%i", retry)
                            - ctx->pushback.data;
    }

    message.data = buf;
    message.len = ms_error_info_write(buf, &info);

    ctx->details.data = ngx_pnalloc(r->pool,
                                    ngx_base64_encoded_length(message.len));
    if (ctx->details.data == NULL) {
        return NGX_ERROR;
    }

    ngx_encode_base64(&ctx->details, &message);

    /* gRPC writes no padding */

    while (ctx->details.data[ctx->details.len - 1] == '=') {
        ctx->details.len--;
    }

    return NGX_OK;
}
