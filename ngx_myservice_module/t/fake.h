/*
 * Scriptable HTTP/2 backends: one thread each, frames by hand, so that a test
 * decides what is on the wire and when. The answer function runs in the
 * fake's thread when a request is complete; it may answer with the functions
 * below, or keep a copy of the call and answer from a later one. Requests of
 * up to 65535 bytes in all get no WINDOW_UPDATE.
 */

#ifndef MODULE_T_FAKE_H
#define MODULE_T_FAKE_H


#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


typedef struct fake_s       fake_t;
typedef struct fake_conn_s  fake_conn_t;

typedef struct {
    fake_t       *fake;
    fake_conn_t  *conn;
    uint32_t      stream;
    unsigned      number;               /* of the request, from 1 */
    unsigned      nth;                  /* on its connection, from 1 */
    char          path[128];
    char          session[280];
    size_t        body;                 /* bytes of DATA */
    const char   *more[4][2];           /* fields for the answer's header */
    const char   *trailer[2];           /* a field beside grpc-status */
    const char   *epoch;                /* "session-epoch" beside it */
} fake_call_t;

typedef void (*fake_answer_pt)(fake_call_t *call);
typedef void (*fake_order_pt)(fake_conn_t *conn);

/* When the fake lets the gateway send more DATA. */
typedef enum {
    FAKE_CREDIT_LATE,                   /* with the next request */
    FAKE_CREDIT_NONE,
    FAKE_CREDIT_ALL                     /* at once, on the stream, too */
} fake_credit_t;

/* What came, on all connections together. */
typedef struct {
    atomic_int    open;                 /* connections now */
    atomic_uint   streams;              /* at once on a connection, at most */
    atomic_uint   resets;               /* RST_STREAM */
    atomic_uint   cancels;              /* of these: CANCEL */
    atomic_uint   pings;
    atomic_uint   pongs;
    atomic_uint   goaways;
    atomic_uint   continuations;
    atomic_ulong  block;                /* bytes of the last header block */
    atomic_ulong  table;                /* of HPACK behind it */
    atomic_ulong  data;                 /* bytes */
    atomic_ulong  largest;              /* DATA */
    atomic_ulong  window;               /* the gateway's for a new stream */
    atomic_ulong  credit;               /* for streams, in bytes */
    atomic_ulong  poured;               /* by fake_pour() */
} fake_seen_t;


/* Listens on 127.0.0.1:harness_port(number); "name" is its pod_name. */
fake_t *fake_start(int number, const char *name, fake_answer_pt answer);

/* The same on another address of 127.0.0.0/8. */
fake_t *fake_start_at(const char *address, int number, const char *name,
    fake_answer_pt answer);

/* Closes all connections and stops listening. */
void fake_stop(fake_t *fake);

/* Complete requests and accepted connections so far, from any thread. */
unsigned fake_requests(fake_t *fake);
unsigned fake_connections(fake_t *fake);

/* "n" connections wait until the fake accepts them; 128 at first. */
void fake_backlog(fake_t *fake, int n);

/* The header of the last request, "name: value" lines; static. */
const char *fake_metadata(fake_t *fake);

/* SETTINGS are sent after the first request instead of at once, together with
 * the answer. */
void fake_late_settings(fake_t *fake);

/* The parts of an answer come in one read. */
void fake_at_once(fake_t *fake);

/* The answer function runs when a request's header is there. */
void fake_early(fake_t *fake);

/* Resets all connections; new ones are accepted. */
void fake_abort(fake_t *fake);

/* The same with a FIN; "goaway": after a GOAWAY that includes all calls. */
void fake_hang_up(fake_t *fake, bool goaway);

/* Nobody listens from now on; from the answer function. */
void fake_deaf(fake_t *fake);

/* Refuses new connections; those that are there go on. */
void fake_refuse_connects(fake_t *fake, bool refuse);

/* SETTINGS for all connections: those that are open, and new ones. */
void fake_setting(fake_t *fake, uint16_t id, uint32_t value);

void fake_credit(fake_t *fake, fake_credit_t credit);

/* Writes every byte alone. */
void fake_bytewise(fake_t *fake);

/* Any number of connections one after the other: no call of one that has ended
 * may be kept. */
void fake_forget(fake_t *fake);

fake_seen_t *fake_seen(fake_t *fake);


/* Many calls at once */

/* An answer function that keeps the call. */
void fake_hold(fake_call_t *call);

unsigned fake_held(fake_t *fake);

/* Runs "answer" for all calls that are held, the oldest first; it may hold them
 * again. */
void fake_release(fake_t *fake, fake_answer_pt answer);

/* While the gateway reads nothing: what its sockets do not take is written when it
 * reads. */
void fake_release_full(fake_t *fake, fake_answer_pt answer);

/* Runs "order" for each open connection. */
void fake_tell(fake_t *fake, fake_order_pt order);

/* Orders and their parts */

/* Acknowledges neither SETTINGS nor PING from now on. */
void fake_mute(fake_conn_t *conn);

void fake_ping(fake_conn_t *conn);
void fake_goaway_after(fake_conn_t *conn, uint32_t last);
void fake_window_update(fake_conn_t *conn, uint32_t stream, uint32_t n);

/* Sends zeros, as many as the gateway's windows allow; with fake_pour_on() also
 * whenever a window grows. */
void fake_pour(fake_call_t *call);
void fake_pour_on(fake_call_t *call, bool on);


/* Answers, to be combined */

void fake_headers(fake_call_t *call);
void fake_message(fake_call_t *call, int index);
void fake_half_message(fake_call_t *call);
void fake_trailers(fake_call_t *call, int status, const char *message);
void fake_goaway(fake_call_t *call);    /* the stream was not processed */
void fake_reset(fake_call_t *call, uint32_t error);
void fake_close(fake_call_t *call);

/* A HEADERS frame of any fields, up to one without a name. */
void fake_block(fake_call_t *call, uint8_t flags,
    const char *const (*fields)[2]);

void fake_bytes(fake_call_t *call, const void *data, size_t len);

/* A field for a header block, without indexing and without Huffman code;
 * returns its end. */
uint8_t *fake_field(uint8_t *p, const char *name, const char *value);

/* Cuts the frame that is written next: the bytes after the first "cut" follow,
 * with all that is written later, when the peer has read those. */
void fake_cut(fake_call_t *call, size_t cut);

/* The usual ones */

void fake_ok(fake_call_t *call);        /* headers, one message, status 0 */
void fake_refuse(fake_call_t *call, int status, const char *message);
                                        /* Trailers-Only */

/* Health/Check: the ServingStatus, or a negative gRPC status. */
void fake_health(fake_call_t *call, int serving);


#endif /* MODULE_T_FAKE_H */
