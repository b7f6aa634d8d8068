import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { hostName, logLevels, portName, shortNames } from '../../src/config/env-names.ts'
import { pathText } from '../../src/config/faults.ts'
import { faults, load, minimal, policyFiles, usual } from './policy-files.ts'

const adminSecret = 'a secret that nobody guesses, of 40 letters'

describe('short names in the environment', () => {
  const settingsOf = async (env: Record<string, string>, text = minimal) =>
    (await load(await policyFiles({ 'postern.yaml': text }), { env })).settings
  const told = async (env: Record<string, string>, text = minimal) => faults(await policyFiles({ 'postern.yaml': text }), { env })

  it('set what they stand for', async () => {
    const file = await policyFiles({ 'postern.yaml': minimal, 'c.pem': 'x', 'k.pem': 'x', 'ca.pem': 'x' })
    const { settings, warnings } = await load(file, {
      env: {
        POSTERN_PORT: '8443',
        POSTERN_BIND_ADDRESS: '0.0.0.0',
        POSTERN_TRUST_DOMAIN: 'agents.example',
        POSTERN_DEFAULT_TTL: '120',
        POSTERN_MAX_TTL: '3600',
        POSTERN_APP_TOKEN_TTL: '15m',
        POSTERN_AUDIENCE: 'edge',
        POSTERN_DB_PATH: './data.db',
        POSTERN_SIGNING_KEY_PATH: './signing.key',
        POSTERN_TLS_MODE: 'mtls',
        POSTERN_TLS_CERT: 'c.pem',
        POSTERN_TLS_KEY: 'k.pem',
        POSTERN_TLS_CLIENT_CA: 'ca.pem',
        POSTERN_SEED_TOKENS: 'false',
        POSTERN_LOG_LEVEL: 'quiet',
        POSTERN_ADMIN_SECRET: adminSecret,
        POSTERN_LISTEN_ISSUER_URL: 'https://broker.example',
      },
    })
    const { listen, broker, state, issuer, log } = settings
    assert.equal(listen.issuer?.address, '0.0.0.0:8443')
    assert.equal(listen.issuer?.tls.mode, 'mtls')
    for (const name of ['cert', 'key', 'ca'] as const) assert.match(listen.issuer?.tls[name] ?? '', /\/(?:c|k|ca)\.pem$/)
    assert.deepEqual(
      [broker.trust_domain, broker.default_ttl, broker.max_ttl, broker.app_token_ttl, broker.audience, broker.seed_tokens],
      ['agents.example', 120_000, 3_600_000, 900_000, 'edge', false],
    )
    assert.ok(state.kind === 'file' && state.path.endsWith('/data.db'))
    assert.match(issuer.keys.file ?? '', /\/signing\.key$/)
    assert.equal(log.level, 'error')
    assert.deepEqual(
      warnings.filter(({ message }) => message.includes('fits no setting')),
      [],
    )
  })
  it('make the address of two halves, with what the file or the usual says where one is absent', async () => {
    const address = async (env: Record<string, string>, text?: string) => (await settingsOf(env, text)).listen.issuer?.address
    const url = { POSTERN_LISTEN_ISSUER_URL: 'http://localhost:9193' }
    assert.equal(await address({ POSTERN_PORT: '8090' }), '127.0.0.1:8090')
    assert.equal(await address({ POSTERN_BIND_ADDRESS: '::1', ...url }), '[::1]:8080')
    assert.equal(await address({ POSTERN_PORT: '8090' }, usual), '127.0.0.1:8090')
    assert.equal(await address({ POSTERN_BIND_ADDRESS: '127.0.0.2' }, usual), '127.0.0.2:9193')
    assert.equal(await address({}, usual), '127.0.0.1:9193')
  })
  it('take no ceiling for 0 seconds', async () => {
    assert.equal((await settingsOf({ POSTERN_MAX_TTL: '0' })).broker.max_ttl, 0)
  })
  it('know the levels of a log that others know, and ours', async () => {
    for (const [theirs, ours] of [...logLevels, ['trace', 'trace'], ['warn', 'warn']] as const)
      assert.equal((await settingsOf({ POSTERN_LOG_LEVEL: theirs })).log.level, ours)
    assert.match(
      (await told({ POSTERN_LOG_LEVEL: 'loud' })).join(),
      /log\.level: in environment variable POSTERN_LOG_LEVEL: expected one of/,
    )
  })
  it('change the revision', async () => {
    const revision = async (env: Record<string, string>) => (await load(await policyFiles({ 'postern.yaml': usual }), { env })).revision
    assert.notEqual(await revision({ POSTERN_PORT: '1234' }), await revision({ POSTERN_PORT: '1235' }))
    assert.equal(await revision({ POSTERN_PORT: '1234' }), await revision({ POSTERN_PORT: '1234' }))
  })

  it('and the long name of the same setting are a fault that names both', async () => {
    assert.deepEqual(await told({ POSTERN_PORT: '1', POSTERN_LISTEN_ISSUER_ADDRESS: '127.0.0.1:2' }, usual), [
      'listen.issuer.address: the environment variables "POSTERN_PORT" and "POSTERN_LISTEN_ISSUER_ADDRESS" both set it: write one of them',
    ])
    assert.match(
      (await told({ POSTERN_MAX_TTL: '1', POSTERN_BROKER_MAX_TTL: '2s' })).join(),
      /"POSTERN_MAX_TTL" and "POSTERN_BROKER_MAX_TTL" both set it/,
    )
    assert.match(
      (await told({ POSTERN_DB_PATH: 'a', POSTERN_STATE: 'memory:' }, usual)).join(),
      /"POSTERN_DB_PATH" and "POSTERN_STATE" both set it/,
    )
  })
  it('that Kubernetes makes of a Service are told as such', async () => {
    assert.match(
      (await told({ POSTERN_PORT: 'tcp://10.0.0.1:8080' })).join(),
      /Service named postern: write enableServiceLinks: false into the pod's spec/,
    )
  })
  it('with bad values are faults that name the variable', async () => {
    for (const [name, value, sentence] of [
      ['POSTERN_PORT', 'http', /in environment variable POSTERN_PORT: "http" is no port/],
      ['POSTERN_PORT', '70000', /listen\.issuer\.address: in environment variable POSTERN_PORT: expected "unix/],
      ['POSTERN_BIND_ADDRESS', 'broker.local', /listen\.issuer\.address: in environment variable POSTERN_BIND_ADDRESS: expected "unix/],
      ['POSTERN_MAX_TTL', 'long', /broker\.max_ttl: in environment variable POSTERN_MAX_TTL: expected a duration/],
      ['POSTERN_SEED_TOKENS', 'maybe', /broker\.seed_tokens: in environment variable POSTERN_SEED_TOKENS: expected true or false/],
      ['POSTERN_TLS_MODE', 'full', /listen\.issuer\.tls\.mode: in environment variable POSTERN_TLS_MODE: expected one of/],
    ] as const)
      assert.match((await told({ [name]: value }, usual)).join('\n'), sentence)
  })
  it('that the file itself refers to are its own affair', async () => {
    const text = `${usual}admin: { secret: "\${env:POSTERN_AUDIENCE}" }\n`
    const settings = await settingsOf({ POSTERN_AUDIENCE: adminSecret }, text)
    assert.equal(settings.broker.audience, undefined)
    assert.equal(settings.admin.secret?.read(), adminSecret)
  })

  it('print tokens for whoever develops on this machine, and for nobody else', async () => {
    const broker = 'broker: { enabled: true, audience: edge }\n'
    const env = { POSTERN_SEED_TOKENS: 'true', POSTERN_ADMIN_SECRET: adminSecret }
    assert.match((await told({ POSTERN_SEED_TOKENS: 'true' }, usual)).join('\n'), /expected broker\.enabled: true/)
    const file = await policyFiles({ 'postern.yaml': usual + broker, 'c.pem': 'x', 'k.pem': 'x' })
    const off = { ...env, POSTERN_BIND_ADDRESS: '0.0.0.0', POSTERN_LISTEN_ISSUER_URL: 'https://b.example', POSTERN_TLS_MODE: 'tls' }
    const sentences = await faults(file, { env: { ...off, POSTERN_TLS_CERT: 'c.pem', POSTERN_TLS_KEY: 'k.pem' } })
    assert.match(sentences.join('\n'), /listen\.issuer can be reached from other machines: expected false/)
    assert.equal((await settingsOf(env, usual + broker)).broker.seed_tokens, true)
  })

  it('stand in the reference, with the settings that they mean', () => {
    const page = readFileSync(new URL('../../docs/reference/environment.md', import.meta.url), 'utf8')
    const rows = [...page.matchAll(/^\| `(POSTERN_[A-Z_]+)` \| `([a-z_.]+)`/gm)].map(([, name, setting]) => `${name} ${setting}`)
    const expected = [
      ...[hostName, portName].map((name) => `${name} listen.issuer.address`),
      ...shortNames.map(({ name, path }) => `${name} ${pathText(path)}`),
      'POSTERN_LOG_LEVEL log.level',
      'POSTERN_ADMIN_SECRET admin.secret',
    ]
    assert.deepEqual(rows.sort(), expected.sort())
    for (const [theirs, ours] of logLevels) assert.ok(page.includes(`\`${theirs}\` is \`${ours}\``), theirs)
  })
})

describe('an admin secret', () => {
  const told = async (secret: string) =>
    (await faults(await policyFiles({ 'postern.yaml': minimal }), { env: { POSTERN_ADMIN_SECRET: secret } })).join('\n')
  for (const secret of ['x'.repeat(40), 'changeme'.repeat(4), 'changeme'.repeat(5).slice(0, 35), '0123456789abcdef'.repeat(2)])
    it(`that says the same again and again is refused: ${secret.slice(0, 10)}…`, async () =>
      assert.match(
        await told(secret),
        /admin\.secret: in environment variable POSTERN_ADMIN_SECRET: the admin secret says the same again and again/,
      ))
  for (const secret of ['', 'short'])
    it(`that is too short is refused: "${secret}"`, async () => assert.match(await told(secret), /admin\.secret/))
  it('that nobody guesses is taken', async () => {
    const file = await policyFiles({ 'postern.yaml': minimal })
    await load(file, { env: { POSTERN_ADMIN_SECRET: 'f00dfeedf00dfeedf00dfeedf00dbabe0123456789' } })
  })
})
