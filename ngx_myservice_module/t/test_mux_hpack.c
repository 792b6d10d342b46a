/*
 * myservice_multiplex and HPACK: what is the same for all calls of a session is
 * sent once on a connection.  A fake decodes with nghttp2, which fails the test
 * where a block does not fit the table.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_conn.h"
#include "gateway.h"
#include "mux.h"
#include "token.h"


#define HEADER_TABLE_SIZE  1            /* RFC 9113 section 6.5.2 */
#define CALL               150          /* bytes: the goal for a bound session */
#define STEADY             80           /* with its path in the table, too */
#define VALUE_MAX          6000
#define EMPTY              "\0\0\0\0\0"
#define PASS_JWT                                                              \
    "        location / {\n"                                                  \
    "            myservice_jwt on;\n"                                         \
    "            myservice_jwt_secret_file %%DIR%%/secret;\n"                 \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "        location /my_service.MyServiceAPI/MyServiceShutdown {\n"         \
    "            myservice_jwt on;\n"                                         \
    "            myservice_jwt_secret_file %%DIR%%/secret;\n"                 \
    "            myservice_jwt_forward off;\n"                                \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"


static client_t    *client;
static const char  *path = ECHO;


/* a client's fields */
typedef struct {
    const char  *session;
    const char  *token;
    const char  *agent;
} fields_t;


static fake_t *
start(const char *conf)
{
    fake_t  *fake;

    fake = fake_start(8081, "one", fake_ok);
    gateway_start(conf);
    client = client_open(harness_port(8080));

    return fake;
}


static client_call_t *
begin(const fields_t *f)
{
    client_header_t  headers[] = {
        { "te", "trailers" },
        { "content-type", "application/grpc" },
        { "user-agent", f->agent },
        { "authorization", f->token },
        { "session-id", f->session },
        { "grpc-accept-encoding", "identity,deflate,gzip" },
        { "x-other", "of the call" },
        { NULL, NULL }
    };

    return client_request(client, path, headers, EMPTY, 5, false);
}


static void
count(fake_t *fake, const char *name, const char *value, unsigned n)
{
    size_t       len;
    unsigned     found;
    const char  *p;

    static char  line[2 * VALUE_MAX];

    snprintf(line, sizeof(line), "\n%s: %s\n", name, value);
    len = strlen(line) - 1;
    found = 0;

    for (p = fake_metadata(fake); (p = strstr(p, line)) != NULL; p += len) {
        found++;
    }

    ck_assert_msg(found == n, "%u times, not %u: %.300s%.2000s", found, n,
                  line, fake_metadata(fake));
}


/* The instance has got just this, byte by byte. */
static void
came(fake_t *fake, const fields_t *f)
{
    unsigned     lines, first;
    const char  *p;

    count(fake, "te", "trailers", 1);
    count(fake, "content-type", "application/grpc", 1);
    count(fake, "user-agent", f->agent, 1);
    count(fake, "authorization", f->token, 1);
    count(fake, "session-id", f->session, 1);
    count(fake, "grpc-accept-encoding", "identity,deflate,gzip", 1);
    count(fake, "x-other", "of the call", 1);
    count(fake, "session-ttl", "1800000", 1);
    ck_assert_ptr_nonnull(strstr(fake_metadata(fake), "\nsession-epoch: "));

    first = strstr(fake_metadata(fake), "\nsession-start: new\n") != NULL;

    for (lines = 0, p = fake_metadata(fake); *p != '\0'; p++) {
        lines += *p == '\n';
    }

    ck_assert_msg(lines == 4 + 9 + first, "%u lines: %s", lines,
                  fake_metadata(fake));
}


static void
call(fake_t *fake, const fields_t *f)
{
    client_call_t  *one;

    one = begin(f);
    client_wait(one);
    client_assert(one, 0, "");
    came(fake, f);
}


static unsigned long
block(fake_t *fake)
{
    return atomic_load(&fake_seen(fake)->block);
}


static unsigned long
table(fake_t *fake)
{
    return atomic_load(&fake_seen(fake)->table);
}


/* "len" bytes, valid until the test ends */
static char *
text(size_t len)
{
    char  *p;

    p = malloc(len + 1);
    ck_assert_ptr_nonnull(p);
    memset(p, 'a' + rand() % 26, len);
    p[len] = '\0';
    (void) token_keep(p);

    return p;
}


START_TEST(mux_hpack_once)
{
    int       i;
    fake_t   *fake;
    fields_t  f = { "s1", text(500), "a library" };

    fake = start(CONF(ONE, ON, ""));
    call(fake, &f);
    ck_assert_uint_gt(block(fake), 500);

    /* the peer's SETTINGS have come: what they allow begins */
    call(fake, &f);
    ck_assert_uint_gt(block(fake), 500);
    ck_assert_uint_gt(table(fake), 500);

    for (i = 0; i < 10; i++) {
        call(fake, &f);
        ck_assert_uint_le(block(fake), CALL);
    }

    ck_assert_uint_le(block(fake), STEADY);
    ck_assert_uint_eq(fake_connections(fake), 1);
}
END_TEST


