/*
 * Huffman-coded values that a client repeats on its connection.
 */

#include "wire/repeated.h"

#include <string.h>

#include "wire/hpack.h"


#define MS_REPEATED_INT       5         /* bytes of a length, at most */
#define MS_REPEATED_PRIORITY  5         /* of the fields of this flag */


/* a string that is going to be replaced, or several of them */

typedef struct {
    const uint8_t              *pos;
    const ms_repeated_value_t  *value;
} ms_repeated_edit_t;

typedef struct {
    size_t                      n;
    size_t                      growth; /* of the bytes of all edits */
    size_t                      room;   /* for it */
    ms_repeated_edit_t          all[MS_REPEATED_EDITS];
} ms_repeated_edits_t;


static void ms_repeated_frame(ms_repeated_t *repeated, uint8_t *frame,
    ms_repeated_edits_t *edits);
static int ms_repeated_block(ms_repeated_t *repeated, const uint8_t *pos,
    const uint8_t *last, ms_repeated_edits_t *edits);
static void ms_repeated_string(ms_repeated_t *repeated, const uint8_t *p,
    size_t len, ms_repeated_edits_t *edits);
static void ms_repeated_remember(ms_repeated_t *repeated, const uint8_t *p,
    size_t len);
static ms_repeated_value_t *ms_repeated_victim(ms_repeated_t *repeated);
static void ms_repeated_decode(ms_repeated_value_t *value, size_t limit);
static void ms_repeated_replace(const ms_repeated_edits_t *edits,
    uint8_t *last);


void
ms_repeated_begin(ms_repeated_t *repeated)
{
    repeated->rest = 0;
    repeated->head_len = 0;
}


size_t
ms_repeated_read(ms_repeated_t *repeated, uint8_t *p, size_t len, size_t room)
{
    size_t               n, left;
    unsigned             i;
    ms_repeated_edits_t  edits;

    edits.n = 0;
    edits.growth = 0;
    edits.room = room - len;

    for (i = 0; i < MS_REPEATED_VALUES; i++) {
        repeated->values[i].used = 0;
    }

    for (left = len; left; left -= n) {

        if (repeated->rest) {
            n = left < repeated->rest ? left : repeated->rest;
            repeated->rest -= n;
            p += n;
            continue;
        }

        n = MS_FRAME_HEADER - repeated->head_len;

        if (n > left) {
            n = left;
        }

        memcpy(repeated->head + repeated->head_len, p, n);
        repeated->head_len += n;

        if (repeated->head_len == MS_FRAME_HEADER) {
            repeated->head_len = 0;
            repeated->rest = ms_frame_length(repeated->head);

            if (n == MS_FRAME_HEADER && repeated->rest <= left - n) {
                ms_repeated_frame(repeated, p, &edits);
            }
        }

        p += n;
    }

    ms_repeated_replace(&edits, p);
    repeated->replaced = edits.n;

    return len + edits.growth;
}


void
ms_repeated_free(ms_repeated_t *repeated)
{
    unsigned  i;

    for (i = 0; i < MS_REPEATED_VALUES; i++) {

        if (repeated->values[i].data) {
            repeated->free(repeated->values[i].data);
        }
    }

    memset(repeated->values, 0, sizeof(repeated->values));
}


/* A frame that is there as a whole. */
static void
ms_repeated_frame(ms_repeated_t *repeated, uint8_t *frame,
    ms_repeated_edits_t *edits)
{
    size_t          n, growth, len, front, padding;
    uint8_t         flags;
    const uint8_t  *pos;

    flags = frame[MS_FRAME_FLAGS];

    if (frame[MS_FRAME_TYPE] != MS_FRAME_HEADERS
        || !(flags & MS_FLAG_END_HEADERS))
    {
        return;
    }

    len = ms_frame_length(frame);
    pos = frame + MS_FRAME_HEADER;

    front = (flags & MS_FLAG_PADDED ? 1 : 0)
            + (flags & MS_FLAG_PRIORITY ? MS_REPEATED_PRIORITY : 0);
    padding = flags & MS_FLAG_PADDED && len ? *pos : 0;

    if (front + padding > len) {
        return;
    }

    n = edits->n;
    growth = edits->growth;

    if (ms_repeated_block(repeated, pos + front, pos + len - padding, edits)
        != 0
        || edits->growth > edits->room
        || len + edits->growth - growth > MS_FRAME_MAX)
    {
        edits->n = n;
        edits->growth = growth;
        return;
    }

    ms_frame_set_length(frame, len + edits->growth - growth);
}


