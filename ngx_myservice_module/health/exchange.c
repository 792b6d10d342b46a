
/*
 * The call of one probe: the request, and what its answer means.  An answer
 * says whether the instance serves, and may report the session that it has,
 * its subject, and how long it lasts.
 */

#include "health/exchange.h"

#include "core/grpc.h"
#include "jwt/token.h"
#include "wire/health_message.h"
#include "wire/protobuf.h"


#define ms_exchange_nv(name, text)                                            \
    { (uint8_t *) name, (uint8_t *) text, sizeof(name) - 1, sizeof(text) - 1, \
      NGHTTP2_NV_FLAG_NONE }

#define ms_exchange_is(name, len, text)                                       \
    (len == sizeof(text) - 1 && ngx_memcmp(name, text, len) == 0)


static ngx_int_t ms_exchange_session(ms_exchange_t *exchange);
static ngx_int_t ms_exchange_submit(ms_exchange_t *exchange,
    ngx_str_t *authority, ngx_msec_t timeout, ngx_uint_t tls);
static void ms_exchange_message(ms_exchange_t *exchange, ngx_str_t *service);
static ssize_t ms_exchange_body(nghttp2_session *session, int32_t stream,
    uint8_t *buf, size_t len, uint32_t *flags, nghttp2_data_source *source,
    void *data);
static int ms_exchange_begin_headers(nghttp2_session *session,
    const nghttp2_frame *frame, void *data);
static int ms_exchange_header(nghttp2_session *session,
    const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
    const uint8_t *value, size_t len, uint8_t flags, void *data);
static void ms_exchange_process(ms_exchange_result_t *result,
    const uint8_t *value, size_t len);
static void ms_exchange_subject(ms_exchange_result_t *result,
    const uint8_t *value, size_t len);
static int ms_exchange_data_chunk(nghttp2_session *session, uint8_t flags,
    int32_t stream, const uint8_t *p, size_t len, void *data);
static int ms_exchange_stream_close(nghttp2_session *session, int32_t stream,
    uint32_t error, void *data);
static void ms_exchange_answer(ms_exchange_t *exchange);
static void ms_exchange_status(ms_exchange_t *exchange);


ngx_int_t
ms_exchange_start(ms_exchange_t *exchange, ngx_str_t *authority,
    ngx_str_t *service, ngx_msec_t timeout, ngx_uint_t tls)
{
    exchange->grpc_status = NGX_ERROR;
    exchange->result->session.data = exchange->result->session_buf;

    ms_exchange_message(exchange, service);

    if (ms_exchange_session(exchange) != NGX_OK) {
        return NGX_ERROR;
    }

    return ms_exchange_submit(exchange, authority, timeout, tls);
}


void
ms_exchange_free(ms_exchange_t *exchange)
{
    if (exchange->session) {
        nghttp2_session_del(exchange->session);
    }
}