/* without it the same comes, and no table has it */
START_TEST(mux_hpack_off)
{
    int       i;
    fake_t   *fake;
    fields_t  f = { "s1", text(500), "a library" };

    fake = start(CONF(ONE, "keepalive 4;", ""));

    for (i = 0; i < 4; i++) {
        call(fake, &f);
        ck_assert_uint_gt(block(fake), 500);
    }
}
END_TEST


/* a new connection has a new table */
START_TEST(mux_hpack_connection)
{
    int       i;
    fake_t   *fake;
    fields_t  f = { "s1", text(500), "a library" };

    fake = start(CONF(ONE, ON, RETRY_ECHO));

    for (i = 0; i < 3; i++) {
        call(fake, &f);
        call(fake, &f);
        call(fake, &f);
        ck_assert_uint_le(block(fake), CALL);
        fake_hang_up(fake, i == 1);
        mux_await_open(fake, 0);
    }

    ck_assert_uint_eq(fake_connections(fake), 3);
}
END_TEST


static void
die_once(fake_call_t *c)
{
    if (c->nth == 3) {
        fake_close(c);
        return;
    }

    fake_ok(c);
}


/* what is repeated on a new connection is whole */
START_TEST(mux_hpack_repeated)
{
    fake_t   *fake;
    fields_t  f = { "s1", text(500), "a library" };

    fake = fake_start(8081, "one", die_once);
    gateway_start(CONF(ONE, ON, RETRY_ECHO));
    client = client_open(harness_port(8080));

    call(fake, &f);
    call(fake, &f);
    call(fake, &f);
    ck_assert_uint_eq(fake_connections(fake), 2);
    ck_assert_uint_eq(fake_requests(fake), 4);
}
END_TEST


/* upstreams of the same address share connections: each call has its own */
START_TEST(mux_hpack_upstreams)
{
    int       i;
    fake_t   *fake;
    fields_t  one = { "s1", text(500), "a library" };
    fields_t  two = { "s2", text(400), "a library" };

    fake = start(CONF_WITH("1", UPSTREAM("u", ONE, ON) UPSTREAM("v", ONE, ON)
                 "    upstream w { " ONE ON " }\n", PASS("")
                 "        location /v/ { grpc_pass grpc://v; }\n"
                 "        location /w/ { grpc_pass grpc://w; }\n"));

    for (i = 0; i < 5; i++) {
        path = ECHO;
        call(fake, &one);
        ck_assert_uint_eq(block(fake) <= CALL, i >= 2);
        path = "/v/Echo";
        call(fake, &two);
        ck_assert_uint_eq(block(fake) <= CALL, i >= 1);

        /* without "myservice_sessions" the grpc module encodes all of it */
        path = "/w/Echo";
        client_wait(begin(&two));
        count(fake, "authorization", two.token, 1);
        ck_assert_uint_gt(block(fake), 200);
        path = ECHO;
    }

    ck_assert_uint_eq(fake_connections(fake), 1);
}
END_TEST


/* a smaller table is answered by its size, at the next block */
START_TEST(mux_hpack_small_table)
{
    int       i;
    fake_t   *fake;
    fields_t  f = { "s1", text(500), "a library" };

    static const uint32_t  sizes[] = { 0, 100, 4095, 31, 65536, 0, 2000, 4096 };

    fake = fake_start(8081, "one", fake_ok);
    fake_setting(fake, HEADER_TABLE_SIZE, sizes[_i]);
    gateway_start(CONF(ONE, ON, ""));
    client = client_open(harness_port(8080));

    for (i = 0; i < 3; i++) {
        call(fake, &f);
        ck_assert_uint_le(table(fake), sizes[_i]);
    }

    ck_assert_uint_eq(block(fake) <= CALL, sizes[_i] >= 2000);

    for (i = 0; i < 8; i++) {
        fake_setting(fake, HEADER_TABLE_SIZE, sizes[i]);

        if (i % 3 == 0) {
            continue;
        }

        call(fake, &f);
        call(fake, &f);
        call(fake, &f);
        ck_assert_uint_le(table(fake), sizes[i]);
        ck_assert_uint_eq(block(fake) <= CALL, sizes[i] >= 2000);
    }
}
END_TEST


