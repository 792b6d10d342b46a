/*
 * Random configurations: nginx -t accepts one or says why not, and what it
 * accepts starts, reloads and stops. Nothing may crash. CONF_RANDOM in the
 * environment is how many there are (300 by default), CONF_SEED where they
 * begin; a failure names the seed of its configuration, which is then in
 * nginx.conf.
 *
 * In a template "<a|b|!c>" is one of these; what stands after "!" is wrong and
 * is not taken in every other configuration. "~" is the number of the
 * upstream.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway.h"
#include "harness.h"


#define COUNT       300
#define PER_TEST    10
#define CHOICES     32
#define CONF_SIZE   65536


typedef struct {
    uint32_t  random;
    bool      wrong;                    /* may take what is wrong */
    int       upstream;
    size_t    len;
    char      text[CONF_SIZE];
} random_conf_t;


static const char *const  in_http[] = {
    "myservice_coalesce <on|off|!maybe>;",
    "myservice_decode_once <on|off|!maybe>;",
    "myservice_jwt_key_check <1s|off|!0|!x>;",
    "myservice_jwt_revocations <zone=r:1m|!zone=r|!file=x> <keep=1d|!keep=0>;",
    "myservice_jwt <on|off>;\nmyservice_jwt_secret_file %%DIR%%/secret;",
    "myservice_jwt_secret_file %%DIR%%/secret<|!.none>;",
    "myservice_jwt_leeway <5s|0|!x>;",
    "myservice_jwt_cache <100|off|!0|!-1|!x>;",
    "myservice_grpc_errors <on|off>;",
    "myservice_retry <off|MyServiceEcho|/a.B/C a.B/D|!a b c|!/|!''|!a/b/c/d>;",
    "myservice_resume <off|MyServiceSubscribe|!/>;",
    "myservice_resume_buffer <1k|0|1m|!x|!-1>;",
    "myservice_replay_buffer <0|1k|128k|!x>;",
    "myservice_retry_timeout <0|1s|!x>;",
    "resolver 127.0.0.1:8110<| valid=1s| ipv6=off>;",
    "grpc_next_upstream <off|error|error timeout non_idempotent>;",
    "grpc_next_upstream_tries <0|1|3>;",
    "error_page <502|401 403> /<status|0|error>;",
    "map $http_x $mapped { default <'a'|$arg_x>; }",
    "limit_conn_zone $binary_remote_addr zone=c:32k;",
    "!myservice_sessions $myservice_session zone=h:1m;",
    "!myservice_status;",
    "myservice_tell <on|off|!maybe>;",
    "!myservice_moved fail;",
    "!myservice_release a;"
};

static const char *const  in_upstream[] = {
    "!myservice_sessions <$myservice_session|$http_x|a$arg_x|!$none|!''> "
    "zone=<z~|z~|z~|!z1|!same>:<1m|64k|10m|!0|!4k|!x|!-1> "
    "<||ttl=<1s|30m|!0|!x|!999ms>> <||lifetime=<1h|1s|!-1>> "
    "<||drain=<1s|5m|!0|!999ms>> "
    "<||expires=<$myservice_jwt_expires|1|!|!$none>> <||tries=<1|64|!0|!65>>"
    "<|! x|!zone=z~:1m>;",
    "myservice_release <MyServiceShutdown|/a.B/C a.B/D|off|!/|!a/b/c/d>;",
    "myservice_moved <allow|fail|!on>;",
    "myservice_pushback <0|500ms|1d|!soon|!2d>;",
    "myservice_queue length=<1|100|!0|!4097|!x><| timeout=1s| !timeout=0>;",
    "myservice_calls <max=1024|max=8 rate=10r/s|rate=1r/m|!max=0|!x|!rate=x>;",
    "myservice_health <interval=1s|timeout=1s|fails=3 passes=2|mandatory|"
    "service=a|service='' interval=100ms|!interval=0|!fails=0|!x=1>;",
    "myservice_resolve <localhost:8081|a.test:8081|a.test:8081 valid=1s|"
    "a.test:8082 removed=drop|!a.test|!:1|!127.0.0.1:8081|!a.test:99999>;",
    "myservice_resolver 127.0.0.1:8110<| valid=1s|!x=1>;",
    "myservice_resolver_timeout <1s|30s|!x|!0>;",
    "server 127.0.0.1:<8081|8082|8083><| down| fail_timeout=3s| fail_timeout=0|"
    "! weight=2|! backup|! max_conns=1|! max_fails=0|! resolve|! slow_start=1s|"
    "! drain|! service=a|! route=a>;",
    "server 127.0.0.1:8084;",
    "server unix:%%DIR%%/socket;",
    "server <[::1]:8085|localhost:8086|!nowhere.invalid:1|!a.test:1 resolve>;",
    "!<hash <$uri|$uri consistent|''>|ip_hash|least_conn|random|"
    "random two least_conn|least_time <header|last_byte>|"
    "sticky <cookie s|route $arg_x|learn create=$arg_x lookup=$arg_y "
    "zone=s~:64k>|queue 8|fair|x>;",
    "keepalive <8|1|!2 local|!0|!x>;",
    "keepalive_timeout <0|1s>;",
    "keepalive_requests <1|100>;",
    "myservice_multiplex <on|on|off|!x><| streams=<1|100|!0>>"
    "<| window=<64k|64k-1m|!1k|!1m-64k>><| idle=<1|64|!0>>"
    "<| timeout=<1s|!0>><|! x=1>;",
    "zone <u~|u~|!u1|!z~> <64k|128k|!1k>;"
};