static ngx_int_t
ms_exchange_session(ms_exchange_t *exchange)
{
    static nghttp2_option             *option;
    static nghttp2_session_callbacks  *callbacks;

    nghttp2_settings_entry  settings[] = {
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 16384 }
    };

    if (callbacks == NULL) {

        if (nghttp2_session_callbacks_new(&callbacks) != 0) {
            return NGX_ERROR;
        }

        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks,
                                       ms_exchange_begin_headers);
        nghttp2_session_callbacks_set_on_header_callback(callbacks,
                                                         ms_exchange_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks,
                                       ms_exchange_data_chunk);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks,
                                       ms_exchange_stream_close);
    }

    /*
     * nghttp2 would refuse an answer for a field of its header, but an
     * instance that serves is not down for that
     */

    if (option == NULL) {

        if (nghttp2_option_new(&option) != 0) {
            return NGX_ERROR;
        }

        nghttp2_option_set_no_http_messaging(option, 1);
    }

    if (nghttp2_session_client_new2(&exchange->session, callbacks, exchange,
                                    option)
        != 0
        || nghttp2_submit_settings(exchange->session, NGHTTP2_FLAG_NONE,
                                   settings,
                                   sizeof(settings) / sizeof(settings[0]))
           != 0)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ms_exchange_submit(ms_exchange_t *exchange, ngx_str_t *authority,
    ngx_msec_t timeout, ngx_uint_t tls)
{
    u_char                 text[NGX_INT64_LEN + 1];
    size_t                 len;
    nghttp2_data_provider  body;

    ngx_uint_t             n;

    nghttp2_nv  headers[] = {
        ms_exchange_nv(":method", "POST"),
        ms_exchange_nv(":scheme", "http"),
        ms_exchange_nv(":path", "/grpc.health.v1.Health/Check"),
        ms_exchange_nv(":authority", ""),
        ms_exchange_nv("te", "trailers"),
        ms_exchange_nv("content-type", "application/grpc"),
        ms_exchange_nv("user-agent", "myservice-health"),
        ms_exchange_nv("grpc-timeout", ""),
        ms_exchange_nv("session-elsewhere", "")
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

    n = sizeof(headers) / sizeof(headers[0]);

    headers[n - 1].value = exchange->result->elsewhere.data;
    headers[n - 1].valuelen = exchange->result->elsewhere.len;

    if (exchange->result->elsewhere.len == 0) {
        n--;
    }

    body.source.ptr = NULL;
    body.read_callback = ms_exchange_body;

    if (nghttp2_submit_request(exchange->session, NULL, headers, n, &body, NULL)
        < 0)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* HealthCheckRequest { string service = 1 } with the gRPC prefix */

static void
ms_exchange_message(ms_exchange_t *exchange, ngx_str_t *service)
{
    u_char  *p, *start;

    p = exchange->body + 5;
    start = p;

    if (service->len) {
        *p++ = 0x0a;
        p = ms_protobuf_write(p, service->len);
        p = ngx_cpymem(p, service->data, service->len);
    }

    /* not compressed, the length in four bytes */

    exchange->body[3] = (u_char) ((p - start) >> 8);
    exchange->body[4] = (u_char) (p - start);
    exchange->body_len = p - exchange->body;
}


/* small frames leave together */

ngx_int_t
ms_exchange_output(ms_exchange_t *exchange, ngx_buf_t *b)
{
    size_t   size;
    ssize_t  n;

    if (b->pos == b->last) {
        b->pos = b->start;
        b->last = b->start;
    }

    while (b->last < b->end) {

        if (exchange->frame_len == 0) {
            n = nghttp2_session_mem_send(exchange->session, &exchange->frame);

            if (n < 0) {
                return NGX_ERROR;
            }

            if (n == 0) {
                break;
            }

            exchange->frame_len = n;
        }

        size = ngx_min(exchange->frame_len, (size_t) (b->end - b->last));

        b->last = ngx_cpymem(b->last, exchange->frame, size);
        exchange->frame += size;
        exchange->frame_len -= size;
    }

    return NGX_OK;
}


ngx_int_t
ms_exchange_input(ms_exchange_t *exchange, u_char *p, size_t len)
{
    if (nghttp2_session_mem_recv(exchange->session, p, len) < 0) {
        return NGX_ERROR;
    }

    if (!exchange->closed) {
        return NGX_OK;
    }

    ms_exchange_answer(exchange);

    return NGX_DONE;
}


static ssize_t
ms_exchange_body(nghttp2_session *session, int32_t stream, uint8_t *buf,
    size_t len, uint32_t *flags, nghttp2_data_source *source, void *data)
{
    ms_exchange_t  *exchange = data;

    len = ngx_min(len, exchange->body_len - exchange->body_sent);

    ngx_memcpy(buf, exchange->body + exchange->body_sent, len);
    exchange->body_sent += len;

    if (exchange->body_sent == exchange->body_len) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }

    return len;
}


static int
ms_exchange_begin_headers(nghttp2_session *session, const nghttp2_frame *frame,
    void *data)
{
    ms_exchange_t  *exchange = data;

    exchange->head = 0;

    return 0;
}


/* only the header of the answer reports a session */

static int
ms_exchange_header(nghttp2_session *session, const nghttp2_frame *frame,
    const uint8_t *name, size_t name_len, const uint8_t *value, size_t len,
    uint8_t flags, void *data)
{
    ms_exchange_t  *exchange = data;

    off_t      epoch;
    ngx_int_t  left;

    if (ms_exchange_is(name, name_len, "grpc-status")) {
        exchange->grpc_status = ngx_atoi((u_char *) value, len);
        return 0;
    }

    if (ms_exchange_is(name, name_len, ":status")) {
        exchange->http_status = ngx_atoi((u_char *) value, len);
        exchange->head = exchange->http_status < 100
                         || exchange->http_status > 199;
        return 0;
    }

    if (!exchange->head) {
        return 0;
    }

    if (ms_exchange_is(name, name_len, "session-calls")) {
        exchange->result->reports_session = 1;

    } else if (ms_exchange_is(name, name_len, "session-id")) {
        exchange->result->reports_session = 1;

        if (!ms_session_valid((char *) value, len)
            || exchange->result->session.len)
        {
            exchange->result->unreported = 1;
            return 0;
        }

        ngx_memcpy(exchange->result->session.data, value, len);
        exchange->result->session.len = len;

    } else if (ms_exchange_is(name, name_len, "session-subject")) {
        ms_exchange_subject(exchange->result, value, len);

    } else if (ms_exchange_is(name, name_len, "session-drain")) {
        exchange->result->drain = len == 1 && value[0] == '1';

    } else if (ms_exchange_is(name, name_len, "instance-id")) {
        ms_exchange_process(exchange->result, value, len);

    } else if (ms_exchange_is(name, name_len, "session-left")) {
        left = ngx_atoi((u_char *) value, len);

        if (left > 0) {
            exchange->result->left = left;
        }

    } else if (ms_exchange_is(name, name_len, "session-epoch")) {
        epoch = ngx_atoof((u_char *) value, len);

        if (epoch > 0) {
            exchange->result->epoch = epoch;
        }
    }

    return 0;
}


/* another one than the first says nothing, nor does one that is too long */

static void
ms_exchange_process(ms_exchange_result_t *result, const uint8_t *value,
    size_t len)
{
    if (result->process.len || len > MS_EXCHANGE_PROCESS_MAX
        || !ms_session_valid((char *) value, len))
    {
        return;
    }

    ngx_memcpy(result->process_buf, value, len);
    result->process.data = result->process_buf;
    result->process.len = len;
}


static void
ms_exchange_subject(ms_exchange_result_t *result, const uint8_t *value,
    size_t len)
{
    ngx_int_t   n;
    ngx_uint_t  i;

    if (len != 2 * MS_POOL_SUBJECT) {
        return;
    }

    for (i = 0; i < MS_POOL_SUBJECT; i++) {
        n = ngx_hextoi((u_char *) &value[2 * i], 2);

        if (n == NGX_ERROR) {
            return;
        }

        result->subject[i] = (u_char) n;
    }

    result->has_subject = 1;
}


static int
ms_exchange_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream,
    const uint8_t *p, size_t len, void *data)
{
    ms_exchange_t  *exchange = data;

    if (len > MS_EXCHANGE_MESSAGE - exchange->message_len) {
        exchange->too_long = 1;
        return 0;
    }

    ngx_memcpy(exchange->message + exchange->message_len, p, len);
    exchange->message_len += len;

    return 0;
}