/* what would take the whole table stays out, the rest does not */
START_TEST(mux_hpack_large)
{
    fake_t   *fake;
    fields_t  f = { "s1", text(VALUE_MAX / 2), "a library" };

    fake = start(CONF(ONE, ON, ""));
    call(fake, &f);
    call(fake, &f);
    call(fake, &f);
    ck_assert_uint_gt(block(fake), VALUE_MAX / 2);
    ck_assert_uint_lt(block(fake), VALUE_MAX / 2 + CALL);
    ck_assert_uint_gt(table(fake), 0);
    ck_assert_uint_lt(table(fake), 500);
}
END_TEST


/* of two sizes that change places, tables change, and calls are cancelled
 * before they are written: what comes is right */
START_TEST(mux_hpack_random)
{
    int             i, k;
    fake_t         *fake;
    fields_t        f[4];
    client_call_t  *calls[8];

    srand((unsigned) _i + 1);
    fake = start(CONF(ONE, ON, ""));

    for (i = 0; i < 4; i++) {
        f[i].session = "s1";
        f[i].token = text(1 + (size_t) rand() % 1400);
        f[i].agent = text(1 + (size_t) rand() % (i == 3 ? VALUE_MAX : 600));
    }

    for (i = 0; i < 60; i++) {

        if (rand() % 8 == 0) {
            fake_setting(fake, HEADER_TABLE_SIZE, (uint32_t) rand() % 6000);
        }

        if (rand() % 4) {
            call(fake, &f[rand() % 4]);
            continue;
        }

        gateway_freeze(true);

        for (k = 0; k < 8; k++) {
            calls[k] = begin(&f[rand() % 4]);
        }

        client_poll(0);

        for (k = 0; k < 8; k += 2) {
            client_cancel(calls[k]);
        }

        client_poll(0);
        gateway_freeze(false);

        for (k = 1; k < 8; k += 2) {
            client_wait(calls[k]);
            client_assert(calls[k], 0, "");
        }
    }

    ck_assert_uint_eq(fake_connections(fake), 1);
}
END_TEST


/* the gateway's own fields, and a token that does not go on */
START_TEST(mux_hpack_token)
{
    int              i;
    fake_t          *fake;
    const char      *token;
    client_call_t   *one;

    (void) harness_file("secret", TOKEN_SECRET, sizeof(TOKEN_SECRET) - 1);
    fake = start(CONF_WITH("1", UPSTREAM("u", ONE, ON), PASS_JWT));
    token = token_make("s1", 3600);

    for (i = 0; i < 3; i++) {
        one = client_grpc(client, ECHO, token, "s1", "", 0);
        client_wait(one);
        client_assert(one, 0, "");
        count(fake, "authorization", token, 1);
        count(fake, "x-myservice-role", "admin", 1);
    }

    ck_assert_ptr_nonnull(strstr(fake_metadata(fake), "\nsession-subject: "));
    ck_assert_uint_le(block(fake), CALL);

    one = client_grpc(client, SHUTDOWN, token, "s1", "", 0);
    client_wait(one);
    client_assert(one, 0, "");
    ck_assert_ptr_null(strstr(fake_metadata(fake), "authorization"));
    count(fake, "x-myservice-role", "admin", 1);
}
END_TEST


/* what "grpc_set_header" says is said by the grpc module */
START_TEST(mux_hpack_set_header)
{
    int              i;
    fake_t          *fake;
    client_call_t   *one;
    client_header_t  headers[] = {
        { "te", "deflate" },
        { "content-type", "application/grpc" },
        { "user-agent", "a library" },
        { "authorization", "of the client" },
        { "session-id", "s1" },
        { NULL, NULL }
    };

    fake = start(CONF(ONE, ON, "grpc_set_header Authorization other;\n"
                               "grpc_set_header user-agent \"\";\n"));

    for (i = 0; i < 3; i++) {
        one = client_request(client, ECHO, headers, EMPTY, 5, false);
        client_wait(one);
        client_assert(one, 0, "");
        count(fake, "authorization", "other", 1);
        ck_assert_ptr_null(strstr(fake_metadata(fake), "of the client"));
        ck_assert_ptr_null(strstr(fake_metadata(fake), "\nuser-agent: "));
        ck_assert_ptr_null(strstr(fake_metadata(fake), "\nte: "));
    }
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;

    suite = suite_create("mux_hpack");
    harness_add(suite, mux_hpack_once);
    harness_add(suite, mux_hpack_off);
    harness_add(suite, mux_hpack_connection);
    harness_add(suite, mux_hpack_repeated);
    harness_add(suite, mux_hpack_upstreams);
    harness_add_loop(suite, mux_hpack_small_table, 8);
    harness_add(suite, mux_hpack_large);
    harness_add_loop(suite, mux_hpack_random, 4);
    harness_add(suite, mux_hpack_token);
    harness_add(suite, mux_hpack_set_header);

    return harness_run(suite, argv[0]);
}
