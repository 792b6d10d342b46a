
#include "ngx_http_myservice_probe.h"

#include <nghttp2/nghttp2.h>

#include "jwt/token.h"

#include "ngx_http_myservice_grpc.h"


/* the client's magic, SETTINGS, HEADERS and DATA of a check fit */
#define NGX_HTTP_MYSERVICE_PROBE_OUT      1024
#define NGX_HTTP_MYSERVICE_PROBE_IN       4096

/* a HealthCheckResponse is 7 bytes with its prefix */
#define NGX_HTTP_MYSERVICE_PROBE_MESSAGE  64

/* its ServingStatus */
#define NGX_HTTP_MYSERVICE_PROBE_SERVING      1
#define NGX_HTTP_MYSERVICE_PROBE_NOT_SERVING  2


#define ngx_http_myservice_probe_nv(name, text)                               \
    { (uint8_t *) name, (uint8_t *) text, sizeof(name) - 1, sizeof(text) - 1, \
      NGHTTP2_NV_FLAG_NONE }

#define ngx_http_myservice_probe_is(name, len, text)                          \
    (len == sizeof(text) - 1 && ngx_memcmp(name, text, len) == 0)


struct ngx_http_myservice_probe_s {
    ngx_http_myservice_probe_conf_t    *conf;
    void                               *data;
    ngx_http_myservice_probe_result_t   result;

    ngx_pool_t                         *pool;
    ngx_log_t                           log;
    ngx_peer_connection_t               peer;
    ngx_sockaddr_t                      sockaddr;
    nghttp2_session                    *session;

    /* the frame that nghttp2 gave and that is not in "out" yet */
    const uint8_t                      *frame;
    size_t                              frame_len;
    ngx_buf_t                          *out;

    size_t                              body_len;
    size_t                              body_sent;
    size_t                              message_len;

    ngx_int_t                           http_status;
    ngx_int_t                           grpc_status;
    uint32_t                            error;        /* of the stream */

    unsigned                            connected:1;
    unsigned                            closed:1;     /* the stream */
    unsigned                            too_long:1;

    u_char                              body[5 + 2 + 1
                                  + NGX_HTTP_MYSERVICE_PROBE_SERVICE_MAX];
    u_char                              message[
                                      NGX_HTTP_MYSERVICE_PROBE_MESSAGE];
    u_char                              name_buf[MS_POOL_NAME_MAX];
    u_char                              owner[MS_POOL_SESSION_MAX];
    u_char                              reason[64];
};


static void ngx_http_myservice_probe_message(
    ngx_http_myservice_probe_t *probe);
static void ngx_http_myservice_probe_read_handler(ngx_event_t *rev);
static void ngx_http_myservice_probe_write_handler(ngx_event_t *wev);
static ngx_int_t ngx_http_myservice_probe_connected(
    ngx_http_myservice_probe_t *probe);
static ngx_int_t ngx_http_myservice_probe_request(
    ngx_http_myservice_probe_t *probe);
static ngx_int_t ngx_http_myservice_probe_submit(
    ngx_http_myservice_probe_t *probe);
static ngx_int_t ngx_http_myservice_probe_send(
    ngx_http_myservice_probe_t *probe);
static ngx_int_t ngx_http_myservice_probe_fill(
    ngx_http_myservice_probe_t *probe);
static ngx_int_t ngx_http_myservice_probe_receive(
    ngx_http_myservice_probe_t *probe);
static ssize_t ngx_http_myservice_probe_body(nghttp2_session *session,
    int32_t stream, uint8_t *buf, size_t len, uint32_t *flags,
    nghttp2_data_source *source, void *data);
static int ngx_http_myservice_probe_header(nghttp2_session *session,
    const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
    const uint8_t *value, size_t len, uint8_t flags, void *data);
static int ngx_http_myservice_probe_data_chunk(nghttp2_session *session,
    uint8_t flags, int32_t stream, const uint8_t *p, size_t len, void *data);
static int ngx_http_myservice_probe_stream_close(nghttp2_session *session,
    int32_t stream, uint32_t error, void *data);
static ngx_int_t ngx_http_myservice_probe_answer(
    ngx_http_myservice_probe_t *probe);
