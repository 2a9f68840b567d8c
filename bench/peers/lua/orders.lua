-- The contract of createOrder by hand: every rule of version 1, and the mapping between versions 1 and 3.

local _M = {}

local SERVICE = { SD = "same-day", ST = "standard", RP = "replenishment" }
local UNIT = { EA = "C62", KG = "KGM", M = "MTR", CT = "XCT", PAL = "XPX" }
local STATUS = {
  OPEN = "received", RELEASED = "released", PICKED = "in-fulfilment",
  SHIPPED = "shipped", INVOICED = "completed", CANCELLED = "cancelled",
}

local function reversed(map)
  local back = {}
  for key, value in pairs(map) do
    back[value] = key
  end
  return back
end

local SERVICE_BACK, UNIT_BACK, STATUS_BACK = reversed(SERVICE), reversed(UNIT), reversed(STATUS)
STATUS_BACK["on-hold"], STATUS_BACK["returned"] = "OPEN", "INVOICED"

-- Lengths are in characters, so the bytes that continue one do not count.
local function characters(text)
  local _, count = text:gsub("[^\128-\191]", "")
  return count
end

local function text(least, most)
  return function(value)
    if type(value) ~= "string" then
      return false
    end
    local bytes = #value
    return bytes >= least and (bytes <= most or characters(value) <= most)
  end
end

local function pattern(expression)
  return function(value)
    return type(value) == "string" and value:find(expression) ~= nil
  end
end

local function one_of(map)
  return function(value)
    return type(value) == "string" and map[value] ~= nil
  end
end

local function amount(value)
  if type(value) ~= "number" or value < 0 or value > 99999999.99 then
    return false
  end
  local cents = value * 100
  return math.abs(cents - math.floor(cents + 0.5)) < 1e-6
end

local function order_number(value)
  return type(value) == "string" and #value <= 30 and value:find "^[A-Z0-9][A-Z0-9-]*$" ~= nil
end

local german_date = pattern "^%d%d%.%d%d%.%d%d%d%d$"

local LINE = {
  pos = function(value)
    return type(value) == "number" and value >= 1 and value <= 9990 and value == math.floor(value)
  end,
  sku = text(1, 40),
  desc = text(0, 80),
  qty = function(value)
    return type(value) == "number" and value > 0 and value <= 9999999
  end,
  uom = one_of(UNIT),
  price = amount,
}

local function line_violation(line)
  if type(line) ~= "table" then
    return "is not an object"
  end
  for name, value in pairs(line) do
    local check = LINE[name]
    if not check then
      return "has an unknown member"
    elseif not check(value) then
      return "has a wrong " .. name
    end
  end
  if not (line.pos and line.sku and line.qty and line.uom and line.price) then
    return "lacks a member"
  end
end

local function lines(value)
  if type(value) ~= "table" then
    return false
  end
  local count = #value
  if count < 1 or count > 999 then
    return false
  end
  for i = 1, count do
    if line_violation(value[i]) then
      return false
    end
  end
  return true
end

local ORDER = {
  orderNo = order_number,
  customerNo = pattern "^%d%d%d%d%d%d%d%d%d%d$",
  custName = text(0, 80),
  orderDate = german_date,
  reqDate = german_date,
  delivClass = one_of(SERVICE),
  status = one_of(STATUS),
  custRef = text(0, 35),
  shipName = text(0, 80),
  shipStreet = text(0, 80),
  shipZip = text(0, 10),
  shipCity = text(0, 60),
  shipCountry = pattern "^[A-Z][A-Z]$",
  remark = text(0, 1000),
  currency = pattern "^[A-Z][A-Z][A-Z]$",
  lines = lines,
  total = amount,
}

-- What is wrong with an order of version 1, or nothing.
function _M.violation(order)
  for name, value in pairs(order) do
    local check = ORDER[name]
    if not check then
      return "unknown member " .. tostring(name)
    elseif not check(value) then
      return "wrong " .. name
    end
  end
  if not (order.orderNo and order.customerNo and order.orderDate and order.currency and order.lines and order.total) then
    return "a required member is missing"
  end
