#include <stdio.h>
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


client_call_t *
resolved_echo(const char *session)
{
    return echo_get(client_open(harness_port(8080)), session);
}


void
resolved_echo_at(const char *session, const char *pod)
{
    client_call_t  *call;

    call = resolved_echo(session);
    client_assert(call, 0, "");
    ck_assert_str_eq(client_pod(call, 0), pod);
}
