import assert from 'node:assert/strict'
import { createPublicKey } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'
import { openMemoryState } from '../../src/adapters/memory-state.ts'
import { openSqliteState } from '../../src/adapters/sqlite-state.ts'
import { type IssuerParts, openIssuer } from '../../src/compose/issuer.ts'
import { longestLifeMs } from '../../src/compose/longest-life.ts'
import type { Settings } from '../../src/config/schema.ts'
import type { State } from '../../src/core/ports.ts'
import { StartRefused } from '../../src/core/start-refused.ts'
import { publicKeysPem } from '../../src/issuer/public-keys.ts'
import { cli } from '../cli/captured.ts'
import { load, policyFiles } from '../config/policy-files.ts'
import { adminClient } from '../support/admin.ts'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

const one = '00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff'
const other = 'ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff'
const day = 86_400_000
const encrypted = (variable: string): string => `encryption_key: "\${env:${variable}}"`

const settingsOf = async (issuer: string, more = ''): Promise<Settings> => {
  const text = `version: 1
listen: { check: { address: unix:/run/postern/check.sock }, issuer: { address: "127.0.0.1:9193" } }
state: "memory:"
identity: [{ name: agents, type: postern, audience: postern }]
admin: { secret: "a secret that nobody guesses, of 40 letters" }
routes: [{ id: health, path: /healthz, public: true }]
issuer: ${issuer}
${more}`
  return (await load(await policyFiles({ 'postern.yaml': text }), { env: { ONE: one, OTHER: other } })).settings
}

