import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { request } from 'node:http'
import { connect } from 'node:net'
import { basic, client, issuer, openRig, type Rig, signed, withSecret } from './rig.ts'

const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange'
const jwtBearer = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
const jwtType = 'urn:ietf:params:oauth:token-type:jwt'

describe('the token endpoint', () => {
  let rig: Rig
  const a = basic('a', 's')
  before(async () => {
    rig = await openRig()
    rig.clients.set('a', withSecret('a', 's'))
    rig.clients.set('only', withSecret('only', 's', { grants: ['client_credentials'] }))
  })
  after(() => rig.close())
  beforeEach(() => {
    rig.state.down = false
    rig.offered = { grants: ['client_credentials', 'token_exchange', 'refresh_token'], federation: false }
    rig.requests.length = 0
    rig.faults.length = 0
    rig.observed.length = 0
  })

  it('grants, and lets nobody keep the answer', async () => {
    const { status, headers, json } = await rig.post('/token', { grant_type: 'client_credentials', scope: 'read' }, a)
    assert.equal(status, 200)
    assert.deepEqual(Object.keys(json), ['access_token', 'token_type', 'expires_in', 'scope'])
    assert.equal(headers.get('content-type'), 'application/json; charset=utf-8')
    assert.equal(headers.get('cache-control'), 'no-store')
    assert.equal(headers.get('pragma'), 'no-cache')
    assert.equal(headers.get('x-content-type-options'), 'nosniff')
    assert.equal(headers.get('x-frame-options'), 'DENY')
    assert.equal(headers.get('strict-transport-security'), null)
    assert.deepEqual(rig.observed, ['POST /token'])
  })
  it('hands the grant what was asked, and nothing of who asked', async () => {
    const form = {
      grant_type: exchange,
      subject_token: 'x.y.z',
      subject_token_type: jwtType,
      audience: ['one', 'two'],
      resource: 'https://api.example',
      scope: 'read write',
      actor_token: '',
      client_id: 'a',
      client_secret: 's',
      unknown: 'u',
      __proto__: 'p',
    }
    const { status, text } = await rig.post('/token', form, { dpop: 'a-proof' })
    assert.equal(status, 200, text)
    const [asked] = rig.requests
    assert.equal(asked?.client.id, 'a')
    assert.deepEqual(Object.fromEntries(asked?.params ?? []), {
      subject_token: 'x.y.z',
      subject_token_type: jwtType,
      audience: ['one', 'two'],
      resource: 'https://api.example',
      scope: 'read write',
    })
    assert.deepEqual(asked?.proof, { dpop: 'a-proof', certificate: undefined, url: `${issuer}/token` })
    assert.equal(asked?.remoteAddress, '127.0.0.1')
    assert.ok(Math.abs((asked?.now ?? 0) - Date.now()) < 5000)
  })
  it('is at the path of the issuer as well, and nowhere else', async () => {
    assert.equal((await rig.post('/auth/token', { grant_type: 'client_credentials' }, a)).status, 200)
    for (const path of [
      '/auth/token/',
      '/Token',
      '/auth',
      '/auth/jwks',
      '/jwks',
      '/auth/request',
      '/.well-known/openid-configuration',
      '/reg',
      '/session/end',
      '/me',
    ]) {
      assert.equal((await rig.post(path, { grant_type: 'client_credentials' }, a)).text, 'not taken', path)
    }
  })
  it('is not there while the policy has no client', async () => {
    rig.offered = undefined
    const { status, text } = await rig.post('/token', { grant_type: 'client_credentials' }, a)
    assert.deepEqual([status, text], [404, 'not taken'])
    assert.equal(rig.metadata(), undefined)
  })

  for (const [what, form, error, description] of [
    [
      'a grant that is not the client’s',
      { grant_type: exchange, client_id: 'only', client_secret: 's' },
      'unauthorized_client',
      'this grant is not allowed to the client',
    ],
    ['a grant that does not exist', { grant_type: 'password' }, 'unsupported_grant_type', 'unsupported grant_type requested'],
    [
      'a grant of the library that is not served',
      { grant_type: 'authorization_code', code: 'c' },
      'unsupported_grant_type',
      'unsupported grant_type requested',
    ],
    ['no grant', {}, 'invalid_request', "missing required parameter 'grant_type'"],
    [
      'a grant that comes twice',
      { grant_type: ['client_credentials', 'client_credentials'] },
      'invalid_request',
      "'grant_type' parameter must not be provided twice",
    ],
    [
      'a parameter that comes twice',
      { grant_type: exchange, subject_token: ['a', 'b'] },
      'invalid_request',
      "'subject_token' parameter must not be provided twice",
    ],
    [
      'a scope of other characters',
      { grant_type: 'client_credentials', scope: 'a"b' },
      'invalid_scope',
      'scope contains invalid characters',
    ],
    [
      'a scope that the grant refuses',
      { grant_type: 'client_credentials', scope: 'too:wide' },
      'invalid_scope',
      'beyond what the client may have',
    ],
    [
      'a federated token in another client’s name',
      { grant_type: jwtBearer, assertion: 'a.b.c' },
      'unauthorized_client',
      'this grant is for tokens of federated issuers, and needs no client',
    ],
  ] as const) {
    it(`refuses ${what}`, async () => {
      const { status, json, headers } = await rig.post('/token', form as Record<string, string>, 'client_id' in form ? {} : a)
      assert.deepEqual([status, json], [400, { error, error_description: description }])
      assert.equal(headers.get('cache-control'), 'no-store')
      assert.equal(headers.get('www-authenticate'), null)
      assert.deepEqual(rig.faults, [])
    })
  }
  it('hands on the nonce that a proof needs', async () => {
    const { status, json, headers } = await rig.post('/token', { grant_type: 'client_credentials', scope: 'nonce' }, a)
    assert.deepEqual([status, json], [400, { error: 'use_dpop_nonce', error_description: 'take the nonce' }])
    assert.equal(headers.get('dpop-nonce'), 'n-1')
  })
  it('is unavailable where state is, and where keys of a subject cannot be had', async () => {
    const away = await rig.post('/token', { grant_type: 'client_credentials', scope: 'away' }, a)
    rig.state.down = true
    const down = await rig.post('/token', { grant_type: 'client_credentials' }, a)
    for (const { status, json, headers } of [away, down]) {
      assert.deepEqual([status, json], [503, { error: 'temporarily_unavailable' }])
      assert.equal(headers.get('retry-after'), '1')
    }
    assert.deepEqual(rig.faults, [])
  })
  it('tells nothing of an error, but us', async () => {
    const { status, json, headers } = await rig.post(
      '/token',
      { grant_type: 'client_credentials', scope: 'throws' },
      { ...a, accept: 'text/html' },
    )
    assert.deepEqual([status, json], [500, { error: 'server_error' }])
    assert.equal(headers.get('cache-control'), 'no-store')
    assert.equal((rig.faults[0] as Error).message, 'a secret detail')
  })

  describe('refuses what is no form', () => {
    const form = 'grant_type=client_credentials'
    for (const [what, body, headers, status] of [
      ['JSON', '{"grant_type":"client_credentials"}', { 'content-type': 'application/json' }, 400],
      ['another charset', form, { 'content-type': 'application/x-www-form-urlencoded; charset=utf-16' }, 400],
      ['two content types', form, { 'content-type': 'application/x-www-form-urlencoded, text/plain' }, 400],
      ['more than a hundred parameters', `${form}&${'a=1&'.repeat(101)}`, {}, 400],
      ['a body of 2 MiB', `${form}&a=${'x'.repeat(2 * 1024 * 1024)}`, {}, 413],
    ] as const) {
      it(what, async () => {
        const answer = await rig.post('/token', body, { ...a, ...headers })
        assert.deepEqual([answer.status, answer.json.error], [status, 'invalid_request'])
        assert.equal(answer.headers.get('x-frame-options'), 'DENY')
      })
    }
    it('a body that is not UTF-8', async () => {
      const headers = { ...a, 'content-type': 'application/x-www-form-urlencoded' }
      const answer = await fetch(`${rig.url}/token`, { method: 'POST', headers, body: Buffer.from(`${form}&scope=\xff`, 'latin1') })
      assert.deepEqual(
        [answer.status, await answer.json()],
        [400, { error: 'invalid_request', error_description: 'the body is not UTF-8' }],
      )
    })
    it('takes what says its charset', async () => {
      const { status } = await rig.post('/token', form, { ...a, 'content-type': 'application/x-www-form-urlencoded; charset=UTF-8' })
      assert.equal(status, 200)
    })
    it('stops reading a body that does not end', async () => {
      const status = await new Promise<number | undefined>((resolve, reject) => {
        const call = request(`${rig.url}/token`, { method: 'POST', headers: { ...a, 'content-type': 'application/x-www-form-urlencoded' } })
        call.on('response', (answer) => {
          answer.resume()
          resolve(answer.statusCode)
          call.destroy()
        })
        call.on('error', reject)
        const timer = setInterval(() => {
          if (call.destroyed) clearInterval(timer)
          else call.write('a='.repeat(8192))
        }, 1)
      })
      assert.equal(status, 413)
    })
    it('bears a client that goes away in the middle', async () => {
      const socket = connect(rig.port, '127.0.0.1')
      socket.write(
        'POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\ngrant_type=',
      )
      await new Promise((resolve) => setTimeout(resolve, 50))
      socket.destroy()
      await new Promise((resolve) => setTimeout(resolve, 50))
      assert.deepEqual(rig.faults, [])
      assert.equal((await rig.post('/token', form, a)).status, 200)
    })
  })

  for (const method of ['GET', 'PUT', 'OPTIONS', 'DELETE']) {
    it(`refuses ${method}`, async () => {
      const answer = await fetch(`${rig.url}/token?grant_type=client_credentials&client_id=a&client_secret=s`, { method })
      assert.deepEqual([answer.status, answer.headers.get('allow')], [405, 'POST'])
      assert.deepEqual(await answer.json(), { error: 'invalid_request', error_description: 'only POST is allowed here' })
    })
  }
  it('lets no page of another site ask, nor anybody say who we are', async () => {
    const before = {
      'x-forwarded-host': 'evil.example',
      'x-forwarded-proto': 'http',
      'x-forwarded-for': '9.9.9.9',
      forwarded: 'host=evil.example',
    }
    const { status, headers } = await rig.post(
      '/token',
      { grant_type: 'client_credentials' },
      { ...a, ...before, origin: 'https://evil.example', cookie: '_session=x' },
    )
    assert.equal(status, 200)
    assert.deepEqual(
      [...headers.keys()].filter((name) => name.startsWith('access-control-') || name === 'vary' || name === 'set-cookie'),
      [],
    )
    assert.equal(rig.requests[0]?.proof.url, `${issuer}/token`)
    assert.equal(rig.requests[0]?.remoteAddress, '127.0.0.1')
  })

  describe('without a client', () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const foreign = signed({ alg: 'ES256', kid: 'g' }, { iss: 'https://ci.example', sub: 'repo' }, privateKey)
    const swap = { grant_type: exchange, subject_token: foreign, subject_token_type: jwtType }
    before(() => {
      rig.clients.set(
        'federated',
        client('federated', { kind: 'federated', rule: 'ci' }, { grants: ['token_exchange'], introspects: false }),
      )
    })
    beforeEach(() => {
      rig.offered = { grants: ['token_exchange'], federation: true }
    })

    it('swaps a federated token, in either spelling', async () => {
      for (const form of [swap, { grant_type: jwtBearer, assertion: foreign }]) {
        const { status, text } = await rig.post('/token', { ...form, audience: 'postern' })
        assert.equal(status, 200, text)
        const asked = rig.requests.pop()
        assert.equal(asked?.client.id, 'federated')
        assert.deepEqual(Object.fromEntries(asked?.params ?? []), {
          subject_token: foreign,
          subject_token_type: jwtType,
          audience: 'postern',
        })
      }
    })
    it('takes the name of the client where a library must send one', async () => {
      assert.equal((await rig.post('/token', { ...swap, client_id: 'federated' })).status, 200)
    })
    it('does nothing else', async () => {
      for (const [form, status, error] of [
        [{ grant_type: 'client_credentials' }, 401, 'invalid_client'],
        [{ grant_type: 'client_credentials', client_id: 'federated' }, 400, 'unauthorized_client'],
        [{ ...swap, subject_token: 'opaque' }, 401, 'invalid_client'],
        [{ ...swap, client_id: 'federated', client_secret: 'x' }, 401, 'invalid_client'],
        [{ ...swap, client_id: 'a' }, 401, 'invalid_client'],
        [{ grant_type: jwtBearer, client_id: 'federated' }, 400, 'invalid_request'],
      ] as const) {
        const answer = await rig.post('/token', form)
        assert.deepEqual([answer.status, answer.json.error], [status, error], JSON.stringify(form))
      }
      const { json } = await rig.post('/introspect', { token: rig.token(), client_id: 'federated' })
      assert.deepEqual(json, { active: false })
      assert.equal((await rig.post('/introspect', { token: rig.token() })).status, 401)
    })
    it('is refused where no rule is configured', async () => {
      rig.offered = { grants: ['token_exchange'], federation: false }
      assert.equal((await rig.post('/token', swap)).status, 401)
    })
  })

  it('describes itself for discovery', () => {
    rig.offered = { grants: ['token_exchange', 'client_credentials'], federation: true }
    const metadata = rig.metadata() as Record<string, unknown>
    const proving = ['client_secret_basic', 'client_secret_post', 'private_key_jwt']
    const algorithms = metadata['dpop_signing_alg_values_supported'] as string[]
    assert.ok(algorithms.includes('ES256') && !algorithms.some((alg) => alg === 'none' || alg.startsWith('HS')))
    assert.deepEqual(metadata, {
      token_endpoint: `${issuer}/token`,
      introspection_endpoint: `${issuer}/introspect`,
      revocation_endpoint: `${issuer}/revoke`,
      grant_types_supported: ['client_credentials', exchange, jwtBearer],
      token_endpoint_auth_methods_supported: [...proving, 'none'],
      token_endpoint_auth_signing_alg_values_supported: algorithms,
      introspection_endpoint_auth_methods_supported: proving,
      introspection_endpoint_auth_signing_alg_values_supported: algorithms,
      revocation_endpoint_auth_methods_supported: proving,
      revocation_endpoint_auth_signing_alg_values_supported: algorithms,
      dpop_signing_alg_values_supported: algorithms,
    })
  })
})

describe('the library behind the token endpoint', () => {
  it('writes nothing to the console', async () => {
    const told: unknown[] = []
    const before = { warn: console.warn, info: console.info, error: console.error, log: console.log }
    const tell = (...line: unknown[]): void => void told.push(line)
    Object.assign(console, { warn: tell, info: tell, error: tell, log: tell })
    try {
      const rig = await openRig()
      rig.clients.set('a', withSecret('a', 's'))
      for (const scope of ['read', 'throws', 'away']) await rig.post('/token', { grant_type: 'client_credentials', scope }, basic('a', 's'))
      await rig.close()
    } finally {
      Object.assign(console, before)
    }
    assert.deepEqual(told, [])
  })
})
