import assert from 'node:assert/strict'
import { issuerEndpoints } from '../../src/issuer/endpoints.ts'
import { type ProtectedResource, protectedResourceDocument, resourceOf, wellKnown } from '../../src/issuer/protected-resource.ts'

const resource: ProtectedResource = {
  metadataUrl: `https://api.example${wellKnown}/mcp`,
  authorizationServers: ['https://idp.example'],
  scopes: [],
  bearerMethods: ['header'],
  name: 'postern',
  proofAlgorithms: [],
  proofRequired: false,
  certificateBound: false,
}
const documentAt = (path: string, over: Partial<ProtectedResource> = {}): unknown => {
  const text = protectedResourceDocument({ ...resource, ...over }, path)
  return text === undefined ? undefined : JSON.parse(text)
}

describe('protected resource metadata', () => {
  it('is of the resource into whose URL the well-known part was put', () => {
    for (const [url, identifier] of [
      [`https://api.example${wellKnown}`, 'https://api.example'],
      [`https://api.example:8443${wellKnown}/mcp`, 'https://api.example:8443/mcp'],
      [`https://api.example${wellKnown}/a/b?tenant=x`, 'https://api.example/a/b?tenant=x'],
      ['https://docs.example/metadata.json', 'https://docs.example'],
      [`https://api.example${wellKnown}-other`, 'https://api.example'],
    ] as const)
      assert.equal(resourceOf(url), identifier, url)
  })

  it('says no more than there is to say', () => {
    const common = { authorization_servers: ['https://idp.example'], bearer_methods_supported: ['header'], resource_name: 'postern' }
    assert.deepEqual(documentAt(`${wellKnown}/mcp`), { resource: 'https://api.example/mcp', ...common })
    assert.deepEqual(documentAt(wellKnown, { proofRequired: true, proofAlgorithms: ['ES256'], certificateBound: true, scopes: ['a:b'] }), {
      ...{ resource: 'https://api.example/mcp', ...common, scopes_supported: ['a:b'] },
      ...{ dpop_signing_alg_values_supported: ['ES256'], dpop_bound_access_tokens_required: true },
      tls_client_certificate_bound_access_tokens: true,
    })
  })

  it('is at the paths of its own resource alone: a client must not take it for another’s', () => {
    for (const path of [`${wellKnown}/`, `${wellKnown}/other`, `${wellKnown}/mcp/`, `${wellKnown}/mcp/x`])
      assert.equal(documentAt(path), undefined)
  })

  it('is served to pages too, and is 404 where the policy sends nobody there', async () => {
    const options = { issuer: 'https://sts.example', jwks: () => ({ keys: [] }), tls: false }
    const app = issuerEndpoints({ ...options, protectedResource: (path) => protectedResourceDocument(resource, path) })
    const answer = await app.request(`${wellKnown}/mcp`)
    const { status, headers } = answer
    assert.deepEqual([status, headers.get('content-type'), headers.get('access-control-allow-origin')], [200, 'application/json', '*'])
    assert.equal(headers.get('cache-control'), 'public, max-age=60')
    assert.equal((await app.request(`${wellKnown}/mcp`, { method: 'HEAD' })).status, 200)
    assert.equal((await app.request(`${wellKnown}/mcp`, { method: 'POST' })).status, 405)
    assert.equal((await app.request(`${wellKnown}/other`)).status, 404)
    assert.equal((await issuerEndpoints(options).request(wellKnown)).status, 404)
  })
})
