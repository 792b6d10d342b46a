
/*
 * The operations of a call on the pool in shared memory, each with one hold of
 * the lock: claim an instance, keep or change a lease, note signs of life.
 * What status shows is copied out under the lock, too.
 */

#include "zone/zone.h"

#include "zone/members.h"


static ms_claim_t ms_zone_granted(ms_pool_t *pool, ms_claim_t claim,
    ms_grant_t *grant);
static void ms_zone_began_lease(ms_pool_key_t *key, ms_claim_t claim,
    ms_grant_t *grant);


/* of an event; NULL: the claim begins no lease */

static const char *const  ms_zone_began[MS_CLAIM_OUTCOMES] = {
    [MS_CLAIM_NEW] = "new",
    [MS_CLAIM_MOVED] = "moved",
    [MS_CLAIM_REBUILT] = "rebuilt",
    [MS_CLAIM_QUEUED] = "queued"
};


ngx_uint_t
ms_zone_learns(ms_zone_t *zone, ngx_msec_t ttl)
{
    return zone->health ? !zone->sh->rounds.completed
                        : ngx_current_msec - zone->sh->created < ttl;
}


void
ms_zone_key(ms_zone_t *zone, ngx_str_t *session, ms_pool_key_t *key)
{
    ms_pool_key(zone->sh->pool, session->data, session->len, key);
}


ms_claim_t
ms_zone_claim(ms_zone_t *zone, ms_pool_key_t *key, ms_pool_terms_t *terms,
    ms_pool_seek_t *seek, ms_grant_t *grant, ngx_log_t *log)
{
    ms_pool_t   *pool;
    ms_claim_t   claim;
    ngx_uint_t   rebuilt;

    pool = ms_zone_lock(zone, &rebuilt);

    seek->waiting = zone->line ? ms_line_user(zone->line, pool, key, terms,
                                              ngx_current_msec)
                               : 0;

    claim = ms_pool_claim(pool, key, terms, seek, ngx_current_msec,
                          &grant->lease);

    if (claim < MS_CLAIM_BUSY) {
        claim = ms_zone_granted(pool, claim, grant);
    }

    /* what the line has claimed for this call */

    if (claim == MS_CLAIM_HIT && seek->queued) {
        claim = grant->lease.moved ? MS_CLAIM_MOVED
                : seek->waited ? MS_CLAIM_QUEUED : MS_CLAIM_NEW;
    }

    if (claim < MS_CLAIM_BUSY) {
        zone->sh->decisions[claim]++;
        ms_zone_began_lease(key, claim, grant);
    }

    ms_zone_unlock(zone, rebuilt, log);

    if (claim == MS_CLAIM_FULL) {
        ms_zone_full(zone, MS_FULL_SESSIONS, log);
    }

    return claim;
}


ms_claim_t
ms_zone_claim_at(ms_zone_t *zone, ms_pool_key_t *key, ms_pool_terms_t *terms,
    ngx_str_t *instance, ngx_addr_t *guest, ms_given_t given, uint64_t epoch,
    ngx_uint_t waited, ms_grant_t *grant, ngx_log_t *log)
{
    uint32_t     id;
    ms_pool_t   *pool;
    ms_claim_t   claim;
    ngx_uint_t   rebuilt;

    grant->lease.lease = 0;

    pool = ms_zone_lock(zone, &rebuilt);

    id = ms_pool_find(pool, (char *) instance->data, instance->len);

    if (id != MS_POOL_NONE) {
        guest = NULL;

    } else if (guest) {
        id = ms_members_guest_locked(zone, pool, guest);
    }

    claim = ms_pool_claim_at(pool, key, terms, id, given, epoch,
                             ngx_current_msec, &grant->lease);

    if (guest && id != MS_POOL_NONE) {
        ms_pool_guest(pool, id);
    }

    if (grant->lease.lease) {
        claim = ms_zone_granted(pool, claim, grant);
    }

    if (claim == MS_CLAIM_NEW && waited) {
        claim = MS_CLAIM_QUEUED;
    }

    ms_zone_began_lease(key, claim, grant);

    ms_zone_unlock(zone, rebuilt, log);

    if (claim == MS_CLAIM_FULL) {
        ms_zone_full(zone, MS_FULL_SESSIONS, log);
    }

    return claim;
}


