/*
 * libFuzzer: frames of shared connections, both ways.  However the bytes are
 * cut, the same comes of them.  The first byte of an input says how.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/mux_frames.h"


#define must(condition)                                                       \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "not true: %s\n", #condition);                    \
            abort();                                                          \
        }                                                                     \
    } while (0)

#define MAX  65536


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* A sum over what was found, in its order. */
static uint64_t
add(uint64_t sum, uint64_t n)
{
    return (sum ^ n) * 1099511628211u;
}


static uint64_t
out(const uint8_t *data, size_t size, size_t step)
{
    size_t          n, i;
    uint64_t        sum;
    ms_mux_out_t    state;
    ms_mux_out_e    rc;
    const uint8_t  *pos, *last;

    memset(&state, 0, sizeof(state));
    sum = 0;

    for (pos = data; pos < data + size; /* void */) {
        last = (size_t) (data + size - pos) < step ? data + size : pos + step;

        while ((rc = ms_mux_out_next(&state, &pos, last)) != MS_MUX_OUT_MORE) {

            if (rc == MS_MUX_OUT_BAD) {
                return add(sum, 1);
            }

            if (rc == MS_MUX_OUT_HEAD) {
                must(state.rest <= MS_FRAME_MAX);
                sum = add(sum, state.type);
                sum = add(sum, state.flags);
                continue;
            }

            must(pos < last && state.rest > 0);
            n = (size_t) (last - pos);
            n = n < state.rest ? n : state.rest;

            for (i = 0; i < n; i++) {
                sum = add(sum, *pos++);
            }

            ms_mux_out_took(&state, n);
        }

        must(pos == last);
    }

    return add(sum, state.rest);
}


static uint64_t
in(const uint8_t *data, size_t size, size_t step)
{
    size_t           from, n, left;
    uint8_t         *pos, *last, *p;
    uint64_t         sum;
    ms_mux_in_t      state;
    ms_mux_in_e      rc;
    ms_mux_piece_t   piece;
    static uint8_t   read[2 * MAX];

    ms_mux_settings_t  settings;

    memset(&state, 0, sizeof(state));
    sum = 0;
    left = 0;

    for (from = 0; from < size; from += n) {
        n = size - from < step ? size - from : step;
        memcpy(read + left, data + from, n);
        pos = read;
        last = read + left + n;

        while ((rc = ms_mux_in_next(&state, &pos, last, &piece))
               != MS_MUX_IN_MORE)
        {
            if (rc == MS_MUX_IN_BAD) {
                return add(sum, 1);
            }

            must(piece.pos <= piece.last && piece.last == pos && pos <= last);
            must(rc == MS_MUX_IN_CONTROL || piece.stream != 0);

            for (p = piece.pos; p < piece.last; p++) {
                sum = add(sum, *p);
            }

            if (piece.end) {
                sum = add(sum, piece.stream);
            }

            if (rc == MS_MUX_IN_CONTROL && piece.type == MS_FRAME_SETTINGS) {
                memset(&settings, 0, sizeof(settings));
                must(ms_mux_settings(piece.pos,
                                     (size_t) (piece.last - piece.pos),
                                     &settings) != 0
                     || settings.window <= MS_MUX_WINDOW_MAX);
            }
        }

        left = (size_t) (last - pos);
        must(left <= MS_FRAME_HEADER + MS_FRAME_MAX);
        memmove(read, pos, left);
    }

    return add(sum, left);
}


/* A header block, which is there as a whole or not at all. */
static void
block(const uint8_t *data, size_t size)
{
    size_t          len, first;
    ms_mux_out_t    state;
    const uint8_t  *pos, *from;
    static uint8_t  joined[MAX];

    memset(&state, 0, sizeof(state));
    state.preface = MS_MUX_PREFACE;
    pos = data;

    if (ms_mux_out_next(&state, &pos, data + size) != MS_MUX_OUT_HEAD
        || state.type != MS_FRAME_HEADERS)
    {
        return;
    }

    from = pos;
    first = state.rest;

    if (ms_mux_out_block(&state, &pos, data + size, &len) != 0) {
        must(pos == from);
        return;
    }

    must(pos <= data + size && len <= (size_t) (pos - from));
    ms_mux_out_join(joined, from, first, len);
    must(memcmp(joined, from, first) == 0);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t  step;

    if (size == 0 || size > MAX) {
        return 0;
    }

    step = 1u + data[0] % 64;
    data++;
    size--;

    must(in(data, size, step) == in(data, size, MAX));
    must(out(data, size, step) == out(data, size, MAX));
    block(data, size);

    return 0;
}
