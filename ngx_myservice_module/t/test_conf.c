/*
 * Configurations that nginx -t must refuse, each with a text that tells the
 * operator what to change, and beside them the ones that must pass.
 */

#include <stdio.h>
#include <string.h>

#include "harness.h"


#define CONF(upstream, location)                                              \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream u {\n" upstream "    }\n"                                   \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        location / {\n" location                                         \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define SESSIONS   "myservice_sessions $myservice_session zone=u:1m;\n"
#define SERVER     "server 127.0.0.1:8081;\n"
#define JWT        "myservice_jwt on;\n"                                      \
                   "myservice_jwt_secret_file %%DIR%%/secret;\n"


#define DEPRECATED  "[warn] the \"listen ... http2\" directive is deprecated"


/* "text" is what the refusal must name. */
static void
refused(const char *conf, const char *text)
{
    int          code;
    const char  *output;

    code = gateway_test(conf, &output);
    ck_assert_msg(code == 1, "exit code %d, expected 1 with \"%s\": %s", code,
                  text, output);
    ck_assert_msg(strstr(output, "[emerg]") != NULL, "no [emerg]: %s", output);
    ck_assert_msg(strstr(output, text) != NULL, "no \"%s\" in: %s", text,
                  output);
}


/* nginx 1.22 knows only the form of "listen" that later ones warn of */
static void
accepted(const char *conf)
{
    int          code;
    const char  *output, *p;

    code = gateway_test(conf, &output);
    ck_assert_msg(code == 0, "exit code %d: %s", code, output);

    for (p = output; (p = strstr(p, "[warn]")) != NULL; p++) {
        ck_assert_msg(strncmp(p, DEPRECATED, sizeof(DEPRECATED) - 1) == 0,
                      "warns: %s", p);
    }
}


START_TEST(conf_accepted)
{
    accepted(CONF(SESSIONS SERVER, ""));
    accepted(CONF(SESSIONS SERVER "keepalive 8;\n", JWT));
    accepted(CONF("myservice_sessions $http_x zone=u:1m ttl=10m lifetime=1d "
                  "expires=$myservice_jwt_expires;\n"
                  "myservice_release MyServiceShutdown /a.B/C a.B/D;\n"
                  "server 127.0.0.1:8081 fail_timeout=3s;\n"
                  "server 127.0.0.1:8082 down;\n",
                  JWT
                  "myservice_grpc_errors on;\n"
                  "myservice_jwt_leeway 5s;\n"
                  "myservice_jwt_session_claim sid;\n"
                  "myservice_retry MyServiceEcho;\n"
                  "myservice_replay_buffer 128k;\n"));
}
END_TEST


START_TEST(conf_zone)
{
    refused(CONF("myservice_sessions $myservice_session;\n" SERVER, ""),
            "zone");
    refused(CONF("myservice_sessions $myservice_session zone=u;\n" SERVER, ""),
            "zone");
    refused(CONF("myservice_sessions $myservice_session zone=:1m;\n" SERVER,
                 ""), "zone");
    refused(CONF("myservice_sessions $myservice_session zone=u:0;\n" SERVER,
                 ""), "zone");
    refused(CONF("myservice_sessions $myservice_session zone=u:x;\n" SERVER,
                 ""), "zone");
    refused(CONF("myservice_sessions $myservice_session zone=u:4k;\n" SERVER,
                 ""), "expected at least");
}
END_TEST


/* a zone that has no room for the servers that are configured */
START_TEST(conf_zone_full)
{
    int     i;
    char    conf[16384];
    size_t  n;

    n = (size_t) snprintf(conf, sizeof(conf), "%s",
                          "%%GLOBALS%%\n"
                          "events {}\n"
                          "http {\n"
                          "    upstream u {\n"
                          "        myservice_sessions $myservice_session "
                          "zone=u:32k;\n");

    for (i = 1; i <= 250; i++) {
        n += (size_t) snprintf(conf + n, sizeof(conf) - n,
                               "server 127.0.1.%d:5101;\n", i);
    }

    snprintf(conf + n, sizeof(conf) - n, "}\n}\n");

    refused(conf, "zone");
}
END_TEST