describe('where the keys of the issuer are', () => {
  const folder = temporaryFolder()
  const closing: { readonly close: () => unknown }[] = []
  let count = 0
  afterEach(async () => {
    for (const each of closing.splice(0).reverse()) await each.close()
  })
  after(() => folder.remove())
  const memory = async (): Promise<State> => {
    const state = await openMemoryState({ realm: 'default' })
    closing.push(state)
    return state
  }
  const open = async (settings: Settings, state: State): Promise<IssuerParts> => {
    const parts = await openIssuer(settings, state, (cause) => assert.fail(String(cause)), true)
    assert.ok(parts)
    closing.push(parts)
    return parts
  }
  const kidOf = (parts: IssuerParts) => decodeProtectedHeader(parts.mint.admin('a', Date.now()).token).kid
  const refused = (sentence: RegExp) => (cause: unknown) =>
    cause instanceof StartRefused && cause.sentences.length === 1 && sentence.test(cause.sentences[0]!)

  it('in state, unless a file is named: then that, for its owner alone, and nothing in state', async () => {
    const state = await memory()
    const path = folder.file(`keys-${++count}/keys.json`)
    const parts = await open(await settingsOf(`{ algorithm: EdDSA, keys: { file: ${path} } }`), state)
    assert.deepEqual(await state.keys.list(), [])
    assert.equal(statSync(path).mode & 0o777, 0o600)
    const again = await open(await settingsOf(`{ algorithm: EdDSA, keys: { file: ${path} } }`), await memory())
    assert.equal(kidOf(again), kidOf(parts), 'another process of the host has the same')
    assert.equal(decodeProtectedHeader(parts.mint.admin('a', Date.now()).token).alg, 'EdDSA')
    await parts.ring()!.rotate()
    await until('the other process to hear', () => again.ring()!.list().length === 2, 1500)
  })
  for (const where of ['state', 'a file'] as const) {
    it(`encrypted in ${where} with a key that is given; another one, or none, refuses the start`, async () => {
      const path = folder.file(`keys-${++count}/keys.json`)
      const at = folder.file(`state-${count}.db`)
      const sqlite = async (): Promise<State> => {
        const state = await openSqliteState({ path: at, realm: 'default' })
        closing.push(state)
        return state
      }
      const file = where === 'state' ? '' : `file: ${path}, `
      const settings = (reference: string) => settingsOf(`{ keys: { ${file}${reference} } }`)
      const kid = kidOf(await open(await settings(encrypted('ONE')), await sqlite()))
      if (where === 'a file') assert.doesNotMatch(readFileSync(path, 'utf8'), /PRIVATE KEY/)
      else assert.match((await (await sqlite()).keys.list())[0]!.privateKey, /^a256gcm:/)
      assert.equal(kidOf(await open(await settings(encrypted('ONE')), await sqlite())), kid)
      await assert.rejects(
        open(await settings(encrypted('OTHER')), await sqlite()),
        refused(
          /^issuer\.keys\.encryption_key: the stored signing key .+ cannot be decrypted: expected the issuer\.keys\.encryption_key that it was written with$/,
        ),
      )
      await assert.rejects(
        open(await settings(''), await sqlite()),
        refused(/is it encrypted, and issuer\.keys\.encryption_key missing\?$/),
      )
    })
  }
  it('a file of keys that were not encrypted does not take a key', async () => {
    const path = folder.file(`keys-${++count}/keys.json`)
    await open(await settingsOf(`{ keys: { file: ${path} } }`), await memory())
    await assert.rejects(
      open(await settingsOf(`{ keys: { file: ${path}, encryption_key: "\${env:ONE}" } }`), await memory()),
      refused(/not encrypted in a known form: expected a256gcm; was it written without issuer\.keys\.encryption_key\?$/),
    )
  })
  it('a file that cannot be used refuses the start', async () => {
    await assert.rejects(
      open(await settingsOf('{ keys: { file: /proc/keys.json } }'), await memory()),
      refused(/^issuer\.keys\.file: key file \/proc\/keys\.json/),
    )
  })

  it('other algorithms for some audiences; after a reload too', async () => {
    const parts = await open(await settingsOf('{ algorithm_for: { picod: RS256 } }'), await memory())
    const algorithmOf = (audience: string | string[]) =>
      decodeProtectedHeader(parts.mint.ordered({ kind: 'upstream', audience, subject: 'a', scopes: [], ttl: 60, now: Date.now() }).token)
        .alg
    assert.deepEqual(parts.algorithms(), ['ES256', 'RS256'])
    assert.deepEqual(
      [algorithmOf('picod'), algorithmOf('else'), algorithmOf(['else', 'picod']), algorithmOf('__proto__')],
      ['RS256', 'ES256', 'RS256', 'ES256'],
    )
    const pem = publicKeysPem(parts.ring()!.list(), { algorithm: 'RS256' })!
    const order = { kind: 'upstream', audience: 'picod', subject: 'a', scopes: [], ttl: 60, now: Date.now() } as const
    await jwtVerify(parts.mint.ordered(order).token, createPublicKey(pem), { audience: 'picod', algorithms: ['RS256'] })
    parts.configure(await settingsOf('{ algorithm: RS256, algorithm_for: { picod: RS256, else: EdDSA } }'))
    assert.deepEqual(parts.algorithms(), ['RS256', 'EdDSA'])
    await until(
      'the new keys',
      () =>
        parts
          .ring()!
          .list()
          .filter(({ state }) => state === 'published').length === 2,
    )
    assert.equal(algorithmOf('picod'), 'ES256', 'until the first RS256 key of all signs')
  })
  it('as long as the longest token lives that the policy allows', async () => {
    const life = async (issuer: string, more = '') => (longestLifeMs(await settingsOf(issuer, more)) - 60_000) / day
    assert.equal(await life('{}'), 1)
    assert.equal(await life('{}', 'broker: { enabled: true, max_ttl: 10d }'), 10)
    assert.equal(await life('{}', 'broker: { enabled: true, max_ttl: 0s }'), 366)
    assert.equal(await life('{}', 'broker: { app_token_ttl: 3d }'), 3)
  })
})

