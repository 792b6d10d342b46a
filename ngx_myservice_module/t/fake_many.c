/*
 * A fake with many calls at once: calls that are held, and orders of the test.
 */

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "fake_conn.h"
#include "harness.h"


#define STREAM_LAST  0x7fffffff
#define PIECE        16384              /* bytes of a DATA frame */


static void
each(fake_t *fake, void (*work)(fake_conn_t *conn, void *data), void *data)
{
    size_t  i;

    for (i = 0; i < CONNS_MAX && fake->conns[i] != NULL; i++) {
        if (fake->conns[i]->fd != -1) {
            work(fake->conns[i], data);
        }
    }
}


static void
work_setting_conn(fake_conn_t *conn, void *data)
{
    if (conn->settings) {
        fake_flow_settings(conn, data, 1);
    }
}


static void
work_setting(fake_t *fake)
{
    size_t  i;

    for (i = 0; i < fake->nsettings; i++) {
        if (fake->settings[i].id == fake->setting.id) {
            break;
        }
    }

    if (i == fake->nsettings) {
        ck_assert_uint_lt(fake->nsettings, SETTINGS_MAX);
        fake->nsettings++;
    }

    fake->settings[i] = fake->setting;
    each(fake, work_setting_conn, &fake->setting);
}


void
fake_setting(fake_t *fake, uint16_t id, uint32_t value)
{
    fake->setting.id = id;
    fake->setting.value = value;
    fake_run(fake, work_setting);
}


static void
work_order_conn(fake_conn_t *conn, void *data)
{
    (void) data;
    conn->fake->order(conn);
}


static void
work_order(fake_t *fake)
{
    each(fake, work_order_conn, NULL);
}


void
fake_tell(fake_t *fake, fake_order_pt order)
{
    fake->order = order;
    fake_run(fake, work_order);
}


static void
abort_conn(fake_conn_t *conn)
{
    struct linger  linger = { .l_onoff = 1 };

    (void) setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &linger,
                      sizeof(linger));
    fake_close_conn(conn);
}


void
fake_abort(fake_t *fake)
{
    fake_tell(fake, abort_conn);
}


static void
go_away_conn(fake_conn_t *conn)
{
    fake_goaway_after(conn, STREAM_LAST);
    fake_close_conn(conn);
}


void
fake_hang_up(fake_t *fake, bool goaway)
{
    fake_tell(fake, goaway ? go_away_conn : fake_close_conn);
}


void
fake_credit(fake_t *fake, fake_credit_t credit)
{
    atomic_store(&fake->credit, (int) credit);
}


void
fake_mute(fake_conn_t *conn)
{
    conn->mute = true;
}


void
fake_forget(fake_t *fake)
{
    atomic_store(&fake->forgets, true);
}


void
fake_bytewise(fake_t *fake)
{
    atomic_store(&fake->bytewise, true);
}


fake_seen_t *
fake_seen(fake_t *fake)
{
    return &fake->seen;
}


/* Calls that are held */

void
fake_hold(fake_call_t *call)
{
    fake_t  *fake;

    fake = call->fake;
    pthread_mutex_lock(&fake->mutex);
    fake->held = realloc(fake->held, (fake->nheld + 1) * sizeof(fake_call_t));
    ck_assert_ptr_nonnull(fake->held);
    fake->held[fake->nheld++] = *call;
    pthread_mutex_unlock(&fake->mutex);
}


unsigned
fake_held(fake_t *fake)
{
    size_t  n;

    pthread_mutex_lock(&fake->mutex);
    n = fake->nheld;
    pthread_mutex_unlock(&fake->mutex);

    return (unsigned) n;
}


static void
work_release(fake_t *fake)
{
    size_t        i, n;
    fake_call_t  *calls;

    pthread_mutex_lock(&fake->mutex);
    calls = fake->held;
    n = fake->nheld;
    fake->held = NULL;
    fake->nheld = 0;
    pthread_mutex_unlock(&fake->mutex);

    for (i = 0; i < n; i++) {
        fake->release(&calls[i]);
    }

    free(calls);
}


void
fake_release(fake_t *fake, fake_answer_pt answer)
{
    fake->release = answer;
    fake_run(fake, work_release);
}


void
fake_release_full(fake_t *fake, fake_answer_pt answer)
{
    fake->release = answer;
    fake_run_full(fake, work_release);
}


void
fake_ping(fake_conn_t *conn)
{
    fake_frame(conn, PING, 0, 0, "12345678", 8);
}


void
fake_goaway_after(fake_conn_t *conn, uint32_t last)
{
    uint8_t  payload[8];

    (void) fake_u32(fake_u32(payload, last), 0);
    fake_frame(conn, GOAWAY, 0, 0, payload, 8);
}


void
fake_window_update(fake_conn_t *conn, uint32_t stream, uint32_t n)
{
    uint8_t  payload[4];

    (void) fake_u32(payload, n);
    fake_frame(conn, WINDOW_UPDATE, 0, stream, payload, 4);
}


void
fake_pour(fake_call_t *call)
{
    int64_t         n;
    fake_conn_t    *conn;
    fake_stream_t  *stream;

    static const uint8_t  zeros[PIECE];

    conn = call->conn;
    stream = fake_flow_find(conn, call->stream);
    ck_assert_ptr_nonnull(stream);

    for ( ;; ) {
        n = stream->out_left;
        n = n < conn->out_left ? n : conn->out_left;
        n = n < PIECE ? n : PIECE;

        if (n <= 0 || conn->fd == -1 || stream->out_end) {
            return;
        }

        fake_frame(conn, DATA, 0, call->stream, zeros, (size_t) n);
        atomic_fetch_add(&conn->fake->seen.poured, (unsigned long) n);
    }
}


void
fake_pour_on(fake_call_t *call, bool on)
{
    fake_stream_t  *stream;

    stream = fake_flow_find(call->conn, call->stream);
    ck_assert_ptr_nonnull(stream);
    stream->pours = on;

    if (on) {
        fake_pour(call);
    }
}