static const char *const  handlers[] = {
    "grpc_pass <grpc://|grpc://||grpcs://>u<1|2|3>;",
    "grpc_pass u1;", "grpc_pass grpc://u2;", "grpc_pass u3;",
    ("!<proxy_pass http://|fastcgi_pass |uwsgi_pass |scgi_pass |"
     "memcached_pass |tunnel_pass >u<1|2|3>;"),
    "proxy_pass http://127.0.0.1:8119;",
    "grpc_pass grpc://<$mapped|$arg_x|127.0.0.1:8118>;",
    "myservice_status;",
    "myservice_dashboard <|api=/a/|!api=a>;",
    "<myservice_metrics|!myservice_metrics on>;",
    "<myservice_api|!myservice_api write=on|!myservice_api host=>;",
    "myservice_gateway_health <u1|u2 a.B|u1 a.B c.D|!none|!127.0.0.1:8119>;"
};

static const char *const  in_location[] = {
    "myservice_jwt <on|off>;\nmyservice_jwt_secret_file %%DIR%%/secret;",
    "myservice_jwt <on|off>;",
    "!myservice_jwt_secret_file <%%DIR%%/secret %%DIR%%/secret|/|/none>;",
    "!myservice_jwt_key_file <%%DIR%%/secret|/none|/>;",
    "myservice_jwt_keys_uri </keys|/keys interval=1s|/keys timeout=1s|!x|"
    "!/keys interval=0|!/keys x=1>;",
    "myservice_jwt_algorithms <HS256|RS256 ES256|EdDSA HS512|!none|!x>;",
    "myservice_jwt_issuer <a|''>;",
    "myservice_jwt_audience a;",
    "myservice_jwt_require <a|role=admin|a=1 b=2|!''|!=|!a=>;",
    "myservice_jwt_forward <on|off>;",
    "myservice_jwt_session_claim <sid|a.b|!''>;",
    "myservice_jwt_leeway <1s|!-1>;",
    "myservice_jwt_cache <1|off|!0>;",
    "myservice_session_from <metadata=x-session|claim=sid|!metadata=|!x|"
    "!claim=>;",
    "myservice_retry <MyServiceEcho|off>;",
    "myservice_resume <MyServiceSubscribe|off>;",
    "myservice_replay_buffer <0|64k>;",
    "myservice_grpc_errors <on|off>;",
    "grpc_next_upstream <off|error timeout http_503|non_idempotent>;",
    "grpc_set_header <session-id|session-ttl|x-myservice-role> "
    "<$myservice_session_ttl|$myservice_session|x|''>;",
    "grpc_read_timeout <1s|1h>;",
    "grpc_ssl_verify <on|off>;",
    "mirror </mirror|off>;",
    "auth_request /auth;",
    "error_page 502 = <@named|/other|!@none>;",
    "if ($arg_x) { <grpc_pass u2|return 204|set $a $myservice_instance|"
    "!proxy_pass http://u1>; }",
    "limit_except GET { deny all; }",
    "!location /<a|b> { <grpc_pass u1|myservice_status|return 200>; }",
    "return 200 <$myservice_decision|$myservice_jwt_expires|"
    "$myservice_jwt_claim_x|!$myservice_none>;",
    "client_max_body_size <0|1k|1m>;",
    "!myservice_health;",
    "!myservice_sessions a zone=l:1m;"
};


/* xorshift */
static uint32_t
random_below(random_conf_t *conf, size_t n)
{
    conf->random ^= conf->random << 13;
    conf->random ^= conf->random >> 17;
    conf->random ^= conf->random << 5;

    return conf->random % (uint32_t) n;
}


/* Past the end of the alternative at "p". */
static const char *
random_skip(const char *p, const char *last)
{
    int  depth;

    for (depth = 0; p < last && (depth > 0 || *p != '|'); p++) {
        depth += (*p == '<') - (*p == '>');
    }

    return p;
}


static void
random_expand(random_conf_t *conf, const char *p, const char *last)
{
    int          depth;
    size_t       n;
    const char  *end, *choices[CHOICES];

    for ( /* void */ ; p < last; p++) {
        ck_assert_uint_lt(conf->len, CONF_SIZE - 16);

        if (*p == '~') {
            conf->text[conf->len++] = (char) ('0' + conf->upstream);
            continue;
        }

        if (*p != '<') {
            conf->text[conf->len++] = *p;
            continue;
        }

        p++;

        for (depth = 1, end = p; depth > 0; end++) {
            depth += (*end == '<') - (*end == '>');
        }

        end--;
        n = 0;

        for ( ;; ) {
            if (conf->wrong || *p != '!') {
                ck_assert_uint_lt(n, CHOICES);
                choices[n++] = p;
            }

            p = random_skip(p, end);

            if (p == end) {
                break;
            }

            p++;
        }

        if (n > 0) {
            p = choices[random_below(conf, n)];
            p += *p == '!';
            random_expand(conf, p, random_skip(p, end));
        }

        p = end;
    }
}


