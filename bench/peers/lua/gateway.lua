-- What a route enforces: a token, a limit per channel, and for orders the contract and its mapping.

local cjson = require "cjson.safe"
local credentials = require "credentials"
local orders = require "orders"

local windows = ngx.shared.windows

local _M = {}
local limit

function _M.setup(settings)
  limit = settings.limit
  credentials.setup(settings)
end

local function refuse(status, title, violations)
  ngx.status = status
  ngx.header["Content-Type"] = "application/problem+json"
  ngx.print(cjson.encode { title = title, status = status, errors = violations })
  return ngx.exit(status)
end

function _M.access()
  local channel = credentials.channel()
  if not channel then
    ngx.header["WWW-Authenticate"] = "Bearer"
    return refuse(401, "a valid access token is needed")
  end
  local window = channel .. "|" .. ngx.time()
  if windows:incr(window, 1, 0, 2) > limit then
    ngx.header["Retry-After"] = 1
    return refuse(429, "too many requests")
  end
end

function _M.order()
  _M.access()
  ngx.req.read_body()
  local order = cjson.decode(ngx.req.get_body_data() or "")
  if type(order) ~= "table" then
    return refuse(400, "the body is not a JSON object")
  end
  local violation = orders.violation(order)
  if violation then
    return refuse(422, "the order does not fit the contract", { violation })
  end
  local mapped, why = orders.up(order)
  if not mapped then
    return refuse(422, "the order cannot be mapped", { why })
  end
  ngx.req.set_body_data(cjson.encode(mapped))
end

-- The answer's length is not known before it is mapped.
function _M.answer_header()
  if ngx.status == 201 then
    ngx.header.content_length = nil
    ngx.ctx.parts = {}
  end
end

function _M.answer_body()
  local parts = ngx.ctx.parts
  if not parts then
    return
  end
  parts[#parts + 1] = ngx.arg[1]
  ngx.arg[1] = nil
  if ngx.arg[2] then
    local answer = cjson.decode(table.concat(parts))
    local mapped, why = nil, "the answer is not a JSON object"
    if type(answer) == "table" then
      mapped, why = orders.down(answer)
    end
    if not mapped then
      ngx.log(ngx.ERR, why)
      return ngx.ERROR
    end
    ngx.arg[1] = cjson.encode(mapped)
  end
end

return _M
