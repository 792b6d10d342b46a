/*
 * The list of revoked tokens, in shared memory of all workers, with a lock of
 * its own.  Kept over reloads.  An entry leaves when its "until" and the leeway
 * have passed, never to make room.
 */

#ifndef MS_TOKEN_REVOCATIONS_H
#define MS_TOKEN_REVOCATIONS_H


#include "token/revocation.h"


/* fills the list that is open, of a zone of "size" bytes; logs errors */
typedef ngx_int_t (*ms_revocations_load_pt)(ngx_str_t *file, size_t size,
    ngx_log_t *log);

/*
 * Adds the zone of the list to the configuration.  A new zone begins with what
 * "load" takes from "file", which is looked at then: a full path with a NUL
 * behind it; empty: "load" is not called.  NULL after an error was logged.
 */
ngx_shm_zone_t *ms_revocations_zone(ngx_conf_t *cf, ngx_str_t *name,
    size_t size, ngx_str_t *file, ms_revocations_load_pt load);

/* From here on this worker uses the list; NULL: there is none.  "leeway" is the
 * longest of the configuration, in seconds. */
void ms_revocations_open(ngx_shm_zone_t *zone, time_t leeway);

/* whether this worker has a list */
ngx_uint_t ms_revocations_on(void);

/* seconds by which the clocks of issuers may differ */
time_t ms_revocations_leeway(void);

/*
 * A number that changes when tokens are revoked, 1 at first.  A token that was
 * good at that number still is.  Without a lock; 0 without a list.
 */
ngx_uint_t ms_revocations_generation(void);

/* Whether the list has the token. */
ngx_uint_t ms_revocations_have(const ms_token_ids_t *ids);

/*
 * An operator's word: adds the entry, or extends the one with its key: then the
 * later "before" and "until" of both count, and are in "entry" afterwards.
 * NGX_DECLINED if nothing changed, NGX_ERROR if the list is full.
 */
ngx_int_t ms_revocations_add(ms_revocation_t *entry);

/*
 * Another gateway's word, or one of before a restart.  The later one counts: an
 * entry extends another, "ended" ends it.  Returns as the function above; after
 * NGX_ERROR all tokens are refused that were issued before the entry, until that
 * ends.
 */
ngx_int_t ms_revocations_hear(ms_revocation_t *entry);

/* An operator's word: the entry ends.  NGX_DECLINED if there is none with this
 * key.  Its word stays for a day, for gateways that have not heard of it. */
ngx_int_t ms_revocations_end(const u_char *key);

/*
 * Copies up to "n" entries from the place "from" on and moves "from" behind
 * them; holds the lock for a few places at a time.  An entry that stays is not
 * missed, whatever comes and goes meanwhile.  Returns how many; 0: the end of
 * the list.
 */
ngx_uint_t ms_revocations_copy(uint64_t *from, ms_revocation_t *entries,
    ngx_uint_t n);

/* The same for entries that changed after that generation, with those that an
 * operator has ended. */
ngx_uint_t ms_revocations_changed(uint64_t *from, ngx_uint_t since,
    ms_revocation_t *entries, ngx_uint_t n);

/* entries, of which some may be past their end; without a lock */
ngx_uint_t ms_revocations_count(void);

/* Whether an entry did not fit, and has not ended.  Without a lock. */
ngx_uint_t ms_revocations_full(void);

/* frees the entries that are past their end */
void ms_revocations_sweep(void);

/* the generation that the file has, 0: none yet */
ngx_uint_t ms_revocations_saved(void);
void ms_revocations_set_saved(ngx_uint_t generation);


#endif /* MS_TOKEN_REVOCATIONS_H */
