/* nginx looks for browsers in "user-agent", but not in that of a gRPC client. */

#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "gateway.h"
#include "harness.h"


#define CONF                                                                  \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format agent '$uri $status \"$http_user_agent\"';\n"             \
    "    access_log %%DIR%%/agent.log agent;\n"                               \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        location / { return 404; }\n"                                    \
    "    }\n"                                                                 \
    "}\n"


/* whether nginx has filled its page up, as it does for some browsers */
static bool
padded(client_t *client, const char *path, const char *agent)
{
    client_call_t   *call;
    client_header_t  get[3] = { { ":method", "GET" } };

    static const char  text[] = "a padding to disable";

    if (agent) {
        get[1].name = "user-agent";
        get[1].value = agent;
    }

    call = client_request(client, path, get, NULL, 0, false);
    client_wait(call);
    ck_assert_int_eq(call->http, 404);

    return memmem(call->body, call->len, text, sizeof(text) - 1) != NULL;
}


static void
all(void)
{
    client_t  *client;

    client = client_open(harness_port(8080));

    ck_assert(padded(client, "/browser", "Mozilla/5.0 Chrome/130"));
    ck_assert(padded(client, "/msie", "MSIE 9.0; Windows"));
    ck_assert(!padded(client, "/other", "curl/8.0"));
    ck_assert(!padded(client, "/none", NULL));
    ck_assert(!padded(client, "/short", "grpc"));
    ck_assert(!padded(client, "/grpc", "grpc-go/1.60 Chrome/130"));
    ck_assert(padded(client, "/behind", "Chrome/130 grpc-go/1.60"));

    client_close(client);
}


/* Each configuration has a handler of its own, of the same nginx. */
START_TEST(browsers)
{
    gateway_start(CONF);
    all();
    gateway_reload(CONF);
    all();
    gateway_reload(CONF);
    all();

    ck_assert(harness_contains("agent.log",
                               "/grpc 404 \"grpc-go/1.60 Chrome/130\"\n"));
    ck_assert(harness_contains("agent.log", "/short 404 \"grpc\"\n"));
    ck_assert(harness_contains("agent.log", "/none 404 \"-\"\n"));
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("user_agent");
    harness_add(suite, browsers);

    return harness_run(suite, argv[0]);
}
