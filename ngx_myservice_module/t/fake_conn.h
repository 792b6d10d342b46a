/*
 * The inside of a fake: its connections, and how a frame is written to one.
 */

#ifndef MODULE_T_FAKE_CONN_H
#define MODULE_T_FAKE_CONN_H


#include <pthread.h>
#include <stdatomic.h>
#include <nghttp2/nghttp2.h>

#include "fake.h"


#define CONNS_MAX    1024
#define STREAMS_MAX  64
#define INPUT_MAX    65536
#define METADATA     32768

/* RFC 9113 section 6 */
#define DATA           0
#define HEADERS        1
#define RST_STREAM     3
#define SETTINGS       4
#define PING           6
#define GOAWAY         7
#define WINDOW_UPDATE  8

#define ACK            0x01
#define END_STREAM     0x01
#define END_HEADERS    0x04


struct fake_conn_s {
    int                   fd;           /* -1: free */
    bool                  preface;
    bool                  settings;
    unsigned              requests;
    size_t                taken;        /* since the last WINDOW_UPDATE */
    size_t                cut;          /* the next frame, 0: as a whole */
    size_t                rest_len;     /* until the answer to a PING */
    uint8_t               rest[64];
    size_t                len;
    uint8_t               in[INPUT_MAX];
    nghttp2_hd_inflater  *inflater;
    fake_call_t           calls[STREAMS_MAX];  /* by stream / 2 */
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
    atomic_bool     abort;
    atomic_uint     requests;
    atomic_uint     connections;
    pthread_mutex_t mutex;
    char            metadata[METADATA]; /* of the last request */
    fake_conn_t    *conns[CONNS_MAX];
};


uint8_t *fake_u32(uint8_t *p, uint32_t n);
void fake_frame(fake_conn_t *conn, uint8_t type, uint8_t flags,
    uint32_t stream, const void *payload, size_t len);
void fake_frame_rest(fake_conn_t *conn);
void fake_close_conn(fake_conn_t *conn);


#endif /* MODULE_T_FAKE_CONN_H */
