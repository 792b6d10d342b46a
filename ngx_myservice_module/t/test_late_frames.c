/*
 * Frames of a call that has ended, which arrive with the next call of a
 * kept-alive connection: PRIORITY, trailers a second time, DATA after a reset.
 */

#include <check.h>
#include <stddef.h>
#include <stdint.h>

#include "client.h"
#include "fake_conn.h"
#include "gateway.h"
#include "harness.h"


#define CONF                                                                  \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        server 127.0.0.1:8081;\n"                                        \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "    }\n"                                                                 \
    "}\n"


/* where in an answer, and how often it was */
static struct {
    int       type;                     /* of the late frame */
    int       place;                    /* 0: first, then after each part */
    size_t    cut;
    unsigned  kept;                     /* calls on a connection with others */
} late;


/* a frame of the connection's first call, which has ended */
static void
give_late(fake_call_t *call, int place)
{
    uint8_t               n[4] = { 0, 0, 0, 8 };
    static const uint8_t  header[] =
        "\x40\x01x\x01y\x00\x0bgrpc-status\x01" "9";

    if (place != late.place || call->nth == 1) {
        return;
    }

    late.kept++;
    fake_cut(call, late.cut);

    switch (late.type) {

    case DATA:
        fake_frame(call->conn, DATA, 0, 1, "\0\0\0\0\0", 5);
        fake_frame(call->conn, DATA, END_STREAM, 1, "", 0);
        break;

    case HEADERS:
        fake_frame(call->conn, HEADERS, END_STREAM, 1, header, 5);
        fake_frame(call->conn, 9, END_HEADERS, 1, header + 5,
                   sizeof(header) - 6);
        break;

    case 5:
        fake_frame(call->conn, 5, END_HEADERS, 1, "\0\0\0\2\x88", 5);
        fake_frame(call->conn, HEADERS, END_HEADERS, 2, "\x88", 1);
        break;

    case 2:
        fake_frame(call->conn, 2, 0, 1, "\0\0\0\0\0", 5);
        break;

    default:
        fake_frame(call->conn, (uint8_t) late.type, 0, 1, n, 4);
    }

    fake_frame(call->conn, SETTINGS, ACK, 0, "", 0);
}


static void
give_with_late(fake_call_t *call)
{
    give_late(call, 0);
    fake_headers(call);
    give_late(call, 1);
    fake_message(call, 0);
    give_late(call, 2);
    fake_frame(call->conn, WINDOW_UPDATE, 0, call->stream, "\0\0\0\1", 4);
    give_late(call, 3);
    fake_trailers(call, 0, "");
    give_late(call, 4);
}


/* frames of an earlier call of the connection are not for this call */
START_TEST(late_frames)
{
    size_t             i;
    fake_t            *fake;
    unsigned           n;
    client_t          *client;
    client_call_t     *call;
    static const int   types[] = {
        2, RST_STREAM, WINDOW_UPDATE, DATA, HEADERS, 5, 0x20
    };

    fake = fake_start(8081, "one", give_with_late);
    fake_at_once(fake);
    gateway_start(CONF);
    client = client_open(harness_port(8080));
    n = 0;

    for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        late.type = types[i];

        for (late.cut = 0; late.cut < 10; late.cut++) {
            for (late.place = 0; late.place < (late.cut ? 4 : 5);
                 late.place++)
            {
                /* a connection without an earlier call, and one that may have
                 * had a call */
                late.kept = 0;

                while (late.kept == 0) {
                    n++;
                    call = echo_get(client, "s1");
                    ck_assert_msg(call->grpc == 0 && !call->reset
                                  && client_messages(call) == 1
                                  && fake_requests(fake) == n,
                                  "type %d, place %d, cut %zu: grpc-status "
                                  "%d \"%s\"", late.type, late.place, late.cut,
                                  call->grpc, call->message);
                }
            }
        }
    }

    ck_assert(!gateway_logged("failed"));
    ck_assert(!gateway_logged("is down"));
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("late_frames");
    harness_add(suite, late_frames);

    return harness_run(suite, argv[0]);
}
