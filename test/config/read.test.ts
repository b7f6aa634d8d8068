import assert from 'node:assert/strict'
import { chmod, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { inspect } from 'node:util'
import { readPolicy, restartNeeded } from '../../src/config/read.ts'
import { paramsOf } from '../../src/core/route-table.ts'
import { faults, load, minimal, policyFiles, usual } from './policy-files.ts'

const env = (name: string): string => `\${env:${name}}`
const fileOf = (name: string): string => `\${file:${name}}`

const adminSecret = 'a secret that nobody guesses, of 40 letters'

describe('readPolicy', () => {
  it('fills in defaults around the least that a file has', async () => {
    const file = await policyFiles({ 'postern.yaml': minimal })
    const { settings, policy } = await load(file)
    assert.equal(settings.listen.check.transport, 'lean')
    assert.deepEqual(settings.listen.check.tls, { mode: 'none' })
    assert.equal(settings.listen.admin, undefined)
    assert.deepEqual(settings.state, { kind: 'file', path: join(dirname(file), 'data/postern.db') })
    assert.deepEqual(settings.check, { max_deadline: 2000, max_in_flight: 1024, max_message: 262144 })
    assert.deepEqual(settings.ownership.cache, { size: 100_000, ttl: 30_000, negative_ttl: 2000, max_stale: 0 })
    assert.equal(settings.revocation.max_staleness, 5000)
    assert.deepEqual(settings.issuer.keys, { rotate_every: 30 * 86_400_000, publish_before: 900_000 })
    const [users] = settings.identity
    assert.ok(users?.type === 'oidc')
    assert.equal(users.verified_by, 'postern')
    assert.equal(users.metadata_key, 'users')
    assert.deepEqual(users.algorithms, ['RS256', 'ES256', 'EdDSA'])
    assert.deepEqual(users.claims, { subject: 'sub', scopes: 'scope', roles: 'roles' })
    assert.deepEqual(users.jwks, { refresh: 21_600_000, stale_for: 86_400_000, timeout: 2000 })
    assert.equal(policy.realm, 'default')
    assert.equal(policy.preflight, 'deny')
    assert.deepEqual(policy.denials, {
      ...{ detail: false, realm: 'postern', resourceMetadata: undefined },
      proofAlgorithms: 'RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519',
    })
    assert.equal(policy.headers.subject, 'x-postern-subject')
    assert.match(policy.revision, /^[0-9a-f]{12}$/)
    const health = policy.routes.routes[0]
    assert.ok(health?.public && health.enforce)
    assert.equal(health.audit, 'denials')
  })

  it('compiles roles with what inherits them, hosts, owners, seconds and headers', async () => {
    const { policy, settings } = await load(await policyFiles({ 'postern.yaml': usual }), { realm: 'acme' })
    const match = policy.routes.find('a.agents.example', ['v1', 'sandboxes', 's1', 'x'])
    assert.ok(match !== 'ambiguous')
    const entry = match?.methods.get('POST')
    assert.ok(entry)
    assert.deepEqual([...paramsOf(entry, match?.captured ?? [])], [['id', 's1']])
    const { route } = entry
    assert.deepEqual([...(route.roles?.givenBy[0] ?? [])].sort(), ['admin', 'invoke', 'manage'])
    assert.deepEqual([...(route.owner?.bypass ?? [])].sort(), ['admin', 'manage'])
    assert.deepEqual(
      ['s', 's1', 'abcdefgh', 'abcdefghi', ''].map((id) => route.owner?.idPattern.test(id)),
      [true, false, true, false, false],
    )
    assert.deepEqual(route.downstream, { audience: 'picod', scope: [], ttl: 30, via: 'issuer' })
    assert.deepEqual(route.claims, [{ claim: 'Groups', header: 'x-postern-claim-groups' }])
    assert.ok(policy.headers.fixed.includes('x-postern-claim-groups'))
    assert.deepEqual([...policy.trustDomains].sort(), ['cluster.local', 'edge.local'])
    assert.deepEqual(policy.metadataKeys, ['users'])
    assert.equal(policy.realm, 'acme')
    const [users] = settings.identity
    assert.ok(users?.type === 'oidc')
    assert.equal(users.issuer, 'https://keycloak.example/realms/acme')
    assert.deepEqual(users.audience, ['router-acme'])
    assert.equal(settings.listen.issuer?.url, 'http://127.0.0.1:9193')
  })

  it('reads a thousand routes in well under a second', async () => {
    const routes = Array.from(
      { length: 1000 },
      (_, i) => `  - { id: r${i}, path: "/r${i}/{id}", roles: [invoke], when: "request.method == 'GET'" }\n`,
    )
    const file = await policyFiles({ 'postern.yaml': usual + routes.join('') })
    const begin = performance.now()
    const { policy } = await load(file)
    const took = performance.now() - begin
    assert.equal(policy.routes.routes.length, 1002)
    assert.ok(took < 1500, `took ${took} ms`)
  })

  it('takes Redis as a mapping, and listeners off loopback with mTLS and a list of who may ask', async () => {
    const tls = 'tls: { mode: mtls, cert: c.pem, key: k.pem, ca: ca.pem, allow: ["spiffe://cluster.local/ns/edge/sa/envoy"] }'
    const text = minimal.replace('unix:/run/postern/check.sock', `0.0.0.0:9191, ${tls}`)
    const file = await policyFiles({
      'postern.yaml': `${text}state: { redis: { url: "rediss://127.0.0.1:6379/1", username: postern, password: "${env('PW')}", tls: { ca: redis.pem } } }\n`,
      ...{ 'c.pem': '', 'k.pem': '', 'ca.pem': '', 'redis.pem': '' },
    })
    const { settings } = await load(file, { env: { PW: 'x' } })
    assert.ok(settings.state.kind === 'redis')
    assert.equal(settings.state.password?.read(), 'x')
    assert.equal(settings.state.username, 'postern')
    assert.equal(settings.state.tls?.ca, join(dirname(file), 'redis.pem'))
    assert.equal(settings.listen.check.tls.key, join(dirname(file), 'k.pem'))
    await writeFile(join(dirname(file), 'k.pem'), '', { mode: 0o644 })
    await chmod(join(dirname(file), 'k.pem'), 0o644)
    assert.match((await faults(file, { env: { PW: 'x' } })).join(), /^listen.check.tls.key: .* is open to every user/)
    await rm(join(dirname(file), 'k.pem'))
    await rm(join(dirname(file), 'redis.pem'))
    assert.deepEqual(await faults(file, { env: { PW: 'x' } }), [
      `listen.check.tls.key: "${join(dirname(file), 'k.pem')}" cannot be read: there is no such file`,
      `state.redis.tls.ca: "${join(dirname(file), 'redis.pem')}" cannot be read: there is no such file`,
    ])
    const { warnings } = await load(file, { env: { PW: 'x' }, secrets: 'warn' })
    assert.equal(warnings.filter(({ message }) => message.includes('cannot be read')).length, 2)
  })

  it('refuses a realm that is no name', async () => {
    const file = await policyFiles({ 'postern.yaml': minimal })
    assert.deepEqual(await faults(file, { realm: 'a b' }), ['realm: in --realm: expected letters, digits, ".", "_" and "-", at most 63'])
  })

  it('lets anchors stand in for each other', async () => {
    const text = `${minimal}  - { id: a, path: /a, methods: &m [GET, PUT], public: true }\n  - { id: b, path: /b, methods: *m, public: true }\n`
    const { settings } = await load(await policyFiles({ 'postern.yaml': text }))
    assert.deepEqual(settings.routes[2]?.methods, ['GET', 'PUT'])
  })

  describe('environment overrides', () => {
    it('win over the file, in lists by name or id', async () => {
      const file = await policyFiles({ 'postern.yaml': usual })
      const { settings, warnings } = await load(file, {
        env: {
          POSTERN_LISTEN_CHECK_ADDRESS: '127.0.0.1:9191',
          POSTERN_IDENTITY_USERS_ISSUER: 'https://other.example',
          POSTERN_ROUTES_INVOKE_ENFORCE: 'false',
          POSTERN_ROUTES_INVOKE_OWNER_WHEN_ABSENT: 'allow',
          POSTERN_CHECK_MAX_IN_FLIGHT: '7',
          POSTERN_OWNERSHIP_CACHE_TTL: '5s',
          POSTERN_DENIALS_RESOURCE_METADATA: 'https://a.example/meta',
        },
      })
      assert.equal(settings.listen.check.address, '127.0.0.1:9191')
      assert.ok(settings.identity[0]?.type === 'oidc' && settings.identity[0].issuer === 'https://other.example')
      assert.equal(settings.routes[1]?.enforce, false)
      assert.equal(settings.routes[1]?.owner?.when_absent, 'allow')
      assert.equal(settings.check.max_in_flight, 7)
      assert.equal(settings.ownership.cache.ttl, 5000)
      assert.equal(settings.denials.resource_metadata, 'https://a.example/meta')
      assert.ok(warnings.some(({ path }) => path === 'routes[1].enforce'))
    })

    it('with bad values are faults that name the variable', async () => {
      const file = await policyFiles({ 'postern.yaml': usual })
      const told = await faults(file, {
        env: { POSTERN_OWNERSHIP_CACHE_TTL: 'soon', POSTERN_ROUTES_INVOKE_ENFORCE: 'no', POSTERN_ROUTES_INVOKE_PATH: 'x' },
      })
      assert.deepEqual(told.sort(), [
        'ownership.cache.ttl: in environment variable POSTERN_OWNERSHIP_CACHE_TTL: expected a duration: a whole number and its unit (ms, s, m, h or d), such as "30s"',
        'routes[1].enforce: in environment variable POSTERN_ROUTES_INVOKE_ENFORCE: expected true or false, found "no"',
        'routes[1].path: in environment variable POSTERN_ROUTES_INVOKE_PATH: a path begins with "/"',
      ])
    })

    it('that fit nothing are warned of, unless the file refers to them or they are something else', async () => {
      const file = await policyFiles({ 'postern.yaml': `${minimal}admin: { secret: "${env('POSTERN_ADMIN_SECRET')}" }\n` })
      const secret = adminSecret
      const { warnings, settings } = await load(file, {
        env: { POSTERN_ADMIN_SECRET: secret, POSTERN_NODE: 'x', POSTERN_TEST_A: 'x', POSTERN_LISSEN: 'x' },
      })
      assert.deepEqual(
        warnings.filter(({ message }) => message.includes('environment')).map(({ message }) => message.split('"')[1]),
        ['POSTERN_LISSEN'],
      )
      assert.equal(settings.admin.secret?.read(), secret)
    })

    it('change the revision, and secrets do not', async () => {
      const file = await policyFiles({ 'postern.yaml': minimal })
      const revision = async (env: Record<string, string>) => (await load(file, { env })).revision
      const plain = await revision({})
      assert.equal(await revision({}), plain)
      assert.notEqual(await revision({ POSTERN_REALM: 'other' }), plain)
      const one = await revision({ POSTERN_ADMIN_SECRET: 'one secret of 32 characters, or more' })
      assert.equal(await revision({ POSTERN_ADMIN_SECRET: 'another secret of 32 characters, or more' }), one)
    })
  })

  describe('include', () => {
    it('adds roles and routes, held to what each file owns', async () => {
      const file = await policyFiles({
        'postern.yaml': `${usual}include: ["b*.yaml", { path: "team.yaml", owns: { hosts: ["*.team.example"], prefix: /team } }]\n`,
        'b1.yaml': 'roles: { guest: {} }\nroutes:\n  - { id: b1, path: /b1, roles: [guest] }\n',
        'b2.yaml': 'routes:\n  - { id: b2, path: /b2, roles: [invoke] }\n',
        'team.yaml': 'routes:\n  - { id: t1, host: a.team.example, path: "/team/{x}", roles: [guest] }\n',
      })
      const { policy, watched } = await load(file)
      assert.deepEqual(
        policy.routes.routes.map(({ id }) => id),
        ['health', 'invoke', 'b1', 'b2', 't1'],
      )
      assert.ok(watched.includes(join(dirname(file), 'b2.yaml')))
    })

    it('tells faults in the file that has them', async () => {
      const file = await policyFiles({
        'postern.yaml': `${usual}include: [{ path: "team.yaml", owns: { hosts: [a.example], prefix: /team/ } }]\n`,
        'team.yaml':
          'version: 1\nroles: { admin: {}, x: { inherit: [] } }\nroutes:\n  - { id: t1, host: a.example, path: /team, roles: [x] }\n  - { id: t2, host: b.example, path: /teams }\n  - { id: health, path: /team/x, roles: [nobody] }\n',
      })
      const result = await readPolicy({ file, env: {} })
      assert.ok(!result.ok)
      const team = join(dirname(file), 'team.yaml')
      assert.deepEqual(
        result.faults.map((fault) => [fault.file === team, fault.line, fault.column, fault.path]),
        [
          [true, 1, 1, 'version'],
          [true, 2, 10, 'roles.admin'],
          [true, 2, 26, 'roles.x.inherit'],
          [true, 5, 21, 'routes[1].host'],
          [true, 5, 38, 'routes[1].path'],
          [true, 6, 5, 'routes[2].host'],
          [true, 6, 11, 'routes[2].id'],
          [true, 6, 42, 'routes[2].roles[0]'],
        ],
      )
    })
  })

  describe('secrets', () => {
    const text = `${minimal}admin: { secret: "${fileOf('secret')}" }\nissuer: { keys: { encryption_key: "${env('KEY')}" } }\nstate: "redis://u:${env('PW')}@127.0.0.1:6379/0"\n`

    it('are read by reference and never printed', async () => {
      const file = await policyFiles({ 'postern.yaml': text, secret: `${adminSecret}\n` })
      const loaded = await load(file, { env: { KEY: '00'.repeat(32), PW: 'hunter2' } })
      const { admin, state } = loaded.settings
      assert.equal(admin.secret?.read(), adminSecret)
      assert.ok(state.kind === 'redis')
      assert.equal(state.url?.read(), 'redis://u:hunter2@127.0.0.1:6379/0')
      for (const shown of [JSON.stringify(loaded.settings), inspect(loaded.settings, { depth: 9 }), `${state.url}`])
        assert.doesNotMatch(shown, /hunter2|ssss|0{32}/)
      assert.ok(loaded.watched.includes(join(dirname(file), 'secret')))
    })

    it('that are missing are faults that name the reference, or warnings where asked', async () => {
      const file = await policyFiles({ 'postern.yaml': text })
      assert.deepEqual(await faults(file), [
        'admin.secret: the secret file "secret" is needed: there is no such file',
        'issuer.keys.encryption_key: the environment variable "KEY" is needed: it is not set',
        'state: the environment variable "PW" is needed: it is not set',
      ])
      const { warnings } = await load(file, { secrets: 'warn' })
      assert.equal(warnings.filter(({ message }) => message.includes('is needed')).length, 3)
    })

    it('in a file that others may read are refused, in one of the group warned of', async () => {
      const file = await policyFiles({ 'postern.yaml': text, secret: adminSecret })
      const options = { env: { KEY: '00'.repeat(32), PW: 'x' } }
      await chmod(join(dirname(file), 'secret'), 0o644)
      assert.match(
        (await faults(file, options)).join(),
        /admin.secret: ".*secret" is open to every user \(mode 0644\): expected 0600 or 0400/,
      )
      await chmod(join(dirname(file), 'secret'), 0o440)
      const { warnings } = await load(file, options)
      assert.ok(warnings.some(({ message }) => message.includes('can be read by its group (mode 0440)')))
    })

    it('that are wrong on every machine are faults where those that are missing are warnings', async () => {
      const short = await policyFiles({ 'postern.yaml': `${minimal}admin: { secret: hunter2 }\n` })
      assert.deepEqual(await faults(short, { secrets: 'warn' }), [
        'admin.secret: the admin secret is too short: expected at least 32 characters',
      ])
      const odd = await policyFiles({ 'postern.yaml': `${minimal}admin: { secret: "\${vault:x}" }\n` })
      assert.match((await faults(odd, { secrets: 'warn' })).join(), /^admin.secret: expected references of the form/)
    })

    it('written into the file are warned of', async () => {
      const { warnings } = await load(await policyFiles({ 'postern.yaml': `${minimal}admin: { secret: "${adminSecret}" }\n` }))
      assert.ok(warnings.some(({ path, message }) => path === 'admin.secret' && message.startsWith('a secret is written into the file')))
    })
  })

  it('warns of what does nothing, or not what was meant', async () => {
    const text = `version: 1
listen:
  check: { address: unix:/run/check.sock }
  admin: { address: 127.0.0.1:9192 }
  issuer: { address: 127.0.0.1:9193 }
issuer: { keys: { publish_before: 1m } }
identity: []
routes:
  - { id: a, path: /v1/:id/x, public: true }
  - { id: b, path: "/v1/items:list", public: true }
`
    const told = async (policy: string): Promise<string[]> => {
      const { warnings } = await load(await policyFiles({ 'postern.yaml': policy, secret: adminSecret }))
      return warnings.filter(({ path }) => path !== 'state').map(({ line, path }) => `${line} ${path}`)
    }
    assert.deepEqual(await told(text), ['4 listen.admin', '6 issuer.keys.publish_before', '9 routes[0].path'])
    const secret = `admin: { secret: "\${file:secret}" }\n`
    assert.deepEqual(await told(text.replace(/issuer: \{ keys.*\n/, secret)), ['9 routes[0].path'])
    assert.deepEqual(await told(text.replace(/ {2}admin: .*\n/, '').replace(/issuer: \{ keys.*\n/, secret)), [
      '5 admin.secret',
      '8 routes[0].path',
    ])
  })

  it('warns of what is legal but unsafe', async () => {
    const text = `version: 1
listen:
  check: { address: 127.0.0.1:9191 }
  issuer: { address: 127.0.0.1:9193 }
identity:
  - { name: users, type: oidc, issuer: https://keycloak.example/, audience: [router], subject_namespace: "" }
  - { name: agents, type: postern, subject_namespace: "agent:" }
roles: { admin: {} }
routes:
  - { id: open, path: /open }
  - { id: kept, path: /kept, roles: [admin], authorization: keep, enforce: false }
  - { id: one, path: "/one/{id}", host: a.example, owner: { resource: s, id: "header:x-id", when_absent: allow, bypass_roles: [admin] }, downstream: { audience: up } }
  - { id: two, path: /two, roles: [admin], host: b.example, downstream: { audience: up }, when: "has(resource.x)" }
`
    const { warnings } = await load(await policyFiles({ 'postern.yaml': text }))
    assert.deepEqual(
      warnings.map(({ line, path }) => `${line} ${path}`),
      [
        '1 state',
        '3 listen.check.address',
        '6 identity',
        '6 identity[0]',
        '6 identity[0].issuer',
        '7 identity[1]',
        '10 routes[0]',
        '11 routes[1].authorization',
        '11 routes[1].enforce',
        '12 routes[2]',
        '12 routes[2].owner.when_absent',
        '13 routes[3].downstream.audience',
        '13 routes[3].when',
      ],
    )
  })

  it('tells what cannot change while the service runs', async () => {
    const before = await load(await policyFiles({ 'postern.yaml': usual }))
    const same = await load(await policyFiles({ 'postern.yaml': usual.replace('[GET, POST]', '[GET]') }))
    assert.deepEqual(restartNeeded(before, same), [])
    const other = await load(await policyFiles({ 'postern.yaml': usual.replace('9193', '9194').replace('"memory:"', 'file:x.db') }))
    assert.deepEqual(
      restartNeeded(before, other).map(({ line, message }) => `${line} ${message}`),
      [
        '4 "listen.issuer" cannot change while the service runs: restart it, or write the old value',
        '5 "state" cannot change while the service runs: restart it, or write the old value',
      ],
    )
  })
})
