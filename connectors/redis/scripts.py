"""What the server does in one step each: membership, leases, and positions that only a lease moves.

A partition `payments:0` has, for each group, a lease `{payments:0}:lease:GROUP`, which holds a fencing token (a number
that grows with every holder) and the holder's name and expires by the server's clock, and the token's counter
`{payments:0}:fence:GROUP`. The members of a group are a sorted set `{payments}:members:GROUP` with times of expiry. The
braces keep a partition's keys together in a cluster.
"""

from __future__ import annotations

from penstock.connectors.store.command import Argument, pack

JOIN = """\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZRANGE', KEYS[1], 0, -1)
"""
"""Be a member for a while; the names of all members."""

GROUP = """\
local function group(name)
  for _, found in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local fields = {}
    for i = 1, #found, 2 do fields[found[i]] = found[i + 1] end
    if fields.name == name then return fields end
  end
end
"""

FOUND = """\
local info, gone = redis.pcall('XINFO', 'STREAM', KEYS[1]), 0
if not info.err then
  local fields = {}
  for i = 1, #info, 2 do fields[info[i]] = info[i + 1] end
  gone = fields['entries-added'] - fields.length
end
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM', 'ENTRIESREAD', gone)
if made.err and not string.find(made.err, 'BUSYGROUP') then return made end
"""
"""Have the stream and the group, which begins at the first entry there is; those removed before count as read."""

ACQUIRE = (
    GROUP
    + """\
if redis.call('EXISTS', KEYS[2]) == 1 then return false end
local lease = redis.call('INCR', KEYS[3]) .. ' ' .. ARGV[2]
"""
    + FOUND
    + """\
redis.call('SET', KEYS[2], lease, 'PX', ARGV[3])
local found = group(ARGV[1])
return {lease, found['last-delivered-id'], found['entries-read'] or -1}
"""
)
"""Take the lease unless somebody has it: the lease, the group's position, and how many entries lie before it."""

RENEW = (
    GROUP
    + """\
local lease = redis.call('GET', KEYS[2])
if not lease and redis.call('GET', KEYS[3]) == string.match(ARGV[2], '^%d+') then lease = ARGV[2] end
if lease ~= ARGV[2] then return false end
redis.call('SET', KEYS[2], lease, 'PX', ARGV[3])
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
local found = group(ARGV[1])
return found and found.lag or -1
"""
)
"""Keep the lease, also one that ran out and that nobody took since: the group's lag, or nothing where it is lost."""

RELEASE = """\
if redis.call('GET', KEYS[2]) == ARGV[2] then redis.call('DEL', KEYS[2]) end
return 1
"""
"""Give the lease back."""

EVICT = """\
local lease = redis.call('GET', KEYS[1])
local holder = lease and string.match(lease, '^%d+ (.*)$')
for _, name in ipairs(ARGV) do
  if name == holder then redis.call('DEL', KEYS[1]) end
end
return 1
"""
"""Take the lease away from these holders."""

CONFIRM = """\
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end
local position = {KEYS[1], ARGV[1], ARGV[3]}
if tonumber(ARGV[4]) >= 0 then position[4], position[5] = 'ENTRIESREAD', ARGV[4] end
if redis.pcall('XGROUP', 'SETID', unpack(position)).err then
  redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], ARGV[3], 'MKSTREAM')
end
local function parts(id) return tonumber(string.match(id, '^%d+')), tonumber(string.match(id, '%d+$')) end
local ms, seq
for _, found in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local fields = {}
  for i = 1, #found, 2 do fields[found[i]] = found[i + 1] end
  local m, s = parts(fields['last-delivered-id'])
  if fields.pending > 0 then m, s = parts(redis.call('XPENDING', KEYS[1], fields.name)[2]) else s = s + 1 end
  if not ms or m < ms or (m == ms and s < seq) then ms, seq = m, s end
end
redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f-%.0f', ms, seq))
return 1
"""
"""With the lease, move the group's position, and remove what every group has finished."""


def keys(stream: str, group: str) -> tuple[str, str, str]:
    """The keys of one partition: its stream, the group's lease, the counter of tokens."""
    return stream, f"{{{stream}}}:lease:{group}", f"{{{stream}}}:fence:{group}"


def members_key(stream: str, group: str) -> str:
    """The key of a group's members."""
    return f"{{{stream}}}:members:{group}"


def run(script: str, names: tuple[str, ...], *arguments: Argument) -> bytes:
    """The command that runs a script."""
    return pack("EVAL", script, len(names), *names, *arguments)