static void
random_put(random_conf_t *conf, const char *template)
{
    random_expand(conf, template, template + strlen(template));
}


/* Up to "max" of the statements, one a line. */
static void
random_statements(random_conf_t *conf, const char *const *list, size_t n,
    size_t max)
{
    size_t       i, j, count;
    uint64_t     taken;
    const char  *statement;

    count = random_below(conf, max + 1);
    taken = 0;

    for (i = 0; i < count; i++) {
        j = random_below(conf, n);

        /* most directives are not taken twice */

        if (!conf->wrong && (taken >> j) % 2) {
            continue;
        }

        taken |= (uint64_t) 1 << j;
        statement = list[j];

        if (*statement != '!') {
            random_put(conf, statement);

        } else if (conf->wrong) {
            random_put(conf, statement + 1);
        }

        random_put(conf, "\n");
    }
}


#define statements(conf, list, max)                                           \
    random_statements(conf, list, sizeof(list) / sizeof(list[0]), max)


static void
random_upstreams(random_conf_t *conf)
{
    for (conf->upstream = 1; conf->upstream <= 3; conf->upstream++) {
        random_put(conf, "upstream u~ {\n");

        if (conf->wrong) {
            statements(conf, in_upstream, 2);
        }

        random_put(conf, "<|myservice_sessions <$myservice_session|$http_x> "
                         "zone=z~:<1m|64k><| ttl=2s| lifetime=1h tries=1>;\n"
                         "<|myservice_health;\n>|!>");
        statements(conf, in_upstream, 3);
        random_put(conf, "<server 127.0.0.1:809~<| down>;\n|!>}\n");
    }
}


static void
random_make(random_conf_t *conf, uint32_t seed)
{
    int  i;

    conf->random = (seed + 1) * 2654435761u;
    conf->random += conf->random == 0;
    conf->wrong = seed % 2;
    conf->len = 0;

    random_put(conf, "%%GLOBALS%%\nevents {}\nhttp {\n%%GLOBALS_HTTP%%\n");
    statements(conf, in_http, 3);

    /* locations may stand before the upstreams that they pass to */

    if (random_below(conf, 2) == 0) {
        random_upstreams(conf);
    }

    random_put(conf, "server {\nlisten 127.0.0.1:8080<| http2>;\n");

    for (i = 0; i < 3; i++) {
        random_put(conf, i == 0 ? "location / {\n"
                   : i == 1 ? "location <= /keys|= /auth|/other|/mirror> {\n"
                   : "location @named {\n");
        statements(conf, in_location, 4);
        statements(conf, handlers, 1);
        random_put(conf, "}\n");
    }

    random_put(conf, "}\n");

    if (conf->upstream == 0) {
        random_upstreams(conf);
    }

    random_put(conf, "}\n");
    conf->text[conf->len] = '\0';
}


static unsigned long
random_number(const char *name, unsigned long value)
{
    const char  *text;

    text = getenv(name);

    return text != NULL && text[0] != '\0' ? strtoul(text, NULL, 10) : value;
}


START_TEST(conf_random)
{
    int             code;
    uint32_t        seed, first;
    const char     *output;
    random_conf_t  *conf;

    conf = malloc(sizeof(random_conf_t));
    ck_assert_ptr_nonnull(conf);

    first = (uint32_t) (random_number("CONF_SEED", 0)
                        + (unsigned long) _i * PER_TEST);

    for (seed = first; seed < first + PER_TEST; seed++) {
        conf->upstream = 0;
        random_make(conf, seed);

        code = gateway_test(conf->text, &output);

        ck_assert_msg(code == 0 || code == 1, "seed %u: exit code %d: %s",
                      seed, code, output);
        ck_assert_msg(strstr(output, "Sanitizer") == NULL
                      && strstr(output, "service_module/ngx") == NULL
                      && strstr(output, "[alert]") == NULL,
                      "seed %u: %s", seed, output);
        ck_assert_msg(code == 0 || strstr(output, "[emerg]") != NULL,
                      "seed %u: no [emerg]: %s", seed, output);

        if (code == 0) {
            gateway_start(conf->text);
            gateway_reload(NULL);
            gateway_stop();
            gateway_check_logs();
            (void) remove(harness_path("error.log"));
        }
    }

    free(conf);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;

    suite = suite_create("random configurations");
    harness_add_loop(suite, conf_random,
                     (int) ((random_number("CONF_RANDOM", COUNT) + PER_TEST - 1)
                            / PER_TEST));

    return harness_run(suite, argv[0]);
}
