/*
 * The structs of multiplexing, for all files of it.
 *
 *   stream  what a call has instead of a connection: an ngx_connection_t that
 *           the grpc module takes for one of its own
 *   conn    a connection to an instance; calls of the worker share it
 *   peer    an instance with what tells its connections from others; what is
 *           known of it outlives them
 */

#ifndef MS_HTTP2_MUX_H
#define MS_HTTP2_MUX_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http2/mux_failure.h"
#include "wire/header_block.h"
#include "wire/hpack.h"
#include "wire/mux_frames.h"


#define MS_MUX_BUCKETS  64              /* a power of two */


typedef struct ms_mux_peer_s    ms_mux_peer_t;
typedef struct ms_mux_conn_s    ms_mux_conn_t;
typedef struct ms_mux_stream_s  ms_mux_stream_t;
typedef struct ms_mux_block_s   ms_mux_block_t;


/* connections of an upstream without calls, the oldest last; of this worker */
typedef struct {
    ngx_queue_t                queue;
    ngx_uint_t                 n;
} ms_mux_idle_t;


/* "name" is the instance's address */
typedef void (*ms_mux_end_pt)(void *data, ngx_str_t *name);


/* the directive in an upstream */
typedef struct {
    ngx_uint_t                 streams;      /* of a connection, at once */
    ngx_uint_t                 requests;     /* of a connection, in all */
    size_t                     window;       /* of a stream, at first */
    size_t                     window_max;
    ngx_uint_t                 idle;         /* connections */
    ngx_msec_t                 timeout;      /* of an idle one */
    ms_mux_idle_t             *idles;
    ms_mux_end_pt              at_end;       /* of an idle one, or NULL */
    void                      *at_end_data;

    ngx_http_upstream_init_peer_pt   init_peer;  /* of the balancer */
} ms_mux_conf_t;


/* calls of equal keys share connections */
typedef struct {
    ngx_sockaddr_t             sockaddr;
    socklen_t                  socklen;
    ngx_sockaddr_t             local;        /* "grpc_bind" */
    socklen_t                  local_len;    /* 0: none */
    ngx_uint_t                 options;      /* of the socket */
    void                      *ssl;          /* ngx_ssl_t, NULL: no TLS */
    ngx_uint_t                 verify;
    ngx_str_t                  name;         /* of the certificate, and for
                                                the handshake; may be empty */
} ms_mux_key_t;


struct ms_mux_peer_s {
    ngx_queue_t                queue;        /* of a bucket */
    ngx_queue_t                unused;       /* without connections */
    ngx_queue_t                conns;
    uint32_t                   hash;
    ms_mux_key_t               key;
    ngx_str_t                  name;         /* the address as a text */
    u_char                     name_buf[NGX_SOCKADDR_STRLEN];
    uint32_t                   limit;        /* SETTINGS_MAX_CONCURRENT_STREAMS
                                                that it has last sent */
#if (NGX_HTTP_SSL)
    ngx_ssl_session_t         *session;      /* the next handshake is short */
    ngx_uint_t                 refusals;     /* handshakes in a row that failed
                                                at a session */
#endif
};


struct ms_mux_block_s {
    ngx_chain_t                cl;
    ngx_buf_t                  buf;
    u_char                     data[];
};


struct ms_mux_stream_s {
    ngx_connection_t           c;            /* the first member */
    ngx_event_t                rev;
    ngx_event_t                wev;
    ngx_event_t                begin;        /* sends the request */

    ms_mux_conn_t             *conn;         /* NULL: it has ended */
    ngx_queue_t                queue;        /* of conn->streams */
    ngx_queue_t                waiting;      /* of conn->blocked */
    ngx_queue_t                holding;      /* of conn->held, if "held" */
    ms_mux_stream_t           *next;         /* of a bucket, or free */
    uint32_t                   id;           /* 0: no HEADERS yet */
    uint64_t                   number;       /* of the connection */
    uint64_t                   place;        /* of its HEADERS, in bytes of
                                                the connection */
    ngx_msec_t                 since;        /* its HEADERS */

    const ms_fields_t         *fields;       /* the same for all calls of the
                                                session, or NULL */
    ms_mux_out_t               out;          /* from the grpc module */
    int64_t                    window;       /* the instance's, beyond the
                                                initial one of "conn" */
    size_t                     belief;       /* what the grpc module takes for
                                                the window */
    ngx_uint_t                 update;       /* it is to learn more */