end

local DAYS = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

local function is_day(year, month, day)
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  local leap = year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
  local last = month == 2 and leap and 29 or DAYS[month]
  return last ~= nil and day >= 1 and day <= last
end

local function iso_date(german)
  local day, month, year = german:match "^(%d%d)%.(%d%d)%.(%d%d%d%d)$"
  return is_day(year, month, day) and year .. "-" .. month .. "-" .. day or nil
end

local function german_of(iso)
  local year, month, day = iso:match "^(%d%d%d%d)%-(%d%d)%-(%d%d)$"
  return year and is_day(year, month, day) and day .. "." .. month .. "." .. year or nil
end

-- An object of those members that are there, or nothing when none is.
local function some(object)
  return next(object) and object or nil
end

-- Version 1 to version 3.
function _M.up(order)
  local currency = order.currency
  local ordered, requested = iso_date(order.orderDate), order.reqDate and iso_date(order.reqDate)
  if not ordered or order.reqDate and not requested then
    return nil, "a date is not a day of the calendar"
  end
  local number = order.customerNo:match "^0*([1-9]%d*)$"
  if not number then
    return nil, "the customer's number is zero"
  end
  local items = {}
  for i, line in ipairs(order.lines) do
    items[i] = {
      lineNumber = line.pos,
      sku = line.sku,
      description = line.desc,
      quantity = { value = line.qty, unit = UNIT[line.uom] },
      unitPrice = { amount = string.format("%.2f", line.price), currency = currency },
    }
  end
  local address = some {
    street = order.shipStreet, postalCode = order.shipZip, city = order.shipCity, countryCode = order.shipCountry,
  }
  return {
    orderNumber = order.orderNo,
    orderedOn = ordered,
    requestedOn = requested,
    serviceLevel = order.delivClass and SERVICE[order.delivClass],
    status = order.status and STATUS[order.status],
    customerReference = order.custRef,
    parties = {
      soldTo = { number = number, name = order.custName },
      shipTo = some { name = order.shipName, address = address },
    },
    notes = order.remark and { order.remark },
    lines = items,
    totals = { net = { amount = string.format("%.2f", order.total), currency = currency } },
  }
end

-- Version 3 to version 1.
function _M.down(order)
  local net = order.totals.net
  local lines_of = {}
  for i, item in ipairs(order.lines) do
    local uom, price = UNIT_BACK[item.quantity.unit], tonumber(item.unitPrice.amount)
    if not uom or not price or item.unitPrice.currency ~= net.currency then
      return nil, "a line cannot be shown in version 1"
    end
    lines_of[i] = {
      pos = item.lineNumber, sku = item.sku, desc = item.description,
      qty = item.quantity.value, uom = uom, price = price,
    }
  end
  local status = order.status and STATUS_BACK[order.status]
  local service = order.serviceLevel and SERVICE_BACK[order.serviceLevel]
  local ordered = german_of(order.orderedOn)
  local requested = order.requestedOn and german_of(order.requestedOn)
  local total = tonumber(net.amount)
  if order.status and not status or order.serviceLevel and not service or not ordered
    or order.requestedOn and not requested or not total then
    return nil, "the answer has a value that version 1 has no word for"
  end
  local sold_to, ship_to = order.parties.soldTo, order.parties.shipTo or {}
  local address = ship_to.address or {}
  return {
    orderNo = order.orderNumber,
    customerNo = string.rep("0", 10 - #sold_to.number) .. sold_to.number,
    custName = sold_to.name,
    orderDate = ordered,
    reqDate = requested,
    delivClass = service,
    status = status,
    custRef = order.customerReference,
    shipName = ship_to.name,
    shipStreet = address.street,
    shipZip = address.postalCode,
    shipCity = address.city,
    shipCountry = address.countryCode,
    remark = order.notes and order.notes[1],
    currency = net.currency,
    lines = lines_of,
    total = total,
  }
end

return _M
