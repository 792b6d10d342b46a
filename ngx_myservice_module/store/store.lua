-- The session leases of one upstream, for all its gateways.  One script, the
-- verb is ARGV[1], the name of the gateway ARGV[2].  All keys are fixed,
-- declared, and share one hash tag:
--   KEYS[1] hash    session -> instance
--   KEYS[2] hash    instance -> "epoch expires flags who session"
--   KEYS[3] hash    e: the highest epoch, n: number of the last change,
--                   g: the generation, which a script makes in an empty store,
--                   r: where "revoke" looks next for what has ended
--   KEYS[4] stream  the last changes
--   KEYS[5] zset    "user instance", all scores 0: the records of a user, one
--                   who has a limit
--   KEYS[6] hash    revocation -> "stamp until entry", for the verbs that need
--                   it
-- A session has an entry exactly while an instance's record names it, so the
-- number of instances bounds the memory, and no key has a time to live.
--   flags    "d" (takes no new session) or "-", with the stamp of the operator
--            who said so last, and after a "/" when the session has to leave,
--            if ever; if an operator has said it, "a" (added) or "r" (removed),
--            with that stamp; then "c" (confirmed), "m" (an operator moves the
--            session) or "t" (tentative: no call has succeeded yet), with "."
--            and a hash for each gateway whose calls may wait for that; in front
--            ".0" if one may have succeeded (a gateway that has only heard of the
--            lease has told it to a new store), or ".1" if the session had another
--            instance before
--   who      "subject" or "subject:user", both hashes: whose the session is
--            ("-": not known), and for whom it counts ("~": for the subject,
--            until a call says it)
-- A record without a session is a tombstone: nothing below its epoch is
-- believed, and nobody gets the instance before "expires".
-- A stamp is the time of an operator's word, in microseconds of the gateway
-- that got it, and above the stamp that this gateway knew: of two words the one
-- with the higher stamp counts, whichever comes first.
-- An epoch that is further than AHEAD above the store's clock is not believed,
-- whoever names it and wherever it stands: it counts as 0, not known.  A lease
-- of such an epoch is found by its session and instance alone.
-- A record that cannot be read is of nobody, and no session gets its instance:
-- it stays until a gateway that has the lease renews it, or the instance says
-- whose it is.
-- Times are milliseconds of the store's clock.  Arguments and answers have
-- only relative ones.  Each answer has the generation.

local S, I, C, L, U = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local call, fmt, match = redis.call, string.format, string.match
local verb, gw = ARGV[1], ARGV[2]

local FORGET = 86400000     -- ms after which a record that has ended is dropped
local SLICE = 1000          -- records that are looked at with one command
local SWEEP = 32            -- revocations that "revoke" looks at
local AHEAD = 604800000000  -- us, MS_EPOCH_AHEAD of the gateways
local DIGITS = 16           -- that a number of this script has at most
local RECORD = '^(%d+) (%d+) ([d-]%d*/?%d*)([ar]?%d*)([tcm][%x.]*) (%S+) (.*)$'
local UNDRAINED = '^%d+ (%d+) %-'
local LONG = string.rep('%d', DIGITS + 1)

local t = call('TIME')
local us = t[1] * 1000000 + t[2]
local now = math.floor(us / 1000)

local function str(n) return fmt('%.0f', n) end     -- tostring(): "1.7e+15"

local function believed(e)
    e = tonumber(e) or 0
    return e <= us + AHEAD and e or 0
end

local function parse(v)
    local e, x, d, m, c, u, s = match(v, RECORD)
    if not e or #x > DIGITS or match(d, LONG) or match(m, LONG) then
        return nil
    end
    return {e = believed(e), x = tonumber(x), d = d, m = m, c = c, u = u,
            s = s}
end

-- nil: there is none, or, with a text, one that cannot be read
local function get(inst)
    local v = call('HGET', I, inst)
    return v and parse(v) or nil, v
end

-- for whom a session counts: what KEYS[5] has, nil: nobody
local function user(u)
    local n = string.find(u, ':', 1, true)
    if not n then return nil end
    local k = string.sub(u, n + 1)
    return k == '~' and k .. string.sub(u, 1, n - 1) or k
end

-- Who cannot be counted gets no instance, and keeps the one that it has.
local function count(...)
    return (verb == 'claim' and call or redis.pcall)(...)