/* Returns -1 if the block is malformed. */
static int
ms_repeated_block(ms_repeated_t *repeated, const uint8_t *pos,
    const uint8_t *last, ms_repeated_edits_t *edits)
{
    int             literal;
    size_t          n;
    const uint8_t  *end;

    while (pos < last) {
        literal = 0;

        if (*pos & MS_HPACK_INDEXED) {
            pos = ms_hpack_read(pos, last, 0x7f, &n);

        } else if (*pos & MS_HPACK_INDEXING) {
            pos = ms_hpack_read(pos, last, 0x3f, &n);
            literal = 1;

        } else if (*pos & MS_HPACK_RESIZE) {
            pos = ms_hpack_read(pos, last, 0x1f, &n);

        } else {
            pos = ms_hpack_read(pos, last, 0x0f, &n);
            literal = 1;
        }

        if (pos == NULL) {
            return -1;
        }

        if (!literal) {
            continue;
        }

        if (n == 0) {
            pos = ms_hpack_string(pos, last, &n);

            if (pos == NULL) {
                return -1;
            }
        }

        end = ms_hpack_string(pos, last, &n);

        if (end == NULL) {
            return -1;
        }

        if (*pos & MS_HPACK_HUFFMAN
            && n >= MS_REPEATED_MIN && n <= MS_REPEATED_MAX)
        {
            ms_repeated_string(repeated, pos, (size_t) (end - pos), edits);
        }

        pos = end;
    }

    return 0;
}


static void
ms_repeated_string(ms_repeated_t *repeated, const uint8_t *p, size_t len,
    ms_repeated_edits_t *edits)
{
    unsigned              i;
    ms_repeated_value_t  *value;

    for (i = 0; i < MS_REPEATED_VALUES; i++) {
        if (repeated->values[i].len == len
            && memcmp(repeated->values[i].data, p, len) == 0)
        {
            break;
        }
    }

    if (i == MS_REPEATED_VALUES) {
        ms_repeated_remember(repeated, p, len);
        return;
    }

    value = &repeated->values[i];
    value->number = ++repeated->came;

    if (value->plain_len == 0) {
        ms_repeated_decode(value, repeated->limit);
    }

    if (value->plain_len < len || edits->n == MS_REPEATED_EDITS) {
        return;
    }

    value->used = 1;

    edits->all[edits->n].pos = p;
    edits->all[edits->n++].value = value;
    edits->growth += value->plain_len - len;
}


static void
ms_repeated_remember(ms_repeated_t *repeated, const uint8_t *p, size_t len)
{
    size_t                room;
    ms_repeated_value_t  *value;

    value = ms_repeated_victim(repeated);

    if (value->used) {
        return;
    }

    room = len + MS_REPEATED_INT + ms_huffman_max(len);
    value->len = 0;

    if (value->room < room) {

        if (value->data) {
            repeated->free(value->data);
        }

        value->data = repeated->alloc(repeated->data, room);
        value->room = value->data ? room : 0;

        if (value->data == NULL) {
            return;
        }
    }

    memcpy(value->data, p, len);

    value->len = len;
    value->plain_len = 0;
    value->number = ++repeated->came;
}


/*
 * What came once only makes room, so that values that are new with each call do
 * not drive out the token; but the last two of these stay, as one of them may
 * be a new token.
 */
static ms_repeated_value_t *
ms_repeated_victim(ms_repeated_t *repeated)
{
    unsigned              i, n;
    ms_repeated_value_t  *value, *oldest, *once;

    oldest = &repeated->values[0];
    once = NULL;
    n = 0;

    for (i = 0; i < MS_REPEATED_VALUES; i++) {
        value = &repeated->values[i];

        if (value->number < oldest->number) {
            oldest = value;
        }

        if (value->plain_len == 0) {
            n++;

            if (once == NULL || value->number < once->number) {
                once = value;
            }
        }
    }

    return n > 1 ? once : oldest;
}


/* A value that is malformed or too long never becomes longer: it stays. */
static void
ms_repeated_decode(ms_repeated_value_t *value, size_t limit)
{
    size_t          n;
    uint8_t        *plain, *string;
    const uint8_t  *p, *last;

    last = value->data + value->len;
    plain = value->data + value->len;
    string = plain + MS_REPEATED_INT;
    value->plain_len = 1;               /* less than any string */

    p = ms_hpack_read(value->data, last, 0x7f, &n);

    if (p == NULL
        || ms_huffman_decode(string, &n, p, (size_t) (last - p)) != 0
        || n > limit)
    {
        return;
    }

    plain = ms_hpack_write(plain, 0, 0x7f, (uint32_t) n);
    memmove(plain, string, n);

    value->plain_len = (size_t) (plain + n - last);
}


/* From the end on: no byte moves twice.  "last" is the end of what was read. */
static void
ms_repeated_replace(const ms_repeated_edits_t *edits, uint8_t *last)
{
    size_t                      i, n;
    uint8_t                    *dst;
    const uint8_t              *src, *end;
    const ms_repeated_edit_t   *edit;
    const ms_repeated_value_t  *value;

    src = last;
    dst = last + edits->growth;

    for (i = edits->n; i > 0; i--) {
        edit = &edits->all[i - 1];
        value = edit->value;
        end = edit->pos + value->len;

        n = (size_t) (src - end);
        dst -= n;
        memmove(dst, end, n);

        dst -= value->plain_len;
        memcpy(dst, value->data + value->len, value->plain_len);

        src = edit->pos;
    }
}