/* under the lock */

static ms_claim_t
ms_zone_granted(ms_pool_t *pool, ms_claim_t claim, ms_grant_t *grant)
{
    ms_instance_info_t  info;

    ms_pool_address(pool, grant->lease.instance, &info);

    ngx_memcpy(grant->name_buf, info.name, info.name_len);
    grant->name.data = grant->name_buf;
    grant->name.len = info.name_len;

    grant->age = ngx_current_msec > info.started
                 ? ngx_current_msec - info.started : 0;

    ngx_memcpy(&grant->sockaddr, info.addr, info.addr_len);
    grant->socklen = (socklen_t) info.addr_len;

    if (info.addr_len == 0) {

        /* a worker died while it changed the address */

        ms_pool_fail(pool, &grant->lease, ngx_current_msec);
        return MS_CLAIM_UNAVAILABLE;
    }

    return claim;
}


/* under the lock */

static void
ms_zone_began_lease(ms_pool_key_t *key, ms_claim_t claim, ms_grant_t *grant)
{
    if (ms_zone_began[claim]) {
        ms_zone_note(MS_EVENT_LEASE_BEGAN, &grant->name, key,
                     ms_zone_began[claim]);
    }
}


void
ms_zone_decided(ms_zone_t *zone, ms_claim_t claim, int n, ngx_log_t *log)
{
    ngx_uint_t  rebuilt;

    if (claim >= MS_CLAIM_DECISIONS) {
        return;
    }

    (void) ms_zone_lock(zone, &rebuilt);

    zone->sh->decisions[claim] += n;

    ms_zone_unlock(zone, rebuilt, log);
}


ngx_uint_t
ms_zone_leased(ms_zone_t *zone, ms_pool_key_t *key, ngx_log_t *log)
{
    uint32_t     instance;
    ms_pool_t   *pool;
    ngx_uint_t   rebuilt;

    pool = ms_zone_lock(zone, &rebuilt);

    instance = ms_pool_session(pool, key, ngx_current_msec);

    ms_zone_unlock(zone, rebuilt, log);

    return instance != MS_POOL_NONE;
}


ms_claim_t
ms_zone_refusal(ms_zone_t *zone, ms_pool_key_t *key, ms_pool_terms_t *terms,
    ngx_log_t *log)
{
    ms_pool_t   *pool;
    ms_claim_t   claim;
    ngx_uint_t   rebuilt;

    pool = ms_zone_lock(zone, &rebuilt);

    /* a place in the line would have been one too many */

    claim = zone->line
            && ms_line_many(zone->line, pool, key, terms, ngx_current_msec)
            ? MS_CLAIM_TOO_MANY : ms_pool_refusal(pool);

    ms_zone_unlock(zone, rebuilt, log);

    return claim;
}


uint32_t
ms_zone_line_user(ms_zone_t *zone, ms_pool_key_t *key, ms_pool_terms_t *terms,
    ngx_log_t *log)
{
    uint32_t     n;
    ms_pool_t   *pool;
    ngx_uint_t   rebuilt;

    if (zone->line == NULL || !ms_line_used(zone->line)) {
        return 0;
    }

    pool = ms_zone_lock(zone, &rebuilt);

    n = ms_line_user(zone->line, pool, key, terms, ngx_current_msec);

    ms_zone_unlock(zone, rebuilt, log);

    return n;
}


ngx_int_t
ms_zone_touch(ms_zone_t *zone, ms_lease_t *lease, ngx_log_t *log)
{
    int          rc;
    ms_pool_t   *pool;
    ngx_uint_t   rebuilt;

    pool = ms_zone_lock(zone, &rebuilt);

    rc = ms_pool_touch(pool, lease, ngx_current_msec);

    ms_zone_unlock(zone, rebuilt, log);

    return rc == 0 ? NGX_OK : NGX_DECLINED;
}