describe('the keys of a running service', function () {
  this.timeout(30_000)
  const folder = temporaryFolder()
  let postern: RunningPostern
  let admin = ''
  let issuer = ''
  const env = { POSTERN_TEST_ADMIN_SECRET: 'a-secret-of-tests-with-more-than-32-characters' }
  before(async () => {
    const [adminPort, issuerPort] = await freePorts(2)
    admin = `127.0.0.1:${adminPort}`
    issuer = `http://127.0.0.1:${issuerPort}`
    postern = await startPostern(
      `version: 1
listen:
  check: { address: "unix:${folder.file('check.sock')}" }
  admin: { address: "${admin}" }
  issuer: { address: "127.0.0.1:${issuerPort}" }
state: "memory:"
admin: { secret: "\${env:POSTERN_TEST_ADMIN_SECRET}" }
issuer: { algorithm_for: { picod: RS256 }, keys: { file: signing/keys.json } }
broker: { enabled: true, seed_tokens: true }
identity: [{ name: agents, type: postern, audience: postern }]
routes: [{ id: health, path: /healthz, public: true }]
`,
      { env },
    )
  })
  after(async () => {
    await postern?.stop()
    folder.remove()
  })
  const key = (...args: string[]) =>
    cli(['key', ...args, '--admin', `http://${admin}`], { POSTERN_ADMIN_SECRET: env.POSTERN_TEST_ADMIN_SECRET })

  it('are served as JWKS and as PEM, of each algorithm, by the issuer and by the command', async () => {
    const jwks = (await (await fetch(`${issuer}/jwks.json`)).json()) as { keys: { kid: string; alg: string }[] }
    assert.deepEqual(jwks.keys.map(({ alg }) => alg).sort(), ['ES256', 'RS256'])
    const metadata = (await (await fetch(`${issuer}/.well-known/openid-configuration`)).json()) as Record<string, unknown>
    assert.deepEqual(metadata['id_token_signing_alg_values_supported'], ['ES256', 'RS256'])
    for (const { kid, alg } of jwks.keys) {
      for (const query of [`alg=${alg}`, `kid=${encodeURIComponent(kid)}`]) {
        const answer = await fetch(`${issuer}/jwks.pem?${query}`)
        assert.deepEqual([answer.status, answer.headers.get('content-type')], [200, 'application/x-pem-file'])
        const pem = await answer.text()
        assert.equal(createPublicKey(pem).asymmetricKeyType, alg === 'RS256' ? 'rsa' : 'ec')
        assert.equal((await key('pem', ...(query.startsWith('alg') ? ['--alg', alg] : ['--kid', kid]))).out, pem)
      }
    }
    assert.equal(createPublicKey(await (await fetch(`${issuer}/jwks.pem`)).text()).asymmetricKeyType, 'ec')
    assert.equal(createPublicKey((await key('pem')).out).asymmetricKeyType, 'ec')
    assert.equal((await fetch(`${issuer}/jwks.pem?alg=EdDSA`)).status, 404)
    assert.equal((await fetch(`${issuer}/jwks.pem`, { method: 'POST' })).status, 405)
    const none = await key('pem', '--alg', 'EdDSA')
    assert.deepEqual([none.code, none.err.includes('the issuer has no such key')], [1, true])
    assert.doesNotMatch(JSON.stringify(jwks) + (await key('list', '--json')).out, /PRIVATE|"d"/)
  })
  it('sign tokens that the key set verifies', async () => {
    const client = await adminClient(admin)
    const { token } = await client.mint({ subject: 'a' })
    await jwtVerify(token, createRemoteJWKSet(new URL(`${issuer}/jwks.json`)), { issuer, audience: 'postern' })
  })
  it('print tokens for whoever develops, and write none into the log', async () => {
    const lines = postern.program.stdout.filter((line) => line.startsWith('POSTERN_SEED_'))
    const [launch, token] = lines.map((line) => line.slice(line.indexOf('=') + 1))
    assert.equal(lines.length, 2)
    assert.match(launch!, /^[0-9a-f]{64}$/)
    const answer = await fetch(`http://${admin}/v1/admin/keys`, { headers: { authorization: `Bearer ${token}` } })
    assert.equal(answer.status, 200)
    const asked = `http://${admin}/v1/audit/events?event_type=admin_login`
    const trail = (await (await fetch(asked, { headers: { authorization: `Bearer ${token}` } })).json()) as { events: object[] }
    const seeded = { type: 'admin_login', outcome: 'success', actor: 'seed_tokens', target: decodeJwt(token!).jti }
    assert.ok(trail.events.some((event) => isDeepStrictEqual({ ...event, ...seeded }, event)))
    assert.ok(!JSON.stringify(postern.logs()).includes(launch!) && !JSON.stringify(postern.logs()).includes(token!))
  })
  it('that leaked are taken away by command: what they signed is refused', async () => {
    const client = await adminClient(admin)
    const { token } = await client.mint({ subject: 'a' })
    const leaked = decodeProtectedHeader(token).kid!
    const validate = async () =>
      (await (
        await fetch(`${issuer}/v1/token/validate`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ token }),
        })
      ).json()) as {
        valid: boolean
      }
    assert.equal((await validate()).valid, true)
    const early = await key('remove', leaked)
    assert.deepEqual([early.code, early.err.includes('409 key_signs: tokens are signed with it: rotate with now first')], [1, true])
    assert.match((await key('remove', 'none')).err, /404 unknown_key/)
    assert.equal((await key('rotate', '--now')).code, 0)
    await until('the new key to sign', async () => decodeProtectedHeader((await client.mint({ subject: 'a' })).token).kid !== leaked, 5000)
    const removed = await key('remove', leaked)
    assert.deepEqual([removed.code, removed.out.includes(leaked)], [0, false], removed.err)
    assert.deepEqual(await validate(), { valid: false })
    assert.equal((await fetch(`${issuer}/jwks.pem?kid=${leaked}`)).status, 404)
  })
})
