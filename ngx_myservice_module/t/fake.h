/*
 * Scriptable HTTP/2 backends: one thread each, frames by hand, so that a test
 * decides what is on the wire and when. The answer function runs in the
 * fake's thread when a request is complete; it may answer with the functions
 * below, or keep a copy of the call and answer from a later one. Requests of
 * up to 65535 bytes in all get no WINDOW_UPDATE.
 */

#ifndef MODULE_T_FAKE_H
#define MODULE_T_FAKE_H


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
} fake_call_t;

typedef void (*fake_answer_pt)(fake_call_t *call);


/* Listens on 127.0.0.1:harness_port(number); "name" is its pod_name. */
fake_t *fake_start(int number, const char *name, fake_answer_pt answer);

/* The same on another address of 127.0.0.0/8. */
fake_t *fake_start_at(const char *address, int number, const char *name,
    fake_answer_pt answer);

/* Closes all; nobody listens then. */
void fake_stop(fake_t *fake);

/* Complete requests and accepted connections so far, from any thread. */
unsigned fake_requests(fake_t *fake);
unsigned fake_connections(fake_t *fake);

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


/* Answers, to be combined */

void fake_headers(fake_call_t *call);
void fake_message(fake_call_t *call, int index);
void fake_half_message(fake_call_t *call);
void fake_trailers(fake_call_t *call, int status, const char *message);
void fake_goaway(fake_call_t *call);    /* the stream was not processed */
void fake_reset(fake_call_t *call, uint32_t error);
void fake_close(fake_call_t *call);

/* Of the frame that is written next, what is behind the first "cut" bytes
 * follows when the peer has read those. */
void fake_cut(fake_call_t *call, size_t cut);

/* The usual ones */

void fake_ok(fake_call_t *call);        /* headers, one message, status 0 */
void fake_refuse(fake_call_t *call, int status, const char *message);
                                        /* Trailers-Only */

/* Health/Check: the ServingStatus, or a negative gRPC status. */
void fake_health(fake_call_t *call, int serving);


#endif /* MODULE_T_FAKE_H */
