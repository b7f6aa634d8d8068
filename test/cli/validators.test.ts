import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { cli } from './captured.ts'

const token = 'abcdefghijklmnopqrstuvwxyz0123456789'

const policy = `version: 1
listen: { check: { address: unix:/run/postern/check.sock }, admin: { address: 127.0.0.1:9192 } }
state: "memory:"
admin: { secret: "a secret that nobody guesses, of 40 letters" }
identity:
  - { name: partner, type: shared-token, secret: "${token}", role: viewer, trust_end_user_header: true, subject_namespace: "p:" }
  - { name: gateway, type: edge-trust, from: ["spiffe://cluster.local/ns/e/sa/g"], subject_namespace: "e:" }
  - { name: passwords, type: basic }
roles: { viewer: {} }
routes:
  - { id: any, path: /any }
  - { id: partners, path: /partners, identity: [partner] }
`

const cases = `policy: postern.yaml
cases:
  - { name: a page token, request: { path: /any }, token: { validator: management-plane, claims: { roles: [viewer] } }, expect: { reason: ok, headers: { x-postern-subject: "operator:admin", x-postern-roles: viewer } } }
  - { name: one that lives too long, request: { path: /any }, token: { validator: management-plane, claims: { exp: 4102444800 } }, expect: { reason: invalid_credential } }
  - { name: a forged one, request: { path: /any }, token: { validator: management-plane, forged: true }, expect: { reason: invalid_credential } }
  - { name: one where it is not admitted, request: { path: /partners }, token: { validator: management-plane }, expect: { reason: no_validator_admitted } }
  - { name: an end user, request: { path: /partners, headers: { authorization: "Bearer ${token}", x-end-user: jane } }, expect: { reason: ok, headers: { x-postern-subject: "p:jane" }, removed: [x-end-user, authorization] } }
  - { name: a password, request: { path: /any, headers: { authorization: "Basic ${Buffer.from(`partner:${token}`).toString('base64')}" } }, expect: { reason: ok, headers: { x-postern-subject: "p:partner" } } }
  - { name: the edge, request: { path: /any, headers: { x-user-id: al } }, workload: "spiffe://cluster.local/ns/e/sa/g", expect: { reason: ok, headers: { x-postern-subject: "e:al" } } }
  - { name: not the edge, request: { path: /any, headers: { x-user-id: al } }, workload: "spiffe://cluster.local/ns/e/sa/h", expect: { reason: no_credential } }
`

describe('the chain, offline', () => {
  const folder = temporaryFolder()
  after(() => folder.remove())

  it('is judged as it is when it serves', async () => {
    writeFileSync(folder.file('postern.yaml'), policy)
    writeFileSync(folder.file('cases.yaml'), cases)
    const { code, out } = await cli(['test', folder.file('cases.yaml')])
    assert.equal(code, 0, out)
    assert.match(out, /8 passed, 0 failed/)
  })

  it('admits nobody by a secret that this machine does not have', async () => {
    const missing = policy
      .replace(`"${token}"`, `"\${env:NOT_SET}"`)
      .replace(/from: \[[^\]]*\]/, `proof: { header: x-proof, secret: "\${env:NOT_SET}" }`)
    const config = folder.file('elsewhere.yaml')
    writeFileSync(config, missing)
    const ask = async (...more: string[]) => (await cli(['explain', '--config', config, '--path', '/any', ...more])).out
    assert.match(await ask('--token', token), /deny: invalid_credential/)
    assert.match(await ask('--header', 'x-user-id: alice', '--header', 'x-proof: '), /deny: no_credential/)
  })
})
