import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { keyPair, type Provider, policyWith, type Recorded, startProvider } from './rig.ts'
import { swap } from './swap.ts'

const recording = (file: string): string => readFileSync(new URL(`../identity/providers/github-actions/${file}`, import.meta.url), 'utf8')

const onMain = "claims.ref == 'refs/heads/main'"

interface Service {
  readonly folder: TemporaryFolder
  readonly admin: number
  readonly own: number
  readonly postern: RunningPostern
}

describe('a job that swaps its token at /token', function () {
  this.timeout(30_000)
  let provider: Provider
  let postern: RunningPostern
  let issuer: string
  const services: Service[] = []

  const policy = ({ folder, admin, own }: Omit<Service, 'postern'>, when: string): string =>
    policyWith(
      [
        {
          name: 'github',
          issuer: provider.url,
          audience: 'https://agents.acme.example',
          when,
          subject: 'github:{repository}',
          roles: ['deployer'],
          scopes: ['deploy:agents:*', 'read:agents:*'],
          audiences: ['postern', 'registry'],
          ttl: '5m',
        },
      ],
      {
        listen: {
          check: { address: `unix:${folder.file('check.sock')}` },
          admin: { address: `127.0.0.1:${admin}` },
          issuer: { address: `127.0.0.1:${own}` },
        },
      },
    )
  const serve = async (): Promise<Service> => {
    const [admin = 0, own = 0] = await freePorts(2)
    const at = { folder: temporaryFolder(), admin, own }
    const service = { ...at, postern: await startPostern(policy(at, onMain), { folder: at.folder }) }
    services.push(service)
    return service
  }
  before(async () => {
    provider = await startProvider(JSON.parse(recording('claims.json')) as Recorded, recording('discovery.json'))
    const service = await serve()
    postern = service.postern
    issuer = `http://127.0.0.1:${service.own}`
  })
  after(async () => {
    for (const service of services) {
      await service.postern.stop()
      service.folder.remove()
    }
    await provider?.stop()
  })

  /** What our token says, once verified by the keys that the issuer shows. */
  const verified = async (token: unknown, audience: string) =>
    jwtVerify(String(token), createRemoteJWKSet(new URL(`${issuer}/jwks.json`)), { issuer, audience })
  const refused = async (token: string, params: Readonly<Record<string, string>>, error: string, status = 400): Promise<void> => {
    const answer = await swap(issuer, token, params)
    assert.deepEqual([answer.status, answer.body['error']], [status, error], JSON.stringify(answer.body))
    // Whoever asks is told nothing of the rules.
    assert.doesNotMatch(JSON.stringify(answer.body), /github|claims|condition|acme/)
  }

  it('has ours for it, without being a client', async () => {
    const { status, body, headers } = await swap(issuer, provider.token())
    assert.equal(status, 200, JSON.stringify(body))
    assert.equal(headers.get('cache-control'), 'no-store')
    assert.equal(body['token_type'], 'Bearer')
    assert.equal(body['issued_token_type'], 'urn:ietf:params:oauth:token-type:access_token')
    const { payload, protectedHeader } = await verified(body['access_token'], 'postern')
    assert.equal(protectedHeader.typ, 'at+jwt')
    assert.equal(payload.sub, 'github:acme/agents')
    assert.deepEqual(payload['roles'], ['deployer'])
    assert.equal((payload.exp ?? 0) - (payload.iat ?? 0), 300)
    assert.equal(body['expires_in'], 300)
  })
  it('has one that ends with its own at the latest', async () => {
    const { body } = await swap(issuer, provider.token({ claims: { exp: 40 } }))
    const { payload } = await verified(body['access_token'], 'postern')
    assert.ok((payload.exp ?? 0) - (payload.iat ?? 0) <= 40)
  })
  it('may ask for less, and for one of the other audiences of the rule', async () => {
    const less = await swap(issuer, provider.token(), { scope: 'read:agents:*' })
    assert.equal(less.body['scope'], 'read:agents:*')
    const { body } = await swap(issuer, provider.token(), { audience: 'registry' })
    const { payload, protectedHeader } = await verified(body['access_token'], 'registry')
    assert.equal(protectedHeader.typ, 'JWT')
    assert.equal(payload.sub, 'github:acme/agents')
  })
  it('may swap it twice', async () => {
    const token = provider.token()
    const [one, two] = [await swap(issuer, token), await swap(issuer, token)]
    assert.deepEqual([one.status, two.status], [200, 200])
    assert.notEqual(one.body['access_token'], two.body['access_token'])
  })
  it('is refused what the rule does not give', async () => {
    await refused(provider.token(), { audience: 'postern-admin' }, 'invalid_target')
    await refused(provider.token(), { audience: 'elsewhere' }, 'invalid_target')
    await refused(provider.token(), { scope: 'admin:all:*' }, 'invalid_scope')
  })
  it('is refused with any other token', async () => {
    const fork = { ref: 'refs/pull/7/merge', event_name: 'pull_request' }
    const bad = [
      provider.token({ claims: fork }),
      provider.token({ claims: { aud: 'https://github.com/acme' } }),
      provider.token({ claims: { exp: -61 } }),
      provider.token({ claims: { iss: 'https://token.actions.githubusercontent.com' } }),
      provider.token({ claims: { ref: null } }),
      provider.token({ claims: { repository: 'a\u0000b' } }),
      provider.token({ key: keyPair('RSA').privateKey }),
      provider.token({ header: { alg: 'none' } }),
    ]
    for (const token of bad) await refused(token, {}, 'invalid_grant')
    // What has not even the form of one stands for no client.
    await refused('opaque', {}, 'invalid_client', 401)
  })
  it('cannot swap ours again: that takes a client', async () => {
    const { body } = await swap(issuer, provider.token())
    await refused(String(body['access_token']), {}, 'invalid_grant')
  })
  it('is judged by the rules in force', async () => {
    const [service] = services
    assert.ok(service)
    postern.rewrite(policy(service, "claims.ref == 'refs/heads/release'"))
    await until('the new rule to be in force', async () => (await swap(issuer, provider.token())).status === 400)
    assert.equal((await swap(issuer, provider.token({ claims: { ref: 'refs/heads/release' } }))).status, 200)
    postern.rewrite(policy(service, onMain))
    await until('the old rule to be in force', async () => (await swap(issuer, provider.token())).status === 200)
  })
  it('is told to come again where the keys cannot be had', async () => {
    provider.answers = false
    const { own } = await serve()
    const { status, body } = await swap(`http://127.0.0.1:${own}`, provider.token())
    assert.equal(status, 503, JSON.stringify(body))
    assert.doesNotMatch(JSON.stringify(body), /access_token|127\.0\.0\.1/)
  })
})
