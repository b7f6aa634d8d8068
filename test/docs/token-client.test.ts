import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { decodeJwt, importPKCS8 } from 'jose'
import { cli } from '../cli/captured.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { openBench } from './bench.ts'
import { checkout, readPage } from './markdown.ts'

interface Snippet {
  readonly tokenFor: (audience: string, theirs: string, secret: string) => Promise<string>
  readonly ownToken: (key: CryptoKey) => Promise<string>
}

describe('the client in the guide to token exchange', () => {
  it('exchanges a token with a secret, and gets one of its own with a key', async function () {
    this.timeout(60_000)
    const page = readPage('docs/guides/token-exchange.md')
    const cache = temporaryFolder()
    const bench = await openBench(page, cache.path)
    try {
      for (const block of page.blocks) if (block.info === 'console' && />> postern\.yaml/.test(block.text)) await bench.run(block)
      const library = pathToFileURL(join(checkout, 'node_modules/openid-client/build/index.js')).href
      const text = page.blocks.find(({ info }) => info === 'ts')?.text ?? ''
      const file = join(bench.folder, 'client.ts')
      writeFileSync(file, text.replace("'openid-client'", `'${library}'`).replace('http://127.0.0.1:9193', bench.issuer))
      const { tokenFor, ownToken } = (await import(pathToFileURL(file).href)) as Snippet
      const read = (name: string): string => readFileSync(join(bench.folder, name), 'utf8').trim()
      const minted = await cli(['token', 'mint', '--subject', 'alice', '--config', join(bench.folder, 'postern.yaml')])
      const { sub, aud, act } = decodeJwt(await tokenFor('picod', minted.out.trim(), read('router.secret')))
      assert.deepEqual({ sub, aud, act }, { sub: 'alice', aud: 'picod', act: { sub: 'router' } })
      await assert.rejects(tokenFor('elsewhere', minted.out.trim(), read('router.secret')), { error: 'invalid_target' })
      assert.equal(decodeJwt(await ownToken(await importPKCS8(read('sdk.pem'), 'ES256'))).sub, 'sdk')
    } finally {
      await bench.stop()
      cache.remove()
    }
  })
})
