/*
 * The inside of a fake: its connections, and how a frame is written to one.
 */

#ifndef MODULE_T_FAKE_CONN_H
#define MODULE_T_FAKE_CONN_H


#include <pthread.h>
#include <stdatomic.h>
#include <nghttp2/nghttp2.h>

#include "fake.h"


#define CONNS_MAX     1024
#define STREAMS_MAX   1024
#define SETTINGS_MAX  4
#define INPUT_MAX     65536
#define METADATA      65536
#define FRAME_MAX     20000             /* longer than allowed */

/* RFC 9113 section 6 */
#define DATA           0
#define HEADERS        1
#define RST_STREAM     3
#define SETTINGS       4
#define PING           6
#define GOAWAY         7
#define WINDOW_UPDATE  8
#define CONTINUATION   9

#define ACK            0x01
#define END_STREAM     0x01
#define END_HEADERS    0x04


typedef void (*fake_work_pt)(fake_t *fake);

typedef struct {
    uint32_t  id;
    uint32_t  value;
} fake_setting_t;

/* "in" is what the gateway sends, "out" what the fake sends; "left" is how much
 * the window still allows. */
typedef struct {
    fake_call_t  call;
    int64_t      in_left;
    int64_t      out_left;
    bool         in_end;
    bool         out_end;
    bool         pours;
} fake_stream_t;

struct fake_conn_s {
    int                   fd;           /* -1: free */
    fake_t               *fake;
    bool                  preface;
    bool                  settings;
    bool                  mute;
    unsigned              requests;
    size_t                taken;        /* since the last WINDOW_UPDATE */
    size_t                cut;          /* the next frame, 0: as a whole */
    size_t                rest_len;     /* until the answer to a PING */
    uint8_t               rest[8192];
    uint32_t              block_stream; /* a header goes on, 0: none does */
    size_t                block_len;    /* of it so far */
    uint8_t               block[METADATA];
    size_t                len;
    uint8_t               in[INPUT_MAX];
    nghttp2_hd_inflater  *inflater;

    int64_t               in_left;
    int64_t               out_left;
    int64_t               in_initial;
    int64_t               out_initial;
    uint32_t              latest;       /* stream */
    unsigned              open;         /* streams */
    unsigned              open_max;
    fake_setting_t        sent[SETTINGS_MAX];  /* without an ACK */
    size_t                nsent;
    fake_stream_t         streams[STREAMS_MAX];  /* by id / 2 */
};

struct fake_s {
    int             fd;
    const char     *name;
    fake_answer_pt  answer;
    pthread_t       thread;
    atomic_bool     stop;
    atomic_bool     late_settings;
    atomic_bool     at_once;
    atomic_bool     early;
    atomic_bool     bytewise;
    atomic_bool     forgets;
    atomic_bool     full;               /* a socket, during fake_run() */
    atomic_int      credit;             /* fake_credit_t */
    fake_work_pt _Atomic  work;         /* of fake_run() */
    fake_answer_pt  release;            /* of fake_release() */
    fake_order_pt   order;              /* of fake_tell() */
    fake_setting_t  setting;            /* of fake_setting() */
    fake_setting_t  settings[SETTINGS_MAX];
    size_t          nsettings;
    atomic_bool     refuse;             /* new connections */
    atomic_bool     refuses;
    uint32_t        address;            /* in network byte order */
    int             port;
    atomic_uint     requests;
    atomic_uint     connections;
    fake_seen_t     seen;
    fake_call_t    *held;
    size_t          nheld;
    pthread_mutex_t mutex;
    char            metadata[METADATA]; /* of the last request */
    fake_conn_t    *conns[CONNS_MAX];
};


uint8_t *fake_u32(uint8_t *p, uint32_t n);
void fake_frame(fake_conn_t *conn, uint8_t type, uint8_t flags,
    uint32_t stream, const void *payload, size_t len);
void fake_frame_rest(fake_conn_t *conn);
void fake_close_conn(fake_conn_t *conn);

/* Runs it in the fake's thread, and waits for its end, or also for a socket that
 * takes no more. */
void fake_run(fake_t *fake, fake_work_pt work);
void fake_run_full(fake_t *fake, fake_work_pt work);

/* What a frame does to streams and windows. The test fails when the gateway
 * breaks a rule of RFC 9113: order of ids, windows, limits, blocks in one. */
void fake_flow_open(fake_conn_t *conn);
void fake_flow_settings(fake_conn_t *conn, const fake_setting_t *settings,
    size_t n);
fake_stream_t *fake_flow_got(fake_conn_t *conn, uint8_t type, uint8_t flags,
    uint32_t stream, const uint8_t *payload, size_t len);
void fake_flow_sent(fake_conn_t *conn, uint8_t type, uint8_t flags,
    uint32_t stream, const uint8_t *payload, size_t len);

/* The stream, NULL if it has not begun. */
fake_stream_t *fake_flow_find(fake_conn_t *conn, uint32_t id);


#endif /* MODULE_T_FAKE_CONN_H */
