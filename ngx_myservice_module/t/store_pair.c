#include "store_pair.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "store_server.h"


pid_t          pair_server;
redisContext  *pair_store;


void
pair_begin(const char *conf)
{
    pair_server = store_server_start(harness_port(PAIR_STORE), NULL);
    pair_store = store_server_connect();
    (void) fake_start(8082, "one", fake_ok);
    (void) fake_start(8083, "two", fake_ok);
    gateway_start(conf);
}


void
pair_again(void)
{
    redisFree(pair_store);
    pair_server = store_server_start(harness_port(PAIR_STORE), NULL);
    pair_store = store_server_connect();
}


const char *
pair_path(const char *upstream, int number)
{
    static char  path[128];

    snprintf(path, sizeof(path), "/api/1/upstreams/%s/instances/127.0.0.1:%d",
             upstream, harness_port(number));

    return path;
}


const char *
pair_record(int number)
{
    char         name[32];
    redisReply  *r;

    static char  copy[256];

    snprintf(name, sizeof(name), "127.0.0.1:%d", harness_port(number));
    r = store_server_ask(pair_store, (const char *[]) { "HGET", "{u}:i", name,
                                                        NULL });
    snprintf(copy, sizeof(copy), "%s",
             r->type == REDIS_REPLY_STRING ? r->str : "");
    freeReplyObject(r);

    return copy;
}


void
pair_await_record(int number, const char *text)
{
    long long  since;

    since = harness_now();

    while (strstr(pair_record(number), text) == NULL) {
        harness_pause(since, text);
    }
}


void
pair_call(int port, const char *session)
{
    client_t       *client;
    long long       since;
    client_call_t  *c;

    client = client_open(harness_port(port));
    since = harness_now();

    for ( ;; ) {
        c = echo_get(client, session);

        if (c->grpc == 0) {
            return;
        }

        harness_pause(since, "the session has no instance");
    }
}