ms_lease_state_t
ms_zone_lease_state(ms_zone_t *zone, ms_lease_t *lease, ngx_log_t *log)
{
    ms_pool_t         *pool;
    ngx_uint_t         rebuilt;
    ms_lease_state_t   state;

    state = ms_pool_lease_state(zone->sh->pool, lease, ngx_current_msec);

    if (state == MS_LEASE_HELD || state == MS_LEASE_RELEASED) {
        return state;
    }

    pool = ms_zone_lock(zone, &rebuilt);

    state = ms_pool_lease_state(pool, lease, ngx_current_msec);

    ms_zone_unlock(zone, rebuilt, log);

    return state;
}


ngx_uint_t
ms_zone_confirmed(ms_zone_t *zone, ms_lease_t *lease)
{
    return ms_pool_confirmed(zone->sh->pool, lease);
}


void
ms_zone_byte_seen(ms_zone_t *zone, ms_lease_t *lease)
{
    ms_pool_byte_seen(zone->sh->pool, lease->instance, ngx_current_msec);
}


ngx_uint_t
ms_zone_byte_since(ms_zone_t *zone, ms_lease_t *lease, ngx_msec_t since)
{
    return ms_pool_byte_since(zone->sh->pool, lease->instance, since,
                              ngx_current_msec);
}


void
ms_zone_call_seen(ms_zone_t *zone, ms_lease_t *lease, ngx_uint_t lost)
{
    ms_pool_call_seen(zone->sh->pool, lease->instance, lost, ngx_current_msec);
}


ngx_uint_t
ms_zone_call_within(ms_zone_t *zone, ms_lease_t *lease, ngx_msec_t within)
{
    return ms_pool_call_within(zone->sh->pool, lease->instance, within,
                               ngx_current_msec);
}


void
ms_zone_ask(ms_zone_t *zone, ngx_str_t *name, ngx_log_t *log)
{
    uint32_t      instance;
    ms_pool_t    *pool;
    ngx_uint_t    i, rebuilt;
    ms_rounds_t  *rounds;

    pool = ms_zone_lock(zone, &rebuilt);

    rounds = &zone->sh->rounds;
    instance = ms_pool_find(pool, (char *) name->data, name->len);

    for (i = 0; i < rounds->nasked; i++) {
        if (rounds->asked[i] == instance) {
            break;
        }
    }

    if (instance != MS_POOL_NONE && i == rounds->nasked
        && i < MS_ROUNDS_ASKED)
    {
        rounds->asked[i] = instance;
        rounds->nasked++;
    }

    ms_zone_unlock(zone, rebuilt, log);
}


void
ms_zone_update(ms_zone_t *zone, ms_lease_t *lease, ms_lease_pt change,
    ngx_log_t *log)
{
    ms_pool_t   *pool;
    ngx_uint_t   rebuilt;

    pool = ms_zone_lock(zone, &rebuilt);

    change(pool, lease, ngx_current_msec);

    ms_zone_unlock(zone, rebuilt, log);
}


void
ms_zone_conflict(ms_zone_t *zone, ms_lease_t *lease, ngx_str_t *owner,
    ms_pool_terms_t *terms, ngx_log_t *log)
{
    ms_pool_t   *pool;
    ngx_uint_t   rebuilt;

    pool = ms_zone_lock(zone, &rebuilt);

    ms_pool_conflict(pool, lease, owner->data, owner->len, terms,
                     ngx_current_msec);

    ms_zone_unlock(zone, rebuilt, log);
}


ngx_uint_t
ms_zone_stale(ms_zone_t *zone, ms_lease_t *lease, ngx_uint_t serves,
    ms_pool_terms_t *terms, ngx_log_t *log)
{
    int          held;
    ms_pool_t   *pool;
    ngx_uint_t   rebuilt;

    pool = ms_zone_lock(zone, &rebuilt);

    held = ms_pool_stale(pool, lease, serves, terms, ngx_current_msec);

    ms_zone_unlock(zone, rebuilt, log);

    return held;
}


