/*
 * The table of counts behind backoff.h, and the floor.
 */

#include "authsvc/login/backoff.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sodium.h>


#define BACKOFF_WAYS   8
#define BACKOFF_TIMES  16              /* few: the load changes */

typedef enum {
    BACKOFF_PAIR = 0,                   /* user and address */
    BACKOFF_USER,
    BACKOFF_ADDRESS,
    BACKOFF_KINDS
} backoff_kind_t;

typedef struct {
    uint64_t  key;                      /* 0: free */
    int64_t   used;
    int64_t   leaked;                   /* the count is right until then */
    int64_t   until;                    /* held until then */
    uint32_t  failures;
    bool      known;                    /* a pair that logged in */
} backoff_entry_t;

struct backoff_s {
    backoff_options_t   options;
    unsigned char       key[BACKOFF_KEY];
    size_t              sets;

    pthread_mutex_t     mutex;          /* for all below */
    size_t              measured;
    int64_t             times[BACKOFF_TIMES];
    int64_t             floor;
    backoff_entry_t     entries[];
};


backoff_t *
backoff_create(const backoff_options_t *options,
    const unsigned char key[BACKOFF_KEY])
{
    backoff_t  *backoff;

    backoff = calloc(1, sizeof(backoff_t)
                        + options->entries * sizeof(backoff_entry_t));
    if (backoff == NULL) {
        return NULL;
    }

    backoff->options = *options;
    backoff->sets = options->entries / BACKOFF_WAYS;
    memcpy(backoff->key, key, BACKOFF_KEY);
    pthread_mutex_init(&backoff->mutex, NULL);

    return backoff;
}


void
backoff_free(backoff_t *backoff)
{
    if (backoff != NULL) {
        pthread_mutex_destroy(&backoff->mutex);
        free(backoff);
    }
}


static uint64_t
backoff_key(const backoff_t *backoff, backoff_kind_t kind, const void *a,
    size_t alen, const void *b, size_t blen)
{
    uint64_t                  key;
    unsigned char             what, out[crypto_generichash_BYTES_MIN];
    crypto_generichash_state  state;

    what = (unsigned char) kind;

    /* fails only for lengths that are out of range */
    (void) crypto_generichash_init(&state, backoff->key, BACKOFF_KEY,
                                   sizeof(out));
    (void) crypto_generichash_update(&state, &what, 1);
    (void) crypto_generichash_update(&state, (unsigned char *) &alen,
                                     sizeof(alen));
    (void) crypto_generichash_update(&state, a, alen);
    (void) crypto_generichash_update(&state, b, blen);
    (void) crypto_generichash_final(&state, out, sizeof(out));
    memcpy(&key, out, sizeof(key));

    return key != 0 ? key : 1;
}


/* A client that has one IPv6 address has its whole /64. */
static void
backoff_keys(const backoff_t *backoff, const char *user, const char *address,
    uint64_t keys[BACKOFF_KINDS])
{
    size_t           ulen, len;
    const void      *place;
    struct in6_addr  v6;

    ulen = strlen(user);
    len = strlen(address);
    place = address;

    if (strchr(address, ':') != NULL
        && inet_pton(AF_INET6, address, &v6) == 1)
    {
        place = &v6;
        len = 8;
    }

    keys[BACKOFF_PAIR] = backoff_key(backoff, BACKOFF_PAIR, user, ulen, place,
                                     len);
    keys[BACKOFF_USER] = backoff_key(backoff, BACKOFF_USER, user, ulen, "", 0);
    keys[BACKOFF_ADDRESS] = backoff_key(backoff, BACKOFF_ADDRESS, "", 0, place,
                                        len);
}


static backoff_entry_t *
backoff_set(backoff_t *backoff, uint64_t key)
{
    return &backoff->entries[key % backoff->sets * BACKOFF_WAYS];
}


static backoff_entry_t *
backoff_find_locked(backoff_t *backoff, uint64_t key)
{
    size_t            i;
    backoff_entry_t  *set;

    set = backoff_set(backoff, key);

    for (i = 0; i < BACKOFF_WAYS; i++) {
        if (set[i].key == key) {
            return &set[i];
        }
    }

    return NULL;
}


/* How much an entry is worth.  Known entries protect half of a set ("crowded":
 * they have more), or they would leave no room to count. */
static int
backoff_worth(const backoff_entry_t *entry, bool crowded, int64_t now)
{
    if (entry->key == 0) {
        return 0;
    }

    if (entry->until > now) {
        return 3;
    }

    return crowded ? (entry->known ? 1 : 2) : (entry->known ? 3 : 1);
}


/* The entry of a set that a new one replaces: of two alike, the older one. */
static backoff_entry_t *
backoff_least(backoff_entry_t *set, int64_t now)
{
    int               worth, least;
    size_t            i, known;
    backoff_entry_t  *entry;

    known = 0;
    for (i = 0; i < BACKOFF_WAYS; i++) {
        known += set[i].known;
    }

    entry = NULL;
    least = 0;

    for (i = 0; i < BACKOFF_WAYS; i++) {
        worth = backoff_worth(&set[i], known > BACKOFF_WAYS / 2, now);

        if (entry == NULL || worth < least
            || (worth == least && set[i].used < entry->used))
        {
            entry = &set[i];
            least = worth;
        }
    }

    return entry;
}


