
#include "ngx_http_myservice_check.h"

#include "jwt/token.h"

#include "ngx_http_myservice_grpc.h"


/* its ServingStatus */
#define NGX_HTTP_MYSERVICE_CHECK_SERVING      1
#define NGX_HTTP_MYSERVICE_CHECK_NOT_SERVING  2


#define ngx_http_myservice_check_nv(name, text)                               \
    { (uint8_t *) name, (uint8_t *) text, sizeof(name) - 1, sizeof(text) - 1, \
      NGHTTP2_NV_FLAG_NONE }

#define ngx_http_myservice_check_is(name, len, text)                          \
    (len == sizeof(text) - 1 && ngx_memcmp(name, text, len) == 0)


static ngx_int_t ngx_http_myservice_check_session(
    ngx_http_myservice_check_t *check);
static ngx_int_t ngx_http_myservice_check_submit(
    ngx_http_myservice_check_t *check, ngx_str_t *authority,
    ngx_msec_t timeout, ngx_uint_t tls);
static void ngx_http_myservice_check_message(
    ngx_http_myservice_check_t *check, ngx_str_t *service);
static ssize_t ngx_http_myservice_check_body(nghttp2_session *session,
    int32_t stream, uint8_t *buf, size_t len, uint32_t *flags,
    nghttp2_data_source *source, void *data);
static int ngx_http_myservice_check_header(nghttp2_session *session,
    const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
    const uint8_t *value, size_t len, uint8_t flags, void *data);
static int ngx_http_myservice_check_data_chunk(nghttp2_session *session,
    uint8_t flags, int32_t stream, const uint8_t *p, size_t len, void *data);
static int ngx_http_myservice_check_stream_close(nghttp2_session *session,
    int32_t stream, uint32_t error, void *data);
static void ngx_http_myservice_check_answer(
    ngx_http_myservice_check_t *check);
static ngx_int_t ngx_http_myservice_check_status(u_char *p, size_t len);
static u_char *ngx_http_myservice_check_varint(u_char *p, u_char *end,
    uint64_t *n);


