/* myservice_dashboard: the page, and what its policy allows. The page itself is
 * tested in a browser: scripts/check-dashboard. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "gateway.h"
#include "harness.h"


#define CONF(parameters)                                                      \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        location = / { myservice_dashboard " parameters "; }\n"          \
    "    }\n"                                                                 \
    "}\n"


static client_call_t *
page(const char *method)
{
    client_call_t    *c;
    client_header_t   headers[2] = { { ":method", method }, { NULL, NULL } };

    c = client_request(client_open(harness_port(8080)), "/", headers, NULL, 0,
                       false);
    client_wait(c);

    return c;
}


static bool
body_has(const client_call_t *c, const char *text)
{
    return memmem(c->body, c->len, text, strlen(text)) != NULL;
}


START_TEST(dashboard_page)
{
    client_call_t  *c;

    gateway_start(CONF("api=/operator/api/"));
    c = page("GET");
    ck_assert_int_eq(c->http, 200);
    ck_assert_str_eq(c->type, "text/html; charset=utf-8");
    ck_assert(body_has(c, "<!DOCTYPE html>\n"));
    ck_assert(body_has(c, "<meta name=\"api\" content=\"/operator/api/\">\n"));
    ck_assert_ptr_nonnull(memmem((char *) c->body + c->len - 9, 9, "</html>\n",
                                 8));

    /* nothing of another server */
    ck_assert(!body_has(c, "http://"));
    ck_assert(!body_has(c, "https://"));

    ck_assert_uint_eq(page("HEAD")->len, 0);
    ck_assert_int_eq(page("POST")->http, 405);
}
END_TEST


START_TEST(dashboard_conf)
{
    size_t       i;
    const char  *output;

    static const char *const  wrong[] = {
        CONF("api="), CONF("api=api/"), CONF("api=/api"),
        CONF("api=/<script>/"), CONF("'api=/\"/'"), CONF("x=1")
    };

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        ck_assert_int_ne(gateway_test(wrong[i], &output), 0);
    }

    ck_assert_int_eq(gateway_test(CONF(""), &output), 0);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("dashboard");
    harness_add(suite, dashboard_page);
    harness_add(suite, dashboard_conf);

    return harness_run(suite, "test_dashboard");
}
