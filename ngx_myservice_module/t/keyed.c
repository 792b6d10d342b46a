/*
 * A gateway on 127.0.0.1:8080 that checks tokens: it fetches the keys from
 * the issuer, or reads them from files.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "keyed.h"
#include "token.h"


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


void
keyed_rename(const char *name)
{
    char  path[4096];

    snprintf(path, sizeof(path), "%s", harness_path("new"));
    ck_assert_int_eq(rename(path, harness_path(name)), 0);
}


void
keyed_put(const char *name, const char *text)
{
    harness_file("new", text, strlen(text));
    keyed_rename(name);
}


void
keyed_await(const char *text, int status)
{
    long long  since;

    since = harness_now();

    while (keyed_call(text)->grpc != status) {
        harness_pause(since, "the keys change");
    }
}


unsigned
keyed_logged(const char *text, const char *file)
{
    char      *log, *line, *save, name[64];
    unsigned   n;

    snprintf(name, sizeof(name), "/%s\"", file != NULL ? file : "");
    log = harness_read("error.log");
    n = 0;

    for (line = strtok_r(log, "\n", &save);
         line != NULL;
         line = strtok_r(NULL, "\n", &save))
    {
        n += strstr(line, text) != NULL
             && (file == NULL || strstr(line, name) != NULL);
    }

    free(log);

    return n;
}


void
keyed_await_logged(const char *text, const char *file)
{
    long long  since;

    since = harness_now();

    while (keyed_logged(text, file) == 0) {
        harness_pause(since, text);
    }
}
