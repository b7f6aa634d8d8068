import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readDocument } from '../../src/config/document.ts'
import { pathText } from '../../src/config/faults.ts'
import { privateFileFault } from '../../src/config/private-file.ts'
import { schemaFile, schemaText } from '../../src/config/schema-file.ts'
import { isLoopback, parseAddress } from '../../src/config/schema-listen.ts'
import { Secret } from '../../src/config/secret.ts'
import { encryptionKeyBytes } from '../../src/core/encryption-key.ts'

describe('the published JSON Schema', () => {
  it('is what the schema in the code makes (node src/config/schema-file.ts writes it)', () => {
    assert.equal(readFileSync(schemaFile, 'utf8'), schemaText())
  })
  it('closes every mapping and describes every section', () => {
    const schema = JSON.parse(schemaText())
    assert.equal(schema.additionalProperties, false)
    const forms = schema.anyOf.map(({ required }: { required: string[] }) => required)
    assert.deepEqual(forms, [
      ['version', 'listen', 'identity', 'routes'],
      ['version', 'listen', 'realms'],
      ['version', 'realm', 'identity', 'routes'],
    ])
    assert.equal(schema.properties.routes.items.additionalProperties, false)
    assert.match(schema.properties.routes.items.properties.when.description, /CEL/)
  })
})

describe('listener addresses', () => {
  it('are unix sockets, hosts with ports, and IPv6 in brackets', () => {
    assert.deepEqual(parseAddress('unix:/run/a.sock'), { kind: 'unix', path: '/run/a.sock' })
    assert.deepEqual(parseAddress('[::1]:80'), { kind: 'tcp', host: '::1', port: 80 })
    assert.deepEqual(parseAddress('Localhost:0'), { kind: 'tcp', host: 'localhost', port: 0 })
    for (const text of [
      'unix:a',
      '::1:80',
      'a',
      ':80',
      '127.0.0.1:65536',
      '127.0.0.1:b',
      'myhost:80',
      '127.1:80',
      '[a]:80',
      `unix:/${'x'.repeat(107)}`,
    ])
      assert.equal(parseAddress(text), undefined, text)
  })
  it('are loopback only where they say so', () => {
    const loopback = (text: string): boolean => isLoopback(parseAddress(text) ?? assert.fail(text))
    for (const text of ['127.0.0.1:1', '127.9.9.9:1', '[::1]:1', 'localhost:1', 'unix:/a']) assert.ok(loopback(text), text)
    for (const text of ['0.0.0.0:1', '[::]:1', '[2001:db8::1]:1', '10.0.0.1:1']) assert.ok(!loopback(text), text)
  })
})

describe('secrets', () => {
  const folder = mkdtempSync(join(tmpdir(), 'postern-'))
  const context = (env: Record<string, string>, now: () => number, told: string[] = []) => ({
    env,
    folder,
    now,
    onFault: (message: string) => told.push(message),
  })

  it('are put together from text and references', () => {
    writeFileSync(join(folder, 'a'), 'one\ntwo\r\n')
    const secret = new Secret(`x \${env:A} \${file:a} y`)
    assert.deepEqual(secret.open(context({ A: '1' }, () => 0)), [])
    assert.equal(secret.read(), 'x 1 one\ntwo y')
    assert.equal(secret.literal, false)
    assert.equal(secret.shape, 'x x x y')
  })

  it('are read again after 30 s, and keep their last good value', () => {
    let now = 0
    const told: string[] = []
    const file = join(folder, 'b')
    writeFileSync(file, 'first')
    const secret = new Secret(`\${file:b}`)
    assert.deepEqual(secret.open(context({}, () => now, told)), [])
    writeFileSync(file, 'second')
    now = 29_999
    assert.equal(secret.read(), 'first')
    now = 30_000
    assert.equal(secret.read(), 'second')
    rmSync(file)
    now = 60_000
    assert.equal(secret.read(), 'second')
    assert.deepEqual(told, ['the secret file "b" is needed: there is no such file; the last good value stays in use'])
    assert.equal(secret.read(), 'second')
    assert.equal(told.length, 1)
  })

  it('that are empty are missing', () => {
    writeFileSync(join(folder, 'c'), '\n')
    assert.deepEqual(new Secret(`\${file:c}\${env:E}`).open(context({ E: '' }, () => 0)), [
      'the secret file "c" is needed: it is empty',
      'the environment variable "E" is needed: it is empty',
    ])
  })

  it('cannot be read before they are opened', () => assert.throws(() => new Secret('x').read()))

  it('hold 32 bytes as base64 or hex for the encryption key', () => {
    const bytes = Buffer.alloc(32, 251)
    for (const form of ['hex', 'base64', 'base64url'] as const) assert.deepEqual(encryptionKeyBytes(bytes.toString(form)), bytes)
    for (const text of ['', 'x'.repeat(32), bytes.toString('hex').slice(2), Buffer.alloc(33).toString('base64')])
      assert.equal(encryptionKeyBytes(text), undefined)
  })
})

describe('private files', () => {
  it('are refused by who may read them, through links', () => {
    const folder = mkdtempSync(join(tmpdir(), 'postern-'))
    const file = join(folder, 'key')
    writeFileSync(file, '')
    symlinkSync(file, join(folder, 'link'))
    for (const [mode, severity] of [
      [0o600, undefined],
      [0o400, undefined],
      [0o440, 'warn'],
      [0o640, 'warn'],
      [0o660, 'refuse'],
      [0o644, 'refuse'],
      [0o604, 'refuse'],
      [0o602, 'refuse'],
    ] as const) {
      chmodSync(file, mode)
      assert.equal(privateFileFault(join(folder, 'link'))?.severity, severity, mode.toString(8))
    }
    assert.equal(privateFileFault(join(folder, 'none')), undefined)
  })
})

describe('positions', () => {
  const source = readDocument('f', Buffer.from('a:\n  - b: "x y"\n    c: &d [1, 2]\n  - *d\ne: |\n  one\n   two three\nf: >\n  folded\n'))
  const at = (path: (string | number)[], aim = {}): string => {
    const { line, column } = source.locate(path, aim)
    return `${line}:${column}`
  }
  it('are those of values, keys, and what is nearest', () => {
    assert.equal(at(['a', 0, 'b']), '2:8')
    assert.equal(at(['a', 0, 'b'], { at: 'key' }), '2:5')
    assert.equal(at(['a', 0, 'missing']), '2:5')
    assert.equal(at(['a', 0, 'c', 1]), '3:15')
    assert.equal(at(['a', 1, 1]), '3:15')
    assert.equal(at(['a', 7]), '2:3')
    assert.equal(at([]), '1:1')
  })
  it('go into texts where these stand as they are', () => {
    assert.equal(at(['a', 0, 'b'], { offset: 2 }), '2:11')
    assert.equal(at(['e'], { offset: 5 }), '7:4')
    assert.equal(at(['f'], { offset: 2 }), '8:4')
  })
  it('are written as paths', () => assert.equal(pathText(['routes', 2, 'owner', 'spiffe://a/b']), 'routes[2].owner["spiffe://a/b"]'))
})
