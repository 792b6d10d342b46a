#include <stddef.h>

#include "client.h"
#include "fake.h"
#include "harness.h"
#include "keyed.h"


#define CLAIMS  "{\"session_id\":\"s1\",\"iat\":1,\"exp\":32503680000}"


static client_t  *client;


void
keyed_start(const char *conf)
{
    (void) fake_start(8081, "one", fake_ok);
    gateway_start(conf);
    keyed_open();
}


void
keyed_open(void)
{
    client = client_open(harness_port(8080));
}


const char *
keyed_token(const char *kid, const char *secret)
{
    return token_sign_kid(CLAIMS, "HS256", secret, kid);
}


client_call_t *
keyed_begin(const char *token)
{
    return client_grpc(client, ECHO, token, "s1", "", 0);
}


client_call_t *
keyed_call(const char *token)
{
    client_call_t  *call;

    call = keyed_begin(token);
    client_wait(call);

    return call;
}
