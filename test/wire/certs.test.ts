import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { request } from 'node:https'
import { fileURLToPath } from 'node:url'
import { startHttpListener } from '../../src/wire/http-listener.ts'
import { parseListenAddress } from '../../src/wire/listener.ts'
import { listenTls } from '../support/listen-tls.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const script = fileURLToPath(new URL('../../deploy/local/certs.mjs', import.meta.url))
const run = (args: readonly string[]): Promise<{ code: number; stderr: string }> =>
  new Promise((resolve) => {
    execFile(process.execPath, [script, ...args], (fault, _, stderr) => resolve({ code: Number(fault?.code ?? 0), stderr }))
  })

describe('the script that makes test certificates', () => {
  const folder = temporaryFolder()
  after(() => folder.remove())
  const out = folder.file('certs')
  const at = (name: string): string => `${out}/${name}`
  const read = (name: string): string => readFileSync(at(name), 'utf8')

  it('writes a CA, a server and a client on P-256, with keys for their owner alone', async () => {
    assert.equal((await run(['--out', out, '--host', 'broker.example', '--client', 'spiffe://cluster.local/ns/a/sa/b'])).code, 0)
    assert.deepEqual(readdirSync(out).sort(), ['ca.pem', 'client-key.pem', 'client.pem', 'postern-key.pem', 'postern.pem'])
    for (const key of ['postern-key.pem', 'client-key.pem']) assert.equal(statSync(at(key)).mode & 0o777, 0o600)
    const ca = new X509Certificate(read('ca.pem'))
    const server = new X509Certificate(read('postern.pem'))
    const client = new X509Certificate(read('client.pem'))
    for (const one of [server, client]) {
      assert.ok(one.verify(ca.publicKey) && one.checkIssued(ca))
      assert.equal(one.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1')
    }
    for (const host of ['localhost', 'broker.example']) assert.equal(server.checkHost(host), host)
    assert.equal(server.checkIP('127.0.0.1'), '127.0.0.1')
    assert.equal(client.subjectAltName, 'URI:spiffe://cluster.local/ns/a/sa/b')
  })
  it('does not write over them without being told to', async () => {
    const before = read('postern.pem')
    const { code, stderr } = await run(['--out', out])
    assert.equal(code, 1)
    assert.match(stderr, /ca\.pem is there already: --force writes over it/)
    assert.equal(read('postern.pem'), before)
    assert.equal((await run(['--out', out, '--force'])).code, 0)
    assert.notEqual(read('postern.pem'), before)
  })
  it('says how it is used', async () => {
    const { code, stderr } = await run([])
    assert.equal(code, 2)
    assert.match(stderr, /usage: .*--out DIR/)
    assert.equal((await run(['--out', out, '--days', 'x', '--force'])).code, 1)
  })
  it('makes what mtls takes', async () => {
    const tls = { mode: 'mtls', cert: at('postern.pem'), key: at('postern-key.pem'), ca: at('ca.pem'), allow: [] } as const
    const listener = await startHttpListener({
      name: 'issuer',
      listener: { address: parseListenAddress('127.0.0.1:0'), tls: listenTls(tls) },
      fetch: (_, { peer }) => new Response(peer),
      onFault: () => {},
    })
    try {
      const { port } = listener.address as { port: number }
      const options = { port, host: 'localhost', agent: false, ca: read('ca.pem'), cert: read('client.pem'), key: read('client-key.pem') }
      const peer = await new Promise<string>((resolve, reject) => {
        request(options, (reply) => {
          let text = ''
          reply.setEncoding('utf8').on('data', (part: string) => {
            text += part
          })
          reply.on('end', () => resolve(text))
        })
          .on('error', reject)
          .end()
      })
      assert.equal(peer, 'spiffe://agents.local/client')
    } finally {
      await listener.close(100)
    }
  })
})
