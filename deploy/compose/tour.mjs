/** A tour of the running stack: each step is a request and what must come of it. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ask } from './ask.mjs'
import { addPerson, login, programToken } from './keycloak-people.mjs'

/** @typedef {import('./stack.mjs').Stack} Stack */

/**
 * @param {Stack} stack that is up
 * @param {(line: string) => void} tell
 * @returns {Promise<void>}
 * @throws {assert.AssertionError} where something is not as it should be
 */
export async function tour(stack, tell) {
  const { urls, secrets, ca } = stack
  const keycloak = { url: urls.keycloak, ca }
  const edge = (/** @type {string} */ path, /** @type {Parameters<typeof ask>[1] & { token?: string }} */ { token, ...options } = {}) =>
    ask(`${urls.edge}${path}`, {
      ca,
      ...options,
      headers: { ...options.headers, ...(token !== undefined && { authorization: `Bearer ${token}` }) },
    })

  assert.equal((await edge('/healthz')).status, 200)
  assert.equal((await edge('/v1/sandboxes')).status, 401)
  tell('a public path answers, and nothing else does without a credential')

  const people = ['alice', 'bob'].map((name) => ({ name, password: `the-long-password-of-${name[0]}`, roles: ['sandbox:manage'] }))
  const nobody = { name: 'carol', password: 'the-long-password-of-c', roles: [] }
  for (const person of [...people, nobody]) await addPerson(keycloak, secrets['KEYCLOAK_ADMIN_PASSWORD'] ?? '', person)
  const [alice, bob] = await Promise.all(people.map((person) => login(keycloak, person)))
  tell('alice and bob log in at Keycloak')

  const made = await edge('/v1/sandboxes', {
    method: 'POST',
    token: alice,
    body: '{"id":"s1"}',
    headers: { 'content-type': 'application/json' },
  })
  assert.equal(made.status, 201, made.body)
  tell(`alice creates a sandbox: ${made.body}`)

  const used = await edge('/v1/sandboxes/s1/hello', { token: alice })
  assert.equal(used.status, 200, used.body)
  const saw = JSON.parse(used.body)
  const { sub } = JSON.parse(Buffer.from(alice.split('.')[1] ?? '', 'base64url').toString())
  assert.deepEqual([saw.sandbox, saw.subject, saw.resource], ['s1', sub, 'sandbox:s1'])
  tell('alice uses it: the sandbox verified a token that was made for it and her')

  const refused = await edge('/v1/sandboxes/s1/hello', { token: bob })
  assert.equal(refused.status, 403, refused.body)
  const decision = String(refused.headers['x-postern-decision'])
  const listed = JSON.parse((await edge('/v1/sandboxes', { token: bob })).body)
  assert.deepEqual(listed.items, [])
  tell('bob is refused, and does not see it in his list')

  assert.equal((await edge('/v1/sandboxes', { token: await login(keycloak, nobody) })).status, 403)
  tell('carol has no role, and is refused')

  const program = await programToken(keycloak, secrets['AGENTCUBE_SDK_SECRET'] ?? '')
  assert.equal((await edge('/v1/sandboxes', { method: 'POST', token: program, body: '{"id":"s2"}' })).status, 201)
  tell('a program gets its own token, and creates another')

  const line = await accessLine(stack, decision)
  assert.deepEqual([line.decision, line.reason, line.subject === sub, line.resource], ['deny', 'not_owner', false, 'sandbox:s1'])
  tell(`Envoy's access log tells of bob: ${JSON.stringify({ decision: line.decision, reason: line.reason, route: line.route })}`)

  const metrics = await stack.compose(['exec', '-T', 'postern', '/usr/local/bin/node', '-e', readMetrics])
  const counted = /^postern_checks_total\{[^}]*route="invoke-sandbox"[^}]*reason="not_owner"[^}]*\} (\d+)$/m.exec(metrics)
  assert.equal(
    counted?.[1],
    '1',
    metrics
      .split('\n')
      .filter((text) => text.startsWith('postern_checks_total'))
      .join('\n'),
  )
  tell('and /metrics counts it')

  assert.equal((await edge('/v1/sandboxes/s1', { method: 'DELETE', token: bob })).status, 403)
  assert.equal((await edge('/v1/sandboxes/s1', { method: 'DELETE', token: alice })).status, 204)
  tell('bob cannot delete it, alice can')
}

/** With certificates on both sides. @param {Stack} stack @param {(line: string) => void} tell */
export async function tourMtls(stack, tell) {
  const folder = join(stack.secrets['COMPOSE_STATE'] ?? '', 'tls/researcher')
  const [cert, key] = ['tls.crt', 'tls.key'].map((name) => readFileSync(join(folder, name), 'utf8'))
  assert.ok(cert !== undefined && key !== undefined)
  const edge = (/** @type {string} */ path, /** @type {Parameters<typeof ask>[1]} */ options = {}) =>
    ask(`${stack.urls.edge}${path}`, { ca: stack.ca, cert, key, ...options })
  assert.equal((await edge('/v1/sandboxes', { method: 'POST', body: '{"id":"w1"}' })).status, 201)
  const used = await edge('/v1/sandboxes/w1/hello')
  assert.equal(used.status, 200, used.body)
  const saw = JSON.parse(used.body)
  assert.deepEqual(
    [saw.subject, saw.workload],
    ['workload:spiffe://cluster.local/ns/agentcube-system/sa/researcher', 'spiffe://cluster.local/ns/agentcube-system/sa/router'],
  )
  tell("a program enters by its certificate; the sandbox saw the router's")
}

/** @param {Stack} stack @param {(line: string) => void} tell */
export async function tourObservability(stack, tell) {
  const query = async (/** @type {string} */ text) =>
    JSON.parse((await ask(`${stack.urls.prometheus}/api/v1/query?${new URLSearchParams({ query: text })}`)).body).data.result
  for (let tries = 0; ; tries++) {
    const [found] = await query('sum(postern_checks_total{reason="not_owner"})')
    if (Number(found?.value[1]) >= 1) break
    if (tries > 60) assert.fail('Prometheus has not scraped what was counted')
    await sleep(500)
  }
  const rules = JSON.parse((await ask(`${stack.urls.prometheus}/api/v1/rules`)).body).data.groups
  assert.ok(
    rules.length > 0 && rules.every((/** @type {any} */ group) => group.rules.every((/** @type {any} */ rule) => rule.health !== 'err')),
  )
  tell(`Prometheus has what Postern counted, and evaluates ${rules.length} groups of alert rules`)
}

const readMetrics = "fetch('http://127.0.0.1:9192/metrics').then((r) => r.text()).then((t) => process.stdout.write(t))"

/** @param {Stack} stack @param {string} decision @returns {Promise<Record<string, string>>} */
async function accessLine(stack, decision) {
  for (let tries = 0; tries < 40; tries++) {
    const logs = await stack.compose(['logs', '--no-log-prefix', '--no-color', 'envoy'])
    const line = logs.split('\n').find((text) => text.startsWith('{') && text.includes(decision))
    if (line !== undefined) return JSON.parse(line)
    await sleep(250)
  }
  throw new assert.AssertionError({ message: `Envoy's access log has no line with the decision ${decision}` })
}