end

-- the record of an instance, which was "r"
local function put(inst, r, e, x, c, u, s)
    local was = r and r.u or '-'
    local from, to = was ~= u and user(was), was ~= u and user(u)
    if from ~= to then
        if from then count('ZREM', U, from .. ' ' .. inst) end
        if to then count('ZADD', U, 0, to .. ' ' .. inst) end
    end
    call('HSET', I, inst, str(e) .. ' ' .. str(x) .. ' '
         .. (r and r.d .. r.m or '-') .. c .. ' ' .. u .. ' ' .. s)
end

-- a number in KEYS[3], nil: there is none, or something else
local function field(name)
    local v = match(call('HGET', C, name) or '', '^%d+$')
    return v and #v <= DIGITS and v or nil
end

-- of a change; what is no number begins anew
local function number()
    local n = redis.pcall('HINCRBY', C, 'n', 1)
    if type(n) == 'number' and n > 0 and n < 2 ^ 53 then return n end
    call('HDEL', C, 'n')
    return call('HINCRBY', C, 'n', 1)
end

local function tell(op, inst, e, s, gw, u)
    call('XADD', L, 'MAXLEN', '~', '10000', '*', 'n', number(), 'o', op,
         'i', inst, 'e', str(e), 's', s, 'g', gw, 'u', u or '-')
end

local function highest() return believed(call('HGET', C, 'e') or '0') end

-- Above all that were given, that a gateway has seen, and that a store which
-- has lost its counter can have given.
local function epoch(seen)
    local e = math.max(highest(), believed(seen), us) + 1
    call('HSET', C, 'e', str(e))
    return e
end

local function raise(e)
    if e > highest() then call('HSET', C, 'e', str(e)) end
end

local function generation()
    local g = field('g')
    if not g then
        g = str(us)
        call('HSET', C, 'g', g)
    end
    return g
end

-- the epoch that a gateway names of a lease: 0 if that is not believed, or that
-- of the record if it is of the same lease
local function named(e, r, same)
    e = tonumber(e)
    if believed(e) == e then return e end
    return r and same and r.e or 0
end

local function live(r) return r and r.s ~= '' and r.x > now end

-- the record may have been removed by hand, and be of another session since
local function own(sid)
    local inst = call('HGET', S, sid)
    local r = inst and get(inst)
    if not r or r.s ~= sid then return nil end
    return inst, r
end

local function says(said) return string.sub(said, 1, 1) end

local function tentative(c) return string.sub(c, 1, 1) == 't' end

-- The gateway's name in a tentative record: who gives the lease back takes its
-- own name out, and ends the lease if none is left.
local function me() return '.' .. string.sub(redis.sha1hex(gw), 1, 8) end

-- the answer to those who share the lease
local function shown(c)
    return match(c, '^t%.1%f[%X]') and 'tm' or says(c)
end

local function with_me(c)
    return string.find(c, me(), 1, true) and c or c .. me()
end

local function without_me(c)
    local from, to = string.find(c, me(), 1, true)
    return from and string.sub(c, 1, from - 1) .. string.sub(c, to + 1) or c
end

local function stamp(said) return tonumber(match(said, '^.(%d+)')) or 0 end

-- the ms that are left of a word on a drain, nil: no limit
local function time_left(said)
    local till = match(said, '/(%d+)$')
    return till and str(math.max(till - now, 1))
end

-- the word with them
local function drains(said)
    local time = time_left(said)
    return time and match(said, '^[^/]*') .. '/' .. time or said
end

local function left(r) return str(math.max(r.x - now, 0)) end

-- What "a" and "b" say together of whose a session is; nil: subjects differ.
local function join(a, b)
    if a == b or b == '-' then return a end
    if a == '-' then return b end
    local u, k = match(a, '^([^:]*):?(.*)$')
    local v, l = match(b, '^([^:]*):?(.*)$')
    if u == '-' then u = v elseif v ~= '-' and v ~= u then return nil end
    if k == '' or (k == '~' and l ~= '') then k = l end
    return k == '' and u or u .. ':' .. k
end

local g = generation()


