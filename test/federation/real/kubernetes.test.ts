import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { decodeJwt } from 'jose'
import type { SubjectAnswer } from '../../../src/issuer/subject-token.ts'
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary-folder.ts'
import type { Received } from '../../support/upstream.ts'
import { type Federation, type Members, openFederation } from '../rig.ts'
import { startSwappingEdge } from './edge.ts'
import { type RunningKubernetes, startKubernetes } from './kubernetes.ts'

const detail = (answer: SubjectAnswer): string => ('detail' in answer ? answer.detail : '')

describe('a service account token of a real Kubernetes API', function () {
  this.timeout(90_000)
  let kubernetes: RunningKubernetes
  let files: TemporaryFolder
  let federation: Federation
  const open: Federation[] = []
  const ruleWith = (jwks: Members): Members => ({
    name: 'cluster',
    issuer: kubernetes.url,
    audience: 'postern',
    when: "claims['kubernetes.io'].namespace == 'agents'",
    subject: 'k8s:{/kubernetes.io/namespace}/{/kubernetes.io/serviceaccount/name}',
    roles: ['runner'],
    jwks,
  })
  const federate = async (jwks: Members): Promise<Federation> => {
    const opened = await openFederation([ruleWith(jwks)])
    open.push(opened)
    return opened
  }
  before(async function () {
    if (process.env['POSTERN_TEST_KUBERNETES'] === undefined) this.skip()
    files = temporaryFolder()
    kubernetes = await startKubernetes()
    await kubernetes.createServiceAccount('agents', 'runner')
    await kubernetes.createServiceAccount('team-b', 'runner')
    // Postern's own service account, which may read the keys as every one of a cluster may.
    await kubernetes.createServiceAccount('postern', 'postern')
    writeFileSync(files.file('token'), await kubernetes.token('postern', 'postern'), { mode: 0o600 })
    federation = await federate({ ca: kubernetes.ca, token: `\${file:${files.file('token')}}` })
  })
  after(async () => {
    for (const one of open) await one.close()
    await kubernetes?.stop()
    files?.remove()
  })

  it('is admitted by keys that the API itself shows to whom it knows', async () => {
    const token = await kubernetes.token('agents', 'runner', ['postern'])
    const answer = await federation.ask(token)
    assert.ok(answer.kind === 'subject', detail(answer))
    assert.equal(answer.subject.subject, 'k8s:agents/runner')
    assert.deepEqual(answer.subject.roles, ['runner'])
    assert.equal(answer.subject.expiresAt, decodeJwt(token).exp)
  })
  it('is refused of another namespace, and for another audience', async () => {
    assert.match(detail(await federation.ask(await kubernetes.token('team-b', 'runner', ['postern']))), /condition does not hold/)
    assert.match(detail(await federation.ask(await kubernetes.token('agents', 'runner', ['else']))), /aud holds none/)
    assert.match(detail(await federation.ask(await kubernetes.token('agents', 'runner'))), /aud holds none/)
  })
  it('is refused once it was changed, and after its end', async () => {
    const token = await kubernetes.token('agents', 'runner', ['postern'])
    const [header, , signature] = token.split('.')
    const claims = decodeJwt(token)
    const changed = [header, Buffer.from(JSON.stringify({ ...claims, exp: (claims.exp ?? 0) + 3600 })).toString('base64url'), signature]
    assert.match(detail(await federation.ask(changed.join('.'))), /signature does not verify/)
    assert.match(detail(await federation.ask(token, ((claims.exp ?? 0) + 1) * 1000)), /expired/)
  })
  it('is swapped for ours at /token, which Envoy and Postern admit', async () => {
    const { edge, swap, ask } = await startSwappingEdge([ruleWith({ ca: kubernetes.ca, token: `\${file:${files.file('token')}}` })])
    try {
      const theirs = await kubernetes.token('agents', 'runner', ['postern'])
      assert.equal((await ask(theirs)).status, 401)
      const { status, body } = await swap(theirs)
      assert.equal(status, 200, JSON.stringify(body))
      const admitted = await ask(String(body['access_token']))
      assert.equal(admitted.status, 200, admitted.body)
      const { headers } = JSON.parse(admitted.body) as Received
      assert.deepEqual([headers['x-postern-subject'], headers['x-postern-roles']], ['k8s:agents/runner', 'runner'])
      assert.equal((await swap(await kubernetes.token('team-b', 'runner', ['postern']))).body['error'], 'invalid_grant')
    } finally {
      await edge.stop()
    }
  })
  it('cannot be judged without the authority, or a token that the API takes', async () => {
    const token = await kubernetes.token('agents', 'runner', ['postern'])
    const stranger = await federate({ token: `\${file:${files.file('token')}}` })
    const untold = await stranger.ask(token)
    assert.equal(untold.kind, 'unavailable', detail(untold))
    assert.match(detail(untold), /cannot be reached/)
    const anonymous = await federate({ ca: kubernetes.ca })
    const refused = await anonymous.ask(token)
    assert.equal(refused.kind, 'unavailable', detail(refused))
    assert.match(detail(refused), /answered 401/)
  })
})
