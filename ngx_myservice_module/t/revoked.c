/* Revoked tokens in tests. */

#include "revoked.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness.h"
#include "token.h"


const char *
revoked_token(const char *jti, const int *iat)
{
    int     n;
    char    claims[512];
    time_t  now;

    now = time(NULL);
    n = snprintf(claims, sizeof(claims),
                 "{\"iss\":\"me\",\"sub\":\"ann\",\"session_id\":\"s1\","
                 "\"exp\":%lld", (long long) now + 3600);

    if (jti != NULL) {
        n += snprintf(claims + n, sizeof(claims) - (size_t) n,
                      ",\"jti\":\"%s\"", jti);
    }

    if (iat != NULL) {
        n += snprintf(claims + n, sizeof(claims) - (size_t) n,
                      ",\"iat\":%lld", (long long) now + *iat);
    }

    snprintf(claims + n, sizeof(claims) - (size_t) n, "}");

    return token_sign(claims, "HS256", TOKEN_SECRET);
}


client_call_t *
revoked_call(client_t *client, const char *token)
{
    client_call_t  *c;

    c = client_grpc(client, ECHO, token, "s1", "\x0a\x05hello", 7);
    client_wait(c);

    return c;
}


client_call_t *
revoked_once(const char *token)
{
    return revoked_call(client_open(harness_port(8080)), token);
}


/* the line of the call's answer that names the worker, "" if there is none */
static void
worker(client_call_t *call, char *line, size_t size)
{
    const char  *p;

    p = strstr(call->fields, "x-worker: ");
    snprintf(line, size, "%.*s", p != NULL ? (int) strcspn(p, "\n") : 0,
             p != NULL ? p : "");
}


void
revoked_workers(client_t *clients[2], const char *token)
{
    char           first[64], line[64];
    client_t      *client;
    long long      since;
    client_call_t *call;

    since = harness_now();
    clients[0] = client_open(harness_port(8080));
    call = revoked_call(clients[0], token);
    client_assert(call, 0, "");
    worker(call, first, sizeof(first));
    ck_assert_str_ne(first, "");

    for ( ;; ) {
        client = client_open(harness_port(8080));
        call = revoked_call(client, token);
        client_assert(call, 0, "");
        worker(call, line, sizeof(line));

        if (strcmp(line, first) != 0) {
            clients[1] = client;
            return;
        }

        harness_pause(since, "a connection to the other worker");
    }
}


json_t *
revoked_post(int status, const char *format, ...)
{
    char     body[2048];
    va_list  args;

    va_start(args, format);
    vsnprintf(body, sizeof(body), format, args);
    va_end(args);

    return api_ask("POST", "/api/1/revocations", REVOCATIONS, api_change, body,
                   status);
}


long
revoked_total(void)
{
    long     total;
    json_t  *answer;

    answer = api_ask("GET", "/api/1/revocations", REVOCATIONS, NULL, NULL,
                     200);
    total = (long) json_integer_value(json_object_get(answer, "total"));
    json_decref(answer);

    return total;
}
