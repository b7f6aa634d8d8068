import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parse } from 'yaml'
import { readPage } from '../docs/markdown.ts'
import { startOidc } from '../support/oidc.ts'
import { request } from '../support/request.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const root = new URL('../../', import.meta.url)
const files: Readonly<Record<string, string>> = {
  'upstreams.yaml': 'envoy/upstreams.yaml',
  'sidecar.yaml': 'deploy/upstreams/sidecar.yaml',
}
const sdk = new URL('sdk/typescript/src/index.ts', root).href

/** Whether what is shown stands there: members may be left out, elements of lists too. */
function within(whole: unknown, part: unknown): boolean {
  if (Array.isArray(part)) return Array.isArray(whole) && part.every((one) => whole.some((other) => within(other, one)))
  if (typeof part !== 'object' || part === null) return whole === part
  if (typeof whole !== 'object' || whole === null) return false
  return Object.entries(part).every(([name, value]) => within((whole as Record<string, unknown>)[name], value))
}

const anywhere = (whole: unknown, part: unknown): boolean =>
  within(whole, part) || (typeof whole === 'object' && whole !== null && Object.values(whole).some((inner) => anywhere(inner, part)))

describe('the page of upstreams', () => {
  const page = readPage('docs/guides/upstreams.md')
  const blocks = (info: string) => page.blocks.filter((block) => block.info === info)

  for (const [name, path] of Object.entries(files))
    it(`shows what stands in ${path}`, () => {
      const whole: unknown = parse(readFileSync(fileURLToPath(new URL(path, root)), 'utf8'))
      const parts = blocks(`yaml envoy ${name}`).flatMap(({ text }) => parse(text) as unknown[])
      assert.ok(parts.length > 1)
      for (const part of parts) assert.ok(anywhere(whole, part), JSON.stringify(part))
      assert.equal(anywhere(whole, { name: 'picod_mtls', transport_socket: 7 }), false)
    })

  it('has an upstream that verifies', async () => {
    const folder = temporaryFolder('docs')
    const issuer = await startOidc({ algorithms: ['ES256'], jwksPath: '/jwks.json' })
    let server: Server | undefined
    try {
      const file = folder.file('upstream.ts')
      const text = blocks('ts upstream')[0]?.text ?? ''
      writeFileSync(file, text.replace("'postern-upstream'", `'${sdk}'`).replace('http://127.0.0.1:9193', issuer.issuer))
      server = ((await import(pathToFileURL(file).href)) as { server: Server }).server
      const running = server
      await new Promise<void>((done) => running.listen(0, '127.0.0.1', done))
      const { port } = running.address() as AddressInfo
      const ask = async (resource: string) =>
        request({ port, headers: { authorization: `Bearer ${await issuer.mint({ sub: 'alice', aud: 'picod', resource })}` } })
      const good = await ask('sandbox:s1')
      assert.deepEqual([good.status, good.body], [200, 'hello alice'])
      assert.equal((await ask('sandbox:s2')).status, 403)
      assert.equal((await request({ port })).status, 401)
    } finally {
      server?.closeAllConnections()
      server?.close()
      await issuer.stop()
      folder.remove()
    }
  })

  it('names for mTLS only what the middleware has', async () => {
    const exported = Object.keys((await import(sdk)) as object)
    for (const name of ['mtlsGuard', 'readTls', 'nodeHandler', 'keepFresh'])
      assert.ok(exported.includes(name) && page.text.includes(name), name)
    const readme = readFileSync(fileURLToPath(new URL('sdk/typescript/README.md', root)), 'utf8')
    for (const name of exported.filter((one) => one !== 'Refusal' && one !== 'ownerLabel')) assert.ok(readme.includes(`\`${name}`), name)
  })
})
