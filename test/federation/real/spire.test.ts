import assert from 'node:assert/strict'
import { renameSync, writeFileSync } from 'node:fs'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import type { SubjectAnswer } from '../../../src/issuer/subject-token.ts'
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary-folder.ts'
import type { Received } from '../../support/upstream.ts'
import { type Federation, openFederation } from '../rig.ts'
import { startSwappingEdge } from './edge.ts'
import { type RunningSpire, startSpire } from './spire.ts'

const runner = 'spiffe://acme.example/ns/agents/sa/runner'
const detail = (answer: SubjectAnswer): string => ('detail' in answer ? answer.detail : '')

describe('a JWT-SVID of a real SPIRE agent', function () {
  this.timeout(60_000)
  let spire: RunningSpire
  let files: TemporaryFolder
  let federation: Federation
  let rules: readonly unknown[]
  const writeBundle = async (): Promise<void> => {
    writeFileSync(files.file('next.json'), await spire.bundle())
    renameSync(files.file('next.json'), files.file('bundle.json'))
  }
  before(async function () {
    if (process.env['POSTERN_TEST_SPIRE'] === undefined) this.skip()
    files = temporaryFolder()
    spire = await startSpire('acme.example')
    await spire.register(runner)
    await writeBundle()
    rules = [
      {
        name: 'workloads',
        trust_domain: 'acme.example',
        jwks: { file: files.file('bundle.json') },
        audience: 'postern',
        when: "claims.sub.startsWith('spiffe://acme.example/ns/agents/')",
        subject: '{sub}',
        roles: ['runner'],
      },
    ]
    federation = await openFederation(rules)
  })
  after(async () => {
    await federation?.close()
    await spire?.stop()
    files?.remove()
  })

  it('has no iss, and is admitted by its trust domain and the bundle', async () => {
    const token = await spire.fetch('postern', runner)
    assert.equal(decodeJwt(token).iss, undefined)
    assert.equal(decodeProtectedHeader(token).alg, 'ES256')
    const answer = await federation.ask(token)
    assert.ok(answer.kind === 'subject', detail(answer))
    assert.equal(answer.subject.subject, runner)
    assert.deepEqual(answer.subject.roles, ['runner'])
    assert.equal(answer.subject.expiresAt, decodeJwt(token).exp)
  })
  it('is refused for another audience, and of another workload', async () => {
    assert.match(detail(await federation.ask(await spire.fetch('else', runner))), /aud holds none/)
    const other = 'spiffe://acme.example/ns/team-b/sa/runner'
    await spire.register(other)
    assert.match(detail(await federation.ask(await spire.fetch('postern', other))), /condition does not hold/)
  })
  it('is refused once it was changed, and after its end', async () => {
    const token = await spire.fetch('postern', runner)
    const [header, payload = '', signature] = token.split('.')
    const claims = { ...decodeJwt(token), sub: `${runner}-2` }
    const changed = [header, Buffer.from(JSON.stringify(claims)).toString('base64url'), signature].join('.')
    assert.notEqual(payload, '')
    assert.match(detail(await federation.ask(changed)), /signature does not verify/)
    assert.match(detail(await federation.ask(token, ((claims.exp ?? 0) + 1) * 1000)), /expired/)
  })
  it('is swapped for ours at /token, which Envoy and Postern admit', async () => {
    const { edge, swap, ask } = await startSwappingEdge(rules)
    try {
      const theirs = await spire.fetch('postern', runner)
      assert.equal((await ask(theirs)).status, 401)
      const { status, body } = await swap(theirs)
      assert.equal(status, 200, JSON.stringify(body))
      const admitted = await ask(String(body['access_token']))
      assert.equal(admitted.status, 200, admitted.body)
      const { headers } = JSON.parse(admitted.body) as Received
      assert.deepEqual([headers['x-postern-subject'], headers['x-postern-roles']], [runner, 'runner'])
      assert.equal((await swap(await spire.fetch('else', runner))).body['error'], 'invalid_grant')
    } finally {
      await edge.stop()
    }
  })
  it('is admitted when SPIRE has a new key, from when the bundle shows it', async () => {
    await spire.rotate()
    const next = `${runner}-next`
    await spire.register(next)
    const token = await spire.fetch('postern', next)
    assert.match(detail(await federation.ask(token)), /no key of the issuer has this kid/)
    await writeBundle()
    for (const keys of federation.jwks.values()) await keys.refresh()
    const answer = await federation.ask(token)
    assert.equal(answer.kind, 'subject', detail(answer))
  })
})
