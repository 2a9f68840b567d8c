-- The requests that wrk sends, from a plan the runner wrote, and the result as one line of JSON.

local plan, at

function init(arguments)
  plan = dofile(arguments[1])
  wrk.method = plan.method
  wrk.body = plan.body
  for name, value in pairs(plan.headers) do
    wrk.headers[name] = value
  end
  if plan.tokens then
    local requests = {}
    for i, token in ipairs(plan.tokens) do
      wrk.headers["Authorization"] = "Bearer " .. token
      requests[i] = wrk.format()
    end
    at = 0
    function request()
      at = at % #requests + 1
      return requests[at]
    end
  end
  if plan.think_ms > 0 then
    -- Exponential pauses make the arrivals of many connections together a Poisson process.
    function delay()
      return math.floor(-math.log(1 - math.random()) * plan.think_ms + 0.5)
    end
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"seconds":%.6f,"p50_ms":%.4f,"p99_ms":%.4f,'
      .. '"errors":{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
