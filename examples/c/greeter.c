/*
 * greeter HOST:PORT: counts whom it has greeted, for one session at a time.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"
#include "greeter.pb-c.h"
#include "rpc/log.h"


static sessions_t  *sessions;
static int          count;              /* the state of the session */


static void
forget(void *data)
{
    (void) data;

    count = 0;
}


static char *
hello(rpc_call_t *call, const ProtobufCMessage *request)
{
    int                   len;
    char                 *text;
    const Greeter__Text  *who;

    who = (const Greeter__Text *) request;
    count++;

    len = snprintf(NULL, 0, "hello %s, number %d", who->text, count) + 1;
    text = rpc_call_alloc(call, (size_t) len);

    if (text == NULL) {
        rpc_call_fail(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }

    snprintf(text, (size_t) len, "hello %s, number %d", who->text, count);

    return text;
}


static void
greet(rpc_call_t *call, const ProtobufCMessage *request, void *data)
{
    Greeter__Text  answer = GREETER__TEXT__INIT;

    (void) data;

    if (sessions_enter(sessions, call, false, NULL, NULL) == -1) {
        return;
    }

    answer.text = hello(call, request);

    if (answer.text != NULL) {
        rpc_call_reply(call, &answer.base);
    }
}


static void
follow_tick(rpc_call_t *call, void *data)
{
    char           text[32];
    Greeter__Text  answer = GREETER__TEXT__INIT;

    (void) data;

    snprintf(text, sizeof(text), "%d greeted", count);
    answer.text = text;

    /* -1: a slow reader has not taken the last one */
    (void) rpc_call_send(call, &answer.base, NULL, NULL);
    rpc_call_timer(call, 1000, follow_tick, NULL);
}


static void
follow(rpc_call_t *call, const ProtobufCMessage *request, void *data)
{
    (void) request;

    if (sessions_enter(sessions, call, true, NULL, NULL) == 0) {
        follow_tick(call, data);
    }
}


static void
chat_sent(rpc_call_t *call, void *data)
{
    (void) data;

    (void) rpc_call_next(call);
}


/* Runs for each message of the client, and with NULL after the last one. */

static void
chat(rpc_call_t *call, const ProtobufCMessage *request, void *data)
{
    Greeter__Text  answer = GREETER__TEXT__INIT;

    (void) data;

    if (rpc_call_data(call) == NULL) {
        if (sessions_enter(sessions, call, true, NULL, NULL) == -1) {
            return;
        }

        rpc_call_set_data(call, &count);
    }

    if (request == NULL) {
        rpc_call_fail(call, GRPC_STATUS_OK, NULL);
        return;
    }

    answer.text = hello(call, request);

    if (answer.text != NULL
        && rpc_call_send(call, &answer.base, chat_sent, NULL) == -1)
    {
        rpc_call_fail(call, GRPC_STATUS_INTERNAL, "cannot send");
    }
}


static void
leave(rpc_call_t *call, const ProtobufCMessage *request, void *data)
{
    Greeter__Text  answer = GREETER__TEXT__INIT;

    (void) request;
    (void) data;

    if (sessions_enter(sessions, call, false, NULL, NULL) == 0) {
        sessions_release(sessions, call);
        answer.text = (char *) "bye";
        rpc_call_reply(call, &answer.base);
    }
}


int
main(int argc, char **argv)
{
    int                                rc;
    const char                        *grace;
    rpc_run_t                         *run;
    rpc_server_t                      *server;
    sessions_options_t                 options;
    const ProtobufCServiceDescriptor  *api;

    if (argc != 2) {
        fprintf(stderr, "usage: greeter HOST:PORT\n");
        return 2;
    }

    log_open("greeter", LOG_LEVEL_INFO);

    grace = getenv("GRACE");
    memset(&options, 0, sizeof(options));
    options.listen = argv[1];
    options.service = "greeter.Greeter";
    options.ttl = 30 * 60 * 1000;
    options.grace = grace != NULL ? atoi(grace) * 1000 : 30000;
    options.end = forget;

    api = &greeter__greeter__descriptor;
    run = rpc_run_create();
    server = rpc_server_create(NULL);
    sessions = run != NULL && server != NULL
               ? sessions_create(run, server, &options) : NULL;
    rc = -1;

    if (sessions != NULL
        && rpc_server_unary(server, api, "Greet", greet, NULL) == 0
        && rpc_server_stream(server, api, "Follow", follow, NULL) == 0
        && rpc_server_bidi(server, api, "Chat", chat, NULL) == 0
        && rpc_server_unary(server, api, "Leave", leave, NULL) == 0)
    {
        rc = sessions_run(sessions);
    }

    rpc_server_free(server);
    sessions_free(sessions);
    rpc_run_free(run);

    return rc == 0 ? 0 : 1;
}
