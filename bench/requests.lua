-- wrk: send the requests of a file (each behind its length) as they are; tell at the end, in JSON, what was answered.
-- Each thread takes its share. Arguments: the file, the number of threads, "once" or "again".

local number = 0

function setup(thread)
  thread:set("mine", number)
  number = number + 1
end

function init(arguments)
  requests, position, once = {}, 0, arguments[3] == "once"
  local file, index = io.open(arguments[1], "rb"), 0
  while true do
    local length = file:read("*n")
    if not length then break end
    file:read(1)
    local request = file:read(length)
    if index % tonumber(arguments[2]) == mine then requests[#requests + 1] = request end
    index = index + 1
  end
  file:close()
end

function request()
  position = position + 1
  if position > #requests then
    if once then
      wrk.thread:stop()
      return requests[1]
    end
    position = 1
  end
  return requests[position]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "refused": %d, "broken": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f}\n',
    summary.requests, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
