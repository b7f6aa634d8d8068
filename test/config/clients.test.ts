import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ReadResult, readPolicy } from '../../src/config/read.ts'

const jwk = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' })

async function read(auth: string, files: Readonly<Record<string, string>>, tls = '{ mode: none }', secrets?: 'warn'): Promise<ReadResult> {
  const folder = await mkdtemp(join(tmpdir(), 'postern-'))
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content, { mode: 0o600 })
  const file = join(folder, 'postern.yaml')
  await writeFile(
    file,
    `version: 1
listen: { check: { address: "unix:/run/postern/check.sock" }, issuer: { address: 127.0.0.1:9193, tls: ${tls} } }
identity: []
routes: []
issuer: { clients: [{ id: a, auth: ${auth}, grants: [client_credentials], audiences: [picod] }] }
`,
  )
  return readPolicy({ file, env: {}, ...(secrets && { secrets }) })
}

describe('clients that prove themselves by keys', () => {
  const good = JSON.stringify({ keys: [{ ...jwk, kid: 'a' }] })

  it('name a file from the folder of the policy', async () => {
    const result = await read('{ private_key_jwt: { jwks: keys.json } }', { 'keys.json': good })
    assert.ok(result.ok, JSON.stringify(result))
    const file = result.loaded.settings.issuer.clients[0]?.auth.private_key_jwt?.jwks
    assert.match(file ?? '', /^\/.*\/keys\.json$/)
  })

  for (const [what, content, message] of [
    ['is not there', undefined, /cannot be read: there is no such file/],
    ['is no JSON', '{"keys":', /holds no keys/],
    ['is a key and no set', JSON.stringify(jwk), /holds no keys/],
    ['is an empty set', '{"keys":[]}', /holds no keys/],
    ['holds a symmetric key', '{"keys":[{"kty":"oct","k":"AAAA"}]}', /holds no keys/],
  ] as const)
    it(`are refused where it ${what}`, async () => {
      const result = await read('{ private_key_jwt: { jwks: keys.json } }', content === undefined ? {} : { 'keys.json': content })
      assert.ok(!result.ok)
      assert.deepEqual(
        result.faults.map(({ path }) => path),
        ['issuer.clients[0].auth.private_key_jwt.jwks'],
      )
      assert.match(result.faults[0]?.message ?? '', message)
    })

  it('are warned of on another machine', async () => {
    const result = await read('{ private_key_jwt: { jwks: keys.json } }', {}, undefined, 'warn')
    assert.ok(result.ok)
    assert.ok(result.loaded.warnings.some(({ path }) => path === 'issuer.clients[0].auth.private_key_jwt.jwks'))
  })
})

describe('secrets of clients', () => {
  it('have 16 characters at least, wherever they stand', async () => {
    for (const [content, ok] of [
      ['fifteen-letters', false],
      ['sixteen-letters-', true],
    ] as const) {
      // biome-ignore lint/suspicious/noTemplateCurlyInString: a reference of the policy file
      const result = await read('{ secret: "${file:secret}" }', { secret: content })
      assert.equal(result.ok, ok, content)
      if (!result.ok) assert.match(result.faults[0]?.message ?? '', /the client secret is too short/)
    }
  })
})