uint64_t
ms_zone_epoch(ms_zone_t *zone, ngx_log_t *log)
{
    uint64_t     epoch;
    ms_pool_t   *pool;
    ngx_uint_t   rebuilt;

    pool = ms_zone_lock(zone, &rebuilt);

    epoch = ms_pool_epoch(pool);

    ms_zone_unlock(zone, rebuilt, log);

    return epoch;
}


void
ms_zone_epoch_seen(ms_zone_t *zone, uint64_t epoch, ngx_log_t *log)
{
    ms_pool_t   *pool;
    ngx_uint_t   rebuilt;

    pool = ms_zone_lock(zone, &rebuilt);

    ms_pool_epoch_seen(pool, epoch);

    ms_zone_unlock(zone, rebuilt, log);
}


void
ms_zone_stats(ms_zone_t *zone, ms_zone_stats_t *stats, ngx_log_t *log)
{
    ms_pool_t   *pool;
    ngx_uint_t   i, rebuilt;

    pool = ms_zone_lock(zone, &rebuilt);

    stats->capacity = zone->sh->capacity;
    stats->limit = ms_pool_limit(pool);

    for (i = 0; i < MS_INSTANCE_STATES; i++) {
        stats->states[i] = ms_pool_count(pool, i);
    }

    for (i = 0; i < MS_ENDS; i++) {
        stats->ended[i] = ms_pool_ended(pool, i);
    }

    ngx_memcpy(stats->decisions, zone->sh->decisions,
               sizeof(stats->decisions));

    stats->places = zone->places;

    if (zone->line) {
        ms_line_stats(zone->line, ngx_current_msec, &stats->line);
    }

    ms_zone_unlock(zone, rebuilt, log);
}


ngx_uint_t
ms_zone_snapshot(ms_zone_t *zone, uint32_t *from, ms_member_t *members,
    ngx_uint_t n, ngx_log_t *log)
{
    uint32_t             limit;
    ms_pool_t           *pool;
    ngx_uint_t           copied, rebuilt;
    ms_instance_info_t   info;

    copied = 0;
    pool = ms_zone_lock(zone, &rebuilt);
    limit = ms_pool_limit(pool);

    while (n-- && *from < limit) {
        ms_pool_info(pool, *from, &info);

        if (info.state != MS_INSTANCE_UNUSED) {
            ms_zone_copy_locked(zone, pool, *from, &members[copied++]);
        }

        (*from)++;
    }

    ms_zone_unlock(zone, rebuilt, log);

    return copied;
}


void
ms_zone_copy_locked(ms_zone_t *zone, ms_pool_t *pool, uint32_t instance,
    ms_member_t *member)
{
    uint64_t            now;
    ngx_uint_t          i;
    ms_instance_info_t  info;

    now = ngx_current_msec;
    ms_pool_info(pool, instance, &info);

    for (i = 0; i < MS_POOL_VERDICTS; i++) {
        member->verdicts[i] = ms_pool_verdict(&info, i);
    }

    member->instance = instance;
    member->names = ms_slot_names(zone, instance);
    member->source = zone->sh->sources[instance];
    member->state = info.state;
    member->drain = info.drain;
    member->reported = info.reported;
    member->removed = info.removed;
    member->foreign = info.foreign;
    member->epoch = info.epoch;
    member->moves = info.moves;
    member->leased = info.lease != 0;
    member->health = info.health;
    member->failures = info.failures;

    /* other workers' clocks may be ahead of this one's */

    member->since = now > info.since ? now - info.since : 0;
    member->age = now > info.started ? now - info.started : 0;
    member->idle = now > info.used ? now - info.used : 0;
    member->remaining = info.expires > now ? info.expires - now : 0;
    member->retry = info.retry > now ? info.retry - now : 0;
    member->drained = info.drained > now ? info.drained - now : 0;

    member->name.data = member->name_buf;
    member->name.len = info.name_len;
    ngx_memcpy(member->name_buf, info.name, info.name_len);

    member->session.data = member->session_buf;
    member->session.len = info.session_len;

    if (info.session_len) {
        ngx_memcpy(member->session_buf, info.session, info.session_len);
    }
}
