import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { decodeJwt } from 'jose'
import { decideOffline } from '../../src/compose/offline.ts'
import { readPolicy } from '../../src/config/read.ts'
import { type DpopClient, dpopClient } from '../e2e/proof-edge.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { type RunningKeycloak, secretOf } from './keycloak.ts'
import { sharedKeycloak } from './shared.ts'

describe('tokens that Keycloak binds to a key (RFC 9449)', function () {
  this.timeout(180_000)
  let keycloak: RunningKeycloak
  let client: DpopClient
  let token: string
  before(async () => {
    keycloak = await sharedKeycloak()
    client = await dpopClient()
    token = await bound()
  })

  /** By client_credentials, with a proof. */
  async function bound(): Promise<string> {
    const endpoint = `${keycloak.issuer}/protocol/openid-connect/token`
    const response = await fetch(endpoint, {
      method: 'POST',
      headers: { dpop: await client.proof('', 'POST', endpoint, { ath: undefined }) },
      body: new URLSearchParams({
        grant_type: 'client_credentials',
        client_id: 'agentcube-sdk',
        client_secret: secretOf('agentcube-sdk'),
      }),
    })
    const answer = (await response.json()) as { access_token: string; token_type: string }
    assert.equal(answer.token_type, 'DPoP', JSON.stringify(answer))
    return answer.access_token
  }

  async function decide(headers: readonly (readonly [string, string])[]) {
    const folder = temporaryFolder()
    try {
      const file = folder.file('postern.yaml')
      writeFileSync(
        file,
        `version: 1
listen: { check: { address: "unix:${folder.file('check.sock')}" } }
state: "memory:"
identity: [{ name: users, type: oidc, provider: keycloak, issuer: "${keycloak.issuer}", audience: agentcube-router }]
routes: [{ id: exports, path: /v1/exports, binding: dpop }]
`,
        { mode: 0o600 },
      )
      const read = await readPolicy({ file, env: {} })
      assert.ok(read.ok, JSON.stringify(read))
      const request = { method: 'GET', host: 'api.example', path: '/v1/exports', headers, token, now: Date.now() }
      const { answer, detail } = await decideOffline(read.loaded, { ...request, labels: [], revoked: [], down: [] })
      return { reason: answer.reason, detail }
    } finally {
      folder.remove()
    }
  }

  it('name it as the RFC says', () => {
    assert.equal((decodeJwt(token)['cnf'] as { jkt?: string }).jkt, client.jkt)
  })

  it('are admitted with a proof of that key, and with no other', async () => {
    const at = 'https://api.example/v1/exports'
    assert.deepEqual(await decide([['dpop', await client.proof(token, 'GET', at)]]), { reason: 'ok', detail: '' })
    const other = await decide([['dpop', await (await dpopClient()).proof(token, 'GET', at)]])
    assert.equal(other.reason, 'invalid_credential')
    assert.match(other.detail, /another key/)
  })
})
