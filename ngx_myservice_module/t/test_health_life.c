/*
 * Instances that come, go and fail between two probes, and calls that meet
 * them.
 */

#include <arpa/inet.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "dns.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "instance.h"
#include "resolved.h"
#include "status.h"


#define CONF(upstream)                                                        \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format life 'decision=$myservice_decision '\n"                   \
    "        'session=$myservice_session';\n"                                 \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        myservice_release MyServiceShutdown;\n"                          \
    upstream                                                                  \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log life;\n"                           \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "    }\n"                                                                 \
    STATUS_SERVER                                                             \
    "}\n"

/* TLS for another upstream is not for this one */
#define BESIDE_TLS                                                            \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    FAST ONE                                                                  \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        location /other { grpc_pass grpcs://127.0.0.1:8099; }\n"         \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "    }\n"                                                                 \
    STATUS_SERVER                                                             \
    "}\n"

#define FAST  "myservice_health interval=200ms timeout=1s;\n"
#define ONE   "server 127.0.0.1:8081;\n"
#define TWO   ONE "server 127.0.0.1:8082;\n"
#define HERE  "127.0.0.1"


static dns_t        *dns;
static atomic_uint   checks;
static atomic_uint   checked;           /* before Shutdown */
static atomic_bool   silent;


static bool
is_check(fake_call_t *call)
{
    return strcmp(call->path, "/grpc.health.v1.Health/Check") == 0;
}


/* knows nothing of telling sessions */
static void
serve(fake_call_t *call)
{
    if (!is_check(call)) {

        if (strcmp(call->path, SHUTDOWN) == 0) {
            atomic_store(&checked, atomic_load(&checks));
        }

        fake_ok(call);
        return;
    }

    atomic_fetch_add(&checks, 1);
    fake_health(call, 1);
}


/* reports that it has no session */
static void
serve_free(fake_call_t *call)
{
    if (!is_check(call)) {
        fake_ok(call);
        return;
    }

    call->more[0][0] = "session-calls";
    call->more[0][1] = "0";
    fake_health(call, 1);
}


/* the same, and does not serve */
static void
serve_nobody(fake_call_t *call)
{
    if (is_check(call)) {
        serve_free(call);

    } else if (!atomic_load(&silent)) {
        fake_refuse(call, 7, "Server session is not set");
    }
}


static void
await_checks(unsigned n)
{
    long long  since;

    since = harness_now();

    while (atomic_load(&checks) < n) {
        harness_pause(since, "checks");
    }
}


/* lines of the access log with "text" */
static unsigned
logged(const char *text)
{
    char      *log, *p;
    unsigned   n;

    log = harness_read("access.log");
    n = 0;

    for (p = strstr(log, text); p != NULL; p = strstr(p + 1, text)) {
        n++;
    }

    free(log);

    return n;
}


/* successes from before it left do not count */
START_TEST(life_passes_after_release)
{
    (void) fake_start(8081, "one", serve);
    gateway_start(CONF("myservice_health interval=100ms passes=4;\n" ONE));
    await_checks(6);

    client_assert(echo_once("s1"), 0, "");
    client_assert(shutdown_get(client_open(harness_port(8080)), "s1"), 0, "");
    status_await(status_member(HERE, 8081, "free"));
    ck_assert_uint_ge(atomic_load(&checks) - atomic_load(&checked), 4);
}
END_TEST


/* the report of an instance is not about the others */
START_TEST(life_tells_for_itself)
{
    client_call_t  *call;

    (void) fake_start(8081, "one", serve);
    gateway_start(CONF(FAST ONE));
    client_assert(echo_once("s1"), 0, "");

    (void) fake_start(8082, "two", serve_free);
    gateway_reload(CONF(FAST TWO));
    status_await(status_member(HERE, 8082, "free"));
    await_checks(atomic_load(&checks) + 5);
    ck_assert(status_has(status_member(HERE, 8081, "leased")));

    call = echo_once("s2");
    client_assert(call, 0, "");
    ck_assert_str_eq(client_pod(call, 0), "two");
}
END_TEST


/* a worker died in a first call: no worker gives its claim back */
START_TEST(life_first_call_dies_with_worker)
{
    client_call_t  *call;

    atomic_store(&silent, true);
    (void) fake_start(8081, "one", serve_nobody);
    gateway_start(CONF(FAST ONE));

    call = echo_start(client_open(harness_port(8080)), "s1");
    client_assert_waits(call, 300);
    ck_assert(status_has(status_member(HERE, 8081, "tentative")));
    ck_assert(status_has("\"remaining_ms\":2"));
    gateway_kill_workers(1);
    atomic_store(&silent, false);

    client_assert(echo_once("s1"), 7, "Server session is not set");
    ck_assert(status_has(status_member(HERE, 8081, "tentative")));

    /* 30 s at most, not the idle time of half an hour */
    ck_assert(!status_has("\"remaining_ms\":1800"));
    ck_assert(!status_has("\"remaining_ms\":20"));
}
END_TEST


