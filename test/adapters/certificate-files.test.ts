import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, createServer } from 'node:tls'
import { type Authority, issueCertificate, makeAuthority } from '../../deploy/local/certificates.mjs'
import { type CertificateEvent, openCertificateLoader } from '../../src/adapters/certificate-files.ts'
import type { CertificateLoader, CertificatePaths, CertificateSource } from '../../src/core/certificates.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

interface Texts {
  readonly cert: string
  readonly key: string
  readonly ca: string
}

const authority = makeAuthority('one')
const day = 86_400_000
const issue = (by: Authority = authority, more: object = {}): Texts => {
  const { certificate, key } = issueCertificate(by, { commonName: 'a', dns: ['localhost'], ip: ['127.0.0.1'], ...more })
  return { cert: certificate, key, ca: by.certificate }
}

describe('certificates from files', () => {
  let folder: TemporaryFolder
  let loader: CertificateLoader
  let events: CertificateEvent[]
  let paths: Required<CertificatePaths>

  beforeEach(() => {
    folder = temporaryFolder()
    events = []
    // Only looked at when the test says so.
    loader = openCertificateLoader({ everyMs: 1e6, settleMs: 10, shorterMs: 150, patienceMs: 200, onEvent: (event) => events.push(event) })
    paths = { cert: folder.file('svid.pem'), key: folder.file('svid_key.pem'), ca: folder.file('svid_bundle.pem') }
  })
  afterEach(() => {
    loader.close()
    folder.remove()
  })
  const write = ({ cert, key, ca }: Partial<Texts>): void => {
    if (cert !== undefined) writeFileSync(paths.cert, cert)
    if (key !== undefined) writeFileSync(paths.key, key, { mode: 0o600 })
    if (ca !== undefined) writeFileSync(paths.ca, ca)
  }
  /** Looks until what changed has looked the same for long enough. */
  const look = async (): Promise<void> => {
    await loader.look()
    await sleep(15)
    await loader.look()
  }
  const open = (): CertificateSource => loader.open('listen.check', paths)
  const refused = (pattern: RegExp): void => assert.throws(() => open().current(), pattern)

  it('are a set, with what it says of itself, the same object while nothing changes', async () => {
    const first = issue()
    write(first)
    const source = open()
    const set = source.current()
    assert.deepEqual([set.cert, set.key, set.ca], [first.cert, first.key, first.ca])
    const leaf = new X509Certificate(first.cert)
    assert.equal(set.own?.names, 'DNS:localhost, IP Address:127.0.0.1')
    assert.equal(set.own?.validTo, leaf.validToDate.getTime())
    assert.equal(set.own?.fingerprint, leaf.fingerprint256.replaceAll(':', '').toLowerCase())
    await look()
    assert.equal(source.current(), set)
    assert.equal(loader.open('listen.admin', paths).current(), set, 'one set for all who name the same files')
    assert.deepEqual(
      loader.states().map(({ use }) => use),
      ['listen.check', 'listen.admin'],
    )
    await loader.ready()
  })

  it('are replaced when all of them are, and whoever listens is told once', async () => {
    const [first, second] = [issue(), issue()]
    write(first)
    const source = open()
    const told: (string | undefined)[] = []
    source.subscribe((next, before) => told.push(before?.digest, next.digest))
    const before = source.current()
    write({ cert: second.cert })
    await look()
    assert.equal(source.current(), before, 'a new certificate without its key')
    assert.match(loader.states()[0]?.fault ?? '', /are no PEM pair/)
    write({ key: second.key })
    await look()
    assert.equal(source.current().cert, second.cert)
    assert.deepEqual(told, [before.digest, source.current().digest])
    assert.equal(loader.states()[0]?.fault, undefined)
    assert.deepEqual(loader.states()[0]?.reloads, { success: 1, refused: 1 })
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ['refused', 'reloaded'],
    )
    source.close()
    assert.deepEqual(loader.states(), [])
  })

  it('are taken as they were again, where a change is taken back', async () => {
    const first = issue()
    write(first)
    const source = open()
    const set = source.current()
    write({ cert: issue().cert })
    await look()
    write({ cert: first.cert })
    await look()
    assert.equal(source.current(), set)
    assert.equal(loader.states()[0]?.fault, undefined)
  })

  const classes = (text: string): number[] => {
    const ends = [
      0,
      1,
      text.indexOf('\n'),
      text.indexOf('\n') + 1,
      text.length >> 1,
      text.lastIndexOf('-----END'),
      text.lastIndexOf('-----END') + 7,
    ]
    // All but the last line break: without that, a text is whole.
    return [...ends, text.trimEnd().length - 1]
  }
  for (const part of ['cert', 'key', 'ca'] as const) {
    it(`are never used with a ${part} that is cut off somewhere`, async () => {
      const [first, second] = [issue(), issue(makeAuthority('two'))]
      write(first)
      const source = open()
      const set = source.current()
      for (const end of classes(second[part])) {
        write({ ...second, [part]: second[part].slice(0, end) })
        await look()
        assert.equal(source.current(), set, `${part} cut at ${end}`)
        assert.ok(loader.states()[0]?.fault)
      }
      write(second)
      await look()
      assert.equal(source.current().key, second.key)
    })
  }

  for (const part of ['cert', 'ca'] as const) {
    it(`wait where a ${part} with fewer certificates looks whole: it may be cut off between two of them`, async () => {
      const [first, second, more] = [issue(), issue(), makeAuthority('more').certificate]
      write({ ...first, [part]: first[part] + more })
      const source = open()
      const set = source.current()
      write(second)
      await look()
      assert.equal(source.current(), set)
      // At any place between and in the second one.
      for (const end of [0, 1, 5, 27, 200, more.length - 2]) {
        write({ [part]: second[part] + more.slice(0, end) })
        await look()
        assert.equal(source.current(), set, `${end}`)
      }
      write({ [part]: second[part] + more })
      await look()
      assert.equal(source.current().key, second.key)
      write(second)
      await look()
      assert.notEqual(source.current().cert + String(source.current().ca), second.cert + second.ca)
      await sleep(160)
      await loader.look()
      assert.deepEqual([source.current().cert, source.current().ca], [second.cert, second.ca])
    })
  }

  it('are followed through the swapped links of a Kubernetes Secret, and through renames', async () => {
    const versions = [issue(), issue(makeAuthority('two')), issue(makeAuthority('three'))]
    const names = { cert: 'tls.crt', key: 'tls.key', ca: 'ca.crt' } as const
    versions.forEach((texts, i) => {
      mkdirSync(folder.file(`..${i}`))
      for (const part of ['cert', 'key', 'ca'] as const) writeFileSync(folder.file(`..${i}/${names[part]}`), texts[part], { mode: 0o640 })
    })
    const swap = (i: number): void => {
      symlinkSync(`..${i}`, folder.file('..data_tmp'))
      renameSync(folder.file('..data_tmp'), folder.file('..data'))
    }
    swap(0)
    for (const name of Object.values(names)) symlinkSync(`..data/${name}`, folder.file(name))
    paths = { cert: folder.file('tls.crt'), key: folder.file('tls.key'), ca: folder.file('ca.crt') }
    const source = open()
    for (const i of [1, 2, 0]) {
      swap(i)
      await look()
      assert.equal(source.current().key, versions[i]!.key)
      assert.equal(source.current().ca, versions[i]!.ca)
    }
    assert.equal(events.filter(({ kind }) => kind !== 'reloaded').length, 0)
    // A file in place of a link, renamed over it.
    for (const part of ['cert', 'key', 'ca'] as const) {
      writeFileSync(folder.file('next'), versions[1]![part], { mode: 0o600 })
      renameSync(folder.file('next'), paths[part])
    }
    await look()
    assert.equal(source.current().cert, versions[1]!.cert)
  })

  it('stay in use while files are away, or a key is open to others', async () => {
    const first = issue()
    write(first)
    const source = open()
    const set = source.current()
    for (const part of ['cert', 'key', 'ca'] as const) {
      rmSync(paths[part])
      await look()
      assert.match(loader.states()[0]?.fault ?? '', /cannot be read \(ENOENT\)/)
      write(first)
      await look()
      assert.equal(loader.states()[0]?.fault, undefined)
    }
    chmodSync(paths.key, 0o604)
    await look()
    assert.match(loader.states()[0]?.fault ?? '', /svid_key\.pem is open to others \(mode 0604\); expected 0600 or 0640/)
    assert.equal(source.current(), set)
    const told = events.length
    await look()
    assert.equal(events.length, told, 'one line for one fault')
  })

  it('are refused at once where they can never do', () => {
    const first = issue()
    write(first)
    for (const mode of [0o644, 0o602, 0o601, 0o660, 0o620]) {
      chmodSync(paths.key, mode)
      refused(/svid_key\.pem (?:is open to others|can be changed by its group) \(mode 06/)
    }
    for (const mode of [0o400, 0o440, 0o600, 0o640]) {
      chmodSync(paths.key, mode)
      loader.close()
      assert.ok(open().current())
    }
    loader.close()
    const link = folder.file('link.key')
    symlinkSync(paths.key, link)
    chmodSync(paths.key, 0o644)
    assert.throws(() => loader.open('x', { ...paths, key: link }).current(), /link\.key is open to others \(mode 0644\)/)
    chmodSync(paths.key, 0o600)
    writeFileSync(paths.ca, first.ca + first.key)
    refused(/svid_bundle\.pem is open to others/)
    writeFileSync(paths.ca, '')
    refused(/the CA file .* holds no PEM certificate/)
    writeFileSync(paths.ca, first.ca)
    writeFileSync(paths.cert, first.ca + first.cert)
    refused(/are no PEM pair: the first certificate must be that of the key/)
    assert.throws(() => loader.open('x', { cert: paths.ca, key: folder.path }).current(), /the key .* is no file/)
    assert.throws(() => loader.open('y', { cert: paths.cert }).current(), /has no key beside it/)
  })

  it('that have expired, or are not valid yet, refuse a start and never replace valid ones', async () => {
    const old = issue(authority, { notBefore: new Date(Date.now() - 2 * day), notAfter: new Date(Date.now() - day) })
    write(old)
    open()
    await assert.rejects(loader.ready(), /listen\.check: the certificate .*svid\.pem has expired \(20/)
    loader.close()
    write(issue(authority, { notBefore: new Date(Date.now() + day), notAfter: new Date(Date.now() + 2 * day) }))
    open()
    await assert.rejects(loader.ready(), /svid\.pem is not valid before 20/)
    loader.close()
    const good = issue()
    write(good)
    const source = open()
    await loader.ready()
    write(old)
    await look()
    assert.equal(source.current().cert, good.cert)
    assert.match(loader.states()[0]?.fault ?? '', /has expired/)
    // Valid in a moment, without a change of the files.
    const soon = issue(authority, { notBefore: new Date(Math.ceil(Date.now() / 1000) * 1000 + 1000), notAfter: new Date(Date.now() + day) })
    write(soon)
    await look()
    assert.equal(source.current().cert, good.cert)
    await until(
      'the time of the next one',
      async () => {
        await loader.look()
        return source.current().cert === soon.cert
      },
      4000,
    )
  })

  it('that expire while they are in use are told of once', async () => {
    write(issue(authority, { notAfter: new Date(Math.floor(Date.now() / 1000) * 1000 + 1000) }))
    const source = open()
    const set = source.current()
    await until(
      'the end',
      async () => {
        await loader.look()
        return events.length > 0
      },
      4000,
    )
    await look()
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ['expired'],
    )
    assert.equal(source.current(), set)
  })

  it('are waited for where they are just being written, and told of all at once where they do not come', async () => {
    const first = issue()
    write({ cert: first.cert })
    const source = open()
    assert.throws(() => source.current())
    setTimeout(() => write(first), 60)
    await loader.ready()
    assert.equal(source.current().key, first.key)
    loader.open('state', { ca: folder.file('none') })
    loader.open('sts.a', { ca: folder.file('none') })
    loader.open('sts.b', { cert: paths.cert, key: folder.file('nokey') })
    await assert.rejects(loader.ready(), (cause: Error) => {
      assert.match(
        cause.message,
        /^state, sts\.a: the CA file .*none cannot be read \(ENOENT\)\nsts\.b: the key .*nokey cannot be read \(ENOENT\)$/,
      )
      return true
    })
    // Whoever asks later waits for what was opened since.
    await loader.ready()
  })

  it('never are a mixed pair, however their files are written', async function () {
    this.timeout(60_000)
    let seed = Number(process.env['POSTERN_TEST_SEED'] ?? 20261123)
    const random = (below: number): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
      return Math.floor((seed / 2_147_483_648) * below)
    }
    const versions = Array.from({ length: 6 }, (_, i) => issue(makeAuthority(`v${i}`)))
    const parts = ['cert', 'key', 'ca'] as const
    const names = { cert: 'svid.pem', key: 'svid_key.pem', ca: 'svid_bundle.pem' } as const
    const begin = (): void => {
      for (const part of parts) writeFileSync(paths[part], versions[0]![part], { mode: 0o600 })
    }
    begin()
    const source = loader.open('listen.check', paths)
    let taken = 0
    source.subscribe((next) => {
      taken++
      const of = (part: (typeof parts)[number]): number => versions.findIndex((texts) => texts[part] === next[part])
      assert.ok(of('cert') >= 0 && of('cert') === of('key'), `certificate ${of('cert')}, key ${of('key')} (seed ${seed})`)
      assert.ok(of('ca') >= 0, 'a whole bundle')
    })
    for (let round = 0; round < 120; round++) {
      const i = random(versions.length)
      const order = [...parts].sort(() => random(3) - 1)
      const way = random(3)
      for (const part of order) {
        const text = versions[i]![part]
        if (way === 0) {
          // In place, in pieces.
          const cut = random(text.length)
          writeFileSync(paths[part], text.slice(0, cut))
          if (random(2) === 0) await loader.look()
          writeFileSync(paths[part], text)
        } else if (way === 1) {
          writeFileSync(`${paths[part]}.new`, text, { mode: 0o600 })
          renameSync(`${paths[part]}.new`, paths[part])
        } else {
          // Away, and there again: a link to a file elsewhere.
          writeFileSync(join(folder.path, `${names[part]}.${round}`), text, { mode: 0o600 })
          rmSync(paths[part])
          if (random(3) === 0) await loader.look()
          symlinkSync(`${names[part]}.${round}`, paths[part])
        }
        if (random(3) === 0) await sleep(random(20))
        if (random(2) === 0) await loader.look()
      }
      if (random(2) === 0) await look()
      // Each way begins with plain files again.
      if (way === 2) {
        for (const part of parts) rmSync(paths[part])
        for (const part of parts) writeFileSync(paths[part], versions[i]![part], { mode: 0o600 })
      }
    }
    await look()
    assert.ok(taken > 20, `${taken} sets were taken`)
    assert.equal(source.current().cert, readFileSync(paths.cert, 'latin1'))
    assert.equal(source.current().ca, readFileSync(paths.ca, 'latin1'))
  })

  it('are what a server shows from the next handshake on, and what it verifies clients by', async () => {
    const [first, second] = [issue(), issue(makeAuthority('two'))]
    write(first)
    const source = open()
    const server = createServer({ ...source.current(), requestCert: true }, (socket) => socket.on('error', () => {}).end('in'))
    source.subscribe((next) => server.setSecureContext({ ...next }))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    let session: Buffer | undefined
    const meet = (client: Texts, trusted: string, resumed?: Buffer): Promise<{ shown: string; reused: boolean }> =>
      new Promise((resolve, reject) => {
        const socket = connect({
          host: '127.0.0.1',
          port,
          ca: trusted,
          cert: client.cert,
          key: client.key,
          ...(resumed && { session: resumed }),
        })
        let shown = ''
        socket.on('session', (given: Buffer) => {
          session = given
        })
        socket.once('secureConnect', () => {
          shown = socket.getPeerX509Certificate()?.toString() ?? ''
        })
        // With TLS 1.3 a client is refused after its handshake has ended.
        socket.once('data', () => resolve({ shown: shown.trim(), reused: socket.isSessionReused() }))
        socket.once('error', reject)
        socket.once('close', () => reject(new Error('closed without a byte')))
      })
    try {
      assert.equal((await meet(first, first.ca)).shown, first.cert.trim())
      assert.ok(session)
      assert.equal((await meet(first, first.ca, session)).reused, true)
      const before = session
      write(second)
      await look()
      assert.equal((await meet(second, second.ca)).shown, second.cert.trim())
      await assert.rejects(meet(first, second.ca))
      // A session of before does not get in by the authority of before.
      await assert.rejects(meet(first, first.ca + second.ca, before))
    } finally {
      server.close()
    }
  })
})
