/*
 * Configurations that nginx -t must refuse, each with a text that says what the
 * operator can change, and next to them those that must pass.
 */

#include <stdio.h>
#include <string.h>

#include "gateway.h"
#include "harness.h"
#include "verdict.h"


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


/* The same for what not every nginx has. */
static void
refused_if_known(const char *conf, const char *directive, const char *text)
{
    char         unknown[64];
    const char  *output;

    snprintf(unknown, sizeof(unknown), "unknown directive \"%s\"", directive);
    (void) gateway_test(conf, &output);

    if (strstr(output, unknown) == NULL) {
        refused(conf, text);
    }
}


START_TEST(conf_accepted)
{
    accepted(CONF(SESSIONS SERVER, ""));
    accepted(CONF(SESSIONS SERVER "keepalive 8;\n", JWT));
    accepted(CONF("myservice_sessions $http_x zone=u:1m;\n" SERVER, ""));
    accepted(CONF("myservice_sessions ${myservice_session} zone=u:1m ttl=10m "
                  "grace=5s lifetime=1d drain=1s "
                  "expires=$myservice_jwt_expires;\n"
                  "myservice_release MyServiceShutdown /a.B/C a.B/D;\n"
                  "myservice_moved fail;\n"
                  "server 127.0.0.1:8081 fail_timeout=3s;\n"
                  "server 127.0.0.1:8082 down;\n",
                  JWT
                  "myservice_grpc_errors on;\n"
                  "myservice_tell on;\n"
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
        "tunnel_pass u;",
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
        refused_if_known(conf, "tunnel_pass",
                         "location \"/other\" passes to upstream \"u\"");
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
                 "drain=999ms;\n" SERVER, ""),
            "invalid \"drain=999ms\", expected a time of at least 1s");
    refused(CONF("myservice_sessions $myservice_session zone=u:1m grace=x;\n"
                 SERVER, ""), "grace=x");
    refused(CONF("myservice_sessions $myservice_session zone=u:1m grace=0;\n"
                 SERVER, ""), "invalid \"grace=0\", expected a time of at "
            "least 1s");
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


/* either is an [emerg] that names both, and where */
START_TEST(conf_sessions_methods)
{
    char         conf[1024], upstream[512], text[8192], name[32];
    size_t       i;
    const char  *method;

    static const char *const  methods[] = {
        "hash $request_uri", "hash $arg_x consistent", "ip_hash", "least_conn",
        "least_time header", "random", "random two least_conn",
        "sticky cookie s", "sticky route $arg_x", "hash '{;}'",
        "\"least_conn\"", "least_conn; hash ${request_uri}",
        "least_conn; least_conn"
    };

#define METHODS  (sizeof(methods) / sizeof(methods[0]))

    static const char *const  orders[] = {
        "%s;\n" SESSIONS SERVER, SESSIONS "%s;\n" SERVER,
        SESSIONS SERVER "%s;\n", "zone z 64k;\n" SESSIONS "%s;\n" SERVER,
        SESSIONS "keepalive 8;\n%s;\n" SERVER,
        SESSIONS "# '{;\n%s;\n" SERVER "keepalive 8;\n"
    };

    for (i = 0; i < METHODS * (sizeof(orders) / sizeof(orders[0])); i++) {
        method = methods[i % METHODS];
        snprintf(upstream, sizeof(upstream), orders[i / METHODS], method);
        snprintf(conf, sizeof(conf), "%s%s%s",
                 "%%GLOBALS%%\nevents {}\nhttp {\n    upstream u {\n",
                 upstream, "    }\n}\n");

        method += strspn(method, "\"");
        snprintf(name, sizeof(name), "%.*s",
                 (int) strspn(method, "abcdefghijklmnopqrstuvwxyz_"), method);
        snprintf(text, sizeof(text), "\"%s\" in upstream \"u\" in %s:",
                 name, harness_path("nginx.conf"));
        refused_if_known(conf, name, text);
        refused_if_known(conf, name, "beside \"myservice_sessions\"");
    }
#undef METHODS
}
END_TEST


/* the line is that of the other method; what a file has is not looked for */
START_TEST(conf_sessions_methods_where)
{
    static const char  include[] = "least_conn;\n";

    refused("%%GLOBALS%%\n"
            "events {}\n"
            "http {\n"
            "    upstream other { least_conn; " SERVER "}\n"
            "    upstream u\n"
            "    {\n"
            "        " SESSIONS
            "        least_conn;\n"
            "        " SERVER
            "    }\n"
            "}\n", "\"least_conn\" in upstream \"u\"");
    harness_file("method.conf", include, sizeof(include) - 1);
    refused(CONF(SESSIONS "include %%DIR%%/method.conf;\n" SERVER, ""),
            "has \"myservice_sessions\" and another load balancing method");
    accepted("%%GLOBALS%%\n"
             "events {}\n"
             "http {\n"
             "    upstream other { least_conn; " SERVER "}\n"
             "    upstream u { " SESSIONS SERVER "}\n"
             "}\n");
}
END_TEST


/* since 1.29.7 "keepalive" can stand anywhere */
START_TEST(conf_sessions_order)
{
    const char  *output;

    static const char  keepalive[] = CONF("keepalive 8;\n" SESSIONS SERVER, "");

    if (gateway_test(keepalive, &output) == 0) {
        accepted(keepalive);

    } else {
        refused(keepalive, "\"keepalive\" in upstream \"u\"");
        refused(keepalive, "must stand after \"myservice_sessions\"");
    }

    accepted(CONF(SESSIONS "keepalive 8;\n" SERVER, ""));
    accepted(CONF(SESSIONS SERVER "zone z 64k;\nkeepalive 8;\n", ""));
    refused(CONF("myservice_release MyServiceShutdown;\n" SERVER, ""),
            "myservice_release");
    refused(CONF("myservice_moved allow;\n" SERVER, ""),
            "\"myservice_moved\" in upstream \"u\" has no effect");
    refused(CONF("myservice_pushback 1s;\n" SERVER, ""),
            "\"myservice_pushback\" in upstream \"u\" has no effect");
    refused(CONF("myservice_queue length=1;\n" SERVER, ""),
            "\"myservice_queue\" in upstream \"u\" has no effect");
}
END_TEST


/* a warning for what is configured and has no effect, not for the default */
START_TEST(conf_next_upstream)
{
    size_t       i;
    const char  *output;

    static const char *const  confs[] = {
        CONF(SESSIONS SERVER, "grpc_next_upstream off;\n"),
        CONF(SESSIONS SERVER, "grpc_next_upstream error timeout http_503;\n"),
        CONF(SESSIONS SERVER "}\ngrpc_next_upstream non_idempotent;\n"
             "upstream other { " SERVER, ""),
        CONF(SERVER "}\nupstream s { " SESSIONS SERVER,
             "}\nlocation /s { grpc_next_upstream error; grpc_pass s;\n"
             "}\nlocation /more {\n")
    };

    for (i = 0; i < sizeof(confs) / sizeof(confs[0]); i++) {
        ck_assert_int_eq(gateway_test(confs[i], &output), 0);
        ck_assert_msg(strstr(output, "[warn] \"grpc_next_upstream\" in "
                                     "location \"/") != NULL, "%s", output);
        ck_assert_msg(strstr(output, "\"myservice_retry\"") != NULL, "%s",
                      output);
    }

    accepted(CONF(SERVER, "grpc_next_upstream off;\n"));
    accepted(CONF(SESSIONS SERVER, "grpc_next_upstream_tries 2;\n"));
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


/* nginx 1.27.3 and later know the parameter: the message says what to write */
START_TEST(conf_server_resolve)
{
    size_t       i;
    const char  *output;

#define RESOLVE  "server 127.0.0.1:8082;\nserver a.test:1 resolve;\n"
#define OTHER    "}\nresolver 127.0.0.1:8110;\nupstream other {\n" SERVER

    static const char *const  confs[] = {
        CONF(SESSIONS "zone z 64k;\n" RESOLVE OTHER, ""),
        CONF("zone z 64k;\n" RESOLVE SESSIONS OTHER, ""),
        CONF(SESSIONS RESOLVE OTHER, ""),
        CONF(SESSIONS "zone z 64k;\n" RESOLVE, "")
    };

#undef OTHER
#undef RESOLVE

    for (i = 0; i < sizeof(confs) / sizeof(confs[0]); i++) {
        (void) gateway_test(confs[i], &output);

        if (strstr(output, "invalid parameter \"resolve\"") == NULL) {
            refused(confs[i], "server \"a.test:1\" in upstream \"u\": instead "
                    "of \"resolve\" write \"myservice_resolve\"");

        } else {
            refused(confs[i], "invalid parameter \"resolve\"");
        }
    }
}
END_TEST


START_TEST(conf_release)
{
    refused(CONF(SESSIONS "myservice_release;\n" SERVER, ""),
            "myservice_release");
    refused(CONF(SESSIONS "myservice_release 'a b';\n" SERVER, ""), "a b");
}
END_TEST


START_TEST(conf_moved)
{
    refused(CONF(SESSIONS "myservice_moved on;\n" SERVER, ""),
            "\"myservice_moved\": invalid \"on\", expected \"allow\" or "
            "\"fail\"");
    refused(CONF(SESSIONS "myservice_moved fail;\nmyservice_moved fail;\n"
                 SERVER, ""),
            "duplicate");
    refused(CONF(SESSIONS SERVER, "myservice_moved fail;\n"),
            "not allowed here");
    refused(CONF(SESSIONS SERVER, "myservice_tell maybe;\n"),
            "invalid value \"maybe\"");
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
    refused(CONF(SERVER, JWT "myservice_jwt_cache x;\n"), "\"x\"");
    refused(CONF(SERVER, JWT "myservice_jwt_cache 0;\n"), "\"0\"");
    refused(CONF(SERVER, JWT "myservice_jwt_session_claim '';\n"),
            "myservice_jwt_session_claim");
    refused(CONF(SERVER, JWT "myservice_jwt on;\n"), "duplicate");
}
END_TEST


START_TEST(conf_call_values)
{
    refused(CONF(SESSIONS SERVER, "myservice_retry;\n"), "myservice_retry");
    refused(CONF(SESSIONS SERVER, "myservice_grpc_errors 1;\n"), "\"1\"");
    refused(CONF(SESSIONS SERVER, "myservice_no_such_directive on;\n"),
            "myservice_no_such_directive");
}
END_TEST


/* a setting of the connection: a location cannot change it */
START_TEST(conf_decode_once)
{
    accepted(CONF(SERVER, "} myservice_decode_once on; location /x {\n"));
    refused(CONF(SERVER, "myservice_decode_once on;\n"), "not allowed here");
    refused(CONF(SERVER, "} myservice_decode_once 2; location /x {\n"),
            "must be \"on\" or \"off\"");
}
END_TEST


START_TEST(conf_coalesce)
{
    accepted(CONF(SERVER, "} myservice_coalesce on; location /x {\n"));
    refused(CONF(SERVER, "myservice_coalesce on;\n"), "not allowed here");
    refused(CONF(SERVER, "} myservice_coalesce 16k; location /x {\n"),
            "invalid value");
}
END_TEST


static const char *
multiplex(const char *method, const char *arguments)
{
    static char  conf[1024];

    snprintf(conf, sizeof(conf), "%s%s" SERVER "myservice_multiplex %s;\n%s",
             "%%GLOBALS%%\nevents {}\nhttp {\n    upstream u {\n", method,
             arguments, "    }\n}\n");

    return conf;
}


/* with a method before it, or behind it, or without */
START_TEST(conf_multiplex)
{
    size_t       i;
    const char  *output;

    static const char *const  good[] = {
        "on", "off", "on streams=1", "on window=64k", "on window=1m-1m",
        "on streams=100 requests=1000000000 window=64k-1m idle=64 timeout=60s"
    };

    static const char *const  bad[][2] = {
        { "", "myservice_multiplex" },
        { "maybe", "\"on\" or \"off\"" },
        { "on on", "\"on\"" },
        { "on streams=0", "streams=0" },
        { "on streams=x", "streams=x" },
        { "on streams=99999999", "streams=99999999" },
        { "on window=0", "window=0" },
        { "on window=1k", "window=1k" },
        { "on window=1m-64k", "window=1m-64k" },
        { "on window=64k-", "window=64k-" },
        { "on window=64k-1g", "window=64k-1g" },
        { "on requests=0", "requests=0" },
        { "on requests=1000000001", "requests=1000000001" },
        { "on idle=0", "idle=0" },
        { "on idle=-1", "idle=-1" },
        { "on timeout=0", "timeout=0" },
        { "on timeout=x", "timeout=x" },
        { "on idle=1 idle=2", "duplicate" },
        { "on x=1", "x=1" }
    };

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        accepted(multiplex(SESSIONS, good[i]));
        accepted(multiplex("hash $uri;\n", good[i]));
        accepted(multiplex("", good[i]));
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        refused(multiplex(SESSIONS, bad[i][0]), bad[i][1]);
    }

    accepted(CONF("myservice_multiplex on;\n" SESSIONS SERVER, ""));
    refused(CONF(SESSIONS SERVER
                 "myservice_multiplex on;\nmyservice_multiplex off;\n", ""),
            "duplicate");
    refused(CONF(SESSIONS SERVER, "myservice_multiplex on;\n"),
            "not allowed here");

    /* where connections are kept only on demand */

    accepted(CONF(SESSIONS SERVER "keepalive 8;\nmyservice_multiplex off;\n",
                  ""));

    if (gateway_test(CONF("keepalive 8;\n" SESSIONS SERVER, ""), &output) != 0)
    {
        refused(CONF(SESSIONS SERVER
                     "keepalive 8;\nmyservice_multiplex on;\n", ""),
                "\"keepalive\"");
        refused(CONF(SESSIONS "myservice_multiplex on;\n" SERVER
                     "keepalive 8;\n", ""), "\"keepalive\"");

    } else {
        accepted(CONF(SESSIONS SERVER
                      "keepalive 8;\nmyservice_multiplex on;\n", ""));
    }
}
END_TEST


/* event methods that tell of what has been told already */
START_TEST(conf_multiplex_events)
{
    size_t       i;
    char         conf[2048];
    const char  *output;

    static const char *const  methods[] = { "poll", "select" };

    for (i = 0; i < 2; i++) {
        snprintf(conf, sizeof(conf), "%s\nevents { use %s; }\n"
                 "http { upstream u { " SERVER
                 "myservice_multiplex on; } }\n", "%%GLOBALS%%", methods[i]);

        /* Debian's nginx is built without */

        if (gateway_test(conf, &output) != 0
            && strstr(output, "invalid event type") != NULL)
        {
            continue;
        }

        refused(conf, "myservice_multiplex");
    }
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
    harness_add(suite, conf_sessions_methods);
    harness_add(suite, conf_sessions_methods_where);
    harness_add(suite, conf_sessions_order);
    harness_add(suite, conf_next_upstream);
    harness_add(suite, conf_server);
    harness_add(suite, conf_server_resolve);
    harness_add(suite, conf_release);
    harness_add(suite, conf_moved);
    harness_add(suite, conf_jwt_without_key);
    harness_add(suite, conf_jwt_secret_file);
    harness_add(suite, conf_jwt_values);
    harness_add(suite, conf_call_values);
    harness_add(suite, conf_coalesce);
    harness_add(suite, conf_decode_once);
    harness_add(suite, conf_multiplex);
    harness_add(suite, conf_multiplex_events);

    return harness_run(suite, argv[0]);
}
