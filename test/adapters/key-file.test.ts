import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { encryptedKeyStore, keyCipher } from '../../src/adapters/key-cipher.ts'
import { type KeyFile, KeyFileRefused, openKeyFile } from '../../src/adapters/key-file.ts'
import { keyVersion, type StoredKey, Unavailable } from '../../src/core/ports.ts'
import { openKeyRing } from '../../src/issuer/key-ring.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

const key = (kid: string): StoredKey => ({ kid, algorithm: 'EdDSA', createdAt: 1, activeAt: 2, privateKey: `pem ${kid}` })

describe('key file', () => {
  const folder = temporaryFolder()
  const opened: KeyFile[] = []
  const children: ChildProcess[] = []
  let count = 0
  const place = (): string => folder.file(`keys-${++count}/signing.json`)
  const open = async (path: string): Promise<KeyFile> => {
    const file = await openKeyFile(path, 50)
    opened.push(file)
    return file
  }
  afterEach(() => {
    for (const file of opened.splice(0)) file.close()
    for (const child of children.splice(0)) child.kill('SIGKILL')
  })
  after(() => folder.remove())

  it('is made with the first key, for its owner alone, and holds what was written', async () => {
    const path = place()
    const { store } = await open(path)
    assert.deepEqual(await store.list(), [])
    const all = [
      { ...key('a'), retiredAt: 5, keepFor: 60 },
      { ...key('b'), algorithm: 'RS256' as const },
    ]
    assert.equal(await store.replace([], all), true)
    assert.equal(statSync(path).mode & 0o777, 0o600)
    assert.deepEqual(await (await open(path)).store.list(), all)
    assert.deepEqual(readdirSync(folder.file(`keys-${count}`)).sort(), ['signing.json', 'signing.json.lock'])
  })
  it('lets one of many replace the keys, and tells the others within a second', async () => {
    const path = place()
    const files = [await open(path), await open(path), await open(path)]
    let told = 0
    files[2]!.feed.subscribe(({ kind }) => {
      if (kind === 'keys') told++
    })
    const won = await Promise.all(Array.from({ length: 12 }, (_, i) => files[i % 2]!.store.replace([], [key(`k${i}`)])))
    assert.equal(won.filter(Boolean).length, 1)
    const [kept] = await files[2]!.store.list()
    assert.equal(kept?.kid, `k${won.indexOf(true)}`)
    await until('the change', () => told > 0, 1000)
    assert.equal(await files[2]!.store.replace(['k 2 -1 -1'], []), false)
    assert.equal(await files[2]!.store.replace([keyVersion(kept!)], [kept!, key('next')]), true)
  })
  it('is one among processes, and the lock of one that was killed ends with it', async () => {
    const path = place()
    await open(path)
    const program = folder.file(`rotate-${count}.mts`)
    const source = new URL('../../src/adapters/key-file.ts', import.meta.url).href
    const ports = new URL('../../src/core/ports.ts', import.meta.url).href
    writeFileSync(
      program,
      `import { openKeyFile } from '${source}'
import { keyVersion } from '${ports}'
const { store } = await openKeyFile(process.argv[2])
const name = process.argv[3]
let own = 0
process.send('up')
for (;;) {
  const seen = await store.list()
  const next = { kid: name + own, algorithm: 'ES256', createdAt: 1, activeAt: own, privateKey: 'p' }
  if (await store.replace(seen.map(keyVersion), [...seen.slice(-20), next])) { own++; process.send({ name, own }) }
}
`,
    )
    const written: string[] = []
    const start = (name: string): ChildProcess => {
      const child = fork(program, [path, name], { execArgv: [] })
      children.push(child)
      child.on('message', (message: unknown) => {
        if (typeof message === 'object' && message) written.push(JSON.stringify(message))
      })
      return child
    }
    const both = [start('a'), start('b')]
    await Promise.all(both.map((child) => once(child, 'message')))
    await until(
      'both to have written',
      () => ['"a"', '"b"'].every((name) => written.filter((one) => one.includes(name)).length > 3),
      10_000,
    )
    both[0]!.kill('SIGKILL')
    const before = written.length
    await until('the other to go on', () => written.length > before + 3, 5000)
    both[1]!.kill('SIGKILL')
    await once(both[1]!, 'exit')
    // Each key that a process was told to have written came to be: those of one name are there without a gap.
    const kids = (await (await open(path)).store.list()).map(({ kid }) => kid)
    for (const name of ['a', 'b']) {
      const numbers = kids.filter((kid) => kid.startsWith(name)).map((kid) => Number(kid.slice(1)))
      assert.deepEqual(
        numbers,
        Array.from({ length: numbers.length }, (_, i) => numbers[0]! + i),
      )
    }
  }).timeout(30_000)
  it('leaves no keys behind of a process that was killed while it wrote', async () => {
    const path = place()
    const { store } = await open(path)
    await store.replace([], [key('a')])
    writeFileSync(`${path}.00adfae0-be9a-4896-a08b-e327eb81cf7c`, '{"version":1,"keys":[{"privateKey":', { mode: 0o600 })
    writeFileSync(`${path}.backup`, 'kept')
    await open(path)
    assert.deepEqual(readdirSync(dirname(path)).sort(), ['signing.json', 'signing.json.backup', 'signing.json.lock'])
  })
  it('serves a ring, encrypted too, and another ring follows its rotation', async () => {
    const path = place()
    const [one, two] = [await open(path), await open(path)]
    const times = { publishBeforeMs: 0, rotateEveryMs: 1e10, keepForMs: 1e8 }
    const ringOn = ({ store, feed }: KeyFile) =>
      openKeyRing({ store: encryptedKeyStore(store, keyCipher(Buffer.alloc(32, 1))), feed, ...times })
    const rings = [await ringOn(one), await ringOn(two)]
    const kid = await rings[0]!.rotate({ now: true })
    await until('the other ring', () => rings[1]!.find(kid, 'ES256').kind === 'key', 1000)
    for (const ring of rings) ring.close()
    assert.doesNotMatch(readFileSync(path, 'utf8'), /PRIVATE KEY/)
  })

  const broken: [string, string, number, RegExp][] = [
    ['open to the group', '{"version":1,"keys":[]}', 0o640, /open to others \(mode 0640\): expected 0600/],
    ['open to all', '{"version":1,"keys":[]}', 0o604, /open to others/],
    ['that is a PEM key', '-----BEGIN PRIVATE KEY-----\n', 0o600, /holds a PEM key: expected a file of Postern's own/],
    ['that is cut off', '{"version":1,"keys":[{"kid"', 0o600, /damaged or from another version/],
    ['of another version', '{"version":2,"keys":[]}', 0o600, /damaged or from another version/],
    ['with a key of an unknown algorithm', JSON.stringify({ version: 1, keys: [{ ...key('a'), algorithm: 'HS256' }] }), 0o600, /damaged/],
  ]
  for (const [what, text, mode, sentence] of broken) {
    it(`is refused ${what}`, async () => {
      const path = folder.file(`broken-${++count}.json`)
      writeFileSync(path, text)
      chmodSync(path, mode)
      await assert.rejects(openKeyFile(path), (cause) => cause instanceof KeyFileRefused && sentence.test(cause.message))
      assert.equal(readFileSync(path, 'utf8'), text, 'nothing is lost')
    })
  }
  it('is refused where its folder cannot be', async () => {
    const path = folder.file(`a-file-${++count}`)
    writeFileSync(path, '')
    await assert.rejects(openKeyFile(`${path}/keys.json`), KeyFileRefused)
  })
  it('that is damaged later makes keys unavailable, and is not written over', async () => {
    const path = place()
    const { store } = await open(path)
    await store.replace([], [key('a')])
    writeFileSync(path, 'garbage', { mode: 0o600 })
    await assert.rejects(store.list(), Unavailable)
    await assert.rejects(store.replace([], [key('b')]), Unavailable)
    assert.equal(readFileSync(path, 'utf8'), 'garbage')
  })
})
