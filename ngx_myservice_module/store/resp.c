/*
 * The Redis protocol of one connection: requests, and who waits for answers.
 */

#include "store/resp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define MS_RESP_OUT_MIN   4096
#define MS_RESP_OUT_KEEP  65536         /* bytes that stay allocated */
#define MS_RESP_RING_MIN  64

/* bytes of "$18446744073709551615\r\n" or "*...", and of the end of a text */
#define MS_RESP_HEAD      32


/* hiredis has changed the type of this length, but not what it means */

#if (HIREDIS_MAJOR < 1)
typedef int     ms_resp_count_t;
#else
typedef size_t  ms_resp_count_t;
#endif


static uint8_t *ms_resp_room(ms_resp_t *resp, size_t n);
static int ms_resp_grow_ring(ms_resp_t *resp);
static ms_resp_asked_t ms_resp_next(ms_resp_t *resp);
static void *ms_resp_array(const redisReadTask *task, ms_resp_count_t n);


static redisReplyObjectFunctions  ms_resp_functions;
static void *(*ms_resp_hiredis_array)(const redisReadTask *task,
    ms_resp_count_t n);


int
ms_resp_open(ms_resp_t *resp, void *owner)
{
    resp->owner = owner;
    resp->reader = redisReaderCreate();

    if (resp->reader == NULL) {
        return -1;
    }

    if (ms_resp_hiredis_array == NULL) {
        ms_resp_functions = *resp->reader->fn;
        ms_resp_hiredis_array = ms_resp_functions.createArray;
        ms_resp_functions.createArray = ms_resp_array;
    }

    resp->reader->fn = &ms_resp_functions;

    return 0;
}


/* hiredis would allocate whatever the server says */

static void *
ms_resp_array(const redisReadTask *task, ms_resp_count_t n)
{
    return n > MS_RESP_ARRAY_MAX ? NULL : ms_resp_hiredis_array(task, n);
}


void
ms_resp_close(ms_resp_t *resp)
{
    size_t            n;
    ms_resp_asked_t   asked;

    if (resp->reader == NULL) {
        return;
    }

    redisReaderFree(resp->reader);
    resp->reader = NULL;

    free(resp->out);
    resp->out = NULL;
    resp->len = 0;
    resp->sent = 0;
    resp->size = 0;
    resp->partial = 0;

    /* the connection is closed: the handlers can add no other */

    for (n = resp->asked; n > 0; n--) {
        asked = ms_resp_next(resp);
        asked.handler(resp->owner, NULL, asked.data);
    }

    free(resp->ring);
    resp->ring = NULL;
    resp->ring_size = 0;
}


void
ms_resp_begin(ms_resp_t *resp, unsigned args)
{
    uint8_t  *p;

    resp->mark = resp->len;
    resp->args = args;
    resp->failed = resp->reader == NULL;

    p = ms_resp_room(resp, MS_RESP_HEAD);

    if (p != NULL) {
        resp->len += (size_t) snprintf((char *) p, MS_RESP_HEAD, "*%u\r\n",
                                       args);
    }
}


void
ms_resp_text(ms_resp_t *resp, const void *data, size_t len)
{
    uint8_t  *p;

    p = ms_resp_room(resp, len + MS_RESP_HEAD);

    if (p == NULL || resp->args == 0) {
        resp->failed = 1;
        return;
    }

    resp->args--;

    p += snprintf((char *) p, MS_RESP_HEAD, "$%zu\r\n", len);

    if (len > 0) {
        memcpy(p, data, len);
        p += len;
    }

    *p++ = '\r';
    *p++ = '\n';

    resp->len = (size_t) (p - resp->out);
}


void
ms_resp_word(ms_resp_t *resp, const char *word)
{
    ms_resp_text(resp, word, strlen(word));
}


void
ms_resp_number(ms_resp_t *resp, uint64_t n)
{
    char  text[24];

    ms_resp_text(resp, text, (size_t) snprintf(text, sizeof(text), "%llu",
                                               (unsigned long long) n));
}


int
ms_resp_ask(ms_resp_t *resp, ms_resp_pt handler, void *data)
{
    ms_resp_asked_t  *asked;

    if (resp->reader == NULL || resp->failed || resp->args != 0
        || (resp->asked == resp->ring_size && ms_resp_grow_ring(resp) != 0))
    {
        resp->len = resp->mark;
        return -1;
    }

    asked = &resp->ring[(resp->head + resp->asked) & (resp->ring_size - 1)];
    asked->handler = handler;
    asked->data = data;
    resp->asked++;

    return 0;
}


