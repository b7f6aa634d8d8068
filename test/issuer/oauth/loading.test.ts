import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Offered } from '../../../src/issuer/oauth/metadata.ts'
import type { Protocol } from '../../../src/issuer/oauth/provider.ts'
import { createTokenService } from '../../../src/issuer/oauth/token-service.ts'
import { basic } from './rig.ts'

describe('the library of the token service', () => {
  let offered: Offered | undefined
  let fails = false
  let opened = 0
  const faults: unknown[] = []
  const answers: Protocol = async (_, response) => void response.end('{}')
  const service = createTokenService({
    issuer: 'https://sts.example',
    offered: () => offered,
    open: async () => {
      opened++
      if (fails) throw new Error('no memory')
      return answers
    },
    mtls: false,
    failures: { take: () => 0, wait: () => 0, spend: () => {} },
    clock: Date.now,
    observe: () => {},
    onFault: (cause) => faults.push(cause),
  })
  const server = createServer((incoming, outgoing) => {
    const taken = service.handle(incoming, outgoing, { peer: undefined, secure: true, remoteAddress: '' })
    if (!taken) outgoing.writeHead(404).end()
  })
  before((done) => void server.listen(0, '127.0.0.1', done))
  after((done) => {
    server.close(done)
    server.closeAllConnections()
  })
  const ask = async () => {
    const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/token`, {
      method: 'POST',
      headers: basic('a', 's'),
      body: new URLSearchParams({ grant_type: 'client_credentials' }),
    })
    return { status: answer.status, text: await answer.text(), hsts: answer.headers.get('strict-transport-security') }
  }

  it('is not loaded while the policy has no client', async () => {
    await service.warm()
    assert.equal((await ask()).status, 404)
    assert.deepEqual([opened, service.metadata()], [0, undefined])
  })
  it('is loaded again where that failed, and tells us alone', async () => {
    offered = { grants: ['client_credentials'], federation: false }
    fails = true
    const { status, text } = await ask()
    assert.deepEqual([status, text], [500, '{"error":"server_error"}'])
    assert.equal((faults[0] as Error).message, 'no memory')
    fails = false
    const answer = await ask()
    assert.deepEqual([answer.status, opened], [200, 2])
    assert.match(answer.hsts ?? '', /^max-age=/)
  })
  it('is loaded once', async () => {
    await Promise.all([service.warm(), ask(), ask()])
    assert.equal(opened, 2)
  })
})