static ngx_int_t ngx_http_myservice_probe_status(u_char *p, size_t len);
static u_char *ngx_http_myservice_probe_varint(u_char *p, u_char *end,
    uint64_t *n);
static void ngx_http_myservice_probe_failed(
    ngx_http_myservice_probe_t *probe, const char *fmt, ngx_int_t n);
static void ngx_http_myservice_probe_done(ngx_http_myservice_probe_t *probe,
    ngx_int_t rc);


ngx_http_myservice_probe_t *
ngx_http_myservice_probe_create(ngx_http_myservice_probe_conf_t *conf,
    void *data)
{
    ngx_pool_t                  *pool;
    ngx_http_myservice_probe_t  *probe;

    pool = ngx_create_pool(sizeof(ngx_http_myservice_probe_t)
                           + NGX_HTTP_MYSERVICE_PROBE_OUT + 1024,
                           ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    probe = ngx_pcalloc(pool, sizeof(ngx_http_myservice_probe_t));
    if (probe == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    probe->out = ngx_create_temp_buf(pool, NGX_HTTP_MYSERVICE_PROBE_OUT);
    if (probe->out == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    probe->pool = pool;
    probe->conf = conf;
    probe->data = data;
    probe->grpc_status = NGX_ERROR;
    probe->result.session.data = probe->owner;
    probe->result.reason.data = probe->reason;

    ngx_http_myservice_probe_message(probe);

    return probe;
}


void
ngx_http_myservice_probe_peer(ngx_http_myservice_probe_t *probe,
    ms_instance_info_t *info)
{
    ngx_memcpy(probe->name_buf, info->name, info->name_len);
    probe->result.name.data = probe->name_buf;
    probe->result.name.len = info->name_len;

    ngx_memcpy(&probe->sockaddr, info->addr, info->addr_len);
    probe->peer.socklen = (socklen_t) info->addr_len;
}


/* HealthCheckRequest { string service = 1 } with the gRPC prefix */

static void
ngx_http_myservice_probe_message(ngx_http_myservice_probe_t *probe)
{
    u_char     *p, *start;
    ngx_str_t  *service;

    service = &probe->conf->service;
    p = probe->body + 5;
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

    probe->body[3] = (u_char) ((p - start) >> 8);
    probe->body[4] = (u_char) (p - start);
    probe->body_len = p - probe->body;
}


void
ngx_http_myservice_probe_start(ngx_http_myservice_probe_t *probe)
{
    ngx_int_t               rc;
    ngx_connection_t       *c;
    ngx_peer_connection_t  *pc;

    /*
     * an instance that is down would be an error in the log with every check;
     * the one line that matters is written by the caller
     */

    probe->log = *ngx_cycle->log;

    if (!(probe->log.log_level & NGX_LOG_DEBUG_ALL)) {
        probe->log.log_level = ngx_min(probe->log.log_level, NGX_LOG_ALERT);
    }

    pc = &probe->peer;
    pc->sockaddr = &probe->sockaddr.sockaddr;
    pc->name = &probe->result.name;
    pc->get = ngx_event_get_peer;
    pc->log = &probe->log;
    pc->log_error = NGX_ERROR_ERR;

    probe->result.sent = ngx_current_msec;

    rc = ngx_event_connect_peer(pc);

    if (rc == NGX_ERROR || pc->connection == NULL) {

        if (rc == NGX_ERROR) {
            ngx_http_myservice_probe_done(probe, NGX_ERROR);
            return;
        }

        ngx_http_myservice_probe_failed(probe, "cannot be reached", 0);
        return;
    }

    c = pc->connection;
    c->data = probe;
    c->idle = 1;
    c->log = &probe->log;
    c->read->log = c->log;
    c->write->log = c->log;
    c->read->handler = ngx_http_myservice_probe_read_handler;
    c->write->handler = ngx_http_myservice_probe_write_handler;
    c->read->cancelable = 1;

    ngx_add_timer(c->read, probe->conf->timeout);

    if (rc == NGX_OK) {
        ngx_http_myservice_probe_write_handler(c->write);
    }
}


void
ngx_http_myservice_probe_cancel(ngx_http_myservice_probe_t *probe)
{
    if (probe->peer.connection) {
        ngx_close_connection(probe->peer.connection);
    }

    if (probe->session) {
        nghttp2_session_del(probe->session);
    }

    ngx_destroy_pool(probe->pool);
}


void *
ngx_http_myservice_probe_data(ngx_http_myservice_probe_t *probe)
{
    return probe->data;
}


ngx_http_myservice_probe_result_t *
ngx_http_myservice_probe_result(ngx_http_myservice_probe_t *probe)
{
    return &probe->result;
}


static void
ngx_http_myservice_probe_read_handler(ngx_event_t *rev)
{
    ngx_int_t                    rc;
    ngx_connection_t            *c;
    ngx_http_myservice_probe_t  *probe;

    c = rev->data;
    probe = c->data;

    if (c->close) {
        ngx_http_myservice_probe_done(probe, NGX_ABORT);
        return;
    }

    if (rev->timedout) {
        ngx_http_myservice_probe_failed(probe,
                                        probe->connected
                                        ? "timed out"
                                        : "timed out while connecting", 0);
        return;
    }

    rc = ngx_http_myservice_probe_connected(probe);

    if (rc == NGX_OK) {
        rc = ngx_http_myservice_probe_receive(probe);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_myservice_probe_send(probe);
    }

    if (rc == NGX_ERROR) {
        ngx_http_myservice_probe_failed(probe,
                                        probe->connected
                                        ? "connection was closed"
                                        : "connection failed", 0);
        return;
    }

    if (rc == NGX_DONE) {
        rc = ngx_http_myservice_probe_answer(probe);

        if (rc == NGX_OK) {
            ngx_http_myservice_probe_done(probe, NGX_OK);
        }
    }
}


static void
ngx_http_myservice_probe_write_handler(ngx_event_t *wev)
{
    ngx_connection_t            *c;
    ngx_http_myservice_probe_t  *probe;

    c = wev->data;
    probe = c->data;

    if (ngx_http_myservice_probe_connected(probe) != NGX_OK) {
        ngx_http_myservice_probe_failed(probe, "connection failed", 0);
        return;
    }

    if (ngx_http_myservice_probe_send(probe) != NGX_OK) {
        ngx_http_myservice_probe_failed(probe, "connection was closed", 0);
    }
}


/*
 * The first event of a connection.  A check of an upstream with TLS would
 * begin its handshake here and go on with the request from its end.
 */

static ngx_int_t
ngx_http_myservice_probe_connected(ngx_http_myservice_probe_t *probe)
{
    int        err;
    socklen_t  len;

    if (probe->connected) {
        return NGX_OK;
    }

    err = 0;
    len = sizeof(int);

    if (getsockopt(probe->peer.connection->fd, SOL_SOCKET, SO_ERROR,
                   (void *) &err, &len)
        == -1
        || err)
    {
        return NGX_ERROR;
    }

    if (ngx_http_myservice_probe_request(probe) != NGX_OK) {
        return NGX_ERROR;
    }

    probe->connected = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_myservice_probe_request(ngx_http_myservice_probe_t *probe)
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
                                       ngx_http_myservice_probe_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks,
                                       ngx_http_myservice_probe_data_chunk);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks,
                                       ngx_http_myservice_probe_stream_close);
    }

    if (nghttp2_session_client_new(&probe->session, callbacks, probe) != 0) {
        return NGX_ERROR;
    }

    if (nghttp2_submit_settings(probe->session, NGHTTP2_FLAG_NONE, settings,
                                sizeof(settings) / sizeof(settings[0]))
        != 0)
    {
        return NGX_ERROR;
    }

    return ngx_http_myservice_probe_submit(probe);
}