START_TEST(conf_zone_twice)
{
    refused("%%GLOBALS%%\n"
            "events {}\n"
            "http {\n"
            "    upstream a { " SESSIONS SERVER " }\n"
            "    upstream b { " SESSIONS SERVER " }\n"
            "}\n", "\"u\"");
}
END_TEST


/* only the grpc module can be followed where it sends a call */
START_TEST(conf_other_pass)
{
    size_t  i;
    char    conf[1024];

    static const char *const  passes[] = {
        "proxy_pass http://u;",
        "fastcgi_pass u;",
        "scgi_pass u;",
        "uwsgi_pass u;",
        "memcached_pass u;",
        "if ($arg_x) { proxy_pass http://u; }"
    };

    for (i = 0; i < sizeof(passes) / sizeof(passes[0]); i++) {
        snprintf(conf, sizeof(conf), "%slocation /other { %s }\n%s",
                 "%%GLOBALS%%\n"
                 "events {}\n"
                 "http {\n"
                 "    %%GLOBALS_HTTP%%\n"
                 "    server {\n",
                 passes[i],
                 "    }\n"
                 "    upstream u {\n" SESSIONS SERVER "}\n"
                 "}\n");
        refused(conf, "location \"/other\" passes to upstream \"u\"");
    }

    accepted(CONF(SESSIONS SERVER,
                  "}\n"
                  "location /other { proxy_pass http://127.0.0.1:8082; }\n"
                  "location /more {\n"));
}
END_TEST


START_TEST(conf_sessions_parameters)
{
    refused(CONF("myservice_sessions;\n" SERVER, ""), "myservice_sessions");
    refused(CONF("myservice_sessions $myservice_session zone=u:1m x=1;\n"
                 SERVER, ""), "x=1");
    refused(CONF("myservice_sessions $myservice_session zone=u:1m ttl=x;\n"
                 SERVER, ""), "ttl=x");
    refused(CONF("myservice_sessions $myservice_session zone=u:1m ttl=0;\n"
                 SERVER, ""), "ttl=0");
    refused(CONF("myservice_sessions $myservice_session zone=u:1m "
                 "lifetime=-1;\n" SERVER, ""), "lifetime=-1");
    refused(CONF("myservice_sessions $myservice_session zone=u:1m "
                 "expires=;\n" SERVER, ""), "expires=");
    refused(CONF("myservice_sessions $myservice_session zone=u:1m "
                 "expires=1 expires=2;\n" SERVER, ""), "expires=2");
    refused(CONF("myservice_sessions $myservice_session zone=u:1m "
                 "expires=$no_such_variable;\n" SERVER, ""),
            "no_such_variable");
    refused(CONF(SESSIONS SESSIONS SERVER, ""), "duplicate");
    refused(CONF("myservice_sessions $no_such_variable zone=u:1m;\n" SERVER,
                 ""), "no_such_variable");
}
END_TEST


START_TEST(conf_sessions_order)
{
    refused(CONF("keepalive 8;\n" SESSIONS SERVER, ""), "keepalive");
    refused(CONF("least_conn;\n" SESSIONS SERVER, ""), "myservice_sessions");
    refused(CONF("myservice_release MyServiceShutdown;\n" SERVER, ""),
            "myservice_release");
}
END_TEST


START_TEST(conf_server)
{
    refused(CONF(SESSIONS "server 127.0.0.1:8081 weight=2;\n", ""), "weight");
    refused(CONF(SESSIONS "server 127.0.0.1:8081 backup;\n", ""), "backup");
    refused(CONF(SESSIONS "server 127.0.0.1:8081 max_fails=2;\n", ""),
            "max_fails");
    refused(CONF(SESSIONS "server 127.0.0.1:8081 max_conns=2;\n", ""),
            "max_conns");
    refused(CONF(SESSIONS, ""), "no servers");
}
END_TEST


START_TEST(conf_release)
{
    refused(CONF(SESSIONS "myservice_release;\n" SERVER, ""),
            "myservice_release");
    refused(CONF(SESSIONS "myservice_release 'a b';\n" SERVER, ""), "a b");
}
END_TEST