ngx_int_t
ngx_http_myservice_check_start(ngx_http_myservice_check_t *check,
    ngx_str_t *authority, ngx_str_t *service, ngx_msec_t timeout,
    ngx_uint_t tls)
{
    check->grpc_status = NGX_ERROR;
    check->result->session.data = check->result->session_buf;

    ngx_http_myservice_check_message(check, service);

    if (ngx_http_myservice_check_session(check) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_myservice_check_submit(check, authority, timeout, tls);
}


void
ngx_http_myservice_check_free(ngx_http_myservice_check_t *check)
{
    if (check->session) {
        nghttp2_session_del(check->session);
    }
}


static ngx_int_t
ngx_http_myservice_check_session(ngx_http_myservice_check_t *check)
{
    static nghttp2_session_callbacks  *callbacks;

    nghttp2_settings_entry  settings[] = {
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 16384 }
    };

    if (callbacks == NULL) {

        if (nghttp2_session_callbacks_new(&callbacks) != 0) {
            return NGX_ERROR;
        }

        nghttp2_session_callbacks_set_on_header_callback(callbacks,
                                       ngx_http_myservice_check_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks,
                                       ngx_http_myservice_check_data_chunk);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks,
                                       ngx_http_myservice_check_stream_close);
    }

    if (nghttp2_session_client_new(&check->session, callbacks, check) != 0
        || nghttp2_submit_settings(check->session, NGHTTP2_FLAG_NONE,
                                   settings,
                                   sizeof(settings) / sizeof(settings[0]))
           != 0)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_myservice_check_submit(ngx_http_myservice_check_t *check,
    ngx_str_t *authority, ngx_msec_t timeout, ngx_uint_t tls)
{
    u_char                 text[NGX_INT64_LEN + 1];
    size_t                 len;
    nghttp2_data_provider  body;

    nghttp2_nv  headers[] = {
        ngx_http_myservice_check_nv(":method", "POST"),
        ngx_http_myservice_check_nv(":scheme", "http"),
        ngx_http_myservice_check_nv(":path", "/grpc.health.v1.Health/Check"),
        ngx_http_myservice_check_nv(":authority", ""),
        ngx_http_myservice_check_nv("te", "trailers"),
        ngx_http_myservice_check_nv("content-type", "application/grpc"),
        ngx_http_myservice_check_nv("user-agent", "myservice-health"),
        ngx_http_myservice_check_nv("grpc-timeout", "")
    };

    if (tls) {
        headers[1].value = (uint8_t *) "https";
        headers[1].valuelen = sizeof("https") - 1;
    }

    headers[3].value = authority->data;
    headers[3].valuelen = authority->len;

    /* at most eight digits */

    len = ngx_sprintf(text, "%Mm", ngx_min(timeout, 99999999)) - text;
    headers[7].value = text;
    headers[7].valuelen = len;

    body.source.ptr = NULL;
    body.read_callback = ngx_http_myservice_check_body;

    if (nghttp2_submit_request(check->session, NULL, headers,
                               sizeof(headers) / sizeof(headers[0]), &body,
                               NULL)
        < 0)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* HealthCheckRequest { string service = 1 } with the gRPC prefix */

static void
ngx_http_myservice_check_message(ngx_http_myservice_check_t *check,
    ngx_str_t *service)
{
    u_char  *p, *start;

    p = check->body + 5;
    start = p;

    if (service->len) {
        *p++ = 0x0a;

        if (service->len > 127) {
            *p++ = (u_char) (0x80 | (service->len & 0x7f));
            *p++ = (u_char) (service->len >> 7);

        } else {
            *p++ = (u_char) service->len;
        }

        p = ngx_cpymem(p, service->data, service->len);
    }

    /* not compressed, the length in four bytes */

    check->body[3] = (u_char) ((p - start) >> 8);
    check->body[4] = (u_char) (p - start);
    check->body_len = p - check->body;
}


/* small frames leave together */

ngx_int_t
ngx_http_myservice_check_output(ngx_http_myservice_check_t *check,
    ngx_buf_t *b)
{
    size_t   size;
    ssize_t  n;

    if (b->pos == b->last) {
        b->pos = b->start;
        b->last = b->start;
    }

    while (b->last < b->end) {

        if (check->frame_len == 0) {
            n = nghttp2_session_mem_send(check->session, &check->frame);

            if (n < 0) {
                return NGX_ERROR;
            }

            if (n == 0) {
                break;
            }

            check->frame_len = n;
        }

        size = ngx_min(check->frame_len, (size_t) (b->end - b->last));

        b->last = ngx_cpymem(b->last, check->frame, size);
        check->frame += size;
        check->frame_len -= size;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_myservice_check_input(ngx_http_myservice_check_t *check, u_char *p,
    size_t len)
{
    if (nghttp2_session_mem_recv(check->session, p, len) < 0) {
        return NGX_ERROR;
    }

    if (!check->closed) {
        return NGX_OK;
    }

    ngx_http_myservice_check_answer(check);

    return NGX_DONE;
}


static ssize_t
ngx_http_myservice_check_body(nghttp2_session *session, int32_t stream,
    uint8_t *buf, size_t len, uint32_t *flags, nghttp2_data_source *source,
    void *data)
{
    ngx_http_myservice_check_t  *check = data;

    len = ngx_min(len, check->body_len - check->body_sent);

    ngx_memcpy(buf, check->body + check->body_sent, len);
    check->body_sent += len;

    if (check->body_sent == check->body_len) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }

    return len;
}


static int
ngx_http_myservice_check_header(nghttp2_session *session,
    const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
    const uint8_t *value, size_t len, uint8_t flags, void *data)
{
    ngx_http_myservice_check_t  *check = data;

    ngx_int_t  left;

    if (ngx_http_myservice_check_is(name, name_len, "grpc-status")) {
        check->grpc_status = ngx_atoi((u_char *) value, len);
        return 0;
    }

    if (frame->headers.cat != NGHTTP2_HCAT_RESPONSE) {
        return 0;
    }

    if (ngx_http_myservice_check_is(name, name_len, ":status")) {
        check->http_status = ngx_atoi((u_char *) value, len);

    } else if (ngx_http_myservice_check_is(name, name_len, "session-calls")) {
        check->result->tells = 1;

    } else if (ngx_http_myservice_check_is(name, name_len, "session-id")) {
        check->result->tells = 1;

        if (!ms_session_valid((char *) value, len)
            || check->result->session.len)
        {
            check->result->silent = 1;
            return 0;
        }

        ngx_memcpy(check->result->session.data, value, len);
        check->result->session.len = len;

    } else if (ngx_http_myservice_check_is(name, name_len, "session-left")) {
        left = ngx_atoi((u_char *) value, len);

        if (left > 0) {
            check->result->left = left;
        }
    }

    return 0;
}


static int
ngx_http_myservice_check_data_chunk(nghttp2_session *session, uint8_t flags,
    int32_t stream, const uint8_t *p, size_t len, void *data)
{
    ngx_http_myservice_check_t  *check = data;

    if (len > NGX_HTTP_MYSERVICE_CHECK_MESSAGE - check->message_len) {
        check->too_long = 1;
        return 0;
    }

    ngx_memcpy(check->message + check->message_len, p, len);
    check->message_len += len;

    return 0;
}


static int
ngx_http_myservice_check_stream_close(nghttp2_session *session,
    int32_t stream, uint32_t error, void *data)
{
    ngx_http_myservice_check_t  *check = data;

    check->closed = 1;
    check->error = error;

    return 0;
}


static void
ngx_http_myservice_check_answer(ngx_http_myservice_check_t *check)
{
    ngx_int_t                           status;
    ngx_http_myservice_check_result_t  *result;

    result = check->result;
    result->rc = NGX_OK;

    if (check->error != NGHTTP2_NO_ERROR) {
        ngx_http_myservice_check_failed(result,
                                        "stream was reset with error %i",
                                        check->error);
        return;
    }

    if (check->http_status != NGX_HTTP_OK) {
        ngx_http_myservice_check_failed(result, "http status %i",
                                        check->http_status);
        return;
    }

    /* a server without the health service does not want to be checked */

    if (check->grpc_status == NGX_HTTP_MYSERVICE_UNIMPLEMENTED) {
        result->silent = 1;
        return;
    }

    if (check->grpc_status != NGX_HTTP_MYSERVICE_OK) {
        ngx_http_myservice_check_failed(result, "grpc-status %i",
                                        check->grpc_status);
        return;
    }

    status = check->too_long
             ? NGX_ERROR
             : ngx_http_myservice_check_status(check->message,
                                               check->message_len);

    switch (status) {

    case NGX_HTTP_MYSERVICE_CHECK_SERVING:
        break;

    case NGX_HTTP_MYSERVICE_CHECK_NOT_SERVING:
        ngx_http_myservice_check_failed(result, "not serving", 0);
        break;

    case NGX_ERROR:
        ngx_http_myservice_check_failed(result, "malformed answer", 0);
        break;

    default:
        ngx_http_myservice_check_failed(result, "serving status %i", status);
    }
}


/* HealthCheckResponse { ServingStatus status = 1 } with the gRPC prefix */

static ngx_int_t
ngx_http_myservice_check_status(u_char *p, size_t len)
{
    u_char    *end;
    uint64_t   tag, value;
    ngx_int_t  status;

    if (len < 5 || p[0] != 0 || p[1] != 0 || p[2] != 0
        || ((size_t) p[3] << 8 | p[4]) != len - 5)
    {
        return NGX_ERROR;
    }

    status = 0;
    end = p + len;
    p += 5;

    while (p < end) {
        p = ngx_http_myservice_check_varint(p, end, &tag);

        if (p == NULL || (tag & 7) != 0) {
            return NGX_ERROR;
        }

        p = ngx_http_myservice_check_varint(p, end, &value);

        if (p == NULL) {
            return NGX_ERROR;
        }

        if (tag >> 3 == 1) {
            status = value > 99 ? 99 : (ngx_int_t) value;
        }
    }

    return status;
}


static u_char *
ngx_http_myservice_check_varint(u_char *p, u_char *end, uint64_t *n)
{
    ngx_uint_t  shift;

    *n = 0;

    for (shift = 0; p < end && shift < 64; shift += 7) {
        *n |= (uint64_t) (*p & 0x7f) << shift;

        if (!(*p++ & 0x80)) {
            return p;
        }
    }

    return NULL;
}


void
ngx_http_myservice_check_failed(ngx_http_myservice_check_result_t *result,
    const char *fmt, ngx_int_t n)
{
    u_char  *last;

    last = ngx_snprintf(result->reason_buf, sizeof(result->reason_buf), fmt,
                        n);
    result->reason.data = result->reason_buf;
    result->reason.len = last - result->reason_buf;
    result->rc = NGX_DECLINED;
}