-- Whether the user of "u" has "max" leases, those of its subject among them.
-- The records decide: an entry of KEYS[5] may be of one that has expired.  What
-- the session has "from" the gateway, and the store does not know of yet, is a
-- lease, too: it moves.
local full = verb == 'claim' and ARGV[10] ~= '-' and function(u, max, from, e)
    local r = from ~= '' and get(from)
    if from ~= '' and not (r and r.e >= e) then return false end

    local subject, k = match(u, '^([^:]*):?(.*)$')
    local users, n = {k, '~' .. subject}, 0
    for _, v in ipairs(users) do
        n = n + call('ZLEXCOUNT', U, '[' .. v .. ' ', '(' .. v .. '!')
    end
    if n < max then return false end

    n = 0
    for _, v in ipairs(users) do
        local tag = v == k and ':' .. k .. ' ' or ' ' .. subject .. ':~ '
        local all = call('ZRANGEBYLEX', U, '[' .. v .. ' ', '(' .. v .. '!')
        for first = 1, #all, SLICE do
            local names = {}
            for i = first, math.min(first + SLICE - 1, #all) do
                names[#names + 1] = string.sub(all[i], #v + 2)
            end
            for i, o in ipairs(call('HMGET', I, unpack(names))) do
                local x = o and string.find(o, tag, 1, true)
                          and match(o, '^%d+ (%d+)')
                if not x then
                    call('ZREM', U, all[first + i - 1])
                elseif tonumber(x) > now then
                    n = n + 1
                end
            end
        end
    end
    return n >= max
end


-- claim gw session ttl seen from from_epoch who hold max candidate...
-- The session's own instance, else the first candidate that is free, for "ttl"
-- until "renew" confirms it.  "from" with the epoch of the lease there: the
-- session leaves that instance.  For "hold" ms after an empty store began
-- there are no new leases: gateways tell it of those that exist.  A user that
-- has "max" sessions ("-": no limit) gets no other one; one that a gateway
-- moves by what the store does not know yet is none.
--   own|new|moved instance epoch generation; with own its "t" ("tm": and the
--   session had another instance before), "c" or "m"
--   denied: the session belongs to another subject
--   young, with the ms that are left instead of an epoch
--   limit: the user has that many sessions
--   busy: all candidates have owners, or are drained; with one whose record is
--     not one
--   stays: so it is, and the session that an operator moves stays
if verb == 'claim' then
    local sid, ttl, seen = ARGV[3], tonumber(ARGV[4]), ARGV[5]
    local from, u, max = ARGV[6], ARGV[8], ARGV[10]
    local inst, r = own(sid)
    local fe = named(ARGV[7], r, from == inst)

    if live(r) then
        local who = join(r.u, u)
        if not who then
            return {'denied', inst, str(r.e), g}
        end
        if (from ~= inst or fe < r.e) and (r.c ~= 'm' or not ARGV[11]) then
            local x = math.max(r.x, now + ttl)
            local c = tentative(r.c) and with_me(r.c) or r.c
            if x > r.x or r.u ~= who or r.c ~= c then
                put(inst, r, r.e, x, c, who, sid)
            end
            return {'own', inst, str(r.e), g, shown(c)}
        end
    else
        local young = tonumber(g) + tonumber(ARGV[9]) * 1000 - us
        if young > 0 and young <= tonumber(ARGV[9]) * 1000 then
            return {'young', '', str(math.ceil(young / 1000)), g}
        end

        if max ~= '-' and full(u, tonumber(max), from, fe) then
            return {'limit', '', '0', g}
        end
    end

    -- A question names up to 16 candidates, and most have an owner: of those
    -- only the end is looked at.
    local had = ARGV[11] and call('HMGET', I, unpack(ARGV, 11)) or {}

    local odd = ''
    for n, v in ipairs(had) do
        local c = ARGV[10 + n]
        local x = v and match(v, UNDRAINED)
        local ends = x and tonumber(x) <= now
        local o = ends and parse(v)
        if c ~= from and (not v or o) then
            local e = epoch(seen)
            if o and o.s ~= '' then call('HDEL', S, o.s) end
            if inst and inst ~= c then put(inst, r, e, now, 'c', '-', '') end
            u = live(r) and join(r.u, u) or u
            put(c, o, e, now + ttl,
                with_me((live(r) or from ~= '') and 't.1' or 't'), u, sid)
            call('HSET', S, sid, c)
            if live(r) then tell('leave', inst, r.e, sid, gw) end
            tell('claim', c, e, sid, gw, u)
            return {live(r) and r.c == 'm' and 'moved' or 'new', c, str(e), g}
        end
        if v and (ends or not x) and not match(v, RECORD) then odd = c end
    end

    if live(r) and r.c == 'm' and ARGV[11] then
        put(inst, r, r.e, math.max(r.x, now + ttl), 'c', r.u, sid)
        tell('stay', inst, r.e, sid, gw)
        return {'stays', inst, str(r.e), g}
    end

    return {'busy', odd, '0', g}
end


-- renew gw (session instance epoch ttl who)...
-- Confirms leases and puts their end off; those that the store has lost are
-- entered again.  With a "t" behind its "ttl" a lease is not confirmed by that:
-- calls of the gateway wait for the first success.  With an "h" it has only heard
-- of it.
-- Only what differs is answered, with its place among them:
--   generation, (place what instance epoch)...
--   asserted  entered again
--   moved     the session is at that instance, by a higher epoch
--   epoch     the lease is the session's, with that epoch
--   moves     it is renewed, and an operator moves the session
--   ended     it was released at that epoch or later
--   taken     another session has the instance
if verb == 'renew' then
    local out = {}

    for n = 3, #ARGV - 4, 5 do
        local sid, inst = ARGV[n], ARGV[n + 1]
        local ttl, c = match(ARGV[n + 3], '^(%d+)([th]?)$')
        local x, u = now + ttl, ARGV[n + 4]
        local r, what, w = get(inst), nil, inst
        local e = named(ARGV[n + 2], r, r and r.s == sid)
        local we = e
        c = c == 't' and with_me('t') or c == 'h' and 't.0' or 'c'

        if r and r.s == sid and r.e <= e then
            if e == 0 then e = epoch('0') end
            if r.e < e then raise(e) end
            -- an end that far off is of a clock that was moved back since
            x = math.min(math.max(r.x, x), x + ttl)
            if r.e == e and r.c == 'm' then what = 'moves' end
            c = what and 'm' or not (tentative(r.c) and tentative(c)) and 'c'
                or c == 't.0' and r.c or with_me(r.c)
            put(inst, r, e, x, c, join(r.u, u) or r.u, sid)

        elseif r and r.s == sid then
            what, we = 'epoch', r.e

        elseif not r or ((r.e < e or r.e == 0) and not live(r)) then
            local j, o = own(sid)
            if live(o) and o.e > e then
                what, w, we = 'moved', j, o.e
            else
                if e == 0 then e = epoch('0') end
                if j then put(j, o, e, now, 'c', '-', '') end
                if r and r.s ~= '' then call('HDEL', S, r.s) end
                put(inst, r, e, x, c, u, sid)
                call('HSET', S, sid, inst)
                raise(e)
                tell(tentative(c) and 'claim' or 'assert', inst, e, sid, gw, u)
                what = 'asserted'
            end

        elseif r.s == '' then
            what, we = 'ended', r.e
        else
            what, we = 'taken', r.e
        end

        if what then
            for _, v in ipairs({str((n - 3) / 5), what, w, str(we)}) do
                out[#out + 1] = v
            end
        end
    end

    return {g, out}
end


-- release gw session instance epoch rest what
-- The lease ends, also in a store that has an older epoch.  With "rest" the
-- instance shuts down, and nobody gets it for so many ms; else it was given
-- back.
-- "what" is "t" if the gateway gives back a lease that no call of its own has
-- confirmed: one that another gateway has confirmed, or may confirm, stays.  It is
-- "n" if the lease was given to that gateway: no call can have succeeded before.
--   ok|no generation; with a "no" to those what the session has there, if
--   anything: session instance epoch, "t", "c" or "m", who
if verb == 'release' then
    local sid, inst = ARGV[3], ARGV[4]
    local r = get(inst)
    local e = named(ARGV[5], r, r and r.s == sid)
    local back = ARGV[7] == 't' or ARGV[7] == 'n'
    local function no()
        if not back or not live(r) or r.s ~= sid then
            return {'no', g}
        end
        return {'no', g, sid, inst, str(r.e), says(r.c), r.u}
    end
    if not r or r.s ~= sid or r.e > e
       or (back and (not tentative(r.c) or r.e < e))
    then
        return no()
    end
    local rest = back and without_me(r.c) or 't'
    if ARGV[7] == 'n' then rest = string.gsub(rest, '^t%.0%f[%X]', 't') end
    if rest ~= 't' and rest ~= 't.1' then
        put(inst, r, r.e, r.x, rest, r.u, sid)
        return no()
    end
    raise(e)
    call('HDEL', S, sid)
    put(inst, r, e, now + tonumber(ARGV[6]), 'c', '-', '')
    tell(ARGV[6] == '0' and 'leave' or 'release', inst, e, sid, gw)
    return {'ok', g}
end


-- move gw session instance epoch
-- An operator moves the session: the next claim, of whichever gateway, leads to
-- another instance, if one is free.
--   ok|no generation
if verb == 'move' then
    local sid, inst = ARGV[3], ARGV[4]
    local r = get(inst)
    local e = named(ARGV[5], r, r and r.s == sid)
    if not live(r) or r.s ~= sid or r.e ~= e then
        return {'no', g}
    end
    if r.c ~= 'm' then
        put(inst, r, e, r.x, 'm', r.u, sid)
        tell('move', inst, e, sid, gw)
    end
    return {'ok', g}
end


-- word gw instance session epoch asof ttl seen who
-- The instance says which session it serves ('': none) by which epoch.
-- "asof" is the highest epoch of the instance that the gateway knew when it
-- asked: a newer record is not changed.
--   ok         the record says so now, with that epoch
--   old        the record is newer, or says so already
--   elsewhere  the session has left it, by a higher epoch, for that instance
if verb == 'word' then
    local inst, sid, e = ARGV[3], ARGV[4], believed(ARGV[5])
    local asof, ttl, u = believed(ARGV[6]), tonumber(ARGV[7]), ARGV[9]
    local r = get(inst)

    if r and (r.e > asof or (r.s == sid and r.e >= e)) then
        return {'old', inst, str(r.e), g}
    end

    if sid == '' then
        if not r or r.s == '' or tentative(r.c) then
            return {'old', inst, str(r and r.e or 0), g}
        end
        call('HDEL', S, r.s)
        put(inst, r, r.e, now, 'c', '-', '')
        tell('leave', inst, r.e, r.s, gw)
        return {'ok', inst, str(r.e), g}
    end

    local j, o = own(sid)
    if j and j ~= inst and live(o) and o.e > e then
        return {'elsewhere', j, str(o.e), g}
    end

    local n = epoch(ARGV[8])
    if j and j ~= inst then put(j, o, n, now, 'c', '-', '') end
    if r and r.s ~= '' and r.s ~= sid then call('HDEL', S, r.s) end
    u = live(o) and join(o.u, u) or u
    put(inst, r, n, now + ttl, 'c', u, sid)
    call('HSET', S, sid, inst)
    tell('assert', inst, n, sid, gw, u)
    return {'ok', inst, str(n), g}
end


-- operator gw (instance d[/left]|-|a|r stamp)...
-- Operators' words, those on drains and those on membership apart.  In "left"
-- ms the session of a drained instance has to leave.  A gateway
-- that finds an empty store tells all that it knows.  An instance that was
-- removed may be a member of some gateways by their configuration: it gets
-- leases from those who name it.  Gateways forget drains with the instance: who
-- hears that it is there again hears of its drain, too.  Only what the store
-- knows better is answered:
--   generation, (instance d[/left]|-|a|r stamp)...
if verb == 'operator' then
    local ops = {d = 'drain', ['-'] = 'undrain', a = 'add', r = 'remove'}
    local out = {}

    local function better(inst, said)
        local time = time_left(said)
        for _, v in ipairs({inst, says(said) .. (time and '/' .. time or ''),
                            str(stamp(said))}) do
            out[#out + 1] = v
        end
    end

    for n = 3, #ARGV - 2, 3 do
        local inst, st = ARGV[n], tonumber(ARGV[n + 2])
        local w, time = match(ARGV[n + 1], '^(.)/?(%d*)$')
        local r, v = get(inst)
        local k = (w == 'a' or w == 'r') and 'm' or 'd'
        local odd = v and not r
        r = r or {e = 0, x = 0, d = '-', m = '', c = 'c', u = '-', s = ''}

        if odd then
            -- it takes no word

        elseif st > stamp(r[k]) then
            local back = w == 'a' and says(r.m) == 'r' and stamp(r.d) > 0
            r[k] = w .. str(st)
                   .. (time ~= '' and '/' .. str(now + time) or '')
            put(inst, r, r.e, r.x, r.c, r.u, r.s)
            tell(ops[w], inst, st, '', gw, time ~= '' and time)
            if back then
                tell(ops[says(r.d)], inst, stamp(r.d), '', gw, time_left(r.d))
            end

        elseif says(r[k]) ~= w or stamp(r[k]) ~= st then
            better(inst, r[k])
            if w == 'r' and stamp(r.d) > 0 then better(inst, r.d) end
        end
    end

    return {g, out}
end


-- list gw cursor count
-- Some of the records; "id" and "number" are of the last change: who begins
-- with cursor 0 reads the stream from there.  The next cursor 0: that is all.
-- A record that is not one has the flags "?".
--   generation id number cursor, (instance epoch left flags who session)...
if verb == 'list' then
    local last = call('XREVRANGE', L, '+', '-', 'COUNT', '1')
    local scan = call('HSCAN', I, ARGV[3], 'COUNT', ARGV[4])
    local out = {}

    for n = 1, #scan[2], 2 do
        local inst, v = scan[2][n], scan[2][n + 1]
        local r = match(v, RECORD) and parse(v)
        local drain, member = stamp(r and r.d or ''), stamp(r and r.m or '')
        if not r then
            for _, w in ipairs({inst, '0', '0', '?', '-', ''}) do
                out[#out + 1] = w
            end
        elseif now - r.x > FORGET
               and now - math.max(drain, member) / 1000 > FORGET
           and says(r.m) ~= 'a' and (says(r.d) ~= 'd' or drain < member)
        then
            if r.s ~= '' then call('HDEL', S, r.s) end
            call('HDEL', I, inst)
            if user(r.u) then count('ZREM', U, user(r.u) .. ' ' .. inst) end
        else
            for _, v in ipairs({inst, str(r.e), left(r),
                                drains(r.d) .. r.m .. says(r.c), r.u, r.s}) do
                out[#out + 1] = v
            end
        end
    end

    return {g, last[1] and last[1][1] or '0-0', field('n') or '0',
            scan[1], out}
end

-- Some of the revocations, and the next cursor.  Those that have ended a day
-- ago are dropped.
local function revocations(cursor, count)
    local scan = call('HSCAN', KEYS[6], cursor, 'COUNT', count)
    local out = {}

    for n = 1, #scan[2], 2 do
        local till, entry = match(scan[2][n + 1], '^%d+ (%d+) (.*)$')
        if till and now - till * 1000 > FORGET then
            call('HDEL', KEYS[6], scan[2][n])
        elseif till then
            out[#out + 1] = entry
        end
    end

    return out, scan[1]
end


-- revoke gw (id stamp until entry)...
-- Revocations: of those with the same id the one with the highest stamp counts.
-- "until" is in seconds.  Each question looks at more of the others than the 16
-- that it brings, so there are hardly more of those that have ended than of the
-- others.  Only what the store knows better is answered:
--   generation, entry...
if verb == 'revoke' then
    local out = {}

    for n = 3, #ARGV - 3, 4 do
        local id, st = ARGV[n], tonumber(ARGV[n + 1])
        local v = call('HGET', KEYS[6], id)
        local known, entry = match(v or '', '^(%d+) %d+ (.*)$')
        known = tonumber(known or '0')

        if st > known then
            call('HSET', KEYS[6], id, str(st) .. ' ' .. ARGV[n + 2] .. ' '
                 .. ARGV[n + 3])
            tell('revoke', id, st, ARGV[n + 3], gw)

        elseif st < known then
            out[#out + 1] = entry
        end
    end

    local _, at = revocations(field('r') or '0', SWEEP)
    call('HSET', C, 'r', at)

    return {g, out}
end


-- revoked gw cursor count
-- Some of the revocations; the answer begins as that to "list".
--   generation id number cursor, entry...
if verb == 'revoked' then
    local last = call('XREVRANGE', L, '+', '-', 'COUNT', '1')
    local out, cursor = revocations(ARGV[3], ARGV[4])

    return {g, last[1] and last[1][1] or '0-0', field('n') or '0',
            cursor, out}
end

return redis.error_reply('MS unknown verb')
