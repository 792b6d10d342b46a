/*
 * Directives of one value: a wrong one is refused by a text that names the
 * directive, the value, and what is allowed.
 */

#include <stdio.h>
#include <string.h>

#include "gateway.h"
#include "harness.h"
#include "verdict.h"


/* a format: nginx's words have two "%" */
#define CONF                                                                  \
    "%%%%GLOBALS%%%%\nevents {}\nhttp {\n    %%%%GLOBALS_HTTP%%%%\n"          \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        server 127.0.0.1:8081;\n"                                        \
    "        %s\n"                                                            \
    "    }\n"                                                                 \
    "    %s\n"                                                                \
    "    server {\n        listen 127.0.0.1:8080 http2;\n"                    \
    "        location / { grpc_pass grpc://u; }\n    }\n}\n"


static const struct value_case {
    const char  *directive;
    int          http;                  /* stands in http, not in upstream */
    const char  *good[3];
    const char  *bad[6];
    const char  *expected;
} value_cases[] = {
    { "myservice_pushback", 0, { "0", "500ms", "1d" },
      { "-1s", "x", "off", "$x", "2d", "365d" }, "a time of 0s to 1d" },
    { "myservice_retry_timeout", 1, { "0", "1s", "1d" },
      { "-1s", "x", "off", "2d" }, "a time of 0s to 1d" },
    { "myservice_resolver_timeout", 0, { "100ms", "1d" },
      { "0", "x", "99ms", "2d" }, "a time of 100ms to 1d" },
    { "myservice_jwt_leeway", 1, { "0", "1s", "1d" },
      { "-1", "x", "1500ms", "2d" }, "a time of 0s to 1d" },
    { "myservice_replay_buffer", 1, { "0", "64k", "1024m" },
      { "-1", "x", "2g", "1025m" }, "a size of 0 to 1024m" },
    { "myservice_resume_buffer", 1, { "0", "1m", "1024m" },
      { "-1", "x", "2g", "1025m" }, "a size of 0 to 1024m" },
    { "myservice_moved", 0, { "allow", "fail" }, { "on", "x", "0" },
      "\"allow\" or \"fail\"" },
    { "myservice_session_ids", 1, { "plain", "hash" }, { "on", "x", "0" },
      "\"plain\" or \"hash\"" },
};


static const char *
value_conf(const struct value_case *c, const char *value, int times)
{
    char  line[256];

    static char  conf[1024];

    snprintf(line, sizeof(line), "%s %s;", c->directive, value);

    if (times == 2) {
        snprintf(line, sizeof(line), "%s %s; %s %s;", c->directive, value,
                 c->directive, value);
    }

    snprintf(conf, sizeof(conf), CONF, c->http ? "" : line,
             c->http ? line : "");

    return conf;
}


START_TEST(conf_value)
{
    char                      text[256];
    size_t                    j;
    const struct value_case  *c;

    c = &value_cases[_i];

    for (j = 0; j < sizeof(c->good) / sizeof(c->good[0]) && c->good[j]; j++) {
        accepted(value_conf(c, c->good[j], 1));
    }

    refused(value_conf(c, c->good[0], 2), "is duplicate");

    for (j = 0; j < sizeof(c->bad) / sizeof(c->bad[0]) && c->bad[j]; j++) {
        snprintf(text, sizeof(text), "\"%s\": invalid \"%s\", expected %s",
                 c->directive, c->bad[j], c->expected);
        refused(value_conf(c, c->bad[j], 1), text);
    }
}
END_TEST


/* wherever "events" stands; many an nginx has no other method than epoll */
START_TEST(conf_events)
{
    int          i, on;
    char         events[64], http[512], conf[1100];
    const char  *output;

    static const char *const  methods[] = { "select", "poll", "epoll" };

    for (i = 0; i < 12; i++) {
        on = i / 6;
        snprintf(events, sizeof(events), "events { use %s; }\n",
                 methods[i / 2 % 3]);
        snprintf(http, sizeof(http), "http {\n%%%%GLOBALS_HTTP%%%%\n"
                 "upstream v { server 127.0.0.1:8082; }\n"
                 "upstream u { server 127.0.0.1:8081; "
                 "myservice_multiplex %s; } }\n", on ? "on" : "off");
        snprintf(conf, sizeof(conf), "%%%%GLOBALS%%%%\n%s%s",
                 i % 2 ? events : http, i % 2 ? http : events);

        (void) gateway_test(conf, &output);

        if (strstr(output, "invalid event type") != NULL) {
            continue;
        }

        if (!on || i / 2 % 3 == 2) {
            accepted(conf);

        } else {
            refused(conf, "\"myservice_multiplex\" in upstream \"u\" does not "
                          "work with \"use ");
        }
    }
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("conf_values");
    harness_add_loop(suite, conf_value,
                     sizeof(value_cases) / sizeof(value_cases[0]));
    harness_add(suite, conf_events);

    return harness_run(suite, "test_conf_values");
}