/* The entry of a key; a new one takes the place of the least. */
static backoff_entry_t *
backoff_take_locked(backoff_t *backoff, uint64_t key, int64_t now)
{
    backoff_entry_t  *entry;

    entry = backoff_find_locked(backoff, key);

    if (entry == NULL) {
        entry = backoff_least(backoff_set(backoff, key), now);
        memset(entry, 0, sizeof(backoff_entry_t));
        entry->key = key;
        entry->leaked = now;
    }

    entry->used = now;

    return entry;
}


static bool
backoff_known_locked(backoff_t *backoff, const uint64_t keys[BACKOFF_KINDS])
{
    backoff_entry_t  *pair;

    pair = backoff_find_locked(backoff, keys[BACKOFF_PAIR]);

    return pair != NULL && pair->known;
}


bool
backoff_held(backoff_t *backoff, const char *user, const char *address,
    int64_t now)
{
    int               kind, kinds;
    bool              held;
    uint64_t          keys[BACKOFF_KINDS];
    backoff_entry_t  *entry;

    held = false;
    backoff_keys(backoff, user, address, keys);

    pthread_mutex_lock(&backoff->mutex);

    /* a known pair is held by itself only */
    kinds = backoff_known_locked(backoff, keys) ? BACKOFF_USER : BACKOFF_KINDS;

    for (kind = BACKOFF_PAIR; kind < kinds; kind++) {
        entry = backoff_find_locked(backoff, keys[kind]);
        if (entry != NULL && entry->until > now) {
            entry->used = now;
            held = true;
        }
    }

    pthread_mutex_unlock(&backoff->mutex);

    return held;
}


static void
backoff_leak(backoff_entry_t *entry, int64_t interval, int64_t now)
{
    int64_t  n;

    n = (now - entry->leaked) / interval;

    if (n >= (int64_t) entry->failures) {
        entry->failures = 0;
        entry->leaked = now;
        return;
    }

    entry->failures -= (uint32_t) n;
    entry->leaked += n * interval;
}


/* Counts a failure; returns whether the entry is held from now on. */
static bool
backoff_count_locked(backoff_t *backoff, uint64_t key, unsigned soft,
    int64_t now)
{
    int64_t           hold, interval;
    uint32_t          n, limit;
    backoff_entry_t  *entry;

    entry = backoff_take_locked(backoff, key, now);
    limit = backoff->options.failures * soft;

    interval = backoff->options.max / soft;
    backoff_leak(entry, interval > 0 ? interval : 1, now);

    entry->failures++;
    if (entry->failures < limit) {
        return false;
    }

    hold = backoff->options.base;
    for (n = limit; n < entry->failures && hold < backoff->options.max; n++) {
        hold *= 2;
    }

    /* a higher count would only take longer to leak away */
    entry->failures = n;
    entry->until = now + (hold < backoff->options.max
                          ? hold : backoff->options.max);

    return true;
}


bool
backoff_failed(backoff_t *backoff, const char *user, const char *address,
    int64_t now)
{
    bool      held;
    uint64_t  keys[BACKOFF_KINDS];

    held = false;
    backoff_keys(backoff, user, address, keys);

    pthread_mutex_lock(&backoff->mutex);

    if (!backoff_known_locked(backoff, keys)) {
        (void) backoff_count_locked(backoff, keys[BACKOFF_USER],
                                    BACKOFF_SOFT, now);
        held = backoff_count_locked(backoff, keys[BACKOFF_ADDRESS],
                                    BACKOFF_SOFT, now);
    }

    (void) backoff_count_locked(backoff, keys[BACKOFF_PAIR], 1, now);

    pthread_mutex_unlock(&backoff->mutex);

    return held;
}


void
backoff_passed(backoff_t *backoff, const char *user, const char *address,
    int64_t now)
{
    uint64_t          keys[BACKOFF_KINDS];
    backoff_entry_t  *pair;

    backoff_keys(backoff, user, address, keys);

    pthread_mutex_lock(&backoff->mutex);

    pair = backoff_take_locked(backoff, keys[BACKOFF_PAIR], now);
    pair->known = true;
    pair->failures = 0;
    pair->until = 0;

    pthread_mutex_unlock(&backoff->mutex);
}


/* The second slowest of the last times: one hiccup does not count. */
void
backoff_took(backoff_t *backoff, int64_t ms)
{
    size_t   i;
    int64_t  t, slowest;

    pthread_mutex_lock(&backoff->mutex);

    do {
        backoff->times[backoff->measured++ % BACKOFF_TIMES] = ms;
    } while (backoff->measured < BACKOFF_TIMES);

    slowest = 0;
    backoff->floor = 0;

    for (i = 0; i < BACKOFF_TIMES; i++) {
        t = backoff->times[i];

        if (t > slowest) {
            backoff->floor = slowest;
            slowest = t;

        } else if (t > backoff->floor) {
            backoff->floor = t;
        }
    }

    pthread_mutex_unlock(&backoff->mutex);
}


int64_t
backoff_floor(backoff_t *backoff)
{
    int64_t  ms;

    pthread_mutex_lock(&backoff->mutex);
    ms = backoff->floor;
    pthread_mutex_unlock(&backoff->mutex);

    return ms;
}