/* the instance is a new member, also in its former record */
START_TEST(life_returns)
{
    dns = dns_start(8119);
    dns_services(dns, SRVNAME, "1 1 8081 a.test,1 1 8082 a.test", 1);
    dns_addresses(dns, "a.test", HERE, 1);
    (void) fake_start(8081, "one", serve);
    (void) fake_start(8082, "two", serve);
    gateway_start(CONF(DNS SRV ";\n"
                       "myservice_health interval=1h mandatory;\n"));
    status_await(status_member(HERE, 8081, "free"));
    status_await(status_member(HERE, 8082, "free"));

    dns_services(dns, SRVNAME, "1 1 8082 a.test", 1);
    status_await_not(status_member(HERE, 8081, NULL));

    dns_services(dns, SRVNAME, "1 1 8081 a.test,1 1 8082 a.test", 1);
    status_await(status_member(HERE, 8081, "free"));
}
END_TEST


/* no instance whose report a call could wait for */
START_TEST(life_no_member)
{
    int        i;
    long long  since;

    dns = dns_start(8119);
    gateway_start(CONF(DNS APP ";\n"
                       "myservice_health interval=2s timeout=1h;\n"));
    status_await("\"failures\":3");

    for (i = 0; i < 3; i++) {
        since = harness_now();
        client_assert_refused(echo_once("s1"), 8, "no available instances");
        harness_within(since, 3000);
    }
}
END_TEST


/* members that a name adds during the first round are probed, too, before a
 * session gets an instance */
START_TEST(life_named_later)
{
    int             i;
    client_call_t  *call;
    const char     *owner, *conf;

    conf = CONF(DNS "myservice_resolve app.test:%%PORT_8082%%;\n"
                "myservice_health interval=2s timeout=5s;\n" ONE);

    dns = dns_start(8119);
    dns_addresses(dns, "app.test", HERE, 1);
    (void) fake_start(8081, "one", serve_free);
    (void) instance_start(8082, "i2", NULL);

    gateway_start(conf);
    status_await("\"free\":2");
    call = echo_once("a");
    client_assert(call, 0, "");
    owner = strcmp(client_pod(call, 0), "i2") == 0 ? "a" : "b";
    client_assert(echo_once("b"), 0, "");

    for (i = 0; i < 6; i++) {
        gateway_stop();
        gateway_start(conf);
        call = echo_once(owner);
        client_assert(call, 0, "");
        ck_assert_str_eq(client_pod(call, 0), "i2");
    }

    gateway_stop();
    ck_assert_uint_eq(logged("decision=REBUILT"), 6);
    ck_assert(!gateway_logged("onflict"));
}
END_TEST


START_TEST(life_beside_tls)
{
    (void) fake_start(8081, "one", serve);
    gateway_start(BESIDE_TLS);
    status_await("\"health\":\"serving\"");
}
END_TEST


static void
await_readable(int fd)
{
    struct pollfd  pfd = { .fd = fd, .events = POLLIN };

    ck_assert_int_eq(poll(&pfd, 1, 10000), 1);
}


/* "state" as in /proc/net/tcp, of connections to the port of this machine */
static bool
connection_is(int port, unsigned state)
{
    bool      found;
    char      line[256];
    FILE     *file;
    unsigned  to, is;

    found = false;
    file = fopen("/proc/net/tcp", "r");
    ck_assert_ptr_nonnull(file);

    while (fgets(line, sizeof(line), file) != NULL) {
        found |= sscanf(line, "%*s %*x:%*x %*x:%x %x", &to, &is) == 2
                 && to == (unsigned) port && is == state;
    }

    fclose(file);

    return found;
}


/* a gateway that was stopped while it connected has found nothing out */
START_TEST(life_gateway_stopped)
{
    int                 s, first;
    long long           since;
    struct sockaddr_in  sin = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t) harness_port(8081)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)
    };

    /* a queue that is full */

    s = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(s, (struct sockaddr *) &sin, sizeof(sin)), 0);
    ck_assert_int_eq(listen(s, 0), 0);
    first = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(first, (struct sockaddr *) &sin, sizeof(sin)),
                     0);

    gateway_start(CONF("myservice_health interval=200ms timeout=2s "
                       "fails=1;\n" ONE));
    since = harness_now();

    while (!connection_is(harness_port(8081), 2)) {
        harness_pause(since, "it connects");
    }

    since = harness_now();
    gateway_freeze(true);

    await_readable(s);
    ck_assert_int_ge(accept(s, NULL, NULL), 0);
    await_readable(s);
    ck_assert_int_ge(accept(s, NULL, NULL), 0);

    while (harness_now() < since + 3200) {
        usleep(10000);
    }

    since = harness_now();
    gateway_freeze(false);

    /* by the next check */

    status_await("\"state\":\"down\"");
    harness_lasted(since, 2000);
    ck_assert(gateway_logged("is down: timed out"));
    close(first);
    close(s);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("health, life");

    harness_add(suite, life_passes_after_release);
    harness_add(suite, life_tells_for_itself);
    harness_add(suite, life_first_call_dies_with_worker);
    harness_add(suite, life_returns);
    harness_add(suite, life_no_member);
    harness_add(suite, life_named_later);
    harness_add(suite, life_beside_tls);
    harness_add(suite, life_gateway_stopped);

    return harness_run(suite, argv[0]);
}