    /* what the grpc module has not received yet: buf, then held, then span */
    u_char                    *buf;
    u_char                    *pos;
    u_char                    *last;
    size_t                     size;         /* of buf */
    u_char                    *held;
    u_char                    *held_last;
    u_char                    *span;
    u_char                    *span_last;
    ngx_uint_t                 span_type;    /* of its last frame */
    size_t                     limit;        /* our window */
    size_t                     first;        /* it began with this */
    size_t                     unacked;      /* DATA since WINDOW_UPDATE */
    ngx_msec_t                 acked;        /* the last WINDOW_UPDATE */

    ms_mux_failure_e           failure;
    ngx_err_t                  err;

    unsigned                   blocked:1;    /* in conn->blocked */
    unsigned                   in_closed:1;
    unsigned                   out_closed:1;
    unsigned                   eof:1;
    unsigned                   error:1;
    unsigned                   reused:1;     /* the connection had calls
                                                before */
    unsigned                   unsent:1;     /* nginx believes the request sent
                                                so that it asks no socket */
    unsigned                   own:1;        /* what was received last is the
                                                gateway's */
};


struct ms_mux_conn_s {
    ngx_connection_t          *c;
    ms_mux_peer_t             *peer;
    ms_mux_conf_t             *conf;
    ngx_queue_t                queue;        /* of the peer */
    ngx_queue_t                idle;
    uint64_t                   number;
    ngx_err_t                  err;
    ngx_event_t                flush;        /* the write handler, soon: in a
                                                handshake OpenSSL has another
                                                one on the socket */

    ms_mux_stream_t           *buckets[MS_MUX_BUCKETS];
    ngx_queue_t                streams;
    ngx_queue_t                blocked;
    ngx_queue_t                held;         /* streams with the header of an
                                                answer, while a read is looked
                                                at */
    ngx_uint_t                 nstreams;
    uint32_t                   next_id;
    ngx_uint_t                 nrequests;    /* some may have no id yet */

    ngx_msec_t                 idle_since;
    ngx_msec_t                 seen;         /* the last byte of the peer */
    ngx_msec_t                 asked;        /* the first call after it */
    uint64_t                   nread;
    uint64_t                   busy_read;    /* nread when it became busy */

    ngx_event_t                ping;         /* the time for the answer */
    ngx_uint_t                 pings;        /* since a frame of a stream */

    int64_t                    window;       /* the instance's */
    uint32_t                   init_window;
    size_t                     received;     /* DATA since WINDOW_UPDATE */

    ms_mux_in_t                in;
    u_char                    *carry;        /* the beginning of a frame */
    size_t                     carry_len;

    ms_hpack_t                 table;        /* of the instance, for what we
                                                send */

    ms_mux_block_t            *out;
    ms_mux_block_t            *out_last;
    size_t                     out_size;
    uint64_t                   put;          /* bytes, written or not */
    ngx_uint_t                 controls;     /* frames of the gateway's own
                                                since the last that is known to
                                                be written */
    uint64_t                   controls_place;  /* of the first of them */

    unsigned                   connected:1;  /* TCP */
    unsigned                   ready:1;      /* for calls */
    unsigned                   resumes:1;    /* a TLS session */
    unsigned                   local:1;      /* the gateway cannot make it */
    unsigned                   settings:1;   /* the peer's have come */
    unsigned                   rewindow:1;   /* streams do not know of
                                                "init_window" */
    unsigned                   draining:1;   /* no new calls */
    unsigned                   hung:1;       /* none until a byte comes */
    unsigned                   broken:1;     /* to be closed */
    unsigned                   is_idle:1;
    unsigned                   reused:1;     /* when it became busy */
    unsigned                   look:1;       /* for its end, before writing */
};


/* the instance's window of a stream that has a connection */

#define ms_mux_stream_window(s)  ((s)->conn->init_window + (s)->window)


/* it has had all calls that it may have */

#define ms_mux_conn_spent(mc)  ((mc)->nrequests >= (mc)->conf->requests)


/* the call's handlers run in this turn */

static ngx_inline void
ms_mux_wake_read(ms_mux_stream_t *s)
{
    s->rev.ready = 1;

    if (!s->rev.posted) {
        ngx_post_event(&s->rev, &ngx_posted_events);
    }
}


static ngx_inline void
ms_mux_wake_write(ms_mux_stream_t *s)
{
    s->wev.ready = 1;

    if (!s->wev.posted) {
        ngx_post_event(&s->wev, &ngx_posted_events);
    }
}


#endif /* MS_HTTP2_MUX_H */
