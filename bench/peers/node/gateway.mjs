// A gateway as a team would write it itself: fastify, ajv, undici and jose, one process.

import { readFileSync } from 'node:fs'
import Ajv2020 from 'ajv/dist/2020.js'
import fastify from 'fastify'
import { createLocalJWKSet, jwtVerify } from 'jose'
import pino from 'pino'
import { Pool } from 'undici'
import { parse } from 'yaml'
import { down, up } from './orders.mjs'

const { port, upstream, jwks, issuer, audience, algorithm, limit, contract } = JSON.parse(process.argv[2])

const keys = createLocalJWKSet(JSON.parse(readFileSync(jwks, 'utf8')))
const erp = new Pool(`http://127.0.0.1:${upstream}`, { connections: 128, pipelining: 1, keepAliveTimeout: 600_000 })
const isOrder = compile(contract, '#/components/schemas/Order')
const log = pino(pino.destination({ dest: '/dev/null', sync: false, minLength: 16_383 }))
const app = fastify({ keepAliveTimeout: 600_000, requestTimeout: 0, connectionTimeout: 0 })

// Verified tokens by their text; bounded, oldest out first.
const verified = new Map()
const windows = new Map()

function compile(file, pointer) {
  const document = parse(readFileSync(file, 'utf8'))
  // In binary floats 0.29 is no multiple of 0.01, so the remainder may be a little off.
  const ajv = new Ajv2020({ strict: false, validateFormats: false, multipleOfPrecision: 6 })
  ajv.addSchema({ $id: 'contract', ...document })
  return ajv.getSchema(`contract${pointer}`)
}

async function channelOf(request) {
  const [scheme, token] = (request.headers.authorization ?? '').split(' ')
  if (scheme.toLowerCase() !== 'bearer' || !token) return null
  const known = verified.get(token)
  if (known && known.expires > Date.now()) return known.channel
  const { payload } = await jwtVerify(token, keys, { issuer, audience, algorithms: [algorithm], requiredClaims: ['exp', 'client_id'] })
  if (verified.size >= 10_000) verified.delete(verified.keys().next().value)
  verified.set(token, { channel: payload.client_id, expires: payload.exp * 1000 })
  return payload.client_id
}

function isOverLimit(channel) {
  const second = Math.floor(Date.now() / 1000)
  const window = windows.get(channel)
  if (!window || window.second !== second) {
    windows.set(channel, { second, count: 1 })
    return false
  }
  return ++window.count > limit
}

function refuse(reply, status, title, errors) {
  return reply.code(status).type('application/problem+json').send(JSON.stringify({ title, status, errors }))
}

app.addHook('onRequest', async (request, reply) => {
  const channel = await channelOf(request).catch(() => null)
  if (!channel) return refuse(reply.header('WWW-Authenticate', 'Bearer'), 401, 'a valid access token is needed')
  if (isOverLimit(channel)) return refuse(reply.header('Retry-After', '1'), 429, 'too many requests')
})

app.addHook('onResponse', (request, reply, done) => {
  log.info({ method: request.method, path: request.url, status: reply.statusCode, ms: reply.elapsedTime, client: request.ip })
  done()
})

app.post('/system/erp/v1/orders', async (request, reply) => {
  if (!isOrder(request.body)) return refuse(reply, 422, 'the order does not fit the contract', isOrder.errors)
  const mapped = up(request.body)
  if (!mapped) return refuse(reply, 422, 'the order cannot be mapped')
  const answer = await erp.request({
    method: 'POST',
    path: '/orders',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(mapped),
  })
  if (answer.statusCode !== 201) return refuse(reply, 502, `the ERP answered ${answer.statusCode}`)
  const shown = down(await answer.body.json())
  if (!shown) return refuse(reply, 502, 'the answer cannot be shown in version 1')
  return reply.code(201).type('application/json').send(JSON.stringify(shown))
})

await app.listen({ host: '127.0.0.1', port, backlog: 8192 })
