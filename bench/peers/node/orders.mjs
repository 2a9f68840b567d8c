// The mapping of createOrder by hand, between versions 1 and 3; null where a value has no counterpart.

const SERVICE = { SD: 'same-day', ST: 'standard', RP: 'replenishment' }
const UNIT = { EA: 'C62', KG: 'KGM', M: 'MTR', CT: 'XCT', PAL: 'XPX' }
const STATUS = {
  OPEN: 'received', RELEASED: 'released', PICKED: 'in-fulfilment',
  SHIPPED: 'shipped', INVOICED: 'completed', CANCELLED: 'cancelled',
}

const reversed = (map) => Object.fromEntries(Object.entries(map).map(([key, value]) => [value, key]))
const SERVICE_BACK = reversed(SERVICE)
const UNIT_BACK = reversed(UNIT)
const STATUS_BACK = { ...reversed(STATUS), 'on-hold': 'OPEN', returned: 'INVOICED' }

const DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

function isDay(year, month, day) {
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
  const last = month === 2 && leap ? 29 : DAYS[month - 1]
  return last !== undefined && day >= 1 && day <= last
}

// 20.11.2026, whose shape the contract has checked.
function isoDate(german) {
  const [day, month, year] = german.split('.')
  return isDay(+year, +month, +day) ? `${year}-${month}-${day}` : null
}

function germanDate(iso) {
  const [year, month, day] = iso.split('-')
  return isDay(+year, +month, +day) ? `${day}.${month}.${year}` : null
}

// Absent members stay absent: JSON.stringify drops what is undefined, but not objects left empty.
function some(object) {
  for (const name in object) if (object[name] !== undefined) return object
  return undefined
}

export function up(order) {
  const { currency } = order
  const orderedOn = isoDate(order.orderDate)
  const requestedOn = order.reqDate === undefined ? undefined : isoDate(order.reqDate)
  const number = order.customerNo.replace(/^0+/, '')
  if (orderedOn === null || requestedOn === null || number === '') return null
  return {
    orderNumber: order.orderNo,
    orderedOn,
    requestedOn,
    serviceLevel: SERVICE[order.delivClass],
    status: STATUS[order.status],
    customerReference: order.custRef,
    parties: {
      soldTo: { number, name: order.custName },
      shipTo: some({
        name: order.shipName,
        address: some({
          street: order.shipStreet,
          postalCode: order.shipZip,
          city: order.shipCity,
          countryCode: order.shipCountry,
        }),
      }),
    },
    notes: order.remark === undefined ? undefined : [order.remark],
    lines: order.lines.map((line) => ({
      lineNumber: line.pos,
      sku: line.sku,
      description: line.desc,
      quantity: { value: line.qty, unit: UNIT[line.uom] },
      unitPrice: { amount: line.price.toFixed(2), currency },
    })),
    totals: { net: { amount: order.total.toFixed(2), currency } },
  }
}

export function down(order) {
  const { amount, currency } = order.totals.net
  const lines = []
  for (const item of order.lines) {
    const uom = UNIT_BACK[item.quantity.unit]
    if (!uom || item.unitPrice.currency !== currency) return null
    lines.push({
      pos: item.lineNumber,
      sku: item.sku,
      desc: item.description,
      qty: item.quantity.value,
      uom,
      price: Number(item.unitPrice.amount),
    })
  }
  const status = STATUS_BACK[order.status]
  const delivClass = SERVICE_BACK[order.serviceLevel]
  const orderDate = germanDate(order.orderedOn)
  const reqDate = order.requestedOn === undefined ? undefined : germanDate(order.requestedOn)
  if (orderDate === null || reqDate === null) return null
  if ((order.status && !status) || (order.serviceLevel && !delivClass)) return null
  const { soldTo, shipTo } = order.parties
  return {
    orderNo: order.orderNumber,
    customerNo: soldTo.number.padStart(10, '0'),
    custName: soldTo.name,
    orderDate,
    reqDate,
    delivClass,
    status,
    custRef: order.customerReference,
    shipName: shipTo?.name,
    shipStreet: shipTo?.address?.street,
    shipZip: shipTo?.address?.postalCode,
    shipCity: shipTo?.address?.city,
    shipCountry: shipTo?.address?.countryCode,
    remark: order.notes?.[0],
    currency,
    lines,
    total: Number(amount),
  }
}