START_TEST(conf_jwt_without_key)
{
    refused(CONF(SERVER, "myservice_jwt on;\n"), "myservice_jwt_secret_file");
    accepted(CONF(SERVER, "myservice_jwt off;\n"));
    refused(CONF(SERVER, "myservice_jwt maybe;\n"), "maybe");
}
END_TEST


START_TEST(conf_jwt_secret_file)
{
    (void) harness_file("short", "0123456789012345678901234567890\n", 32);
    (void) harness_file("long-enough", "01234567890123456789012345678901", 32);
    (void) harness_file("empty", "", 0);

    refused(CONF(SERVER, "myservice_jwt on;\n"
                 "myservice_jwt_secret_file %%DIR%%/absent;\n"), "/absent");
    refused(CONF(SERVER, "myservice_jwt on;\n"
                 "myservice_jwt_secret_file %%DIR%%;\n"), "secret");
    refused(CONF(SERVER, "myservice_jwt on;\n"
                 "myservice_jwt_secret_file %%DIR%%/short;\n"), "/short");
    refused(CONF(SERVER, "myservice_jwt on;\n"
                 "myservice_jwt_secret_file %%DIR%%/short;\n"), "32");
    refused(CONF(SERVER, "myservice_jwt on;\n"
                 "myservice_jwt_secret_file %%DIR%%/empty;\n"), "/empty");
    refused(CONF(SERVER, JWT "myservice_jwt_secret_file %%DIR%%/secret;\n"),
            "duplicate");
    accepted(CONF(SERVER, "myservice_jwt on;\n"
                  "myservice_jwt_secret_file %%DIR%%/long-enough;\n"));

    /* a bad file is refused where the check is off, too */
    refused(CONF(SERVER, "myservice_jwt_secret_file %%DIR%%/short;\n"), "32");
}
END_TEST


START_TEST(conf_jwt_values)
{
    refused(CONF(SERVER, JWT "myservice_jwt_leeway x;\n"),
            "myservice_jwt_leeway");
    refused(CONF(SERVER, JWT "myservice_jwt_cache x;\n"), "\"x\"");
    refused(CONF(SERVER, JWT "myservice_jwt_cache 0;\n"), "\"0\"");
    refused(CONF(SERVER, JWT "myservice_jwt_session_claim '';\n"),
            "myservice_jwt_session_claim");
    refused(CONF(SERVER, JWT "myservice_jwt on;\n"), "duplicate");
}
END_TEST


START_TEST(conf_call_values)
{
    refused(CONF(SESSIONS SERVER, "myservice_replay_buffer x;\n"),
            "myservice_replay_buffer");
    refused(CONF(SESSIONS SERVER, "myservice_retry;\n"), "myservice_retry");
    refused(CONF(SESSIONS SERVER, "myservice_grpc_errors 1;\n"), "\"1\"");
    refused(CONF(SESSIONS SERVER, "myservice_no_such_directive on;\n"),
            "myservice_no_such_directive");
}
END_TEST


/* it is the connection's, no location has a say */
START_TEST(conf_coalesce)
{
    accepted(CONF(SERVER, "} myservice_coalesce on; location /x {\n"));
    refused(CONF(SERVER, "myservice_coalesce on;\n"), "not allowed here");
    refused(CONF(SERVER, "} myservice_coalesce 16k; location /x {\n"),
            "invalid value");
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("configuration");

    harness_add(suite, conf_accepted);
    harness_add(suite, conf_zone);
    harness_add(suite, conf_zone_full);
    harness_add(suite, conf_zone_twice);
    harness_add(suite, conf_other_pass);
    harness_add(suite, conf_sessions_parameters);
    harness_add(suite, conf_sessions_order);
    harness_add(suite, conf_server);
    harness_add(suite, conf_release);
    harness_add(suite, conf_jwt_without_key);
    harness_add(suite, conf_jwt_secret_file);
    harness_add(suite, conf_jwt_values);
    harness_add(suite, conf_call_values);
    harness_add(suite, conf_coalesce);

    return harness_run(suite, argv[0]);
}
