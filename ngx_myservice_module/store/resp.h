/*
 * The Redis protocol of one connection, without the connection: requests are
 * formatted into a buffer, answers are matched with those who asked, in order.
 * hiredis parses the answers (RESP2), nothing else of it is used.
 *
 * Pure C over malloc(): no nginx header.
 */

#ifndef MS_STORE_RESP_H
#define MS_STORE_RESP_H


#include <hiredis/read.h>
#include <hiredis/hiredis.h>
#include <stddef.h>
#include <stdint.h>


/* what may wait: bytes to be written, questions without an answer */
#define MS_RESP_OUT_MAX    (4 * 1024 * 1024)
#define MS_RESP_ASKED_MAX  16384

/* of one answer */
#define MS_RESP_REPLY_MAX  (1024 * 1024)
#define MS_RESP_ARRAY_MAX  16384


/*
 * The answer to one question; NULL: the connection ended before it came.  The
 * handler runs once.  It may ask again, and may call ms_resp_close().  "reply"
 * is freed when it returns.
 */
typedef void (*ms_resp_pt)(void *owner, redisReply *reply, void *data);

typedef struct {
    ms_resp_pt   handler;
    void        *data;
} ms_resp_asked_t;

typedef struct {
    void             *owner;            /* for the handlers */
    redisReader      *reader;           /* NULL: closed */
    uint8_t          *out;
    size_t            len;              /* bytes in "out" */
    size_t            sent;             /* of them, by the caller */
    size_t            size;
    ms_resp_asked_t  *ring;
    size_t            ring_size;        /* a power of 2, or 0 */
    size_t            head;
    size_t            asked;            /* questions without an answer */
    size_t            partial;          /* bytes since the last answer */

    /* of the question that is being formatted */
    size_t            mark;
    unsigned          args;             /* still to come */
    unsigned          failed:1;
} ms_resp_t;

typedef enum {
    MS_RESP_OK = 0,
    MS_RESP_CLOSED,                     /* by a handler */
    MS_RESP_NO_MEMORY,
    MS_RESP_PROTOCOL,                   /* no RESP2, or an answer over the
                                           limits */
    MS_RESP_UNASKED                     /* an answer that nobody asked for */
} ms_resp_e;


/* For a new connection; "resp" is zeroed, or was closed.  -1: no memory. */
int ms_resp_open(ms_resp_t *resp, void *owner)
    __attribute__((warn_unused_result));

/* Frees everything, and runs the handlers that wait, with NULL. */
void ms_resp_close(ms_resp_t *resp);

/*
 * A question of "args" texts, which follow.  ms_resp_ask() ends it: -1 if it
 * does not fit, or the connection is closed; then it was not asked, and the
 * handler does not run.
 */
void ms_resp_begin(ms_resp_t *resp, unsigned args);
void ms_resp_text(ms_resp_t *resp, const void *data, size_t len);
void ms_resp_word(ms_resp_t *resp, const char *word);
void ms_resp_number(ms_resp_t *resp, uint64_t n);
int ms_resp_ask(ms_resp_t *resp, ms_resp_pt handler, void *data)
    __attribute__((warn_unused_result));

/* The caller has written so many of the bytes from out + sent to out + len. */
void ms_resp_wrote(ms_resp_t *resp, size_t n);

/* Bytes that came.  After anything but MS_RESP_OK the connection is over. */
ms_resp_e ms_resp_feed(ms_resp_t *resp, const void *data, size_t len)
    __attribute__((warn_unused_result));

/* Element "i" of an array if it is a text, else NULL. */
const redisReply *ms_resp_element(const redisReply *reply, size_t i);

/* The number that a text is, or an integer; -1: it is none. */
int ms_resp_value(const redisReply *reply, uint64_t *n)
    __attribute__((warn_unused_result));


#endif /* MS_STORE_RESP_H */