static int
ms_exchange_stream_close(nghttp2_session *session, int32_t stream,
    uint32_t error, void *data)
{
    ms_exchange_t  *exchange = data;

    exchange->closed = 1;
    exchange->error = error;

    return 0;
}


static void
ms_exchange_answer(ms_exchange_t *exchange)
{
    ms_exchange_result_t  *result;

    result = exchange->result;
    result->rc = NGX_OK;

    /* an answer with a status counts, whatever came behind it */

    if (exchange->error != NGHTTP2_NO_ERROR
        && exchange->grpc_status == NGX_ERROR)
    {
        ms_exchange_failed(result,
                           "stream was reset with error %i",
                           exchange->error);
        return;
    }

    if (exchange->http_status != NGX_HTTP_OK) {
        ms_exchange_failed(result, "http status %i", exchange->http_status);
        return;
    }

    /* a server without the health service is up when it answers */

    if (exchange->grpc_status == MS_GRPC_UNIMPLEMENTED) {
        result->unreported = 1;
        return;
    }

    if (exchange->grpc_status != MS_GRPC_OK) {
        ms_exchange_failed(result, "grpc-status %i", exchange->grpc_status);
        return;
    }

    ms_exchange_status(exchange);
}


static void
ms_exchange_status(ms_exchange_t *exchange)
{
    uint32_t               status;
    ms_health_request_t    rc;
    ms_exchange_result_t  *result;

    result = exchange->result;
    status = MS_HEALTH_UNKNOWN;

    rc = exchange->too_long ? MS_HEALTH_REQUEST_MALFORMED
                         : ms_health_response_parse(exchange->message,
                                                    exchange->message_len,
                                                    &status);

    switch (rc) {

    case MS_HEALTH_REQUEST_OK:
        break;

    case MS_HEALTH_REQUEST_COMPRESSED:

        /* compressed: cannot be read, but the status was OK */

        return;

    default:
        ms_exchange_failed(result, "malformed answer", 0);
        return;
    }

    switch (status) {

    case MS_HEALTH_SERVING:
        break;

    case MS_HEALTH_NOT_SERVING:

        /* with "session-drain" the instance serves its session on */

        if (!result->drain) {
            ms_exchange_failed(result, "not serving", 0);
        }

        break;

    default:
        ms_exchange_failed(result, "serving status %i", status);
    }
}


void
ms_exchange_failed(ms_exchange_result_t *result, const char *fmt, ngx_int_t n)
{
    u_char  *last;

    last = ngx_snprintf(result->reason_buf, sizeof(result->reason_buf), fmt,
                        n);
    result->reason.data = result->reason_buf;
    result->reason.len = last - result->reason_buf;
    result->rc = NGX_DECLINED;
}
