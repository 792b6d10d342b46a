/*
 * Instances that the gateway on 127.0.0.1:8080 finds by a name: "app.test" of
 * the name server on 127.0.0.1:8119.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <check.h>

#include "client.h"
#include "dns.h"
#include "fake.h"
#include "harness.h"
#include "resolved.h"


dns_t *
resolved_start(int n, const char *addresses)
{
    int     i;
    char    address[16];
    dns_t  *dns;

    static const char *const  names[] = { "two", "three", "four", "five" };

    dns = dns_start(8119);
    dns_addresses(dns, "app.test", addresses, 1);

    for (i = 0; i < n; i++) {
        snprintf(address, sizeof(address), "127.0.0.%d", 2 + i);
        (void) fake_start_at(address, 8081, names[i], fake_ok);
    }

    return dns;
}


void
resolved_echo_at(const char *session, const char *pod)
{
    client_call_t  *call;

    call = echo_once(session);
    client_assert(call, 0, "");
    ck_assert_str_eq(client_pod(call, 0), pod);
}


unsigned
resolved_questions(dns_t *dns, const char *name, long long ms)
{
    unsigned   n;
    long long  since;

    n = dns_questions(dns, name);
    since = harness_now();

    while (harness_now() - since < ms) {
        harness_pause(since, "time");
    }

    return dns_questions(dns, name) - n;
}


void
resolved_by_one(dns_t *dns, const char *name)
{
    unsigned   n;
    long long  since;

    since = harness_now();
    n = resolved_questions(dns, name, 4000);
    ck_assert_uint_le(n, 1 + (harness_now() - since) / 2000);
}


unsigned
resolved_logged(const char *text)
{
    char      *log, *p;
    unsigned   n;

    log = harness_read("error.log");

    for (n = 0, p = log; (p = strstr(p, text)) != NULL; p++) {
        n++;
    }

    free(log);

    return n;
}


unsigned
resolved_warnings(void)
{
    char      *log, *line, *save;
    unsigned   n;

    log = harness_read("error.log");
    n = 0;

    for (line = strtok_r(log, "\n", &save);
         line != NULL;
         line = strtok_r(NULL, "\n", &save))
    {
        n += strstr(line, "[warn]") != NULL
             && strstr(line, "name is ") != NULL;
    }

    free(log);

    return n;
}
