/* Many calls at once beneath grpc_pass. */

#include "mux.h"


void
mux_start(mux_calls_t *calls, client_t *client, const char *session, size_t n)
{
    ck_assert_uint_le(calls->n + n, CALLS_MAX);

    for ( /* void */ ; n > 0; n--) {
        calls->calls[calls->n++] = echo_start(client, session);
    }
}


void
mux_start_at_once(mux_calls_t *calls, client_t *client, const char *session,
    size_t n)
{
    link_hold(client_link(client));
    mux_start(calls, client, session, n);
    link_release(client_link(client), 0);
}


void
mux_all(mux_calls_t *calls, int status, const char *message)
{
    size_t  i;

    for (i = 0; i < calls->n; i++) {
        client_wait(calls->calls[i]);
        client_assert(calls->calls[i], status, message);
        ck_assert_uint_eq(client_messages(calls->calls[i]), status == 0);
    }

    calls->n = 0;
}


void
mux_all_ok(mux_calls_t *calls)
{
    mux_all(calls, 0, "");
}


void
mux_together(mux_calls_t *calls, client_t *client, fake_t *fake, unsigned n)
{
    mux_start(calls, client, "s1", n);
    mux_await_held(fake, n);
    fake_release(fake, fake_ok);
    mux_all_ok(calls);
}


void
mux_await_held(fake_t *fake, unsigned n)
{
    long long  since;

    since = harness_now();

    while (fake_held(fake) < n) {
        client_poll(5);
        ck_assert_msg(harness_now() - since < HARNESS_DEADLINE,
                      "deadline: %u calls are held, %u expected",
                      fake_held(fake), n);
    }

    ck_assert_uint_eq(fake_held(fake), n);
}


void
mux_await(atomic_uint *number, unsigned n)
{
    long long  since;

    since = harness_now();

    while (atomic_load(number) < n) {
        client_poll(5);
        ck_assert_msg(harness_now() - since < HARNESS_DEADLINE,
                      "deadline: %u, %u expected", atomic_load(number), n);
    }
}


void
mux_await_open(fake_t *fake, int n)
{
    long long  since;

    since = harness_now();

    while (atomic_load(&fake_seen(fake)->open) > n) {
        client_poll(5);
        ck_assert_msg(harness_now() - since < HARNESS_DEADLINE,
                      "deadline: %d connections, %d expected",
                      atomic_load(&fake_seen(fake)->open), n);
    }
}