/* NULL if there is none: then the question has failed */

static uint8_t *
ms_resp_room(ms_resp_t *resp, size_t n)
{
    size_t    size;
    uint8_t  *p;

    if (resp->failed) {
        return NULL;
    }

    if (n > MS_RESP_OUT_MAX - resp->len) {
        resp->failed = 1;
        return NULL;
    }

    if (resp->len + n > resp->size) {
        size = resp->size > 0 ? resp->size : MS_RESP_OUT_MIN;

        while (size < resp->len + n) {
            size *= 2;
        }

        p = realloc(resp->out, size);

        if (p == NULL) {
            resp->failed = 1;
            return NULL;
        }

        resp->out = p;
        resp->size = size;
    }

    return resp->out + resp->len;
}


static int
ms_resp_grow_ring(ms_resp_t *resp)
{
    size_t            i, size;
    ms_resp_asked_t  *ring;

    size = resp->ring_size > 0 ? resp->ring_size * 2 : MS_RESP_RING_MIN;

    if (size > MS_RESP_ASKED_MAX) {
        return -1;
    }

    ring = malloc(size * sizeof(ms_resp_asked_t));

    if (ring == NULL) {
        return -1;
    }

    for (i = 0; i < resp->asked; i++) {
        ring[i] = resp->ring[(resp->head + i) & (resp->ring_size - 1)];
    }

    free(resp->ring);
    resp->ring = ring;
    resp->ring_size = size;
    resp->head = 0;

    return 0;
}


static ms_resp_asked_t
ms_resp_next(ms_resp_t *resp)
{
    ms_resp_asked_t  asked;

    asked = resp->ring[resp->head];
    resp->head = (resp->head + 1) & (resp->ring_size - 1);
    resp->asked--;

    return asked;
}


void
ms_resp_wrote(ms_resp_t *resp, size_t n)
{
    resp->sent += n;

    if (resp->sent < resp->len) {
        return;
    }

    resp->sent = 0;
    resp->len = 0;

    if (resp->size > MS_RESP_OUT_KEEP) {
        free(resp->out);
        resp->out = NULL;
        resp->size = 0;
    }
}


ms_resp_e
ms_resp_feed(ms_resp_t *resp, const void *data, size_t len)
{
    void             *reply;
    ms_resp_asked_t   asked;

    if (resp->reader == NULL) {
        return MS_RESP_CLOSED;
    }

    resp->partial += len;

    if (redisReaderFeed(resp->reader, data, len) != REDIS_OK) {
        return MS_RESP_NO_MEMORY;
    }

    for ( ;; ) {
        reply = NULL;

        if (redisReaderGetReply(resp->reader, &reply) != REDIS_OK) {
            return MS_RESP_PROTOCOL;
        }

        if (reply == NULL) {
            return resp->partial > MS_RESP_REPLY_MAX ? MS_RESP_PROTOCOL
                                                     : MS_RESP_OK;
        }

        resp->partial = 0;

        if (resp->asked == 0) {
            freeReplyObject(reply);
            return MS_RESP_UNASKED;
        }

        asked = ms_resp_next(resp);
        asked.handler(resp->owner, reply, asked.data);
        freeReplyObject(reply);

        if (resp->reader == NULL) {
            return MS_RESP_CLOSED;
        }
    }
}


const redisReply *
ms_resp_element(const redisReply *reply, size_t i)
{
    if (reply->type != REDIS_REPLY_ARRAY || i >= reply->elements
        || reply->element[i] == NULL
        || reply->element[i]->type != REDIS_REPLY_STRING)
    {
        return NULL;
    }

    return reply->element[i];
}


int
ms_resp_value(const redisReply *reply, uint64_t *n)
{
    char      *end;
    uint64_t   value;

    if (reply == NULL) {
        return -1;
    }

    if (reply->type == REDIS_REPLY_INTEGER && reply->integer >= 0) {
        *n = (uint64_t) reply->integer;
        return 0;
    }

    if (reply->type != REDIS_REPLY_STRING || reply->len == 0
        || reply->str[0] < '0' || reply->str[0] > '9')
    {
        return -1;
    }

    errno = 0;
    value = strtoull(reply->str, &end, 10);

    if (errno != 0 || end != reply->str + reply->len) {
        return -1;
    }

    *n = value;

    return 0;
}
