import assert from 'node:assert/strict'
import { setTimeout } from 'node:timers/promises'
import { type AdminClient, adminClient, adminSecret } from '../support/admin.ts'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'

const secret = 'sixteen-letters!'

describe('a client that is revoked', function () {
  this.timeout(30_000)
  let folder: TemporaryFolder
  let service: RunningPostern
  let admin: AdminClient
  let url = ''

  before(async () => {
    folder = temporaryFolder()
    const [first, second] = await freePorts(2)
    url = `http://127.0.0.1:${second}`
    const policy = `
version: 1
listen:
  check: { address: "unix:${folder.file('check.sock')}" }
  admin: { address: "127.0.0.1:${first}" }
  issuer: { address: "127.0.0.1:${second}" }
state: "memory:"
admin: { secret: "$\{env:POSTERN_TEST_ADMIN_SECRET}" }
identity:
  - { name: own, type: postern, audience: postern, subject_namespace: "own:" }
roles: { reader: {} }
issuer:
  clients: [{ id: backend, auth: { secret: "$\{env:BACKEND_SECRET}" }, grants: [client_credentials], audiences: [postern] }]
broker: { enabled: true }
routes:
  - { id: read, methods: [GET], path: /data, roles: [reader] }
`
    service = await startPostern(policy, { folder, env: { BACKEND_SECRET: secret, POSTERN_TEST_ADMIN_SECRET: adminSecret } })
    admin = await adminClient(`127.0.0.1:${first}`)
  })
  after(async () => {
    assert.equal(await service?.stop(), 0)
    folder.remove()
  })

  const forToken = async (id: string, shown: string): Promise<number> => {
    const headers = { authorization: `Basic ${Buffer.from(`${id}:${shown}`).toString('base64')}` }
    const body = new URLSearchParams({ grant_type: 'client_credentials' })
    return (await fetch(`${url}/token`, { method: 'POST', headers, body })).status
  }
  const logIn = async (id: string, shown: string): Promise<number> => {
    const body = JSON.stringify({ client_id: id, client_secret: shown })
    return (await fetch(`${url}/v1/app/auth`, { method: 'POST', headers: { 'content-type': 'application/json' }, body })).status
  }

  const revoked = async (id: string, shown: string, ask: typeof forToken): Promise<number[]> => {
    const answers = [await ask(id, shown)]
    await admin.call('POST', '/v1/revoke', { level: 'client', target: id })
    answers.push(await ask(id, shown))
    // A lift waits until 2 s after the revocation, so that the two are never of one instant.
    await setTimeout(100)
    await admin.call('POST', '/v1/revoke/lift', { level: 'client', target: id })
    answers.push(await ask(id, shown))
    return answers
  }

  it('of the policy cannot prove itself until that is lifted', async () => {
    assert.deepEqual(await revoked('backend', secret, forToken), [200, 401, 200])
  })

  it('and nor can an app of the broker', async () => {
    const app = await admin.call('POST', '/v1/admin/apps', { name: 'runner', scopes: ['read:data:*'] })
    const { client_id, client_secret } = (await app.json()) as Record<string, string>
    assert.deepEqual(await revoked(client_id!, client_secret!, logIn), [200, 401, 200])
  })
})
