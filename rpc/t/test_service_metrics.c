/*
 * The listener of a service's metrics: what it answers, and that a client
 * cannot hold it.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>

#include "rpc/metrics.h"
#include "rpc/t/fixture.h"
#include "rpc/t/scrape.h"


static fixture_t       f;
static rpc_metrics_t  *metrics;
static int             written;


static void
echo(rpc_call_t *call, const ProtobufCMessage *request, void *data)
{
    MyService__EchoResponse  response;

    (void) request;
    (void) data;

    my_service__echo_response__init(&response);
    response.pod_name = (char *) "pod";
    rpc_call_reply(call, &response.base);
}


static void
subscribe(rpc_call_t *call, const ProtobufCMessage *request, void *data)
{
    (void) request;
    (void) data;

    rpc_call_fail(call, GRPC_STATUS_PERMISSION_DENIED, "no");
}


static void
write_more(FILE *out, void *data)
{
    rpc_metrics_family(out, "test_written", "gauge", "how often it ran");
    fprintf(out, "test_written %d\n", ++*(int *) data);
}


static void
start(void)
{
    char               error[512];
    fixture_methods_t  methods = { 0 };

    methods.echo = echo;
    methods.subscribe = subscribe;
    fixture_start(&f, &methods);

    written = 0;
    metrics = rpc_metrics_start(f.server, "127.0.0.1:0", write_more, &written,
                                error, sizeof(error));
    ck_assert_msg(metrics != NULL, "%s", error);
}


static void
stop(void)
{
    rpc_metrics_stop(metrics);
    fixture_stop(&f, 1000);
}


static const char *
get(const char *request)
{
    return scrape(rpc_metrics_port(metrics), request);
}


START_TEST(page)
{
    const char    *text;
    rpc_result_t   result;
    rpc_stream_t  *stream;

    start();

    fixture_response_free(fixture_echo(&f, "x", 5000, &result));
    rpc_result_free(&result);
    fixture_response_free(fixture_echo(&f, "x", 5000, &result));
    rpc_result_free(&result);
    stream = fixture_subscribe(&f, "x", 5000);
    ck_assert_ptr_null(rpc_stream_next(stream));
    rpc_stream_finish(stream, &result);
    rpc_result_free(&result);

    text = get(NULL);
    ck_assert_int_eq(strncmp(text, "HTTP/1.1 200 OK\r\n", 17), 0);
    scrape_has(text, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
    scrape_has(text, "\r\n\r\n# HELP grpc_server_handled_total ");
    scrape_has(text, "grpc_server_handled_total{grpc_service=\"my_service."
              "MyServiceAPI\",grpc_method=\"MyServiceEcho\",grpc_code=\"OK\"}"
              " 2\n");
    scrape_has(text, "grpc_method=\"MyServiceSubscribe\",grpc_code="
              "\"PermissionDenied\"} 1\n");
    scrape_has(text, "# TYPE test_written gauge\ntest_written 1\n");

    stop();
}
END_TEST


START_TEST(requests)
{
    start();

    scrape_has(get("GET /metrics?x=1 HTTP/1.0\r\n\r\n"), "test_written 1\n");
    scrape_has(get("GET / HTTP/1.1\r\n\r\n"), "HTTP/1.1 404 Not Found\r\n");
    scrape_has(get("GET /metricsx HTTP/1.1\r\n\r\n"), "HTTP/1.1 404 ");
    scrape_has(get("POST /metrics HTTP/1.1\r\n\r\n"), "HTTP/1.1 405 ");
    ck_assert_ptr_null(strstr(get("HEAD /metrics HTTP/1.1\r\n\r\n"), "TYPE"));
    scrape_has(get(NULL), "test_written 3\n");

    stop();
}
END_TEST


/* clients that send nothing, half a request, too much, or go away */
START_TEST(clients)
{
    int           fd;
    static char   long_request[65536];

    start();

    fd = scrape_connect(rpc_metrics_port(metrics));
    close(fd);
    scrape_has(get(NULL), "test_written 1\n");

    memset(long_request, 'a', sizeof(long_request) - 1);
    fd = scrape_connect(rpc_metrics_port(metrics));
    (void) send(fd, long_request, sizeof(long_request) - 1,
                MSG_NOSIGNAL|MSG_DONTWAIT);
    scrape_has(get(NULL), "test_written 2\n");
    close(fd);

    /* the next one waits until the time of this one is over */
    fd = scrape_connect(rpc_metrics_port(metrics));
    (void) send(fd, "GET /met", 8, MSG_NOSIGNAL);
    scrape_has(get(NULL), "test_written 3\n");
    close(fd);

    /* a client that hangs does not keep the service from its end */
    fd = scrape_connect(rpc_metrics_port(metrics));
    stop();
    close(fd);
}
END_TEST


START_TEST(times)
{
    char                *text;
    FILE                *out;
    size_t               len;
    static rpc_times_t   t;

    rpc_times_add(&t, 0);
    rpc_times_add(&t, 5);
    rpc_times_add(&t, 6);
    rpc_times_add(&t, 70000);

    out = open_memstream(&text, &len);
    rpc_metrics_times(out, "x_seconds", "a time", &t);
    fclose(out);

    scrape_has(text, "# HELP x_seconds a time\n# TYPE x_seconds histogram\n"
              "x_seconds_bucket{le=\"0.005\"} 2\n"
              "x_seconds_bucket{le=\"0.010\"} 3\n");
    scrape_has(text, "x_seconds_bucket{le=\"10.000\"} 3\n"
              "x_seconds_bucket{le=\"+Inf\"} 4\n"
              "x_seconds_sum 70.011\n"
              "x_seconds_count 4\n");
    free(text);
}
END_TEST


START_TEST(addresses)
{
    char    error[512], address[32];
    size_t  i;

    static const char *const  bad[] = {
        "", ":", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536",
        "127.0.0.1:1x", ":9101", "unix:/tmp/x", "256.1.1.1:0"
    };

    start();

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_ptr_null(rpc_metrics_start(f.server, bad[i], NULL, NULL,
                                             error, sizeof(error)));
        scrape_has(error, "cannot serve metrics on ");
        scrape_has(error, "expected host:port");
    }

    snprintf(address, sizeof(address), "127.0.0.1:%d",
             rpc_metrics_port(metrics));
    ck_assert_ptr_null(rpc_metrics_start(f.server, address, NULL, NULL, error,
                                         sizeof(error)));
    scrape_has(error, "in use");

    stop();
}
END_TEST


int
main(void)
{
    int       failed;
    TCase    *tcase;
    Suite    *suite;
    SRunner  *runner;

    suite = suite_create("service_metrics");
    tcase = tcase_create("service_metrics");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, page);
    tcase_add_test(tcase, requests);
    tcase_add_test(tcase, clients);
    tcase_add_test(tcase, times);
    tcase_add_test(tcase, addresses);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
