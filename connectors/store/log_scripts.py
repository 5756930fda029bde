"""What the server does with a log whose entries have ids, each in one step of its own.

An entry of a stream cannot be changed, so what replaces it stands beside it: the hash `{stream}:amended` holds it by
the entry's place, and whoever reads the log gets that. `{stream}:ids` holds the place of each id.
"""

from __future__ import annotations

AMEND = """\
local place = redis.call('HGET', KEYS[1], ARGV[1])
if not place then return 0 end
redis.call('HSET', KEYS[2], place, cmsgpack.pack({unpack(ARGV, 2)}))
return 1
"""
"""Puts an entry in the place of the one that has this id. KEYS: ids, amended. ARGV: the id, fields and values."""

REMOVE = """\
local count = 0
for _, id in ipairs(ARGV) do
  local place = redis.call('HGET', KEYS[2], id)
  if place then
    count = count + redis.call('XDEL', KEYS[1], place)
    redis.call('HDEL', KEYS[2], id)
    redis.call('HDEL', KEYS[3], place)
  end
end
return count
"""
"""Takes entries out by their ids. KEYS: the stream, ids, amended."""

ENTRIES = """\
local found = redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])
if redis.call('EXISTS', KEYS[2]) == 1 then
  for _, entry in ipairs(found) do
    local amended = redis.call('HGET', KEYS[2], entry[1])
    if amended then entry[2] = cmsgpack.unpack(amended) end
  end
end
return found
"""
"""Entries from a place on, as they read now. KEYS: the stream, amended. ARGV: the first place, how many."""