static ngx_int_t
ngx_http_myservice_probe_submit(ngx_http_myservice_probe_t *probe)
{
    u_char                 timeout[NGX_INT64_LEN + 1];
    size_t                 len;
    nghttp2_data_provider  body;

    nghttp2_nv  headers[] = {
        ngx_http_myservice_probe_nv(":method", "POST"),
        ngx_http_myservice_probe_nv(":scheme", "http"),
        ngx_http_myservice_probe_nv(":path", "/grpc.health.v1.Health/Check"),
        ngx_http_myservice_probe_nv(":authority", "localhost"),
        ngx_http_myservice_probe_nv("te", "trailers"),
        ngx_http_myservice_probe_nv("content-type", "application/grpc"),
        ngx_http_myservice_probe_nv("user-agent", "myservice-health"),
        ngx_http_myservice_probe_nv("grpc-timeout", "")
    };

    if (probe->sockaddr.sockaddr.sa_family != AF_UNIX) {
        headers[3].value = probe->result.name.data;
        headers[3].valuelen = probe->result.name.len;
    }

    /* at most eight digits */

    len = ngx_sprintf(timeout, "%Mm", ngx_min(probe->conf->timeout, 99999999))
          - timeout;
    headers[7].value = timeout;
    headers[7].valuelen = len;

    body.source.ptr = NULL;
    body.read_callback = ngx_http_myservice_probe_body;

    if (nghttp2_submit_request(probe->session, NULL, headers,
                               sizeof(headers) / sizeof(headers[0]), &body,
                               NULL)
        < 0)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_myservice_probe_send(ngx_http_myservice_probe_t *probe)
{
    ssize_t            n;
    ngx_buf_t         *b;
    ngx_connection_t  *c;

    b = probe->out;
    c = probe->peer.connection;

    for ( ;; ) {

        if (ngx_http_myservice_probe_fill(probe) != NGX_OK) {
            return NGX_ERROR;
        }

        if (b->pos == b->last) {
            break;
        }

        n = c->send(c, b->pos, b->last - b->pos);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n < 0) {
            return NGX_ERROR;
        }

        b->pos += n;
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* small frames leave together */

static ngx_int_t
ngx_http_myservice_probe_fill(ngx_http_myservice_probe_t *probe)
{
    size_t      size;
    ssize_t     n;
    ngx_buf_t  *b;

    b = probe->out;

    if (b->pos == b->last) {
        b->pos = b->start;
        b->last = b->start;
    }

    while (b->last < b->end) {

        if (probe->frame_len == 0) {
            n = nghttp2_session_mem_send(probe->session, &probe->frame);

            if (n < 0) {
                return NGX_ERROR;
            }

            if (n == 0) {
                break;
            }

            probe->frame_len = n;
        }

        size = ngx_min(probe->frame_len, (size_t) (b->end - b->last));

        b->last = ngx_cpymem(b->last, probe->frame, size);
        probe->frame += size;
        probe->frame_len -= size;
    }

    return NGX_OK;
}


/* NGX_DONE: the stream has ended */

static ngx_int_t
ngx_http_myservice_probe_receive(ngx_http_myservice_probe_t *probe)
{
    u_char             buf[NGX_HTTP_MYSERVICE_PROBE_IN];
    ssize_t            n;
    ngx_connection_t  *c;

    c = probe->peer.connection;

    while (c->read->ready) {
        n = c->recv(c, buf, sizeof(buf));

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0 || nghttp2_session_mem_recv(probe->session, buf, n) < 0) {
            return NGX_ERROR;
        }

        if (probe->closed) {
            return NGX_DONE;
        }
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ssize_t
ngx_http_myservice_probe_body(nghttp2_session *session, int32_t stream,
    uint8_t *buf, size_t len, uint32_t *flags, nghttp2_data_source *source,
    void *data)
{
    ngx_http_myservice_probe_t  *probe = data;

    len = ngx_min(len, probe->body_len - probe->body_sent);

    ngx_memcpy(buf, probe->body + probe->body_sent, len);
    probe->body_sent += len;

    if (probe->body_sent == probe->body_len) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }

    return len;
}


static int
ngx_http_myservice_probe_header(nghttp2_session *session,
    const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
    const uint8_t *value, size_t len, uint8_t flags, void *data)
{
    ngx_http_myservice_probe_t  *probe = data;

    if (ngx_http_myservice_probe_is(name, name_len, "grpc-status")) {
        probe->grpc_status = ngx_atoi((u_char *) value, len);
        return 0;
    }

    if (frame->headers.cat != NGHTTP2_HCAT_RESPONSE) {
        return 0;
    }

    if (ngx_http_myservice_probe_is(name, name_len, ":status")) {
        probe->http_status = ngx_atoi((u_char *) value, len);

    } else if (ngx_http_myservice_probe_is(name, name_len, "session-calls")) {
        probe->result.tells = 1;

    } else if (ngx_http_myservice_probe_is(name, name_len, "session-id")) {
        probe->result.tells = 1;

        if (!ms_session_valid((char *) value, len)
            || probe->result.session.len)
        {
            probe->result.silent = 1;
            return 0;
        }

        ngx_memcpy(probe->owner, value, len);
        probe->result.session.len = len;
    }

    return 0;
}


static int
ngx_http_myservice_probe_data_chunk(nghttp2_session *session, uint8_t flags,
    int32_t stream, const uint8_t *p, size_t len, void *data)
{
    ngx_http_myservice_probe_t  *probe = data;

    if (len > NGX_HTTP_MYSERVICE_PROBE_MESSAGE - probe->message_len) {
        probe->too_long = 1;
        return 0;
    }

    ngx_memcpy(probe->message + probe->message_len, p, len);
    probe->message_len += len;

    return 0;
}


static int
ngx_http_myservice_probe_stream_close(nghttp2_session *session,
    int32_t stream, uint32_t error, void *data)
{
    ngx_http_myservice_probe_t  *probe = data;

    probe->closed = 1;
    probe->error = error;

    return 0;
}


/* NGX_OK if it serves; else the probe is gone */

static ngx_int_t
ngx_http_myservice_probe_answer(ngx_http_myservice_probe_t *probe)
{
    ngx_int_t  status;

    if (probe->error != NGHTTP2_NO_ERROR) {
        ngx_http_myservice_probe_failed(probe,
                                        "stream was reset with error %i",
                                        probe->error);
        return NGX_DONE;
    }

    if (probe->http_status != NGX_HTTP_OK) {
        ngx_http_myservice_probe_failed(probe, "http status %i",
                                        probe->http_status);
        return NGX_DONE;
    }

    /* a server without the health service does not want to be checked */

    if (probe->grpc_status == NGX_HTTP_MYSERVICE_UNIMPLEMENTED) {
        probe->result.silent = 1;
        return NGX_OK;
    }

    if (probe->grpc_status != NGX_HTTP_MYSERVICE_OK) {
        ngx_http_myservice_probe_failed(probe, "grpc-status %i",
                                        probe->grpc_status);
        return NGX_DONE;
    }

    status = probe->too_long
             ? NGX_ERROR
             : ngx_http_myservice_probe_status(probe->message,
                                               probe->message_len);

    switch (status) {

    case NGX_HTTP_MYSERVICE_PROBE_SERVING:
        return NGX_OK;

    case NGX_HTTP_MYSERVICE_PROBE_NOT_SERVING:
        ngx_http_myservice_probe_failed(probe, "not serving", 0);
        return NGX_DONE;

    case NGX_ERROR:
        ngx_http_myservice_probe_failed(probe, "malformed answer", 0);
        return NGX_DONE;

    default:
        ngx_http_myservice_probe_failed(probe, "serving status %i", status);
        return NGX_DONE;
    }
}


/* HealthCheckResponse { ServingStatus status = 1 } with the gRPC prefix */

static ngx_int_t
ngx_http_myservice_probe_status(u_char *p, size_t len)
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
        p = ngx_http_myservice_probe_varint(p, end, &tag);

        if (p == NULL || (tag & 7) != 0) {
            return NGX_ERROR;
        }

        p = ngx_http_myservice_probe_varint(p, end, &value);

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
ngx_http_myservice_probe_varint(u_char *p, u_char *end, uint64_t *n)
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


/* these two end the probe: it is gone when they return */

static void
ngx_http_myservice_probe_failed(ngx_http_myservice_probe_t *probe,
    const char *fmt, ngx_int_t n)
{
    u_char  *last;

    last = ngx_snprintf(probe->reason, sizeof(probe->reason), fmt, n);
    probe->result.reason.len = last - probe->reason;

    ngx_http_myservice_probe_done(probe, NGX_DECLINED);
}


static void
ngx_http_myservice_probe_done(ngx_http_myservice_probe_t *probe, ngx_int_t rc)
{
    probe->result.rc = rc;

    /* closed first: the handler may start others */

    if (probe->peer.connection) {
        ngx_close_connection(probe->peer.connection);
        probe->peer.connection = NULL;
    }

    probe->conf->handler(probe);

    ngx_http_myservice_probe_cancel(probe);
}
